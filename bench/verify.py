"""What verify costs: a fleet at work, and a day that comes at once. CPU of verify and of its database session, not wall time.

    python bench/verify.py [--workers 200] [--seconds 120] [--visits 2000]

Needs a database server of its own (the embedded one). Prints shares of one core against their targets.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import AsyncConnection

from geofence.evidence import DeviceEvent, Evidence, Fix
from sitewatch import postgres, replay, verify
from sitewatch.verify_settings import Settings
from store import evidence, migrate, plans
from store.plans import DevicePlan, Plans, SitePlan, VisitPlan, WorkerPlan

FIX_EVERY_S = 10
VISIT_S = 7200
CYCLES_A_SECOND = 4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workers", type=int, default=200)
    options.add_argument("--seconds", type=int, default=120)
    options.add_argument("--visits", type=int, default=2000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cluster = postgres.prepare(Path(folder) / "postgres", durable=False)
        with postgres.running(cluster):
            live(_database(cluster, "live"), chosen.workers, chosen.seconds)
            at_once(_database(cluster, "at_once"), chosen.visits)


def live(database: str, workers: int, seconds: int) -> None:
    """Simulated seconds in which every worker reports each 10 s; verify looks four times a second."""
    now = 1_795_000_000.0
    _plan(database, workers, [(n, now - 3600 - 7 * n, now - 3600 - 7 * n + VISIT_S) for n in range(workers)])
    with psycopg.connect(database, autocommit=True) as writer, verify.prepared(psycopg.connect(database)) as connection:
        evidence.prepare(writer)
        past = [fix for n in range(workers) for fix in _fixes(n, now - 3600, now)]
        _send(writer, past)
        _work_off(connection, now)
        cpu, server_cpu, judged = time.process_time(), _cpu_s(connection), 0
        verify_s = 0.0
        for tick in range(seconds * CYCLES_A_SECOND):
            then = now + tick / CYCLES_A_SECOND
            fresh = [fix for n in range(tick % 40, workers, 40) for fix in _fixes(n, then, then + 1)]
            events = [_motion(n, then) for n in range(tick % 240, workers, 240)]
            before = time.process_time()
            _send(writer, [*fresh, *events])
            after = time.process_time()
            judged += verify.cycle(connection, then).judged
            verify_s += time.process_time() - after
            cpu += after - before
        server_s = _cpu_s(connection) - server_cpu
    share = (verify_s + server_s) / seconds
    print(f"live: {workers} workers, {seconds} s: {judged / seconds:.1f} visits judged a second")
    print(
        f"  verify {verify_s / seconds:.1%} + its PostgreSQL session {server_s / seconds:.1%} = {share:.1%} of a core (target 10 %)"
    )


def at_once(database: str, visits: int) -> None:
    """A day's visits with evidence every 30 s, stored before verify starts; then everything replayed."""
    start = 1_795_000_000.0
    workers = max(1, visits // 6)
    spans = [(n % workers, start + 5400 * (n // workers), start + 5400 * (n // workers) + 3600) for n in range(visits)]
    _plan(database, workers, spans)
    with psycopg.connect(database, autocommit=True) as writer, verify.prepared(psycopg.connect(database)) as connection:
        evidence.prepare(writer)
        for n in range(workers):
            _send(writer, _fixes(n, start, start + 5400 * 6, every_s=30))
        now = start + 7 * 86400
        began, cpu, server_cpu = time.perf_counter(), time.process_time(), _cpu_s(connection)
        judged = _work_off(connection, now)
        _print("at once", judged, began, cpu, _cpu_s(connection) - server_cpu)
        began, cpu, server_cpu = time.perf_counter(), time.process_time(), _cpu_s(connection)
        done = replay.rebuild(connection, now)
        _print("replay", done.visits, began, cpu, _cpu_s(connection) - server_cpu)


def _print(what: str, judged: int, began: float, cpu: float, server_s: float) -> None:
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what}: {judged} visits in {wall_s:.1f} s: {judged / wall_s:.0f} a second (target 200)")
    print(f"  a visit: verify {1000 * cpu_s / judged:.2f} ms, PostgreSQL {1000 * server_s / judged:.2f} ms of CPU")


def _database(cluster: postgres.Cluster, name: str) -> str:
    url = postgres.create_database(cluster, name)
    migrate.apply(url)
    return url


def _work_off(connection: psycopg.Connection, now: float) -> int:
    judged = 0
    while True:
        done = verify.cycle(connection, now, Settings(coalesce_s=0.0))
        judged += done.judged
        if not done.entries and not done.judged:
            return judged


def _plan(database: str, workers: int, visits: list[tuple[int, float, float]]) -> None:
    def at(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    sites = [_site(n) for n in range(workers)]
    people = [WorkerPlan(id=f"w-{n}", name=f"w-{n}", aliases={}, properties={}) for n in range(workers)]
    devices = [
        DevicePlan(id=f"motion-{n}", site=f"s-{n}", kind="motion", dialect="native", address=None, name=None, properties={})
        for n in range(workers)
    ]
    planned = [
        VisitPlan(id=f"v-{i}", worker=f"w-{n}", site=f"s-{n}", service="clean", starts_at=at(start), ends_at=at(end), properties={})
        for i, (n, start, end) in enumerate(visits)
    ]

    async def put() -> None:
        async with await AsyncConnection.connect(database) as connection:
            await plans.put(connection, Plans(sites=sites, workers=people, devices=devices, visits=planned))

    asyncio.run(put())


def _place(n: int) -> tuple[float, float]:
    return 116.3 + 0.002 * (n % 50), 39.8 + 0.002 * (n // 50)


def _site(n: int) -> SitePlan:
    lon, lat = _place(n)
    return SitePlan(
        id=f"s-{n}",
        name=f"s-{n}",
        customer=None,
        timezone="Asia/Shanghai",
        geometry={"type": "Point", "coordinates": [lon, lat]},
        radius_m=40.0,
        properties={},
        min_lon=lon - 0.0005,
        min_lat=lat - 0.0004,
        max_lon=lon + 0.0005,
        max_lat=lat + 0.0004,
    )


def _fixes(n: int, start: float, end: float, every_s: float = FIX_EVERY_S) -> list[Evidence]:
    draw = random.Random(f"{n} {start}")
    lon, lat = _place(n)
    return [
        Fix(
            source=f"w-{n}",
            at=start + k * every_s,
            received_at=start + k * every_s + 0.4,
            identity=draw.getrandbits(62),
            lon=lon + draw.gauss(0, 5e-5),
            lat=lat + draw.gauss(0, 5e-5),
            accuracy_m=12.0,
        )
        for k in range(max(1, int((end - start) // every_s)))
    ]


def _motion(n: int, at: float) -> DeviceEvent:
    return DeviceEvent(source=f"motion-{n}", at=at, received_at=at + 0.3, identity=int(at * 1000), kind="motion")


def _send(writer: psycopg.Connection, reports: list[Evidence]) -> None:
    with writer.transaction():
        evidence.write(writer, reports)


def _cpu_s(connection: psycopg.Connection) -> float:
    """What the connection's server process has used so far."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
