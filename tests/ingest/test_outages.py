"""Heartbeats, and the outages that they prove."""

from collections.abc import Iterator

import psycopg
import pytest

from store import outages

NOW = 1_795_312_800.0


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def beat(connection: psycopg.Connection, at: float, *, name: str = "ingest", live: bool = True) -> None:
    state: dict[str, object] = {"connected": live, **({"live_at": at} if live else {})}
    outages.beat(connection, name, now=at, started_at=NOW, state=state)


def recorded(connection: psycopg.Connection) -> list[tuple[float, float]]:
    rows = connection.execute("select extract(epoch from start_at)::float8, extract(epoch from end_at)::float8 from outages")
    return sorted(rows.fetchall())


def silence(connection: psycopg.Connection, now: float) -> tuple[float, float] | None:
    return outages.record_silence(connection, now=now, tolerated_s=30)


def test_the_first_start_of_all_is_no_outage(connection: psycopg.Connection) -> None:
    assert silence(connection, NOW) is None
    assert recorded(connection) == []


def test_a_restart_after_a_long_silence_is_an_outage_since_the_last_beat(connection: psycopg.Connection) -> None:
    beat(connection, NOW)
    assert silence(connection, NOW + 30) is None
    assert silence(connection, NOW + 31) == (NOW, NOW + 31)
    assert recorded(connection) == [(NOW, NOW + 31)]


def test_a_beat_without_a_subscription_proves_nothing(connection: psycopg.Connection) -> None:
    beat(connection, NOW)
    for second in range(3, 60, 3):
        beat(connection, NOW + second, live=False)
    assert silence(connection, NOW + 60) == (NOW, NOW + 60)


def test_another_ingestor_that_was_live_leaves_no_outage(connection: psycopg.Connection) -> None:
    beat(connection, NOW)
    beat(connection, NOW + 50, name="ingest:second")
    beat(connection, NOW + 50, name="verify")
    assert silence(connection, NOW + 60) is None
    beat(connection, NOW + 95, name="verify")
    assert silence(connection, NOW + 100) == (NOW + 50, NOW + 100)


def test_an_outage_is_journaled_for_everybody(connection: psycopg.Connection) -> None:
    beat(connection, NOW)
    silence(connection, NOW + 100)
    (sources, from_at, to_at) = connection.execute("select sources, from_at, to_at from journal").fetchone() or ([], [], [])
    assert sources == ["*"]
    assert (from_at[0].timestamp(), to_at[0].timestamp()) == (NOW, NOW + 100)
