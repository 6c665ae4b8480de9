"""Our own dialect: one JSON object a report, on the topics of `docs/wire.md`.

Each reader takes the bytes of one object and returns the evidence in it. It raises `msgspec.DecodeError`, `UnicodeDecodeError`,
`RecursionError` or `Refusal`, which `wire.decode` turns into a reject. Unknown fields are allowed: newer phones may say more.
"""

from datetime import datetime

from msgspec import Struct
from msgspec.json import Decoder

from geofence.evidence import Check, CheckKind, CheckMethod, Crs, DeviceEvent, DeviceEventKind, Fix, Online, Status
from ingest.datum import to_wgs84
from ingest.limits import (
    Altitude,
    Battery,
    Epoch,
    Heading,
    Latitude,
    Longitude,
    Metres,
    Refusal,
    Seq,
    Speed,
    Text,
    Value,
    counted,
    digest,
    instant,
    not_negative,
    positive,
    share,
    text,
)
from store.rejects import Reason


class Position(Struct, kw_only=True):
    """`…/workers/{worker}/position`"""

    at: datetime | float
    lon: Longitude
    lat: Latitude
    accuracy_m: Metres | None = None
    altitude_m: Altitude | None = None
    speed_mps: Speed | None = None
    heading_deg: Heading | None = None
    battery: Battery | None = None
    mock: bool | None = None
    crs: Crs | None = None
    mode: Text | None = None
    epoch: Epoch | None = None
    seq: Seq | None = None


class CheckIn(Struct, kw_only=True):
    """`…/workers/{worker}/check`"""

    at: datetime | float
    kind: CheckKind
    visit: Text | None = None
    method: CheckMethod | None = None
    code: Text | None = None
    lon: Longitude | None = None
    lat: Latitude | None = None
    accuracy_m: Metres | None = None
    crs: Crs | None = None
    epoch: Epoch | None = None
    seq: Seq | None = None


class PhoneStatus(Struct, kw_only=True):
    """`…/workers/{worker}/status`"""

    at: datetime | float
    state: Online
    permission: Text | None = None
    power_save: bool | None = None
    app_version: Text | None = None
    battery: Battery | None = None
    epoch: Epoch | None = None
    seq: Seq | None = None


class Event(Struct, kw_only=True):
    """`…/devices/{device}/event`"""

    at: datetime | float
    kind: DeviceEventKind
    value: Value | bool | None = None
    worker: Text | None = None
    credential: Text | None = None


class DeviceStatus(Struct, kw_only=True):
    """`…/devices/{device}/status`"""

    at: datetime | float
    state: Online
    battery: Battery | None = None


_position = Decoder(Position)
_check = Decoder(CheckIn)
_phone_status = Decoder(PhoneStatus)
_event = Decoder(Event)
_device_status = Decoder(DeviceStatus)


def position(raw: bytes, source: str, received_at: float) -> Fix:
    said = _position.decode(raw)
    lon, lat, crs = said.lon, said.lat, said.crs or "wgs84"
    shifted = crs != "wgs84"
    if shifted:
        lon, lat = to_wgs84(said.lon, said.lat, crs)
    epoch, identity = _counter(raw, said.epoch, said.seq)
    return Fix(
        source=source,
        at=instant(said.at, received_at),
        received_at=received_at,
        identity=identity,
        lon=lon,
        lat=lat,
        accuracy_m=positive(said.accuracy_m),
        altitude_m=said.altitude_m,
        speed_mps=not_negative(said.speed_mps),
        heading_deg=not_negative(said.heading_deg),
        battery=share(said.battery),
        mock=said.mock or False,
        crs=crs,
        raw_lon=said.lon if shifted else None,
        raw_lat=said.lat if shifted else None,
        mode=text(said.mode, "mode"),
        epoch=epoch,
        seq=said.seq,
    )


def check(raw: bytes, source: str, received_at: float) -> Check:
    said = _check.decode(raw)
    lon, lat = said.lon, said.lat
    if lon is None or lat is None:
        if lon is not lat:
            raise Refusal(Reason.MISSING_FIELD, "lon and lat come together: one of them is missing")
    elif said.crs is not None:
        lon, lat = to_wgs84(lon, lat, said.crs)
    epoch, identity = _counter(raw, said.epoch, said.seq)
    return Check(
        source=source,
        at=instant(said.at, received_at),
        received_at=received_at,
        identity=identity,
        kind=said.kind,
        visit=text(said.visit, "visit"),
        method=said.method or "app",
        code=text(said.code, "code"),
        lon=lon,
        lat=lat,
        accuracy_m=positive(said.accuracy_m),
        epoch=epoch,
        seq=said.seq,
    )


def phone_status(raw: bytes, source: str, received_at: float) -> Status:
    said = _phone_status.decode(raw)
    epoch, identity = _counter(raw, said.epoch, said.seq)
    return Status(
        source=source,
        at=instant(said.at, received_at),
        received_at=received_at,
        identity=identity,
        state=said.state,
        permission=text(said.permission, "permission"),
        power_save=said.power_save,
        app_version=text(said.app_version, "app_version"),
        battery=share(said.battery),
        epoch=epoch,
        seq=said.seq,
    )


def event(raw: bytes, source: str, received_at: float) -> DeviceEvent:
    said = _event.decode(raw)
    value = None if said.value is None else float(said.value)
    return DeviceEvent(
        source=source,
        at=instant(said.at, received_at),
        received_at=received_at,
        identity=digest(raw),
        kind=said.kind,
        value=share(value) if said.kind == "battery" else value,
        worker=text(said.worker, "worker"),
        credential=text(said.credential, "credential"),
    )


def device_status(raw: bytes, source: str, received_at: float) -> Status:
    said = _device_status.decode(raw)
    return Status(
        source=source,
        at=instant(said.at, received_at),
        received_at=received_at,
        identity=digest(raw),
        state=said.state,
        battery=share(said.battery),
    )


def _counter(raw: bytes, epoch: int | None, seq: int | None) -> tuple[int | None, int]:
    """The epoch, which is 0 where the phone counts and does not say, and the identity."""
    if seq is None:
        return epoch, digest(raw)
    return epoch or 0, counted(epoch or 0, seq)
