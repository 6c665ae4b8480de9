"""What a day costs that comes at once: verify, and then a replay of it. What a fleet at work costs, `bench.live` measures.

    python -m bench.verify [--visits 2000]

Needs a database server of its own (the embedded one). Prints rates by the clock, and CPU time of the process and of its session.
"""

import argparse
import asyncio
import random
import time
from datetime import UTC, datetime

import psycopg
from psycopg import AsyncConnection

from bench.fleet import server, server_cpu_s
from geofence.evidence import Evidence, Fix
from sitewatch import postgres, replay, verify
from sitewatch.memory import Memory
from sitewatch.verify_settings import Settings
from store import evidence, migrate, plans
from store.plans import Plans, SitePlan, VisitPlan, WorkerPlan

FIX_EVERY_S = 30


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--visits", type=int, default=2000)
    chosen = options.parse_args()
    with server() as cluster:
        database = postgres.create_database(cluster, "at_once")
        migrate.apply(database)
        at_once(database, chosen.visits)


def at_once(database: str, visits: int) -> None:
    """A day's visits with evidence every 30 s, stored before verify starts; then everything replayed."""
    start = 1_795_000_000.0
    workers = max(1, visits // 6)
    spans = [(n % workers, start + 5400 * (n // workers), start + 5400 * (n // workers) + 3600) for n in range(visits)]
    _plan(database, workers, spans)
    with psycopg.connect(database, autocommit=True) as writer, verify.prepared(psycopg.connect(database)) as connection:
        evidence.prepare(writer)
        for n in range(workers):
            _send(writer, _fixes(n, start, start + 5400 * 6))
        now = start + 7 * 86400
        began, cpu, server_cpu = time.perf_counter(), time.process_time(), server_cpu_s(connection)
        judged = _work_off(connection, now)
        _print("at once", judged, began, cpu, server_cpu_s(connection) - server_cpu)
        began, cpu, server_cpu = time.perf_counter(), time.process_time(), server_cpu_s(connection)
        done = replay.rebuild(connection, now)
        _print("replay", done.visits, began, cpu, server_cpu_s(connection) - server_cpu)


def _print(what: str, judged: int, began: float, cpu: float, server_s: float) -> None:
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what}: {judged} visits in {wall_s:.1f} s: {judged / wall_s:.0f} a second (target 200)")
    print(f"  a visit: verify {1000 * cpu_s / judged:.2f} ms, PostgreSQL {1000 * server_s / judged:.2f} ms of CPU")


def _work_off(connection: psycopg.Connection, now: float) -> int:
    judged, memory = 0, Memory()
    while True:
        done = verify.look(connection, now, Settings(coalesce_s=0.0, judge_every_s=0.0), memory)
        judged += done.judged
        if not done.entries and not done.judged:
            return judged


def _plan(database: str, workers: int, visits: list[tuple[int, float, float]]) -> None:
    def at(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    sites = [_site(n) for n in range(workers)]
    people = [WorkerPlan(id=f"w-{n}", name=f"w-{n}", aliases={}, properties={}) for n in range(workers)]
    planned = [
        VisitPlan(id=f"v-{i}", worker=f"w-{n}", site=f"s-{n}", service="clean", starts_at=at(start), ends_at=at(end), properties={})
        for i, (n, start, end) in enumerate(visits)
    ]

    async def put() -> None:
        async with await AsyncConnection.connect(database) as connection:
            await plans.put(connection, Plans(sites=sites, workers=people, visits=planned))

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


def _fixes(n: int, start: float, end: float) -> list[Evidence]:
    draw = random.Random(f"{n} {start}")
    lon, lat = _place(n)
    return [
        Fix(
            source=f"w-{n}",
            at=start + k * FIX_EVERY_S,
            received_at=start + k * FIX_EVERY_S + 0.4,
            identity=draw.getrandbits(62),
            lon=lon + draw.gauss(0, 5e-5),
            lat=lat + draw.gauss(0, 5e-5),
            accuracy_m=12.0,
        )
        for k in range(max(1, int((end - start) // FIX_EVERY_S)))
    ]


def _send(writer: psycopg.Connection, reports: list[Evidence]) -> None:
    with writer.transaction():
        evidence.write(writer, reports)


if __name__ == "__main__":
    main()
