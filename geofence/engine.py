"""The engine: one visit's plan, evidence and policy in, its outcome out. Pure: the same inputs give the same bytes.

Theory of operation
-------------------
Whether the worker was on site is a hidden state, on or away, that evidence reveals with errors of known size. In this order:

1. `witness`: all evidence of the visit's window is put into one order, repeats are dropped, and each piece is weighed alone.
   A fix has a signed distance d to the fence (negative inside; metres on a plane about the site), an error σ per axis (`measure`):
       σ² = floor² + (inflation · accuracy / 1.515)²      a radius that holds 68 % of a 2-D error is 1.515 σ (Rayleigh)
   and says, as the log of how much likelier it is if she is on site than if she is away (`likelihood`, with the reasons):
       llr = logit(share of the error over the fence) + log(1 + 2π(max(d, 0)² + σ²) / (κ · area))
   Checks and credentials are anchors with an llr of their own; doors and motion speak only beside evidence of the worker herself.
   Fixes that are not credible are flagged (`credibility`), weigh next to nothing, cover nothing and prove nothing.
2. `presence`: a two-state chain in continuous time. Between observations, with rates come and leave and π = come / (come + leave),
       P(on after dt | on) = π + (1 - π) e^-(come + leave)dt         P(on after dt | away) = π (1 - e^-(come + leave)dt)
   and an observation multiplies the odds of on by e^(weight · llr), weight = min(1, time since the fix before / correlation time).
   Forward for the live view, forward times backward for a judged one (`chain`; Rabiner 1989). The plan changes only the rates.
   Where others of her visits are planned so near that one may be mistaken for the other, those places together are a third state.
3. `placing`, `crossing`: the chain does not know that people travel. Each of its crossings is placed by the positions around it
   taken together, as the posterior of a change-point whose quantiles are the error bars.
   `posterior`: each stay is then placed as a whole: n independent fixes have a mean with s² = σ² / n + bias², so that evidence near
   a fence saturates; that position against the home, the known neighbours and the unknown elsewhere gives the probability that
   the stay was here; P is multiplied by it. What the arrival and departure of a stay are, is asked as if it was here.
4. `curve`: P(on) over time is the distribution function of arrival, and one minus it of departure; intervals are its 5 and 95 %
   points. Seconds at confidence u are those with P > 1 - u. Absences below the grace are bridged.
5. `coverage`: which seconds were seen, and the one cause of each that was not, in whole milliseconds.
6. `verdict`: the answer and its findings, such that losing evidence never turns one verdict into its opposite, by construction.
7. `explanation`: one sentence of the same figures, in English and Chinese.

Sources: the chain, Rabiner, "A tutorial on hidden Markov models" (1989); 68 % radius, Android's `Location.getAccuracy`; overlap
of the error with the fence as the probability of being inside, Google Play services 3.2 (0.85 in, 0.15 out); change-points, Smith
(1975), see `crossing`; all numbers in `policy`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from geofence import credibility, verdict
from geofence.chain import smoothed
from geofence.coverage import Coverage, cover, covering, unproven
from geofence.curve import Curve, Run, above, bridged, ends, seconds, surely
from geofence.evidence import Floats, Observed
from geofence.explanation import explain
from geofence.outcome import Moment, Outcome, Presence, Seconds, Span, Tally
from geofence.plan import Scene, Visit
from geofence.policy import Policy
from geofence.posterior import Prepared, believe, prepare
from geofence.witness import Witness, hear_all, is_ours

ENGINE = "4"
"""Version of the model. It changes whenever the same evidence could give another outcome."""

SURE = 0.95
"""Presence is told as on above this probability and as off below one minus it; between lies unknown."""
BRIEF_S = 60.0
"""A first or last stay shorter than this, of several, is passing by and no arrival or departure."""

TOGETHER_MAX = 32_000
"""So many fixes are judged at once: fewer cost more calls, and more no longer fit into the processor's cache."""


class Asked(Struct, frozen=True, eq=False):
    """One visit to be judged as of `now`. `outages` are stretches in which our own ingest was down."""

    scene: Scene
    observed: Observed
    policy: Policy
    now: float
    outages: Sequence[Run] = ()


class Heard(Struct, frozen=True, eq=False):
    """A visit with its evidence, weighed alone. `own` is the part of the window that belongs to this visit."""

    asked: Asked
    window: Run
    own: Run
    witness: Witness
    prepared: Prepared | None
    """None while its own part has not begun."""


def judge(scene: Scene, observed: Observed, policy: Policy, now: float, outages: Sequence[Run] = ()) -> Outcome:
    """The outcome of one visit as of `now`. `outages` are stretches in which our own ingest was down."""
    return judge_all([Asked(scene, observed, policy, now, outages)])[0]


