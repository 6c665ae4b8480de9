"""Crossing: when the fence was crossed, as the posterior of one moment T, given the positions around it.

The chain of `presence` says that she came, and about when; it weighs each fix alone and does not know that people travel. Here one
arrival is looked at as a change-point; a departure is an arrival with time turned round. The way in is one of a few `WAYS`: at a
speed v straight from afar, or at v only from a turn that lies D outside the fence, with any way, or a wait, before it. Expected is

    before T    a signed distance of v (T - t) up to D; beyond it anything from D up to what a street's speed allows
    after T     -v (t - T) until she is as deep as she stayed; from then on, to be where the fixes of the stay were

Residuals z, in standard deviations, are correlated: a fix dt after another tells u = (z - r z') / √(1 - r²) that the other did not,
with r = (L - dt) / (L + dt), where L is for how long an error lasts. Each u has a Student distribution, for phones err grossly. T
has a flat prior; ways have the given ones and are summed out. What stays unmodelled is alike for fixes close together: those within
`correlation_s` count for their share, and all of it is tempered. Checks and credentials count on the side of T on which they lie.

How deep she stayed, how widely her positions scatter there and for how long their errors last come from the fixes of the stay
itself, drawn towards what is usual where they are few: phones lie both ways about their radius.

What comes out is the distribution function of T at a few levels: the curve that earliest, best and latest are read off.

Sources: the discrete posterior of a change-point, Smith, "A Bayesian approach to inference about a change-point" (1975); effective
number of correlated observations (1 + r) / (1 - r), Bayley and Hammersley (1946); tempered likelihood of a misspecified model,
Grünwald and van Ommen, "Inconsistency of Bayesian inference for misspecified linear models" (2017).
"""

from math import exp, log

import numpy as np
from msgspec import Struct

from geofence.evidence import Bools, Floats
from geofence.policy import Policy

LEVELS = np.array([0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.97, 0.99, 1.0])
"""Where the distribution function is kept."""
NORMAL = np.array([-2.8, -2.33, -1.88, -1.645, -1.28, -0.84, -0.385, 0.0, 0.385, 0.84, 1.28, 1.645, 1.88, 2.33, 2.8])
"""The points of a normal distribution at these levels; at the first and last, where it has next to nothing left."""
STRAIGHT_M = 1e6
WAYS = np.array(
    [
        *((speed, STRAIGHT_M) for speed in (0.8, 1.35, 2.3, 4.2, 8.0)),
        *((speed, 8.0) for speed in (0.7, 1.2, 2.5)),
        *((speed, 25.0) for speed in (0.9, 1.4, 4.0)),
    ]
)
"""Speed at the fence, and from how far outside it she came at that speed: a stroll to a car, from afar or from the street."""
WAYS_LOG_PRIOR = np.log(np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 2.0, 0.7, 1.0, 2.0, 0.7]))
"""People mostly walk the last metres."""
GRID = 48
"""Moments at which the posterior is computed."""
STUDENT = 4.0
"""Degrees of freedom of the errors: one in thirty is beyond three σ."""
BENT = 0.07
"""A straight way is straight to this share of its length."""
STRAY = 0.02
"""Probability that is spread evenly, for ways that are none of these."""
DISPLACED2 = 4.0
"""Squared σ by which a fix may lie beside the stay before that counts: rooms are not points."""
STEP_S = 60.0
"""A wait counts up to this between two fixes; who is not heard of for longer need not have waited."""
RADIUS_USUAL = 1.15
"""True error over reported error of a phone of which little is known."""
KNOWN_AS = 3.0
"""What is usual counts as much as this many independent fixes."""
LEAST_M = 2.0
"""No phone errs less, and nobody stays on one spot."""
LONGEST_S = 400.0
FIRST_S = 1e4
"""As if the fix before the first had been so long ago: it tells nothing of its error."""


