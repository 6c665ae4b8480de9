"""Cases: bytes that are nearly right, and bytes that are wrong in the ways in which the world is.

Bases are the examples that people read: those of docs/wire.md and of the OpenAPI. What is done to them: fields that are missing,
doubled or of another type; NUL, lone surrogates, huge and tiny numbers, times of other centuries; arrays, nesting, cut ends; and,
in `large`, one fragment over and over, up to the size of the largest packet, which finds what takes quadratic time.

Each maker draws from a `random.Random`. A seed makes millions of cases a minute of it, and Hypothesis, which has a Random of its
own, makes cases that it can shrink.
"""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import mqtt5

from api import devices, sites, visits, workers
from tests.fuzz import targets

PACKET_BYTES_MAX = 1_048_576
"""Of the broker as deployed."""

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
EXAMPLE = re.compile(r"^`(?P<topic>[^`]+)` → [^\n]+\n```json\n(?P<payload>.*?)\n```$", re.MULTILINE | re.DOTALL)

MESSAGES: list[tuple[str, Any]] = [(found["topic"], json.loads(found["payload"])) for found in EXAMPLE.finditer(PAGE)]
BODIES: dict[str, Any] = {
    "plans": {
        "sites": [{**sites.EXAMPLE, "id": "s-1"}],
        "workers": [{**workers.EXAMPLE, "id": "w-1"}],
        "devices": [{**devices.EXAMPLE, "id": "d-1"}],
        "visits": [{**visits.EXAMPLE, "id": "v-1"}],
    },
    "sites": sites.EXAMPLE,
    "workers": {**workers.EXAMPLE, "owntracks_key": "s3cret"},
    "devices": devices.EXAMPLE,
    "visits": visits.EXAMPLE,
    "policies": {"late_s": 900, "coverage_target": 0.9, "stated": {}, "values": {"late_s": 60}},
}

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**53, 2**63, 2**64, -(2**63), 10**400, 1e308, -1e308, 5e-324, float("nan"),
    float("inf"), 180, 180.0000001, 90.5, 1e7, targets.NOW, targets.NOW * 1e3, targets.NOW * 1e9, targets.NOW + 86_401, -1e18,
    946_684_799, "", "\0", "a\0b", "\ud800", "\udfff\ud800", "é" * 200, "x" * 201, "x" * 5000, "*", "+/#", "../..", "NaN", "1e999",
    "-1", "true", "2026-11-22T01:02:03Z", "2026-11-22T01:02:03", "2026-11-22T25:02:03Z", "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59", "2026-11-22T01:02:60Z", [], {}, [[[[]]]], {"": {}}, [None], {"\0": 1}, "wgs84", "gcj02",
    "bd09", "in", "lock", "online", "location",
]  # fmt: skip

NAMES = sorted({name for _, said in MESSAGES for name in (said if isinstance(said, dict) else said[0])} | {"seq", "epoch", "id"})


def message(random: Random) -> bytes:
    """For `targets.decode`: mostly nearly right, on the topic of its example."""
    topic, base = random.choice(MESSAGES)
    door = targets.TOPICS.index(topic) if topic in targets.TOPICS else 0
    if random.random() < 0.2:
        door = random.randrange(len(targets.TOPICS))
    match random.randrange(20):
        case 0:
            own = "".join(random.choice("a/+#*\0é\ud800 x") for _ in range(random.randrange(30)))
            return bytes([targets.OWN_TOPIC]) + own.encode("utf-8", "surrogatepass") + b"\n" + payload(random, base)
        case 1:
            return bytes([door]) + random.randbytes(random.randrange(300))
    return bytes([door]) + payload(random, base)


def inside(random: Random) -> bytes:
    """For `targets.unseal`: what is inside of a box."""
    return payload(random, random.choice(OWNTRACKS))


def request(random: Random) -> bytes:
    """For `targets.body_of_a_call`."""
    name = random.choice(targets.BODIES)
    return bytes([targets.BODIES.index(name)]) + payload(random, BODIES[name])


