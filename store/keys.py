"""Keys: the secrets that decrypt what the phone of one source sends. Read by ingest, and never answered to anybody over HTTP.

To a person, a key is a worker's: it opens what all her OwnTracks phones send. A phone that she gets is given it, and from a phone
that she gives away it is taken.
"""

from collections.abc import Collection, Mapping

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


async def of_workers(connection: psycopg.AsyncConnection, workers: Collection[str]) -> dict[str, dict[str, str]]:
    """The secrets of these workers' sources, by worker and source."""
    found: dict[str, dict[str, str]] = {}
    for worker, source, secret in await (await connection.execute(OF_WORKERS, [list(workers)])).fetchall():
        found.setdefault(worker, {})[source] = secret
    return found


async def change(connection: psycopg.AsyncConnection, before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Makes the secrets of sources `after`, where they were `before`; returns the sources for which that changed anything."""
    gone = before.keys() - after.keys()
    new = {source: secret for source, secret in sorted(after.items()) if before.get(source) != secret}
    if gone:
        await connection.execute("delete from source_keys where source = any(%s)", [list(gone)])
    if new:
        await connection.execute(SET_KEYS, [list(new), list(new.values())])
    return gone | new.keys()


OF_WORKERS = """
select sources.worker, sources.source, source_keys.secret
from sources join source_keys using (source)
where sources.worker = any(%s)
order by sources.source
"""

SET_KEYS = """
insert into source_keys (source, secret) select * from unnest(%s::text[], %s::text[])
on conflict (source) do update set secret = excluded.secret
"""