class Track(Struct, frozen=True, eq=False):
    """Fixes in the order of time: seconds, metres in the site's plane, signed distance, reported error of one axis, weight."""

    at: Floats
    east_m: Floats
    north_m: Floats
    distance_m: Floats
    sigma_m: Floats
    weight: Floats

    def rows(self, rows: object) -> "Track":
        """Some of them."""
        return Track(*(getattr(self, name)[rows] for name in self.__struct_fields__))

    def turned(self) -> "Track":
        """The same with time turned round."""
        back = self.rows(slice(None, None, -1))
        return Track(-back.at, back.east_m, back.north_m, back.distance_m, back.sigma_m, back.weight)


class Habit(Struct, frozen=True):
    """What the fixes of one stay say about where in the home it was, and about the phone that made them."""

    east_m: float
    north_m: float
    depth_m: float
    """Signed distance at which she stayed."""
    scatter_m: float
    """Standard deviation of one axis about that place."""
    scale: float
    """True error over reported error."""
    lasts_s: float
    """For how long an error lasts."""


def habit(stay: Track, usual: Habit) -> Habit:
    """What the fixes well inside one stay say; what is usual, where there are few."""
    if len(stay.at) < 3:
        return usual
    east, north = _median(stay.east_m), _median(stay.north_m)
    x, y = stay.east_m - east, stay.north_m - north
    power = _median(x * x + y * y) / (2.0 * log(2.0))  # a squared Rayleigh variable has the median 2 ln 2 σ²
    reach = 3.0 * power**0.5 + 1e-9
    x, y = np.clip(x, -reach, reach), np.clip(y, -reach, reach)
    whole = float((x * x + y * y).mean())
    echo = float((x[1:] * x[:-1] + y[1:] * y[:-1]).mean()) / whole if whole > 0.0 else 0.0
    echo = min(max(echo, 0.0), 0.97)
    lasts = max(_median(np.diff(stay.at)), 0.1) * (1.0 + echo) / (1.0 - echo)
    free = max(float(stay.at[-1] - stay.at[0]) / lasts, 1.0)
    told2 = float(np.mean(stay.sigma_m**2))
    scatter2 = (KNOWN_AS * max(usual.scale**2 * told2, LEAST_M**2) + free * max(power, LEAST_M**2)) / (KNOWN_AS + free)
    deep = _median(stay.distance_m)
    return Habit(
        east_m=east,
        north_m=north,
        depth_m=(free * deep + min(usual.depth_m, deep)) / (free + 1.0),
        scatter_m=scatter2**0.5,
        scale=min(max((scatter2 / told2) ** 0.5, 0.4), 3.0),
        lasts_s=min(exp((KNOWN_AS * log(usual.lasts_s) + free * log(max(lasts, 1.0))) / (KNOWN_AS + free)), LONGEST_S),
    )


