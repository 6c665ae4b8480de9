"""The live view: few judgements, and nothing of what a desk or an auditor sees is different for it."""

import random
from collections.abc import Iterator, Sequence
from itertools import chain

import psycopg
import pytest
from msgspec.structs import replace

from geofence import Asked, window
from geofence.evidence import Evidence, Fix
from geofence.outcome import Outcome
from geofence.plan import Visit
from geofence.policy import Policy
from sitewatch import judging, replay, verify
from sitewatch.memory import Memory
from store import calm, positions
from store.journal import Touch
from store.stops import Slots
from tests.verify.test_replay import contents
from tests.verify.world import AT_ONCE, NINE, TEN, World, check, event, served, status, stay, walk

TICK_S = 60.0


def played(world: World, reports: list[Evidence], until: float, start: float = NINE - 900) -> Iterator[float]:
    """Sends each report when it comes, and runs verify once in each tick; yields the time after it."""
    world.verify(start)
    waiting = sorted(reports, key=lambda report: (report.received_at, report.source, report.identity))
    now = start
    while now < until:
        now += TICK_S
        ripe = [report for report in waiting if report.received_at <= now]
        waiting = waiting[len(ripe) :]
        if ripe:
            world.send(ripe)
        world.verify(now)
        yield now


def test_an_arrival_is_told_at_once_and_a_calm_visit_is_left_alone(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0), NINE, TEN + 3600)
    came_at, looks = NINE + 330, 0
    reports = [*walk("anna", 1500, 0, NINE - 900, came_at, every_s=10.0), *stay("anna", 0, came_at, TEN + 3600, every_s=10.0)]
    told_at = None
    judge_all = judging.judge_all

    def counted(asked: Sequence[Asked]) -> list[Outcome]:
        nonlocal looks
        looks += len(asked)
        return judge_all(asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "judge_all", counted)
        for now in played(world, reports, TEN + 900):
            if told_at is None and world.rows("select presence from positions") == [("on",)]:
                told_at = now
    assert told_at is not None
    assert told_at - came_at <= 2 * TICK_S, "a tick to hear of it, and one to be sure"
    assert 15 <= looks <= 35, "every tick it would be a hundred"


def test_every_look_between_is_what_a_replay_of_that_moment_gives(world: World) -> None:
    """Two phones of one worker, mock fixes, jumps, late fixes, statuses, checks, a frozen phone: positions are always right."""
    draw = random.Random(5)
    world.worker("anna", owntracks="anna/tablet"), world.worker("bert"), world.worker("cleo")
    world.visit("v1", "anna", world.site(0)), world.visit("v2", "bert", world.site(70))
    reports = [*served("anna", 0), *served("bert", 70), *stay("owntracks:anna/tablet", 0, NINE, NINE + 900)]
    frozen = [replace(fix, lon=116.45, lat=39.95) for fix in stay("cleo", 900) if isinstance(fix, Fix)]
    reports = [_troubled(report, draw) for report in [*reports, *frozen]]
    reports += [check("anna", "in", NINE + 5), status("anna", "online", NINE - 900), status("bert", "online", NINE - 900)]
    reports += [status("bert", "offline", NINE - 900, received_at=NINE + 600), status("bert", "online", NINE + 1200)]
    moved: list[str] = []
    move = positions.move

    def counted(connection: psycopg.Connection, moves: list[positions.Move]) -> dict[str, str]:
        done = move(connection, moves)
        moved.extend(done)
        return done

    compared = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "move", counted)
        for now in played(world, reports, TEN + 1200):
            if draw.random() < 0.15:
                compared += 1
                assert _refreshed(world, now) == world.rows("select * from positions order by worker"), now
    assert compared > 10
    assert len(moved) > 100, "a short way that nobody took proves nothing"
    world.verify_all(TEN + 9000)
    live = contents(world)
    replay.rebuild(world.verifier, TEN + 9000)
    assert contents(world) == live


