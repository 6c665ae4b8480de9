"""Outcomes over HTTP: what the engine found about a visit, with times a person can read.

The store keeps an outcome as the engine's own JSON with epoch seconds; here it becomes the public shape. A visit that nobody judged
yet has an outcome too: it is pending.
"""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from api.fields import Said
from api.reply import rfc3339_epoch
from geofence.outcome import Cause, Finding, Presence, Verdict

Share = Annotated[float, Field(ge=0, le=1)]


class MomentRead(TypedDict):
    """An instant that is known within a 90 % interval. A bound is null where she was there already when the visit's window opened,
    or was still there when it closed.
    """

    best: Said
    earliest: Said | None
    latest: Said | None


class SecondsRead(TypedDict):
    """A duration that is known within a 90 % interval."""

    best: float
    lower: float
    upper: float


class GapRead(TypedDict):
    """A stretch that nobody saw, and why."""

    start: Said
    end: Said
    cause: Cause


class SpanRead(TypedDict):
    """A stretch of one presence at the visit's site."""

    start: Said
    end: Said
    state: Presence


class EvidenceRead(TypedDict):
    """How much evidence the verdict saw; `flags` counts fixes that are not quite believed, by reason."""

    fixes: int
    checks: int
    device_events: int
    statuses: int
    flags: dict[str, int]


class ExplanationRead(TypedDict):
    """Which evidence decided, and what is missing, in one sentence."""

    en: str
    zh: str


class OutcomeRead(TypedDict):
    """The answer for one visit."""

    verdict: Verdict
    findings: list[Finding]
    arrived_at: MomentRead | None
    left_at: MomentRead | None
    on_site_s: SecondsRead
    coverage: Annotated[Share | None, Field(description="monitored_s / expected_s; null while nothing of the visit has happened")]
    monitored_s: float
    expected_s: float
    gaps: list[GapRead]
    presence: list[SpanRead]
    evidence: EvidenceRead
    explanation: ExplanationRead
    version: Annotated[int, Field(description="counts the changes of this outcome; 0 when nobody judged yet")]
    engine: str | None
    policy: Annotated[int | None, Field(description="version of the service's policy that judged; 0 is the built-in one")]


NOT_JUDGED = OutcomeRead(
    verdict="pending",
    findings=[],
    arrived_at=None,
    left_at=None,
    on_site_s=SecondsRead(best=0.0, lower=0.0, upper=0.0),
    coverage=None,
    monitored_s=0.0,
    expected_s=0.0,
    gaps=[],
    presence=[],
    evidence=EvidenceRead(fixes=0, checks=0, device_events=0, statuses=0, flags={}),
    explanation=ExplanationRead(en="Nothing has been judged yet.", zh="尚未评定。"),
    version=0,
    engine=None,
    policy=None,
)


def read(stored: dict[str, Any] | None, revision: int | None) -> OutcomeRead:
    """The public shape of the engine's JSON."""
    if stored is None or revision is None:
        return NOT_JUDGED
    return OutcomeRead(
        verdict=stored["verdict"],
        findings=stored["findings"],
        arrived_at=_moment(stored["arrived_at"]),
        left_at=_moment(stored["left_at"]),
        on_site_s=stored["on_site_s"],
        coverage=stored["coverage"],
        monitored_s=stored["monitored_s"],
        expected_s=stored["expected_s"],
        gaps=[
            GapRead(start=rfc3339_epoch(gap["start"]), end=rfc3339_epoch(gap["end"]), cause=gap["cause"]) for gap in stored["gaps"]
        ],
        presence=[
            SpanRead(start=rfc3339_epoch(span["start"]), end=rfc3339_epoch(span["end"]), state=span["state"])
            for span in stored["presence"]
        ],
        evidence=stored["evidence"],
        explanation=stored["explanation"],
        version=revision,
        engine=stored["engine"],
        policy=stored["policy"],
    )


def _moment(stored: dict[str, float | None] | None) -> MomentRead | None:
    if stored is None or stored["best"] is None:
        return None
    earliest, latest = stored["earliest"], stored["latest"]
    return MomentRead(
        best=rfc3339_epoch(stored["best"]),
        earliest=None if earliest is None else rfc3339_epoch(earliest),
        latest=None if latest is None else rfc3339_epoch(latest),
    )
