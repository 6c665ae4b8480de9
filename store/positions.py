"""Positions: the newest fix of every worker, its flags, and how it stands to the visit she should be at.

Rules kept here:

- Newest is by the phone's own time, then source, then identity: nothing depends on the order of arrival.
- A worker whom nobody planned has a position too: a source that nobody claims is a worker of its own.
- A row is a function of evidence, plans, outcomes and `now`; what equals the stored row is not written.
- `refresh` makes a row from all of that and is always right. `move` and `follow_visits` give the same for what nearly always
  happens: one more fix that cannot have a flag, and a visit that begins, ends or is judged.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import LiteralString

from msgspec import Struct
from psycopg import Connection

from geofence import credibility, plain
from geofence.plain import Phones
from geofence.policy import Policy
from store.windows import Span, read_fixes

FLAGS_BACK_S = 900.0
"""How far before the newest fix flags are looked for: credibility is a matter of neighbours in time."""


PHONES_AT_ONCE = 500
"""So many quarters of an hour in memory at a time, however many phones a backlog tells of."""
POLICY = Policy()
"""The defaults, whatever the service: a position belongs to no visit."""


class Refreshed(Struct, frozen=True, eq=False):
    """The workers whose row changed, and of everybody who has one, the phone that made her newest fix."""

    changed: list[str]
    phones: dict[str, Phones]


def refresh(connection: Connection, workers: Collection[str], now: float) -> Refreshed:
    """Brings the rows of workers up to date."""
    if not workers:
        return Refreshed([], {})
    newest = [_Newest(*row) for row in connection.execute(NEWEST, {"workers": list(workers)})]
    shown, phones = _flags(connection, newest)
    values = {
        "all": list(workers),
        "now": now,
        "workers": [fix.worker for fix in newest],
        "sources": [fix.source for fix in newest],
        "at": [fix.at for fix in newest],
        "identities": [fix.identity for fix in newest],
        "flags": [",".join(flags) for flags in shown],
    }
    changed = connection.execute(WRITE, values).fetchall() if newest else []
    gone = connection.execute(FORGET, values).fetchall()
    return Refreshed([worker for (worker,) in [*changed, *gone]], phones)


class Move(Struct, frozen=True):
    """A phone's newest fix, which has no flag for sure."""

    source: str
    at: float
    identity: int


def move(connection: Connection, moves: Sequence[Move]) -> dict[str, str]:
    """Moves the rows that these phones made already; returns the workers of these, by source. The others want a `refresh`."""
    if not moves:
        return {}
    values = {
        "sources": [fix.source for fix in moves],
        "at": [fix.at for fix in moves],
        "identities": [fix.identity for fix in moves],
        "first": min(fix.at for fix in moves),
        "last": max(fix.at for fix in moves),
    }
    return dict(connection.execute(MOVE, values).fetchall())


def follow_visits(connection: Connection, workers: Collection[str], visits: Sequence[str], now: float) -> list[str]:
    """Brings up to date which visit these workers, and those who were at these visits, should be at, and whether they are there."""
    values = {"workers": list(workers), "visits": list(visits), "now": now}
    return [worker for (worker,) in connection.execute(FOLLOW_VISITS, values)]


def worth_a_look(connection: Connection, last_at: Mapping[str, float]) -> list[str]:
    """Of workers with new evidence up to a time, those whose newest fix, or its flags, it could change."""
    values = {"workers": list(last_at), "until": list(last_at.values()), "back_s": FLAGS_BACK_S}
    return [worker for (worker,) in connection.execute(WORTH, values)]


def forget(connection: Connection, workers: Collection[str]) -> None:
    """Drops rows, so that they are made anew."""
    connection.execute("delete from positions where worker = any(%s)", [list(workers)])


def everybody(connection: Connection) -> list[str]:
    """Every worker who has, or may have, a position."""
    return [
        worker for (worker,) in connection.execute("select worker from sightings union select worker from positions order by 1")
    ]


class _Newest(Struct, frozen=True):
    worker: str
    source: str
    at: float
    identity: int


def _flags(connection: Connection, newest: Sequence[_Newest]) -> tuple[list[tuple[str, ...]], dict[str, Phones]]:
    spans = [Span(n, fix.source, fix.at - FLAGS_BACK_S, fix.at + 1e-6) for n, fix in enumerate(newest)]
    shown: list[tuple[str, ...]] = [()] * len(newest)
    phones: dict[str, Phones] = {}
    for first in range(0, len(spans), PHONES_AT_ONCE):
        for n, fixes in read_fixes(connection, spans[first : first + PHONES_AT_ONCE]).items():
            mask = credibility.masks(fixes, POLICY)
            shown[n] = credibility.names(int(mask[-1]))
            phones[newest[n].source] = plain.phone(fixes, mask, POLICY)
    return shown, phones


# The newest fix of each worker, over all her sources. One step into the index per source.
NEWEST = """
select distinct on (sightings.worker) sightings.worker, source, extract(epoch from fix.at)::float8, fix.identity
from sightings
cross join lateral (
    select at, identity from fixes where fixes.source = sightings.source order by at desc, identity desc limit 1
) as fix
where sightings.worker = any(%(workers)s)
order by sightings.worker, fix.at desc, source desc, fix.identity desc
"""

