"""A track that is played again, against the obvious definition: every pair of positions of the two whole tracks that are alike."""

from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import judge
from geofence.evidence import Bools, Fixes, Observed, Sketch
from geofence.policy import Policy
from geofence.replayed import ALIKE_MIN, APART_S, KEPT_MAX, LAG_S, NATS_MIN, replayed, sketch
from tests.engine.worlds import bounded, circle, day, errors, fixes, joined, lonlat, scene, take, together

POLICY = Policy()
LATER_S = 86_400.0
HERE = circle(0.0, 0.0, 60.0)


def rounded(of: Fixes, digits: int) -> Fixes:
    return replace(of, lon=np.round(of.lon, digits), lat=np.round(of.lat, digits))


def played(of: Fixes, start: float, end: float, nth: int = 1, later_s: float = LATER_S) -> Fixes:
    """Every nth fix of a stretch of a track (shares of its length), sent again later, a little late each time."""
    rows = np.arange(int(start * len(of.at)), int(end * len(of.at)))[::nth]
    again = take(of, rows)
    late = np.random.default_rng(len(rows)).uniform(0.0, 1.0, len(rows))
    return replace(again, at=again.at + later_s + late, received_at=again.received_at + later_s + late)


def told(of: Fixes, *earlier: Sketch) -> Bools:
    return replayed(of, np.arange(len(of.at)), HERE, together(*earlier))


def there(of: Fixes) -> Bools:
    """Which fixes are about the site."""
    west, south = lonlat(-160.0, -160.0)
    east, north = lonlat(160.0, 160.0)
    return (of.lon >= west) & (of.lon <= east) & (of.lat >= south) & (of.lat <= north)


def whole(of: Fixes) -> Sketch:
    """All positions of a track, and not some."""
    first: dict[tuple[float, float], float] = {}
    for lon, lat, at in zip(of.lon.tolist(), of.lat.tolist(), of.at.tolist(), strict=True):
        first.setdefault((lon, lat), at)
    return Sketch(np.array(list(first)), np.array(list(first.values())))  # type: ignore[arg-type]


