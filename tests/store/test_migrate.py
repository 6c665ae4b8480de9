"""The schema comes into being once, whoever asks for it, and TimescaleDB changes no answer."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from sitewatch.postgres import Cluster
from store import migrate

RELEASED = migrate.FOLDER / "checksums.txt"


@pytest.fixture
def empty_database(plain_postgres: Cluster) -> Iterator[str]:
    with psycopg.connect(plain_postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database if exists test_migrate with (force)")
        connection.execute("create database test_migrate")
        yield plain_postgres.url("test_migrate")
        connection.execute("drop database test_migrate with (force)")


def test_no_released_migration_was_edited() -> None:
    """yoyo does not notice. A new migration gets its line in checksums.txt; a line there is never changed."""
    released = dict(line.split() for line in RELEASED.read_text().splitlines())
    assert migrate.checksums() == released


def test_many_programs_that_start_at_once_migrate_once(empty_database: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate.apply(empty_database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied, key=len) == [[], [], [], list(migrate.checksums())]


def test_a_program_can_tell_what_is_missing(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert migrate.missing(connection) == list(migrate.checksums())
        migrate.apply(empty_database)
        assert migrate.missing(connection) == []


def test_a_killed_migration_keeps_nobody_waiting(empty_database: str) -> None:
    """The lock ends with its session: there is no row that somebody would have to delete."""
    with psycopg.connect(empty_database, autocommit=True) as killed:
        killed.execute("select pg_advisory_lock(%s)", [migrate.LOCK])
    assert migrate.apply(empty_database)


def test_rejects_that_were_stored_twice_before_are_counted_together(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for name in ("0001.spine", "0002.acknowledged"):
            connection.execute((migrate.FOLDER / f"{name}.sql").read_bytes())
        for second, (topic, payload) in enumerate([("a", b"1"), ("b", b"1"), ("a", b"1"), ("a", b"2"), ("a", b"1")]):
            connection.execute(
                "insert into rejects (received_at, topic, payload, reason) values (to_timestamp(%s), %s, %s, 'malformed')",
                [second, topic, payload],
            )
        connection.execute((migrate.FOLDER / "0004.rejects.sql").read_bytes())
        kept = """
        select id, topic, payload, times, extract(epoch from received_at)::int, extract(epoch from last_at)::int
        from rejects order by id
        """
        assert connection.execute(kept).fetchall() == [(1, "a", b"1", 3, 0, 4), (2, "b", b"1", 1, 1, 1), (4, "a", b"2", 1, 3, 3)]


def test_evidence_lies_in_hypertables_with_a_columnstore(timescale_database: str) -> None:
    with psycopg.connect(timescale_database, autocommit=True) as connection:
        query = "select hypertable_name, compression_enabled from timescaledb_information.hypertables order by 1"
        evidence = [row for row in connection.execute(query) if row[0] in migrate.HYPERTABLES]
        assert evidence == [(table, True) for table in sorted(migrate.HYPERTABLES)]
        policies = "select count(*) from timescaledb_information.jobs where proc_name = 'policy_retention'"
        assert connection.execute(policies).fetchone() == (0,), "nothing vanishes unless somebody says so"
    assert migrate.apply(timescale_database) == [], "and the step may be repeated"


def test_tables_that_are_full_become_hypertables_too(timescale_database: str, plain_postgres: Cluster) -> None:
    with psycopg.connect(timescale_database, autocommit=True) as connection:
        connection.execute("drop view evidence_hourly")
        connection.execute("drop materialized view fixes_hourly")
        connection.execute("create table plain (like fixes including all)")
        connection.execute("drop table fixes")
        connection.execute("alter table plain rename to fixes")
        _store(connection, 2008)
        migrate.apply(timescale_database)
        assert connection.execute("select count(*) from fixes").fetchone() == (48,)
        assert connection.execute("select count(*) from show_chunks('fixes')").fetchone() == (2,)


def test_hours_are_counted_alike_on_either_database(each_database: str) -> None:
    with psycopg.connect(each_database, autocommit=True) as connection:
        _store(connection, 2026)
        assert _hours(connection) == _expected(2026)


def test_hours_that_were_counted_ahead_take_in_late_evidence(timescale_database: str) -> None:
    with psycopg.connect(timescale_database, autocommit=True) as connection:
        _store(connection, 2025)
        connection.execute("call refresh_continuous_aggregate('fixes_hourly', null, null)")
        assert _hours(connection) == _expected(2025)
        connection.execute("delete from fixes where identity = 7")
        connection.execute("call refresh_continuous_aggregate('fixes_hourly', null, null)")
        assert len(_hours(connection)) == 24
        assert _hours(connection) != _expected(2025)


def test_late_evidence_is_taken_once_also_where_its_day_is_compressed(timescale_database: str) -> None:
    with psycopg.connect(timescale_database, autocommit=True) as connection:
        _store(connection, 2025)
        connection.execute("select compress_chunk(chunk) from show_chunks('fixes') as chunk")
        _store(connection, 2025)
        assert connection.execute("select count(*) from fixes").fetchone() == (48,)
        assert _hours(connection) == _expected(2025)


def test_retention_refuses_to_drop_an_old_recording_unnoticed(timescale_database: str) -> None:
    year_s = 365 * 86400
    with psycopg.connect(timescale_database, autocommit=True) as connection:
        _store(connection, 2008)
        with pytest.raises(migrate.WouldDropError, match="48 rows of fixes are older than 365 days, the oldest of 2008-03-01"):
            migrate.retain(timescale_database, year_s)
        policies = "select count(*) from timescaledb_information.jobs where proc_name = 'policy_retention'"
        assert connection.execute(policies).fetchone() == (0,)
        migrate.retain(timescale_database, year_s, drop_stored=True)
        assert connection.execute(policies).fetchone() == (4,)
        migrate.retain(timescale_database, None)
        assert connection.execute(policies).fetchone() == (0,)


def test_retention_says_that_it_needs_timescale(database: str) -> None:
    with pytest.raises(ValueError, match="TimescaleDB"):
        migrate.retain(database, 86400.0)


def _store(connection: psycopg.Connection, year: int) -> None:
    """Two fixes an hour for the 24 hours from noon of the first of March."""
    connection.execute(
        """
        insert into fixes (source, at, identity, received_at, lon, lat)
        select 'w-1', at, n, at + n * interval '1 second', 116, 39
        from generate_series(0, 47) as n,
             lateral (select make_timestamptz(%s, 3, 1, 12, 0, 0, 'UTC') + n * interval '30 minutes') as t (at)
        on conflict do nothing
        """,
        [year],
    )


def _hours(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    query = """
    select kind, source, extract(epoch from hour)::float8, reports, extract(epoch from lateness_max)::float8
    from evidence_hourly order by hour
    """
    return connection.execute(query).fetchall()


def _expected(year: int) -> list[tuple[object, ...]]:
    noon = datetime(year, 3, 1, 12, tzinfo=UTC).timestamp()
    return [("fix", "w-1", noon + 3600 * n, 2, 2.0 * n + 1) for n in range(24)]
