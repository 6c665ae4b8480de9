"""Crossing: when the fence was crossed, as the posterior of one moment T, given the positions around it.

The chain of `presence` says that she came, and about when; it weighs each fix alone and does not know that people travel. Here one
arrival is looked at as a change-point; a departure is an arrival with time turned round. The way in is one of a few: at a speed v
straight from afar; or at v only from a turn that lies D outside the fence, with any way, or a wait, before it; or after a while in
front of the home, where she parked; or by a ride that ends somewhere within the fence, if it is a wide one. Expected is

    before T    a signed distance of v (T - t), straight to a share of it; beyond the turn anything from D up to what a speed allows
                that she had anywhere near, or, where nobody saw her for long, that of a car; while she waits, anything near by
    after T     -v (t - T) until she is as deep as she stayed, or, if she stopped, for a while anything up to that; from then on, to
                be where the fixes of the stay were

Residuals z, in standard deviations, are correlated: a fix dt after another tells u = (z - r z') / √(1 - r²) that the other did not,
with r = (L - dt) / (L + dt), where L is for how long an error lasts; but the first inside tells all of its own, for walls bend what
comes in another way than a street does. Each u has a Student distribution, for phones err grossly. T has a flat prior; ways have
the given ones and are summed out. What stays unmodelled is alike for fixes close together: those within `correlation_s` count for
their share, and all of it is tempered. Checks and credentials count on the side of T on which they lie; who works a lock has come
to the door not long before, and may still stand in the doorway.

A fix beside the fence that is far more precise than the phone was in the home speaks against T before it: walls make phones vague,
and they say so. A vague one says nothing: there are vague streets.

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

from geofence import likelihood
from geofence.evidence import Bools, Floats, since
from geofence.policy import Policy

LEVELS = np.array([0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.97, 0.99, 1.0])
"""Where the distribution function is kept."""
NORMAL = np.array([-2.8, -2.33, -1.88, -1.645, -1.28, -0.84, -0.385, 0.0, 0.385, 0.84, 1.28, 1.645, 1.88, 2.33, 2.8])
"""The points of a normal distribution at these levels; at the first and last, where it has next to nothing left."""
STRAIGHT = ((0.8, 1.0), (1.35, 2.0), (2.3, 1.0), (4.2, 1.0), (8.0, 1.0))
"""Speed and prior of those who come straight from afar: from a stroll to a car."""
TURNS = ((0.9, 2.0, 3.0), (1.5, 8.0, 3.0), (1.2, 25.0, 3.0))
"""Speed at the fence, from how far outside it she came at that speed, after any way or wait, and prior: in a car before the gate,
at the corner, in the street. People mostly walk the last metres."""
WAIT_MPS, WAIT_S, WAIT_M, WAIT_PRIOR = 1.2, 40.0, 25.0, 3.0
"""Who parks, or locks a bicycle, in front of the home is so long about there, no further from the fence than this, and walks in
[fitted]."""
STOPS = ((4.2, 120.0, 1.5), (8.0, 200.0, 1.5))
STOP_S = 60.0
"""Speed, from how far outside at that speed, and prior of those who ride into the fence and stop somewhere in it for so long
[fitted]."""
RIDES_IN_M, RIDES_IN = 25.0, (0.1, 3.0)
"""Nobody drives into a house, and many into a wide fence, which reaches over the street: so deep, a car, or a stop in the fence,
is as likely as its prior says; its odds grow with the depth between these factors."""
BELL_S, BELL_MOST, DOORSTEP_MPS = 30.0, 3.0, 0.4
"""Who unlocks has been at the door for about so long, and seldom e^3 times as long; and has come there from the fence so slowly,
for she may have parked within it."""
DOORWAY_S = 3.0
"""And is within, where the fence is the wall, about so long after it."""
GRID = 48
"""Moments at which the posterior is computed."""
STUDENT = 4.0
"""Degrees of freedom of the errors: one in thirty is beyond three σ."""
BENT = 0.1
"""A straight way is straight to this share of its length."""
RIDE_MPS, RIDE_S = 8.0, 240.0
"""Whom nobody saw for so long may have gone by car through a town [fitted]; after less time, at a share of its speed."""
SHALLOW = 0.5
"""Positions that scatter about a place lie less deep in the fence than the place: by this share of their scatter."""
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
NAMED_MIN = 10
"""From so many fixes of a stay on, the error that its phone names there is known."""
NAMED_SPREAD = 0.25
"""Errors that a phone names in one place differ by no less than this, as logarithms."""
NAMED_FREE, NAMED_MOST = 1.0, 2.5
"""Log-odds: how much finer a fix may be before it counts against being in there, and the most that it counts [fitted]."""
NAMED_STEADIER = 0.6
"""What a phone lately named spreads less than what it names fix by fix: as medians of a few do."""
NAMED_LASTS_S = 40.0
"""Errors named closer together than this count for their share [fitted]."""
MAD = 1.48
"""Standard deviations in a median deviation of a normal distribution."""
EVENLY = 12.0
"""The square of a width over the variance of what is spread evenly over it."""
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


class Hints(Struct, frozen=True, eq=False):
    """What other evidence than fixes says of an arrival: moments, the log-odds of being on site at each, and when she unlocked."""

    at: Floats
    llr: Floats
    unlocked_at: Floats

    def within(self, low: float, high: float) -> "Hints":
        """Those of a span."""
        told, doors = (self.at >= low) & (self.at <= high), (self.unlocked_at >= low) & (self.unlocked_at <= high)
        return Hints(self.at[told], self.llr[told], self.unlocked_at[doors])


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
    named_m: float = 0.0
    """The error that the phone mostly named there; 0, if it is not known."""
    named_spread: float = NAMED_SPREAD
    """Standard deviation of its logarithm."""


def habit(stay: Track, usual: Habit) -> Habit:
    """What the fixes well inside one stay say; what is usual, where there are few."""
    if len(stay.at) < 3:
        return usual
    east, north = _median(stay.east_m), _median(stay.north_m)
    x, y = stay.east_m - east, stay.north_m - north
    power = _median(x * x + y * y) / (2.0 * log(2.0))  # a squared Rayleigh variable has the median 2 ln 2 σ²
    reach = 3.0 * power**0.5 + 1e-9
    x, y = (np.minimum(np.maximum(metres, -reach), reach) for metres in (x, y))
    whole = float((x * x + y * y).mean())
    echo = float((x[1:] * x[:-1] + y[1:] * y[:-1]).mean()) / whole if whole > 0.0 else 0.0
    echo = min(max(echo, 0.0), 0.97)
    lasts = max(_median(stay.at[1:] - stay.at[:-1]), 0.1) * (1.0 + echo) / (1.0 - echo)
    free = max(float(stay.at[-1] - stay.at[0]) / lasts, 1.0)
    named_m = _median(stay.sigma_m)
    told2 = named_m**2
    scatter2 = (KNOWN_AS * max(usual.scale**2 * told2, LEAST_M**2) + free * max(power, LEAST_M**2)) / (KNOWN_AS + free)
    deep = _median(stay.distance_m)
    return Habit(
        east_m=east,
        north_m=north,
        depth_m=(free * deep + min(usual.depth_m, deep)) / (free + 1.0),
        scatter_m=scatter2**0.5,
        scale=min(max((scatter2 / told2) ** 0.5, 0.4), 3.0),
        lasts_s=min(exp((KNOWN_AS * log(usual.lasts_s) + free * log(max(lasts, 1.0))) / (KNOWN_AS + free)), LONGEST_S),
        named_m=named_m if len(stay.at) >= NAMED_MIN else 0.0,
        named_spread=max(MAD * _median(np.abs(np.log(stay.sigma_m / named_m))), NAMED_SPREAD),
    )


def _median(values: Floats) -> float:
    """numpy's own takes ten times as long for a few hundred."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2.0)


