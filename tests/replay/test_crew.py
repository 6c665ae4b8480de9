"""Several processes give what one gives, and however some of them end, nothing is half done."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import repeat

import psycopg
import pytest
from psycopg import Connection

from sitewatch import crew, replay, verify
from sitewatch.config import Log
from sitewatch.replay import rebuild
from tests.verify.test_replay import LATER, a_day, contents, plan
from tests.verify.world import World

WAIT_S = 20.0


@pytest.fixture
def live(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What verify made of a day, and a replay that cuts it into small chunks."""
    plan(world)
    world.send(a_day(3))
    world.verify(LATER)
    monkeypatch.setattr(replay, "CHUNK", 1)
    return contents(world)


def break_it(world: World) -> None:
    world.connection.execute("update outcomes set verdict = 'broken', outcome = jsonb_set(outcome, '{monitored_s}', '1')")
    world.connection.execute("update device_states set state = '{}'")


def until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < give_up_at, "it never came to that"
        time.sleep(0.02)


def sessions(world: World) -> int:
    query = "select count(*) from pg_stat_activity where application_name = 'sitewatch replay' and datname = current_database()"
    return int(world.one(query))


def test_a_crew_gives_what_verify_gave(world: World, live: dict[str, list[str]]) -> None:
    break_it(world)
    seen: set[int] = set()

    def report(part: str, done: int, total: int) -> None:
        seen.add(sessions(world))

    with crew.together(world.database, 2, Log(level="error")) as hands:
        done = rebuild(world.verifier, LATER, report=report, hands=hands)
    assert 2 in seen, "one process alone proves nothing about two"
    assert (done.visits, done.failed) == (6, 0)
    assert contents(world) == live
    assert sessions(world) == 0


def test_a_whole_replay_starts_its_crew_and_tells_how_far_it_is(
    world: World, live: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.run(world.database, processes=2, log=Log(level="error")).visits == 6
    assert "visits: 6 of 6" in capsys.readouterr().err


def test_a_database_that_lacks_a_migration_is_left_alone(world: World) -> None:
    world.connection.execute("delete from _yoyo_migration where migration_id = '0002.acknowledged'")
    with pytest.raises(SystemExit, match=r"0002\.acknowledged"):
        replay.run(world.database)


@pytest.mark.parametrize("who", ["os.kill(os.getpid(), signal.SIGKILL)", "os.killpg(0, signal.SIGKILL)"], ids=["parent", "all"])
def test_whoever_is_killed_leaves_every_visit_as_it_was_or_made_anew(world: World, live: dict[str, list[str]], who: str) -> None:
    break_it(world)
    broken = contents(world)
    program = f"""
import os, signal
from sitewatch import crew, replay, verify
from sitewatch.config import Log
import psycopg

def killed(part, done, total):
    if part == "visits":
        {who}

if __name__ == "__main__":
    replay.CHUNK = 1
    connection = verify.prepared(psycopg.connect({world.database!r}))
    with crew.together({world.database!r}, 2, Log()) as hands:
        replay.rebuild(connection, {LATER}, report=killed, hands=hands)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, stderr=subprocess.PIPE, start_new_session=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    until(lambda: sessions(world) == 0)
    now = contents(world)
    for table in ("outcomes", "gaps", "presence", "coverage"):
        assert visits_of(now[table]) == visits_of(live[table]), f"a visit without its rows in {table}"
    assert set(now["outcomes"]) <= {*live["outcomes"], *broken["outcomes"]}
    assert 1 <= len(set(now["outcomes"]) & set(broken["outcomes"])) < 6
    rebuild(world.verifier, LATER)
    assert contents(world) == live


def visits_of(rows: list[str]) -> set[str]:
    return {row[1:].partition(",")[0] for row in rows}


def test_a_database_that_ends_a_session_is_said_as_such(world: World, live: dict[str, list[str]]) -> None:
    ended = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sitewatch replay'"

    def report(part: str, done: int, total: int) -> None:
        world.connection.execute(ended)

    with crew.together(world.database, 2, Log()) as hands, pytest.raises(psycopg.OperationalError):
        rebuild(world.verifier, LATER, report=report, hands=hands)


def end(connection: Connection, chunk: int) -> None:
    os._exit(3)


def count_up(connection: Connection, chunk: int) -> int:
    """Reads, waits and writes: without another try, one of two that meet fails."""
    with connection.transaction():
        (count,) = connection.execute("select count from counter").fetchone() or (0,)
        time.sleep(0.01)
        connection.execute("update counter set count = %s", [count + 1])
    return chunk


def test_who_loses_a_race_for_a_row_tries_again_and_who_dies_is_missed(world: World) -> None:
    world.connection.execute("create table counter as select 0 as count")
    with crew.together(world.database, 2, Log()) as hands:
        assert sorted(hands(count_up, range(1, 21))) == list(range(1, 21))
        assert world.one("select count from counter") == 20
        with pytest.raises(ChildProcessError):
            list(hands(end, repeat(1, 4)))


@pytest.mark.parametrize("key", [verify.WRITERS, replay.TELLING])
def test_a_replay_waits_for_its_turn(world: World, live: dict[str, list[str]], key: int) -> None:
    break_it(world)
    before = world.one("select count(*) from changes")
    with psycopg.connect(world.database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [key])
        running = threading.Thread(target=rebuild, args=(world.verifier, LATER))
        running.start()
        until(lambda: world.one("select count(*) from pg_locks where locktype = 'advisory' and not granted") == 1)
        assert world.one("select count(*) from changes") == before
    running.join(WAIT_S)
    assert world.one("select count(*) from changes") > before
    assert contents(world) == live
