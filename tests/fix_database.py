"""Real databases: one server for a run, one migrated template, a clone of it for every test.

- `database`: a URL of plain PostgreSQL.
- `timescale_database`: a URL of PostgreSQL with TimescaleDB; a loud skip where it is not installed.
- `each_database`: the test runs once on either.

A clone takes 30 ms and is dropped afterwards, so tests may write and commit what they like.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sitewatch import postgres
from store import migrate
from tests import missing

TEMPLATE = "sitewatch_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plain_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Cluster]:
    """The server without TimescaleDB, with the migrated template in it."""
    yield from _serve(tmp_path_factory.mktemp("plain"), postgres.Settings(timescaledb="none"))


@pytest.fixture(scope="session")
def timescale_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Cluster]:
    """The server with TimescaleDB, with the migrated template in it."""
    named = os.environ.get("SITEWATCH_TIMESCALEDB")
    if postgres.find_timescaledb(named, postgres.find_programs()) is None:
        missing.skip("TimescaleDB", "see docs/testing.md, and name its folder by SITEWATCH_TIMESCALEDB", promised_in_ci=False)
    yield from _serve(tmp_path_factory.mktemp("timescale"), postgres.Settings(timescaledb=named))


@pytest.fixture
def database(plain_postgres: postgres.Cluster) -> Iterator[str]:
    """The URL of a migrated, empty database on plain PostgreSQL."""
    yield from _clone(plain_postgres)


@pytest.fixture
def timescale_database(timescale_postgres: postgres.Cluster) -> Iterator[str]:
    """The URL of a migrated, empty database with hypertables."""
    yield from _clone(timescale_postgres)


@pytest.fixture(params=["plain", "timescale"])
def each_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated, empty database; the test runs on plain PostgreSQL and on TimescaleDB."""
    yield from _clone(request.getfixturevalue(f"{request.param}_postgres"))


def _serve(folder: Path, settings: postgres.Settings) -> Iterator[postgres.Cluster]:
    with postgres.running(postgres.prepare(folder / "postgres", settings, durable=False)) as cluster:
        url = postgres.create_database(cluster, TEMPLATE)
        if settings.timescaledb != "none":
            _run(url, "create extension if not exists timescaledb")
        migrate.apply(url)
        # A template must have no sessions while it is copied, and the extension's workers would open some.
        _run(cluster.url("postgres"), f"alter database {TEMPLATE} allow_connections false")
        _run(
            cluster.url("postgres"),
            f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{TEMPLATE}'",
        )
        yield cluster


def _clone(cluster: postgres.Cluster) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _run(cluster.url("postgres"), f"create database {name} template {TEMPLATE}")
    yield cluster.url(name)
    _run(cluster.url("postgres"), f"drop database {name} with (force)")


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)
