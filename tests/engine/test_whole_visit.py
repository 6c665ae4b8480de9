"""A whole visit against the obvious posterior: every arrival and every departure, each with its own product of likelihoods.

The slow one knows nothing of chains, ways, stays as wholes, coverage or rules. She was away until A, on site until D, and away
again, or never came; a fix was drawn from the house or from anywhere at all, spread by its error, and one in fifty from nowhere. It
takes the fixes of one stay for independent, and so is surer than it should be: where it is sure, the engine may doubt, but not say
the opposite.
"""

from math import erf, log, pi, sqrt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from geofence import judge
from geofence.evidence import Fixes, Floats
from geofence.outcome import Outcome
from geofence.plan import Scene
from geofence.policy import Policy
from tests.engine.worlds import METRES, START, bounded, day, fixes, scene, seen, square, take

POLICY = Policy()
SETTLED = START + 9e4
PLANNED_S = 2400.0
STEP_S = 30.0
"""Arrivals and departures are tried this far apart."""
GROSS = 0.02


class Slow(Struct, frozen=True, eq=False):
    """Weights of all pairs of arrival (rows) and departure (columns), on one grid of times, that sum to one; on the diagonal she
    never came.
    """

    at: Floats
    weight: Floats

    def served(self, least_s: float) -> float:
        """Probability that she was there for so long."""
        return float(self.weight[self.at[None, :] - self.at[:, None] >= least_s].sum())

    def on(self, at: float) -> float:
        return float(self.weight[np.ix_(self.at <= at, self.at > at)].sum())

    def arrival(self) -> tuple[float, float]:
        """The 1 and 99 % points of the arrival, if she came."""
        return self._middle((self.weight - np.diag(np.diag(self.weight))).sum(axis=1))

    def departure(self) -> tuple[float, float]:
        return self._middle((self.weight - np.diag(np.diag(self.weight))).sum(axis=0))

    def _middle(self, weight: Floats) -> tuple[float, float]:
        share = np.cumsum(weight) / weight.sum()
        return float(self.at[np.searchsorted(share, 0.01)]), float(self.at[np.searchsorted(share, 0.99)])


def slow(of: Fixes, half_m: float) -> Slow:
    """The posterior of one visit to a square house about the origin."""
    grid = np.arange(-1800.0, PLANNED_S + 1800.0 + STEP_S, STEP_S)
    gains, before = [], -np.inf
    for at, lon, lat, radius in zip(of.at - START, of.lon, of.lat, of.accuracy_m, strict=True):
        east, north = (lon - 116.4) * METRES * np.cos(np.radians(39.9)), (lat - 39.9) * METRES
        sigma = sqrt(10.0**2 + (1.3 * radius / 1.515) ** 2)
        over = 1.0
        for metres in (east, north):
            over *= (erf((half_m - metres) / sigma / sqrt(2)) + erf((half_m + metres) / sigma / sqrt(2))) / 2.0
        outside2 = max(abs(east) - half_m, 0.0) ** 2 + max(abs(north) - half_m, 0.0) ** 2
        # Away at any scale alike, but not in the house.
        area_m2 = (2.0 * half_m) ** 2
        away = (1.0 - over) / (area_m2 + 2.0 * pi * (outside2 + sigma**2) / 0.2) + 1e-12
        anywhere = (1.0 - GROSS) * over / area_m2 + GROSS * away
        away = (1.0 - GROSS) * away + GROSS * anywhere
        gains.append((at, min(1.0, (at - before) / POLICY.correlation_s) * log(anywhere / away)))
        before = at
    gained = np.array([sum(gain for at, gain in gains if at < t) for t in grid])
    total = gained[None, :] - gained[:, None]
    pairs = len(grid) * (len(grid) - 1) / 2.0
    prior = np.where(np.eye(len(grid)) > 0.0, 0.5 / len(grid), 0.5 / pairs)
    total = np.where(np.tri(len(grid), k=-1) > 0.0, -np.inf, total)  # nobody leaves before she comes
    weight = prior * np.exp(total - total.max())
    return Slow(grid, weight / weight.sum())


