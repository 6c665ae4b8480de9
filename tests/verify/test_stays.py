"""Stays on a real database: found once and in any order, by the plans of now, told as alerts and to the visits they bear on."""

import random

import pytest
from msgspec.structs import replace

from geofence.evidence import Evidence
from geofence.stops import State, step
from sitewatch.replay import rebuild
from store import rebuilding, stops
from store.windows import Span, read_fixes
from tests.verify.world import DAY, NINE, TEN, World, served, status, stay, walk

NOON, LATER = DAY + 12 * 3600, DAY + 20 * 3600
KIND = "select kind, site, visit, instead_of from stays where kind <> 'off_duty' order by start_at"


def a_day(worker: str = "anna") -> list[Evidence]:
    """At site 0 from nine to ten, lunch at 2500 by noon, at site 5000 from two to three, and home at 20,000."""
    two = DAY + 14 * 3600
    return [
        *walk(worker, -2000, 0, NINE - 900, NINE), *stay(worker, 0, NINE, TEN), *walk(worker, 0, 2500, TEN, TEN + 3000),
        *stay(worker, 2500, NOON - 1200, NOON + 1800), *walk(worker, 2500, 5000, NOON + 1800, two),
        *stay(worker, 5000, two, two + 3600), *walk(worker, 5000, 20_000, two + 3600, two + 5400),
        *stay(worker, 20_000, two + 5400, LATER - 600),
    ]  # fmt: skip


def contents(world: World) -> dict[str, list[str]]:
    found = {table: list(rows) for table, rows in rebuilding.contents(world.verifier)}
    return {table: found[table] for table in ("stays", "searches", "alerts", "outcomes")}


