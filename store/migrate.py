"""Migrations: brings a database to the schema this version of the code expects.

Rules kept here:

- A migration is plain SQL in `migrations/`, applied in the order of its name, each in one transaction, and never edited once it has
  been released: the checksums in `migrations/checksums.txt` are tested.
- Any number of programs may call `apply` at the same time. One works and the others wait for it, behind an advisory lock and not
  behind yoyo's own lock table: a row in a table outlives a killed process, and every later start would wait for it.
- TimescaleDB is no migration, because it may be installed after the tables were made: `timescale.sql` runs after the migrations
  wherever the extension can be used, again and again.
- Nothing is dropped unless somebody said so: `retain` is off by default, and refuses to drop at once what is stored already.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg
import sqlparse
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table, read_migrations

FOLDER = Path(__file__).parent / "migrations"
TIMESCALE = Path(__file__).parent / "timescale.sql"
HYPERTABLES = ("fixes", "checks", "device_events", "statuses")
LOCK = 7_483_201
"""Key of the advisory lock that lets one program migrate at a time; any number that nobody else uses in this database."""


class WouldDropError(Exception):
    """Retention would drop evidence that is stored already; the message says how much and how old."""


def apply(database: str) -> list[str]:
    """Applies what is missing, makes hypertables where TimescaleDB is installed, and returns the migrations applied now.

    `database` is a PostgreSQL URL or a keyword string, as libpq takes it.
    """
    with _alone(database) as connection:
        with _backend(database) as backend:
            missing = backend.to_apply(read_migrations(str(FOLDER)))
            backend.apply_migrations(missing)
        if can_timescale(connection):
            connection.execute("set client_min_messages = warning")
            for statement in sqlparse.split(TIMESCALE.read_text()):
                connection.execute(statement.encode())
        return [migration.id for migration in missing]


def can_timescale(connection: psycopg.Connection) -> bool:
    """Whether the server has TimescaleDB, loaded: an extension that is only on the disk cannot be created."""
    return connection.execute(CAN_TIMESCALE).fetchone() == (True,)


def retain(database: str, keep_s: float | None, *, drop_stored: bool = False) -> None:
    """Drops evidence once it is older than `keep_s`, from now on; None keeps everything, which is the default.

    Raises WouldDropError when that would drop evidence that is stored already and nobody said `drop_stored`: an imported
    recording of 2008 must not vanish unnoticed. Raises ValueError without TimescaleDB, which does the dropping.
    """
    with _alone(database) as connection:
        if not can_timescale(connection):
            raise ValueError("retention needs TimescaleDB, which this server does not have")
        if keep_s is not None and not drop_stored:
            _refuse_to_drop(connection, keep_s)
        for table in HYPERTABLES:
            connection.execute("select remove_retention_policy(%s, if_exists => true)", (table,))
            if keep_s is not None:
                connection.execute("select add_retention_policy(%s, make_interval(secs => %s))", (table, keep_s))


def missing(connection: psycopg.Connection) -> list[str]:
    """The names of migrations that the database still lacks: a program that finds some must not start."""
    if connection.execute("select to_regclass('_yoyo_migration')").fetchone() == (None,):
        return list(checksums())
    applied = {name for (name,) in connection.execute("select migration_id from _yoyo_migration")}
    return [name for name in checksums() if name not in applied]


def checksums() -> dict[str, str]:
    """The SHA-256 of every migration in the folder by its name."""
    return {path.stem: sha256(path.read_bytes()).hexdigest() for path in sorted(FOLDER.glob("*.sql"))}


def _refuse_to_drop(connection: psycopg.Connection, keep_s: float) -> None:
    for table in HYPERTABLES:
        stored = sql.SQL("select count(*), min(at) from {} where at < now() - make_interval(secs => %s)").format(
            sql.Identifier(table)
        )
        count, oldest = connection.execute(stored, (keep_s,)).fetchone() or (0, None)
        if count:
            raise WouldDropError(f"{count} rows of {table} are older than {keep_s / 86400:g} days, the oldest of {oldest:%Y-%m-%d}")


@contextmanager
def _alone(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        yield connection


@contextmanager
def _backend(database: str) -> Iterator[DatabaseBackend]:
    parts = {name: str(value) for name, value in conninfo_to_dict(database).items() if value is not None}
    uri = DatabaseURI(
        scheme="postgresql+psycopg",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        hostname=parts.pop("host", None),
        port=parts.pop("port", None),
        database=parts.pop("dbname", None),
        args=parts,
    )
    backend = PostgresqlPsycopgBackend(uri, default_migration_table)
    backend.init_database()
    try:
        yield backend
    finally:
        backend.connection.close()


# Whether the extension is there and loaded.
CAN_TIMESCALE = """
select exists (select from pg_available_extensions where name = 'timescaledb')
   and current_setting('shared_preload_libraries') like '%timescaledb%'
"""
