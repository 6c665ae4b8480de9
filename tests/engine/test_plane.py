"""Distances to fences: ours in plain arithmetic against shapely's, point by point."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from geofence.plan import Site
from geofence.plane import fence_of, plane_of
from tests.engine.worlds import LAT, LON, bounded, circle, lonlat, square

metres = st.floats(-300.0, 300.0).map(lambda x: round(x, 2))


def l_shape(name: str = "s-1") -> Site:
    corners = np.array([(0, 0), (60, 0), (60, 20), (20, 20), (20, 80), (0, 80)], dtype=float)
    hole = np.array([(5, 5), (12, 5), (12, 12), (5, 12)], dtype=float)
    ring = [np.column_stack(lonlat(c[:, 0], c[:, 1])) for c in (corners, hole)]
    house = shapely.Polygon(ring[0], [ring[1]])
    shed = square(150, 100, 10).geometry
    return Site(id=name, geometry=shapely.MultiPolygon([house, shed]))


@bounded
@given(
    st.lists(st.tuples(metres, metres), min_size=1, max_size=30),
    st.sampled_from([square(0, 0, 15), square(40, -20, 90), l_shape()]),
)
def test_the_distance_to_a_polygon_is_shapelys(points: list[tuple[float, float]], site: Site) -> None:
    fence = fence_of(site, plane_of(site))
    east, north = np.array(points).T
    slow = []
    for x, y in zip(east, north, strict=True):
        point = shapely.Point(x, y)
        slow.append((-1 if fence.shape.contains(point) else 1) * fence.shape.boundary.distance(point))
    assert fence.distance(east, north) == pytest.approx(np.array(slow), abs=1e-6)


def test_a_circle_is_negative_inside_zero_on_it_and_positive_outside() -> None:
    fence = fence_of(circle(0, 0, 50), plane_of(circle(0, 0, 50)))
    assert fence.distance(np.array([0.0, 50.0, 80.0]), np.zeros(3)) == pytest.approx([-50.0, 0.0, 30.0], abs=1e-6)


@pytest.mark.parametrize("latitude", [0.0, -33.9, 39.9, 60.0])
def test_metres_are_within_half_a_percent_of_the_ellipsoid(latitude: float) -> None:
    plane = plane_of(Site(id="s", geometry=shapely.Point(LON, latitude), radius_m=10))
    for lon, lat in ((LON + 0.01, latitude), (LON, latitude + 0.01), (LON - 0.02, latitude - 0.01)):
        east, north = plane.east_north(np.array([lon]), np.array([lat]))
        truth = Geod(ellps="WGS84").inv(LON, latitude, lon, lat)[2]
        assert np.hypot(east, north)[0] == pytest.approx(truth, rel=0.007)


def test_a_site_at_the_date_line_is_as_good_as_any_other() -> None:
    plane = plane_of(Site(id="s", geometry=shapely.Point(179.9999, LAT), radius_m=10))
    east, _ = plane.east_north(np.array([-179.9999]), np.array([LAT]))
    assert 0.0 < east[0] < 20.0


def test_flats_share_ground_and_houses_side_by_side_do_not() -> None:
    plane = plane_of(square(0, 0, 15))
    here, above, beside = (fence_of(square(x, 0, 15), plane) for x in (0, 0, 15))
    assert here.shares_ground(above)
    assert not here.shares_ground(beside)
