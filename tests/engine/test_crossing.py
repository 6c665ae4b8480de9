"""The posterior of one crossing: against a sum over all ways and moments, fix by fix; and what people would say of it."""

from math import exp, log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import crossing, placing
from geofence.crossing import Habit, Hints, Track
from geofence.curve import Curve
from geofence.policy import Policy
from tests.engine.worlds import bounded

POLICY = Policy()
NO_HINTS = Hints(np.empty(0), np.empty(0), np.empty(0))
AT_HOME = Habit(east_m=0.0, north_m=0.0, depth_m=-12.0, scatter_m=6.0, scale=1.0, lasts_s=60.0)


def track(
    at: list[float], east: list[float], north: list[float] | None = None, sigma_m: float = 5.0, reach_m: float = 20.0
) -> Track:
    """Fixes about a circle of that radius."""
    x, y = np.array(east, dtype=float), np.zeros(len(east)) if north is None else np.array(north, dtype=float)
    ones = np.ones(len(x))
    return Track(np.array(at, dtype=float), x, y, np.hypot(x, y) - reach_m, sigma_m * ones, ones)


def log_likelihood(near: Track, arrived: float, stayed: Habit) -> float:
    """Of one moment of arrival: each way in, each fix after the other, as the module's docstring words it."""
    steps = [b - a for a, b in zip(near.distance_m, near.distance_m[1:], strict=False)]
    gaps = [b - a for a, b in zip(near.at, near.at[1:], strict=False)]
    paces = [abs(step) / max(gap, 1.0) for step, gap in zip(steps, gaps, strict=True)]
    street = min(max(1.5, 1.2 * max(paces)), 20.0) if paces else 1.5
    deep = min(max(-stayed.depth_m / 25.0, 0.1), 3.0)
    ways: list[tuple[float, float | None, float, float, float]] = [(speed, None, 0, 0, odds) for speed, odds in crossing.STRAIGHT]
    ways[-1] = (8.0, None, 0, 0, 1.0 * deep)
    ways += [(speed, turn, 0, 0, odds) for speed, turn, odds in crossing.TURNS]
    ways.append((1.2, 0.0, 40.0, 0, 3.0))
    ways += [(speed, turn, 0, 60.0, odds * deep) for speed, turn, odds in crossing.STOPS]
    depth = stayed.depth_m - 0.5 * stayed.scatter_m
    total = 0.0
    for speed, turn, wait_s, stop_s, odds in ways:
        told, before, was_outside = log(odds), 0.0, True
        place = (0.0, 0.0)
        for k in range(len(near.at)):
            dt, unseen = gaps[k - 1] if k else 1e4, gaps[k] if k < len(gaps) else 0.0
            togo, d, error = arrived - near.at[k], near.distance_m[k], near.sigma_m[k] * stayed.scale
            echo = min(max((stayed.lasts_s - dt) / (stayed.lasts_s + dt), 0.0), 0.98)
            if togo <= 0 and was_outside:
                echo = 0.0  # walls bend what comes in another way than a street does
            fresh = sqrt(1.0 - echo * echo)
            way = speed * togo
            waits, stops = 0 < togo <= wait_s, stop_s > 0 and 0 <= -togo <= stop_s
            settled = togo <= 0 and not stops and (way <= depth or stop_s > 0)
            beyond = turn is not None and togo > turn / speed + wait_s
            if turn is not None and beyond:
                pace = max(street, 8.0 * min(unseen / 240.0, 1.0))
                expected = min(max(d, turn), turn + pace * (togo - turn / speed - wait_s))
            elif waits:
                expected = min(max(d, 0.0), 25.0)
            elif stops:
                expected = min(max(d, min(depth, 0.0)), 0.0)
            else:
                expected = way if togo > 0 else max(way, min(depth, 0.0)) + max(depth, 0.0)
            bent = 0.1 * way if togo > 0 and not waits else 0.0
            spread = stayed.scatter_m if settled else sqrt(error**2 + bent**2)
            z = (d - expected) / spread
            x, y = (near.east_m[k] - stayed.east_m) / stayed.scatter_m, (near.north_m[k] - stayed.north_m) / stayed.scatter_m
            off2 = ((z - echo * before) / fresh) ** 2
            if settled:
                u, v = x - echo * place[0], y - echo * place[1]
                off2 = max(off2, (u * u + v * v) / fresh**2 - 4.0)
            free = min(0.4 * street * min(dt, 600.0), abs(steps[k - 1]) if k else 0.0) if beyond else 0.0
            free = 25.0 / sqrt(12.0) if waits else min(depth, 0.0) / sqrt(12.0) if stops else free
            scale = sqrt((spread * fresh) ** 2 + free**2)
            share = near.weight[k] * min(1.0, dt / POLICY.correlation_s)
            told -= share * (2.5 * log1p(off2 / 4.0) + log(scale))
            told -= min(dt, 60.0) / POLICY.linger_mean_s if beyond else 0.0
            before, was_outside, place = z, togo > 0, (x, y)
        total += exp(told)
    return log(total)


