"""What the live view costs: many workers who report every 10 s, and verify's own cycle, in time that the benchmark makes.

    python -m bench.live [--workers 1000 10000] [--seconds 60] [--every 10] [--motion 60] [--still 0.2]

For each number of workers, on an embedded server: plans and the evidence of the last two hours are stored, and every visit is given
the outcome that the truth says, which is what verify would have come to by now. Then the fleet reports through ingest's own COPY
writer and verify looks four times a second, for so many seconds of its own time: a busy machine takes longer, and counts the same.
Counted is the processor time of verify and of its database session, as shares of one core, beside what it costs in the same run to
store the same fixes (writer and its session together); and what verify remembers, in bytes per worker.

The fleet serves visits of two hours with half an hour on the way between two homes, so that everybody has a running visit or is on
the way to one, and at each moment some arrive and some leave. The first seconds (`SETTLE_S`) are not counted.
"""

import argparse
import asyncio
import contextlib
import cProfile
import pickle
import pstats
import time
import tracemalloc
from datetime import UTC, datetime
from unittest import mock

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import AsyncConnection

from bench.fleet import server, server_cpu_s
from geofence.evidence import DeviceEvent, Fix
from geofence.outcome import Moment, Outcome, Presence, Seconds, Sentence, Span, Tally
from geofence.plan import Scene
from sitewatch import judging, postgres, verify
from sitewatch.memory import Memory
from sitewatch.verify_settings import Settings
from store import evidence, migrate, plans, touched
from store.plans import DevicePlan, Plans, SitePlan, VisitPlan, WorkerPlan

SERVED_S, ROUND_S = 7200.0, 9000.0
"""A visit, and a visit with the way to the next one."""
PAST_S = 7200.0
ACCURACY_M = 12.0
NOISE_DEG = 7e-5
STILL_DEG = 2e-6
CYCLES_A_SECOND = 4
BEAT_S = 2.0
LATE_S = 0.3
SETTLE_S = 30.0
STEADY_S = 300.0
"""Looks are spread over this, as they are after a while."""
WAS: tuple[Presence, ...] = ("off", "on", "off")
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two fixes of one phone")
    parser.add_argument(
        "--motion", type=float, help="seconds between two events of a home's motion sensor; without it homes have none"
    )
    parser.add_argument(
        "--still", type=float, default=0.0, help="share of phones that tremble by less than 1.5 m, as some do indoors"
    )
    parser.add_argument("--profile", action="store_true", help="also print where verify's time goes")
    options = parser.parse_args()
    with server() as cluster:
        for workers in options.workers:
            database = postgres.create_database(cluster, f"live_{workers}")
            migrate.apply(database)
            measure(database, Fleet(workers, options.every, options.motion, options.still), options.seconds, options.profile)


def measure(database: str, fleet: "Fleet", seconds: float, profile: bool) -> None:
    """Prints what one fleet costs."""
    rate = fleet.workers / fleet.every_s
    print(f"\n{fleet.workers} workers, a fix every {fleet.every_s:g} s: {rate:.0f} fixes a second", flush=True)
    began = float(int(time.time()))
    fleet.plan(database, began)
    stored = fleet.store_past(database, began)
    with psycopg.connect(database, autocommit=True) as writer, verify.prepared(psycopg.connect(database)) as connection:
        evidence.prepare(writer)
        watch = Watch(connection, Feed(fleet, writer, began), began)
        with mock.patch.object(judging, "judge_all", lambda asked: [fleet.outcome(one.scene, one.now) for one in asked]):
            judged = watch.catch_up()
        connection.execute(SPREAD, {"within_s": STEADY_S, "now": began})
        print(f"  {stored} fixes of the past and {judged} visits are known after {time.time() - began:.0f} s", flush=True)
        watch.run(SETTLE_S)
        _count(watch, seconds, profile)