def test_a_day_is_her_visits_what_she_did_beside_them_and_nobodys_business(world: World) -> None:
    world.worker("anna"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s0"), world.visit("v2", "anna", "s0", DAY + 15.1 * 3600, DAY + 15.4 * 3600)
    world.send(a_day())
    world.verify(LATER)
    assert world.rows(KIND) == [
        ("planned", "s0", "v1", None), ("unknown_place", None, None, None), ("unscheduled", "s5000", None, None),
    ]  # fmt: skip
    assert world.one("select count(*) from stays where kind = 'off_duty'") >= 1
    began = world.one("select round(extract(epoch from start_at) * 1000)::bigint from stays where site = 's5000'")
    assert began == pytest.approx((DAY + 14 * 3600) * 1000, abs=180_000)
    assert world.rows("select id, worker, site, cleared from alerts where kind = 'unscheduled'") == [
        (f"unscheduled:anna:{began}", "anna", "s5000", False)
    ]


def test_a_plan_that_comes_later_explains_the_stay_and_ends_the_alert(world: World) -> None:
    world.worker("anna"), world.site(0), world.site(5000)
    world.send(a_day())
    world.verify(LATER)
    assert [row[0] for row in world.rows(KIND)] == ["unscheduled", "unscheduled"]
    world.visit("v2", "anna", "s5000", DAY + 14 * 3600, DAY + 15 * 3600)
    world.verify(LATER + 1)
    assert world.rows(KIND)[-1] == ("planned", "s5000", "v2", None)
    assert world.rows("select cleared from alerts where site = 's5000' and kind = 'unscheduled'") == [(True,)]
    world.delete_visit("v2")
    world.verify(LATER + 2)
    assert world.rows(KIND)[-1] == ("unscheduled", "s5000", None, None)
    assert world.rows("select cleared from alerts where site = 's5000' and kind = 'unscheduled'") == [(False,)]


def test_a_stay_is_nobodys_business_once_the_visits_around_it_are_deleted(world: World) -> None:
    world.worker("anna"), world.site(0)
    world.visit("v1", "anna", "s0"), world.visit("v2", "anna", "s0", DAY + 15.1 * 3600, DAY + 15.4 * 3600)
    world.send(a_day())
    world.verify(LATER)
    assert ("unknown_place", None, None, None) in world.rows(KIND)
    world.delete_visit("v1"), world.delete_visit("v2")
    world.verify(LATER + 1)
    assert world.one("select count(*) from stays where kind = 'unknown_place'") == 0
    after = contents(world)
    rebuild(world.verifier, LATER + 1)
    assert contents(world) == after


def test_a_stay_is_no_more_instead_of_a_visit_that_was_deleted(world: World) -> None:
    world.worker("anna"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s5000", NINE, TEN)
    world.send(served("anna", 0))
    world.verify(LATER)
    assert world.rows(KIND)[0] == ("unscheduled", "s0", None, "v1")
    world.delete_visit("v1")
    world.verify(LATER + 1)
    assert world.rows(KIND)[0] == ("unscheduled", "s0", None, None)


def test_a_site_that_is_put_later_is_where_she_was(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(a_day())
    world.verify(LATER)
    assert [row[1] for row in world.rows(KIND)] == ["s0"]
    world.site(2500)
    world.verify(LATER + 1)
    assert world.rows(KIND)[1] == ("unscheduled", "s2500", None, None)
    world.place("s2500", 9000)
    world.verify(LATER + 2)
    assert [row[1] for row in world.rows(KIND)] == ["s0"]


def test_a_visit_that_was_served_at_another_time_says_so_and_nobody_is_told_that_nobody_came(world: World) -> None:
    world.worker("anna"), world.site(5000)
    world.visit("v1", "anna", "s5000", NINE, TEN)
    world.send(a_day())
    world.verify(LATER)
    assert world.rows(KIND)[-1] == ("unscheduled", "s5000", "v1", None)
    assert "unscheduled" in world.outcome("v1").findings
    assert world.rows("select kind, visit from alerts where not cleared") == [("unscheduled", "v1")]


def test_a_stay_elsewhere_in_planned_time_is_that_visits_alert_and_no_other(world: World) -> None:
    world.worker("anna"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s5000", NINE, TEN)
    world.send(served("anna", 0))
    world.verify(LATER)
    assert world.rows(KIND)[0] == ("unscheduled", "s0", None, "v1")
    assert world.rows("select kind, visit from alerts where kind = 'unscheduled'") == []


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_does_not_matter_and_a_replay_finds_the_same(world: World, seed: int) -> None:
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s5000"), world.visit("v2", "bert", "s0")
    reports = [*a_day("anna"), *a_day("bert"), status("anna", "offline", DAY, received_at=NINE)]
    for n, day in enumerate((1, 2)):
        reports += [replace(fix, at=fix.at - day * 86_400.0, identity=fix.identity + n + 1) for fix in a_day("bert")]
    draw = random.Random(seed)
    world.send(reports)
    world.verify(LATER)
    in_order = contents(world)
    assert len(in_order["stays"]) > 12
    rebuild(world.verifier, LATER)
    assert contents(world) == in_order
    for table in ("fixes", "statuses", "stays", "searches", "outcomes", "alerts", "sightings"):
        world.connection.execute(f"delete from {table}")
    late = [report for report in reports if draw.random() < 0.3]
    order = [report for report in reports if report not in late]
    draw.shuffle(late)
    now = NINE
    while order or late:
        batch = draw.randint(1, 400)
        world.send([*order[:batch], *late[: batch // 3]])
        del order[:batch], late[: batch // 3]
        now += (LATER - 60 - now) * draw.random()
        world.verify(now)
    world.verify(LATER)
    assert contents(world) == in_order


def test_what_came_late_is_searched_no_further_than_it_bears(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three days of a worker; something is reported late for the first: one day is read again, and not three."""
    world.worker("bert")
    for day in (2, 1, 0):
        world.send([replace(fix, at=fix.at - day * 86_400.0) for fix in a_day("bert")])
    world.verify(LATER)
    before = contents(world)
    read: list[Span] = []

    def counting(connection, spans):  # type: ignore[no-untyped-def]
        read.extend(spans)
        return read_fixes(connection, spans)

    monkeypatch.setattr(stops, "read_fixes", counting)
    world.send([replace(fix, at=fix.at - 2 * 86_400.0 + 7.0, identity=fix.identity + 9) for fix in a_day("bert")[40:50]])
    world.verify(LATER + 1)
    assert sum(span.to_at - span.from_at for span in read) < 1.5 * 86_400.0
    assert contents(world)["stays"] != before["stays"]
    after = contents(world)
    rebuild(world.verifier, LATER + 1)
    assert contents(world) == after


def test_a_worker_costs_one_short_read_a_slot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.worker("anna")
    fixes = a_day()[:200]
    world.send(fixes[:100])
    world.verify(NINE + 2101)
    read: list[Span] = []

    def counting(connection, spans):  # type: ignore[no-untyped-def]
        read.extend(spans)
        return read_fixes(connection, spans)

    monkeypatch.setattr(stops, "read_fixes", counting)
    for fix in fixes[100:200]:
        world.send([fix])
        world.verify(fix.at + 1)
    assert len(read) <= 100 * 30 / stops.SLOT_S + 1
    assert max(span.to_at - span.from_at for span in read) <= stops.SLOT_S


def test_the_slots_of_a_fleet_do_not_end_all_at_once(world: World) -> None:
    fleet = [f"w-{n}" for n in range(12)]
    world.send([fix for worker in fleet for fix in stay(worker, 0, NINE, NINE + 1800)])
    world.verify(NINE + 1801)
    ends = world.rows("select until, count(*) from searches group by until")
    assert len(ends) == stops.SLOT_S / 60, ends


def test_a_phone_that_is_adopted_brings_its_stays(world: World) -> None:
    world.worker("anna"), world.site(0)
    world.send(served("owntracks:anna/phone", 0))
    world.verify(LATER)
    assert {row[0] for row in world.rows("select worker from stays")} == {"owntracks:anna/phone"}
    world.worker("anna", owntracks="anna/phone")
    world.verify(LATER + 1)
    assert {row[0] for row in world.rows("select worker from stays")} == {"anna"}
    assert world.rows("select worker from alerts where kind = 'unscheduled' and not cleared") == [("anna",)]
    after = contents(world)
    rebuild(world.verifier, LATER + 1)
    assert contents(world) == after


def test_a_stay_is_what_the_fold_over_the_whole_track_finds(world: World) -> None:
    world.worker("anna")
    reports = a_day()
    for n in range(0, len(reports), 37):
        world.send(reports[n : n + 37])
        world.verify(reports[min(n + 36, len(reports) - 1)].at + 1)
    whole = read_fixes(world.connection, [Span(0, "anna", DAY, LATER)])[0]
    (until,) = world.rows("select extract(epoch from until)::float8 from searches")[0]
    _, ended = step(State(), whole, until)
    rows = world.rows("select extract(epoch from start_at)::float8, extract(epoch from end_at)::float8, lon, lat, fixes from stays "
                      "where cut_at is not null order by start_at")  # fmt: skip
    assert rows == [(stop.start_at, stop.end_at, stop.lon, stop.lat, stop.fixes) for stop in ended]
    assert len(rows) == 3


def test_a_delayed_gap_heals_and_says_so_and_evidence_of_a_week_later_gives_what_it_would_have_given_at_once(world: World) -> None:
    """Half of the evidence comes while it is waited for, a quarter a day late and a quarter a week late, each in any order."""
    week_s = 7 * 86_400.0
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s0"), world.visit("v2", "bert", "s5000")
    reports = [*served("anna", 0), *served("bert", 5000)]
    world.send(reports)
    world.verify(TEN + week_s)
    at_once = {visit: world.outcome(visit) for visit in ("v1", "v2")}
    stays = world.rows("select stays::text from stays order by 1")
    for table in ("fixes", "stays", "searches", "outcomes", "outcome_history", "alerts", "sightings"):
        world.connection.execute(f"delete from {table}")
    draw = random.Random(5)
    draw.shuffle(reports)
    half, quarter = len(reports) // 2, len(reports) // 4
    early = sorted((report for report in reports[:half] if report.at < NINE + 1200), key=lambda report: report.at)
    world.send(early)
    world.verify(TEN + 60)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"delayed"}
    assert world.verdict("v1") == "pending"
    world.send(report for report in reports[:half] if report not in early)
    world.verify(TEN + 3600)
    for n, later_s in ((half, 86_400.0), (half + quarter, week_s)):
        world.send(reports[n : n + quarter + 1])
        world.verify(TEN + later_s)
    assert {visit: world.outcome(visit) for visit in ("v1", "v2")} == at_once
    assert world.rows("select stays::text from stays order by 1") == stays
    assert {gap.cause for gap in world.outcome("v1").gaps} <= {"silent"}
    assert world.outcome("v1").verdict == "verified"
    whys = [why for (why,) in world.rows("select why from outcome_history where visit = 'v1' order by revision")]
    assert whys[0] == "first"
    assert all(why.endswith("late fixes of anna") for why in whys[1:]), whys
