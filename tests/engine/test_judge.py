"""Verdicts and findings: the rules that the definitions name one by one."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from geofence import engine, judge, next_look, verdict, witness
from geofence.coverage import Coverage
from geofence.evidence import Check, DeviceEvent, Fixes
from geofence.outcome import Moment, Outcome, Seconds
from geofence.plan import Device, Scene, Visit
from geofence.policy import Policy
from tests.engine.worlds import START, circle, day, errors, fixes, lonlat, nothing, scene, seen, square, take

POLICY = Policy()
HOME = scene(circle(0, 0, 60))


def told(of: Fixes, where: Scene = HOME, after_s: float = 9e4, policy: Policy = POLICY, **more: object) -> Outcome:
    return judge(where, seen(of, **more), policy, START + after_s)


def check(at: float, kind: str, method: str = "app", visit: str | None = "v-1", **more: object) -> Check:
    made = Check(source="w-1", at=START + at, received_at=START + at, identity=int(at), kind="in", method="app", visit=visit)
    return replace(made, kind=kind, method=method, **more)


def event(at: float, kind: str, source: str = "d-1", **more: object) -> DeviceEvent:
    made = DeviceEvent(source=source, at=START + at, received_at=START + at, identity=int(at), kind="motion")
    return replace(made, kind=kind, **more)


def test_pending_until_late_data_had_its_time() -> None:
    gone = take(day(), day().at < START + 7100.0)
    assert told(gone, after_s=7199.0).verdict == "pending"
    assert told(gone, after_s=7499.0).verdict == "pending"
    assert told(gone, after_s=7500.0).verdict == "verified"


def test_a_complete_visit_is_verified_as_soon_as_it_is_over() -> None:
    outcome = told(day(went=7150.0), after_s=7260.0)
    assert outcome.verdict == "verified"
    assert outcome.left_at is not None


def test_a_running_visit_counts_only_what_has_passed() -> None:
    outcome = told(day(came=-60.0), after_s=1800.0)
    assert outcome.verdict == "pending"
    assert outcome.left_at is None
    assert outcome.expected_s == pytest.approx(1900.0, abs=60.0)
    assert told(nothing(), after_s=-10.0).coverage is None


def look_after(of: Fixes, after_s: float) -> float | None:
    now = START + after_s
    look = next_look(HOME, told(of, after_s=after_s), POLICY, now)
    return None if look is None else look - now


def test_a_visit_is_looked_at_soon_after_a_change_and_ever_more_rarely() -> None:
    came = day(came=600.0)
    soon, later, steady = (look_after(came, after_s) or 0.0 for after_s in (620.0, 800.0, 3600.0))
    assert POLICY.live_every_s <= soon <= 60.0
    assert soon < later < steady == POLICY.open_every_s


def test_a_visit_is_looked_at_when_something_falls_due() -> None:
    quiet = nothing()
    for due_at in (0.0, POLICY.punctuality_s, 7200.0, 7200.0 + POLICY.late_wait_s):
        assert look_after(quiet, due_at - 5.0) == 5.0, "a start, a late alert, an end, a verdict"
    assert look_after(day(), 9e4) is None


def test_the_share_of_the_plan_decides_between_verified_and_partial() -> None:
    assert told(day(came=0.0, went=6980.0)).verdict == "verified"
    assert told(day(came=0.0, went=6500.0)).verdict == "partial"
    assert told(day(came=0.0, went=6500.0), policy=Policy(on_site_best_share=0.85, on_site_lower_share=0.8)).verdict == "verified"


def test_staying_longer_makes_up_for_coming_late() -> None:
    outcome = told(day(came=900.0, went=8200.0))
    assert outcome.verdict == "verified"
    assert outcome.findings == ("late_arrival",)


def test_a_stay_after_the_plan_does_not_make_up_for_a_plan_that_nobody_saw_her_serve() -> None:
    """A quarter of an hour beside a small house, as near as positions stray, and then twenty minutes in it."""
    at = np.arange(-1800.0, 2700.0, 60.0)
    rng = np.random.default_rng(1)
    east = np.select([at < 0, at < 1000, at < 1300, at < 2400], [1.4 * -at + 25.0, 25.0, 90.0, 0.0], 1.4 * (at - 2400.0) + 20.0)
    of = fixes(at, east + rng.normal(0, 3, len(at)), rng.normal(0, 3, len(at)), 12.0)
    outcome = told(of, scene(circle(0, 0, 14), 900.0))
    assert (outcome.verdict, outcome.findings) == ("partial", ("over_service",))
    assert outcome.on_site_s.lower > 900.0


def test_over_service_is_ten_minutes_more_than_planned() -> None:
    assert told(day(came=0.0, went=8200.0)).findings == ("over_service",)


def test_checks_are_expected_when_one_was_made_or_the_policy_says_so() -> None:
    of, into, out = day(), (check(70, "in"),), (check(7100, "out"),)
    assert told(of).findings == ()
    assert told(of, checks=into).findings == ("missing_check_out",)
    assert told(of, checks=out).findings == ("missing_check_in",)
    assert told(of, checks=into + out).findings == ()
    assert told(of, policy=Policy(checks_expected="always")).findings == ("missing_check_in", "missing_check_out")
    assert told(of, checks=into, policy=Policy(checks_expected="never")).findings == ()


def test_a_check_of_another_visit_says_nothing_here() -> None:
    other = Visit(id="v-0", worker="w-1", site="s-9", service="default", starts_at=START - 3000.0, ends_at=START - 300.0)
    where = replace(HOME, others=(other,))
    named = (check(-300, "out", "qr", visit="v-0"), check(100, "in", "qr", visit="v-0"))
    nameless = (check(-320, "out", "qr", visit=None),)
    for checks in (named, nameless):
        outcome = told(day(place=(3000.0, 0.0)), where, checks=checks)
        assert (outcome.verdict, outcome.findings) == ("contradicted", ("no_show",))
        assert outcome.evidence.checks == 0


def test_a_button_in_an_app_proves_nothing_and_a_code_at_the_home_something() -> None:
    presses = (check(60, "in"), check(7100, "out"))
    codes = (check(60, "in", "qr"), check(7100, "out", "qr"))
    assert told(nothing(), checks=presses).verdict == "unknown"
    assert told(nothing(), checks=codes).verdict == "partial"


def test_buttons_pressed_across_town_place_nobody_here() -> None:
    presses = tuple(
        check(at, "in" if at < 3600 else "out") for at in (60, 600, 1200, 1800, 2400, 3000, 3600, 4200, 4800, 5400, 6000)
    )
    outcome = told(day(place=(2500.0, 0.0)), checks=presses)
    assert (outcome.verdict, outcome.on_site_s.upper) == ("contradicted", 0.0)


def test_a_phone_on_another_continent_is_not_on_site() -> None:
    for lon, lat in ((0.0, 0.0), (-74.0, 40.7)):
        of = day(accuracy_m=8.0)
        far = replace(of, lon=of.lon - of.lon[0] + lon, lat=of.lat - of.lat[0] + lat)
        outcome = told(far, scene(circle(0, 0, 15)))
        assert (outcome.verdict, outcome.on_site_s.best) == ("contradicted", 0.0)


def test_motion_alone_never_verifies() -> None:
    where = replace(HOME, devices=(Device(id="d-1", site="s-1", kind="motion", source="d-1"),))
    moves = tuple(event(at, "motion") for at in range(0, 7200, 60))
    outcome = told(nothing(), where, events=moves)
    assert (outcome.verdict, outcome.monitored_s, outcome.on_site_s.lower) == ("unknown", 0.0, 0.0)


def test_motion_that_another_worker_explains_says_nothing() -> None:
    rival = Visit(id="v-2", worker="w-2", site="s-1", service="default", starts_at=START, ends_at=START + 7200.0)
    where = replace(HOME, devices=(Device(id="d-1", site="s-1", kind="motion", source="d-1"),))
    moves = tuple(event(at, "motion") for at in range(300, 6900, 60))
    codes = (check(60, "in", "qr"), check(7100, "out", "qr"))
    alone = told(nothing(), where, events=moves, checks=codes)
    shared = told(nothing(), replace(where, rivals=(rival,)), events=moves, checks=codes)
    assert alone.monitored_s > 6000.0
    assert shared.monitored_s < 2000.0


def test_another_workers_credential_is_not_hers() -> None:
    where = replace(HOME, devices=(Device(id="d-1", site="s-1", kind="lock", source="d-1"),))
    both = lambda worker: (event(20, "unlock", worker=worker), event(7190, "lock", worker=worker))  # noqa: E731
    assert told(nothing(), where, events=both("w-1")).on_site_s.lower > 300.0
    assert told(nothing(), where, events=both("w-2")).on_site_s.lower == 0.0


def test_flats_on_one_ground_are_told_apart_by_the_home_or_stay_unknown() -> None:
    door = Device(id="d-1", site="s-1", kind="contact", source="d-1")
    flats = replace(scene(square(0, 0, 20)), neighbours=(square(0, 0, 20, "s-2"), square(1, 0, 20, "s-3")), devices=(door,))
    of = day(sigma_m=6.0, accuracy_m=9.0)
    moved = (event(40, "open"), event(45, "close"), event(7255, "open"), event(7262, "close"))
    elsewhere = (event(3000, "open"), event(3010, "close"))
    assert told(of, flats, events=moved).verdict == "verified"
    undecided = told(of, flats, events=elsewhere)
    assert undecided.verdict == "unknown"
    assert "close by" in undecided.explanation.en
    assert "附近" in undecided.explanation.zh


def test_two_visits_next_door_to_each_other_share_no_seconds() -> None:
    """She serves one house until ten, walks twenty metres, and serves the other: each visit gets its own time."""
    one = Visit(id="v-0", worker="w-1", site="s-2", service="default", starts_at=START - 3600.0, ends_at=START - 300.0)
    where = replace(scene(square(0, 0, 15), 3600.0), neighbours=(square(30, 0, 15, "s-2"),), others=(one,))
    rng = np.random.default_rng(5)
    at = np.arange(-3600.0, 5400.0, 20.0)
    place = np.where(at < -100.0, 30.0, np.clip(1.4 * (at - 3700.0), 0.0, 600.0))
    of = fixes(at, place + errors(rng, at, 5.0), errors(rng, at, 5.0), 8.0)
    outcome = told(of, where)
    assert outcome.verdict == "verified"
    assert outcome.arrived_at is not None
    assert abs(outcome.arrived_at.best - (START - 100.0)) < 90.0


def test_on_common_ground_nobody_is_told_to_have_been_at_the_wrong_site() -> None:
    """Two homes of one tower, drawn a little apart: the positions lie in the other, a few metres off; the plan says this one."""
    tower = square(9.0, 0.0, 24.0, "s-2")
    of = day(place=(16.0, 0.0), sigma_m=5.0, accuracy_m=8.0)
    assert "wrong_site" not in told(of, replace(scene(square(-9.0, 0.0, 24.0)), neighbours=(tower,))).findings
    across = told(day(place=(90.0, 0.0)), replace(scene(circle(0.0, 0.0, 60.0)), neighbours=(circle(100.0, 0.0, 60.0, "s-2"),)))
    assert "wrong_site" in across.findings


def test_a_few_stray_fixes_at_another_site_are_no_stay_there() -> None:
    """She was out for half of the plan; eight lone fixes of that time, of four hundred, fell on a site that was near."""
    of, shop = day(came=0.0, went=3000.0), circle(400.0, 0.0, 40.0, "s-2")
    rng = np.random.default_rng(3)
    away = np.flatnonzero(of.at >= START + 3000.0)
    east, north = 400.0 + errors(rng, of.at, 4.0), 200.0 + errors(rng, of.at, 4.0)
    north[away[60:380:40]] = 0.0
    lon, lat = lonlat(east, north)
    gone = of.at >= START + 3000.0
    outcome = told(replace(of, lon=np.where(gone, lon, of.lon), lat=np.where(gone, lat, of.lat)), replace(HOME, neighbours=(shop,)))
    assert outcome.verdict == "partial"
    assert "wrong_site" not in outcome.findings


def test_the_policy_and_the_engine_are_named() -> None:
    outcome = told(day(), policy=Policy(service="cleaning", version=7))
    assert (outcome.policy, outcome.engine) == (7, "4")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"grace_s": -1.0}, "grace_s"),
        ({"coverage_target": 1.5}, "coverage_target"),
        ({"prior_on": float("nan")}, "prior_on"),
        ({"on_site_lower_share": 0.99}, "on_site_lower_share"),
        ({"horizon_moving_s": 900.0}, "horizon_moving_s"),
        ({"service": ""}, "service"),
    ],
)
def test_a_policy_without_meaning_is_refused_by_name(wrong: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Policy(**wrong)  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"gracs_s": 3.0}, Policy)


def test_what_is_not_verified_stays_pending_until_late_data_had_its_time() -> None:
    gone = day(went=6000.0)
    assert told(gone, after_s=7260.0).verdict == "pending"
    assert told(gone, after_s=7500.0).verdict == "partial"


def test_the_plan_does_not_vouch_for_a_stay_across_the_street() -> None:
    outcome = told(day(place=(28.0, 0.0), sigma_m=10.0, accuracy_m=15.0), scene(square(0, 0, 15)))
    assert outcome.on_site_s.lower == 0.0
    assert outcome.verdict in ("unknown", "contradicted")


@pytest.mark.parametrize("away_m", [12.0, 14.0, 17.0])
def test_the_plan_does_not_vouch_for_a_stay_just_outside_the_wall(away_m: float) -> None:
    """Every fix says that she was somewhere here; their middle lies beyond the wall, and only the plan would have her inside."""
    outcome = told(day(place=(away_m, 0.0), sigma_m=6.0, accuracy_m=9.0), scene(square(0, 0, 15)))
    assert outcome.on_site_s.lower == 0.0
    assert outcome.verdict == "unknown"


@pytest.mark.parametrize(("roams", "verdicts"), [(True, ("verified",)), (False, ("unknown", "contradicted"))])
def test_who_was_all_over_a_house_about_a_court_was_there_and_who_sat_in_the_court_is_not_proven(
    roams: bool, verdicts: tuple[str, ...]
) -> None:
    ring = replace(square(0, 0, 76), geometry=square(0, 0, 76).geometry.difference(square(0, 0, 40).geometry))
    of = day(came=0.0, went=7200.0, sigma_m=5.0, accuracy_m=8.0)
    turn = np.where((of.at >= START) & (of.at < START + 7200.0), (of.at - START) / 600.0, np.nan)
    east, north = (lonlat(29.0 * np.cos(turn), 29.0 * np.sin(turn))[k] - lonlat(0.0, 0.0)[k] for k in (0, 1))
    if roams:
        of = replace(of, lon=of.lon + np.nan_to_num(east), lat=of.lat + np.nan_to_num(north))
    outcome = told(of, scene(ring))
    assert outcome.verdict in verdicts
    assert roams or outcome.on_site_s.lower == 0.0


def reading(on_site_s: float) -> verdict.Reading:
    """As if presence and coverage had come to this."""
    moment = Moment(best=START, earliest=START, latest=START)
    return verdict.Reading(
        arrived_at=moment,
        left_at=replace(moment, best=START + on_site_s),
        on_site=Seconds(best=on_site_s, lower=on_site_s, upper=on_site_s),
        planned_on_s=on_site_s,
        coverage=Coverage(expected_ms=7_200_000, monitored_ms=7_200_000, gaps=()),
        decided_departure=True,
    )


@pytest.mark.parametrize("away_m", [0.0, 5000.0])
def test_no_verdict_stands_against_what_most_reports_say_each_alone(away_m: float) -> None:
    """The law of lost evidence rests on this, whatever the rest of the engine made of the reports."""
    heard = witness.hear_all([(HOME, seen(day(place=(away_m, 0.0))), engine.window(HOME.visit, POLICY))], POLICY)[0]
    given = {on_site_s: verdict.decide(HOME, heard, reading(on_site_s), POLICY, START + 9e4) for on_site_s in (0.0, 7200.0)}
    assert given == ({0.0: "unknown", 7200.0: "verified"} if away_m == 0.0 else {0.0: "contradicted", 7200.0: "partial"})


def test_half_of_the_reports_for_and_half_against_decide_nothing() -> None:
    here, there = day(every_s=20.0), day(2, every_s=20.0, place=(5000.0, 0.0))
    mixed = replace(here, lon=np.where(np.arange(len(here.at)) // 30 % 2, here.lon, there.lon))
    heard = witness.hear_all([(HOME, seen(mixed), engine.window(HOME.visit, POLICY))], POLICY)[0]
    assert verdict.decide(HOME, heard, reading(7200.0), POLICY, START + 9e4) == "partial"
    assert verdict.decide(HOME, heard, reading(0.0), POLICY, START + 9e4) == "unknown"


def test_who_was_there_before_and_after_the_window_has_open_bounds() -> None:
    outcome = told(day(came=-4000.0, went=99_999.0))
    arrived, left = outcome.arrived_at, outcome.left_at
    assert arrived is not None
    assert left is not None
    assert (arrived.best, arrived.earliest, arrived.latest) == (START - 1800.0, None, START - 1800.0)
    assert (left.best, left.earliest, left.latest) == (START + 9000.0, START + 9000.0, None)
    assert "early_departure" not in outcome.findings


def test_what_nobody_saw_is_likely_and_not_proven() -> None:
    of = day()
    silent = (of.at < START + 2000.0) | (of.at > START + 3000.0)
    whole, broken = told(of).on_site_s, told(take(of, silent)).on_site_s
    assert broken.best == pytest.approx(whole.best, abs=1.0)
    assert whole.lower - broken.lower == pytest.approx(1000.0 - POLICY.horizon_still_s, abs=30.0)


@pytest.mark.parametrize(("first", "last"), [(0.0, 7200.0), (-300.0, 7300.0), (-1800.0, 7200.0)])
def test_who_was_seen_away_all_planned_time_did_not_come(first: float, last: float) -> None:
    """Her phone was off before, or after; nobody serves in half an hour before the plan and is gone when it begins."""
    of = day(place=(5000.0, 0.0))
    outcome = told(take(of, (of.at >= START + first) & (of.at < START + last)))
    assert (outcome.verdict, outcome.findings) == ("contradicted", ("no_show",))


def test_the_seconds_between_two_visits_to_one_home_count_once() -> None:
    """She stays from the first to the second: each visit gets its plan, and half of what lies between."""
    second = replace(HOME.visit, id="v-2", starts_at=START + 8400.0, ends_at=START + 12_000.0)
    of = day(came=0.0, went=12_000.0, planned_s=12_600.0)
    one = told(of, replace(HOME, others=(second,)))
    two = told(of, replace(HOME, visit=second, others=(HOME.visit,)))
    fence_s = 60.0 / 1.4  # from the fence to the middle, on foot
    assert one.on_site_s.best + two.on_site_s.best == pytest.approx(12_000.0 + 2 * fence_s, abs=30.0)
    assert one.on_site_s.best == pytest.approx(7800.0 + fence_s, abs=30.0)


@pytest.mark.parametrize(("away_m", "likely"), [(17.0, True), (32.0, False)])
def test_the_best_guess_follows_the_plan_only_as_far_as_positions_could_have_strayed(away_m: float, likely: bool) -> None:
    of = day(place=(away_m, 0.0), sigma_m=5.0, accuracy_m=8.0, every_s=30.0)
    outcome = told(of, scene(square(0, 0, 12)))
    assert (outcome.on_site_s.best > 3600.0) is likely
    assert outcome.on_site_s.lower == 0.0


@pytest.mark.parametrize(("radius_m", "served"), [(5.0, False), (16.0, True)])
def test_who_waits_beside_a_small_house_with_a_phone_that_was_vague_in_it_is_not_serving(radius_m: float, served: bool) -> None:
    """She comes out after half an hour and stands twelve metres from the wall to the end of the plan."""
    of = day(sigma_m=5.0, accuracy_m=16.0)
    out = (of.at >= START + 2000.0) & (of.at < START + 7260.0)
    rng = np.random.default_rng(3)
    lon, lat = lonlat(20.0 + rng.normal(0.0, 2.0, len(of.at)), rng.normal(0.0, 2.0, len(of.at)))
    radius = np.where(out, radius_m, 16.0)
    made = replace(of, lon=np.where(out, lon, of.lon), lat=np.where(out, lat, of.lat), accuracy_m=radius)
    outcome = told(made, scene(square(0, 0, 16)))
    assert (outcome.on_site_s.best > 7000.0) is served


def test_who_waits_in_a_car_at_the_kerb_with_a_phone_that_is_finer_there_has_not_arrived() -> None:
    """Eight minutes, ten metres from the wall; the phone names six metres there, and ten in the house."""
    missed = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        at = np.arange(-1800.0, 5400.0, 10.0)
        inside = (at >= 0.0) & (at < 3600.0)
        way = np.select([at < -500.0, at < -20.0, at < 0.0], [-25.0 + 8.0 * (at + 500.0), -25.0, -15.0], 0.0)
        east = np.where(at < 3600.0, way, np.minimum(-15.0 - 8.0 * (at - 3700.0), -25.0))
        east += np.where(inside, errors(rng, at, 7.0, 150.0), errors(rng, at, 4.0, 45.0))
        named = np.where(inside, 10.5, 6.3) * np.exp(rng.normal(0.0, 0.15, len(at)))
        north = np.where(inside, errors(rng, at, 7.0, 150.0), errors(rng, at, 4.0, 45.0))
        outcome = told(fixes(at, east, north, named), scene(square(0, 0, 30), 3600.0))
        assert outcome.arrived_at
        missed.append(outcome.arrived_at.best - START)
    assert abs(np.median(missed)) < 60.0


def test_a_vague_phone_next_door_is_not_verified_however_many_fixes_average() -> None:
    """A dozen metres outside a circle of thirty, by honest radii of a hundred: the plan cannot vouch for such positions."""
    for seed in range(24):
        rng = np.random.default_rng(seed)
        at = np.arange(-1800.0, 5400.0, 60.0)
        inside = (at >= -60.0) & (at < 3660.0)
        east = 42.0 + 1.4 * np.maximum(np.maximum(-60.0 - at, at - 3660.0), 0.0)
        east += np.where(inside, errors(rng, at, 66.0, 150.0), errors(rng, at, 4.0))
        north = np.where(inside, errors(rng, at, 66.0, 150.0), errors(rng, at, 4.0))
        radius = np.where(inside, 100.0, 6.0) * np.exp(rng.normal(0.0, 0.2, len(at)))
        assert told(fixes(at, east, north, radius), scene(circle(0, 0, 30), 3600.0)).verdict != "verified", seed
