"""One visit, worker or row that something is wrong with is set aside, aloud, and everybody else's work goes on."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from structlog.testing import capture_logs
from structlog.typing import EventDict

from sitewatch import judging, replay, verify
from store import alerts, positions, stays, touched
from tests.verify.world import AT_ONCE, NINE, TEN, World, event, served, stay, walk

LATER = TEN + 7200
NOT_A_PLACE = """{"type": "Point", "coordinates": ["here", "there"]}"""


@pytest.fixture(autouse=True)
def said() -> Iterator[list[EventDict]]:
    """What was logged."""
    with capture_logs() as lines:
        yield lines


def failed(world: World, now: float) -> int:
    """Looks once; returns how many could not be dealt with."""
    return verify.look(world.verifier, now, AT_ONCE, world.memory).failed


def break_site(world: World, site: str) -> None:
    world.connection.execute("update sites set geometry = %s where id = %s", [NOT_A_PLACE, site])


def test_a_site_that_nobody_can_read_stops_only_the_visits_there(world: World, said: list[EventDict]) -> None:
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("bad", "anna", "s0"), world.visit("good", "bert", "s5000")
    world.verify(NINE - 3 * 3600)
    break_site(world, "s0")
    world.send([*served("anna", 0), *served("bert", 5000)])
    assert failed(world, LATER) == 2, "her visit, and what her stay there was"
    named = {"A visit could not be judged": "bad", "A worker's evidence could not be followed": "anna"}
    assert {line["event"]: line.get("visit") or line.get("worker") for line in said if line["log_level"] == "error"} == {
        "A cycle failed; once more, with each visit and each worker by itself": None,
        **named,
    }
    world.verify(LATER)
    assert world.verdict("good") == "verified"
    assert world.outcome("bad").verdict == "pending", "as it was judged last"
    assert world.rows("select worker from positions") == [("bert",)], "what anna's stay was cannot be said"
    waits = "select extract(epoch from at)::float8 from due where visit = 'bad'"
    assert world.one(waits) == LATER + judging.FAILED_AGAIN_S
    assert failed(world, LATER + 1) == 0, "not again with every look"
    world.place("s0", 0)
    world.send(stay("anna", 3000, TEN + 960, TEN + 990))
    world.verify(LATER + 2)
    assert world.verdict("bad") == "verified", "as soon as its plan is mended"
    assert world.rows("select worker from positions order by worker") == [("anna",), ("bert",)]


def test_a_visit_whose_own_look_has_come_is_not_tried_with_every_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.visit("bad", world.worker("anna"), world.site(0))
    world.verify(NINE + 60)
    world.send(stay("anna", 0, NINE - 300, NINE + 900, every_s=10.0))
    world.verify(NINE + 901)
    look_at = world.one("select extract(epoch from look_at)::float8 from outcomes")
    break_site(world, "s0")
    assert failed(world, look_at) == 1
    assert [failed(world, look_at + second) for second in (1, 2, 3)] == [0, 0, 0]
    assert failed(world, look_at + judging.FAILED_AGAIN_S) == 1


def test_a_worker_whose_evidence_cannot_be_followed_stops_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.worker("anna"), world.worker("bert")
    refresh = positions.refresh

    def broken(connection: psycopg.Connection, workers: set[str], now: float) -> positions.Refreshed:
        if "anna" in workers:
            raise ZeroDivisionError
        return refresh(connection, workers, now)

    monkeypatch.setattr(positions, "refresh", broken)
    world.send([*stay("anna", 0, NINE, NINE + 60), *stay("bert", 70, NINE, NINE + 60), event("sos-1", "sos", NINE)])
    assert failed(world, NINE + 61) == 1
    assert world.rows("select worker from positions") == [("bert",)]
    assert world.rows("select kind from alerts") == [("sos",)]
    world.send([*stay("anna", 0, NINE + 60, NINE + 120), *stay("bert", 70, NINE + 60, NINE + 120)])
    assert failed(world, NINE + 121) == 0, "she is left alone for a while"
    monkeypatch.undo()
    world.send(stay("anna", 0, NINE + 61 + judging.FAILED_AGAIN_S, NINE + 121 + judging.FAILED_AGAIN_S))
    world.verify(NINE + 122 + judging.FAILED_AGAIN_S)
    assert world.rows("select worker from positions order by worker") == [("anna",), ("bert",)]


def test_a_plan_that_cannot_be_followed_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    follow_plans = stays.follow_plans

    def broken(connection: psycopg.Connection, visits: set[str], sites: set[str], saying: stays.Saying) -> stays.Followed:
        if "v1" in visits:
            raise ValueError("a mistake of ours")
        return follow_plans(connection, visits, sites, saying)

    monkeypatch.setattr(stays, "follow_plans", broken)
    world.worker("anna"), world.site(0)
    world.visit("v1", "anna", "s0"), world.visit("v2", "anna", "s0", TEN, TEN + 3600)
    assert failed(world, LATER) == 1
    world.verify(LATER)
    assert world.rows("select visit from outcomes order by visit") == [("v1",), ("v2",)]


def test_a_mistake_that_has_no_owner_is_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(touched, "queue", broken)
    world.visit("v1", world.worker("anna"), world.site(0))
    with pytest.raises(ValueError, match="a mistake of ours"):
        failed(world, LATER)
    monkeypatch.undo()
    world.verify(LATER)
    assert world.rows("select visit from outcomes") == [("v1",)], "nothing of it was taken for done"


def test_a_row_that_somebody_else_writes_meanwhile_costs_one_more_try_and_no_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(stay("anna", 5000, NINE - 900, NINE + 900, every_s=10.0))
    world.verify(NINE + 901)
    assert world.rows("select kind from alerts") == [("late",)]
    remembered, write, tries = world.memory.visits, alerts.write, itertools.count()

    def meanwhile(connection: psycopg.Connection, visits: list[str], wanted: list[alerts.Alert]) -> list[str]:
        if next(tries) == 0:
            world.connection.execute("update alerts set severity = 'info'")
        return write(connection, visits, wanted)

    monkeypatch.setattr(alerts, "write", meanwhile)
    world.send([*walk("anna", 5000, 0, NINE + 900, NINE + 1400, every_s=10.0), *stay("anna", 0, NINE + 1400, NINE + 1800)])
    world.verify(NINE + 1801)
    assert next(tries) >= 2, "nobody was in the way: this proves nothing"
    assert world.memory.visits is remembered
    assert world.rows("select presence, cleared from positions cross join alerts") == [("on", True)]


def test_a_look_that_only_memory_asked_for_is_not_lost_with_its_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh fixes turn the visit over, and nothing in the database asks for a look. The first try to write it fails."""
    world.visit("v1", world.worker("anna"), world.site(0))
    world.policy("clean", open_every_s=3600.0)
    world.send(stay("anna", 5000, NINE - 900, NINE + 30, every_s=10.0))
    world.verify(NINE + 31)
    world.verify_all(NINE + 32)
    follow_visits, tries = judging.follow_visits, itertools.count()

    def conflict(connection: psycopg.Connection, *rest: object) -> object:
        done = follow_visits(connection, *rest)  # type: ignore[arg-type]
        if next(tries) == 0:
            raise errors.SerializationFailure
        return done

    world.send(stay("anna", 0, NINE + 30, NINE + 90, every_s=10.0))
    monkeypatch.setattr(judging, "follow_visits", conflict)
    judged = verify.look(world.verifier, NINE + 91, AT_ONCE, world.memory).judged
    assert next(tries) == 2
    assert judged == 1
    assert world.outcome("v1").evidence.fixes == 99


def test_a_replay_leaves_as_it_was_who_cannot_be_made_anew_and_says_so(world: World) -> None:
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("bad", "anna", "s0"), world.visit("good", "bert", "s5000")
    world.send([*served("anna", 0), *served("bert", 5000)])
    world.verify(LATER)
    world.connection.execute("update outcomes set coverage = 0.5")
    break_site(world, "s0")
    done = replay.rebuild(world.verifier, LATER)
    assert (done.visits, done.failed) == (2, 2), "her visit, and what her stay there was"
    assert world.rows("select visit, coverage = 0.5 from outcomes order by visit") == [("bad", True), ("good", False)]
    world.place("s0", 0)
    assert replay.rebuild(world.verifier, LATER).failed == 0
    assert world.rows("select visit, coverage = 0.5 from outcomes order by visit") == [("bad", False), ("good", False)]
