"""What is read off the curve: against a fine grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.curve import Curve, above, bridged, ends, seconds
from tests.engine.worlds import bounded

curves = st.lists(
    st.tuples(st.integers(1, 300), st.sampled_from([0.0, 0.01, 0.2, 0.49, 0.6, 0.9, 0.97, 1.0])), min_size=2, max_size=20
).map(lambda nodes: Curve(np.cumsum([float(gap) for gap, _ in nodes]), np.array([on for _, on in nodes])))


@bounded
@given(curves, st.sampled_from([0.05, 0.5, 0.95]))
def test_seconds_above_a_level_are_counted_as_on_a_fine_grid(curve: Curve, level: float) -> None:
    grid = np.arange(curve.at[0], curve.at[-1], 0.05) + 0.025
    slow = float((curve.value(grid) > level).sum()) * 0.05
    assert sum(end - start for start, end in above(curve, level)) == pytest.approx(slow, abs=0.1 * len(curve.at))


@bounded
@given(curves)
def test_seconds_are_in_order_and_best_is_the_likelier_side(curve: Curve) -> None:
    told = seconds(curve, above(curve, 0.5))
    grid = np.arange(curve.at[0], curve.at[-1], 0.05) + 0.025
    assert told.best == pytest.approx(float((curve.value(grid) > 0.5).sum()) * 0.05, abs=0.1 * len(curve.at))
    assert 0.0 <= told.lower <= told.best <= told.upper


def test_one_arrival_and_one_departure_have_the_quantiles_of_the_curve() -> None:
    curve = Curve(np.array([0.0, 100.0, 200.0, 1000.0, 1100.0, 2000.0]), np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
    (run,) = above(curve, 0.5)
    came, left = ends(curve, run, run)
    assert (came.earliest, came.best, came.latest) == pytest.approx((105.0, 150.0, 195.0))
    assert (left.earliest, left.best, left.latest) == pytest.approx((1005.0, 1050.0, 1095.0))
    told = seconds(curve, above(curve, 0.5))
    half = 45.0 * 3**0.5  # half as of two independent errors, half as of one: sqrt((2 + 4) / 2)
    assert (told.lower, told.best, told.upper) == pytest.approx((900.0 - half, 900.0, 900.0 + half))


@pytest.mark.parametrize(("absence_s", "runs"), [(300.0, 1), (500.0, 2)])
def test_an_absence_below_the_grace_does_not_split_a_visit(absence_s: float, runs: int) -> None:
    leaves = 1000.0
    at = np.array([0.0, leaves, leaves + 10, leaves + absence_s, leaves + absence_s + 10, 4000.0])
    curve = bridged(Curve(at, np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])), 420.0)
    assert len(above(curve, 0.5)) == runs
    assert seconds(curve, above(curve, 0.5)).lower == pytest.approx(4000.0 if runs == 1 else 4000.0 - absence_s, abs=20.0)


@pytest.mark.parametrize(("half_s", "surely_s"), [(350.0, 4000.0), (800.0, 4000.0 - 1600.0)])
def test_an_absence_that_may_have_been_long_is_not_subtracted_and_not_proven_to_be_short(half_s: float, surely_s: float) -> None:
    """One fix away from her, between two at home: likely below half for a few minutes, and not sure for much longer."""
    at = np.array([0.0, 2000.0 - half_s, 2000.0, 2000.0 + half_s, 4000.0])
    curve = bridged(Curve(at, np.array([1.0, 0.96, 0.42, 0.96, 1.0])), 420.0)
    told = seconds(curve, above(curve, 0.5))
    assert told.best == pytest.approx(4000.0)
    assert told.lower == pytest.approx(surely_s, abs=60.0)


@bounded
@given(st.lists(st.tuples(st.integers(1, 300), st.sampled_from([0.0, 0.04, 0.2, 0.6, 0.9, 0.94])), min_size=2, max_size=20))
def test_what_is_nowhere_sure_is_not_proven_however_often_it_was_likely(nodes: list[tuple[int, float]]) -> None:
    curve = Curve(np.cumsum([float(gap) for gap, _ in nodes]), np.array([on for _, on in nodes]))
    told = seconds(curve, above(curve, 0.5))
    assert told.lower == pytest.approx(0.0, abs=1e-6)
    assert told.upper == pytest.approx(sum(end - start for start, end in above(curve, 0.05)), abs=1e-6)
