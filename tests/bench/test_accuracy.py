"""The bench's own arithmetic: what it calls true, and what it calls an error, on cases that can be checked by hand."""

import math
import sys
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from bench.accuracy import answer, baselines, drift, page, publish, run, score, town
from bench.accuracy.answer import Answer
from bench.accuracy.case import Case, Missing, Truth
from bench.accuracy.definition import Seen, presence, truth
from device_sim import truth as device_truth
from device_sim.spans import Span
from geofence.evidence import Observed
from geofence.outcome import Moment, Outcome, Seconds, Sentence, Tally
from geofence.outcome import Span as Shown
from geofence.policy import Policy
from tests.engine.worlds import START, circle, fixes, nothing, scene


def case(told: Truth, observed: Observed | None = None, planned_s: float = 1200.0) -> Case:
    return Case(
        world="drift",
        seed=1,
        sampling="60 s",
        surroundings="house",
        behaviour="on_time",
        manner="",
        faults=(),
        scene=scene(circle(0, 0, 50.0), planned_s),
        observed=observed or Observed(fixes=nothing()),
        truth=told,
    )


def there(*spans: Span, missing: tuple[Missing, ...] = ()) -> Truth:
    on_site = tuple((START + a, START + b) for a, b in spans)
    return Truth(on_site=on_site, seen_s=1200.0 - sum(gap.end - gap.start for gap in missing), expected_s=1200.0, missing=missing)


def moment(best: float, earliest: float, latest: float) -> Moment:
    return Moment(best=START + best, earliest=START + earliest, latest=START + latest)


def test_errors_are_those_that_a_ruler_gives() -> None:
    """She was there from 100 to 1100; the answer says 110 to 1150, with intervals before the arrival and after the departure."""
    told = Answer(
        on=[(START + 110, START + 1150)],
        arrived=moment(110, 55, 95),
        left=moment(1150, 1120, 1180),
        seconds=Seconds(best=1040.0, lower=990.0, upper=1060.0),
        coverage=0.75,
        missing=(Missing(START + 0, START + 300, "silent"),),
    )
    gaps = (Missing(START + 0, START + 120, "silent"), Missing(START + 200, START + 320, "power_save"))
    row = score.row(case(there((100, 1100), missing=gaps)), "engine", told)
    assert (row.hit_s, row.false_s, row.missed_s) == pytest.approx((990, 50, 10))
    assert (row.arrival_s, row.departure_s, row.duration_share) == pytest.approx((10, 50, 0.04))
    assert (row.held_arrival, row.held_departure, row.held_seconds) == (False, False, True)
    assert (row.width_arrival_s, row.width_departure_s, row.width_seconds_s) == pytest.approx((40, 60, 70))
    assert row.coverage_points == pytest.approx(75 - 80)
    assert row.causes == pytest.approx(
        {"silent > silent": 120, "power_save > silent": 100, "power_save > seen": 20, "seen > silent": 80}
    )
    assert row.planned_there_s == pytest.approx(1000)
    assert score.figures([row]).f1 == pytest.approx(2 * 990 / (2 * 990 + 60))


def test_figures_are_of_all_visits_together() -> None:
    def visit(arrival: float, hit: float, missed: float) -> score.Row:
        spans = [(START, START + hit)]
        told = Answer(on=spans, arrived=moment(arrival, -1, 1), left=None, seconds=Seconds(best=hit, lower=hit, upper=hit))
        return score.row(case(there((0, hit + missed))), "engine", told)

    of = score.figures([visit(0, 600, 0), visit(-20, 600, 0), visit(4, 600, 600)])
    assert of.f1 == pytest.approx(2 * 1800 / (2 * 1800 + 600))
    assert of.arrival_s[0] == pytest.approx(4)
    assert of.duration_share[0] == 0.0
    assert of.held[0] == 1.0
    assert of.held[2] == pytest.approx(2 / 3)
    assert math.isnan(of.departure_s[0])


def test_an_open_bound_holds_everything_on_its_side() -> None:
    told = Answer(
        on=[],
        arrived=Moment(best=START, earliest=None, latest=START + 5),  # type: ignore[arg-type]
        left=None,
        seconds=Seconds(best=0, lower=0, upper=0),
    )
    row = score.row(case(there((-1500, 600))), "engine", told)
    assert row.held_arrival is True
    assert row.width_arrival_s == math.inf


def test_short_absences_do_not_count_and_long_ones_do() -> None:
    assert there((0, 300), (500, 1200)).served == [(START, START + 1200)]
    assert len(there((0, 300), (900, 1200)).served) == 2


