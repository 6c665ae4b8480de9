"""OwnTracks: what its phones publish, as evidence.

- `location` is a fix. Its trigger `t` is kept under its name, because a `ping` repeats an old fix with a new time.
- `transition` is a fix too, with `enter` or `leave` as its trigger; without coordinates it places nobody and is no evidence.
- `lwt` is an offline status; its time is that of the phone's first connect and may be a string.
- `status` is an online status that says what the phone may do. It carries no time of its own in most versions.
- `encrypted` is any of these in a libsodium secretbox, nonce first, under the key of its source.
- Everything else is known and is no evidence: waypoints, cards, steps, beacons, commands.

Numbers may come as strings. Velocity is km/h, battery is percent, and -1 says "not known".
Facts: OwnTracks booklet, JSON page; the values of `status.android.loc` are from memory and were not seen in a recording.
"""

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping

from msgspec import Struct
from msgspec.json import Decoder
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from geofence.evidence import Fix, Status
from ingest.limits import (
    Altitude,
    Battery,
    Heading,
    Latitude,
    Longitude,
    Metres,
    Refusal,
    Speed,
    Text,
    digest,
    instant,
    not_negative,
    positive,
    text,
)
from store.rejects import Reason

NO_EVIDENCE = frozenset(
    {"waypoint", "waypoints", "card", "cmd", "configuration", "dump", "request", "steps", "beacon", "beacons", "message", "msg"}
)
TRIGGERS = {
    "p": "ping",
    "c": "region",
    "C": "region",
    "b": "beacon",
    "r": "report",
    "u": "manual",
    "t": "timer",
    "v": "frequent",
}
MODES = {-1: "quiet", 0: "manual", 1: "significant", 2: "move"}
IOS_PERMISSIONS = {
    "kCLAuthorizationStatusAuthorizedAlways": "always",
    "kCLAuthorizationStatusAuthorizedWhenInUse": "when_in_use",
    "kCLAuthorizationStatusDenied": "denied",
    "kCLAuthorizationStatusRestricted": "denied",
    "kCLAuthorizationStatusNotDetermined": "not_determined",
}


class Kind(Struct, kw_only=True, rename={"type": "_type"}):
    """What every OwnTracks object says of itself; `data` is base64 of nonce and box, where it is encrypted."""

    type: str
    data: str | None = None


class Location(Struct, kw_only=True):
    tst: float
    lon: Longitude
    lat: Latitude
    acc: Metres | None = None
    alt: Altitude | None = None
    vel: Speed | None = None
    cog: Heading | None = None
    batt: Battery | None = None
    t: Text | None = None
    m: int | None = None


class Transition(Struct, kw_only=True):
    tst: float
    event: Text
    lon: Longitude | None = None
    lat: Latitude | None = None
    acc: Metres | None = None


class Lwt(Struct, kw_only=True):
    tst: float


class Android(Struct, kw_only=True):
    loc: int | None = None
    ps: int | None = None


class Ios(Struct, kw_only=True, rename={"permission": "locationManagerAuthorizationStatus"}):
    version: Text | None = None
    permission: Text | None = None


class PhoneReport(Struct, kw_only=True, rename={"ios": "iOS"}):
    tst: float | None = None
    android: Android | None = None
    ios: Ios | None = None


_kind = Decoder(Kind)
_location = Decoder(Location, strict=False)
_transition = Decoder(Transition, strict=False)
_lwt = Decoder(Lwt, strict=False)
_phone_report = Decoder(PhoneReport, strict=False)


def read(raw: bytes, source: str, received_at: float, keys: Mapping[str, str]) -> Fix | Status | None:
    """The evidence in one object; None where it is known and carries none. Raises as the readers of `native` do."""
    kind = _kind.decode(raw)
    if kind.type == "encrypted":
        if kind.data is None:
            raise Refusal(Reason.MISSING_FIELD, "data is missing: it holds what is encrypted")
        raw = decrypt(kind.data, source, keys)
        kind = _kind.decode(raw)
    match kind.type:
        case "location":
            return _read_location(raw, source, received_at)
        case "transition":
            return _read_transition(raw, source, received_at)
        case "lwt":
            return _read_lwt(raw, source, received_at)
        case "status":
            return _read_phone_report(raw, source, received_at)
        case known if known in NO_EVIDENCE:
            return None
        case other:
            raise Refusal(Reason.UNKNOWN_TYPE, f"_type {other[:40]!r} is none that OwnTracks documents")


