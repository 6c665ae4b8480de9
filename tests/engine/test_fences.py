"""What is computed for many fences or for two readings at once, against one after the other."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence import likelihood
from geofence.plan import Site
from geofence.plane import Fence, fence_of, fences_of, plane_of
from geofence.policy import Policy
from tests.engine.test_plane import l_shape, metres
from tests.engine.worlds import bounded, circle, square

HERE = square(0, 0, 20)
sites = st.one_of(
    st.builds(circle, metres, metres, st.sampled_from([10.0, 40.0, 120.0])),
    st.builds(square, metres, metres, st.sampled_from([8.0, 15.0, 90.0])),
    st.just(l_shape()),
)
POLICY = Policy(away_share_per_efold=0.3, passing_share_per_efold=0.7)


def in_our_plane(site: Site) -> Fence:
    return fence_of(site, plane_of(HERE))


@bounded
@given(st.lists(sites.map(in_our_plane), min_size=1, max_size=6), metres, metres, st.floats(1.0, 200.0))
def test_one_position_and_many_fences_is_each_of_them_alone(fences: list[Fence], east: float, north: float, sigma: float) -> None:
    ours, together = in_our_plane(HERE), fences_of(tuple(fences))
    point, error = (np.array([east]), np.array([north])), np.array([sigma])
    assert together.distances(east, north) == pytest.approx([fence.distance(*point)[0] for fence in fences], abs=1e-9)
    assert likelihood.rivalries(ours, together, east, north, sigma) == pytest.approx(
        [likelihood.rivalry(ours, fence, *point, error)[0] for fence in fences], abs=1e-6
    )


@pytest.mark.parametrize("make", [lambda x, y: circle(x, y, 25.0), lambda x, y: square(x, y, 30.0), lambda x, y: circle(x, y, 5.0)])
def test_who_shares_ground_is_told_by_the_area_in_common(make: Callable[[float, float], Site]) -> None:
    one, told = in_our_plane(HERE), set()
    for way in range(-40, 41):
        for other in (in_our_plane(make(way, 0.0)), in_our_plane(make(0.5 * way, way))):
            drawn = [fence.shape.buffer(fence.radius_m) if fence.radius_m else fence.shape for fence in (one, other)]
            shared = drawn[0].intersection(drawn[1]).area > 0.1 * min(one.area_m2, other.area_m2)
            assert one.shares_ground(other) == shared == other.shares_ground(one)
            told.add(shared)
    assert told == {True, False}


@bounded
@given(sites.map(in_our_plane), st.lists(st.tuples(metres, metres, st.floats(0.5, 3000.0)), min_size=1, max_size=20))
def test_both_readings_at_once_are_those_of_each(fence: Fence, reports: list[tuple[float, float, float]]) -> None:
    east, north, accuracy = np.array(reports).T
    distance, floor = fence.distance(east, north), likelihood.floor(east > 0.0, POLICY)
    sigma = likelihood.sigma(accuracy, floor, POLICY)
    llr, pull = likelihood.both(fence, distance, sigma, floor, POLICY)
    assert llr == pytest.approx(likelihood.llr(fence, distance, sigma, floor, POLICY), abs=1e-9)
    assert pull == pytest.approx(likelihood.pull(fence, distance, sigma, floor, POLICY), abs=1e-9)