def nats_of_the_best_delay(then: Fixes, now: Fixes) -> float:
    """The slow definition: what speaks most for a copy, over all delays; nothing where as many contradict it."""
    then, now = take(then, there(then)), take(now, there(now))
    places = list(zip(now.lon.tolist(), now.lat.tolist(), strict=True))
    count = Counter(places)
    alike = sum(one * (one - 1) // 2 for one in count.values())
    chance = (alike + 0.5) / (len(places) * (len(places) - 1) // 2 + 50)
    was = whole(then)
    known = list(zip(map(tuple, was.prints.tolist()), was.at.tolist(), strict=True))
    delays = [at - at_then for place, at_then in known for where, at in zip(places, now.at.tolist(), strict=True) if where == place]
    best = 0.0
    for delay in {round(delay) for delay in delays if delay >= APART_S}:
        near = [[places[n] for n in np.flatnonzero(np.abs(now.at - at_then - delay) <= LAG_S)] for _, at_then in known]
        came = [n for n, (place, _) in enumerate(known) if place in near[n]]
        if len(came) < ALIKE_MIN:
            continue
        first, last = known[min(came, key=lambda n: known[n][1])][1], known[max(came, key=lambda n: known[n][1])][1]
        asked = sum(bool(near[n]) and first <= at_then <= last for n, (_, at_then) in enumerate(known))
        if 2 * len(came) >= asked:
            best = max(best, sum(-log(max(chance, (count[known[n][0]] - 1) / (len(places) - 1))) for n in came))
    return best


@bounded
@given(
    st.integers(0, 99),
    st.sampled_from([(0.0, 0.0, 1), (0.2, 0.9, 1), (0.3, 0.7, 2), (0.0, 1.0, 3), (0.4, 0.6, 1)]),
    st.sampled_from([60.0, 120.0, 300.0]),
    st.sampled_from([7, 6, 5, 4, 3]),
)
def test_a_copy_is_told_as_the_slow_definition_tells_it(
    seed: int, stretch: tuple[float, float, int], every_s: float, digits: int
) -> None:
    then = rounded(day(seed, every_s, planned_s=3600.0, went=3660.0), digits)
    copy = played(then, *stretch)
    own = rounded(day(seed + 100, every_s, planned_s=3600.0, went=3660.0), digits)
    own = replace(own, at=own.at + LATER_S, received_at=own.received_at + LATER_S)
    if len(copy.at):
        own = take(own, (own.at < copy.at[0] - 1.0) | (own.at > copy.at[-1] + 1.0))
    now = joined(own, copy)
    nats = nats_of_the_best_delay(then, now)
    flagged = told(now, sketch(then, HERE))
    if nats < NATS_MIN:
        assert not flagged.any()
    if nats > 4.0 * NATS_MIN:
        inside = (now.at >= copy.at[0]) & (now.at <= copy.at[-1]) & there(now)
        assert flagged[inside].mean() > 0.85
    if not len(copy.at):
        assert not flagged.any(), "nobody played anything"


@pytest.mark.parametrize("every_s", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("digits", [7, 6, 5])
def test_nothing_honest_is_a_copy_of_a_month_of_days_at_the_same_place(every_s: float, digits: int) -> None:
    before = [sketch(rounded(day(seed, every_s, planned_s=1800.0, went=1860.0), digits), HERE) for seed in range(1, 36)]
    earlier = [replace(one, at=one.at - n * 86_400.0) for n, one in enumerate(before, 1)]
    for seed in range(100, 110):
        assert not told(rounded(day(seed, every_s, planned_s=1800.0, went=1860.0), digits), *earlier).any()


def test_a_few_positions_of_a_wireless_network_that_come_back_every_day_are_no_copy() -> None:
    """Five access points, in turn: by chance, and by the hour of her work, two days are much alike."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        points = rng.normal(0.0, 20.0, (2, 5))
        days = []
        for n in range(20):
            at = np.arange(0.0, 7200.0, 60.0) + n * 86_400.0
            which = np.repeat(rng.integers(0, 5, 24), 5)
            days.append(fixes(at, points[0][which], points[1][which], 30.0))
        assert not told(days[-1], *(sketch(one, HERE) for one in days[:-1])).any()


def test_a_tower_and_a_ping_repeat_by_design() -> None:
    rng = np.random.default_rng(3)
    at = np.arange(0.0, 3600.0, 30.0)
    then = fixes(at, errors(rng, at, 300.0), errors(rng, at, 300.0), 900.0)
    assert not told(played(then, 0.0, 1.0), sketch(then, HERE)).any()
    precise = fixes(at, errors(rng, at, 8.0), errors(rng, at, 8.0), 9.0)
    pings = replace(played(precise, 0.0, 1.0), ping=np.ones(len(at), dtype=bool))
    assert not told(pings, sketch(precise, HERE)).any()
    assert told(played(precise, 0.0, 1.0), sketch(precise, HERE)).all()


def test_one_report_by_two_programs_is_no_copy() -> None:
    then = day(4, 10.0, planned_s=1800.0)
    assert not told(played(then, 0.0, 1.0, later_s=90.0), sketch(then, HERE)).any()


def test_a_track_that_is_cut_and_looped_is_a_copy_in_each_of_its_pieces() -> None:
    then = day(5, 10.0, planned_s=3600.0, went=3660.0)
    one = played(then, 0.4, 0.6)
    two = played(then, 0.3, 0.5, later_s=LATER_S + 3600.0)
    three = played(then, 0.4, 0.6, later_s=LATER_S + 7200.0)
    assert told(joined(one, two, three), sketch(then, HERE)).all()


def test_what_is_kept_of_a_visit_depends_on_its_positions_alone() -> None:
    then = day(6, 1.0, planned_s=1800.0)
    kept = sketch(then, HERE)
    assert len(kept.prints) == KEPT_MAX
    assert (np.diff(kept.prints) > 0).all()
    twice = sketch(joined(then, replace(then, at=then.at + 0.25)), HERE)
    assert twice.prints.tolist() == kept.prints.tolist()
    assert twice.at.tolist() == kept.at.tolist()
    assert set(sketch(take(then, slice(0, None, 2)), HERE).prints) & set(kept.prints)


@pytest.mark.parametrize("every_s", [10.0, 60.0])
def test_a_visit_that_was_played_again_is_not_verified_and_says_why(every_s: float) -> None:
    then = day(7, every_s)
    now = played(then, 0.0, 1.0)
    home = scene(HERE)
    today = replace(home, visit=replace(home.visit, starts_at=home.visit.starts_at + LATER_S, ends_at=home.visit.ends_at + LATER_S))
    over = today.visit.ends_at + 90_000.0
    believed = judge(today, Observed(fixes=now), POLICY, over)
    assert believed.verdict == "verified"
    outcome = judge(today, Observed(fixes=now, earlier=together(sketch(then, HERE))), POLICY, over)
    assert outcome.verdict == "unknown"
    assert "spoof_suspected" in outcome.findings
    assert outcome.evidence.flags["replayed"] >= there(now).sum()
    assert "known from an earlier visit" in outcome.explanation.en
    assert "与此前一次服务的定位轨迹完全相同" in outcome.explanation.zh
