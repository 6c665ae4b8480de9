"""Targets: what is done with the bytes of a case, and the laws that must hold whatever they are.

The first byte of a case chooses among the doors of its target (a topic, a call), the rest goes through it. A law that does not hold
is an AssertionError; anything else that escapes is an uncaught exception, which is the same to whoever fuzzes.
"""

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from nacl.secret import SecretBox
from pydantic import TypeAdapter, ValidationError

from api import body, devices, plans, policies, problem, sites, visits, workers
from api.policies import read as read_policy
from geofence.evidence import Check, DeviceEvent, Evidence, Fix, Status
from ingest import broker, wire
from ingest.intake import Intake
from ingest.limits import AHEAD_MAX_S, EARLIEST_AT
from ingest.session import BrokenProtocol, Session
from ingest.settings import Settings
from store.rejects import Reason, Reject

NOW = 1_795_312_800.25
SECRET = "s3cret"
SOURCE = "owntracks:anna/phone"
KEYS = {SOURCE: SECRET}
TOPICS = (
    "sitewatch/v1/workers/w-17/position",
    "sitewatch/v1/workers/w-17/check",
    "sitewatch/v1/workers/w-17/status",
    "sitewatch/v1/devices/lock-3/event",
    "sitewatch/v1/devices/lock-3/status",
    "owntracks/anna/phone",
    "owntracks/anna/phone/event",
    "owntracks/bert/phone/status",
    "sitewatch/v1/workers/w-17/positoin",
    "sitewatch/v1/workers/*/position",
)
NOWHERE = broker.parse("mqtt://127.0.0.1:1")
OWN_TOPIC = 255
"""The first byte of a case whose topic is its own first line."""


class Target(msgspec.Struct, frozen=True):
    """What is fuzzed, and apart from it what must hold of its result: only the first is measured."""

    run: Callable[[bytes], Any]
    law: Callable[[bytes, Any], None]


class Arrived(msgspec.Struct, frozen=True):
    """What a session has made of what a broker sent: packets as they read, what ended it, what waits for its rest."""

    packets: list[str]
    broken: str
    unread: bytes


def addressed(data: bytes) -> tuple[str, bytes]:
    """The topic and the payload of a case."""
    if not data or data[0] != OWN_TOPIC:
        return TOPICS[data[0] % len(TOPICS) if data else 0], data[1:]
    topic, _, payload = data[1:].partition(b"\n")
    # Half of the strange topics are below our own prefixes, or they would all be refused at the first level.
    return ("", "sitewatch/v1/", "owntracks/")[len(topic) % 3] + topic.decode("utf-8", "surrogateescape"), payload


def decode(data: bytes) -> list[wire.Report]:
    """A message of any dialect."""
    topic, payload = addressed(data)
    return wire.decode(topic, payload, NOW, keys=KEYS)


def every_report_is_stored_or_rejected(data: bytes, reports: list[wire.Report]) -> None:
    """Evidence that can be stored, or a reject with a reason and a mend."""
    _, payload = addressed(data)
    for report in reports:
        assert report.payload in payload, "a report has bytes that nobody sent"
        stored_or_rejected(report.said)


def unseal(data: bytes) -> list[wire.Report]:
    """These bytes inside of an encrypted OwnTracks payload."""
    return wire.decode(PHONE, _sealed(_box(data)), NOW, keys=KEYS)


def a_box_means_what_is_in_it(data: bytes, reports: list[wire.Report]) -> None:
    """Encrypted, it means what it means when it comes plain; and a box that somebody touched does not open."""
    found = [report.said for report in reports]
    assert len(found) <= 1, "a box became several reports"
    for said in found:
        stored_or_rejected(said)
    # An array or a box inside of a box cannot come plain, and the space around a plain payload is no part of it.
    if found and isinstance(found[0], Fix | Status) and data.strip() == data and b"encrypted" not in data:
        assert [report.said for report in wire.decode(PHONE, data, NOW, keys=KEYS)] == found, "encrypted, it means something else"
    touched = bytearray(_box(data))
    touched[len(data) % len(touched)] ^= 1
    (refused,) = wire.decode(PHONE, _sealed(bytes(touched)), NOW, keys=KEYS)
    assert isinstance(refused.said, Reject), "a box that was tampered with was opened"
    assert refused.said.reason is Reason.UNDECIPHERABLE


PHONE = "owntracks/anna/phone"


def _box(inside: bytes) -> bytes:
    return bytes(SecretBox(SECRET.encode().ljust(SecretBox.KEY_SIZE, b"\0")).encrypt(inside, nonce=bytes(SecretBox.NONCE_SIZE)))


def _sealed(box: bytes) -> bytes:
    return b'{"_type": "encrypted", "data": "%s"}' % b64encode(box)


