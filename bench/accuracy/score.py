"""Score: an answer against the truth. First the errors of each visit, then figures over many.

Errors in seconds are answer minus truth. A moment is compared only where truth and answer both have one; how often one of them has
none is counted. Seconds on site are compared within the plan and the tolerance to both sides of it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from bench.accuracy.answer import Answer
from bench.accuracy.case import Case
from device_sim.spans import Span, common, seconds, without
from geofence.outcome import Moment

SEEN_SHARE = 0.95
"""A visit of which less was seen is not one on which a target of accuracy can be held; such visits are shown apart."""


class Row(Struct, frozen=True, kw_only=True):
    """One visit, one method. `held_*` says whether a 90 % interval held the truth, `width_*` how wide it is, in seconds."""

    world: str
    seed: int
    visit: str
    sampling: str
    surroundings: str
    behaviour: str
    manner: str
    faults: tuple[str, ...]
    method: str
    planned_s: float
    contested: bool
    true_s: float
    planned_there_s: float
    """Of the planned time, how long she was on site."""
    true_share: float
    """Of the visit that evidence showed, by the definition."""
    hit_s: float
    false_s: float
    missed_s: float
    arrival_s: float | None = None
    departure_s: float | None = None
    duration_share: float | None = None
    held_arrival: bool | None = None
    held_departure: bool | None = None
    held_seconds: bool | None = None
    width_arrival_s: float | None = None
    width_departure_s: float | None = None
    width_seconds_s: float | None = None
    on_share: float = 0.0
    """Best seconds on site over the planned ones."""
    verdict: str = ""
    findings: tuple[str, ...] = ()
    coverage_points: float | None = None
    """Error of the coverage, in percentage points."""
    causes: dict[str, float] = {}
    """Seconds by `true cause > told cause` of every second that the truth or the answer calls unmonitored."""


class Figures(Struct, frozen=True, kw_only=True):
    """Many visits together. NaN where there is nothing to count."""

    visits: int
    f1: float
    arrival_s: tuple[float, float]
    """Median and 95th percentile of the absolute error; so the others."""
    departure_s: tuple[float, float]
    duration_share: tuple[float, float]
    held: tuple[float, float, float]
    """Shares of the 90 % intervals of arrival, departure and on-site seconds that hold the truth."""
    width_s: tuple[float, float, float]
    """Their median widths."""


def key(row: Row) -> tuple[str, str, str]:
    """What makes two rows of different methods the same visit, seen by the same phone."""
    return row.world, row.visit, row.sampling


def row(case: Case, method: str, answer: Answer) -> Row:
    """The errors of one answer."""
    truth, visit = case.truth.served, case.scene.visit
    hit = common(truth, answer.on)
    true_s = seconds(truth)
    moments = truth and answer.arrived is not None
    arrived = answer.arrived if truth else None
    left = answer.left if moments else None
    known = {"unmonitored": case.truth.missing} if answer.coverage is not None else {}
    return Row(
        world=case.world,
        seed=case.seed,
        visit=visit.id,
        sampling=case.sampling,
        surroundings=case.surroundings,
        behaviour=case.behaviour,
        manner=case.manner,
        faults=case.faults,
        method=method,
        planned_s=visit.ends_at - visit.starts_at,
        contested=case.truth.contested,
        true_s=true_s,
        planned_there_s=seconds(common(truth, [(visit.starts_at, visit.ends_at)])),
        true_share=case.truth.coverage,
        hit_s=seconds(hit),
        false_s=seconds(answer.on) - seconds(hit),
        missed_s=true_s - seconds(hit),
        arrival_s=arrived.best - truth[0][0] if arrived else None,
        departure_s=left.best - truth[-1][1] if left else None,
        duration_share=(answer.seconds.best - true_s) / true_s if truth else None,
        held_arrival=_holds(arrived, truth[0][0]) if arrived else None,
        held_departure=_holds(left, truth[-1][1]) if left else None,
        held_seconds=answer.seconds.lower <= true_s <= answer.seconds.upper if truth else None,
        width_arrival_s=_width(arrived) if arrived else None,
        width_departure_s=_width(left) if left else None,
        width_seconds_s=answer.seconds.upper - answer.seconds.lower if truth else None,
        on_share=answer.seconds.best / (visit.ends_at - visit.starts_at),
        verdict=answer.verdict,
        findings=answer.findings,
        coverage_points=100.0 * (answer.coverage - case.truth.coverage) if answer.coverage is not None else None,
        causes=_causes(case, answer) if known else {},
    )


def figures(rows: Sequence[Row]) -> Figures:
    """What many visits show together."""
    hit, wrong = sum(r.hit_s for r in rows), sum(r.false_s + r.missed_s for r in rows)
    return Figures(
        visits=len(rows),
        f1=2 * hit / (2 * hit + wrong) if hit + wrong else math.nan,
        arrival_s=_spread(r.arrival_s for r in rows),
        departure_s=_spread(r.departure_s for r in rows),
        duration_share=_spread(r.duration_share for r in rows),
        held=(_share(r.held_arrival for r in rows), _share(r.held_departure for r in rows), _share(r.held_seconds for r in rows)),
        width_s=(
            _median(r.width_arrival_s for r in rows),
            _median(r.width_departure_s for r in rows),
            _median(r.width_seconds_s for r in rows),
        ),
    )


def confusion(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """Verdicts by behaviour."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for r in rows:
        counted[r.behaviour][r.verdict] += 1
    return counted


def causes(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Seconds by true and told cause."""
    counted: dict[tuple[str, str], float] = defaultdict(float)
    for r in rows:
        for pair, length_s in r.causes.items():
            true, _, told = pair.partition(" > ")
            counted[true, told] += length_s
    return counted


def _holds(moment: Moment, at: float) -> bool:
    earliest, latest = _bounds(moment)
    return earliest <= at <= latest


def _width(moment: Moment) -> float:
    earliest, latest = _bounds(moment)
    return latest - earliest


def _bounds(moment: Moment) -> tuple[float, float]:
    """A bound that is not known is open: she was there before anybody looked, or is still there."""
    earliest = -math.inf if moment.earliest is None else moment.earliest
    return earliest, math.inf if moment.latest is None else moment.latest


def _causes(case: Case, answer: Answer) -> dict[str, float]:
    """Each second that is unmonitored in truth or told so, by both causes; `seen` stands where one of them has it monitored."""
    counted: dict[str, float] = defaultdict(float)
    true, told = _by_cause(case.truth.missing), _by_cause(answer.missing)
    for cause, spans in true.items():
        left = spans
        for other, others in told.items():
            counted[f"{cause} > {other}"] += seconds(common(left, others))
            left = without(left, others)
        counted[f"{cause} > seen"] += seconds(left)
    every = sorted(span for spans in true.values() for span in spans)
    for other, others in told.items():
        counted[f"seen > {other}"] += seconds(without(others, every))
    return {pair: length_s for pair, length_s in counted.items() if length_s > 0}


def _by_cause(missing: Iterable[object]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    for gap in missing:
        found[gap.cause].append((gap.start, gap.end))  # type: ignore[attr-defined]
    return found


def _spread(values: Iterable[float | None]) -> tuple[float, float]:
    known = np.abs([value for value in values if value is not None])
    if not len(known):
        return math.nan, math.nan
    return float(np.median(known)), float(np.percentile(known, 95))


def _median(values: Iterable[float | None]) -> float:
    """The lower one of two in the middle: widths may be infinite."""
    known = sorted(value for value in values if value is not None)
    return known[(len(known) - 1) // 2] if known else math.nan


def _share(answers: Iterable[bool | None]) -> float:
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else math.nan
