"""Laws of the wire: nothing makes it fall over, and it agrees with the obvious slow decoder of `plain_decoder`."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.limits import digest
from ingest.topics import Address, locate
from ingest.wire import READERS, decode
from store.rejects import Reason, Reject
from tests.ingest import plain_decoder

NOW = 1_795_312_800.25
TOPICS = {
    "position": "sitewatch/v1/workers/w-17/position",
    "check": "sitewatch/v1/workers/w-17/check",
    "phone_status": "sitewatch/v1/workers/w-17/status",
    "event": "sitewatch/v1/devices/lock-3/event",
    "device_status": "sitewatch/v1/devices/lock-3/status",
}


@settings(deadline=None)
@given(st.binary(max_size=50), st.binary(max_size=50))
def test_an_identity_fits_a_bigint_and_never_is_negative(one: bytes, other: bytes) -> None:
    assert 0 <= digest(one) < 2**63
    assert (digest(one) == digest(other)) == (one == other)


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


known = [*TOPICS.values(), "owntracks/anna/phone", "owntracks/anna/phone/event", "sitewatch/v1/x"]
topics = st.sampled_from(known) | st.text(max_size=40)
fields = ["_type", "tst", "acc", "event", "data", "value", "worker", "crs", "seq", "epoch", "kind", "state", "at", "lon", "lat"]
words = ["location", "encrypted", "lwt", "in", "lock", "online", NOW, NOW * 1000, 10**400, "2026-11-22T02:00:00Z"]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(words)
objects = st.dictionaries(st.sampled_from(fields) | st.text(max_size=5), leaves | st.lists(leaves, max_size=3), max_size=10)
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
payloads = st.binary(max_size=200) | (trees | objects | st.lists(objects, max_size=4)).map(dump)


@settings(max_examples=600, deadline=None)
@given(topics, payloads, st.integers(0, 200))
def test_no_bytes_make_decode_raise_and_every_report_is_storable_or_a_reject(topic: str, payload: bytes, cut: int) -> None:
    for raw in (payload, payload[:cut], payload[cut:]):
        for report in decode(topic, raw, NOW, keys={"owntracks:anna/phone": "secret"}):
            one = report.said
            assert report.payload in raw
            if isinstance(one, Reject):
                assert one.reason in Reason
                assert one.detail
            else:
                assert 946_684_800 <= one.at <= NOW + 86_400
                assert 0 <= one.identity < 2**63


HOSTILE = {
    "spaces": b"[NaN" + b" " * 200_000 + b",1]",
    "nesting": b"[" * 100_000,
    "objects": b'{"a":' * 40_000,
    "many": b"[" + b"NaN," * 50_000 + b"1]",
    "word": b'{"at":1,"lon":1,"lat":1,"crs":"' + b"x" * 200_000 + b'"}',
    "digits": b'{"at":1,"lon":' + b"9" * 200_000 + b',"lat":1}',
    "escapes": b'{"at":1,"lon":1,"lat":1,"mode":"' + b"\\u0000" * 30_000 + b'"}',
    "fields": b"{" + b",".join(b'"f%d":1' % number for number in range(20_000)) + b"}",
    "nothing": b"[" + b",".join([b"{}"] * 5_000) + b"]",
}


@pytest.mark.timeout(30)  # What is quadratic takes minutes here. How fast it is otherwise, the fuzz command measures.
@pytest.mark.parametrize("kind", HOSTILE)
def test_200_kilobytes_of_malice_cost_no_more_than_a_moment(kind: str) -> None:
    reports = decode(TOPICS["position"], HOSTILE[kind], NOW)
    assert reports
    assert all(isinstance(report.said, Reject) for report in reports)


values: dict[str, list[object]] = {
    "at": [
        NOW,
        int(NOW),
        NOW + 86_400,
        NOW + 86_401,
        946_684_799,
        "2026-11-22T02:00:00Z",
        "2026-11-22T02:00:00",
        "x",
        True,
        None,
        -1,
        1e18,
    ],
    "lon": [1, -180, 180.0, 180.1, "1", None, False, [], 1e300],
    "lat": [1, -90, 90.0, 90.1, "1", None, {}, -1e300],
    "accuracy_m": [5, 0, -1, 1e7, 2e7, "5", None, -1e300],
    "altitude_m": [-12_000, 8_848.5, 1e6, None, ""],
    "speed_mps": [0, -1, 1.5, 1e5, None],
    "heading_deg": [0, 360, 361, -1, None],
    "battery": [0, 0.5, 1, 1.5, 100, 101, -1, None, "50"],
    "mock": [True, False, None, 1, "true"],
    "crs": ["wgs84", "gcj02", "bd09", "GCJ02", None, 4326],
    "mode": ["move", "", "m" * 200, "m" * 201, "a\0", None, 2],
    "kind": ["in", "out", "lock", "battery", "sos", "IN", None, 1],
    "visit": ["v-1", "", None, 5],
    "method": ["qr", "app", "fax", None],
    "code": ["1234", 1234, None, "é" * 200],
    "state": ["online", "offline", "ready", None],
    "permission": ["always", None, 3, "\0"],
    "power_save": [True, False, None, 0],
    "app_version": ["1.2", None, 1.2],
    "value": [1, 0.5, 60, True, "1", None, 1e13, -1e13],
    "worker": ["w-1", None, 1],
    "credential": ["c", None, "\0c"],
    "seq": [1, 2**53, 2**53 + 1, 0, -1, 1.0, True, None],
    "epoch": [0, 1, 2**53, -1, None, "1"],
    "extra": [{"deep": [1, {"er": 2}]}, None],
}
NEEDED = {
    "position": {"at", "lon", "lat"},
    "check": {"at", "kind"},
    "phone_status": {"at", "state"},
    "event": {"at", "kind"},
    "device_status": {"at", "state"},
}


@st.composite
def elements(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """Mostly good in what is needed, so that whole elements are often taken, with up to three fields that may be anything."""
    what = draw(st.sampled_from(sorted(NEEDED)))
    element = {name: values[name][0] for name in NEEDED[what]}
    if what == "event":
        element["kind"] = draw(st.sampled_from(plain_decoder.DEVICE_KINDS))
    for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=3)):
        element[name] = draw(st.sampled_from(values[name]))
    for name in draw(st.lists(st.sampled_from(sorted(values)), max_size=4)):
        element[name] = values[name][0]
    if what == "event":
        element["kind"] = draw(st.sampled_from(plain_decoder.DEVICE_KINDS))
    return what, element


@settings(max_examples=1_500, deadline=None)
@given(elements(), st.booleans())
def test_decode_agrees_with_the_obvious_slow_decoder(drawn: tuple[str, dict[str, object]], drop: bool) -> None:
    what, element = drawn
    if drop:
        element.popitem()
    raw = json.dumps(element).encode()
    expected = plain_decoder.meaning(what, raw, NOW)
    (report,) = decode(TOPICS[what], raw, NOW)
    if expected is None:
        assert isinstance(report.said, Reject), (element, report.said)
        return
    assert not isinstance(report.said, Reject), (element, report.said)
    found = {name: getattr(report.said, name) for name in expected}
    assert found == expected


def test_every_native_topic_has_a_reader() -> None:
    for what, topic in TOPICS.items():
        address = locate(topic, "sitewatch/v1", "owntracks")
        assert isinstance(address, Address)
        assert address.kind == what
    assert set(READERS) == set(TOPICS)
