"""What the live view costs: many workers who report every 10 s, verify as its user runs it, in real time.

    python -m bench.live [--workers 1000 10000] [--seconds 60] [--every 10]

For each number of workers, on an embedded server: plans and the evidence of the last two hours are stored, verify is started, and
started again once it has judged them all; then the fleet reports through ingest's own COPY writer. Counted is the processor time of
verify and of its database session, as shares of one core, beside what it costs in the same run to store the same fixes (writer and
its session together), and from the resident memory at two sizes the bytes per live worker.

The fleet serves visits of two hours with half an hour on the way between two homes, so that everybody has a running visit or is on
the way to one, and at each moment some arrive and some leave.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import AsyncConnection

from geofence.evidence import Fix
from sitewatch import postgres
from sitewatch.verify import writing
from store import evidence, migrate, plans
from store.plans import DevicePlan, Plans, SitePlan, VisitPlan, WorkerPlan

SERVED_S, ROUND_S = 7200.0, 9000.0
"""A visit, and a visit with the way to the next one."""
PAST_S = 7200.0
ACCURACY_M = 12.0
NOISE_DEG = 7e-5
WRITES_A_SECOND = 5
LATE_S = 0.3
STEADY_S = 300.0
"""Looks that are this far away came from one catching up: they are spread, as they are after a while."""
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two fixes of one phone")
    parser.add_argument("--plain", action="store_true", help="without TimescaleDB, also where it is installed")
    options = parser.parse_args()
    resident: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = postgres.Settings(timescaledb="none") if options.plain else None
        cluster = postgres.prepare(Path(folder) / "postgres", settings, durable=False)
        with postgres.running(cluster):
            for workers in options.workers:
                database = postgres.create_database(cluster, f"live_{workers}")
                migrate.apply(database)
                resident[workers] = measure(database, Fleet(workers, options.every), options.seconds)
    few, many = min(resident), max(resident)
    if few != many:
        print(f"\nmemory: {1024 * (resident[many] - resident[few]) / (many - few):.2f} KB of verify per live worker")


def measure(database: str, fleet: "Fleet", seconds: float) -> float:
    """Prints what one fleet costs; returns verify's resident memory in MB at the end."""
    print(
        f"\n{fleet.workers} workers, a fix every {fleet.every_s:g} s: {fleet.workers / fleet.every_s:.0f} fixes a second",
        flush=True,
    )
    began = time.time()
    fleet.plan(database, began)
    stored = fleet.store_past(database, began)
    print(f"  stored {stored} fixes of the past in {time.time() - began:.0f} s", flush=True)
    with psycopg.connect(database, autocommit=True) as writer:
        evidence.prepare(writer)
        feed = Feed(fleet, writer, began)
        with Verify(database) as verify:
            _caught_up("everything is judged", verify, feed)
        # A new process, so that its memory is that of the fleet at work and not that of a past judged at once.
        with Verify(database) as verify:
            _caught_up("a restart has caught up", verify, feed)
            return _live(database, verify, feed, seconds)


def _caught_up(what: str, verify: "Verify", feed: "Feed") -> None:
    took_s = verify.catch_up(feed)
    print(
        f"  {what} after {took_s:.0f} s: {verify.cpu_s():.1f} s of verify, {verify.server_cpu_s():.1f} s of its session", flush=True
    )


def _live(database: str, verify: "Verify", feed: "Feed", seconds: float) -> float:
    verify.spread_looks()
    feed.run(5.0)
    feed.written = 0
    stream = Stream(database, feed)
    before, judged = verify.spent(), verify.judged()
    writing, began = feed.spent(), time.monotonic()
    feed.run(seconds)
    took_s = time.monotonic() - began
    stream.stop()
    own, server = (b - a for a, b in zip(before, verify.spent(), strict=True))
    state = verify.state()
    bare = feed.spent() - writing
    each_us = 1e6 / max(feed.written, 1)
    print(f"  {feed.written / took_s:.0f} fixes/s written, {(verify.judged() - judged) / took_s:.1f} visits judged a second")
    print(f"  verify {own / took_s:.1%} + its PostgreSQL session {server / took_s:.1%} = {(own + server) / took_s:.1%} of a core")
    print(
        f"  {own * each_us:.0f} + {server * each_us:.0f} us a fix, "
        f"{(own + server) / bare:.2f} x storing it ({bare * each_us:.0f} us)"
    )
    print(f"  commit to stream: {stream.shown()}; queue {state['queue_depth']}, journal {state['journal_backlog']}")
    return verify.resident_mb()


