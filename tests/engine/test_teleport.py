"""Teleports: what was put where nobody could be is told, and what is honest around it is not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.policy import Policy
from geofence.teleport import STRETCHES_MAX, teleported
from tests.engine.worlds import bounded, errors

POLICY = Policy()


def stay(count: int, every_s: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A phone that never leaves one place, so that nothing but the faults can be told by the way."""
    at = np.arange(count) * every_s
    rng = np.random.default_rng(seed)
    return at, errors(rng, at, 8.0), errors(rng, at, 8.0)


def told(at: np.ndarray, east: np.ndarray, north: np.ndarray) -> list[int]:
    return teleported(at, east, north, np.full(len(at), 12.0), POLICY).nonzero()[0].tolist()  # type: ignore[no-any-return]


faults = st.lists(st.tuples(st.integers(0, 199), st.integers(0, 7)), max_size=12, unique_by=lambda fault: fault[0])


@bounded
@given(faults, st.sampled_from([10.0, 60.0, 290.0]), st.integers(0, 50))
def test_every_wild_fix_is_told_and_no_honest_one(wild: list[tuple[int, int]], every_s: float, seed: int) -> None:
    """Up to a dozen faults anywhere, neighbours of each other or not, each tens of kilometres off in a direction of its own."""
    at, east, north = stay(200, every_s, seed)
    rows = sorted(row for row, _ in wild)
    apart = [b - a for a, b in pairwise(rows)]
    if any(gap < 6 for gap in apart) or rows[:1] in ([1], [2], [3]) or rows[-1:] in ([198], [197], [196]):
        return
    for k, (row, direction) in enumerate(sorted(wild)):
        east[row] += 40_000.0 * (k + 1) * np.cos(direction)
        north[row] += 40_000.0 * (k + 1) * np.sin(direction)
    assert told(at, east, north) == rows


def test_faults_in_a_row_that_contradict_each_other_leave_the_track_alone() -> None:
    at, east, north = stay(60, 300.0)
    east[30], east[31], north[32] = 90_000.0, -90_000.0, 90_000.0
    assert told(at, east, north) == [30, 31, 32]


def test_an_honest_fix_between_two_faults_at_one_place_is_honest() -> None:
    at, east, north = stay(60, 60.0)
    east[[30, 32]] = 90_000.0
    assert told(at, east, north) == [30, 32]


def test_an_honest_fix_between_two_faults_at_the_very_beginning_is_honest_too() -> None:
    at, east, north = stay(60, 60.0)
    east[[0, 2]] = 90_000.0
    assert told(at, east, north) == [0, 2]


def test_a_fault_near_the_beginning_costs_no_honest_fix_before_it() -> None:
    at, east, north = stay(60, 60.0)
    east[1] = 90_000.0
    assert told(at, east, north) == [1]


def test_two_places_at_which_she_only_ever_was_are_both_doubted() -> None:
    """Half an hour here, two hours across town, and no way between: nobody knows which was true."""
    at, east, north = stay(150, 60.0)
    east[30:] += 20_000.0
    assert len(told(at, east, north)) == 150


def test_a_phone_that_is_everywhere_at_once_is_nowhere() -> None:
    at, east, north = stay(4 * STRETCHES_MAX, 10.0)
    east[::2] += 50_000.0
    assert len(told(at, east, north)) == len(at)


def test_who_stands_at_one_door_and_a_minute_later_at_another_a_kilometre_away_never_went() -> None:
    """A made-up hour at a home, with the noise of a receiver, in an honest hour and a half at a place nearby."""
    for every_s, away in ((10.0, 400.0), (60.0, 1000.0)):
        at, east, north = stay(int(5400 / every_s), every_s)
        there = (at >= 900) & (at < 4500)
        east[there] += away
        assert told(at, east, north) == there.nonzero()[0].tolist(), every_s


def test_a_bus_a_lift_and_a_drive_between_two_reports_are_no_leaps() -> None:
    for every_s, way in ((10.0, 150.0), (60.0, 400.0), (300.0, 2200.0), (600.0, 15_000.0)):
        at, east, north = stay(60, every_s)
        east[30:] += way
        assert told(at, east, north) == [], every_s
    at = np.arange(0.0, 3600.0, 60.0)
    driving = np.clip((at - 600.0) * 15.0, 0.0, 20_000.0)
    rng = np.random.default_rng(1)
    assert told(at, driving + rng.normal(0, 8, len(at)), rng.normal(0, 8, len(at))) == []


