"""Keys: the secrets that decrypt what the phone of one source sends."""

import psycopg

LIST_KEYS = "select source, secret from source_keys"

SET_KEY = """
insert into source_keys (source, secret) values (%s, %s)
on conflict (source) do update set secret = excluded.secret
"""


def read(connection: psycopg.Connection) -> dict[str, str]:
    """Every source that has a key, with its secret."""
    return dict(connection.execute(LIST_KEYS).fetchall())


def write(connection: psycopg.Connection, source: str, secret: str) -> None:
    """Keeps the secret of one source, such as `owntracks:anna/phone`. Ingest uses it within seconds."""
    connection.execute(SET_KEY, (source, secret))