def _troubled(report: Evidence, draw: random.Random) -> Evidence:
    if not isinstance(report, Fix):
        return report
    if draw.random() < 0.01:
        return replace(report, mock=True)
    if draw.random() < 0.01:
        return replace(report, lon=report.lon + 0.5)
    if draw.random() < 0.03:
        return replace(report, received_at=report.received_at + draw.uniform(60, 1500))
    return report


def _refreshed(world: World, now: float) -> list[tuple[object, ...]]:
    """The rows as they are when they are made anew, which is then undone."""
    with world.connection.transaction(force_rollback=True):
        workers = positions.everybody(world.connection)
        positions.forget(world.connection, workers)
        positions.refresh(world.connection, workers, now)
        return world.rows("select * from positions order by worker")


def test_a_memory_that_is_lost_at_any_moment_changes_no_answer(world: World) -> None:
    world.worker("anna"), world.worker("bert")
    world.visit("v1", "anna", world.site(0)), world.visit("v2", "bert", world.site(70))
    draw, lost = random.Random(3), 0
    for now in played(world, [*served("anna", 0), *served("bert", 70)], TEN + 1200):
        if draw.random() < 0.2:
            # As after kill -9: whoever takes over remembers nothing, and asks for all that is open.
            world.memory, lost = Memory(), lost + 1
            world.verify_all(now)
    assert lost > 10
    world.verify(TEN + 9000)
    live = contents(world)
    replay.rebuild(world.verifier, TEN + 9000)
    assert contents(world) == live
    assert world.rows("select visit, verdict from outcomes order by 1") == [("v1", "verified"), ("v2", "verified")]


def test_who_does_not_come_is_late_on_time_whoever_is_silent(world: World) -> None:
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(70)
    world.visit("v1", "anna", "s0"), world.visit("v2", "bert", "s70")
    late: dict[str, float] = {}
    for now in played(world, stay("anna", 5000, NINE - 900, TEN), NINE + 900):
        for (visit,) in world.rows("select visit from alerts where kind = 'late' and not cleared"):
            late.setdefault(visit, now)
    assert late == {"v1": NINE + 600, "v2": NINE + 600}


