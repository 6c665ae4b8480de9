"""Stays that were made up: sprung to, or of one radius, and what honest phones do that looks like it."""

import numpy as np
import pytest

from geofence.evidence import Bools, Floats
from geofence.policy import Policy
from geofence.teleport import teleported
from tests.engine.worlds import errors

POLICY = Policy()
CAME, WENT = 3600.0, 7200.0


def visit(every_s: float, away_m: float = 800.0, came_mps: float = 1.3, gone_mps: float = 1.3) -> tuple[Floats, Floats]:
    """Times, and metres to the east of a home to which she goes, and from which she leaves, at these speeds."""
    at = np.arange(0.0, 10_800.0, every_s)
    east = np.minimum(np.maximum(CAME - at, 0.0) * came_mps + np.maximum(at - WENT, 0.0) * gone_mps, away_m)
    return at, east


def flagged(at: Floats, east: Floats, radius: Floats | float, seed: int = 1) -> Bools:
    rng = np.random.default_rng(seed)
    radii = np.array(np.broadcast_to(radius, len(at)), dtype=np.float64)
    return teleported(at, east + errors(rng, at, 5.0), errors(rng, at, 5.0), radii, POLICY)


def varied(at: Floats, seed: int = 2) -> Floats:
    """Radii as a phone measures them."""
    return np.round(8.0 * np.random.default_rng(seed).lognormal(0.0, 0.3, len(at)), 1)


def there(at: Floats) -> Bools:
    return (at >= CAME) & (at <= WENT)


@pytest.mark.parametrize("every_s", [10.0, 30.0, 60.0])
def test_a_stay_that_was_sprung_to_is_made_up_although_nobody_saw_her_leave(every_s: float) -> None:
    at, east = visit(every_s, away_m=2500.0, came_mps=1e9)
    seen = (at <= WENT) | (at >= WENT + 1500.0)
    told = flagged(at[seen], east[seen], 8.0)
    assert told[there(at)[seen]].all()
    assert not told[at[seen] > WENT].any()


@pytest.mark.parametrize("every_s", [10.0, 30.0, 60.0])
def test_a_stay_that_was_sprung_from_is_made_up_if_nobody_saw_her_come(every_s: float) -> None:
    at, east = visit(every_s, away_m=2500.0, gone_mps=1e9)
    seen = (at < CAME - 2400.0) | (at >= CAME)
    assert flagged(at[seen], np.where(at < CAME, 2500.0, east)[seen], 8.0)[there(at)[seen]].all()


def test_who_was_seen_to_come_is_not_doubted_because_her_phone_is_wrong_afterwards() -> None:
    at, east = visit(60.0, away_m=2500.0, came_mps=4.2, gone_mps=1e9)
    assert not flagged(at, east, 8.0)[there(at)].any()


def test_a_phone_that_wakes_up_elsewhere_has_sprung_nowhere() -> None:
    """It slept on the way, and its first answer was the last one that it remembered."""
    at, east = visit(60.0, away_m=2500.0, came_mps=1e9)
    seen = (at < CAME - 1800.0) | ((at >= CAME - 60.0) & (at <= WENT))
    assert not flagged(at[seen], east[seen], 8.0)[there(at)[seen]].any()


def test_what_is_believed_before_a_phone_goes_astray_for_long_is_believed_afterwards() -> None:
    """It finds back by the step by which it went, and the place in between is the one that is doubted."""
    at, east = visit(60.0, away_m=1500.0, came_mps=4.2, gone_mps=4.2)
    astray = (at >= CAME + 900.0) & (at < CAME + 1800.0)
    unsteady = np.where(np.arange(len(at)) % 2 == 0, 70.0, 0.0)
    told = flagged(at, np.where(astray, 2000.0 + unsteady, east), 8.0)
    assert told[astray].all()
    assert not told[~astray].any()


@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
@pytest.mark.parametrize("mps", [1.3, 4.2, 9.0, 14.0])
def test_who_walks_rides_or_drives_to_the_door_is_believed(every_s: float, mps: float) -> None:
    at, east = visit(every_s, away_m=3000.0, came_mps=mps, gone_mps=mps)
    assert not flagged(at, east, varied(at)).any()
    assert not flagged(at, east, 8.0).any()


def test_who_drives_fast_to_the_last_minute_has_a_way() -> None:
    at, east = visit(60.0, away_m=20_000.0, came_mps=28.0, gone_mps=28.0)
    assert not flagged(at, east, varied(at)).any()


