"""What one fix says: the laws of accuracy, and the overlap against a sum over a fine raster."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence import likelihood
from geofence.plan import Site
from geofence.plane import fence_of, plane_of
from geofence.policy import Policy
from tests.engine.worlds import bounded, circle, square

POLICY = Policy()
sites = st.sampled_from([square(0, 0, 12), square(0, 0, 40), circle(0, 0, 30), circle(0, 0, 120)])
radii = st.floats(0.0, 5000.0)


def says(site: Site, east: float, accuracy_m: float, moving: bool = True) -> float:
    fence = fence_of(site, plane_of(site))
    distance = fence.distance(np.array([east]), np.zeros(1))
    floor = likelihood.floor(np.array([moving]), POLICY)
    return float(likelihood.llr(fence, distance, likelihood.sigma(np.array([accuracy_m]), floor, POLICY), floor, POLICY)[0])


@bounded
@given(sites, st.floats(0.0, 4000.0), radii, radii)
def test_worse_accuracy_never_makes_on_site_easier(site: Site, east: float, one: float, two: float) -> None:
    better, worse = sorted((one, two))
    assert max(says(site, east, worse), 0.0) <= max(says(site, east, better), 0.0) + 1e-9


@bounded
@given(sites, st.floats(0.0, 4000.0), radii)
def test_what_a_perfect_phone_calls_off_no_phone_calls_on(site: Site, east: float, accuracy: float) -> None:
    if says(site, east, 0.0) <= 0.0:
        assert says(site, east, accuracy) <= 0.0


@bounded
@given(sites, st.floats(0.0, 2000.0), st.floats(0.0, 2000.0), st.sampled_from([1.0, 30.0, 4000.0]), radii)
def test_further_out_is_never_likelier_on_site(site: Site, one: float, two: float, times: float, accuracy: float) -> None:
    """And another continent is no exception."""
    nearer, further = sorted((one, two * times))
    assert says(site, further, accuracy) <= says(site, nearer, accuracy) + 1e-6


@bounded
@given(st.floats(-60.0, 60.0), st.floats(4.0, 60.0))
def test_the_overlap_is_the_sum_of_the_error_over_the_fence(distance: float, sigma: float) -> None:
    """The box that stands for the fence, summed on a raster of the logistic density, centimetres apart."""
    fence = fence_of(square(0, 0, 40), plane_of(square(0, 0, 40)))
    across = np.arange(distance, distance + fence.thickness_m, 0.02) + 0.01
    along = np.arange(-fence.width_m / 2, fence.width_m / 2, 0.02) + 0.01

    def density(x: np.ndarray) -> np.ndarray:
        e = np.exp(-1.702 * np.abs(x) / sigma)
        return 1.702 / sigma * e / (1 + e) ** 2

    slow = density(across).sum() * 0.02 * density(along).sum() * 0.02
    fast = likelihood.overlap(fence, np.array([distance]), np.array([sigma]))[0]
    assert fast == pytest.approx(slow, rel=2e-2, abs=1e-6)


def test_a_precise_fix_decides_at_the_outline_of_a_large_fence() -> None:
    assert abs(says(circle(0, 0, 150), 150.0, 3.0)) < 0.1
    assert says(circle(0, 0, 150), 110.0, 3.0) > 2.5
    assert says(circle(0, 0, 150), 190.0, 3.0) < -2.5


def test_a_fix_of_three_kilometres_says_next_to_nothing_about_being_here() -> None:
    assert 0.0 <= says(circle(0, 0, 60), 0.0, 3000.0) < 0.01


def test_a_house_smaller_than_the_error_can_still_be_believed() -> None:
    assert says(square(0, 0, 15), 5.0, 20.0) > 1.0


def test_a_missing_accuracy_is_the_policys_default() -> None:
    assert says(circle(0, 0, 60), 20.0, float("nan")) == says(circle(0, 0, 60), 20.0, POLICY.accuracy_default_m)


@bounded
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, float("nan")]), min_size=6, max_size=40))
def test_what_a_phone_lately_named_is_the_middle_one_of_five(named: list[float]) -> None:
    known = [float("inf") if radius != radius else radius for radius in named]
    around = [*known[:1] * 2, *known, *known[-1:] * 2]
    told = likelihood.lately(np.arange(len(named)) * 10.0, np.array(named))
    assert told.tolist() == [sorted(around[n : n + 5])[2] for n in range(len(named))]
