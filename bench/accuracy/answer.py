"""Answer: what a method says of one visit, in one form for the engine and for everything that it is compared with."""

from msgspec import Struct

from bench.accuracy.case import GRACE_S, PASSING_S, TOLERANCE_S, Case, Missing
from device_sim.spans import Span, common, union, without
from geofence import judge
from geofence.outcome import Moment, Outcome, Presence, Seconds
from geofence.policy import Policy

SETTLED_S = 90_000.0
"""So long after the end nothing can come any more."""


class Answer(Struct, frozen=True, kw_only=True):
    """`on` is where the method has the worker on site. Without error bars, `arrived`, `left` and `seconds` are points."""

    on: list[Span]
    arrived: Moment | None
    left: Moment | None
    seconds: Seconds
    verdict: str = ""
    findings: tuple[str, ...] = ()
    coverage: float | None = None
    missing: tuple[Missing, ...] = ()


def engine(case: Case, policy: Policy) -> Answer:
    """The engine's."""
    visit = case.scene.visit
    outcome = judge(case.scene, case.observed, policy, visit.ends_at + SETTLED_S)
    return Answer(
        on=_on(outcome),
        arrived=outcome.arrived_at,
        left=outcome.left_at,
        seconds=outcome.on_site_s,
        verdict=outcome.verdict,
        findings=outcome.findings,
        coverage=outcome.coverage,
        missing=tuple(Missing(gap.start, gap.end, gap.cause) for gap in outcome.gaps),
    )


def plain(on: list[Span], case: Case) -> Answer:
    """That of a method which only says when she was there: passing by does not count and absences below
    the grace are bridged, as for the engine.
    """
    visit = case.scene.visit
    within = common(on, [(visit.starts_at - TOLERANCE_S, visit.ends_at + TOLERANCE_S)])
    planned = (visit.starts_at, visit.ends_at)
    runs = [run for run in union(within) if run[1] - run[0] >= PASSING_S or (run[0] < planned[1] and run[1] > planned[0])]
    joined = [(start, end - GRACE_S) for start, end in union((start, end + GRACE_S) for start, end in runs)]
    best = sum(end - start for start, end in joined)
    return Answer(
        on=joined,
        arrived=_point(joined[0][0]) if joined else None,
        left=_point(joined[-1][1]) if joined else None,
        seconds=Seconds(best=best, lower=best, upper=best),
    )


def _on(outcome: Outcome) -> list[Span]:
    """From arrival to departure, less the absences in between: as many seconds as the best value for those on site leaves out, the
    longest absence first, each as far into the unknown beside it as the seconds last.
    """
    if outcome.arrived_at is None:
        return []
    end = outcome.left_at.best if outcome.left_at else outcome.presence[-1].end
    hull = (outcome.arrived_at.best, end)
    shown = [(max(span.start, hull[0]), min(span.end, hull[1]), span.state) for span in outcome.presence]
    shown = [span for span in shown if span[0] < span[1]]
    left_out_s = hull[1] - hull[0] - outcome.on_site_s.best
    away: list[Span] = []
    for k in sorted(range(len(shown)), key=lambda k: shown[k][0] - shown[k][1]):
        start, stop, state = shown[k]
        if state != "off" or left_out_s < (stop - start) / 2:
            continue
        before_s = _unknown_s(shown, k - 1)
        after_s = _unknown_s(shown, k + 1)
        share = min(max(left_out_s - (stop - start), 0.0) / max(before_s + after_s, 1.0), 1.0)
        away.append((start - share * before_s, stop + share * after_s))
        left_out_s -= away[-1][1] - away[-1][0]
    return without([hull], union(away))


def _unknown_s(shown: list[tuple[float, float, Presence]], k: int) -> float:
    return shown[k][1] - shown[k][0] if 0 <= k < len(shown) and shown[k][2] == "unknown" else 0.0


def _point(at: float) -> Moment:
    return Moment(best=at, earliest=at, latest=at)
