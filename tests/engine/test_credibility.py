"""Flags: each on its own evidence, all that apply, and none on honest tracks."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import credibility, flags
from geofence.credibility import Expected
from geofence.evidence import Fixes
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, errors, fixes, joined, lonlat, take

POLICY = Policy()


def flagged(of: Fixes, name: str) -> np.ndarray:
    return np.array([name in told for told in flags(of, POLICY)], dtype=bool)


def moved(of: Fixes, rows: object, east: float) -> Fixes:
    lon = of.lon.copy()
    lon[rows] += float(lonlat(east, 0.0)[0] - lonlat(0.0, 0.0)[0])
    return replace(of, lon=lon)


@bounded
@given(st.integers(0, 99), st.sampled_from([1.0, 10.0, 60.0, 300.0]), st.sampled_from([3.0, 15.0, 40.0]))
def test_an_honest_track_has_no_flags(seed: int, every: float, sigma: float) -> None:
    assert not any(flags(day(seed, every, sigma_m=sigma, accuracy_m=sigma * 1.5, planned_s=1800.0), POLICY))


@bounded
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.2, 40.0]), st.sampled_from([30, 60, 200])), min_size=2, max_size=40))
def test_frozen_is_a_long_run_of_repeats_by_the_slow_definition(steps: list[tuple[float, int]]) -> None:
    east = np.cumsum([step for step, _ in steps])
    at = np.cumsum([gap for _, gap in steps]).astype(float)

    def run(i: int, most_m: float) -> tuple[int, int]:
        first = last = i
        while first and steps[first][0] <= most_m:
            first -= 1
        while last + 1 < len(at) and steps[last + 1][0] <= most_m:
            last += 1
        return first, last

    slow = np.zeros(len(at), dtype=bool)
    for i in range(len(at)):
        (first, last), (begin, end) = run(i, POLICY.frozen_m), run(i, 0.12)
        crept = east[last] - east[first] > 3.0 * POLICY.frozen_m
        trembles = last - first + 1 >= POLICY.frozen_fixes and at[last] - at[first] >= POLICY.frozen_s
        same = end > begin and at[end] - at[begin] >= 0.9 * POLICY.frozen_s
        slow[i] = (trembles or same) and not crept
    assert flagged(fixes(at, east, 0.0 * at, 8.0), "frozen").tolist() == slow.tolist()


def test_a_position_that_trembles_by_centimetres_is_made_up_at_any_interval() -> None:
    for every_s in (10.0, 60.0, 300.0):
        at = np.arange(0.0, 3600.0, every_s)
        rng = np.random.default_rng(2)
        assert flagged(fixes(at, errors(rng, at, 0.05), errors(rng, at, 0.05), 5.0), "frozen").all(), every_s
        assert not flagged(fixes(at, errors(rng, at, 3.0), errors(rng, at, 3.0), 5.0), "frozen").any(), every_s


def test_three_positions_that_are_the_same_to_the_last_digit_are_enough_for_a_phone_that_claims_to_be_exact() -> None:
    at = np.array([0.0, 300.0, 600.0])
    assert flagged(fixes(at, np.zeros(3), np.zeros(3), 8.0), "frozen").all()
    assert not flagged(fixes(at, np.zeros(3), np.zeros(3), 45.0), "frozen").any(), "the same wireless networks, the same answer"
    assert not flagged(fixes(at, np.array([0.0, 0.3, 0.0]), np.zeros(3), 8.0), "frozen").any()


def test_one_answer_of_a_network_for_a_whole_stay_is_played() -> None:
    """Also where a few fixes stray from it."""
    at = np.arange(0.0, 3600.0, 10.0)
    east = np.where(np.arange(360) % 180 == 90, 30.0, 0.0)
    assert flagged(fixes(at, east, 0.0 * at, 25.0), "frozen").sum() > 300


def test_who_creeps_somewhere_is_not_frozen() -> None:
    at = np.arange(0.0, 3600.0, 60.0)
    wiggle = np.where(np.arange(60) % 2 == 0, 0.0, 0.15)
    assert not flagged(fixes(at, np.arange(60) * 0.3, wiggle), "frozen").any()
    assert flagged(fixes(at, np.arange(60) * 0.01, wiggle), "frozen").all()


def test_a_cells_position_repeats_by_nature() -> None:
    at = np.arange(0.0, 3600.0, 60.0)
    assert not flagged(fixes(at, 0.0 * at, 0.0 * at, 900.0), "frozen").any()
    assert flagged(fixes(at, 0.0 * at, 0.0 * at, 20.0), "frozen").all()


def test_a_lone_outlier_alone_is_a_teleport() -> None:
    of = moved(day(), 500, 5000.0)
    assert flagged(of, "teleport").nonzero()[0].tolist() == [500]


def test_the_stretch_that_jumped_there_and_back_is_flagged_and_what_fits_around_it_is_not() -> None:
    at = np.arange(-1800.0, 9000.0, 20.0)
    rng = np.random.default_rng(1)
    of = fixes(at, errors(rng, at, 8.0), errors(rng, at, 8.0))
    there = (at >= 0) & (at < 7200)
    assert flagged(moved(of, there, 6000.0), "teleport").tolist() == there.tolist()


def test_of_two_stretches_the_one_with_a_way_is_believed() -> None:
    """She walked to the site and was there; then the phone claims a place across town, for good."""
    of = day()
    late = of.at >= of.at[700]
    assert flagged(moved(of, late, 9000.0), "teleport")[:700].sum() == 0


def test_mock_positions_elsewhere_are_no_reproach_to_real_ones() -> None:
    of = day()
    fake = np.zeros(len(of.at), dtype=bool)
    fake[100:200] = True
    told = replace(moved(of, fake, 8000.0), mock=fake)
    assert not flagged(told, "teleport").any()
    assert flagged(told, "mock").tolist() == fake.tolist()


def test_a_train_is_no_teleport_and_a_long_silence_explains_a_long_way() -> None:
    at = np.arange(0.0, 3600.0, 60.0)
    assert not flagged(fixes(at, at * 40.0, 0.0 * at), "teleport").any()
    assert not flagged(fixes(np.array([0.0, 3600.0]), np.array([0.0, 90_000.0]), np.zeros(2)), "teleport").any()


def test_every_reason_is_told_and_in_one_order() -> None:
    at = np.arange(0.0, 3600.0, 60.0)
    of = fixes(at, 0.0 * at, 0.0 * at, 0.1, mock=np.ones(60, dtype=bool))
    of = replace(of, received_at=of.at - 900.0)
    assert set(flags(of, POLICY)) == {("mock", "clock_skew", "impossible_accuracy")}


def test_a_ping_is_stale_and_freezes_nothing() -> None:
    of = day(every_s=60.0)
    ping = np.arange(len(of.at)) % 2 == 1
    lon, lat = of.lon.copy(), of.lat.copy()
    lon[ping], lat[ping] = lon[np.flatnonzero(ping) - 1], lat[np.flatnonzero(ping) - 1]
    told = replace(of, lon=lon, lat=lat, ping=ping)
    assert flagged(told, "stale_ping").tolist() == ping.tolist()
    assert not flagged(told, "frozen").any()
    assert not flagged(told, "teleport").any()


@pytest.mark.parametrize("ahead_s", [1.0, 100.0])
def test_a_clock_that_is_a_little_ahead_is_every_clock(ahead_s: float) -> None:
    of = day(every_s=60.0)
    assert not flagged(replace(of, received_at=of.at - ahead_s), "clock_skew").any()


@pytest.mark.parametrize("behind_s", [400.0, 3600.0, 30_000.0])
def test_a_clock_that_is_behind_is_seen_by_a_delay_that_never_shrinks(behind_s: float) -> None:
    of = day(every_s=60.0)
    jitter = np.random.default_rng(3).uniform(0.0, 8.0, len(of.at))
    assert flagged(replace(of, received_at=of.at + behind_s + jitter), "clock_skew").all()


def test_a_clock_that_is_set_back_is_wrong_from_then_on() -> None:
    of = day(every_s=60.0)
    real = of.at + 2.0
    stepped = np.arange(len(of.at)) >= 70
    told = replace(of, at=np.where(stepped, of.at - 1800.0, of.at), received_at=real)
    order = np.argsort(told.at, kind="stable")
    told = replace(take(told, order))
    assert flagged(told, "clock_skew").tolist() == stepped[order].tolist()


@pytest.mark.parametrize(
    "late",
    [
        lambda at: at[-1] - at,  # an outbox that empties all at once
        lambda at: (at[-1] - at) * 0.5,  # at twice the rate at which it was filled
        lambda at: 900.0 - at % 900.0,  # a phone that wakes up every quarter of an hour
        lambda at: np.full(len(at), 120.0) + at % 7.0,  # a phone that sends with each report the one before, and a slow network
        lambda at: np.where((at > at[40]) & (at < at[48]), 700.0, 2.0),  # a queue of ours of seven minutes
    ],
)
def test_what_catches_up_is_a_network_and_no_clock(late: Callable[[np.ndarray], np.ndarray]) -> None:
    of = day(every_s=60.0)
    assert not flagged(replace(of, received_at=of.at + late(of.at - of.at[0])), "clock_skew").any()


def test_a_phone_that_reports_every_quarter_of_an_hour_and_one_report_late_has_no_wrong_clock() -> None:
    of = day(every_s=900.0, planned_s=36_000.0)
    assert not flagged(replace(of, received_at=of.at + 900.0), "clock_skew").any()


def test_a_way_without_noise_is_made_up_and_a_noisy_one_is_not() -> None:
    at = np.arange(0.0, 1800.0, 30.0)
    rng = np.random.default_rng(1)
    assert flagged(fixes(at, at * 8.0, at * 3.0), "jitter_free").all()
    assert not flagged(fixes(at, at * 8.0 + rng.normal(0, 2, len(at)), at * 3.0), "jitter_free").any()
    assert not flagged(fixes(at[:40], at[:40] * 8.0, 0.0 * at[:40]), "jitter_free").any(), "19 minutes may be a motorway"


def test_a_position_out_of_the_phones_cache_is_stale_and_coming_home_is_not() -> None:
    at = np.arange(0.0, 7200.0, 60.0)
    rng = np.random.default_rng(1)
    east = np.where(at < 1800.0, 0.0, np.minimum((at - 1800.0) * 10.0, 3000.0)) + rng.normal(0, 6, len(at))
    of = fixes(at, east, rng.normal(0, 6, len(at)), altitude_m=rng.normal(50, 3, len(at)))
    cached = take(of, np.where(np.isin(np.arange(len(at)), [60, 61]), 20, np.arange(len(at))))
    told = replace(cached, at=of.at, received_at=of.received_at)
    assert flagged(told, "stale_ping").nonzero()[0].tolist() == [60, 61]
    assert not flagged(told, "teleport").any()
    home = fixes(at, np.where((at > 2000) & (at < 5000), 900.0, 0.0) + rng.normal(0, 6, len(at)), rng.normal(0, 6, len(at)))
    assert not flagged(home, "stale_ping").any()


def test_two_phones_on_either_side_of_the_fence_contradict_each_other_and_two_beside_each_other_do_not() -> None:
    one, two = day(every_s=60.0), day(seed=2, every_s=60.0)
    plan = (Expected(circle(0, 0, 40.0), START, START + 7200.0),)
    for east, lie in ((0.0, False), (400.0, True)):
        both = together(one, moved(two, slice(None), east))
        told = np.array(["two_phones" in why for why in flags(both, POLICY, plan)])
        there = (both.at >= START + 120) & (both.at < START + 7200)
        assert told[there].mean() == (1.0 if lie else 0.0)
        assert not any(flags(both, POLICY)), "without a plan there is no fence that they could stand on either side of"


def together(one: Fixes, two: Fixes) -> Fixes:
    """Two phones of one worker."""
    return joined(replace(one, sources=("w-1", "w-1b")), replace(two, source=np.ones_like(two.source)))


def test_no_fixes_have_no_flags() -> None:
    empty = np.empty(0)
    assert flags(fixes(empty, empty, empty), POLICY) == ()
    assert credibility.names(0) == ()