def large(random: Random) -> bytes:
    """One fragment over and over between a beginning and an end, behind any door."""
    start, fragment, end = random.choice(STARTS), random.choice(FRAGMENTS), random.choice(ENDS)
    size = PACKET_BYTES_MAX // random.choice([1, 5, 50])
    return bytes([random.randrange(10)]) + start + fragment * (size // len(fragment)) + end


def payload(random: Random, base: Any) -> bytes:
    """A bent base, alone or in an array; sometimes cut, sometimes with garbage in it."""
    said = bent(random, base)
    if random.random() < 0.3:
        said = [said] * random.randrange(1, 4) if random.random() < 0.5 else [base, said, base]
    # NaN stays, and a lone surrogate becomes an escape or bytes that are not UTF-8: what senders take for JSON.
    raw = json.dumps(said, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    match random.randrange(10):
        case 0:
            return raw[: random.randrange(len(raw) + 1)]
        case 1:
            at = random.randrange(len(raw) + 1)
            return raw[:at] + random.randbytes(random.randrange(4)) + raw[at + random.randrange(2) :]
    return raw


def bent(random: Random, base: Any) -> Any:
    """The base with up to three of its parts, however deep, replaced, removed or joined by others."""
    said = json.loads(json.dumps(base))
    for _ in range(random.randrange(4)):
        places = list(_places(said))
        if not places:
            return odd(random)
        inner, key = random.choice(places)
        match random.randrange(4):
            case 0:
                del inner[key]
            case 1 if isinstance(inner, dict):
                inner[random.choice(NAMES)] = odd(random)
            case 1:
                inner.append(odd(random))
            case _:
                inner[key] = odd(random)
    return said


def stream(random: Random) -> bytes:
    """For `targets.arrive`: what a broker may send, mostly with a byte or a few of it changed."""
    said = bytearray(b"".join(random.choice(PACKETS) for _ in range(random.randrange(1, 6))))
    for _ in range(random.randrange(4)):
        match random.randrange(4):
            case 0:
                said[random.randrange(len(said))] = random.randrange(256)
            case 1:
                said[random.randrange(len(said))] ^= 1 << random.randrange(8)
            case 2:
                del said[random.randrange(len(said)) :]
                said += b"\0"
            case _:
                at = random.randrange(len(said))
                said[at:at] = random.randbytes(random.randrange(1, 5))
    return bytes([random.randrange(256)]) + bytes(said)


def _packets() -> list[bytes]:
    topics = ["sitewatch/v1/workers/w-1/position", "owntracks/anna/phone", "t", "é/\U0001f600", "x" * 200]
    publish = [
        mqtt5.PublishPacket(topic, b'{"at": 1}' * times, qos=qos, packet_id=None if qos == mqtt5.QoS.AT_MOST_ONCE else 7).write()
        for topic in topics
        for times in (0, 1, 300)
        for qos in (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE)
    ]
    answers = [mqtt5.PubAckPacket(7).write(), mqtt5.DisconnectPacket().write(), mqtt5.PingReqPacket().write(), b"\xd0\0"]
    # Topics that are no text, which brokers hand on.
    return [*publish, *answers, *(one.replace(b"t/v1" if b"t/v1" in one else b"an", b"\xff\xfe") for one in publish[:2])]


PACKETS = _packets()


def odd(random: Random) -> Any:
    """A value that may be wrong here."""
    match random.randrange(8):
        case 0:
            return random.uniform(-200, 200)
        case 1:
            return random.randrange(-(2**70), 2**70)
        case 2:
            return "".join(chr(random.choice([random.randrange(128), random.randrange(0x11_0000)])) for _ in range(8))
    # A copy, or what one case puts into a list would be in it for all the others.
    return deepcopy(random.choice(ODD))


def _places(said: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    waiting = [said]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else []
        found += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys]
    return found


FRAGMENTS = [
    b"[", b"{", b'{"a":', b'[{"at":', b"NaN,", b"1,", b"{},", b'"', b"\\", b"\\u0000", b"\\\\u0000", b" ", b"\n", b"9", b"-",
    b"1e9,", b'{"at":NaN},', b'"lon":1,', b'"a":{},', b"\xff", b"\xf0\x9f\x98\x80", b"[NaN,", b"]", b"}", b"\\ud800", b"A",
    b"=", b"/", b'{"lat":NaN,"lon":1},', b'"x",', b"[1,2],", b"[[1,2]],", b"[[1,2],[1,2],[1,2],[1,2]],",
]  # fmt: skip
STARTS = [
    b"", b"[", b"[NaN,", b'{"at":1,"lon":', b'{"at":1,"lon":1,"lat":1,"crs":"', b'{"_type":"encrypted","data":"',
    b'{"sites":[', b'{"workers":[{"aliases":{"owntracks":[', b'{"aliases":{"owntracks":[', b'{"aliases":{"a":[',
    b'{"site":"s","kind":"lock","note":[', b'{"values":{"late_s":[', b'{"a":"',
    b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[',
    b'{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[',
]  # fmt: skip
ENDS = [b"", b"]", b"1]", b'"}', b'"]', b"1]}", b"{}]}", b"1]}}", b"1]}}]}", b"[1,2]]]}}"]

MAKERS: dict[str, Callable[[Random], bytes]] = {
    "decode": message,
    "unseal": inside,
    "bodies": request,
    "packets": stream,
    "commit": message,
}
"""For each target."""
OWNTRACKS = [said for topic, said in MESSAGES if topic.startswith("owntracks")]