def test_an_absence_takes_as_many_seconds_as_the_best_value_leaves_out() -> None:
    """On, unknown for 100 s, off for 500 s, unknown for 300 s, on: 700 s are left out of 1200, so a half of the unknown is off."""
    spans = [(0, 200, "on"), (200, 300, "unknown"), (300, 800, "off"), (800, 1100, "unknown"), (1100, 1200, "on")]
    outcome = Outcome(
        verdict="partial",
        findings=(),
        arrived_at=moment(0, 0, 0),
        left_at=moment(1200, 1200, 1200),
        on_site_s=Seconds(best=500.0, lower=0.0, upper=1200.0),
        coverage=1.0,
        monitored_s=1200.0,
        expected_s=1200.0,
        gaps=(),
        presence=tuple(Shown(start=START + a, end=START + b, state=state) for a, b, state in spans),  # type: ignore[arg-type]
        evidence=Tally(fixes=0, checks=0, device_events=0, statuses=0, flags={}),
        explanation=Sentence(en="", zh=""),
        engine="1",
        policy=0,
    )
    on = [(a - START, b - START) for a, b in answer._on(outcome)]
    assert on == [pytest.approx((0, 250)), pytest.approx((950, 1200))]


def test_coverage_is_what_counting_seconds_gives() -> None:
    """The definition once more, a second at a time."""
    rng = np.random.default_rng(3)
    for significant in (False, True):
        at = np.sort(rng.integers(-400, 3600, 12)).astype(float)
        moving, credible = rng.random(12) < 0.5, rng.random(12) < 0.7
        accuracy = rng.choice([20.0, 900.0], 12)
        others, off, saving = [(700.0, 900.0)], [(1000.0, 1900.0)], [(1500.0, 2500.0)]
        seen = Seen(
            at=at,
            accuracy_m=accuracy,
            credible=credible,
            moving=moving,
            significant=significant,
            others=others,
            permission_off=[],
            offline=off,
            power_save=saving,
        )
        told = truth(((-100.0, 3300.0),), (0.0, 3000.0), seen)
        horizon = np.full(12, 1200.0) if significant else np.where(moving, 120.0, 300.0)
        counted: Counter[str] = Counter()
        for second in range(-100, 3300):
            near = (at <= second) & (second < at + horizon)
            if any(a <= second < b for a, b in others) or (near & credible & (accuracy < 150)).any():
                continue
            if any(a <= second < b for a, b in off):
                counted["phone_offline"] += 1
            elif any(a <= second < b for a, b in saving):
                counted["power_save"] += 1
            elif (near & credible).any():
                counted["poor_accuracy"] += 1
            else:
                counted["suspect" if near.any() else "silent"] += 1
        by_cause: Counter[str] = Counter()
        for gap in told.missing:
            by_cause[gap.cause] += round(gap.end - gap.start)
        assert by_cause == counted
        assert told.expected_s == 3400
        assert told.seen_s == 3400 - counted.total()


def test_passing_by_is_no_presence() -> None:
    inside = np.zeros(600, dtype=bool)
    inside[20:50] = inside[100:180] = inside[300:320] = True
    assert presence(inside, 0.0, (290.0, 600.0)) == ((100.0, 180.0), (300.0, 320.0))


def test_each_baseline_keeps_its_rule() -> None:
    """Fixes each 30 s: away, 5 min inside, 8 min just 20 m outside, 10 min inside, one at the fence, then away."""
    east = [300.0] * 10 + [0.0] * 10 + [70.0] * 16 + [0.0] * 20 + [48.0] + [300.0] * 20
    at = 30.0 * np.arange(len(east))
    seen = Observed(fixes=fixes(at, np.array(east), 0.0, 20.0))
    told = case(there((300, 600), (1080, 1710)), seen, planned_s=2310.0)

    def runs(name: str) -> list[tuple[float, float]]:
        return [(a - START, b - START) for a, b in baselines.method(name)(told).on]

    assert runs("pip") == [pytest.approx((300, 600)), pytest.approx((1080, 1710))]
    assert runs("dwell") == [pytest.approx((300, 1710))]
    assert runs("overlap") == [pytest.approx((300, 600)), pytest.approx((1080, 1710))]
    assert runs("perfect") == [pytest.approx((285, 585)), pytest.approx((1065, 1695))]
    far = case(told.truth, Observed(fixes=fixes(at, np.array(east) + 45.0, 0.0, 20.0)), planned_s=2310.0)
    assert baselines.pip(far).on
    assert not baselines.overlap(far).on


