"""Versions: why an outcome that people were told differs from the one that they were told before.

Rules kept here:

- Reasons are found by comparing the two outcomes and plans, and not by remembering what happened: whatever made verify look again,
  what had changed when it looked is what is told. What caused the look stands in where nothing else is to be seen.
- All reasons that apply are told, as values that a page can say in any language; `sentence` says them in English.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from geofence.outcome import Outcome
from geofence.plan import Visit

What = Literal[
    "first",
    "late_evidence",
    "more_evidence",
    "less_evidence",
    "evidence_around",
    "earlier_track",
    "visit_changed",
    "surroundings_changed",
    "policy_changed",
    "engine_changed",
    "outage_recorded",
    "time_passed",
    "replay",
]
FALLBACK: dict[str, What] = {
    "late evidence": "evidence_around",
    "earlier track": "earlier_track",
    "plan changed": "surroundings_changed",
    "policy changed": "policy_changed",
    "outage recorded": "outage_recorded",
    "time passed": "time_passed",
    "replay": "replay",
}
"""What a look was for, as a reason. A changed plan that is not the visit's own is its site's, a device's, or another visit's; late
evidence that is none of it is a neighbour's, or of another day."""
EVIDENCE = {"fixes": "fix", "checks": "check", "device_events": "device event", "statuses": "status"}
PLAN = ("starts_at", "ends_at", "site", "worker", "service")


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason. `of` says which: a kind of evidence, or a field of the plan; times are seconds since 1970."""

    what: What
    of: str | None = None
    count: int | None = None
    worker: str | None = None
    before: str | float | None = None
    after: str | float | None = None


def reasons(told: Outcome | None, outcome: Outcome, plan_before: Visit | None, plan: Visit, cue: str) -> tuple[Reason, ...]:
    """Why `outcome` differs from what was `told`. `cue` is what the visit was looked at for."""
    if told is None or told.verdict == "pending":
        return (Reason(what="first"),)
    found = [*_models(told, outcome), *_plans(plan_before, plan), *_evidence(told, outcome, plan.worker, cue)]
    if cue == "outage recorded":
        found.append(Reason(what="outage_recorded"))
    if cue == "earlier track":
        found.append(Reason(what="earlier_track"))
    if cue == "plan changed" and not any(reason.what == "visit_changed" for reason in found):
        found.append(Reason(what="surroundings_changed"))
    return tuple(found) or (Reason(what=FALLBACK.get(cue, "time_passed")),)


def sentence(found: tuple[Reason, ...]) -> str:
    """The reasons in English."""
    return "; ".join(_said(reason) for reason in found)


def _models(told: Outcome, outcome: Outcome) -> Iterator[Reason]:
    if told.engine != outcome.engine:
        yield Reason(what="engine_changed", before=told.engine, after=outcome.engine)
    if told.policy != outcome.policy:
        yield Reason(what="policy_changed", before=told.policy, after=outcome.policy)


def _plans(before: Visit | None, plan: Visit) -> Iterator[Reason]:
    for field in PLAN:
        was, now = getattr(before, field, None), getattr(plan, field)
        if before is not None and was != now:
            yield Reason(what="visit_changed", of=field, before=was, after=now)


def _evidence(told: Outcome, outcome: Outcome, worker: str, cue: str) -> Iterator[Reason]:
    for kind in EVIDENCE:
        more = getattr(outcome.evidence, kind) - getattr(told.evidence, kind)
        if more > 0:
            # A window stays open behind its verdict: what comes in order then is more, and not late.
            late = cue == "late evidence"
            yield Reason(what="late_evidence" if late else "more_evidence", of=kind, count=more, worker=worker)
        elif more < 0:
            yield Reason(what="less_evidence", of=kind, count=-more, worker=worker)


def _said(reason: Reason) -> str:
    if reason.count is not None and reason.of is not None:
        word = EVIDENCE[reason.of]
        plural = word if reason.count == 1 else word + ("es" if word.endswith(("x", "s")) else "s")
        adverb = {"late_evidence": "late", "more_evidence": "more", "less_evidence": "fewer"}[reason.what]
        whose = "" if reason.of == "device_events" else f" of {reason.worker}"
        return f"{reason.count} {adverb} {plural}{whose}"
    if reason.what == "visit_changed" and reason.of in ("starts_at", "ends_at"):
        return f"visit moved: {reason.of}"
    if reason.of is not None:
        return f"visit changed: {reason.of} {reason.before} → {reason.after}"
    if reason.before is not None:
        return f"{reason.what.removesuffix('_changed')} {reason.before} → {reason.after}"
    return reason.what.replace("_", " ")
