"""Stops: the fold against a slow definition that sees the whole track, split anywhere, begun again at any cut; what stops were."""

from math import cos, hypot, radians, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence.evidence import Fixes
from geofence.plan import Visit
from geofence.policy import Policy
from geofence.stays import stay
from geofence.stops import AWAY_S, ROAM_M, SILENCE_S, STOP_MIN_S, State, Stop, going_on, step
from tests.engine.worlds import LAT, METRES, START, bounded, circle, day, errors, fixes, lonlat, take

POLICY = Policy()
END = START + 86_400.0 - START % 60.0


def whole(of: Fixes) -> list[Stop]:
    return list(step(State(), of, END)[1])


@st.composite
def tracks(draw: st.DrawFn) -> Fixes:
    """Legs of a day: so many fixes, so far apart, at a place or on the way to the next, with faults and silences."""
    legs = draw(
        st.lists(
            st.tuples(st.integers(1, 25), st.sampled_from([7.0, 30.0, 60.0, 290.0]), st.sampled_from([0, 0, 60, 130, 900, 5000])),
            min_size=1, max_size=8,
        )
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    at, east, place, now = [], [], 0.0, 0.0
    for count, every_s, further in legs:
        now += draw(st.sampled_from([20.0, 60.0, 1000.0, 2400.0]))
        place += further
        for _ in range(count):
            at.append(now)
            east.append(place + rng.normal(0, 12) + (20_000.0 if rng.random() < 0.05 else 0.0))
            now += every_s
    of = fixes(np.array(at), np.array(east), np.zeros(len(at)), rng.choice([8.0, 30.0, 90.0, 400.0], len(at)))
    return replace(of, mock=rng.random(len(at)) < 0.03)


@bounded
@given(tracks())
def test_stops_are_those_of_the_slow_definition(of: Fixes) -> None:
    told = whole(of)
    assert [(s.start_at, s.end_at, s.fixes) for s in told] == [s[:3] for s in slow(of)]
    for stop, (_, _, _, east, north, error_m) in zip(told, slow(of), strict=True):
        e, n = lonlat(0.0, 0.0)
        assert (stop.lon - e) * METRES * cos(radians(LAT)) == pytest.approx(east, abs=1e-3)
        assert (stop.lat - n) * METRES == pytest.approx(north, abs=1e-3)
        assert stop.error_m == pytest.approx(error_m, rel=1e-6)


def slow(of: Fixes) -> list[tuple[float, float, int, float, float, float]]:
    """Whole track: minutes as lists of fixes, places as lists of minutes, everything computed anew each time it is asked for."""
    minutes: dict[int, list[int]] = {}
    for i in range(len(of.at)):
        if not of.mock[i] and not of.ping[i] and not of.accuracy_m[i] > 150.0 and of.at[i] <= of.received_at[i] + 120.0:
            minutes.setdefault(int(of.at[i] // 60), []).append(i)
    sigma2 = [10.0**2 + (1.3 * a / 1.515) ** 2 for a in of.accuracy_m.tolist()]
    e0, n0 = (float(x) for x in lonlat(0.0, 0.0))
    x, y = (of.lon - e0) * METRES * cos(radians(LAT)), (of.lat - n0) * METRES

    def middle(rows: list[int], weights: list[float]) -> tuple[float, float]:
        total = sum(weights)
        return (
            sum(w * x[i] for i, w in zip(rows, weights, strict=True)) / total,
            sum(w * y[i] for i, w in zip(rows, weights, strict=True)) / total,
        )

    points = []
    for _, rows in sorted(minutes.items()):
        weights = [1 / sigma2[i] for i in rows]
        points.append((of.at[rows[0]], of.at[rows[-1]], *middle(rows, weights), len(rows) / sum(weights), len(rows)))
    found, begin = [], 0
    while begin < len(points):
        members, away, k = [points[begin]], [], begin + 1
        while k < len(points):
            p = points[k]
            weights = [1 / m[4] for m in members]
            cx = sum(w * m[2] for w, m in zip(weights, members, strict=True)) / sum(weights)
            cy = sum(w * m[3] for w, m in zip(weights, members, strict=True)) / sum(weights)
            silent = p[0] - points[k - 1][1] > SILENCE_S
            if not silent and hypot(p[2] - cx, p[3] - cy) <= ROAM_M + 2 * sqrt(p[4] + variance(members)):
                members.append(p)
                away = []
            else:
                away.append(k)
                if silent or p[1] - points[away[0]][0] >= AWAY_S:
                    break
            k += 1
        if k == len(points):
            break  # nobody knows whether she is still there
        if members[-1][1] - members[0][0] >= STOP_MIN_S:
            weights = [1 / m[4] for m in members]
            cx = sum(w * m[2] for w, m in zip(weights, members, strict=True)) / sum(weights)
            cy = sum(w * m[3] for w, m in zip(weights, members, strict=True)) / sum(weights)
            found.append((members[0][0], members[-1][1], sum(m[5] for m in members), cx, cy, sqrt(variance(members))))
        begin = away[0]
    return found


def variance(members: list[tuple[float, ...]]) -> float:
    independent = min(len(members), 1 + (members[-1][1] - members[0][0]) / 180.0)
    return sum(m[4] for m in members) / len(members) / independent + 8.0**2


@bounded
@given(tracks(), st.lists(st.integers(0, 400), max_size=6))
def test_any_split_at_whole_minutes_gives_the_same_stops(of: Fixes, cuts: list[int]) -> None:
    state, told, since = State(), [], 0.0
    for until in [*sorted(START - START % 60.0 + cut * 60.0 for cut in cuts), END]:
        part = take(of, (of.at >= since) & (of.at < until))
        state, ended = step(state, part, until)
        told.extend(ended)
        since = until
    assert told == whole(of)
    assert state == step(State(), of, END)[0]


@bounded
@given(tracks(), st.integers(0, 7), st.floats(0, 1))
def test_who_begins_again_behind_a_stop_comes_to_the_same(of: Fixes, which: int, share: float) -> None:
    """And what is reported late, from when a stop was sure, changes neither it nor those before."""
    told = whole(of)
    if not told:
        return
    stop = told[which % len(told)]
    behind = [other for other in told if other.start_at > stop.start_at]
    assert stop.cut_at is not None
    assert stop.sure_at is not None
    state, ended = step(State(), take(of, of.at >= stop.cut_at), END)
    assert list(ended) == behind
    assert state == step(State(), of, END)[0]
    at = stop.sure_at + share * 600.0
    late = take(of, np.append(np.arange(len(of.at)), 0))
    late = replace(
        late,
        at=np.append(of.at, at),
        received_at=np.append(of.received_at, at + 1.0),
        lon=np.append(of.lon, stop.lon),
        lat=np.append(of.lat, stop.lat),
        accuracy_m=np.append(of.accuracy_m, 8.0),
        mock=np.append(of.mock, False),
    )
    late = take(late, np.argsort(late.at, kind="stable"))
    assert [s for s in whole(late) if s.start_at <= stop.start_at] == told[: len(told) - len(behind)]


def test_a_day_with_two_homes_has_two_stops() -> None:
    at = np.arange(0.0, 14_400.0, 20.0)
    rng = np.random.default_rng(4)
    east = np.interp(at, [0, 3600, 4200, 9000, 9600, 12_000, 14_400], [0, 0, 3000, 3000, 8000, 8000, 30_000])
    of = fixes(at, east + errors(rng, at, 8.0), errors(rng, at, 8.0))
    first, second, third = whole(of)
    assert (first.start_at - START, second.start_at - START) == (0.0, pytest.approx(4200.0, abs=60.0))
    assert (first.end_at - START, second.end_at - START) == (pytest.approx(3600.0, abs=60.0), pytest.approx(9000.0, abs=60.0))
    assert third.start_at - START == pytest.approx(9600.0, abs=60.0)
    assert max(s.error_m for s in (first, second, third)) < 12.0


def test_who_is_still_there_has_a_stop_that_goes_on() -> None:
    state, (before,) = step(State(), day(every_s=30.0, went=20_000.0), END)
    assert before.end_at < START, "where she waited for a bus"
    stop = going_on(state)
    assert stop is not None
    assert (stop.cut_at, stop.sure_at) == (None, None)
    assert stop.start_at == pytest.approx(START + 60.0, abs=60.0)


# What a stop was ----------------------------------------------------------------------------------------------------------------


def stop_at(east: float, begins: float, ends: float, error_m: float = 9.0) -> Stop:
    lon, lat = lonlat(east, 0.0)
    return Stop(start_at=START + begins, end_at=START + ends, lon=float(lon), lat=float(lat), error_m=error_m, fixes=50)


def planned(name: str, site: str, begins: float, ends: float) -> Visit:
    return Visit(id=name, worker="w-1", site=site, service="default", starts_at=START + begins, ends_at=START + ends)


HERE, DOOR, FAR = circle(0, 0, 30.0, "here"), circle(55, 0, 15.0, "door"), circle(5000, 0, 30.0, "far")


def test_a_stay_in_the_window_of_a_visit_there_is_planned() -> None:
    told = stay(stop_at(0, 1700, 3600), [HERE, FAR], [planned("v", "here", 3600, 7200)])
    assert (told.kind, told.site, told.visit) == ("planned", "here", "v")


def test_a_stay_at_another_time_of_the_day_names_the_visit_and_a_stay_on_another_day_none() -> None:
    visit = planned("v", "here", 0, 3600)
    told = stay(stop_at(0, 20_000, 24_000), [HERE], [visit])
    assert (told.kind, told.site, told.visit, told.instead_of) == ("unscheduled", "here", "v", None)
    assert stay(stop_at(0, 3600 + 43_300, 60_000), [HERE], [visit]).visit is None


def test_a_stay_elsewhere_in_planned_time_names_what_it_was_instead_of() -> None:
    told = stay(stop_at(5000, 600, 3000), [FAR], [planned("v", "here", 0, 3600)])
    assert (told.kind, told.site, told.visit, told.instead_of) == ("unscheduled", "far", None, "v")


def test_a_stay_between_two_sites_that_look_alike_is_where_it_was_planned_and_otherwise_nobody_knows() -> None:
    told = stay(stop_at(36, 0, 3600), [HERE, DOOR], [])
    assert (told.kind, told.site, told.sites) == ("ambiguous", None, ("door", "here"))
    told = stay(stop_at(36, 0, 3600), [HERE, DOOR], [planned("v", "door", 0, 3600)])
    assert (told.kind, told.site) == ("planned", "door")
    assert stay(stop_at(-10, 0, 3600), [HERE, DOOR], [planned("v", "door", 0, 3600)]).site == "here"


def test_a_stay_at_no_known_place_is_told_in_working_time_only() -> None:
    morning, evening = planned("m", "far", 0, 3600), planned("e", "here", 20_000, 24_000)
    lunch = stop_at(900, 6000, 9000)
    assert stay(lunch, [], [morning, evening]).kind == "unknown_place"
    assert stay(lunch, [], [morning]).kind == "off_duty"
    assert stay(lunch, [], [evening]).kind == "off_duty"
    assert stay(stop_at(900, 3700, 34_000), [], [morning, planned("n", "here", 35_000, 36_000)]).kind == "off_duty", "a night"
    assert stay(stop_at(900, 600, 3000), [], [morning]).instead_of == "m"
