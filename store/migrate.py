"""Migrations: brings a database to the schema this version of the code expects.

Rules kept here:

- A migration is plain SQL in `migrations/`, applied in the order of its name, each in one transaction, and never edited once it has
  been released: the checksums in `migrations/checksums.txt` are tested.
- Any number of programs may call `apply` at the same time. One works and the others wait for it, behind an advisory lock and not
  behind yoyo's own lock table: a row in a table outlives a killed process, and every later start would wait for it.
- TimescaleDB is no migration, because it may be installed after the tables were made: `hypertables` may run at any time, again and
  again, and answers whether the extension was there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table, read_migrations

FOLDER = Path(__file__).parent / "migrations"
LOCK = 7_483_201
"""Key of the advisory lock that lets one program migrate at a time; any number that nobody else uses in this database."""


def apply(database: str) -> list[str]:
    """Applies what is missing and returns the names of the migrations that were applied now.

    `database` is a PostgreSQL URL or a keyword string, as libpq takes it.
    """
    with _alone(database), _backend(database) as backend:
        missing = backend.to_apply(read_migrations(str(FOLDER)))
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def missing(database: str) -> list[str]:
    """The names of migrations that the database still lacks: a program that finds some must not start."""
    with psycopg.connect(database, autocommit=True) as connection:
        if connection.execute("select to_regclass('_yoyo_migration')").fetchone() == (None,):
            applied = set()
        else:
            applied = {name for (name,) in connection.execute("select migration_id from _yoyo_migration")}
    return [name for name in checksums() if name not in applied]


def checksums() -> dict[str, str]:
    """The SHA-256 of every migration in the folder by its name."""
    return {path.stem: sha256(path.read_bytes()).hexdigest() for path in sorted(FOLDER.glob("*.sql"))}


@contextmanager
def _alone(database: str) -> Iterator[None]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        yield


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
