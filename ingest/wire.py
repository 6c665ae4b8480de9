"""The wire: the bytes of one message become reports, each of them evidence or a reject.

Rules kept here:

- No bytes make `decode` raise. Whatever cannot be taken is a `Reject` with the raw bytes, a reason, and a detail that names the
  mend.
- An array is a batch, and one bad element rejects only itself. Where the array is no JSON as a whole (a NaN in it, a cut end),
  the elements before and after the bad place are still found, by the slow road.
- A rejected report of a phone that counts keeps its number, so that a receipt can cover it: the phone need not send it for ever.
- No message at all (an empty payload, which is how a retained one is deleted), an empty array, and what is known to carry no
  evidence give no reports; they are counted and nothing else.
- Nothing here looks at a clock or a database: the time of receipt and the keys are arguments.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Raw, Struct
from msgspec.json import Decoder

from geofence.evidence import Evidence
from ingest import native, owntracks
from ingest.explain import Bad, explain
from ingest.limits import Epoch, Seq
from ingest.topics import Address, NoEvidence, Unplaced, locate
from store.rejects import Reason, Reject

ELEMENTS_MAX = 5_000
"""Elements of one array: a message of a few hundred kilobytes must not become a hundred thousand rejects."""

NO_KEYS: Mapping[str, str] = MappingProxyType({})

COUNTING = frozenset({"position", "check", "phone_status"})
"""Topics of phones, which may count what they send; nothing else gets receipts."""

Reader = Callable[[bytes, str, float], Evidence]

READERS: dict[str, Reader] = {
    "position": native.position,
    "check": native.check,
    "phone_status": native.phone_status,
    "event": native.event,
    "device_status": native.device_status,
}


class Report(Struct, frozen=True):
    """One thing that a message said, with the bytes that said it."""

    payload: bytes
    said: Evidence | Reject


class Counter(Struct):
    """As much of a phone's report as a receipt needs."""

    seq: Seq
    epoch: Epoch = 0


_array = Decoder(list[Raw])
_counter = Decoder(Counter)
_json = json.JSONDecoder()
_space = re.compile(r"[ \t\r\n]*")


def decode(
    topic: str,
    payload: bytes,
    received_at: float,
    *,
    prefix: str = "sitewatch/v1",
    owntracks_prefix: str = "owntracks",
    keys: Mapping[str, str] = NO_KEYS,
) -> list[Report]:
    """The reports in one message, in their order. `keys` are the passphrases of sources that encrypt. Never raises."""
    address = locate(topic, prefix, owntracks_prefix)
    payload = payload.strip()
    if not payload or isinstance(address, NoEvidence):
        return []
    if isinstance(address, Unplaced):
        refused = _reject(topic, payload, received_at, (address.reason, address.detail), address.source)
        return [Report(payload, refused)]
    if payload[:1] != b"[":
        said = _read(topic, payload, address, received_at, keys)
        return [] if said is None else [Report(payload, said)]
    return list(_read_array(topic, payload, address, received_at, keys))


def _read_array(topic: str, payload: bytes, address: Address, received_at: float, keys: Mapping[str, str]) -> Iterator[Report]:
    broken: tuple[bytes, str] | None = None
    try:
        elements = [bytes(raw) for raw in _array.decode(payload)]
    except (msgspec.DecodeError, RecursionError) as error:
        elements, rest = salvage(payload)
        broken = (rest, str(error)) if rest else None
    if len(elements) > ELEMENTS_MAX:
        why = (Reason.TOO_MANY, f"an array of {len(elements)} elements: send at most {ELEMENTS_MAX} in a message")
        yield Report(payload, _reject(topic, payload, received_at, why, None))
        return
    for raw in elements:
        said = _read(topic, raw, address, received_at, keys)
        if said is not None:
            yield Report(raw, said)
    if broken is not None:
        rest, error_text = broken
        why = (Reason.MALFORMED, f"the array broke off here, elements before this were taken: {error_text}")
        yield Report(rest, _reject(topic, rest, received_at, why, None))


def _read(topic: str, raw: bytes, address: Address, received_at: float, keys: Mapping[str, str]) -> Evidence | Reject | None:
    try:
        if address.kind == "owntracks":
            return owntracks.read(raw, address.source, received_at, keys)
        return READERS[address.kind](raw, address.source, received_at)
    except Bad as error:
        return _reject(
            topic, raw, received_at, explain(error, address.kind, raw), address.source if address.kind in COUNTING else None
        )


def _reject(topic: str, raw: bytes, received_at: float, why: tuple[Reason, str], source: str | None) -> Reject:
    reason, detail = why
    try:
        counter = _counter.decode(raw) if source is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        counter = None
    return Reject(
        received_at=received_at,
        topic=topic,
        payload=raw,
        reason=reason,
        detail=detail,
        source=source,
        epoch=counter.epoch if counter else None,
        seq=counter.seq if counter else None,
    )


def salvage(payload: bytes) -> tuple[list[bytes], bytes]:
    """Of an array that is no JSON as a whole: the elements that can be told apart, and the rest that cannot.

    The reader here takes NaN and Infinity, which phones do send, so that the element which has one is found and rejected alone.
    The rest is empty when only such an element was the trouble; it is the whole payload when nothing but the end is missing.
    """
    text = payload.decode("utf-8", "surrogateescape")
    elements: list[str] = []
    at = _after_space(text, 1)
    while text[at : at + 1] not in ("", "]") and len(elements) <= ELEMENTS_MAX:
        try:
            _, end = _json.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        elements.append(text[at:end])
        at = _after_space(text, end)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
    rest = "" if text[at:] == "]" else text[at:] or text
    return [_to_bytes(element) for element in elements], _to_bytes(rest)


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _after_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    return found.end() if found else at
