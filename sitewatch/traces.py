"""Recorded traces as values: readers of GeoLife `.plt`, GPX, CSV and OwnTracks `.rec`.

Rules kept here:

- Pure: lines of bytes in, values out, in the order of the file and in bounded memory. Nobody opens a file or asks the time.
- A reader never raises on what a file holds. What it cannot use is a `BadLine` with the line's number and a reason that names the
  mend; the lines after it are read as if nothing had happened.
- Nothing is invented: a recording without accuracies gives points without accuracies.
- Times are seconds since 1970 UTC. A time without a zone is refused in CSV, where it could mean anything; GeoLife and GPX say
  that theirs are UTC.
"""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, cast
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, IncrementalParser

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser
from msgspec import Struct

METRES_PER_FOOT = 0.3048

ALTITUDE_MISSING_FT = -777.0
"""What GeoLife writes when it has no altitude."""

METRES_PER_HDOP = 5.0
"""GPX knows only how the satellites stood. Times the ranging error of a phone's receiver, about 5 m, that is an accuracy."""

YEAR_5138_S = 1e11
"""An epoch time beyond this is in milliseconds."""


class Point(Struct, frozen=True, kw_only=True):
    """One position. `worker` only where the line itself names one."""

    line: int
    at: float
    lon: float
    lat: float
    worker: str | None = None
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    battery: float | None = None
    mock: bool | None = None


class Message(Struct, frozen=True, kw_only=True):
    """One MQTT message as OwnTracks' recorder kept it; `at` is when the recorder got it, `said_at` what the payload says.

    `topic` is complete when it begins with the dialect's prefix; else it is what follows the phone's own topic, often nothing.
    """

    line: int
    at: float
    said_at: float
    topic: str
    payload: bytes


class BadLine(Struct, frozen=True):
    """A line that cannot be used, and why."""

    line: int
    reason: str


Read = Iterator[Point | BadLine]
Recorded = Iterator[Message | BadLine]
Lines = Iterable[bytes]


class _UnusableError(ValueError):
    """Why a line cannot be used. Never leaves this module."""


def geolife(lines: Lines) -> Read:
    """GeoLife `.plt`: six header lines, then `lat,lon,0,altitude_ft,days,date,time`, UTC."""
    for number, line in enumerate(lines, 1):
        if number <= 6 or not line.strip():
            continue
        try:
            yield _geolife_point(number, line.decode("utf-8", "replace").strip().split(","))
        except _UnusableError as error:
            yield BadLine(number, str(error))


def _geolife_point(number: int, cells: list[str]) -> Point:
    if len(cells) != 7:
        raise _UnusableError(f"has {len(cells)} fields instead of 7: lat,lon,0,altitude_ft,days,date,time")
    lat, lon, _, altitude_ft, _, day, clock = cells
    feet = _number("altitude_ft", altitude_ft)
    return Point(
        line=number,
        at=_time(f"{day}T{clock}+00:00"),
        lon=_lon(lon),
        lat=_lat(lat),
        altitude_m=None if feet == ALTITUDE_MISSING_FT else round(feet * METRES_PER_FOOT, 1),
    )


# CSV ---------------------------------------------------------------------------------------------------------------------------

COLUMNS = {
    "at": ("at", "time", "timestamp"),
    "lon": ("lon", "lng", "longitude"),
    "lat": ("lat", "latitude"),
    "worker": ("worker",),
    "accuracy_m": ("accuracy_m", "accuracy"),
    "altitude_m": ("altitude_m", "altitude", "ele"),
    "speed_mps": ("speed_mps", "speed"),
    "heading_deg": ("heading_deg", "heading", "course"),
    "battery": ("battery",),
    "mock": ("mock",),
}
"""Each field, and the headings under which it is looked for. Other columns are left alone."""


def comma_separated(lines: Lines) -> Read:
    """CSV with a header; `;` and tab separate too. `at` is RFC 3339 with a zone, or epoch seconds."""
    texts = (line.decode("utf-8" if number else "utf-8-sig", "replace") for number, line in enumerate(lines))
    header = next(texts, "")
    delimiter = max(",;\t", key=header.count)
    place = _columns([name.strip().lower() for name in header.strip().split(delimiter)])
    if missing := [name for name in ("at", "lon", "lat") if name not in place]:
        wanted = "; ".join(f"{name} ({' or '.join(COLUMNS[name])})" for name in missing)
        yield BadLine(1, f"the header lacks {wanted}")
        return
    rows = csv.reader(texts, delimiter=delimiter)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(rows.line_num + 1, str(error))
            continue
        if not cells:
            continue
        try:
            yield _row_point(rows.line_num + 1, cells, place)
        except _UnusableError as error:
            yield BadLine(rows.line_num + 1, str(error))