def test_a_phone_that_falls_silent_is_told_of_and_so_is_its_return(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.policy("clean", open_every_s=3600.0)
    reports = [*stay("anna", 0, NINE - 600, NINE + 1860, every_s=10.0), *stay("anna", 0, NINE + 2760, TEN, every_s=10.0)]
    gap_at = healed_at = None
    # Of the visit: there is another gap before the phone's first word.
    seen = "select extract(epoch from end_at)::float8 from gaps where start_at > to_timestamp(%s)"
    for now in played(world, reports, NINE + 3060):
        gaps = world.rows(seen, [NINE])
        gap_at = gap_at or (now if gaps else None)
        healed_at = healed_at or (now if gaps and gaps[-1][0] < now - 2 * TICK_S else None)
    assert gap_at is not None
    assert healed_at is not None
    assert gap_at - (NINE + 1860) <= 300.0 + 2 * TICK_S, "as long as a fix lasts, and two ticks"
    assert healed_at - (NINE + 2760) <= 3 * TICK_S


def test_a_check_in_is_not_waited_for_longer_than_a_turn(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    now = list(played(world, stay("anna", 0, NINE - 600, NINE + 1200, every_s=10.0), NINE + 600))[-1]
    world.send([check("anna", "in", now, visit="v1")])
    world.verify(now + 1)
    world.verify(now + 21)
    assert world.outcome("v1").evidence.checks == 1


def test_fixes_of_a_visit_that_nobody_remembers_are_judged_anyway(world: World) -> None:
    """Without a memory, as in the first cycle of a new process, the search in the database finds the visit."""
    world.visit("v1", world.worker("anna"), world.site(0))
    world.verify(NINE + 600)
    world.send(stay("anna", 0, NINE - 300, NINE + 600, every_s=10.0))
    judged = verify.cycle(world.verifier, NINE + 601, AT_ONCE, Memory()).judged
    assert judged == 1
    assert world.rows("select presence from positions") == [("on",)]


def test_a_flood_of_late_fixes_is_judged_at_a_bounded_rate(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    outbox = stay("anna", 0, NINE - 300, NINE + 1800, every_s=2.0)
    world.verify(NINE + 1800)
    judged = 0
    for second in range(60):
        world.send(chain.from_iterable([outbox[second * 15 : second * 15 + 15]]))
        judged += world.verify(NINE + 1801 + second)
    assert 3 <= judged <= 5, "once every 20 s, and not once a second"


def test_a_home_in_which_somebody_moves_costs_few_looks_and_is_told_of(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0), NINE, TEN)
    world.device("motion-1", "s0", "motion")
    motion = [event("motion-1", "motion", NINE - 900 + 20.0 * n) for n in range(180)]
    told: set[int] = set()
    for now in played(world, [*stay("anna", 0, NINE - 900, NINE + 2700), *motion], NINE + 2700):
        if now >= NINE + 1200:
            counted = world.outcome("v1").evidence.device_events
            told.add(counted)
            assert now - motion[counted - 1].at <= calm.SOON_S + 2 * TICK_S
    assert 4 <= len(told) <= 8, "at every tick it would be twenty-five"
    world.verify_all(TEN + 9000)
    live = contents(world)
    replay.rebuild(world.verifier, TEN + 9000)
    assert contents(world) == live


def test_a_phone_that_said_goodbye_is_online_again_with_its_next_fix(world: World) -> None:
    world.worker("anna")
    fixes = stay("anna", 0, NINE, NINE + 600)
    world.send([status("anna", "online", NINE - 60), *fixes[:10]])
    world.verify(NINE + 300)
    world.send([status("anna", "offline", NINE - 60, received_at=NINE + 300)])
    world.verify(NINE + 301)
    assert world.rows("select online from positions") == [(False,)]
    for fix in fixes[10:13]:
        world.send([fix])
        world.verify(fix.received_at)
        assert world.rows("select online, extract(epoch from at)::float8 from positions") == [(True, fix.at)]


def test_fixes_out_of_order_are_judged_soon(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.policy("clean", open_every_s=3600.0)
    fixes = stay("anna", 0, NINE - 300, NINE + 300, every_s=10.0)
    world.send(fixes[:40])
    world.verify(NINE + 101)
    world.send(fixes[44:50])
    world.verify(NINE + 200)
    world.verify_all(NINE + 201)
    world.send(fixes[40:44])
    world.verify(NINE + 202)
    world.verify(NINE + 222)
    assert world.outcome("v1").evidence.fixes == 50


def test_a_fix_that_is_committed_just_after_its_window_closed_counts(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    plan = Visit(id="v1", worker="anna", site="s0", service="clean", starts_at=NINE, ends_at=TEN)
    closes_at = window(plan, Policy())[1]
    for now in played(world, stay("anna", 0, TEN - 300, closes_at - 30, every_s=10.0), closes_at + TICK_S, start=TEN - 300):
        last_at = now
    world.send(stay("anna", 0, closes_at - 20, closes_at, every_s=10.0))
    world.verify(last_at + 1)
    world.verify(closes_at + 300)
    live = contents(world)
    replay.rebuild(world.verifier, closes_at + 300)
    assert contents(world) == live


def test_a_clock_that_is_ahead_costs_no_slot() -> None:
    slots = Slots()
    ahead = [Touch("anna", NINE + n * 30.0 + 40.0, NINE + n * 30.0 + 40.0) for n in range(5)]
    ended = [bool(slots.ended([touch], NINE + n * 30.0)) for n, touch in enumerate(ahead)]
    assert ended == [True, False, True, False, True], "as the minutes of its receipt end, not of its own clock"
