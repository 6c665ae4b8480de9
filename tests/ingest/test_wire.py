"""The wire under bytes of every kind: what is taken, what is not and why, and that nothing makes it fall over."""

import json
from typing import Any

import pytest

from geofence.evidence import Check, DeviceEvent, Fix, Status
from ingest.wire import ELEMENTS_MAX, decode
from store.rejects import Reason, Reject

NOW = 1_795_312_800.25
POSITION = "sitewatch/v1/workers/w-17/position"
TOPICS = {
    "position": POSITION,
    "check": "sitewatch/v1/workers/w-17/check",
    "phone_status": "sitewatch/v1/workers/w-17/status",
    "event": "sitewatch/v1/devices/lock-3/event",
    "device_status": "sitewatch/v1/devices/lock-3/status",
}
GOOD: dict[str, Any] = {"at": NOW, "lon": 116.4, "lat": 39.9, "accuracy_m": 12}


def said(topic: str, payload: object) -> list[Any]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return [report.said for report in decode(topic, raw, NOW)]


def only(topic: str, payload: object) -> Any:
    (one,) = said(topic, payload)
    return one


# What is taken --------------------------------------------------------------------------------------------------------


def test_a_position_becomes_a_fix_with_everything_it_said() -> None:
    payload = {
        **GOOD, "altitude_m": 44.5, "speed_mps": 1.25, "heading_deg": 270, "battery": 0.5, "mock": True, "mode": "move",
        "epoch": 3, "seq": 9,
    }  # fmt: skip
    fix = only(POSITION, payload)
    assert isinstance(fix, Fix)
    assert (fix.source, fix.at, fix.received_at, fix.lon, fix.lat) == ("w-17", NOW, NOW, 116.4, 39.9)
    assert (fix.accuracy_m, fix.altitude_m, fix.speed_mps, fix.heading_deg) == (12, 44.5, 1.25, 270)
    assert (fix.battery, fix.mock, fix.mode, fix.epoch, fix.seq) == (0.5, True, "move", 3, 9)
    assert (fix.crs, fix.raw_lon, fix.raw_lat, fix.trigger) == ("wgs84", None, None, None)


def test_the_other_topics_become_their_own_kinds() -> None:
    assert isinstance(only(TOPICS["check"], {"at": NOW, "kind": "in", "method": "qr"}), Check)
    assert isinstance(only(TOPICS["phone_status"], {"at": NOW, "state": "online", "permission": "always"}), Status)
    assert isinstance(only(TOPICS["event"], {"at": NOW, "kind": "unlock", "worker": "w-17"}), DeviceEvent)
    assert only(TOPICS["device_status"], {"at": NOW, "state": "offline"}).source == "lock-3"


@pytest.mark.parametrize(
    "at", ["2026-11-22T02:00:00.25Z", "2026-11-22T10:00:00.250+08:00", "2026-11-21T21:00:00.250000-05:00", NOW]
)
def test_a_time_is_the_same_in_every_form(at: object) -> None:
    assert only(POSITION, {**GOOD, "at": at}).at == 1_795_312_800.25


def test_not_known_in_a_phones_words_is_a_missing_value() -> None:
    fix = only(POSITION, {**GOOD, "accuracy_m": 0, "speed_mps": -1, "heading_deg": -1, "battery": -1})
    assert (fix.accuracy_m, fix.speed_mps, fix.heading_deg, fix.battery) == (None, None, None, None)
    assert only(POSITION, {**GOOD, "accuracy_m": -5}).accuracy_m is None


def test_a_battery_may_be_a_share_or_percent() -> None:
    levels = [only(POSITION, {**GOOD, "battery": level}).battery for level in (0, 0.87, 1, 87, 100)]
    assert levels == [0, 0.87, 1, 0.87, 1]


def test_a_declared_datum_is_converted_and_the_raw_value_kept() -> None:
    fix = only(POSITION, {**GOOD, "crs": "gcj02"})
    assert (fix.raw_lon, fix.raw_lat, fix.crs) == (116.4, 39.9, "gcj02")
    assert abs(fix.lon - 116.39376) < 1e-5
    assert abs(fix.lat - 39.89860) < 1e-5


def test_a_check_in_a_declared_datum_is_converted_too() -> None:
    check = only(TOPICS["check"], {"at": NOW, "kind": "in", "lon": 116.4, "lat": 39.9, "crs": "gcj02"})
    assert abs(check.lon - 116.39376) < 1e-5


# Identity -------------------------------------------------------------------------------------------------------------


def test_the_same_bytes_are_the_same_report_alone_or_in_a_batch() -> None:
    raw = json.dumps(GOOD).encode()
    batch = b"[" + raw + b" , " + json.dumps({**GOOD, "lat": 1}).encode() + b"]"
    first, second = (report.said for report in decode(POSITION, batch, NOW + 60))
    assert not isinstance(first, Reject)
    assert not isinstance(second, Reject)
    assert first.identity == only(POSITION, raw).identity != second.identity