def test_who_walks_and_is_in_a_home_a_kilometre_away_a_minute_later_leapt_and_who_drove_there_did_not() -> None:
    at = np.arange(0.0, 7200.0, 60.0)
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 4, len(at))
    there = (at >= 1800) & (at < 5400)
    for pace, leapt in ((1.4, True), (15.0, False)):
        before, after = np.minimum(at - 1740.0, 0.0) * pace, np.maximum(at - 5460.0, 0.0) * pace
        east = np.where(there, 1000.0, before + after + np.where(at > 5400, 2000.0 if not leapt else 0.0, 0.0)) + noise
        assert told(at, east, noise) == (there.nonzero()[0].tolist() if leapt else []), pace


def test_a_step_there_and_the_same_step_back_is_a_position_that_was_switched_on_and_off() -> None:
    """Who rides a bicycle to a home and back, a step of the way at a time, is not; nor who goes on to somewhere else."""
    at = np.arange(0.0, 7200.0, 60.0)
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 4, len(at))
    there = (at >= 1800) & (at < 5400)
    walk = np.minimum(at - 1740.0, 0.0) * 1.4
    away = np.maximum(at - 5460.0, 0.0) * 1.4
    assert told(at, np.where(there, 450.0, walk + away) + noise, noise) == there.nonzero()[0].tolist()
    assert told(at, np.where(there, 450.0, walk + away + np.where(at >= 5400, 900.0, 0.0)) + noise, noise) == []
    ride = np.clip(np.minimum(at - 1800.0, 5400.0 - at) * 6.5, -4000.0, 0.0)
    assert told(at, ride + noise, noise) == []


@pytest.mark.parametrize(
    ("here_s", "elsewhere_s", "way_seen", "doubted"),
    [(0.1, 90.0, False, True), (90.0, 90.0, False, False), (0.1, 0.1, False, False), (0.1, 90.0, True, False)],
)
def test_who_throws_dice_between_two_silences_was_not_there(
    here_s: float, elsewhere_s: float, way_seen: bool, doubted: bool
) -> None:
    """Three kilometres off by errors that last; ten minutes of silence; an hour there, by dice; silence, and back. A phone that
    forgets everywhere is no liar here, and who was seen on the way was there."""
    at = np.arange(0.0, 9000.0, 10.0)
    rng = np.random.default_rng(5)
    there = (at >= 2700.0) & (at < 6300.0)
    silent = ((at >= 2100.0) & (at < 2700.0)) | ((at >= 6300.0) & (at < 6900.0))
    way = 3000.0 * np.clip(np.maximum(2700.0 - at, at - 6300.0) / 600.0, 0.0, 1.0)
    noise = np.where(there, errors(rng, at, 5.0, here_s), errors(rng, at, 5.0, elsewhere_s))
    rows = np.flatnonzero(~silent | way_seen)
    found = set(rows[told(at[rows], (way + noise)[rows], np.where(there, noise[::-1], noise)[rows])].tolist())
    assert (found >= set(np.flatnonzero(there).tolist())) == doubted
    assert doubted or not found


@pytest.mark.parametrize(("silent_s", "doubted"), [(150.0, True), (0.0, False)])
def test_a_leap_in_a_silence_is_no_way(silent_s: float, doubted: bool) -> None:
    """She stands 470 m off, is silent, stands here for an hour, and is eleven hundred metres away at once, driving: the hour goes.
    Who was seen to walk those 470 m has a way here, and who drives has one there: nobody knows which was true."""
    at = np.arange(0.0, 7200.0, 10.0)
    rng = np.random.default_rng(2)
    came, left = 1800.0, 5400.0
    east = np.select([at < came, at < left], [-470.0 * np.clip((came - at) / 150.0, 0.0, 1.0), 0.0], 1100.0 + 9.0 * (at - left))
    rows = np.flatnonzero((at < came - silent_s) | (at >= came))
    found = set(rows[told(at[rows], (east + errors(rng, at, 4.0))[rows], errors(rng, at, 4.0)[rows])].tolist())
    assert (found >= set(np.flatnonzero((at >= came) & (at < left)).tolist())) == doubted


def test_a_stray_that_is_impossible_on_its_way_back_only_costs_itself() -> None:
    """Off by 800 m in twenty seconds, as a car might, and back in ten, as nobody can."""
    at, east, north = stay(300, 10.0)
    at[150:] += 20.0
    east[150] += 850.0
    at[151:] -= 10.0
    assert told(at, east, north) == [150]


def test_who_is_driven_to_the_door_and_away_from_it_did_not_leap() -> None:
    """Ten metres a second to the door, with a red light on the way; an hour later from it to the next one, beside the same road."""
    at = np.arange(0.0, 7200.0, 60.0)
    rng = np.random.default_rng(1)
    east = np.select([at < 1800.0, at < 5400.0], [-10.5 * (1800.0 - at), 0.0], -570.0)
    east += np.where(at < 1640.0, 340.0, 0.0) + errors(rng, at, 2.0)
    assert told(at, east, errors(rng, at, 2.0)) == []
