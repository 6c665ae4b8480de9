"""Truth: what really happened in each visit, and how much of it the reports that were really made can show.

- `on_site` is where the worker was: within the fence, and not inside some other home that the fence also covers.
- Evidence covers `[at, at + horizon)`: a fix 120 s while moving, 300 s while still, 1200 s from a phone that says that it reports
  significant changes only; a check with the app's own fix 300 s; a check made at the home, or what the home noticed, 600 s.
- Only evidence that can tell on from off covers: a fix with a radius of at most ACCURACY_LIMIT_M that is credible, a home event
  that names the worker, and motion or power in a home without residents while she is inside. What the phone never delivered is
  not evidence; what it delivered late is.
- Every other second of `[starts_at, ends_at)` and `[arrival, departure)` has one cause, the first that applies in CAUSES.

All times are seconds since 1970 UTC. The arithmetic is written here from the definition and shares nothing with the engine.
"""

from typing import Literal

import numpy as np
from msgspec import Struct

from device_sim.feed import Feed, Said
from device_sim.homes import Home
from device_sim.phone import spans_of
from device_sim.roster import Visit
from device_sim.spans import Span, common, seconds, union, without
from device_sim.town import Floats
from device_sim.trail import ELSEWHERE, Trail
from device_sim.trouble import Conduct, Fault

MOVING_S, STILL_S, SIGNIFICANT_S, HOME_SIDE_S = 120.0, 300.0, 1200.0, 600.0
ACCURACY_LIMIT_M = 150.0
"""Between the 60 m of a bad fix and the 500 m of a cell: no simulated fix is near it."""
TOLERANCE_S = 1800.0
PASSING_S = 60.0
"""Shorter presence outside the planned time is passing by."""
CAUSES = ("permission_off", "phone_offline", "power_save", "poor_accuracy", "suspect", "silent")

Cause = Literal["permission_off", "phone_offline", "power_save", "poor_accuracy", "suspect", "silent"]


class Gap(Struct, frozen=True):
    start: float
    end: float
    cause: str


class Truth(Struct, frozen=True):
    """One visit, one line of JSON. Times in epoch seconds; `on_site` holds `[start, end)` pairs."""

    visit: str
    worker: str
    site: str
    service: str
    behaviour: str
    starts_at: float
    ends_at: float
    on_site: tuple[Span, ...]
    on_site_s: float
    monitored_s: float
    expected_s: float
    coverage: float
    gaps: tuple[Gap, ...]
    faults: tuple[str, ...]


class Witness(Struct, frozen=True, kw_only=True):
    """All that one worker's evidence covers on a day, as spans, made once and cut for each visit."""

    covered: tuple[Span, ...]
    poor: tuple[Span, ...]
    suspect: tuple[Span, ...]


def witness(phone: Feed, home_side: list[float]) -> Witness:
    """From what was delivered of one phone, and the moments at which homes showed its worker."""
    track = phone.track
    sent = np.unique(phone.order[phone.order >= 0])
    at, horizon = track.at[sent], np.where(track.still[sent], STILL_S, MOVING_S)
    if phone.mode == "significant":
        horizon = np.full(len(sent), SIGNIFICANT_S)
    credible, poor = track.credible[sent], track.accuracy_m[sent] > ACCURACY_LIMIT_M
    good, shaky = credible & ~poor, credible & poor
    checks = [
        _check_span(phone.said[~k]) for k in np.unique(phone.order[phone.order < 0]) if phone.said[~k].topic.endswith("/check")
    ]
    spans = _spans(at[good], horizon[good]) + checks + [(t, t + HOME_SIDE_S) for t in home_side]
    return Witness(
        covered=tuple(union(spans)),
        poor=tuple(_spans(at[shaky], horizon[shaky])),
        suspect=tuple(_spans(at[~credible], horizon[~credible])),
    )


def _check_span(check: Said) -> Span:
    """A code at the home's door shows the worker there; the app's check is as good as the fix that came with it."""
    if check.payload["method"] != "app":
        return check.at, check.at + HOME_SIDE_S
    good = check.payload.get("accuracy_m", ACCURACY_LIMIT_M + 1) <= ACCURACY_LIMIT_M and check.credible
    return check.at, check.at + (STILL_S if good else 0.0)


def tell(visit: Visit, conduct: Conduct, home: Home, trail: Trail, seen: Witness, faults: tuple[Fault, ...]) -> Truth:
    """The truth about one visit."""
    on_site = presence(visit, home, trail)
    planned = [(visit.starts_at, visit.ends_at)]
    expected = union([*planned, *([(on_site[0][0], on_site[-1][1])] if on_site else [])])
    monitored = common(expected, list(seen.covered))
    reasons = {
        "permission_off": spans_of(faults, "permission_off"),
        "phone_offline": spans_of(faults, "battery_death"),
        "power_save": spans_of(faults, "power_save"),
        "poor_accuracy": list(seen.poor),
        "suspect": list(seen.suspect),
        "silent": expected,
    }
    gaps, left = [], without(expected, monitored)
    for cause in CAUSES:
        share = common(left, union(reasons[cause]))
        gaps += [Gap(start, end, cause) for start, end in share]
        left = without(left, share)
    assert not left
    total_s, seen_s = seconds(expected), seconds(monitored)
    touching = {fault.kind for fault in faults if fault.start < visit.ends_at and fault.end >= visit.starts_at}
    return Truth(
        visit=visit.id,
        worker=visit.worker,
        site=home.id,
        service=visit.service,
        behaviour=conduct.behaviour,
        starts_at=visit.starts_at,
        ends_at=visit.ends_at,
        on_site=tuple((round(start, 3), round(end, 3)) for start, end in on_site),
        on_site_s=round(seconds(on_site), 3),
        monitored_s=round(seen_s, 3),
        expected_s=round(total_s, 3),
        coverage=round(seen_s / total_s, 6),
        gaps=tuple(Gap(round(gap.start, 3), round(gap.end, 3), gap.cause) for gap in sorted(gaps, key=lambda gap: gap.start)),
        faults=tuple(sorted(touching)),
    )


def presence(visit: Visit, home: Home, trail: Trail) -> list[Span]:
    """When the worker was on site around the visit, to the second."""
    start, end = visit.starts_at - TOLERANCE_S, visit.ends_at + TOLERANCE_S
    t = np.arange(max(start, trail.t[0]), min(end, trail.t[-1]), 1.0)
    if len(t) == 0:
        return []
    x, y = trail.at(t)
    place = trail.stay[trail.stretch(t)]
    inside = home.inside(x, y) & ((place < 0) & (place != ELSEWHERE) | (place == visit.home))
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    spans = [(float(t[a]), float(t[a]) + float(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    joined = union((a, b + 2.0) for a, b in spans)  # Two seconds out of the fence are the geometry's, not the worker's.
    return [(a, b - 2.0) for a, b in joined if b - 2.0 - a >= PASSING_S or (a < visit.ends_at and b - 2.0 > visit.starts_at)]


def _spans(at: Floats, horizon: Floats) -> list[Span]:
    """The union of `[at, at + horizon)`, in bulk: a new span begins where nothing before reaches."""
    if len(at) == 0:
        return []
    order = np.argsort(at, kind="stable")
    at, reach = at[order], np.maximum.accumulate((at + horizon)[order])
    begins = np.flatnonzero(np.concatenate(([True], at[1:] > reach[:-1])))
    ends = np.concatenate((begins[1:] - 1, [len(at) - 1]))
    return [(float(a), float(b)) for a, b in zip(at[begins], reach[ends], strict=True)]
