"""The readers: what they read, what they refuse and how they say it, and that nothing makes them raise."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitewatch import traces
from sitewatch.traces import BadLine, Message, Point

PLT_HEADER = [b"Geolife trajectory\r\n", b"WGS 84\r\n", b"Altitude is in Feet\r\n", b"Reserved 3\r\n", b"0,2,255\r\n", b"0\r\n"]

GPX = b"""<?xml version="1.0"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1" xmlns:t="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">
 <wpt lat="1" lon="1"><time>2026-01-01T00:00:00Z</time></wpt>
 <trk><name>a &amp; b</name><trkseg>
  <trkpt lat="60.17" lon="24.94"><ele>12.5</ele><time>2026-01-01T08:00:00Z</time><hdop>1.6</hdop></trkpt>
  <trkpt lat="60.18" lon="24.95"><time>2026-01-01T10:00:05.5+02:00</time>
   <extensions><t:TrackPointExtension><t:speed>1.25</t:speed><t:course>-1</t:course></t:TrackPointExtension></extensions></trkpt>
  <trkpt lat="60.19" lon="24.96"><ele>1</ele></trkpt>
  <trkpt lat="124.96" lon="60.19"><time>2026-01-01T08:00:10Z</time></trkpt>
  <trkpt lat="60.20" lon="24.97"><time>2026-01-01T08:00:15</time></trkpt>
 </trkseg></trk>