def arrival(near: Track, hints: Hints, span: tuple[float, float], stayed: Habit, policy: Policy) -> tuple[Floats, Floats]:
    """The distribution function of the moment of arrival within a span: its times, and the levels that it reaches there."""
    grid: Floats = span[0] + (span[1] - span[0]) / (GRID - 1) * np.arange(GRID, dtype=np.float64)
    log = policy.crossing_temper * _log_likelihood(near, grid, stayed, policy)
    for at, llr in zip(hints.at.tolist(), hints.llr.tolist(), strict=True):
        log[grid <= at] += llr
    if len(hints.unlocked_at):
        log += _at_the_door(hints.unlocked_at, grid, stayed, policy)
    log += _in_the_open(near, stayed) @ (grid <= near.at[:, None])
    mass = np.exp(log - log.max())
    mass = (1.0 - STRAY) * mass / mass.sum() + STRAY / GRID
    share = np.concatenate(([0.0], np.cumsum(mass[1:] + mass[:-1])))
    at = np.interp(LEVELS, share / share[-1], grid)
    middle = at[len(at) // 2]
    return middle + np.sign(NORMAL) * np.hypot(at - middle, NORMAL * policy.crossing_blur_s), LEVELS


def _at_the_door(unlocked_at: Floats, grid: Floats, stayed: Habit, policy: Policy) -> Floats:
    """Log-odds of each moment of arrival by when she unlocked: not long before it, and hardly after it."""
    since = grid[None, :] - unlocked_at[:, None]
    porch_s = max(-stayed.depth_m, 0.0) / DOORSTEP_MPS
    early = np.minimum(np.maximum(-since - porch_s, 0.0) / BELL_S, BELL_MOST)
    late = np.minimum(np.maximum(since, 0.0) / DOORWAY_S, policy.llr_credential)
    against: Floats = -(early + late).sum(axis=0)
    return against


def _in_the_open(near: Track, stayed: Habit) -> Floats:
    """Log-odds of being in the home at each fix, never above zero, from the error that the phone names."""
    if not stayed.named_m:
        return np.zeros(len(near.at))
    named = likelihood.lately(near.at, near.sigma_m)
    finer = np.minimum(np.log(named / stayed.named_m) / (NAMED_STEADIER * stayed.named_spread), 0.0)
    against = np.minimum(np.maximum(NAMED_FREE - 0.5 * finer * finer, -NAMED_MOST), 0.0)
    outside = np.minimum(np.maximum(near.distance_m / (2.0 * near.sigma_m), 0.0), 1.0)
    share = np.minimum(1.0, since(near.at, FIRST_S) / NAMED_LASTS_S)
    against *= outside * near.weight * share
    return against


def _log_likelihood(near: Track, grid: Floats, stayed: Habit, policy: Policy) -> Floats:
    """Of each moment of arrival, the ways summed out. Axes: way, fix, moment."""
    dt = since(near.at, FIRST_S)
    echo = np.minimum(np.maximum((stayed.lasts_s - dt) / (stayed.lasts_s + dt), 0.0), 0.98)[:, None]
    here, error2 = near.distance_m[:, None], ((near.sigma_m * stayed.scale) ** 2)[:, None]
    depth = stayed.depth_m - SHALLOW * stayed.scatter_m
    deep = min(depth, 0.0)
    togo = grid - near.at[:, None]
    outside = togo > 0.0
    way = _SPEED[:, None, None] * togo
    settled = way <= deep
    expected = np.maximum(way, deep)
    if depth > 0.0:
        expected += depth * ~outside
    spread2 = np.maximum(way, 0.0, out=way)
    spread2 *= BENT
    spread2 *= spread2
    spread2 += error2
    beyond, anywhere, free2 = _before_the_turn(near, togo, dt)
    np.copyto(expected[_TURNED], anywhere, where=beyond)
    waits, stops = outside & (togo <= WAIT_S), ~outside & (togo >= -STOP_S)
    np.copyto(expected[_WAITS], np.minimum(np.maximum(here, 0.0), WAIT_M), where=waits)
    np.copyto(spread2[_WAITS], error2, where=waits)
    np.copyto(expected[_STOPS], np.minimum(np.maximum(here, deep), 0.0), where=stops)
    settled[_STOPS] = ~outside & ~stops
    np.copyto(spread2, stayed.scatter_m**2, where=settled)

    first = ~outside
    first[1:] &= outside[:-1]
    echo = echo * ~first
    alone = 1.0 - echo * echo
    residual = np.subtract(here, expected, out=expected)
    residual /= np.sqrt(spread2)
    off2 = _news(residual, echo)
    off2 *= off2
    off2 /= alone
    np.maximum(off2, _displaced2(near, stayed, echo, alone), out=off2, where=settled)
    scale2 = np.multiply(spread2, alone, out=spread2)
    scale2[_TURNED] += beyond * free2
    scale2[_WAITS] += waits * (WAIT_M**2 / EVENLY)
    scale2[_STOPS] += stops * (deep**2 / EVENLY)

    share = near.weight * np.minimum(1.0, np.maximum(dt, 1e-3) / policy.correlation_s)
    off2 /= STUDENT
    told = np.log1p(off2, out=off2)
    told *= STUDENT + 1.0
    told += np.log(scale2, out=scale2)
    prior = _LOG_PRIOR + _RIDES * log(min(max(-stayed.depth_m / RIDES_IN_M, RIDES_IN[0]), RIDES_IN[1]))
    each = prior[:, None] - 0.5 * (share @ told)
    each[_TURNED] -= np.minimum(dt, STEP_S) @ beyond / policy.linger_mean_s
    top = each.max()
    total: Floats = np.log(np.maximum(np.exp(each - top).sum(axis=0), 1e-300)) + top
    return total


# The ways in this order: straight ones, those with a turn, who waits in front of the home, who stops in the fence.
_AFTER_TURN = (
    *((speed, turn, 0.0) for speed, turn, _ in TURNS),
    (WAIT_MPS, 0.0, WAIT_S),
    *((speed, turn, 0.0) for speed, turn, _ in STOPS),
)
_SPEED = np.array((*(speed for speed, _ in STRAIGHT), *(speed for speed, _, _ in _AFTER_TURN)))
_LOG_PRIOR = np.log(
    (*(prior for _, prior in STRAIGHT), *(prior for *_, prior in TURNS), WAIT_PRIOR, *(prior for *_, prior in STOPS))
)
_TURNED = slice(len(STRAIGHT), None)
_WAITS = slice(len(STRAIGHT) + len(TURNS), len(STRAIGHT) + len(TURNS) + 1)
_STOPS = slice(len(STRAIGHT) + len(TURNS) + 1, None)
_RIDES = np.isin(np.arange(len(_SPEED)), [len(STRAIGHT) - 1, *range(_STOPS.start, len(_SPEED))])
"""The car, and those who stop in the fence."""
_TURN_M = np.array([turn_m for _, turn_m, _ in _AFTER_TURN])[:, None, None]
_TURN_S = np.array([turn_m / speed + wait_s for speed, turn_m, wait_s in _AFTER_TURN])[:, None, None]
"""How far outside the fence each turn lies, and how long before it she is there."""


def _before_the_turn(near: Track, togo: Floats, dt: Floats) -> tuple[Bools, Floats, Floats]:
    """For each way with a turn: whether each fix lies before it, where she may have been there at the nearest to the fix, and how
    much of a step between fixes is hers and no error, squared.
    """
    street = _street_mps(near)
    pace = np.full((len(dt), 1), street)
    pace[:-1, 0] = np.maximum(street, RIDE_MPS * np.minimum(dt[1:] / RIDE_S, 1.0))
    ago = togo - _TURN_S
    beyond = ago > 0.0
    reach = np.maximum(ago, 0.0, out=ago)
    reach *= pace
    reach += _TURN_M
    anywhere = np.minimum(np.maximum(near.distance_m[:, None], _TURN_M), reach, out=reach)
    stepped = np.abs(since(near.distance_m, 0.0))
    free = np.minimum(0.4 * street * np.minimum(dt, 600.0), stepped)
    return beyond, anywhere, (free * free)[:, None]


def _street_mps(near: Track) -> float:
    """The speed that she had anywhere near, with room for what the fixes missed."""
    if len(near.at) < 2:
        return 1.5
    paces = np.abs(near.distance_m[1:] - near.distance_m[:-1]) / np.maximum(near.at[1:] - near.at[:-1], 1.0)
    return min(max(1.5, 1.2 * float(paces.max())), 20.0)


def _displaced2(near: Track, stayed: Habit, echo: Floats, alone: Floats) -> Floats:
    """How far each fix lies from where she stayed, squared and in σ: who stands in the street may be as near to the fence."""
    x, y = (near.east_m - stayed.east_m) / stayed.scatter_m, (near.north_m - stayed.north_m) / stayed.scatter_m
    out: Floats = (_news(x[:, None], echo) ** 2 + _news(y[:, None], echo) ** 2) / alone - DISPLACED2
    return out


def _news(residual: Floats, echo: Floats) -> Floats:
    """What each residual tells that the one before it did not."""
    news = np.empty(residual.shape[:-1] + echo.shape[-1:])
    news[..., :1, :] = residual[..., :1, :]
    np.multiply(residual[..., :-1, :], echo[1:], out=news[..., 1:, :])
    np.subtract(residual[..., 1:, :], news[..., 1:, :], out=news[..., 1:, :])
    return news
