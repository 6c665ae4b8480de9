"""Retention as it is in force: how long evidence is kept before it is dropped. `store.migrate.retain` sets it.

Read from TimescaleDB's own jobs and not from a note of ours: an administrator may have set, changed or paused it there.
"""

from psycopg import AsyncConnection

from store.migrate import HYPERTABLES


async def kept_s(connection: AsyncConnection) -> float | None:
    """How long evidence is kept, by the table that drops first; None: for ever, as on plain PostgreSQL."""
    # The view comes with the extension, and a statement that names it could not even be prepared without.
    found = await (await connection.execute("select to_regclass('timescaledb_information.jobs') is not null")).fetchone()
    if found != (True,):
        return None
    shortest = await (await connection.execute(SHORTEST, [list(HYPERTABLES)])).fetchone()
    return None if shortest is None or shortest[0] is None else float(shortest[0])


SHORTEST = """
select min(extract(epoch from (config ->> 'drop_after')::interval)::float8)
from timescaledb_information.jobs
where proc_name = 'policy_retention' and scheduled and hypertable_schema = current_schema() and hypertable_name = any(%s)
"""
