"""Evidence: what phones and homes reported, as frozen values.

Rules kept here:

- Two times, never mixed: `at` is when the source says it happened, `received_at` is when we got it. Both are seconds since
  1970-01-01 UTC, as floats that survive a round trip through PostgreSQL's microseconds.
- Coordinates are WGS-84 degrees, `lon` before `lat`; what was sent in another datum is kept in `raw_lon`, `raw_lat`.
- Evidence belongs to a *source*, the address it came from, and not to a worker: a native topic's worker or device id as it is
  (`w-17`), another dialect's address with the dialect's name before it (`owntracks:anna/phone`, `zigbee2mqtt:front_lock`). Who owns
  a source can be said later (adoption), and nothing has to be rewritten then.
- `identity` tells two reports with the same source and time apart, and makes a repeat the same report: it is made of `epoch` and
  `seq` where the phone counts, else it is a hash of the payload.
"""

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

CheckKind = Literal["in", "out"]
CheckMethod = Literal["app", "qr", "nfc", "ble", "pin", "phone"]
DeviceEventKind = Literal[
    "lock", "unlock", "open", "close", "motion", "occupied", "vacant", "power", "sos", "leak", "smoke", "tamper", "battery"
]
Online = Literal["online", "offline"]
Crs = Literal["wgs84", "gcj02", "bd09"]


class Fix(Struct, frozen=True, kw_only=True):
    """One position report of a phone. `accuracy_m` is the radius that holds the truth with about 68 %."""

    source: str
    at: float
    received_at: float
    identity: int
    lon: float
    lat: float
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    battery: float | None = None
    mock: bool = False
    crs: Crs = "wgs84"
    raw_lon: float | None = None
    raw_lat: float | None = None
    mode: str | None = None
    trigger: str | None = None
    """Why the phone sent it, where the dialect says so. `ping` repeats an old fix with a new time and is not a fresh one."""
    epoch: int | None = None
    seq: int | None = None


class Check(Struct, frozen=True, kw_only=True):
    """A worker says: I begin, or I end, here."""

    source: str
    at: float
    received_at: float
    identity: int
    kind: CheckKind
    visit: str | None = None
    method: CheckMethod = "app"
    code: str | None = None
    lon: float | None = None
    lat: float | None = None
    accuracy_m: float | None = None
    epoch: int | None = None
    seq: int | None = None


class DeviceEvent(Struct, frozen=True, kw_only=True):
    """Something that a device at a site noticed. `value` is watts for power, a share 0 to 1 for battery."""

    source: str
    at: float
    received_at: float
    identity: int
    kind: DeviceEventKind
    value: float | None = None
    worker: str | None = None
    credential: str | None = None


class Status(Struct, frozen=True, kw_only=True):
    """A phone or a device came online or went, or said what it may and may not do.

    A last will carries the `at` of the moment the connection was made, so an offline status may be older than evidence that
    came after it: what ended then is known only between that evidence and `received_at`.
    """

    source: str
    at: float
    received_at: float
    identity: int
    state: Online
    permission: str | None = None
    power_save: bool | None = None
    app_version: str | None = None
    battery: float | None = None
    epoch: int | None = None
    seq: int | None = None


Evidence = Fix | Check | DeviceEvent | Status

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def since(at: Floats, first: float = np.inf) -> Floats:
    """How long each moment lies after the one before it; the first one `first`."""
    gap = np.empty(len(at))
    gap[:1] = first
    np.subtract(at[1:], at[:-1], out=gap[1:])
    return gap


class Fixes(Struct, frozen=True, kw_only=True, eq=False):
    """Many fixes of one worker as columns of one length n, in the order of (at, source, identity).

    A missing number is NaN. `source` is an index into `sources`: a worker may carry two phones.
    """

    sources: tuple[str, ...]
    source: Ints
    at: Floats
    received_at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    altitude_m: Floats
    speed_mps: Floats
    heading_deg: Floats
    mock: Bools
    ping: Bools
    mode: tuple[str | None, ...] = ()
    """The phone's reporting mode of each fix; empty when no fix named one."""


class Sketch(Struct, frozen=True, eq=False):
    """Some of the positions of an earlier visit, to know them again (`replayed`): prints in ascending order, and when each was
    first there.
    """

    prints: NDArray[np.int32]
    at: Floats


class Sketches(Struct, frozen=True, eq=False):
    """Those of many visits, one after the other."""

    prints: NDArray[np.int32]
    at: Floats
    ends: Ints
    """Where each ends."""


NO_SKETCHES = Sketches(np.empty(0, dtype=np.int32), np.empty(0), np.empty(0, dtype=np.int64))


class Observed(Struct, frozen=True, kw_only=True, eq=False):
    """All the evidence that bears on one worker's window at one site, each part in the order of (at, source, identity)."""

    fixes: Fixes
    checks: tuple[Check, ...] = ()
    events: tuple[DeviceEvent, ...] = ()
    """Of the devices at the visit's site and at its neighbours; `Device.source` says which is whose."""
    statuses: tuple[Status, ...] = ()
    """Of the worker's phones and of those devices."""
    elsewhen: tuple[tuple[float, float], ...] = ()
    """Stays of the worker at the visit's site on the same day, as `stays` finds them, in no window of a visit of hers there."""
    earlier: Sketches = NO_SKETCHES
    """Of the visits to the same site, whoever made them, that began up to `replayed.SINCE_S` before this one."""