def _count(watch: "Watch", seconds: float, profile: bool) -> None:
    before = watch.spent()
    profiler = cProfile.Profile(time.process_time) if profile else None
    watch.run(seconds, profiler)
    spent = [after - before for before, after in zip(before, watch.spent(), strict=True)]
    own, session, storing = spent[:3]
    judged, written, looks = (round(count) for count in spent[3:])
    each_us = 1e6 / max(written, 1)
    print(f"  {written / seconds:.0f} fixes/s written, {judged / seconds:.1f} visits judged a second in {looks} cycles")
    print(
        f"  verify {own / seconds:.1%} + its PostgreSQL session {session / seconds:.1%} = {(own + session) / seconds:.1%} of a core"
    )
    print(
        f"  {own * each_us:.0f} + {session * each_us:.0f} us a fix, {(own + session) / storing:.2f} x storing it "
        f"({storing * each_us:.0f} us)"
    )
    took = sorted(watch.took_s)
    print(f"  a cycle took {took[len(took) // 2]:.3f} s by the clock (median), p99 {took[int(len(took) * 0.99)]:.3f} s")
    print(f"  {_bytes(watch.memory) / watch.fleet.workers / 1024:.2f} KB remembered a worker", flush=True)
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)


def _bytes(memory: Memory) -> int:
    """What a memory takes, by making another one of the same content."""
    packed = pickle.dumps(memory)
    tracemalloc.start()
    again = pickle.loads(packed)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(again.visits) == len(memory.visits)
    return size


class Watch:
    """verify at work, as `verify.run` does it, on a clock that is moved from look to look."""

    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]", feed: "Feed", now: float) -> None:
        self.fleet = feed.fleet
        self.memory = Memory()
        self.took_s: list[float] = []
        self._connection = connection
        self._feed = feed
        self._now = now
        self._settings = Settings()
        self._counts = verify.Counts(now)
        self._cpu_s = 0.0
        self._beat_at = now

    def catch_up(self) -> int:
        """Judges all that is open; returns how many visits that were."""
        touched.queue_open(self._connection, self._now)
        while (done := verify.cycle(self._connection, self._now, self._settings, self.memory)).entries or done.judged:
            self._counts.add(done, 0.0, self._now)
        return self._counts.judged_total

    def run(self, seconds: float, profiler: "cProfile.Profile | None" = None) -> None:
        """So many seconds, each with its looks. What more is due than one look takes is taken at once."""
        self.took_s.clear()
        for _ in range(round(seconds * CYCLES_A_SECOND)):
            self._now += 1.0 / CYCLES_A_SECOND
            self._feed.write(self._now)
            began, clock = time.process_time(), time.perf_counter()
            with profiler or contextlib.nullcontext():
                self._look()
            self._cpu_s += time.process_time() - began
            self.took_s.append(time.perf_counter() - clock)

    def _look(self) -> None:
        more = True
        while more:
            done = verify.cycle(self._connection, self._now, self._settings, self.memory)
            self._counts.add(done, 0.0, self._now)
            more = done.more
        if self._now >= self._beat_at:
            self._beat_at = self._now + self._settings.beat_s
            verify._beat(self._connection, self._counts)

    def spent(self) -> tuple[float, ...]:
        """So far: processor time of verify, of its session, and of storing; visits judged, fixes written, and cycles."""
        counts = self._counts
        own = (self._cpu_s, server_cpu_s(self._connection), self._feed.spent())
        return (*own, counts.judged_total, self._feed.written, counts.cycles_total)


