"""Calm: device events that turn no visit over. A home says such things all day, and somebody lives there.

They count beside evidence of the worker herself, and cover gaps. So a running visit, which is looked at every few minutes anyway,
need not be judged whenever somebody moves; but what came late, or with anything else, is evidence like any other.
"""

from collections.abc import Sequence

from psycopg import Connection

from store.journal import Touch

KINDS = ("motion", "occupied", "vacant", "power", "battery")
SOON_S = 300.0
"""A look within this is soon enough: as long as between two looks at a visit that runs."""
FRESH_S = 120.0
"""What is older came late."""


def only(connection: Connection, touches: Sequence[Touch], now: float) -> set[Touch]:
    """Those of the touches that came in their time and with nothing but calm events."""
    fresh = {(touch.source, touch.from_at): touch for touch in touches if touch.others and touch.from_at >= now - FRESH_S}
    if not fresh:
        return set()
    values = {
        "sources": [touch.source for touch in fresh.values()],
        "from_at": [touch.from_at for touch in fresh.values()],
        "to_at": [touch.to_at for touch in fresh.values()],
        "kinds": list(KINDS),
    }
    return {fresh[row] for row in connection.execute(ONLY, values)}


ONLY = """
select touch.source, touch.from_at
from unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)
join devices using (source)
where not exists (
    select from device_events as said
    where said.source = touch.source and said.at between to_timestamp(touch.from_at) and to_timestamp(touch.to_at)
      and said.kind <> all(%(kinds)s)
) and not exists (
    select from statuses as said
    where said.source = touch.source and said.at between to_timestamp(touch.from_at) and to_timestamp(touch.to_at)
)
"""
