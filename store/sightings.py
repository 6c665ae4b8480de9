"""Sightings: which sources have ever reported, since when, and for whom; the phones of a worker.

A source is hers when it is mapped to her, or when it is her own id and mapped to nobody else. She *has* it once it is mapped, or
once something came from it: a worker without any has no device, which is a cause of gaps.

Rules kept here:

- First times only move back, when older evidence arrives. Both that and a changed mapping say whose visits look different now.
- Derived: `rebuild` gives the same from the evidence and the mapping.
"""

from collections.abc import Collection, Sequence
from typing import LiteralString

from psycopg import Connection

from store.journal import EVERYBODY, Touch


def note(connection: Connection, touches: Sequence[Touch]) -> list[Touch]:
    """Notes first times. Returns for every source that is new, or older than was known, the span in which it was not known."""
    firsts: dict[str, float] = {}
    for touch in touches:
        if touch.source != EVERYBODY:
            firsts[touch.source] = min(touch.from_at, firsts.get(touch.source, touch.from_at))
    columns = {"sources": list(firsts), "firsts": list(firsts.values())}
    earlier = connection.execute(EARLIER, columns).fetchall()
    if earlier:
        connection.execute(NOTE, columns)
    return [Touch(source, first_at, known_at) for source, first_at, known_at in earlier]


def remap(connection: Connection, workers: Collection[str]) -> set[str]:
    """Follows a changed mapping of these workers; returns all workers who gained or lost a source by it."""
    moved = connection.execute(REMAP, {"workers": list(workers)}).fetchall()
    connection.execute(FORGET)
    return {worker for pair in moved for worker in pair if worker is not None}


def rebuild(connection: Connection) -> None:
    """Makes everything anew from evidence and mapping."""
    connection.execute("delete from sightings")
    connection.execute(REBUILD)


# Sources whose first time moves back. Not known at all until now counts as not known for ever.
EARLIER = """
select source, seen.first_at, coalesce(extract(epoch from sightings.first_at)::float8, 'infinity')
from unnest(%(sources)s::text[], %(firsts)s::float8[]) as seen (source, first_at) left join sightings using (source)
where sightings.first_at is null or to_timestamp(seen.first_at) < sightings.first_at
"""

NOTE = """
insert into sightings (source, worker, first_at)
select seen.source, coalesce(sources.worker, seen.source), to_timestamp(seen.first_at)
from unnest(%(sources)s::text[], %(firsts)s::float8[]) as seen (source, first_at) left join sources using (source)
on conflict (source) do update set first_at = least(sightings.first_at, excluded.first_at)
"""

# Every source that belongs, or belonged, to one of the workers: to whom it belongs now. Answers old and new owner of what moved.
REMAP = """
with concerned as (
    select source from sources where worker = any(%(workers)s)
    union select source from sightings where worker = any(%(workers)s) or source = any(%(workers)s)
), owned as (
    select concerned.source, coalesce(sources.worker, concerned.source) as worker, sightings.worker as before
    from concerned left join sources using (source) left join sightings using (source)
), written as (
    insert into sightings (source, worker)
    select source, worker from owned where worker is distinct from before
    on conflict (source) do update set worker = excluded.worker
)
select before, worker from owned where worker is distinct from before
"""

# A source that was mapped, never reported, and is mapped no more.
FORGET = """
delete from sightings
where first_at is null and not exists (select from sources where sources.source = sightings.source)
"""

# The sources of each table and the first time of each, by the index alone: one step a source, however much it sent.
_FIRST: LiteralString = """
(with recursive source_of as (
    (select source, at from {table} order by source, at limit 1)
    union all
    select next.source, next.at
    from source_of cross join lateral (
        select source, at from {table} where {table}.source > source_of.source order by source, at limit 1
    ) as next
) select source, at from source_of)
"""

REBUILD: LiteralString = f"""
insert into sightings (source, worker, first_at)
select coalesce(seen.source, sources.source), coalesce(sources.worker, seen.source), seen.first_at
from (
    select source, min(at) as first_at
    from (
        {_FIRST.format(table="fixes")}
        union all {_FIRST.format(table="checks")}
        union all {_FIRST.format(table="device_events")}
        union all {_FIRST.format(table="statuses")}
    ) as every group by source
) as seen full join sources on sources.source = seen.source
"""
