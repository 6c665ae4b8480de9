"""OwnTracks phones, unchanged: what they publish and what it means here."""

import json
from base64 import b64encode
from typing import Any

import pytest
from nacl.secret import SecretBox

from geofence.evidence import Fix, Status
from ingest.wire import decode
from store.rejects import Reason, Reject

NOW = 1_795_312_800.0
TOPIC = "owntracks/anna/phone"
SOURCE = "owntracks:anna/phone"
LOCATION: dict[str, Any] = {"_type": "location", "tst": 1_795_312_700, "lon": 24.94, "lat": 60.17, "acc": 12, "tid": "an"}
# As an iPhone of 2015 sent them: integers, -1 for "not known", a last will whose time is a string.
RECORDED = [
    b'{"tst":1440395361,"acc":3000,"_type":"location","alt":51,"lon":10.02785,"vac":29,"vel":-1,"lat":52.37888,"cog":-1,"tid":"NE","batt":96}',
    b'{"tst":"1440363922","_type":"lwt"}',
    b'{"tst":1440403798,"acc":5,"_type":"location","alt":166,"lon":12.71026,"vac":6,"vel":35,"lat":51.26004,"cog":118,"tid":"NE","batt":88}',
]


def said(payload: object, *, topic: str = TOPIC, received_at: float = NOW, keys: dict[str, str] | None = None) -> list[Any]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return [report.said for report in decode(topic, raw, received_at, keys=keys or {})]


def sealed(payload: object, secret: str) -> dict[str, str]:
    box = SecretBox(secret.encode().ljust(32, b"\0"))
    return {"_type": "encrypted", "data": b64encode(box.encrypt(json.dumps(payload).encode())).decode()}


def test_a_location_becomes_a_fix_in_our_units() -> None:
    (fix,) = said({**LOCATION, "alt": 9, "vel": 36, "cog": 90, "batt": 1, "t": "u", "m": 2})
    assert isinstance(fix, Fix)
    assert (fix.source, fix.at, fix.lon, fix.lat, fix.accuracy_m) == (SOURCE, 1_795_312_700, 24.94, 60.17, 12)
    assert (fix.altitude_m, fix.speed_mps, fix.heading_deg, fix.battery) == (9, 10, 90, 0.01)
    assert (fix.trigger, fix.mode, fix.seq, fix.epoch) == ("manual", "move", None, None)


def test_what_was_recorded_from_a_real_phone_decodes() -> None:
    first, will, third = (said(raw)[0] for raw in RECORDED)
    assert (first.accuracy_m, first.speed_mps, first.heading_deg, first.battery) == (3000, None, None, 0.96)
    assert (will.state, will.at, will.received_at) == ("offline", 1_440_363_922, NOW)
    assert abs(third.speed_mps - 35 / 3.6) < 1e-9


def test_a_ping_is_kept_as_one() -> None:
    assert said({**LOCATION, "t": "p"})[0].trigger == "ping"
    assert said(LOCATION)[0].trigger is None


@pytest.mark.parametrize(("m", "mode"), [(-1, "quiet"), (0, "manual"), (1, "significant"), (2, "move"), (7, None)])
def test_the_reporting_mode_has_a_name(m: int, mode: str | None) -> None:
    assert said({**LOCATION, "m": m})[0].mode == mode


def test_a_transition_is_a_fix_where_it_has_a_place() -> None:
    transition = {"_type": "transition", "wtst": 1, "tst": NOW - 5, "event": "enter", "acc": 30, "t": "c", "desc": "home"}
    (fix,) = said({**transition, "lon": 1, "lat": 2}, topic=TOPIC + "/event")
    assert (fix.trigger, fix.accuracy_m, fix.source) == ("enter", 30, SOURCE)
    assert said(transition, topic=TOPIC + "/event") == []


def test_two_wills_with_the_same_time_are_two_events() -> None:
    will = {"_type": "lwt", "tst": 1_440_363_922}
    first, at_once_again, an_hour_later = (said(will, received_at=NOW + wait)[0] for wait in (0, 1, 3600))
    assert first.identity == at_once_again.identity != an_hour_later.identity


def test_a_status_says_what_the_phone_may_do() -> None:
    ios = {"_type": "status", "iOS": {"version": "18.1", "locationManagerAuthorizationStatus": "kCLAuthorizationStatusDenied"}}
    (status,) = said(ios, topic=TOPIC + "/status")
    assert isinstance(status, Status)
    assert (status.state, status.at, status.permission, status.app_version) == ("online", NOW, "denied", "18.1")
    (android,) = said({"_type": "status", "android": {"hib": 0, "bo": 0, "loc": -2, "ps": 1, "wifi": 1}}, topic=TOPIC + "/status")
    assert (android.permission, android.power_save) == ("when_in_use", True)