def in_the_open(near: Track, arrived: float, stayed: Habit) -> float:
    """What the errors that the phone names say against that moment, fix after fix: of those outside that came after it."""
    total, before, last = 0.0, -1e9, len(near.at) - 1
    often = last >= 5 and (near.at[-1] - near.at[0]) / last <= 75.0
    for k, (at, d, sigma) in enumerate(zip(near.at, near.distance_m, near.sigma_m, strict=True)):
        named = sorted(near.sigma_m[min(max(k + n, 0), last)] for n in (-2, -1, 0, 1, 2))[2] if often else sigma
        finer = log(named / stayed.named_m) / (0.6 * stayed.named_spread) if stayed.named_m else 0.0
        if at >= arrived and d > 0.0 > finer:
            total += min(0.0, max(1.0 - finer**2 / 2.0, -2.5)) * min(d / (2.0 * sigma), 1.0) * min((at - before) / 40.0, 1.0)
        before = at
    return total


fixes = st.lists(
    st.tuples(st.sampled_from([1.0, 7.0, 10.0, 60.0, 290.0]), st.floats(-30, 90), st.floats(-30, 90)), min_size=1, max_size=7
)
habits = st.builds(
    Habit,
    east_m=st.floats(-10, 10),
    north_m=st.floats(-10, 10),
    depth_m=st.sampled_from([-40.0, -12.0, -3.0, 0.0, 6.0]),
    scatter_m=st.floats(3, 20),
    scale=st.floats(0.5, 2.0),
    lasts_s=st.sampled_from([1.0, 20.0, 90.0, 300.0]),
    named_m=st.sampled_from([0.0, 4.0, 9.0, 20.0]),
    named_spread=st.sampled_from([0.25, 0.4, 0.9]),
)


@bounded
@given(fixes, habits, st.floats(0.0, 300.0))
def test_the_posterior_is_the_sum_over_all_ways_fix_by_fix(
    made: list[tuple[float, float, float]], stayed: Habit, off: float
) -> None:
    gaps, east, north = (list(column) for column in zip(*made, strict=True))
    near = track(list(np.cumsum(gaps)), east, north)
    near = replace(near, sigma_m=np.array([3.0, 5.0, 8.0, 4.0, 9.0, 3.5, 7.0])[: len(made)])
    span = (near.at[0] - 30.0, near.at[-1] + off)
    grid = np.linspace(*span, crossing.GRID)
    slow = POLICY.crossing_temper * np.array([log_likelihood(near, float(t), stayed) for t in grid])
    slow += [in_the_open(near, float(t), stayed) for t in grid]
    mass = np.exp(slow - slow.max())
    mass = 0.98 * mass / mass.sum() + 0.02 / len(grid)
    share = np.concatenate(([0.0], np.cumsum((mass[1:] + mass[:-1]) / 2.0)))
    middle = float(np.interp(0.5, share / share[-1], grid))
    early, late = (float(np.interp(level, share / share[-1], grid)) for level in (0.05, 0.95))
    blur = 1.645 * POLICY.crossing_blur_s
    at, levels = crossing.arrival(near, NO_HINTS, span, stayed, POLICY)
    told = {level: float(t) for level, t in zip(levels, at, strict=True)}
    assert told[0.5] == pytest.approx(middle, abs=1e-6)
    assert told[0.05] == pytest.approx(middle - np.hypot(early - middle, blur), abs=1e-6)
    assert told[0.95] == pytest.approx(middle + np.hypot(late - middle, blur), abs=1e-6)