@st.composite
def visits(draw: st.DrawFn) -> tuple[Scene, Fixes, float]:
    """A visit to a house, and half of its width."""
    half_m = draw(st.sampled_from([8.0, 12.0, 20.0, 35.0]))
    came, stayed = draw(st.integers(-900, 1800)), draw(st.sampled_from([0, 300, 900, 1800, 2400, 3000]))
    place = draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.5, 6.0, 60.0])) * half_m
    sigma_m = draw(st.sampled_from([3.0, 6.0, 12.0, 20.0]))
    every_s = draw(st.sampled_from([20.0, 60.0, 120.0, 280.0]))
    made = day(draw(st.integers(0, 99)), every_s, came, came + stayed, (place, 0.0), sigma_m, 1.5 * sigma_m, planned_s=PLANNED_S)
    return scene(square(0, 0, 2 * half_m), PLANNED_S), made, half_m


losses = st.lists(
    st.tuples(st.integers(0, 999), st.floats(0.02, 0.98), st.sampled_from(["some", "far", "near", "span"])), max_size=3
)


def lost(of: Fixes, how: tuple[int, float, str]) -> Fixes:
    """What is left: some, those furthest from the house or nearest to it, or all but a stretch."""
    seed, share, kind = how
    rng, away = np.random.default_rng(seed), np.hypot((of.lon - 116.4) * 85_000.0, (of.lat - 39.9) * 111_000.0)
    if kind == "some":
        return take(of, rng.random(len(of.at)) < share)
    if kind == "span":
        start = rng.integers(len(of.at))
        rows = np.arange(len(of.at))
        return take(of, (rows < start) | (rows >= start + share * len(of.at)))
    limit = np.quantile(away, share)
    return take(of, away >= limit if kind == "far" else away <= limit)


def told(where: Scene, of: Fixes) -> Outcome:
    return judge(where, seen(of), POLICY, SETTLED)


@bounded
@given(visits(), losses)
def test_no_verdict_is_the_opposite_of_the_obvious_posterior_whatever_is_lost(
    case: tuple[Scene, Fixes, float], ways: list[tuple[int, float, str]]
) -> None:
    where, of, half_m = case
    verdicts = set()
    for kept in (of, *(lost(of, how) for how in ways)):
        outcome, obvious = told(where, kept), slow(kept, half_m)
        verdicts.add(outcome.verdict)
        if outcome.verdict == "verified":
            assert obvious.served(0.85 * PLANNED_S) > 0.5
        elif outcome.verdict == "partial":
            assert obvious.served(0.85 * POLICY.proven_min_s) > 0.5 or outcome.left_at is None
        elif outcome.verdict == "contradicted":
            assert obvious.served(POLICY.proven_min_s) < 0.5
    assert not {"verified", "contradicted"} <= verdicts


@bounded
@given(visits())
def test_arrival_departure_and_presence_are_those_of_the_obvious_posterior(case: tuple[Scene, Fixes, float]) -> None:
    where, of, half_m = case
    outcome, obvious = told(where, of), slow(of, half_m)
    every_s = float(np.diff(of.at).max())
    for span in outcome.presence:
        for at in np.arange(span.start, span.end, 60.0) - START:
            if span.state == "on":
                assert obvious.on(at) > 0.05 or _near_an_end(at, obvious, every_s)
            elif span.state == "off":
                assert obvious.on(at) < 0.95 or _near_an_end(at, obvious, every_s)
    if outcome.on_site_s.lower > 0.5 * outcome.on_site_s.upper > 0.5 * POLICY.proven_min_s:
        # As sure as both are of the stay, an end lies within a gap between fixes and the way that an error makes at a walk.
        slack_s = every_s + STEP_S + 40.0
        for moment, (early, late) in ((outcome.arrived_at, obvious.arrival()), (outcome.left_at, obvious.departure())):
            assert moment is not None
            assert early - slack_s <= moment.best - START <= late + slack_s


def _near_an_end(at: float, obvious: Slow, every_s: float) -> bool:
    return any(early - every_s - 60.0 <= at <= late + every_s + 60.0 for early, late in (obvious.arrival(), obvious.departure()))


def test_the_obvious_posterior_knows_a_plain_visit_and_a_plain_absence() -> None:
    came, away = day(came=60.0, went=2300.0, planned_s=PLANNED_S), day(place=(900.0, 0.0), planned_s=PLANNED_S)
    here, gone = slow(came, 12.0), slow(away, 12.0)
    assert here.served(2000.0) > 0.99 > 0.01 > gone.served(60.0)
    assert here.arrival()[0] <= 90.0
    assert here.arrival()[1] >= 0.0
    nothing = slow(fixes(np.zeros(1), np.zeros(1), np.zeros(1), 5000.0), 12.0)
    assert 0.2 < 1.0 - float(np.diag(nothing.weight).sum()) < 0.8