def judge_all(asked: Sequence[Asked]) -> list[Outcome]:
    """The outcomes of many visits, each as if it were alone: together they only take less time."""
    outcomes: dict[int, Outcome] = {}
    for some in _portions(asked):
        outcomes.update(zip(some, _together([asked[n] for n in some]), strict=True))
    return [outcomes[n] for n in range(len(asked))]


def _portions(asked: Sequence[Asked]) -> Iterator[list[int]]:
    """Which visits are judged together: those of one policy, and no more of them than `TOGETHER_MAX`."""
    alike: dict[Policy, list[int]] = {}
    for n, one in enumerate(asked):
        alike.setdefault(one.policy, []).append(n)
    for visits in alike.values():
        some: list[int] = []
        fixes = 0
        for n in visits:
            fixes += len(asked[n].observed.fixes.at)
            if fixes > TOGETHER_MAX and some:
                yield some
                some, fixes = [], len(asked[n].observed.fixes.at)
            some.append(n)
        yield some


def _together(asked: Sequence[Asked]) -> list[Outcome]:
    """What each piece of evidence says, of all fixes end to end; then all chains side by side; then each visit for itself."""
    heard = _heard(asked)
    told = iter(smoothed([visit.prepared.chain for visit in heard if visit.prepared is not None]))
    return [_concluded(visit, None if visit.prepared is None else next(told)) for visit in heard]


def _heard(asked: Sequence[Asked]) -> list[Heard]:
    policy = asked[0].policy
    spans = [(low, min(high, one.now)) for one in asked for low, high in [window(one.scene.visit, policy)]]
    heard = []
    witnesses = hear_all([(one.scene, one.observed, span) for one, span in zip(asked, spans, strict=True)], policy)
    for one, span, witness in zip(asked, spans, witnesses, strict=True):
        own = _own_window(one.scene, policy)
        begun = min(own[1], one.now) > own[0]
        heard.append(Heard(one, span, own, witness, prepare(one.scene, witness, span, policy) if begun else None))
    return heard


def _concluded(heard: Heard, told: Floats | None) -> Outcome:
    """The outcome of a visit of whose chain this is known: the probability of each state at each node."""
    asked, witness, own = heard.asked, heard.witness, heard.own
    scene, policy, now = asked.scene, asked.policy, asked.now
    end = min(own[1], now)
    if heard.prepared is not None and told is not None:
        posterior = believe(scene, witness, heard.prepared, told, own, policy)
        honest = _clipped(posterior.curve, own[0], end)
        likely = bridged(_clipped(posterior.likely, own[0], end), policy.grace_s)
    else:
        honest = likely = Curve(np.array([heard.window[0], heard.window[0] + 1.0]), np.zeros(2))
    seen = covering(witness, honest, policy)
    honest = unproven(honest, seen, witness)
    curve = bridged(honest, policy.grace_s)
    stays = _stays(likely)
    arrived_at, left_at, gone = _ends(likely, stays, end < own[1])
    on_site = seconds(curve, above(likely, 0.5))
    hull = (stays[0][0], stays[-1][1]) if stays else None
    coverage = cover(scene, witness, seen, hull, policy, now, asked.outages)
    reading = verdict.Reading(
        arrived_at=arrived_at,
        left_at=left_at,
        on_site=on_site,
        planned_on_s=surely(curve, (scene.visit.starts_at, scene.visit.ends_at)),
        coverage=coverage,
        decided_departure=gone,
    )
    answer = verdict.decide(scene, witness, reading, policy, now)
    findings = verdict.find(scene, witness, reading, answer, policy, now)
    tally = _tally(scene, witness)
    return Outcome(
        verdict=answer,
        findings=findings,
        arrived_at=_moment(arrived_at),
        left_at=_moment(left_at),
        on_site_s=Seconds(best=_ms(on_site.best), lower=_ms(on_site.lower), upper=_ms(on_site.upper)),
        coverage=_share(coverage),
        monitored_s=coverage.monitored_ms / 1000.0,
        expected_s=coverage.expected_ms / 1000.0,
        gaps=coverage.gaps,
        presence=_spans(honest),
        evidence=tally,
        explanation=explain(scene, witness, reading, answer, findings, tally, policy),
        engine=ENGINE,
        policy=policy.version,
    )


def next_look(scene: Scene, outcome: Outcome, policy: Policy, now: float) -> float | None:
    """When the passing of time alone could next change the outcome; None when it is settled for good.

    While the window is open that is always so. Who lately came or went may soon be surer, so looks come soon after a change and
    then ever more rarely. While the visit runs they do not end, because its seconds grow. Before and after it somebody must be
    there: who is not asks for looks by fresh evidence (`live`).
    """
    visit = scene.visit
    low, high = window(visit, policy)
    marks = [low, visit.starts_at, visit.ends_at, visit.ends_at + policy.late_wait_s, high]
    if outcome.arrived_at is None:
        marks.append(visit.starts_at + policy.punctuality_s)
    mark = min((mark for mark in marks if mark > now), default=None)
    if mark is None or now < low:
        return mark
    since, state = (outcome.presence[-1].start, outcome.presence[-1].state) if outcome.presence else (low, "unknown")
    if visit.starts_at <= now < visit.ends_at:
        return min(now + max(min(now - since, policy.open_every_s), policy.live_every_s), mark)
    return min(now + max(now - since, policy.open_every_s), mark) if state == "on" else mark