def test_a_counted_report_is_the_same_in_any_bytes() -> None:
    one = only(POSITION, {**GOOD, "seq": 5, "epoch": 2})
    again = only(POSITION, {"seq": 5, "epoch": 2, **GOOD, "battery": 0.1})
    others = [only(POSITION, {**GOOD, "seq": seq, "epoch": epoch}) for seq, epoch in ((5, 0), (6, 2), (2, 5), (52, 0))]
    assert one.identity == again.identity
    assert len({one.identity, *(other.identity for other in others)}) == 5


def test_an_epoch_that_is_not_said_is_0() -> None:
    assert only(POSITION, {**GOOD, "seq": 5}).identity == only(POSITION, {**GOOD, "seq": 5, "epoch": 0}).identity
    assert only(POSITION, {**GOOD, "seq": 5}).epoch == 0


# What is not taken, and what it says ----------------------------------------------------------------------------------

REFUSED = [
    (b"{", Reason.MALFORMED, "JSON"),
    (b"x", Reason.MALFORMED, "JSON"),
    (b'{"at":1795312800,"lon":NaN,"lat":1}', Reason.MALFORMED, "lon is NaN or infinite"),
    (b'{"at":1795312800,"lon":1,"lat":-Infinity}', Reason.MALFORMED, "lat is NaN or infinite"),
    (b'{"at":1795312800,"lon":1e400,"lat":1}', Reason.OUT_OF_RANGE, "lon"),
    (b'{"at":1795312800,"lon":1,"lat":1,"mode":"\xff"}', Reason.NOT_UTF8, "UTF-8"),
    (b'{"a":' * 5_000, Reason.TOO_DEEP, "nested"),
    (b"null", Reason.WRONG_TYPE, "object"),
    (b"3", Reason.WRONG_TYPE, "object"),
    ({**GOOD, "lon": "116.4"}, Reason.WRONG_TYPE, "lon"),
    ({**GOOD, "lon": True}, Reason.WRONG_TYPE, "lon"),
    ({**GOOD, "seq": 5.5}, Reason.WRONG_TYPE, "seq"),
    ({**GOOD, "mock": "no"}, Reason.WRONG_TYPE, "mock"),
    ({**GOOD, "at": None}, Reason.WRONG_TYPE, "at"),
    ({"at": NOW, "lat": 1}, Reason.MISSING_FIELD, "lon"),
    ({"lon": 1, "lat": 1}, Reason.MISSING_FIELD, "at"),
    ({**GOOD, "lat": 116.4, "lon": 39.9}, Reason.OUT_OF_RANGE, "lon and lat look swapped"),
    ({**GOOD, "lat": 91.0, "lon": 120}, Reason.OUT_OF_RANGE, "lat"),
    ({**GOOD, "altitude_m": 1e300}, Reason.OUT_OF_RANGE, "altitude_m"),
    ({**GOOD, "seq": 0}, Reason.OUT_OF_RANGE, "seq"),
    ({**GOOD, "seq": 2**60}, Reason.OUT_OF_RANGE, "seq"),
    ({**GOOD, "crs": "mars"}, Reason.UNKNOWN_VALUE, "gcj02"),
    ({**GOOD, "mode": "a\0b"}, Reason.BAD_TEXT, "NUL"),
    ({**GOOD, "mode": "m" * 20_000}, Reason.BAD_TEXT, "mode"),
    ({**GOOD, "at": "2026-11-22T02:00:00"}, Reason.BAD_TIME, "zone"),
    ({**GOOD, "at": "yesterday"}, Reason.BAD_TIME, "RFC 3339"),
    ({**GOOD, "at": "1795312800"}, Reason.BAD_TIME, "RFC 3339"),
    ({**GOOD, "at": 0}, Reason.TIME_OUT_OF_RANGE, "2000"),
    ({**GOOD, "at": "1970-01-01T00:00:00Z"}, Reason.TIME_OUT_OF_RANGE, "2000"),
    ({**GOOD, "at": "2038-01-19T03:14:07Z"}, Reason.TIME_OUT_OF_RANGE, "future"),
    ({**GOOD, "at": NOW * 1000}, Reason.TIME_OUT_OF_RANGE, "milliseconds"),
    ({**GOOD, "at": NOW * 1e6}, Reason.TIME_OUT_OF_RANGE, "microseconds"),
]