class Fleet:
    """Where everybody is at any time, and what was planned."""

    def __init__(self, workers: int, every_s: float) -> None:
        self.workers = workers
        self.every_s = every_s
        draw = np.random.default_rng(workers)
        self._phase = draw.uniform(0.0, ROUND_S, workers)
        self._lon = 116.0 + draw.uniform(0.0, 1.0, workers)
        self._lat = 39.5 + draw.uniform(0.0, 1.0, workers)
        self._noise = np.random.default_rng(1)

    def positions(self, workers: NDArray[np.int64], at: Floats) -> tuple[Floats, Floats]:
        """Degrees of each worker at each time, with the error of the fix."""
        rounds, served = np.divmod(at - self._phase[workers], ROUND_S)
        way = np.clip((served - SERVED_S) / (ROUND_S - SERVED_S), 0.0, 1.0)
        second = rounds % 2
        share = second + (1.0 - 2.0 * second) * way
        noise = self._noise.normal(0.0, NOISE_DEG, (2, len(at)))
        return self._lon[workers] + 0.02 * share + noise[0], self._lat[workers] + noise[1]

    def plan(self, database: str, now: float) -> None:
        """Two homes a worker, every second one drawn as a building, and the visits around now."""
        sites = [self._site(n, second) for n in range(self.workers) for second in (0, 1)]
        people = [WorkerPlan(id=_worker(n), name=_worker(n), aliases={}, properties={}) for n in range(self.workers)]
        visits = [visit for n in range(self.workers) for visit in self._visits(n, now)]
        devices: list[DevicePlan] = []

        async def put() -> None:
            async with await AsyncConnection.connect(database) as connection:
                await plans.put(connection, Plans(sites=sites, workers=people, devices=devices, visits=visits))

        asyncio.run(put())

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
        self._fleet = fleet
        self._writer = writer
        self._through = since
        self._cpu_s = 0.0
        self.committed_at: dict[str, float] = {}
        """When the last fix of each worker was committed, until somebody asks."""
        self.written = 0

    def run(self, seconds: float) -> None:
        """Writes in real time for so long."""
        until = time.time() + seconds
        while (now := time.time()) < until:
            fixes = self._due(now - LATE_S, now)
            began = time.process_time()
            if fixes:
                with self._writer.transaction():
                    evidence.write(self._writer, fixes)
            self._cpu_s += time.process_time() - began
            self.written += len(fixes)
            self.committed_at.update(dict.fromkeys((fix.source for fix in fixes), time.time()))
            time.sleep(max(0.0, 1.0 / WRITES_A_SECOND - (time.time() - now)))

    def _due(self, until: float, now: float) -> list[Fix]:
        """The fixes that were made since the last time: worker n reports at n mod `every_s`."""
        every_s, workers = self._fleet.every_s, np.arange(self._fleet.workers)
        offset = workers * (every_s / self._fleet.workers)
        last = offset + every_s * np.floor((until - offset) / every_s)
        due = workers[last > self._through]
        at = np.round(last[due], 3)
        self._through = until
        lon, lat = self._fleet.positions(due, at)
        return [
            Fix(source=_worker(n), at=t, received_at=round(now, 3), identity=int(t * 1000), lon=x, lat=y, accuracy_m=ACCURACY_M)
            for n, t, x, y in zip(due.tolist(), at.tolist(), lon.tolist(), lat.tolist(), strict=True)
        ]

    def spent(self) -> float:
        """Processor time of storing so far, writer and server."""
        return self._cpu_s + _cpu_s(self._writer.info.backend_pid)


class Stream:
    """Notes how long it takes from the commit of a fix to the commit of the change that the live stream reads."""

    def __init__(self, database: str, feed: Feed) -> None:
        self._database = database
        self._committed_at = feed.committed_at
        self._took_s: list[float] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def shown(self) -> str:
        took = sorted(self._took_s) or [float("nan")]
        return f"median {took[len(took) // 2]:.2f} s, p99 {took[int(len(took) * 0.99)]:.2f} s"

    def _listen(self) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute("listen sitewatch_changes")
            [(seen,)] = connection.execute("select coalesce(max(id), 0) from changes").fetchall()
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=0.5, stop_after=1):
                    pass
                for change, workers in connection.execute("select id, workers from changes where id > %s order by id", [seen]):
                    seen = change
                    told = [self._committed_at.pop(worker, None) for worker in workers]
                    self._took_s += [time.time() - at for at in told if at is not None]


class Verify:
    """verify as its user runs it: a process of its own."""

    def __init__(self, database: str) -> None:
        self._database = database

    def __enter__(self) -> "Verify":
        program = f"from sitewatch import verify; verify.run({self._database!r})"
        self._began = time.time()
        self._process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
        self._reader = psycopg.connect(self._database, autocommit=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def catch_up(self, feed: Feed) -> float:
        """Lets the fleet report until next to nothing waits to be judged."""
        began, quiet = time.monotonic(), 0
        while quiet < 2:
            feed.run(2.0)
            state = self.state()
            quiet = quiet + 1 if state and state["judged_total"] and int(str(state["queue_depth"])) < 100 else 0
            if time.monotonic() - began > 300.0:
                print("  it does not catch up")
                break
        return time.monotonic() - began

    def spread_looks(self) -> None:
        with writing(self._reader):
            self._reader.execute(SPREAD, [STEADY_S, STEADY_S])

    def state(self) -> dict[str, object]:
        own = "select state from programs where name = 'verify' and started_at >= to_timestamp(%s)"
        row = self._reader.execute(own, [self._began]).fetchone()
        return row[0] if row else {}

    def judged(self) -> int:
        time.sleep(0.1)
        return int(str(self.state()["judged_total"]))

    def spent(self) -> tuple[float, float]:
        return self.cpu_s(), self.server_cpu_s()

    def cpu_s(self) -> float:
        return _cpu_s(self._process.pid)

    def server_cpu_s(self) -> float:
        query = "select pid from pg_stat_activity where application_name = 'sitewatch verify' and datname = current_database()"
        return sum(_cpu_s(pid) for (pid,) in self._reader.execute(query))

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


SPREAD = """
update outcomes set look_at = now() + make_interval(secs => %s * random())
where look_at > now() + interval '20 s' and look_at < now() + make_interval(secs => %s + 1)
"""


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


if __name__ == "__main__":
    main()
