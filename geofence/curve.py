"""Curve: P(on site) as a line through nodes, and what can be read off it: arrival, departure, on-site seconds, three-valued
presence.

For a single arrival at an unknown time T, P(on at t) = P(T ≤ t): the curve *is* the distribution function of T, and its
quantiles are where the curve crosses the levels. For a departure it is one minus it. So with a level of 5 % on either side:

    earliest arrival: crosses 0.05      best: crosses 0.5       latest: crosses 0.95      (and the other way round for a departure)

and the seconds on site at confidence u are the seconds for which P exceeds 1 - u. For one crossing that is exact. For a stretch
that may or may not have been an absence it takes the doubt as one coin and not many, which gives the wider interval. Doubts in
separate places, as at the two ends of a stay, come half from the same walls and the same phone: half of the square of their
half-widths adds up as of independent errors, and half as of one. Stays that are nowhere sure were all here or all next door: they
add up as one doubt.
"""

from itertools import pairwise
from math import sqrt

import numpy as np
from msgspec import Struct

from geofence.evidence import Floats
from geofence.outcome import Moment, Seconds

TAIL = 0.05
"""Probability beyond either end of a 90 % interval."""

BRIEF = 2.0
"""An absence that is likely brief may have been so many times the grace, and is not subtracted; but of one that may have been
longer nobody is sure that it was brief."""
ALIKE = 0.5
"""Correlation of the errors in separate places of one visit."""

Run = tuple[float, float]


class Curve(Struct, frozen=True, eq=False):
    """P at nodes in the order of time, straight lines between."""

    at: Floats
    on: Floats

    def value(self, at: Floats) -> Floats:
        """P at any times."""
        return np.interp(at, self.at, self.on)


def above(curve: Curve, level: float) -> list[Run]:
    """The stretches in which P exceeds a level."""
    at, on = curve.at, curve.on
    over = on > level
    edges = [float(at[0])] if over[0] else []
    for n in (over[1:] != over[:-1]).nonzero()[0].tolist():
        (start, end), (one, two) = at[n : n + 2].tolist(), on[n : n + 2].tolist()
        edges.append(start + (one - level) / ((one - level) - (two - level)) * (end - start))
    if over[-1]:
        edges.append(float(at[-1]))
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def bridged(curve: Curve, grace_s: float) -> Curve:
    """The curve without absences shorter than the grace, which do not interrupt a visit."""
    on = curve.on.copy()
    runs = above(curve, 0.5)
    for (_, left), (back, _) in pairwise(runs):
        if back - left < grace_s:
            # From the last node that is surely on before it, to the first after it.
            sure = (curve.on > 1.0 - TAIL).nonzero()[0]
            before, after = sure[curve.at[sure] <= left], sure[curve.at[sure] >= back]
            first = before[-1] if len(before) else np.searchsorted(curve.at, left)
            last = after[0] if len(after) else np.searchsorted(curve.at, back, side="right") - 1
            inside = slice(int(first), int(last) + 1)
            brief = curve.at[last] - curve.at[first] < BRIEF * grace_s
            floor = min(float(on[first]), float(on[last])) if brief else 0.0
            on[inside] = np.maximum(on[inside], max(floor, 0.5 + TAIL))
    return Curve(curve.at, on)


def seconds(curve: Curve, likely: list[Run]) -> Seconds:
    """On-site seconds with their 90 % interval; `likely` are the stays whose sum is the best value."""
    sure, possible = above(curve, 1.0 - TAIL), above(curve, TAIL)
    best = _total(likely)
    whole = [run for run in possible if not _within(sure, run)]
    edges = [doubt for doubt in _doubts(sure, possible) if not _within(whole, doubt)]
    middle = [_within(likely, doubt) for doubt in edges]
    down = _together([best_s - _within(sure, doubt) for best_s, doubt in zip(middle, edges, strict=True)])
    up = _together([_within(possible, doubt) - best_s for best_s, doubt in zip(middle, edges, strict=True)])
    unsure = sum(_within(likely, run) for run in whole)
    down, up = down + unsure, up + _total(whole) - unsure
    return Seconds(best=best, lower=max(best - down, 0.0), upper=best + up)


def surely(curve: Curve, window: Run) -> float:
    """Seconds of a window that are surely on site."""
    return _within(above(curve, 1.0 - TAIL), window)


def ends(curve: Curve, first: Run, last: Run) -> tuple[Moment, Moment]:
    """When P rose into the first of some runs above one half, and when it fell at the end of the last, with their 90 % intervals:
    the 5 and 95 % points of that rise, and of that fall.
    """
    sure, possible = above(curve, 1.0 - TAIL), above(curve, TAIL)
    begin, close = float(curve.at[0]), float(curve.at[-1])
    earliest = max((start for start, _ in possible if start <= first[0]), default=begin)
    latest = min((start for start, _ in sure if start >= first[0]), default=close)
    arrived = Moment(best=first[0], earliest=earliest, latest=min(latest, first[1]))
    earliest = max((end for _, end in sure if end <= last[1]), default=begin)
    latest = min((end for _, end in possible if end >= last[1]), default=close)
    return arrived, Moment(best=last[1], earliest=max(earliest, last[0]), latest=latest)


def _together(widths: list[float]) -> float:
    return sqrt((1.0 - ALIKE) * sum(width**2 for width in widths) + ALIKE * sum(widths) ** 2)


def _doubts(sure: list[Run], possible: list[Run]) -> list[Run]:
    """Maximal stretches in which P is neither surely on nor surely off: possible, without what is sure."""
    out: list[Run] = []
    for start, end in possible:
        at = start
        for a, b in sure:
            if start <= a and b <= end:
                if at < a:
                    out.append((at, a))
                at = b
        if at < end:
            out.append((at, end))
    return out


def _total(runs: list[Run]) -> float:
    return sum(end - start for start, end in runs)


def _within(runs: list[Run], window: Run) -> float:
    return sum(max(0.0, min(end, window[1]) - max(start, window[0])) for start, end in runs)