class Fleet:
    """Where everybody is at any time, and what was planned."""

    def __init__(self, workers: int, every_s: float, motion_s: float | None = None, still: float = 0.0) -> None:
        self.workers = workers
        self.every_s = every_s
        self.motion_s = motion_s
        draw = np.random.default_rng(workers)
        self._phase = draw.uniform(0.0, ROUND_S, workers)
        self._lon = 116.0 + draw.uniform(0.0, 1.0, workers)
        self._lat = 39.5 + draw.uniform(0.0, 1.0, workers)
        self._noise = np.random.default_rng(1)
        self._noise_deg = np.where(np.arange(workers) < still * workers, STILL_DEG, NOISE_DEG)

    def positions(self, workers: NDArray[np.int64], at: Floats) -> tuple[Floats, Floats]:
        """Degrees of each worker at each time, with the error of the fix."""
        rounds, served = np.divmod(at - self._phase[workers], ROUND_S)
        way = np.clip((served - SERVED_S) / (ROUND_S - SERVED_S), 0.0, 1.0)
        second = rounds % 2
        share = second + (1.0 - 2.0 * second) * way
        noise = self._noise.normal(0.0, 1.0, (2, len(at))) * self._noise_deg[workers]
        return self._lon[workers] + 0.02 * share + noise[0], self._lat[workers] + noise[1]

    def outcome(self, scene: Scene, now: float) -> Outcome:
        """What a look would say by now, near enough: there or not, and since when."""
        visit = scene.visit
        there = visit.starts_at <= now < visit.ends_at
        marks = [visit.starts_at - 1800.0, visit.starts_at, visit.ends_at, visit.ends_at + 1800.0]
        spans = [Span(start=a, end=min(b, now), state=state) for a, b, state in zip(marks, marks[1:], WAS, strict=False) if a < now]
        return Outcome(
            verdict="pending",
            findings=(),
            arrived_at=Moment(best=visit.starts_at, earliest=None, latest=None) if there else None,
            left_at=None,
            on_site_s=Seconds(best=0.0, lower=0.0, upper=0.0),
            coverage=None,
            monitored_s=0.0,
            expected_s=0.0,
            gaps=(),
            presence=tuple(spans),
            evidence=Tally(fixes=0, checks=0, device_events=0, statuses=0, flags={}),
            explanation=Sentence(en="", zh=""),
            engine="",
            policy=0,
        )

    def plan(self, database: str, now: float) -> None:
        """Two homes a worker, every second one drawn as a building, and the visits around now."""
        sites = [self._site(n, second) for n in range(self.workers) for second in (0, 1)]
        people = [WorkerPlan(id=_worker(n), name=_worker(n), aliases={}, properties={}) for n in range(self.workers)]
        visits = [visit for n in range(self.workers) for visit in self._visits(n, now)]
        devices = [
            DevicePlan(id=site.id, site=site.id, kind="motion", dialect="native", address=None, name=None, properties={})
            for site in sites
            if self.motion_s is not None
        ]

        async def put() -> None:
            async with await AsyncConnection.connect(database) as connection:
                await plans.put(connection, Plans(sites=sites, workers=people, devices=devices, visits=visits))

        asyncio.run(put())

    def moved(self, since: float, until: float) -> list[DeviceEvent]:
        """What the motion sensors of the homes said, where the workers are."""
        if self.motion_s is None:
            return []
        phase = np.arange(self.workers) * (self.motion_s / self.workers)
        at = phase + self.motion_s * np.floor((until - phase) / self.motion_s)
        said = np.flatnonzero(at > since)
        rounds = (at - self._phase) // ROUND_S % 2
        return [
            DeviceEvent(source=f"s-{n}-{rounds[n]:.0f}", at=at[n], received_at=until, identity=int(at[n] * 1000), kind="motion")
            for n in said.tolist()
        ]

    def _visits(self, n: int, now: float) -> list[VisitPlan]:
        current = int((now - self._phase[n]) // ROUND_S)
        starts = [(k, float(self._phase[n] + k * ROUND_S)) for k in (current - 1, current, current + 1)]
        return [
            VisitPlan(
                id=f"v-{n}-{k}",
                worker=_worker(n),
                site=f"s-{n}-{k % 2}",
                service="clean",
                starts_at=datetime.fromtimestamp(start, UTC),
                ends_at=datetime.fromtimestamp(start + SERVED_S, UTC),
                properties={},
            )
            for k, start in starts
        ]

    def _site(self, n: int, second: int) -> SitePlan:
        lon, lat = float(self._lon[n]) + 0.02 * second, float(self._lat[n])
        west, south, east, north = lon - 2e-4, lat - 1.2e-4, lon + 2e-4, lat + 1.2e-4
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        house = {"type": "Polygon", "coordinates": [ring]}
        return SitePlan(
            id=f"s-{n}-{second}",
            name=f"s-{n}-{second}",
            customer=None,
            timezone="Asia/Shanghai",
            geometry=house if n % 2 else {"type": "Point", "coordinates": [lon, lat]},
            radius_m=None if n % 2 else 40.0,
            properties={},
            min_lon=lon - 5e-4,
            min_lat=lat - 4e-4,
            max_lon=lon + 5e-4,
            max_lat=lat + 4e-4,
        )

    def store_past(self, database: str, now: float) -> int:
        """Fixes of the past straight into the table, and a word of it in the journal."""
        count = int(PAST_S // self.every_s)
        with psycopg.connect(database) as connection:
            for first in range(0, self.workers, 500):
                workers = np.repeat(np.arange(first, min(first + 500, self.workers)), count)
                slot = np.tile(np.arange(count), len(workers) // count)
                at = np.round(now - PAST_S + slot * self.every_s + workers % self.every_s - self.every_s, 3)
                with connection.cursor().copy(COPY_PAST) as copy:
                    copy.write(_binary(workers, at, *self.positions(workers, at)))
                names = [_worker(n) for n in np.unique(workers).tolist()]
                spans = {"sources": names, "from_at": now - PAST_S - self.every_s, "to_at": now}
                connection.execute(JOURNAL_PAST, spans)
                connection.commit()
            connection.autocommit = True
            connection.execute("vacuum analyze")
        return count * self.workers


COPY_PAST = "copy fixes (source, at, identity, received_at, lon, lat, accuracy_m) from stdin (format binary)"
JOURNAL_PAST = """
insert into journal (sources, from_at, to_at)
select array_agg(source), array_agg(to_timestamp(%(from_at)s)), array_agg(to_timestamp(%(to_at)s))
from unnest(%(sources)s::text[]) as named (source)
"""
_ROW = np.dtype(
    [("fields", ">i2")]
    + [(f"{name}{part}", kind) for name, *parts in (
        ("source", ">i4", "S7"), ("at", ">i4", ">i8"), ("identity", ">i4", ">i8"), ("received", ">i4", ">i8"),
        ("lon", ">i4", ">f8"), ("lat", ">i4", ">f8"), ("accuracy", ">i4", ">f4"),
    ) for part, kind in zip(("_bytes", ""), parts, strict=True)]
)  # fmt: skip


def _binary(workers: NDArray[np.int64], at: Floats, lon: Floats, lat: Floats) -> bytes:
    rows = np.zeros(len(at), dtype=_ROW)
    rows["fields"] = 7
    for name, width in (("source", 7), ("at", 8), ("identity", 8), ("received", 8), ("lon", 8), ("lat", 8), ("accuracy", 4)):
        rows[f"{name}_bytes"] = width
    rows["source"] = np.char.mod("w-%05d", workers).astype("S7")
    rows["at"] = np.round((at - evidence.POSTGRES_EPOCH_S) * 1e6).astype(np.int64)
    rows["received"] = rows["at"] + int(LATE_S * 1e6)
    rows["identity"] = rows["at"]
    rows["lon"], rows["lat"], rows["accuracy"] = lon, lat, ACCURACY_M
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


def _worker(n: int) -> str:
    return f"w-{n:05d}"


class Feed:
    """The fleet's phones: everybody reports once in `every_s`, spread evenly, and ingest's writer stores it."""

    def __init__(self, fleet: Fleet, writer: "psycopg.Connection[tuple[object, ...]]", since: float) -> None:
        self.fleet = fleet
        self.written = 0
        self._writer = writer
        self._through = since - LATE_S
        self._cpu_s = 0.0

    def write(self, now: float) -> None:
        """Stores what was said since the last time."""
        moved = self.fleet.moved(self._through, now - LATE_S)
        fixes = self._due(now - LATE_S, now)
        began = time.process_time()
        with self._writer.transaction():
            evidence.write(self._writer, [*fixes, *moved])
        self._cpu_s += time.process_time() - began
        self.written += len(fixes)

    def spent(self) -> float:
        """Processor time of storing so far, writer and server."""
        return self._cpu_s + server_cpu_s(self._writer)

    def _due(self, until: float, now: float) -> list[Fix]:
        """The fixes that were made since the last time: worker n reports at n mod `every_s`."""
        every_s, workers = self.fleet.every_s, np.arange(self.fleet.workers)
        offset = workers * (every_s / self.fleet.workers)
        last = offset + every_s * np.floor((until - offset) / every_s)
        due = workers[last > self._through]
        at = np.round(last[due], 3)
        self._through = until
        lon, lat = self.fleet.positions(due, at)
        return [
            Fix(source=_worker(n), at=t, received_at=round(now, 3), identity=int(t * 1000), lon=x, lat=y, accuracy_m=ACCURACY_M)
            for n, t, x, y in zip(due.tolist(), at.tolist(), lon.tolist(), lat.tolist(), strict=True)
        ]


SPREAD = """
update outcomes set look_at = to_timestamp(%(now)s + %(within_s)s * random())
where look_at > to_timestamp(%(now)s) and look_at < to_timestamp(%(now)s + %(within_s)s + 1)
"""


if __name__ == "__main__":
    main()