def _columns(header: list[str]) -> dict[str, int]:
    place: dict[str, int] = {}
    for field, names in COLUMNS.items():
        for name in names:
            if name in header:
                place.setdefault(field, header.index(name))
    return place


def _row_point(number: int, cells: list[str], place: dict[str, int]) -> Point:
    def cell(field: str) -> str:
        index = place.get(field)
        return "" if index is None or index >= len(cells) else cells[index].strip()

    def optional(field: str) -> float | None:
        return _number(field, cell(field)) if cell(field) else None

    return Point(
        line=number,
        at=_time(cell("at")),
        lon=_lon(cell("lon")),
        lat=_lat(cell("lat")),
        worker=cell("worker") or None,
        accuracy_m=_not_negative("accuracy_m", optional("accuracy_m")),
        altitude_m=optional("altitude_m"),
        speed_mps=_known(optional("speed_mps")),
        heading_deg=_known(optional("heading_deg")),
        battery=optional("battery"),
        mock=cell("mock").lower() in ("1", "true", "yes") if cell("mock") else None,
    )


# GPX ---------------------------------------------------------------------------------------------------------------------------


def gpx(lines: Lines) -> Read:
    """The track points of GPX 1.0 and 1.1: time, elevation, and accuracy from `hdop` (see `METRES_PER_HDOP`).

    The reader refuses entity tricks: a GPX file comes from anybody's phone.
    """
    handler = _TrackPoints()
    parser = cast(IncrementalParser, make_parser())
    parser.setContentHandler(handler)
    number = 0
    for number, line in enumerate(lines, 1):
        handler.line = number
        try:
            parser.feed(line)
        except (SAXException, DefusedXmlException) as error:
            yield from handler.drain()
            yield BadLine(number, f"is not well-formed XML, the rest of the file is left out: {_plain(error)}")
            return
        yield from handler.drain()
    try:
        parser.close()
    except SAXException as error:
        yield BadLine(number, f"ends too early: {_plain(error)}")


def _plain(error: Exception) -> str:
    return error.getMessage() if isinstance(error, SAXException) else type(error).__name__


class _TrackPoints(ContentHandler):
    """Collects the points of the `trkpt` elements as they end."""

    WANTED = frozenset({"ele", "time", "hdop", "speed", "course"})

    def __init__(self) -> None:
        super().__init__()
        self.line = 0
        """The line that is being fed; set from outside."""
        self._found: list[Point | BadLine] = []
        self._point: dict[str, str] | None = None
        self._field: str | None = None
        self._began = 0

    def drain(self) -> list[Point | BadLine]:
        found, self._found = self._found, []
        return found

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        local = name.rpartition(":")[2]
        if local == "trkpt":
            self._point = {field: attrs[field] for field in ("lon", "lat") if field in attrs}
            self._began = self.line
        elif self._point is not None and local in self.WANTED:
            self._field = local
            self._point[local] = ""

    def characters(self, content: str) -> None:
        if self._point is not None and self._field is not None:
            self._point[self._field] += content

    def endElement(self, name: str) -> None:  # noqa: N802
        self._field = None
        if name.rpartition(":")[2] != "trkpt" or self._point is None:
            return
        texts, self._point = self._point, None
        try:
            self._found.append(_track_point(self._began, texts))
        except _UnusableError as error:
            self._found.append(BadLine(self._began, str(error)))


def _track_point(number: int, texts: dict[str, str]) -> Point:
    def optional(field: str) -> float | None:
        return _number(field, texts[field].strip()) if texts.get(field, "").strip() else None

    if not texts.get("time", "").strip():
        raise _UnusableError("is a track point without a time")
    hdop = _not_negative("hdop", optional("hdop"))
    return Point(
        line=number,
        at=_time(texts["time"].strip(), assume_utc=True),
        lon=_lon(texts.get("lon", "")),
        lat=_lat(texts.get("lat", "")),
        accuracy_m=None if not hdop else round(hdop * METRES_PER_HDOP, 1),
        altitude_m=optional("ele"),
        speed_mps=_known(optional("speed")),
        heading_deg=_known(optional("course")),
    )


