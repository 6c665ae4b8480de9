"""Plain: fixes of which `credibility` could hold nothing against, told by their neighbours alone, for very many phones at once.

Credibility is a matter of a quarter of an hour of a phone's fixes, and nearly all fixes are above suspicion. So that their past
need not be read for each of them, a few numbers are kept of each phone: its last fix, and since when it has stood still. As long
as every step was plain, the newest fix has no flag:

      not mock, no ping, a possible accuracy, in its time                         mock, stale_ping, impossible_accuracy, clock_skew
      within reach of the fix before; no far jump that names all its numbers      teleport, stale_ping
      a real movement within `frozen_s`                                           frozen

Rules kept here:

- Plain is sufficient and not necessary, with margins: what is not plain is looked at by `credibility`, and that decides.
- A flag of a position needs no plan, so `datum` and `two_phones` are no matter here; nor is `jitter_free`, which takes longer than
  the quarter of an hour that a position looks back.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from geofence.credibility import CLOCK_BEHIND_S, REPEAT_M
from geofence.evidence import Bools, Fixes, Floats, Ints
from geofence.likelihood import RAYLEIGH_68
from geofence.plane import EARTH_M
from geofence.policy import Policy
from geofence.teleport import LEAP_M, LEAP_MPS, LEAP_S

MARGIN = 0.9
"""Distances here are taken from fix to fix and there from the window's first: near a bound they could disagree."""
MOVED_M = 1.0
"""Far below the noise of any receiver. Where a policy lets a still phone tremble by more than a third of it, three times that."""

PHONE = np.dtype(
    [
        ("at", "f8"),
        ("lon", "f8"),
        ("lat", "f8"),
        ("accuracy_m", "f4"),
        ("moved_at", "f8"),  # when the last real movement ended
        ("plain", "?"),
    ]
)
"""What is kept of a phone: 37 bytes."""

Phones = NDArray[np.void]


class Steps(Struct, frozen=True, eq=False):
    """One new fix of each of many phones."""

    at: Floats
    received_at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    altitude_m: Floats
    odd: Bools
    """Marked by the phone itself: mock, or a ping."""


def phone(fixes: Fixes, mask: Ints, policy: Policy) -> Phones:
    """A phone after all its fixes of a window, of one source and not none, and their flags as `credibility.masks` has them."""
    made = np.zeros(1, dtype=PHONE)
    last = len(fixes.at) - 1
    made["at"], made["lon"], made["lat"] = fixes.at[last], fixes.lon[last], fixes.lat[last]
    made["accuracy_m"] = fixes.accuracy_m[last]
    one, two = slice(None, -1), slice(1, None)
    way = _way(fixes.lon[one], fixes.lat[one], fixes.lon[two], fixes.lat[two])
    moved = np.flatnonzero(way > max(MOVED_M, 3.0 * policy.frozen_m))
    made["moved_at"] = fixes.at[moved[-1] + 1] if len(moved) else fixes.at[0]
    reach = _reachable(fixes.at[one], fixes.accuracy_m[one], fixes.at[two], fixes.accuracy_m[two], way, policy)
    late = fixes.received_at - fixes.at > CLOCK_BEHIND_S * MARGIN
    made["plain"] = not mask.any() and reach.all() and not late.any()
    return made


def step(phones: Phones, steps: Steps, policy: Policy) -> Phones:
    """The phones after one more fix each; `plain` are those whose newest fix has no flag."""
    after = phones.copy()
    way = _way(phones["lon"], phones["lat"], steps.lon, steps.lat)
    after["moved_at"] = np.where(way > max(MOVED_M, 3.0 * policy.frozen_m), steps.at, phones["moved_at"])
    far = (way > REPEAT_M * MARGIN) & ~np.isnan(steps.altitude_m) & ~np.isnan(steps.accuracy_m)
    clear = ~steps.odd & ~(steps.accuracy_m < policy.accuracy_min_m) & ~far
    clear &= steps.at <= steps.received_at + policy.clock_ahead_max_s
    clear &= steps.received_at - steps.at <= CLOCK_BEHIND_S * MARGIN
    clear &= _reachable(phones["at"], phones["accuracy_m"], steps.at, steps.accuracy_m, way, policy)
    clear &= steps.at - after["moved_at"] < policy.frozen_s * MARGIN
    after["plain"] = phones["plain"] & clear & (steps.at > phones["at"])
    after["at"], after["lon"], after["lat"], after["accuracy_m"] = steps.at, steps.lon, steps.lat, steps.accuracy_m
    return after


def _way(lon: Floats, lat: Floats, to_lon: Floats, to_lat: Floats) -> Floats:
    metres = np.radians(1.0) * EARTH_M
    turn = (to_lon - lon + 180.0) % 360.0 - 180.0
    way: Floats = np.hypot(turn * metres * np.cos(np.radians(lat)), (to_lat - lat) * metres)
    return way


def _reachable(at: Floats, accuracy_m: Floats, to_at: Floats, to_accuracy_m: Floats, way: Floats, policy: Policy) -> Bools:
    """As `teleport` has it, with a margin, and whether or not she stood still before and after."""
    blur = [np.where(np.isnan(a), policy.accuracy_default_m, a) * (2.0 / RAYLEIGH_68) for a in (accuracy_m, to_accuracy_m)]
    took = to_at - at
    far = policy.teleport_mps * (took + 1.0)
    far = np.where(took <= LEAP_S, np.minimum(far, LEAP_M + LEAP_MPS * took), far)
    near: Bools = way - blur[0] - blur[1] <= MARGIN * far
    return near
