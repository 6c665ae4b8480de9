"""A day with everything going wrong is the same day: what is stored and what is judged does not know what happened on the way."""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import psycopg
import pytest

from api.plans import _read as read_plans
from sitewatch import postgres, replay
from store import plans, rebuilding
from tests import fix_database
from tests.sim.world import KINDS, Plan, World, make_day

SEEDS = [int(seed) for seed in os.environ.get("SITEWATCH_SIM_SEEDS", "1").split()]
"""More of them: `SITEWATCH_SIM_SEEDS="$(seq -s' ' 40)" uv run pytest tests/sim`."""
TICKS = 160
SHARE = 0.3
JUDGED = ("outcomes", "gaps", "presence", "coverage", "alerts")
"""What is derived and says nothing of when reports came. Positions and device states do, and differ between two runs."""


class Run:
    """A finished world and what its database holds."""

    def __init__(self, database: str, world: World) -> None:
        self.world = world
        self.connection = psycopg.connect(database, autocommit=True)

    def judged(self) -> dict[str, list[str]]:
        return {table: list(rows) for table, rows in rebuilding.contents(self.connection) if table in JUDGED}

    def verdicts(self) -> dict[str, str]:
        return dict(self.connection.execute("select visit, verdict from outcomes").fetchall())


@pytest.fixture(scope="module", params=SEEDS)
def runs(request: pytest.FixtureRequest, plain_postgres: postgres.Cluster) -> Iterator[tuple[Run, Run]]:
    """The same day without a fault and with many."""
    seed = request.param
    day = make_day(seed, print)
    plan = Plan.draw(seed, TICKS, SHARE)
    print(plan)  # noqa: T201 (shown when the test fails, to run it again)
    clones = [fix_database._clone(plain_postgres) for _ in range(2)]
    finished = []
    for clone, faults in zip(clones, (Plan(seed, {}), plan), strict=True):
        database = next(clone)
        _put(database, day.plans())
        world = World(database, day, faults)
        world.play()
        world.close()
        finished.append(Run(database, world))
    yield finished[0], finished[1]
    for run, clone in zip(finished, clones, strict=True):
        run.connection.close()
        next(clone, None)


def _put(database: str, body: dict[str, Any]) -> None:
    """As POST /v1/plans does it."""

    async def put() -> None:
        async with await psycopg.AsyncConnection.connect(database) as connection:
            await plans.put(connection, read_plans(msgspec.json.encode(body)))

    asyncio.run(put())


def test_every_kind_of_fault_landed_while_work_was_in_flight(runs: tuple[Run, Run]) -> None:
    calm, rough = runs
    assert calm.world.landed == Counter()
    assert [kind for kind in KINDS if rough.world.landed[kind] == 0] == []


def test_every_report_is_stored_exactly_once(runs: tuple[Run, Run]) -> None:
    for run in runs:
        owed = {(one.source, one.epoch, one.seq) for feed in run.world.day.feeds for one in feed.reports() if one.seq}
        tables = ("fixes", "checks", "statuses")
        union = " union all ".join(f"select source, epoch, seq from {table} where seq is not null" for table in tables)
        stored = Counter(cast(list[tuple[str, int, int]], run.connection.execute(union.encode()).fetchall()))
        assert owed == set(stored)
        assert set(stored.values()) == {1}


def test_what_is_judged_does_not_know_what_went_wrong_on_the_way(runs: tuple[Run, Run]) -> None:
    calm, rough = (run.judged() for run in runs)
    for table in JUDGED:
        differing = [pair for pair in itertools.zip_longest(calm[table], rough[table]) if pair[0] != pair[1]]
        assert differing == [], table
    assert len(calm["outcomes"]) > 20


def test_a_replay_is_equal_to_the_byte(runs: tuple[Run, Run]) -> None:
    for run in runs:
        before = replay.digest(run.connection)
        replay.rebuild(run.connection, run.world.now)
        assert replay.digest(run.connection) == before


def test_the_truth_is_not_contradicted(runs: tuple[Run, Run]) -> None:
    verdicts = runs[1].verdicts()
    for truth in runs[1].world.day.truth:
        if truth.behaviour in ("no_show", "next_door", "wrong_site", "spoofer"):
            assert verdicts[truth.visit] != "verified", truth
        if truth.on_site_s >= 0.5 * (truth.ends_at - truth.starts_at):
            assert verdicts[truth.visit] != "contradicted", truth
