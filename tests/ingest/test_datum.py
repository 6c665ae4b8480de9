"""Chinese datums: the way back from the shift that map SDKs put on."""

from coord_convert.transform import gcj2bd, wgs2gcj
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.datum import to_wgs84

METRES_PER_DEG = 111_320


def off_m(found: tuple[float, float], lon: float, lat: float) -> float:
    return max(abs(found[0] - lon), abs(found[1] - lat)) * METRES_PER_DEG


@settings(deadline=None)
@given(st.floats(75, 134), st.floats(4, 53))
def test_converting_there_and_back_is_within_a_millimetre(lon: float, lat: float) -> None:
    gcj_lon, gcj_lat = wgs2gcj(lon, lat)
    assert off_m(to_wgs84(gcj_lon, gcj_lat, "gcj02"), lon, lat) < 0.001
    # Baidu's own step has no exact inverse; the library's is good to half a metre.
    bd_lon, bd_lat = gcj2bd(gcj_lon, gcj_lat)
    assert off_m(to_wgs84(bd_lon, bd_lat, "bd09"), lon, lat) < 0.5


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90))
def test_it_ends_anywhere_on_the_earth_and_never_moves_far(lon: float, lat: float) -> None:
    """At the border of the shifted area the library's own loop would run for ever: 72.004 degrees east, for one."""
    found = to_wgs84(lon, lat, "gcj02")
    assert max(abs(found[0] - lon), abs(found[1] - lat)) < 0.05


def test_it_ends_on_the_border_itself() -> None:
    for step in range(-2000, 2000):
        lon = 72.004 + step * 1e-5
        assert abs(to_wgs84(lon, 30, "gcj02")[0] - lon) < 0.05


def test_wgs84_stays_as_it_is() -> None:
    assert to_wgs84(116.4, 39.9, "wgs84") == (116.4, 39.9)
