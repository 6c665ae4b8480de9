"""A second definition of the native dialect: the obvious one, with the standard library and an `if` a rule. Slow, and that is fine.

`meaning` answers a dict of what the evidence must hold, or None when the element must be rejected.
"""

import json
import math
from datetime import UTC, datetime
from typing import Any

YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
DEVICE_KINDS = ["lock", "unlock", "open", "close", "motion", "occupied", "vacant", "power", "sos", "leak", "smoke", "tamper"]
DEVICE_KINDS += ["battery"]
METHODS = ["app", "qr", "nfc", "ble", "pin", "phone"]


class No(Exception):  # noqa: N818 - a word that reads well where it is raised.
    """This element must be rejected."""


def meaning(what: str, raw: bytes, received_at: float) -> dict[str, Any] | None:
    try:
        said = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(said, dict):
            return None
        said = {name: value for name, value in said.items() if value is not None}
        return KINDS[what](said, received_at)
    except (No, ValueError, RecursionError):
        return None


def _no_constant(_: str) -> None:
    raise No


def position(said: dict[str, Any], received_at: float) -> dict[str, Any]:
    lon = number(said, "lon", -180, 180, required=True)
    lat = number(said, "lat", -90, 90, required=True)
    crs = choice(said, "crs", ["wgs84", "gcj02", "bd09"]) or "wgs84"
    shifted = crs != "wgs84"
    return {
        "at": moment(said, received_at),
        **({"raw_lon": lon, "raw_lat": lat} if shifted else {"lon": lon, "lat": lat, "raw_lon": None, "raw_lat": None}),
        "crs": crs,
        "accuracy_m": above(number(said, "accuracy_m", -math.inf, 1e7), 0),
        "altitude_m": number(said, "altitude_m", -12_000, 100_000),
        "speed_mps": at_least(number(said, "speed_mps", -math.inf, 10_000), 0),
        "heading_deg": at_least(number(said, "heading_deg", -math.inf, 360), 0),
        "battery": level(number(said, "battery", -math.inf, 100)),
        "mock": truth(said, "mock") or False,
        "mode": words(said, "mode"),
        **count(said),
    }


def check(said: dict[str, Any], received_at: float) -> dict[str, Any]:
    lon, lat = number(said, "lon", -180, 180), number(said, "lat", -90, 90)
    crs = choice(said, "crs", ["wgs84", "gcj02", "bd09"]) or "wgs84"
    if (lon is None) != (lat is None):
        raise No
    return {
        "at": moment(said, received_at),
        "kind": choice(said, "kind", ["in", "out"], required=True),
        "visit": words(said, "visit"),
        "method": choice(said, "method", METHODS) or "app",
        "code": words(said, "code"),
        **({"lon": lon, "lat": lat} if crs == "wgs84" else {}),
        "accuracy_m": above(number(said, "accuracy_m", -math.inf, 1e7), 0),
        **count(said),
    }


def phone_status(said: dict[str, Any], received_at: float) -> dict[str, Any]:
    return {
        "at": moment(said, received_at),
        "state": choice(said, "state", ["online", "offline"], required=True),
        "permission": words(said, "permission"),
        "power_save": truth(said, "power_save"),
        "app_version": words(said, "app_version"),
        "battery": level(number(said, "battery", -math.inf, 100)),
        **count(said),
    }


def event(said: dict[str, Any], received_at: float) -> dict[str, Any]:
    kind = choice(said, "kind", DEVICE_KINDS, required=True)
    value = said.get("value")
    value = float(value) if isinstance(value, bool) else number(said, "value", -1e12, 1e12)
    return {
        "at": moment(said, received_at),
        "kind": kind,
        "value": level(value) if kind == "battery" else value,
        "worker": words(said, "worker"),
        "credential": words(said, "credential"),
    }


def device_status(said: dict[str, Any], received_at: float) -> dict[str, Any]:
    return {
        "at": moment(said, received_at),
        "state": choice(said, "state", ["online", "offline"], required=True),
        "battery": level(number(said, "battery", -math.inf, 100)),
    }


KINDS = {"position": position, "check": check, "phone_status": phone_status, "event": event, "device_status": device_status}


def moment(said: dict[str, Any], received_at: float) -> float:
    value = said.get("at")
    if isinstance(value, str):
        read = datetime.fromisoformat(value)
        if read.tzinfo is None or len(value) < 20:
            raise No
        at = read.timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        at = float(value)
    else:
        raise No
    if at < YEAR_2000 or at > received_at + 24 * 3600:
        raise No
    return round(at, 6)


def number(said: dict[str, Any], name: str, low: float, high: float, *, required: bool = False) -> float | None:
    value = said.get(name)
    if value is None:
        if required:
            raise No
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise No
    if not low <= value <= high:
        raise No
    return float(value)


def choice(said: dict[str, Any], name: str, known: list[str], *, required: bool = False) -> str | None:
    value = said.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or value not in known:
        raise No
    return value


def words(said: dict[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 200 or "\0" in value:
        raise No
    return value or None


def truth(said: dict[str, Any], name: str) -> bool | None:
    value = said.get(name)
    if value is not None and not isinstance(value, bool):
        raise No
    return value


def count(said: dict[str, Any]) -> dict[str, Any]:
    for name, least in (("seq", 1), ("epoch", 0)):
        value = said.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 2**53):
            raise No
    seq, epoch = said.get("seq"), said.get("epoch")
    return {"seq": seq, "epoch": (epoch or 0) if seq is not None else epoch}


def above(value: float | None, bound: float) -> float | None:
    return None if value is None or value <= bound else value


def at_least(value: float | None, bound: float) -> float | None:
    return None if value is None or value < bound else value


def level(value: float | None) -> float | None:
    if value is None or value < 0:
        return None
    return value if value <= 1 else value / 100
