"""A fleet's day through the real programs, while each of them is killed: nothing is lost, nothing counts twice, nobody is wronged.

The judge is the simulator: its phones' ledgers for what must be stored, its truth for what may be said of a visit. What is asked of
single verdicts here is what no evidence can excuse; how accurate they are on the whole is for `tests/engine` and `bench/`.
"""

import asyncio
import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from math import cos, radians
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from shapely.affinity import scale
from shapely.geometry import shape

import device_sim
from device_sim import Day, Options, Show
from device_sim.fleet import Summary
from sitewatch import broker
from tests import missing
from tests.up.house import House, until

SEED = 11
OPTIONS = Options(workers=8, city="beijing", day="2026-11-20", trouble=0.4, interval_s=10)
KILLED = ("ingest", "PostgreSQL", "verify", "ingest", "api", "verify")
ABSENT = ("no_show", "next_door", "wrong_site", "spoofer")
SETTLE_S = 60.0
METRES_A_DEGREE = 111_320.0


class Played:
    """A day that has been played to a house of its own while parts of it were killed."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.day: Day = device_sim.day(SEED, OPTIONS)
        self.summary: Summary | None = None
        self.killed: list[str] = []

    def play(self) -> None:
        thread = threading.Thread(target=self._send, name="fleet")
        thread.start()
        until(lambda: self.count("select count(*) from fixes") > 0, why=lambda: self.house.console)
        for part in KILLED:
            self._kill(part, thread)
        thread.join(180)
        assert self.summary is not None, f"the fleet did not finish: {self.house.console}"

    def _send(self) -> None:
        ready = self.house.ready
        show = Show(at_once=True, give_up_s=120.0)
        http, mqtt = cast(str, ready["http"]), cast(str, ready["mqtt"])
        self.summary = asyncio.run(device_sim.run(http=http, mqtt=mqtt, seed=SEED, options=OPTIONS, show=show))

    def _kill(self, part: str, thread: threading.Thread) -> None:
        """Kills it, notes whether there was work in flight, and waits until it is back."""
        before = self.house.console.count(f"{part} is back")
        if thread.is_alive() or self.count("select count(*) from due") > 0:
            self.killed.append(part)
        os.kill(self.house.pid_of(part), signal.SIGKILL)
        until(lambda: self.house.console.count(f"{part} is back") > before, why=lambda: self.house.console)

    def count(self, statement: str) -> int:
        """The number that a query answers; waits for a database that is on its way back."""
        while True:
            try:
                [(count,)] = self.query(statement)
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return int(count)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(cast(str, self.house.ready["database"])) as connection:
            return connection.execute(statement.encode()).fetchall()

    @cached_property
    def outcomes(self) -> dict[str, dict[str, Any]]:
        """By visit, as HTTP tells them, once no verdict is pending and nothing waits to be judged."""
        until(
            lambda: self.query("select count(*) from due") == [(0,)], SETTLE_S, lambda: str(self.query("select * from due limit 5"))
        )
        visits = {truth.visit: self.get(f"/v1/visits/{truth.visit}")["outcome"] for truth in self.day.truth}
        assert not [visit for visit, outcome in visits.items() if outcome["verdict"] == "pending"]
        return visits

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.house.ready['http']}{path}", timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    if broker.find_mosquitto() is None:
        missing.skip("mosquitto", "apt-get install mosquitto, or brew install mosquitto")
    house = House(tmp_path_factory.mktemp("day")).wait_ready()
    try:
        run = Played(house)
        run.play()
        yield run
    finally:
        house.stop()
        house.close()


def test_the_kills_landed_while_work_was_in_flight(played: Played) -> None:
    assert {"ingest", "PostgreSQL"} <= set(played.killed), played.killed


def test_every_phone_got_its_receipts_and_they_are_true(played: Played) -> None:
    assert played.summary is not None
    assert played.summary.unconfirmed == 0
    owed = {(report.source, report.epoch, report.seq) for feed in played.day.feeds for report in feed.reports() if report.seq}
    assert len(owed) > 5_000
    tables = ("fixes", "checks", "statuses")
    union = " union all ".join(f"select source, epoch, seq from {table} where seq is not null" for table in tables)
    stored = Counter(cast(list[tuple[str, int, int]], played.query(union)))
    assert owed - set(stored) == set()
    assert [key for key, times in stored.items() if times > 1] == []
    assert played.query("select count(*) from rejects") == [(0,)]


def test_nobody_is_verified_where_she_was_not(played: Played) -> None:
    outcomes = played.outcomes
    absent = [truth for truth in played.day.truth if truth.behaviour in ABSENT]
    assert len(absent) >= 5
    assert [truth.visit for truth in absent if outcomes[truth.visit]["verdict"] == "verified"] == []


def test_nobody_who_served_is_contradicted(played: Played) -> None:
    outcomes = played.outcomes
    served = [truth for truth in played.day.truth if truth.on_site_s >= 0.5 * (truth.ends_at - truth.starts_at)]
    assert len(served) >= 20
    assert [truth.visit for truth in served if outcomes[truth.visit]["verdict"] == "contradicted"] == []


def test_most_of_the_visits_that_went_as_planned_and_were_seen_are_verified(played: Played) -> None:
    """Flats are left out: positions cannot tell which of two homes on one ground she was in, and not every home has devices."""
    outcomes = played.outcomes
    flats = sharing_ground(played.get("/v1/sites?limit=500")["features"])
    planned = [truth for truth in played.day.truth if truth.behaviour == "on_time" and truth.coverage > 0.97]
    seen = [truth for truth in planned if truth.site not in flats]
    verified = [truth.visit for truth in seen if outcomes[truth.visit]["verdict"] == "verified"]
    others = {truth.visit: outcomes[truth.visit]["explanation"]["en"] for truth in seen if truth.visit not in verified}
    assert len(seen) >= 20
    assert len(verified) >= 0.9 * len(seen), (len(verified), len(seen), len(planned), others)


def sharing_ground(features: list[dict[str, Any]]) -> set[str]:
    """The sites whose fence overlaps that of another."""
    grounds = {}
    for feature in features:
        ground = shape(feature["geometry"])
        east, north = METRES_A_DEGREE * cos(radians(ground.centroid.y)), METRES_A_DEGREE
        ground = scale(ground, east, north, origin=(0, 0))
        grounds[feature["id"]] = ground.buffer(feature["properties"].get("radius_m") or 0.0)
    return {one for one in grounds for other in grounds if one != other and grounds[one].intersects(grounds[other])}


def test_seconds_that_were_seen_and_gaps_make_up_the_whole(played: Played) -> None:
    gaps = dict(played.query("select visit, sum(extract(epoch from end_at - start_at))::float8 from gaps group by visit"))
    assert gaps
    for visit, outcome in played.outcomes.items():
        assert outcome["monitored_s"] + gaps.get(visit, 0.0) == pytest.approx(outcome["expected_s"], abs=0.01), visit


def test_a_day_at_once_is_the_same_day_in_coverage(played: Played) -> None:
    """What a report of the day adds up is what its visits say."""
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (played.day.starts_at, played.day.ends_at))
    report = played.get(f"/v1/coverage?from={first}&to={last}&by=site")
    outcomes = played.outcomes.values()
    assert report["target"] == 0.95
    assert report["total"]["monitored_s"] == pytest.approx(sum(outcome["monitored_s"] for outcome in outcomes), abs=1)
    assert report["total"]["expected_s"] == pytest.approx(sum(outcome["expected_s"] for outcome in outcomes), abs=1)


def test_the_log_of_no_program_shows_a_mistake_of_ours(played: Played) -> None:
    for log in Path(played.house.data / "log").glob("*.log"):
        if log.name not in ("postgresql.log", "broker.log"):
            assert "Traceback" not in log.read_text(), log
