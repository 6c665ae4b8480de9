"""The database as routes see it: one connection out of a bounded pool for the time of a call.

Rules kept here: every statement has a timeout; every connection speaks UTC; a route that writes opens its own transaction.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from api.settings import Settings

CONFIGURE = """
select set_config('timezone', 'UTC', false), set_config('application_name', %s, false), set_config('statement_timeout', %s, false)
"""

Pool = AsyncConnectionPool[AsyncConnection]
WAIT_S = 5.0
"""For a free connection, before the caller is told to come back."""


async def configure(connection: AsyncConnection, query_timeout_s: float) -> None:
    """Makes a new connection speak UTC and strict JSON, and give up queries that take too long."""
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(msgspec.json.encode, connection)
    timeout = str(round(query_timeout_s * 1000))
    await connection.execute(CONFIGURE, ["sitewatch api", timeout])


def pool(database: str, settings: Settings) -> Pool:
    """A pool that is not open yet."""

    async def configured(connection: AsyncConnection) -> None:
        await configure(connection, settings.query_timeout_s)

    return AsyncConnectionPool(
        database,
        min_size=1,
        max_size=settings.connections_max,
        open=False,
        timeout=WAIT_S,
        max_waiting=200,
        configure=configured,
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True},
        name="sitewatch api",
    )


async def _connection(request: Request) -> AsyncIterator[AsyncConnection]:
    found: Pool = request.app.state.pool
    async with found.connection() as connection:
        yield connection


# Given back before the answer is sent: a slow reader must not hold a connection.
Database = Annotated[AsyncConnection, Depends(_connection, scope="function")]