def test_a_blip_is_a_presence_to_the_plain_rule_and_none_to_the_one_that_waits() -> None:
    at = 30.0 * np.arange(40)
    east = np.where((at >= 600) & (at < 690), 0.0, 300.0)
    told = case(there(), Observed(fixes=fixes(at, east, 0.0)))
    assert len(baselines.pip(told).on) == 1
    assert not baselines.dwell(told).on


def test_a_library_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geopandas", None)
    monkeypatch.delitem(sys.modules, "bench.accuracy.stops", raising=False)
    with pytest.raises(SystemExit, match="uv sync --group bench"):
        baselines.method("movingpandas")


def test_both_worlds_are_judged_and_told_about() -> None:
    tasks = [
        run.Task(world=world, seed=1, sampling=sampling, size=size, policy=Policy(), methods=baselines.RULES)
        for world, size in (("town", 2), ("drift", 24))
        for sampling in ("60 s", "significant")
    ]
    rows = [row for task in tasks for row in run.work(task)[0]]
    assert {row.method for row in rows} == {"engine", *baselines.RULES}
    assert {row.world for row in rows} == {"town", "drift"}
    for world in ("town", "drift"):
        told = page.headline([row for row in rows if row.world == world and row.method == "engine" and row.sampling == "60 s"])
        assert len(told) >= 8
        assert score.figures(told).f1 > 0.9
        bound = page.headline([row for row in rows if row.world == world and row.method == "perfect" and row.sampling == "60 s"])
        assert score.figures(bound).f1 > 0.96
    how = publish.Run(
        command="-", seeds=range(1, 2), cheat_seeds=range(1, 2), elapsed_s=1.0, worlds=("town", "drift"), methods=("engine",)
    )
    text = publish._text(rows, rows, {"plain": [row for row in rows if row.world == "drift"]}, how)
    assert "| town | 60 s |" in text
    assert "nan" not in text


@pytest.mark.parametrize("world", [town, drift], ids=["town", "drift"])
def test_the_same_seed_is_the_same_visit(world: object) -> None:
    def made() -> list[Case]:
        return list(world.cases(7, "60 s", 2))  # type: ignore[attr-defined]

    for one, other in zip(made(), made(), strict=True):
        assert one.truth == other.truth
        assert np.array_equal(one.observed.fixes.lon, other.observed.fixes.lon)
        assert one.observed.checks == other.observed.checks


def test_every_conduct_and_kind_of_place_comes_up_and_who_is_elsewhere_is_not_on_site() -> None:
    found = list(drift.cases(5, "significant", 160))
    assert {one.behaviour for one in found} == set(drift.BEHAVIOURS)
    assert {one.surroundings for one in found} == {"open", "canyon", "house", "flats"}
    assert {one.manner for one in drift.cases(5, "significant", 60, ("spoofer",))} == set(drift.MANNERS)
    for one in found:
        if one.behaviour in ("no_show", "spoofer", "wrong_site"):
            assert not one.truth.on_site
        elif one.behaviour != "next_door":
            assert sum(b - a for a, b in one.truth.on_site) > 200


def test_seconds_in_the_plan_of_a_visit_next_door_are_not_this_visits() -> None:
    """She came an hour early, to the neighbour's, and stayed on in the fence of both: the truth begins where that plan ended."""
    visit = scene(circle(0, 0, 50.0), 1200.0).visit
    told = device_truth.Truth(
        visit="v-1",
        worker="w-1",
        site="s-1",
        service="default",
        behaviour="on_time",
        starts_at=START,
        ends_at=START + 1200,
        on_site=((START - 1500, START + 1200),),
        on_site_s=2700.0,
        monitored_s=2300.0,
        expected_s=2700.0,
        coverage=2300 / 2700,
        gaps=(device_truth.Gap(START - 1000, START - 800, "silent"), device_truth.Gap(START + 100, START + 300, "silent")),
        faults=(),
    )
    before = replace(visit, id="v-0", site="s-2", starts_at=START - 1800, ends_at=START - 600)
    here = scene(circle(0, 0, 50.0), 1200.0, others=(before,))
    offline = [(START + 200, START + 1000)]
    near = town._truth(told, here, ["s-2"], offline)
    assert near.on_site == ((START - 600, START + 1200),)
    assert near.contested
    assert (near.expected_s, near.seen_s) == (1800, 1600)
    assert [(gap.start - START, gap.end - START, gap.cause) for gap in near.missing] == [
        (200, 300, "phone_offline"),
        (100, 200, "silent"),
    ]
    far = town._truth(told, here, [], [])
    assert far.on_site == told.on_site
    assert not far.contested
    assert far.seen_s == 2300
