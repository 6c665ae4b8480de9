"""Keys: the secrets that decrypt what the phone of one source sends."""

import psycopg

LIST_KEYS = "select source, secret from source_keys"


def read(connection: psycopg.Connection) -> dict[str, str]:
    """Every source that has a key, with its secret."""
    return dict(connection.execute(LIST_KEYS).fetchall())