@pytest.mark.parametrize("kind", ["waypoint", "waypoints", "card", "cmd", "configuration", "dump", "steps", "beacon", "request"])
def test_what_is_no_evidence_is_passed_over(kind: str) -> None:
    assert said({"_type": kind, "tst": 1}) == []


def test_a_type_that_nobody_documents_is_a_reject() -> None:
    assert said({"_type": "telepathy"})[0].reason is Reason.UNKNOWN_TYPE
    (reject,) = said({"tst": 1, "lon": 1, "lat": 1})
    assert (reject.reason, "_type" in reject.detail) == (Reason.MISSING_FIELD, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lon": "nan"}, Reason.OUT_OF_RANGE),
        ({"lat": "inf"}, Reason.OUT_OF_RANGE),
        ({"alt": "nan"}, Reason.OUT_OF_RANGE),
        ({"acc": "nan"}, Reason.OUT_OF_RANGE),
        ({"vel": "inf"}, Reason.OUT_OF_RANGE),
        ({"lat": 116, "lon": 39}, Reason.OUT_OF_RANGE),
        ({"tst": "soon"}, Reason.WRONG_TYPE),
        ({"tst": "nan"}, Reason.TIME_OUT_OF_RANGE),
        ({"tst": "-inf"}, Reason.TIME_OUT_OF_RANGE),
        ({"tst": 12}, Reason.TIME_OUT_OF_RANGE),
        ({"t": "\0"}, Reason.BAD_TEXT),
    ],
)
def test_a_location_that_cannot_be_is_a_reject(change: dict[str, object], reason: Reason) -> None:
    (reject,) = said({**LOCATION, **change})
    assert isinstance(reject, Reject), reject
    assert reject.reason is reason


def test_numbers_may_come_as_strings() -> None:
    (fix,) = said({**LOCATION, "tst": "1795312700", "lon": "24.94", "lat": "60.17", "acc": "12"})
    assert (fix.at, fix.lon, fix.lat, fix.accuracy_m) == (1_795_312_700, 24.94, 60.17, 12)


# Encryption ----------------------------------------------------------------------------------------------------------------------


def test_an_encrypted_location_opens_with_the_key_of_its_source() -> None:
    (fix,) = said(sealed(LOCATION, "s3cret"), keys={SOURCE: "s3cret"})
    assert (fix.lon, fix.at) == (24.94, 1_795_312_700)


@pytest.mark.parametrize("payload", [{"_type": "encrypted"}, {"_type": "encrypted", "data": None}])
def test_an_encrypted_payload_without_its_data_says_what_is_missing(payload: dict[str, Any]) -> None:
    (reject,) = said(payload)
    assert isinstance(reject, Reject)
    assert reject.reason is Reason.MISSING_FIELD
    assert reject.detail.startswith("data")


def test_a_location_that_is_encrypted_anew_is_still_the_same_report() -> None:
    once, again = (said(sealed(LOCATION, "s3cret"), keys={SOURCE: "s3cret"})[0] for _ in range(2))
    assert once.identity == again.identity


def test_without_the_right_key_it_is_a_reject_that_can_be_read_later() -> None:
    payload = sealed(LOCATION, "s3cret")
    (unknown,) = said(payload, keys={"owntracks:anna/tablet": "s3cret"})
    (wrong,) = said(payload, keys={SOURCE: "other"})
    assert (unknown.reason, wrong.reason) == (Reason.NO_KEY, Reason.UNDECIPHERABLE)
    assert json.loads(unknown.payload) == payload


@pytest.mark.parametrize("data", ["", "AAAA", "not base64 at all", "é"])
def test_what_is_no_box_is_undecipherable(data: str | None) -> None:
    (reject,) = said({"_type": "encrypted", "data": data}, keys={SOURCE: "s3cret"})
    assert reject.reason is Reason.UNDECIPHERABLE


def test_what_was_inside_is_judged_like_anything_else() -> None:
    keys = {SOURCE: "s3cret"}
    assert said(sealed({**LOCATION, "lat": 99}, "s3cret"), keys=keys)[0].reason is Reason.OUT_OF_RANGE
    assert said(sealed({"_type": "card"}, "s3cret"), keys=keys) == []
    assert said(sealed(sealed(LOCATION, "s3cret"), "s3cret"), keys=keys)[0].reason is Reason.UNKNOWN_TYPE
