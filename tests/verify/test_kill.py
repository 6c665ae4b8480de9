"""verify may die at any moment, and others may write at any moment: in effect, everything was done once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg

from sitewatch import verify
from sitewatch.replay import rebuild
from store import evidence
from tests.verify.test_replay import contents
from tests.verify.world import AT_ONCE, NINE, TEN, World, event, served, stay

LATER = TEN + 7200


class DiedError(Exception):
    """The process ended here."""


class Mortal(psycopg.Connection[Any]):
    """A connection whose process dies before its n-th statement."""

    left = 10**9

    def execute(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            self.close()
            raise DiedError
        return super().execute(*arguments, **options)


def test_dying_before_any_statement_changes_nothing_in_the_end(world: World) -> None:
    """One day, once without a fault, and then again with a death before every statement that a cycle makes."""
    _plan(world)
    bites = [served("anna", 0)[:200], [event("lock-1", "sos", NINE), *served("bert", 70)], served("anna", 0)]
    statements = 0
    for n, bite in enumerate(bites):
        world.send(bite)
        if n == 1:
            world.visit("v3", "bert", "s70", TEN + 3600, TEN + 7200)
        left = 0
        while True:
            mortal = Mortal.connect(world.database)
            verify.prepared(mortal)
            mortal.left = left
            try:
                verify.cycle(mortal, LATER, AT_ONCE)
                break
            except DiedError:
                left += 1
            finally:
                mortal.close()
        statements += left
    assert statements > 60, "a death that never came proves nothing"
    world.verify(LATER)
    live = contents(world)
    assert world.rows("select visit, count(*) from outcome_history group by 1 having count(*) > 3") == []
    rebuild(world.verifier, LATER)
    assert contents(world) == live
    assert world.verdict("v1") == "verified"


def test_kill_9_of_a_verify_at_work_with_two_ingestors(world: World) -> None:
    draw = random.Random(9)
    _plan(world)
    starts = int(time.time()) - 9 * 3600
    for n in range(12):
        world.visit(f"w{n}", "anna" if n % 2 else "bert", "s0" if n % 2 else "s70", starts + n * 1800, starts + n * 1800 + 1700)
    reports = [*stay("anna", 0, starts, starts + 6 * 3600), *stay("bert", 70, starts, starts + 6 * 3600)]
    draw.shuffle(reports)
    halves = reports[: len(reports) // 2], reports[len(reports) // 2 :]
    ingestors = [threading.Thread(target=_ingest, args=(world.database, half, seed)) for seed, half in enumerate(halves)]
    for ingestor in ingestors:
        ingestor.start()
    kills = 0
    while any(ingestor.is_alive() for ingestor in ingestors):
        victim = _start(world.database)
        time.sleep(draw.uniform(0.8, 2.5))
        victim.kill()
        victim.wait()
        kills += 1
    assert kills >= 2
    began = time.time()
    survivor = _start(world.database)
    try:
        up = "select started_at > to_timestamp(%s) from programs where name = 'verify'"
        _until(lambda: world.one(up, [began]) and _settled(world))
    finally:
        survivor.send_signal(signal.SIGTERM)
        assert survivor.wait(5) == 0
    now = time.time()
    world.verify(now)
    live = contents(world)
    assert sum(row[0] for row in world.rows("select (outcome #>> '{evidence,fixes}')::int from outcomes")) > len(reports)
    rebuild(world.verifier, now)
    assert contents(world) == live


def test_a_second_verify_stands_by_and_takes_over(world: World) -> None:
    _plan(world)
    first, second = _start(world.database), None
    try:
        _until(lambda: world.one("select count(*) from programs where name = 'verify'") == 1)
        second = _start(world.database)
        time.sleep(1.0)
        holders = "select count(distinct pid) from pg_locks where locktype = 'advisory' and objid = %s and granted"
        assert world.one(holders, [verify.ACTIVE]) == 1
        first.kill()
        first.wait()
        world.send(served("anna", 0))
        _until(lambda: world.one("select verdict from outcomes where visit = 'v1'") == "verified")
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait()


def _plan(world: World) -> None:
    world.worker("anna"), world.worker("bert")
    world.visit("v1", "anna", world.site(0)), world.visit("v2", "bert", world.site(70))
    world.device("lock-1", "s0")


def _ingest(database: str, reports: list[Any], seed: int) -> None:
    """Commits small batches with pauses, now and then with the transaction left open for a while."""
    draw = random.Random(seed)
    with psycopg.connect(database, autocommit=True) as connection:
        evidence.prepare(connection)
        while reports:
            with connection.transaction():
                evidence.write(connection, reports[:40])
                del reports[:40]
                time.sleep(draw.choice([0.0, 0.05, 0.6]))
            time.sleep(draw.uniform(0.0, 0.2))


def _start(database: str) -> subprocess.Popen[bytes]:
    program = f"from sitewatch import verify; verify.run({database!r})"
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})


def _settled(world: World) -> bool:
    waiting = "select count(*) from due"
    behind = """
    select count(*) from journal, (select snapshot from cursors where name = 'verify') as cursor
    where not pg_visible_in_snapshot(xid, cursor.snapshot)
    """
    return world.one(waiting) == 0 and world.one(behind) == 0


def _until(true: Any, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