</gpx>
"""


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_geolife_line_is_a_point_in_metres_and_utc() -> None:
    lines = [*PLT_HEADER, b"39.984094,116.319236,0,492,39744.2451967593,2008-10-23,05:53:05\r\n"]
    assert list(traces.geolife(lines)) == [
        Point(line=7, at=at("2008-10-23T05:53:05Z"), lon=116.319236, lat=39.984094, altitude_m=150.0)
    ]


def test_geolife_says_minus_777_feet_where_it_knows_no_altitude() -> None:
    (point,) = traces.geolife([*PLT_HEADER, b"39.9,116.3,0,-777,39744.2,2008-10-23,05:53:05\n"])
    assert isinstance(point, Point)
    assert point.altitude_m is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"39.9,116.3,0,492", "has 4 fields instead of 7"),
        (b"400.1,116.3,0,492,39744.2,2008-10-23,05:53:05", "lat 400.1 is outside -90..90"),
        (b"116.3,39.9,0,492,39744.2,2008-10-23,05:53:05", "lon and lat look swapped"),
        (b"nan,116.3,0,492,39744.2,2008-10-23,05:53:05", "lat 'nan' is not a finite number"),
        (b"39.9,116.3,0,492,39744.2,2008-10-23,05:53:61", "neither RFC 3339 nor epoch seconds"),
        (b"39.9,116.3,0,\x00\xff,39744.2,2008-10-23,05:53:05", "altitude_ft"),
    ],
)
def test_a_bad_geolife_line_is_named_and_the_next_is_read(line: bytes, reason: str) -> None:
    good = b"39.9,116.3,0,492,39744.2,2008-10-23,05:53:06\n"
    bad, point = traces.geolife([*PLT_HEADER, line + b"\n", good])
    assert isinstance(bad, BadLine)
    assert bad.line == 7
    assert reason in bad.reason
    assert isinstance(point, Point)
    assert point.line == 8


def test_gpx_gives_its_track_points_with_their_lines_and_nothing_else() -> None:
    first, second, untimed, swapped, last = traces.gpx(GPX.splitlines(keepends=True))
    assert first == Point(line=5, at=at("2026-01-01T08:00:00Z"), lon=24.94, lat=60.17, altitude_m=12.5, accuracy_m=8.0)
    assert second == Point(line=6, at=at("2026-01-01T08:00:05.5Z"), lon=24.95, lat=60.18, speed_mps=1.25)
    assert untimed == BadLine(8, "is a track point without a time")
    assert isinstance(swapped, BadLine)
    assert isinstance(last, Point)
    assert last.at == at("2026-01-01T08:00:15Z")


def test_a_gpx_file_that_breaks_off_gives_what_came_before() -> None:
    found = list(traces.gpx(GPX[: GPX.index(b'<trkpt lat="60.19"')].splitlines(keepends=True)))
    assert [type(value) for value in found] == [Point, Point, BadLine]


def test_a_gpx_file_with_entity_tricks_is_refused() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a "aaaa">]>\n<gpx><trk><name>&a;</name></trk></gpx>'
    (bad,) = traces.gpx(bomb.splitlines(keepends=True))
    assert isinstance(bad, BadLine)
    assert "EntitiesForbidden" in bad.reason


def test_csv_takes_other_headings_any_order_and_empty_cells() -> None:
    lines = [b"\xef\xbb\xbfLatitude;lng;TIME;accuracy;worker;speed\n", b"60.17;24.94;2026-01-01T08:00:00Z;;anna;-1\n", b"\n"]
    lines += [b'60.18;24.95;1767254405.5;"12";;2.5\n']
    assert list(traces.comma_separated(lines)) == [
        Point(line=2, at=at("2026-01-01T08:00:00Z"), lon=24.94, lat=60.17, worker="anna"),
        Point(line=4, at=1767254405.5, lon=24.95, lat=60.18, accuracy_m=12.0, speed_mps=2.5),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2026-01-01T08:00:00,24.9,60.1", "has no zone: write 2026-01-01T08:00:00Z"),
        (b"1767254405500,24.9,60.1", "looks like milliseconds"),
        (b"1767254405,24.9", "lat '' is not a number"),
        (b"1e400,24.9,60.1", "neither RFC 3339 nor epoch seconds"),
        (b",24.9,60.1", "neither RFC 3339 nor epoch seconds"),
    ],
)
def test_a_bad_csv_row_says_its_mend(row: bytes, reason: str) -> None:
    (bad,) = traces.comma_separated([b"at,lon,lat\n", row])
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert reason in bad.reason


def test_a_csv_without_the_columns_says_which() -> None:
    assert list(traces.comma_separated([b"when,lon\n", b"1,2\n"])) == [
        BadLine(1, "the header lacks at (at or time or timestamp); lat (lat or latitude)")
    ]


def test_a_recorded_message_keeps_its_bytes() -> None:
    payload = b'{"_type":"location","tst":1440395361,"lat":52.3,"lon":10.0 , "x":"\xc3\xa9"}'
    (message,) = traces.owntracks([b"2015-08-24T05:55:07Z\t*                 \t" + payload + b"\n"])
    assert message == Message(line=1, at=at("2015-08-24T05:55:07Z"), said_at=1440395361.0, topic="", payload=payload)
    assert isinstance(message, Message)
    assert traces.moved(message, 0).payload is message.payload


def test_a_moved_message_differs_in_its_times_alone() -> None:
    payload = b'{"_type":"transition","tst":"1440363922","wtst":5,"created_at":1440363999,"lat":52.30,"event":"enter"}'
    (message,) = traces.owntracks([b"2015-08-24T05:55:07Z\tevent\t" + payload])
    assert isinstance(message, Message)
    late = traces.moved(message, 86_400)
    assert late.topic == "event"
    assert late.at == message.at + 86_400
    wanted = {**json.loads(payload), "tst": "1440450322", "wtst": 86_405, "created_at": 1440450399}
    assert json.loads(late.payload) == wanted


@given(st.lists(st.binary(max_size=200), max_size=12), st.sampled_from([traces.geolife, traces.gpx, traces.comma_separated]))
def test_no_bytes_make_a_reader_raise(lines: list[bytes], read: Callable[[traces.Lines], traces.Read]) -> None:
    for found in read([b"at,lon,lat\n", *lines] if read is traces.comma_separated else lines):
        assert isinstance(found, Point | BadLine)


near_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tst", "wtst", "created_at", "x"]), inner),
)


@given(near_json, st.sampled_from(["*", "event", "a/+/b", ""]), st.sampled_from(["2015-08-24T05:55:07Z", "yesterday", ""]))
def test_no_recorded_payload_makes_reading_or_moving_raise(body: object, topic: str, time: str) -> None:
    for found in traces.owntracks([f"{time}\t{topic}\t{json.dumps(body)}\n".encode()]):
        if isinstance(found, Message):
            traces.moved(found, 86_400.0)


MOMENTS = st.integers(946_684_800, 1_893_456_000)
LONGITUDES, LATITUDES = (st.floats(-most, most).map(lambda value: round(value, 6)) for most in (180, 90))


@given(st.lists(st.tuples(MOMENTS, LONGITUDES, LATITUDES), max_size=5))
def test_what_is_written_in_any_format_reads_the_same(track: list[tuple[int, float, float]]) -> None:
    said = [(datetime.fromtimestamp(moment, UTC), lon, lat) for moment, lon, lat in track]
    plt = [f"{lat},{lon},0,-777,0,{time:%Y-%m-%d},{time:%H:%M:%S}\n" for time, lon, lat in said]
    rows = [f"{time.isoformat()},{lat},{lon}\n" for time, lon, lat in said]
    points = [f'<trkpt lon="{lon}" lat="{lat}"><time>{time:%Y-%m-%dT%H:%M:%SZ}</time></trkpt>\n' for time, lon, lat in said]
    read = [
        traces.geolife([*PLT_HEADER, *(line.encode() for line in plt)]),
        traces.comma_separated([b"time,lat,lon\n", *(line.encode() for line in rows)]),
        traces.gpx([b"<gpx>", *(line.encode() for line in points), b"</gpx>"]),
    ]
    for found in read:
        assert [(point.at, point.lon, point.lat) for point in found if isinstance(point, Point)] == track
