"""Explanations: why an element could not be decoded, as a reason of the enum and a sentence that names the field and the mend."""

import json
import re
from math import isfinite

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from ingest.limits import SOURCE_MAX, TEXT_MAX, Refusal
from store.rejects import Reason

Bad = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refusal)
"""Everything that a reader raises on bytes that it cannot take."""

MENDS = {
    "at": "send seconds since 1970, or RFC 3339 with a zone such as 2026-11-22T01:02:03.450Z",
    "tst": "send seconds since 1970",
    "lon": "send degrees from -180 to 180, as a number",
    "lat": "send degrees from -90 to 90, as a number",
    "accuracy_m": "send metres as a number, or leave it out",
    "heading_deg": "send degrees from 0 to 360, or leave it out",
    "battery": "send a share from 0 to 1 or percent up to 100, or leave it out",
    "batt": "send percent up to 100, or leave it out",
    "mock": "send true or false",
    "power_save": "send true or false",
    "crs": "send wgs84, gcj02 or bd09",
    "state": "send online or offline",
    "method": "send app, qr, nfc, ble, pin or phone",
    "seq": "count from 1, in whole numbers",
    "epoch": "send a whole number from 0",
    "_type": "OwnTracks names the kind of each object by it",
}
_KINDS = {
    "check": "send in or out",
    "event": "send lock, unlock, open, close, motion, occupied, vacant, power, sos, leak, smoke, tamper or battery",
}
_AT_FIELD = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<field>[^`]*)`$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")


class Place(Struct):
    """As much of an element as tells whether lon and lat are swapped."""

    lon: float
    lat: float


_place = Decoder(Place, strict=False)


def explain(error: Exception, kind: str, raw: bytes) -> tuple[Reason, str]:
    """The reason and the detail for one of `Bad`, raised on the bytes of one element of this kind of topic."""
    match error:
        case Refusal():
            return error.reason, error.detail
        case msgspec.ValidationError():
            return _explain_value(str(error), kind, raw)
        case UnicodeDecodeError():
            return Reason.NOT_UTF8, f"a text is not UTF-8 at its byte {error.start}: encode the payload as UTF-8"
        case RecursionError():
            return Reason.TOO_DEEP, "objects or arrays are nested too deep: a report is one flat object"
        case _:
            return Reason.MALFORMED, _not_finite(raw) or f"{error}: send one JSON object or an array of them"


def _explain_value(message: str, kind: str, raw: bytes) -> tuple[Reason, str]:
    missing = _MISSING.search(message)
    if missing:
        field = missing["field"]
        return Reason.MISSING_FIELD, f"{field} is missing: {_mend(field, kind)}"
    found = _AT_FIELD.match(message)
    if not found:
        return Reason.WRONG_TYPE, f"{message}: a report is one JSON object"
    what, field = found["what"], found["field"]
    return _reason(what), f"{field}: {what}; {_swapped(field, raw) or _mend(field, kind)}"


def _reason(what: str) -> Reason:
    if "Invalid enum value" in what:
        return Reason.UNKNOWN_VALUE
    if "RFC3339" in what:
        return Reason.BAD_TIME
    if "of length" in what:
        return Reason.BAD_TEXT
    if "out of range" in what or "<=" in what or ">=" in what:
        return Reason.OUT_OF_RANGE
    return Reason.WRONG_TYPE


def _not_finite(raw: bytes) -> str | None:
    """Names the field whose value is why these bytes are no JSON. Python's own reader takes NaN, Infinity and 1e400."""
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    field = next((name for name, value in said.items() if isinstance(value, float) and not isfinite(value)), None)
    if field is None:
        return None
    return f"{field[:TEXT_MAX]} is NaN or infinite, which JSON does not have: send a finite number, or leave it out"


def _mend(field: str, kind: str) -> str:
    if field == "kind":
        return _KINDS.get(kind, "see the wire format")
    return MENDS.get(field, f"texts have up to {TEXT_MAX} characters, ids up to {SOURCE_MAX}, numbers no quotes")


def _swapped(field: str, raw: bytes) -> str | None:
    if field != "lat":
        return None
    try:
        place = _place.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if abs(place.lat) > 90 and abs(place.lat) <= 180 and abs(place.lon) <= 90:
        return f"lat {place.lat:g} is outside -90..90: lon and lat look swapped"
    return None
