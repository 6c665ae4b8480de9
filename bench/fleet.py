"""Simulated days in a database of their own: plans as the api puts them, evidence as ingest stores it, with no wires between."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
from psycopg import AsyncConnection, Connection

from api import plans as api_plans
from device_sim import simulate
from device_sim.options import Options
from device_sim.simulate import Day
from geofence.evidence import Evidence
from ingest import wire
from sitewatch import postgres
from store import evidence, migrate, plans
from store.rejects import Reject

ROWS_AT_ONCE = 20_000


@contextlib.contextmanager
def server() -> Iterator[postgres.Cluster]:
    """A database server for a benchmark. It does not wait for the disk."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = postgres.prepare(Path(folder) / "postgres", postgres.Settings(timescaledb="none"), durable=False)
        with postgres.running(cluster):
            yield cluster


def database(cluster: postgres.Cluster, name: str, workers: int, interval_s: float, seed: int = 1000) -> str:
    """The URL of a new database with one day of so many workers with native phones of one interval, not judged yet."""
    url = postgres.create_database(cluster, name)
    migrate.apply(url)
    day = simulate.day(seed, Options(workers=workers, interval_s=interval_s, day="2026-11-20", owntracks=0.0))
    asyncio.run(_put(url, day))
    with psycopg.connect(url, autocommit=True) as connection:
        evidence.prepare(connection)
        batch: list[Evidence] = []
        for one in _evidence(day):
            batch.append(one)
            if len(batch) == ROWS_AT_ONCE:
                _store(connection, batch)
        _store(connection, batch)
        connection.execute("vacuum analyze")
    return url


def server_cpu_s(connection: Connection) -> float:
    """What the connection's server process has used so far."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _put(url: str, day: Day) -> None:
    async with await AsyncConnection.connect(url) as connection:
        await plans.put(connection, api_plans._read(msgspec.json.encode(day.plans())))


def _evidence(day: Day) -> Iterator[Evidence]:
    for feed in day.feeds:
        for report in feed.reports():
            for one in wire.decode(report.topic, msgspec.json.encode(report.payload), report.deliverable_at):
                if not isinstance(one.said, Reject):
                    yield one.said


def _store(connection: Connection, batch: list[Evidence]) -> None:
    with connection.transaction():
        evidence.write(connection, batch)
    batch.clear()