# Evidence that is older than what the newest fix's flags look back at changes nothing.
WORTH = """
select worker
from unnest(%(workers)s::text[], %(until)s::float8[]) as touched (worker, until) left join positions using (worker)
where positions.worker is null or to_timestamp(touched.until) >= positions.at - make_interval(secs => %(back_s)s)
"""

# The running visit is the first one that is planned for now; presence is how its outcome ends.
_RUNNING: LiteralString = """
select visits.id, visits.site, outcomes.outcome #>> '{presence,-1,state}' as presence
from visits left join outcomes on outcomes.visit = visits.id
where visits.worker = newest.worker and visits.starts_at <= to_timestamp(%(now)s) and visits.ends_at > to_timestamp(%(now)s)
  and visits.starts_at > to_timestamp(%(now)s) - interval '168 hours'
order by visits.starts_at, visits.id limit 1
"""

# A phone is online by its last word as it came in, or because something came in after it said goodbye.
WRITE: LiteralString = f"""
insert into positions (worker, source, at, received_at, lon, lat, accuracy_m, altitude_m, speed_mps, heading_deg, battery, mode,
                       flags, visit, site, presence, online)
select newest.worker, newest.source, fix.at, fix.received_at, lon, lat, accuracy_m, altitude_m, speed_mps, heading_deg,
       fix.battery, mode, string_to_array(newest.flags, ','), running.id, running.site, coalesce(running.presence, 'unknown'),
       said.state = 'online' or said.received_at < fix.received_at
from unnest(%(workers)s::text[], %(sources)s::text[], %(at)s::float8[], %(identities)s::int8[], %(flags)s::text[])
     as newest (worker, source, at, identity, flags)
cross join lateral (
    select * from fixes
    where source = newest.source and at = to_timestamp(newest.at) and identity = newest.identity
) as fix
left join lateral (
    select state, received_at from (
        select state, received_at, at, identity from statuses where source = newest.source order by at desc, identity desc limit 20
    ) as last order by received_at desc, at desc, identity desc limit 1
) as said on true
left join lateral ({_RUNNING}) as running on true
order by newest.worker
on conflict (worker) do update
set source = excluded.source, at = excluded.at, received_at = excluded.received_at, lon = excluded.lon, lat = excluded.lat,
    accuracy_m = excluded.accuracy_m, altitude_m = excluded.altitude_m, speed_mps = excluded.speed_mps,
    heading_deg = excluded.heading_deg, battery = excluded.battery, mode = excluded.mode, flags = excluded.flags,
    visit = excluded.visit, site = excluded.site, presence = excluded.presence, online = excluded.online
where (positions.source, positions.at, positions.received_at, positions.lon, positions.lat, positions.flags, positions.visit,
       positions.site, positions.presence, positions.online)
      is distinct from
      (excluded.source, excluded.at, excluded.received_at, excluded.lon, excluded.lat, excluded.flags, excluded.visit,
       excluded.site, excluded.presence, excluded.online)
returning worker
"""

# One more fix of the same phone: her visit is what it was, and she is as online as she was, if she was not offline. The row is
# looked at in a lateral subquery, kept apart, so that the plan is a walk of the index whatever is believed of how many rows fit.
MOVE: LiteralString = """
update positions
set at = fix.at, received_at = fix.received_at, lon = fix.lon, lat = fix.lat, accuracy_m = fix.accuracy_m,
    altitude_m = fix.altitude_m, speed_mps = fix.speed_mps, heading_deg = fix.heading_deg, battery = fix.battery, mode = fix.mode
from unnest(%(sources)s::text[], %(at)s::float8[], %(identities)s::int8[]) as newest (source, at, identity)
cross join lateral (
    select worker, at, received_at from positions
    where worker = coalesce((select worker from sources where sources.source = newest.source), newest.source)
      and source = newest.source and flags = '{}' and online is distinct from false
    offset 0
) as hers
cross join lateral (
    select * from fixes
    where source = newest.source and at = to_timestamp(newest.at) and identity = newest.identity
      and at >= to_timestamp(%(first)s) and at <= to_timestamp(%(last)s)
    offset 0
) as fix
where positions.worker = hers.worker and fix.at > hers.at and fix.received_at >= hers.received_at
returning positions.source, positions.worker
"""

FOLLOW_VISITS: LiteralString = f"""
with newest as (
    select unnest(%(workers)s::text[]) as worker
    union
    select worker from positions where visit = any(%(visits)s)
)
update positions set visit = planned.visit, site = planned.site, presence = planned.presence
from (
    select newest.worker, running.id as visit, running.site, coalesce(running.presence, 'unknown') as presence
    from newest left join lateral ({_RUNNING}) as running on true
) as planned
where positions.worker = planned.worker
  and (positions.visit, positions.site, positions.presence) is distinct from (planned.visit, planned.site, planned.presence)
returning positions.worker
"""

# A worker whose sources went to somebody else.
FORGET = "delete from positions where worker = any(%(all)s) and worker <> all(%(workers)s) returning worker"
