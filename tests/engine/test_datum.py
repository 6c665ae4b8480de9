"""Datums: the formula against a library, and a phone or a plan in the wrong one, which decides nothing."""

import numpy as np
import pytest
from coord_convert.transform import wgs2bd, wgs2gcj
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import flags
from geofence.credibility import Expected
from geofence.datum import bd09, gcj02, mistakes
from geofence.evidence import Fixes
from geofence.policy import Policy
from tests.engine.worlds import LAT, LON, START, bounded, circle, day, fixes

POLICY = Policy()
PLAN = (Expected(circle(0, 0, 40.0), START, START + 7200.0),)
MISTAKES = mistakes(LON, LAT)


def put_off(of: Fixes, lon: float, lat: float) -> Fixes:
    return replace(of, lon=of.lon + lon, lat=of.lat + lat)


def told(of: Fixes, plan: tuple[Expected, ...] = PLAN) -> np.ndarray:
    return np.array(["datum" in why for why in flags(of, POLICY, plan)], dtype=bool)


@bounded
@given(st.floats(73.0, 137.0), st.floats(1.0, 55.0))
def test_the_formula_is_the_one_that_everybody_uses(lon: float, lat: float) -> None:
    assert gcj02(lon, lat) == pytest.approx(wgs2gcj(lon, lat), abs=1e-12)
    assert bd09(lon, lat) == pytest.approx(wgs2bd(lon, lat), abs=1e-12)


def test_outside_china_no_datum_can_be_confused() -> None:
    assert mistakes(24.94, 60.17) == ()


@pytest.mark.parametrize("shift", MISTAKES, ids=lambda shift: shift.mistake)
@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
def test_a_phone_in_another_datum_is_seen_by_the_site_that_it_would_have_been_at(shift, every_s: float) -> None:  # type: ignore[no-untyped-def]
    of = day(every_s=every_s)
    assert told(put_off(of, shift.lon, shift.lat)).all()
    assert not told(of).any()


def test_who_is_elsewhere_is_elsewhere_and_no_datum_is_to_blame() -> None:
    shift = MISTAKES[0]
    east, north = shift.lon * 111_320 * np.cos(np.radians(LAT)), shift.lat * 111_320
    for place in ((0.7 * east, 0.7 * north), (-north, east), (east + 200.0, north), (2000.0, 100.0)):
        assert not told(day(place=place)).any(), place


def test_ten_minutes_at_the_shifted_place_are_a_stay_and_five_are_a_walk_past_it() -> None:
    shift = MISTAKES[0]
    assert told(put_off(day(every_s=30.0, came=600.0, went=1300.0), shift.lon, shift.lat)).any()
    east = shift.lon * 111_320 * np.cos(np.radians(LAT))
    at = np.arange(0.0, 7200.0, 30.0)
    assert not told(fixes(at, east - 3000.0 + at * 1.4, np.full(len(at), shift.lat * 111_320))).any()


def test_a_site_that_was_entered_in_another_datum_leaves_her_other_visits_alone() -> None:
    """She serves a site whose place was copied from a Chinese map, and then one whose place is right."""
    shift = MISTAKES[0]
    wrong, right = day(every_s=30.0, went=7200.0), day(seed=2, every_s=30.0, went=7200.0, place=(4000.0, 0.0))
    half = wrong.at < START + 3600.0
    of = replace(wrong, lon=np.where(half, wrong.lon + shift.lon, right.lon), lat=np.where(half, wrong.lat + shift.lat, right.lat))
    plan = (
        Expected(circle(0, 0, 40.0), START, START + 3600.0),
        Expected(circle(4000.0, 0, 40.0, "s-2"), START + 3600.0, START + 7200.0),
    )
    assert told(of, plan)[(of.at >= START + 60) & half].all()
    assert not told(of, plan)[(of.at >= START + 3600.0) & (of.at < START + 7200.0)].any()


def test_a_phone_that_confuses_datums_by_provider_is_doubted_where_it_does() -> None:
    of, shift = day(every_s=30.0), MISTAKES[0]
    network = np.arange(len(of.at)) % 3 == 0
    mixed = replace(of, lon=np.where(network, of.lon + shift.lon, of.lon), lat=np.where(network, of.lat + shift.lat, of.lat))
    there = (of.at >= START + 120) & (of.at < START + 7200)
    assert (told(mixed)[there] == network[there]).all()