def body_of_a_call(data: bytes) -> Any:
    """A body of the HTTP API, as far as it goes without a database: a plan, or a problem."""
    name = BODIES[data[0] % len(BODIES)] if data else "plans"
    try:
        return _read_body(name, data[1:])
    except problem.Problem as refused:
        return refused
    except ValidationError as refused:
        # As FastAPI and `problem` do it together.
        return problem.invalid(problem.field_errors(refused.errors(include_url=False), "body"))


def a_body_is_a_plan_or_a_problem(_: bytes, found: Any) -> None:
    """A plan that can be stored, or a problem with a sentence that names what is wrong."""
    if not isinstance(found, problem.Problem):
        _storable(msgspec.to_builtins(found))
        return
    assert found.status_code in (400, 413, 415, 422), found.status_code
    assert found.detail, "a problem without a sentence"
    reply = json.loads(problem.reply(found.status_code, found.detail, "/v1/x", found.errors))
    assert len(reply.get("errors", ())) <= plans.ERRORS_MAX * 2, "an answer that is larger than its question"


BODIES = ("plans", "sites", "workers", "devices", "visits", "policies")
_MODELS: dict[str, tuple[TypeAdapter[Any], Callable[[str, Any], Any]]] = {
    "sites": (TypeAdapter(sites.SiteBody), sites.plan),
    "workers": (TypeAdapter(workers.WorkerBody), workers.plan),
    "devices": (TypeAdapter(devices.DeviceBody), devices.plan),
    "visits": (TypeAdapter(visits.VisitBody), visits.plan),
}


def arrive(data: bytes) -> Arrived:
    """What a broker sends, in two reads. The first byte says where the first one ends."""
    at = len(data) * data[0] // 256 if data else 0
    return _heard([data[1 : at + 1], data[at + 1 :]])


def a_cut_between_two_reads_changes_nothing(data: bytes, found: Arrived) -> None:
    """Packets or what is wrong with them, whole, in order, and the same however the bytes were cut."""
    whole = _heard([data[1:]])
    assert found.packets == whole.packets, "the packets depend on where the network cut them"
    assert found.broken == whole.broken, "what is wrong depends on where the network cut it"
    assert found.broken or data[1:].endswith(found.unread), "what waits for its rest is not what came last"


def _heard(reads: Sequence[bytes]) -> Arrived:
    settings = Settings()
    session = Session(settings, NOWHERE, Intake(settings), proven=False)
    packets: list[str] = []
    broken = ""
    try:
        for read in reads:
            session._unread += read
            for packet in session._packets():
                packets.append(repr(packet))
                session._take([packet])
    except BrokenProtocol as error:
        broken = str(error)
    finally:
        session._waker.close()
        session._sleeper.close()
    return Arrived(packets, broken, b"" if broken else bytes(session._unread))


IN_PROCESS = {
    "decode": Target(decode, every_report_is_stored_or_rejected),
    "unseal": Target(unseal, a_box_means_what_is_in_it),
    "bodies": Target(body_of_a_call, a_body_is_a_plan_or_a_problem),
    "packets": Target(arrive, a_cut_between_two_reads_changes_nothing),
}
"""Those that need nothing but Python. `commits.Commits` is the one that needs a database."""


def _read_body(name: str, raw: bytes) -> Any:
    if name == "plans":
        return plans._read(raw)
    said = body.parse(raw)
    if name == "policies":
        if not isinstance(said, dict):
            raise problem.Problem(422, "FastAPI refuses what is no object before the call sees it.")
        return policies.check("cleaning", policies.sent_back("cleaning", said, read_policy("cleaning", [])))
    adapter, plan = _MODELS[name]
    return plan("id-1", adapter.validate_python(said))


def stored_or_rejected(said: Evidence | Reject) -> None:
    if isinstance(said, Reject):
        assert said.reason in Reason
        assert said.detail, "a reject without its mend"
        return
    assert EARLIEST_AT <= said.at <= NOW + AHEAD_MAX_S, "a time that cannot be"
    assert 0 <= said.identity < 2**63, "an identity that fits no bigint"
    assert isinstance(said, Fix | Check | DeviceEvent | Status)
    if isinstance(said, Fix):
        assert abs(said.lon) <= 181, "a longitude that cannot be"
        assert abs(said.lat) <= 90, "a latitude that cannot be"
    _storable(msgspec.to_builtins(said))


def _storable(said: object) -> None:
    for leaf in _leaves(said):
        if isinstance(leaf, str):
            assert "\0" not in leaf, "PostgreSQL cannot store NUL"
            leaf.encode()
        elif isinstance(leaf, float):
            assert math.isfinite(leaf), "a number that is none"


def _leaves(said: object) -> Iterator[object]:
    waiting = [said]
    while waiting:
        match waiting.pop():
            case dict() as found:
                waiting += [*found.keys(), *found.values()]
            case list() | tuple() as found:
                waiting += found
            case leaf:
                yield leaf