def decrypt(data: str, source: str, keys: Mapping[str, str]) -> bytes:
    """The JSON inside an encrypted payload. The key is the passphrase, padded with zeros to 32 bytes."""
    secret = keys.get(source)
    if secret is None:
        raise Refusal(Reason.NO_KEY, f"encrypted, and no key is known for {source}: store its passphrase, then replay this reject")
    key = secret.encode()[: SecretBox.KEY_SIZE].ljust(SecretBox.KEY_SIZE, b"\0")
    try:
        return SecretBox(key).decrypt(b64decode(data, validate=True))
    except (CryptoError, BadBase64, ValueError) as error:
        raise Refusal(Reason.UNDECIPHERABLE, f"data does not open with the key of {source}: is it the same passphrase?") from error


def _read_location(raw: bytes, source: str, received_at: float) -> Fix:
    said = _location.decode(raw)
    speed_kmh = not_negative(said.vel)
    return Fix(
        source=source,
        at=instant(said.tst, received_at, "tst"),
        received_at=received_at,
        identity=digest(raw),
        lon=said.lon,
        lat=said.lat,
        accuracy_m=positive(said.acc),
        altitude_m=said.alt,
        speed_mps=speed_kmh if speed_kmh is None else speed_kmh / 3.6,
        heading_deg=not_negative(said.cog),
        battery=_percent(said.batt),
        mode=None if said.m is None else MODES.get(said.m),
        trigger=None if said.t is None else TRIGGERS.get(said.t, text(said.t, "t")),
    )


def _read_transition(raw: bytes, source: str, received_at: float) -> Fix | None:
    said = _transition.decode(raw)
    if said.lon is None or said.lat is None:
        return None
    return Fix(
        source=source,
        at=instant(said.tst, received_at, "tst"),
        received_at=received_at,
        identity=digest(raw),
        lon=said.lon,
        lat=said.lat,
        accuracy_m=positive(said.acc),
        trigger=text(said.event, "event"),
    )


def _read_lwt(raw: bytes, source: str, received_at: float) -> Status:
    """A phone repeats the `tst` of its last will for as long as the app lives, so two wills can be the same bytes and yet two
    events. The minute of the receipt tells them apart, and still makes one of a message that is delivered twice in a row."""
    said = _lwt.decode(raw)
    return Status(
        source=source,
        at=instant(said.tst, received_at, "tst"),
        received_at=received_at,
        identity=digest(raw + b"@%d" % (received_at // 60)),
        state="offline",
    )


def _read_phone_report(raw: bytes, source: str, received_at: float) -> Status:
    said = _phone_report.decode(raw)
    android = said.android or Android()
    ios = said.ios or Ios()
    return Status(
        source=source,
        at=round(received_at, 6) if said.tst is None else instant(said.tst, received_at, "tst"),
        received_at=received_at,
        identity=digest(raw),
        state="online",
        permission=_android_permission(android.loc) or IOS_PERMISSIONS.get(ios.permission or "", text(ios.permission, "iOS")),
        power_save=None if android.ps is None else android.ps > 0,
        app_version=text(ios.version, "version"),
    )


def _android_permission(loc: int | None) -> str | None:
    """0 and -1: also in the background; -2 and -3: only while the app is open; below: not at all."""
    if loc is None:
        return None
    if loc >= -1:
        return "always"
    return "when_in_use" if loc >= -3 else "denied"


def _percent(batt: float | None) -> float | None:
    """1 is one percent here, where in our own dialect it is a full battery."""
    return None if batt is None or batt < 0 else batt / 100