def best(near: Track, span: tuple[float, float], hints: Hints = NO_HINTS) -> tuple[float, float, float]:
    at, levels = crossing.arrival(near, hints, span, AT_HOME, POLICY)
    early, middle, late = (float(at[levels.tolist().index(level)]) for level in (0.05, 0.5, 0.95))
    return early, middle, late


def test_who_walks_in_straight_arrives_where_distance_over_speed_says() -> None:
    at = [10.0 * k for k in range(20)]
    near = track(at, [max(20.0 + 1.35 * (100.0 - t), 8.0) for t in at])
    early, middle, late = best(near, (40.0, 160.0))
    assert abs(middle - 100.0) < 4.0
    assert early < 100.0 < late < early + 40.0


def test_sparse_fixes_leave_the_moment_open_and_a_code_at_the_door_closes_it() -> None:
    near = track([0.0, 300.0, 600.0], [400.0, 8.0, 8.0])
    early, _, late = best(near, (0.0, 300.0))
    code = Hints(np.array([150.0]), np.array([6.0]), np.empty(0))
    _, _, coded = best(near, (0.0, 300.0), code)
    assert late - early > 60.0
    assert late > 200.0
    assert coded < 160.0


def test_who_unlocks_came_to_the_door_not_long_before_and_may_stand_in_the_doorway() -> None:
    near = track([0.0, 300.0, 600.0], [400.0, 8.0, 8.0])
    early, middle, late = best(near, (0.0, 300.0), Hints(np.empty(0), np.empty(0), np.array([150.0])))
    assert 150.0 - 90.0 < early < middle < 150.0
    assert 150.0 < late < 170.0, "the fence may be the wall: she unlocks before she is within"


def test_who_stands_before_the_house_and_then_is_inside_came_in_between() -> None:
    """A bicycle is locked four metres before the fence at 60 s; in rooms that positions miss by as much she is seen at 120 s."""
    near = track([0.0, 60.0, 120.0, 180.0, 240.0], [250.0, 24.0, 8.0, 12.0, 6.0], sigma_m=3.0)
    early, middle, late = best(near, (0.0, 240.0))
    assert early < 60.0 + 30.0
    assert middle > 60.0
    assert late > 100.0


def test_who_drives_into_a_wide_fence_and_parks_within_was_in_it_before_she_stood() -> None:
    """A car at 9 m/s, 90 m before the fence; a minute later she stands a few metres within it, and then goes on to the house."""
    at = [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]
    near = track(at, [710.0, 170.0, 74.0, 25.0, 28.0, 22.0], reach_m=80.0)
    stayed = Habit(east_m=25.0, north_m=0.0, depth_m=-55.0, scatter_m=8.0, scale=1.0, lasts_s=60.0)
    there, levels = crossing.arrival(near, NO_HINTS, (60.0, 180.0), stayed, POLICY)
    early = float(there[levels.tolist().index(0.05)])
    assert early < 60.0 + 90.0 / 4.2
    narrow = Habit(east_m=25.0, north_m=0.0, depth_m=-5.0, scatter_m=8.0, scale=1.0, lasts_s=60.0)
    house = track(at, [655.0, 115.0, 19.0, 20.0, 23.0, 17.0], reach_m=25.0)
    walked, _ = crossing.arrival(house, NO_HINTS, (60.0, 180.0), narrow, POLICY)
    assert float(walked[levels.tolist().index(0.05)]) > early, "nobody drives into a house"


def test_whom_nobody_saw_for_minutes_may_have_come_by_car_and_have_been_there_soon() -> None:
    early, _, late = best(track([0.0, 300.0, 600.0, 900.0], [700.0, 400.0, 8.0, 8.0]), (300.0, 600.0))
    assert early < 300.0 + 400.0 / 4.0
    assert late > 300.0 + 380.0 / 1.35, "and on foot no sooner than that"