@pytest.mark.parametrize("every_s", [60.0, 300.0])
def test_a_stay_of_one_radius_is_made_up_if_the_phone_has_no_such_habit(every_s: float) -> None:
    at, east = visit(every_s, came_mps=4.2, gone_mps=4.2)
    made = there(at)
    assert not flagged(at, east, varied(at)).any()
    assert flagged(at, east, np.where(made, 8.0, varied(at))).tolist() == made.tolist()


def test_one_radius_indoors_is_no_reproach() -> None:
    at, east = visit(60.0, came_mps=4.2, gone_mps=4.2)
    inside = there(at)
    assert flagged(at, east, np.where(inside, 8.0, varied(at))).any()
    assert not flagged(at, east, np.where(inside, 35.0, varied(at))).any(), "Wi-Fi"
    late = inside & (at > CAME + 90.0)
    assert not flagged(at, east, np.where(late, 8.0, varied(at))).any(), "she was seen there before"
    best = inside | (np.arange(len(at)) % 9 == 0)
    assert not flagged(at, east, np.where(best, 3.0, np.maximum(varied(at), 3.0))).any(), "the best that it can, under an open sky"
    assert not flagged(at, east, np.where(inside, 8.0, 5.0)).any(), "5 m on the way, 8 m indoors"


def test_a_few_equal_radii_in_whole_metres_are_a_coincidence() -> None:
    at, east = visit(600.0, came_mps=2.5, gone_mps=2.5)
    radii = np.where(there(at), 8.0, 5.0 + np.arange(len(at)) % 3 + 4.0 * (np.arange(len(at)) % 2))
    assert there(at).sum() == 7
    assert flagged(at, east, radii + 0.1).any()
    assert not flagged(at[at != CAME], east[at != CAME], radii[at != CAME]).any()


def test_three_fixes_of_one_radius_are_a_coincidence() -> None:
    at, east = visit(1500.0, came_mps=4.2, gone_mps=4.2)
    assert 2 <= there(at).sum() <= 3
    assert not flagged(at, east, np.where(there(at), 8.0, varied(at))).any()


@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
@pytest.mark.parametrize("off_m", [150.0, 350.0, 500.0, 2000.0])
def test_fixes_that_go_astray_cost_no_honest_one(every_s: float, off_m: float) -> None:
    at, east = visit(every_s)
    stray = np.flatnonzero(there(at))[2::5][:4]
    told = flagged(at, east + np.where(np.isin(np.arange(len(at)), stray), off_m, 0.0), 8.0)
    assert not np.delete(told, stray).any()


def dependent(seed: int, parts: list[tuple[float, float]], mps: float) -> tuple[Floats, Floats]:
    """When a phone reports that does so every 10 s while it moves and every two minutes while it is still, and metres to the east.

    Of someone who goes, from each moment on, to the next place at one speed. It sees only at the end of its timer that she moves.
    """
    rng = np.random.default_rng(seed)

    def east(of: float) -> float:
        here, since = parts[0][1], 0.0
        for begins, place in parts[1:]:
            if of < begins:
                break
            here, since = place, begins
        before = [place for begins, place in parts if begins < since][-1:] or [here]
        return before[0] + float(np.clip(here - before[0], -mps * (of - since), mps * (of - since)))

    at, now = [], rng.uniform(0.0, 120.0)
    while now < 10_800.0:
        at.append(now)
        moved = abs(east(now) - east(now - 10.0)) > 6.0
        now += (10.0 if moved else 120.0) + rng.normal(0.0, 0.5)
    return np.array(at), np.array([east(moment) for moment in at])


@pytest.mark.parametrize("seed", range(8))
def test_a_stay_that_was_switched_on_and_off_between_two_reports_of_a_still_phone_is_made_up(seed: int) -> None:
    """The noise is white, the radii vary, and the way would be slow enough for a car: but it was never on it, and back the same."""
    at, east = dependent(seed, [(0.0, 3000.0), (600.0, 0.0)], 4.5)
    made = there(at)
    noise = np.random.default_rng(seed + 100).normal(0.0, 4.0, (2, len(at)))
    told = teleported(at, np.where(made, 680.0, east) + noise[0], noise[1], varied(at), POLICY)
    assert told.tolist() == made.tolist()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mps", [1.3, 4.5, 9.0, 14.0])
def test_who_rides_there_and_back_is_believed_though_a_still_phone_notices_late(seed: int, mps: float) -> None:
    at, east = dependent(seed, [(0.0, 0.0), (CAME - 900.0, 1500.0), (WENT, 0.0)], mps)
    assert not flagged(at, east, varied(at), seed).any()


def test_who_walks_next_door_and_back_between_two_reports_is_believed() -> None:
    at = np.arange(0.0, 10_800.0, 120.0)
    assert not flagged(at, np.where(there(at), 230.0, 0.0), varied(at)).any()
