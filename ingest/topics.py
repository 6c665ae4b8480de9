"""Topics: which kind of report a topic carries, and under which source it counts.

{prefix}/workers/{worker}/position|check|status     native, source = the worker's id
{prefix}/devices/{device}/event|status              native, source = the device's id
{prefix}/workers/{worker}/receipt                   ours, to the phone: no evidence
{prefix}/devices/{device}/command|result            remote control: no evidence
{owntracks}/{user}/{device}[/event|/status|...]     OwnTracks, source = owntracks:{user}/{device}
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct

from ingest.limits import SOURCE_MAX
from store.rejects import Reason

TOPIC_MAX = 512
"""Characters of a topic that may mean something: what is longer must not fill the cache either."""

Kind = Literal["position", "check", "phone_status", "event", "device_status", "owntracks"]

_NATIVE: dict[tuple[str, str], Kind] = {
    ("workers", "position"): "position",
    ("workers", "check"): "check",
    ("workers", "status"): "phone_status",
    ("devices", "event"): "event",
    ("devices", "status"): "device_status",
}
_NO_EVIDENCE = {("workers", "receipt"), ("devices", "command"), ("devices", "result")}
_OWNTRACKS_NO_EVIDENCE = {"cmd", "info", "step", "steps", "beacon", "dump", "request", "waypoint", "waypoints"}


class Address(Struct, frozen=True):
    """A topic that carries evidence."""

    kind: Kind
    source: str


class NoEvidence(Struct, frozen=True):
    """A topic that we know and that carries none."""


class Unplaced(Struct, frozen=True):
    """A topic that nothing can be taken from. `source` is the phone that may be counting, where the topic names one."""

    reason: Reason
    detail: str
    source: str | None = None


def locate(topic: str, prefix: str, owntracks_prefix: str) -> Address | NoEvidence | Unplaced:
    """Where a topic's messages belong."""
    if len(topic) > TOPIC_MAX:
        return Unplaced(Reason.UNKNOWN_TOPIC, f"a topic of {len(topic)} characters: at most {TOPIC_MAX} mean something here")
    return _locate(topic, prefix, owntracks_prefix)


# Cached, because a phone uses the same three topics all day.
@lru_cache(maxsize=65_536)
def _locate(topic: str, prefix: str, owntracks_prefix: str) -> Address | NoEvidence | Unplaced:
    if topic.startswith(prefix + "/"):
        return _locate_native(topic, topic[len(prefix) + 1 :].split("/"), prefix)
    if owntracks_prefix and topic.startswith(owntracks_prefix + "/"):
        return _locate_owntracks(topic, topic[len(owntracks_prefix) + 1 :].split("/"), owntracks_prefix)
    return Unplaced(Reason.UNKNOWN_TOPIC, f"{topic} is no topic of ours: publish under {prefix}/")


def _locate_native(topic: str, levels: list[str], prefix: str) -> Address | NoEvidence | Unplaced:
    if len(levels) != 3:
        return Unplaced(Reason.UNKNOWN_TOPIC, f"{topic} is not {prefix}/workers/<id>/<what> or {prefix}/devices/<id>/<what>")
    owner, source, what = levels
    if (owner, what) in _NO_EVIDENCE:
        return NoEvidence()
    kind = _NATIVE.get((owner, what))
    if kind is None:
        known = ", ".join(sorted(f"{owner}/<id>/{what}" for owner, what in _NATIVE))
        phone = source if owner == "workers" and _named(source) else None
        return Unplaced(Reason.UNKNOWN_TOPIC, f"{topic} carries nothing known: below {prefix}/ there are {known}", phone)
    return _address(kind, source)


def _locate_owntracks(topic: str, levels: list[str], owntracks_prefix: str) -> Address | NoEvidence | Unplaced:
    if len(levels) < 2:
        return Unplaced(Reason.UNKNOWN_TOPIC, f"{topic} is not {owntracks_prefix}/<user>/<device>")
    user, device, *below = levels
    if below and below[0] in _OWNTRACKS_NO_EVIDENCE:
        return NoEvidence()
    if below not in ([], ["event"], ["status"]):
        return Unplaced(Reason.UNKNOWN_TOPIC, f"{topic} is no topic that OwnTracks publishes to")
    if not user or not device:
        return Unplaced(Reason.BAD_SOURCE, f"{topic} leaves the user or the device empty")
    return _address("owntracks", f"owntracks:{user}/{device}")


def _address(kind: Kind, source: str) -> Address | Unplaced:
    if not _named(source):
        return Unplaced(
            Reason.BAD_SOURCE, f"an id has 1 to {SOURCE_MAX} printable characters and is not *; this topic has {source[:40]!r}"
        )
    return Address(kind, source)


def _named(source: str) -> bool:
    """An id that can be a source. `*` is everybody in the journal, so nobody may be called that."""
    return 0 < len(source) <= SOURCE_MAX and source.isprintable() and source != "*"