def test_who_stands_in_the_street_for_minutes_has_left() -> None:
    at = [10.0 * k for k in range(36)]
    east = [-8.0 if t < 100.0 else 34.0 for t in at]
    left, _ = crossing.arrival(track(at, east).turned(), NO_HINTS, (-350.0, -20.0), AT_HOME, POLICY)
    assert abs(-float(left[len(left) // 2]) - 95.0) < 25.0


@pytest.mark.parametrize(("named_m", "left"), [(3.0, 95.0), (9.0, 345.0)])
def test_who_stands_beside_a_house_has_left_if_her_phone_was_vague_in_it_and_is_precise_now(named_m: float, left: float) -> None:
    """Ten metres from the wall, for four minutes: as far as her positions strayed while she was inside."""
    at = [10.0 * k for k in range(48)]
    east = [-8.0 if t < 100.0 else 30.0 if t < 340.0 else 30.0 + 1.35 * (t - 340.0) for t in at]
    near = track(at, east)
    near = Track(near.at, near.east_m, near.north_m, near.distance_m, np.where(near.at < 100.0, 9.0, named_m), near.weight)
    stayed = Habit(east_m=5.0, north_m=0.0, depth_m=-3.0, scatter_m=14.0, scale=1.5, lasts_s=120.0, named_m=9.0)
    gone, _ = crossing.arrival(near.turned(), NO_HINTS, (-400.0, -20.0), stayed, POLICY)
    assert abs(-float(gone[len(gone) // 2]) - left) < 30.0


def test_a_departure_is_an_arrival_with_time_turned_round() -> None:
    at = [10.0 * k for k in range(20)]
    near = track(at, [max(20.0 + 1.35 * (100.0 - t), 8.0) for t in at])
    there, _ = crossing.arrival(near, NO_HINTS, (40.0, 160.0), AT_HOME, POLICY)
    mirror = Track(-near.at[::-1], near.east_m[::-1], near.north_m[::-1], near.distance_m[::-1], near.sigma_m, near.weight)
    back, _ = crossing.arrival(mirror.turned(), NO_HINTS, (40.0, 160.0), AT_HOME, POLICY)
    assert back == pytest.approx(there)


def test_a_stay_tells_how_its_phone_errs_and_a_short_one_is_drawn_to_the_usual() -> None:
    usual = Habit(east_m=0.0, north_m=0.0, depth_m=-5.0, scatter_m=10.0, scale=1.15, lasts_s=120.0)
    at, east, north = [10.0 * k for k in range(360)], [15.0, -15.0] * 180, [15.0, 15.0, -15.0, -15.0] * 90
    long = crossing.habit(track(at, east, north, 10.0, 60.0), usual)
    short = crossing.habit(track(at[:4], east[:4], north[:4], 10.0, 60.0), usual)
    assert long.scale == pytest.approx(1.8, abs=0.05)
    assert long.lasts_s < 20.0
    assert abs(short.scale - 1.15) < abs(long.scale - 1.15)
    assert (long.named_m, short.named_m) == (10.0, 0.0)
    assert crossing.habit(track([0.0], [0.0]), usual) is usual


def test_a_crossing_right_after_another_leaves_the_curve_in_the_order_of_time() -> None:
    at = [float(t) for t in range(400)]
    near = track(at, [max(20.0 + 1.35 * (97.0 - t), 8.0) for t in at])
    curve = Curve(
        np.array([0.0, 90.0, 92.0, 94.0, 95.5, 100.0, 110.0, 400.0]), np.array([0.1, 0.6, 0.5, 0.1, 0.1, 0.5, 0.99, 0.99])
    )
    found = placing._one(curve, near, NO_HINTS, (92.0, 100.0, 400.0), (95.0, 110.0), True, AT_HOME, POLICY)
    assert len(found.at) > len(curve.at), "a crossing that was not placed proves nothing"
    assert (np.diff(found.at) >= 0.0).all()


def test_the_first_and_the_last_minute_of_a_stay_do_not_tell_where_in_the_home_it_was() -> None:
    at = [10.0 * n for n in range(61)]
    of = track(at, [0.0] * 61)
    assert placing._inner(of, (0.0, 600.0)).at.tolist() == [second for second in at if 60.0 < second < 540.0]
    of.weight[::2] = 0.0
    assert placing._inner(of, (0.0, 600.0)).at.tolist() == [second for second in at[1::2] if 60.0 < second < 540.0]
    assert len(placing._inner(of, (0.0, 150.0)).at) == 7, "a short stay is taken as a whole"