@pytest.mark.parametrize(("payload", "reason", "named"), REFUSED)
def test_what_cannot_be_taken_is_a_reject_that_names_the_field_and_the_mend(payload: object, reason: Reason, named: str) -> None:
    reject = only(POSITION, payload)
    assert isinstance(reject, Reject), reject
    assert (reject.reason, reject.topic, reject.received_at) == (reason, POSITION, NOW)
    assert named in reject.detail
    assert reject.payload == (payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def test_a_check_and_an_event_name_the_kinds_that_there_are() -> None:
    assert "in or out" in only(TOPICS["check"], {"at": NOW, "kind": "arrive"}).detail
    assert "unlock" in only(TOPICS["event"], {"at": NOW, "kind": "unlocked"}).detail
    assert only(TOPICS["check"], {"at": NOW, "kind": "in", "lon": 3}).reason is Reason.MISSING_FIELD


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("sitewatch/v1/workers/w-17/positon", Reason.UNKNOWN_TOPIC),
        ("sitewatch/v1/workers/w-17", Reason.UNKNOWN_TOPIC),
        ("sitewatch/v1/devices/lock-3/position", Reason.UNKNOWN_TOPIC),
        ("sitewatch/v1/workers/w/17/position", Reason.UNKNOWN_TOPIC),
        ("elsewhere/x", Reason.UNKNOWN_TOPIC),
        ("sitewatch/v1/" + "x" * 60_000, Reason.UNKNOWN_TOPIC),
        ("sitewatch/v1/workers//position", Reason.BAD_SOURCE),
        (f"sitewatch/v1/workers/{'w' * 129}/position", Reason.BAD_SOURCE),
        ("sitewatch/v1/workers/w\n17/position", Reason.BAD_SOURCE),
        ("sitewatch/v1/workers/*/position", Reason.BAD_SOURCE),
        ("owntracks/anna", Reason.UNKNOWN_TOPIC),
        ("owntracks//phone", Reason.BAD_SOURCE),
    ],
)
def test_a_topic_that_means_nothing_is_a_reject(topic: str, reason: Reason) -> None:
    assert only(topic, GOOD).reason is reason


@pytest.mark.parametrize(
    "topic",
    ["sitewatch/v1/workers/w-17/receipt", "sitewatch/v1/devices/d/command", "sitewatch/v1/devices/d/result", "owntracks/a/b/cmd"],
)
def test_topics_that_carry_no_evidence_are_passed_over(topic: str) -> None:
    assert said(topic, GOOD) == []


@pytest.mark.parametrize("payload", [b"", b"  \n", b"[]", b"[ ]"])
def test_nothing_said_is_no_report(payload: bytes) -> None:
    assert said(TOPICS["phone_status"], payload) == []


def test_a_rejected_report_keeps_its_number_so_that_a_receipt_can_cover_it() -> None:
    reject = only(POSITION, {**GOOD, "lat": 99, "seq": 7, "epoch": 2})
    assert (reject.source, reject.epoch, reject.seq) == ("w-17", 2, 7)
    misspelt = only("sitewatch/v1/workers/w-17/positon", {"seq": 8})
    assert (misspelt.source, misspelt.epoch, misspelt.seq) == ("w-17", 0, 8)
    device = only(TOPICS["event"], {"seq": 8})
    assert (device.source, device.seq) == (None, None)


# Batches --------------------------------------------------------------------------------------------------------------


def test_one_bad_element_rejects_only_itself_with_its_own_bytes() -> None:
    batch = b'[{"at":1795312800,"lon":1,"lat":1}, {"at":1795312800,"lon":"x","lat":1} ,{"at":1795312800,"lon":2,"lat":2}]'
    first, bad, last = said(POSITION, batch)
    assert (first.lon, last.lon) == (1, 2)
    assert bad.payload == b'{"at":1795312800,"lon":"x","lat":1}'


def test_a_nan_in_one_element_leaves_the_others() -> None:
    batch = b'[{"at":1795312800,"lon":1,"lat":1},{"at":1795312800,"lon":NaN,"lat":1,"seq":4},{"at":1795312800,"lon":2,"lat":2}]'
    first, bad, last = said(POSITION, batch)
    assert (first.lon, last.lon) == (1, 2)
    assert (bad.reason, bad.payload) == (Reason.MALFORMED, b'{"at":1795312800,"lon":NaN,"lat":1,"seq":4}')


@pytest.mark.parametrize("end", [b"", b",", b',{"at":17953', b"] x", b" oops]", b",\xff]"])
def test_what_stands_before_a_break_is_taken_and_the_rest_is_one_reject(end: bytes) -> None:
    first, rest = said(POSITION, b'[{"at":1795312800,"lon":1,"lat":1}' + end)
    assert first.lon == 1
    assert rest.reason is Reason.MALFORMED


def test_a_bracket_alone_is_a_reject() -> None:
    assert only(POSITION, b"[").reason is Reason.MALFORMED
    assert only(POSITION, b"[" * 20_000).reason is Reason.MALFORMED


def test_an_array_may_not_be_endless() -> None:
    assert len(said(POSITION, b"[" + b"1," * (ELEMENTS_MAX - 1) + b"1]")) == ELEMENTS_MAX
    assert only(POSITION, b"[" + b"1," * ELEMENTS_MAX + b"1]").reason is Reason.TOO_MANY
    assert only(POSITION, b"[" + b"NaN," * (3 * ELEMENTS_MAX) + b"1]").reason is Reason.TOO_MANY
