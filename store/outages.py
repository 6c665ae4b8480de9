"""Heartbeats of the programs, and the times in which our own ingest took nothing.

Rules kept here:

- An ingestor is live while it holds a subscription and can commit. Each beat of a live one writes that moment into its state.
- When one becomes live and the newest such moment of *all* ingestors is older than is tolerated, `[that moment, now)` was an
  outage of ours: nobody took evidence then. With two ingestors, one that restarts leaves no outage.
- An outage says whose fault a gap is, so a trigger journals it, and the visits around it are judged again.
"""

from collections.abc import Mapping

import psycopg
from psycopg.types.json import Jsonb

BEAT = """
insert into programs (name, beat_at, started_at, state)
values (%(name)s, to_timestamp(%(now)s), to_timestamp(%(started_at)s), %(state)s)
on conflict (name) do update set
    beat_at = excluded.beat_at,
    started_at = excluded.started_at,
    -- The last moment in which it was live survives beats in which it is not.
    state = jsonb_strip_nulls(jsonb_build_object('live_at', programs.state -> 'live_at')) || excluded.state
"""

NEWEST_LIVE = """
select max((state ->> 'live_at')::float8) from programs where name = 'ingest' or name like 'ingest:%'
"""

WAS_LIVE = """
select exists (select from programs where name = %s and state ? 'live_at')
"""

OPEN_OUTAGE = """
insert into outages (start_at, end_at)
values (to_timestamp(%(start)s), to_timestamp(%(end)s))
on conflict (start_at) do update set end_at = greatest(outages.end_at, excluded.end_at)
"""


def beat(connection: psycopg.Connection, name: str, *, now: float, started_at: float, state: Mapping[str, object]) -> None:
    """Says that a program lives, and what it has counted. `state` is any JSON object;
    an ingestor that is live puts `now` into it as `live_at`."""
    connection.execute(BEAT, {"name": name, "now": now, "started_at": started_at, "state": Jsonb(dict(state))})


def was_live(connection: psycopg.Connection, name: str) -> bool:
    """Whether an ingestor of this name was live at any time."""
    row = connection.execute(WAS_LIVE, [name]).fetchone()
    return bool(row and row[0])


def record_silence(connection: psycopg.Connection, *, now: float, tolerated_s: float) -> tuple[float, float] | None:
    """An ingestor became live: records the outage that ends now, if nobody was live for longer than `tolerated_s`."""
    row = connection.execute(NEWEST_LIVE).fetchone()
    last = row[0] if row else None
    if last is None or now - last <= tolerated_s:
        return None
    connection.execute(OPEN_OUTAGE, {"start": last, "end": now})
    return last, now