def _median(values: Floats) -> float:
    """numpy's own takes ten times as long for a few hundred."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def arrival(
    near: Track, hints: tuple[Floats, Floats], span: tuple[float, float], stayed: Habit, policy: Policy
) -> tuple[Floats, Floats]:
    """The distribution function of the moment of arrival within a span: its times, and the levels that it reaches there.

    `hints` are moments, and the log-odds of being on site at each that other evidence gives.
    """
    grid = np.linspace(span[0], span[1], GRID)
    log = policy.crossing_temper * _log_likelihood(near, grid, stayed, policy)
    log += (hints[1][:, None] * (grid[None, :] <= hints[0][:, None])).sum(axis=0)
    mass = np.exp(log - log.max())
    mass = (1.0 - STRAY) * mass / mass.sum() + STRAY / GRID
    share = np.concatenate(([0.0], np.cumsum(mass[1:] + mass[:-1])))
    at = np.interp(LEVELS, share / share[-1], grid)
    middle = at[len(at) // 2]
    return middle + np.sign(NORMAL) * np.hypot(at - middle, NORMAL * policy.crossing_blur_s), LEVELS


def _log_likelihood(near: Track, grid: Floats, stayed: Habit, policy: Policy) -> Floats:
    """Of each moment of arrival, the ways summed out. Axes: way, fix, moment."""
    dt = np.diff(near.at, prepend=near.at[0] - FIRST_S)
    echo = np.clip((stayed.lasts_s - dt) / (stayed.lasts_s + dt), 0.0, 0.98)
    fresh = np.sqrt(1.0 - echo * echo)
    error = (near.sigma_m * stayed.scale)[None, :, None]
    here = near.distance_m[None, :, None]
    togo = (grid[None, :] - near.at[:, None])[None]
    speed, turn = WAYS[:, 0, None, None], WAYS[:, 1, None, None]
    way = speed * togo
    outside = np.broadcast_to(togo > 0.0, way.shape)
    beyond = outside & (way > turn)
    settled = ~outside & (way <= stayed.depth_m)

    street = _street_mps(near)
    anywhere = np.clip(here, turn, np.maximum(turn + street * (togo - turn / speed), turn))
    inside = np.maximum(way, min(stayed.depth_m, 0.0)) + max(stayed.depth_m, 0.0)
    expected = np.where(outside, np.where(beyond, anywhere, way), inside)
    spread2 = np.where(outside, error**2 + (BENT * np.minimum(way, 300.0)) ** 2, np.where(settled, stayed.scatter_m, error) ** 2)
    off = _news((here - expected) / np.sqrt(spread2), echo) / fresh[None, :, None]
    off2 = np.where(settled, np.maximum(off * off, _displaced2(near, stayed, echo, fresh, settled)), off * off)
    stepped = np.abs(np.diff(near.distance_m, prepend=near.distance_m[0]))
    free = np.minimum(0.4 * street * np.minimum(dt, 600.0), stepped)[None, :, None]
    scale2 = spread2 * (fresh * fresh)[None, :, None] + np.where(beyond, free * free, 0.0)

    share = near.weight * np.minimum(1.0, np.maximum(dt, 1e-3) / policy.correlation_s)
    told = 0.5 * (STUDENT + 1.0) * np.log1p(off2 / STUDENT) + 0.5 * np.log(scale2)
    waited_s = (np.minimum(dt, STEP_S)[None, :, None] * beyond).sum(axis=1)
    each = WAYS_LOG_PRIOR[:, None] - np.einsum("f,wfm->wm", share, told) - waited_s / policy.linger_mean_s
    top = each.max()
    total: Floats = np.log(np.exp(each - top).sum(axis=0)) + top
    return total


def _street_mps(near: Track) -> float:
    """The speed that she had anywhere near, with room for what the fixes missed."""
    if len(near.at) < 2:
        return 1.5
    paces = np.abs(np.diff(near.distance_m)) / np.maximum(np.diff(near.at), 1.0)
    return min(max(1.5, 1.2 * float(paces.max())), 20.0)


def _displaced2(near: Track, stayed: Habit, echo: Floats, fresh: Floats, settled: Bools) -> Floats:
    """How far each fix lies from where she stayed, squared and in σ: who stands in the street may be as near to the fence."""
    x, y = (near.east_m - stayed.east_m) / stayed.scatter_m, (near.north_m - stayed.north_m) / stayed.scatter_m
    after = (_news(x[None, :, None], echo) ** 2 + _news(y[None, :, None], echo) ** 2) / (fresh * fresh)[None, :, None]
    alone = (x * x + y * y)[None, :, None]
    follows = np.zeros_like(settled)
    follows[:, 1:] = settled[:, :-1]
    out: Floats = np.where(follows, after, alone) - DISPLACED2
    return out


def _news(residual: Floats, echo: Floats) -> Floats:
    """What each residual tells that the one before it did not."""
    news = residual.copy()
    news[:, 1:] -= echo[None, 1:, None] * residual[:, :-1]
    return news