def window(visit: Visit, policy: Policy) -> Run:
    """The span of evidence that bears on a visit: the plan widened by the tolerances, and by how long evidence stays
    informative.
    """
    longest = verdict.longest_horizon_s(policy)
    return visit.starts_at - policy.early_s - longest, visit.ends_at + policy.late_s + longest


def _own_window(scene: Scene, policy: Policy) -> Run:
    """The plan widened by the tolerances; the time between two visits to one site is divided in the middle."""
    visit = scene.visit
    low, high = visit.starts_at - policy.early_s, visit.ends_at + policy.late_s
    for other in scene.others:
        if other.id == visit.id or other.site != visit.site:
            continue
        if other.ends_at <= visit.starts_at:
            low = max(low, (other.ends_at + visit.starts_at) / 2.0)
        elif other.starts_at >= visit.ends_at:
            high = min(high, (other.starts_at + visit.ends_at) / 2.0)
    return low, high


def _clipped(curve: Curve, low: float, high: float) -> Curve:
    inside = (curve.at > low) & (curve.at < high)
    ends = curve.value(np.array([low, high]))
    return Curve(np.concatenate(([low], curve.at[inside], [high])), np.concatenate((ends[:1], curve.on[inside], ends[1:])))


def _stays(curve: Curve) -> list[Run]:
    """The stays of a visit, without passing by before the first or after the last that counts."""
    runs = above(curve, 0.5)
    counted = [run for run in runs if run[1] - run[0] >= BRIEF_S]
    if not counted:
        return runs
    return [run for run in runs if counted[0][0] <= run[0] <= counted[-1][0]]


def _ends(curve: Curve, stays: list[Run], running: bool) -> tuple[Moment | None, Moment | None, bool]:
    """Arrival, departure, and whether she was seen to leave. There is no departure while the window is open and the last thing
    believed is that she is there; when it closes on her, or opened on her, that bound is open.
    """
    if not stays:
        return None, None, False
    arrived, left = ends(curve, stays[0], stays[-1])
    if stays[0][0] <= curve.at[0]:
        arrived = replace(arrived, earliest=None)
    gone = bool((curve.on[curve.at.searchsorted(stays[-1][1]) :] < 1.0 - SURE).any())
    if stays[-1][1] >= curve.at[-1] and not gone:
        return arrived, None if running else replace(left, latest=None), False
    return arrived, left, gone


def _spans(curve: Curve) -> tuple[Span, ...]:
    """Three-valued presence, as stretches that cover the window."""
    marks: list[tuple[float, float, Presence]] = [(a, b, "on") for a, b in above(curve, SURE)]
    marks += [(a, b, "off") for a, b in above(Curve(curve.at, 1.0 - curve.on), SURE)]
    spans: list[Span] = []
    at = _ms(float(curve.at[0]))
    for start, stop, state in sorted(marks):
        a, b = _ms(start), _ms(stop)
        if a > at:
            spans.append(Span(start=at, end=a, state="unknown"))
        if b > a:
            spans.append(Span(start=a, end=b, state=state))
            at = b
    if (last := _ms(float(curve.at[-1]))) > at:
        spans.append(Span(start=at, end=last, state="unknown"))
    return tuple(spans)


def _tally(scene: Scene, witness: Witness) -> Tally:
    seen = witness.observed
    homes = {device.source for device in scene.devices if device.site == scene.visit.site}
    flagged = witness.mask[witness.mask != 0]
    counts = {name: int((flagged >> bit & 1).sum()) for bit, name in enumerate(credibility.NAMES)} if len(flagged) else {}
    return Tally(
        fixes=len(seen.fixes.at),
        checks=sum(is_ours(check, scene) for check in seen.checks),
        device_events=sum(event.source in homes for event in seen.events),
        statuses=len(seen.statuses),
        flags={name: counts[name] for name in sorted(counts) if counts[name]},
    )


def _share(coverage: Coverage) -> float | None:
    return round(coverage.monitored_ms / coverage.expected_ms, 6) if coverage.expected_ms else None


def _moment(moment: Moment | None) -> Moment | None:
    if moment is None:
        return None
    earliest, latest = moment.earliest, moment.latest
    return Moment(
        best=_ms(moment.best),
        earliest=None if earliest is None else _ms(earliest),
        latest=None if latest is None else _ms(latest),
    )


def _ms(seconds_: float) -> float:
    return round(seconds_, 3)