# OwnTracks ---------------------------------------------------------------------------------------------------------------------


def owntracks(lines: Lines) -> Recorded:
    """OwnTracks' recorder file: time, TAB, topic, TAB, the JSON payload as it came.

    The recorder writes the topic as `*` for the phone's own topic and otherwise as what follows it; `-` is a last will's.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _recorded(number, line.rstrip(b"\r\n").split(b"\t", 2))
        except _UnusableError as error:
            yield BadLine(number, str(error))


def _recorded(number: int, cells: list[bytes]) -> Message:
    if len(cells) != 3:
        raise _UnusableError("is not time, TAB, topic, TAB, payload")
    at = _time(cells[0].decode("utf-8", "replace").strip())
    topic = cells[1].decode("utf-8", "replace").strip()
    if "+" in topic or "#" in topic or "\0" in topic or "�" in topic:
        raise _UnusableError(f"names a topic that cannot be published to: {topic!r}")
    try:
        said_at = float(_object(cells[2]).get("tst", at))
    except (TypeError, ValueError):
        raise _UnusableError("has a tst that is not epoch seconds") from None
    if not 0 <= said_at < YEAR_5138_S:
        raise _UnusableError("has a tst that is not epoch seconds")
    return Message(line=number, at=at, said_at=said_at, topic="" if topic in ("*", "-") else topic, payload=cells[2])


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise _UnusableError("has a payload that is not JSON") from None
    if not isinstance(body, dict):
        raise _UnusableError("has a payload that is not a JSON object")
    return body


READERS: dict[str, Callable[[Lines], Read]] = {".plt": geolife, ".csv": comma_separated, ".gpx": gpx}
"""By the file's suffix. OwnTracks' `.rec` holds messages instead of points and has `owntracks`."""


# Moving a recording in time ----------------------------------------------------------------------------------------------------

OWNTRACKS_TIMES = ("tst", "wtst", "created_at")


def moved(message: Message, shift_s: float) -> Message:
    """The message `shift_s` later. Nothing but its times is touched, and a time that was a text stays one."""
    if not shift_s:
        return message
    body = _object(message.payload)
    for field in OWNTRACKS_TIMES:
        time = body.get(field)
        if isinstance(time, str) and time.lstrip("-").isdigit():
            body[field] = str(int(time) + round(shift_s))
        elif isinstance(time, int | float) and not isinstance(time, bool):
            body[field] = time + round(shift_s)
    return Message(
        line=message.line,
        at=message.at + shift_s,
        said_at=message.said_at + shift_s,
        topic=message.topic,
        payload=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
    )


# Fields ------------------------------------------------------------------------------------------------------------------------


def _number(field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _UnusableError(f"{field} {text[:40]!r} is not a number") from None
    if not math.isfinite(value):
        raise _UnusableError(f"{field} {text[:40]!r} is not a finite number")
    return value


def _not_negative(field: str, value: float | None) -> float | None:
    if value is not None and value < 0:
        raise _UnusableError(f"{field} {value:g} is negative")
    return value


def _known(value: float | None) -> float | None:
    """Phones write a speed or a heading of -1 when they know none."""
    return None if value is not None and value < 0 else value


def _lon(text: str) -> float:
    value = _number("lon", text)
    if not -180 <= value <= 180:
        raise _UnusableError(f"lon {value:g} is outside -180..180")
    return value


def _lat(text: str) -> float:
    value = _number("lat", text)
    if not -90 <= value <= 90:
        raise _UnusableError(f"lat {value:g} is outside -90..90" + (": lon and lat look swapped" if abs(value) <= 180 else ""))
    return value


def _time(text: str, *, assume_utc: bool = False) -> float:
    if text.isascii() and text.replace(".", "", 1).isdigit():
        value = _number("time", text)
        if value >= YEAR_5138_S:
            raise _UnusableError(f"time {text[:40]} looks like milliseconds: write seconds")
        return value
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _UnusableError(f"time {text[:40]!r} is neither RFC 3339 nor epoch seconds") from None
    if moment.tzinfo is None:
        if not assume_utc:
            raise _UnusableError(f"time {text[:40]!r} has no zone: write {text[:40]}Z if it is UTC")
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        raise _UnusableError(f"time {text[:40]!r} is out of range") from None
