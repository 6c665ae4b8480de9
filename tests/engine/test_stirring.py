"""Homes that stir: what motion in a home says of her who is in it, and of others who live there."""

import numpy as np
import pytest
from msgspec.structs import replace

from geofence.evidence import Fixes
from geofence.plan import Device
from tests.engine.test_judge import HOME, event, told
from tests.engine.worlds import START, day, fixes, take


def test_a_home_that_stirs_without_her_shows_nothing_of_her() -> None:
    where = replace(HOME, devices=(Device(id="d-1", site="s-1", kind="motion", source="d-1"),))
    of = day()
    silent = take(of, (of.at < START + 1000.0) | (of.at > START + 4000.0))
    while_there = tuple(event(at, "motion") for at in range(900, 4200, 120))
    always = tuple(event(at, "motion") for at in range(-1700, 8900, 120))
    assert told(silent, where, events=while_there).monitored_s > 7200.0
    assert told(silent, where, events=always).monitored_s < 5000.0


SENSED = replace(HOME, devices=(Device(id="d-1", site="s-1", kind="motion", source="d-1"),))


def one_fix_and_then_far_away() -> Fixes:
    """A phone that speaks only when it moves: on its way, at the home just before the plan, and a way off after it."""
    at = np.array([-1700.0, -900.0, -300.0, -15.0, 7800.0, 8400.0, 9000.0])
    east = np.array([2000.0, 1500.0, 500.0, 4.0, 600.0, 1500.0, 2000.0])
    return fixes(at, east, np.zeros(7), 6.0, mode=("significant",) * 7)


def test_a_home_that_stirs_only_since_she_came_shows_that_she_stays() -> None:
    """One fix deep in the fence before the plan begins, and motion to its end in a home that was still before and after."""
    moves = tuple(event(at, "motion") for at in range(30, 7200, 150))
    outcome = told(one_fix_and_then_far_away(), SENSED, events=moves)
    assert outcome.coverage == 1.0
    assert outcome.on_site_s.lower > 7000.0
    assert outcome.verdict == "partial", "one report of hers is no service that is proven"
    assert outcome.explanation.en.endswith("; but too few reports place her here by themselves.")


def test_a_home_that_stirs_before_and_after_as_well_shows_nothing_of_her() -> None:
    moves = tuple(event(at, "motion") for at in range(-1700, 8900, 150))
    outcome = told(one_fix_and_then_far_away(), SENSED, events=moves)
    assert outcome.coverage is not None
    assert outcome.coverage < 0.25
    assert outcome.on_site_s.lower < 1800.0


def test_motion_after_a_phone_died_covers_and_keeps_her_there_until_it_ends() -> None:
    of = day(went=99_999.0)
    died = take(of, of.at < START + 3000.0)
    moves = tuple(event(at, "motion") for at in range(100, 5000, 60))
    with_moves, without = told(died, SENSED, events=moves), told(died, SENSED)
    assert with_moves.monitored_s - without.monitored_s == pytest.approx(4960.0 + 600.0 - 2990.0 - 300.0, abs=20.0)
    assert with_moves.on_site_s.lower > 4800.0 > 3400.0 > without.on_site_s.lower


@pytest.mark.parametrize(("first", "last", "tells"), [(100, 5000, True), (-1700, 8900, False), (7200, 7700, False)])
def test_motion_tells_when_she_left_if_it_is_of_the_planned_time_alone(first: int, last: int, tells: bool) -> None:
    """Her phone was dead from the fiftieth minute to long after the plan, and then far away."""
    of = day(went=5100.0)
    died = take(of, (of.at < START + 3000.0) | (of.at > START + 8000.0))
    without, outcome = told(died, SENSED), told(died, SENSED, events=tuple(event(at, "motion") for at in range(first, last, 100)))
    assert without.left_at is not None
    assert outcome.left_at is not None
    assert without.left_at.earliest is not None
    assert outcome.left_at.earliest is not None
    later_s = outcome.left_at.earliest - without.left_at.earliest
    assert later_s > 1200.0 if tells else later_s < 300.0
