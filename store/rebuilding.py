"""Rebuilding: what a replay needs of the database. Which visits, what to forget of them first, and everything derived as text."""

from collections.abc import Generator, Iterator, Sequence
from typing import LiteralString

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection

from geofence.replayed import MADE
from store import derived
from store.derived import Stored


class Scope(Struct, frozen=True, kw_only=True):
    """Which visits: those that start in `[start, end)`, seconds since 1970, and are the worker's. None means all."""

    start: float | None = None
    end: float | None = None
    worker: str | None = None

    @property
    def everything(self) -> bool:
        return self.start is None and self.end is None and self.worker is None


class Planned(Struct, frozen=True):
    """A visit, and how long it was planned to be."""

    id: str
    planned_s: float


WHY = "replay"
HANDOVER_S = 3600.0
"""A visit that a replay has not reached after this is verify's."""
ROWS_AT_ONCE = 2000


def count(connection: Connection, scope: Scope) -> int:
    """How many visits the scope has."""
    row = connection.execute(COUNT, _values(scope)).fetchone()
    return row[0] if row else 0


def queue(connection: Connection, scope: Scope, now: float) -> int:
    """Puts the scope's visits into the queue for later, in case the replay does not live to see them; returns how many."""
    return connection.execute(QUEUE, {**_values(scope), "at": now + HANDOVER_S, "why": WHY}).rowcount


def planned(connection: Connection, scope: Scope) -> Generator[Planned, None, None]:
    """The visits of the scope as of now, by day, worker and start: evidence lies together by day, and a worker's is read once.

    The server keeps the list, outside of any transaction, until this is closed.
    """
    with connection.cursor("planned", withhold=True) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for row in cursor.execute(PLANNED, _values(scope)):
            yield Planned(*row)


def without_sketch(connection: Connection, scope: Scope, now: float) -> list[Planned]:
    """The visits of the scope that are over and of which no sketch is kept, or one by another rule, in the order of time."""
    values = {**_values(scope), "now": now, "made": MADE}
    return [Planned(*row) for row in connection.execute(WITHOUT_SKETCH, values)]


def forget(connection: Connection, visits: Sequence[str]) -> dict[str, Stored]:
    """Drops what was derived of visits; returns what is to be known of it for the revisions to go on."""
    before = derived.read(connection, visits)
    derived.remove(connection, visits)
    return {visit: replace(stored, outcome=None, told=stored.outcome or stored.told, plan=None) for visit, stored in before.items()}


def drop_orphans(connection: Connection) -> None:
    """Drops derived rows whose visit, site or source is no more, or never was."""
    for statement in ORPHANS:
        connection.execute(statement)


def contents(connection: Connection) -> Iterator[tuple[str, Iterator[str]]]:
    """Every derived table with its rows as text, in a fixed order, without what only counts or schedules."""
    for table, query in CONTENTS.items():
        yield table, (row for (row,) in connection.execute(query))


def _values(scope: Scope) -> dict[str, object]:
    start = float("-inf") if scope.start is None else scope.start
    end = float("inf") if scope.end is None else scope.end
    return {"start": start, "end": end, "worker": scope.worker}


_IN_SCOPE: LiteralString = """
visits.starts_at >= to_timestamp(%(start)s) and visits.starts_at < to_timestamp(%(end)s)
    and (%(worker)s::text is null or visits.worker = %(worker)s)
"""

QUEUE: LiteralString = f"""
insert into due (visit, at, why)
select id, to_timestamp(%(at)s), %(why)s from visits where {_IN_SCOPE}
on conflict (visit) do update set why = due.why
"""

PLANNED: LiteralString = f"""
select id, extract(epoch from ends_at - starts_at)::float8
from visits
where {_IN_SCOPE}
order by date_bin('1 day', starts_at, '2000-01-01 00:00:00+00'), worker, starts_at, id
"""

WITHOUT_SKETCH: LiteralString = f"""
select id, extract(epoch from ends_at - starts_at)::float8
from visits
where {_IN_SCOPE} and ends_at < to_timestamp(%(now)s)
    and not exists (select from sketches where sketches.visit = visits.id and sketches.made = %(made)s)
order by starts_at, id
"""

COUNT: LiteralString = f"select count(*) from visits where {_IN_SCOPE}"

ORPHANS: tuple[LiteralString, ...] = (
    "delete from outcomes where not exists (select from visits where visits.id = outcomes.visit)",
    "delete from gaps where not exists (select from visits where visits.id = gaps.visit)",
    "delete from presence where not exists (select from visits where visits.id = presence.visit)",
    "delete from coverage where not exists (select from visits where visits.id = coverage.visit)",
    "delete from haunts where not exists (select from visits where visits.id = haunts.visit)",
    "delete from sketches where not exists (select from visits where visits.id = sketches.visit)",
    "delete from alerts where visit is not null and not exists (select from visits where visits.id = alerts.visit)",
    "delete from device_states where not exists (select from sightings where sightings.source = device_states.source)",
)

CONTENTS: dict[str, LiteralString] = {
    "outcomes": """
        select (visit, worker, site, service, starts_at, ends_at, verdict, findings, coverage, monitored_s, expected_s, on_site_s,
                arrived_at, left_at, outcome)::text
        from outcomes order by visit
    """,
    "gaps": "select (visit, start_at, end_at, cause)::text from gaps order by visit, start_at",
    "presence": "select (visit, start_at, end_at, worker, site, state)::text from presence order by visit, start_at",
    "coverage": "select coverage::text from coverage order by visit",
    "haunts": "select (visit, place, sites)::text from haunts order by visit, place[0], place[1]",
    "sketches": "select sketches::text from sketches order by visit",
    "alerts": """
        select (id, kind, severity, at, visit, worker, site, device, detail)::text from alerts where not cleared order by id
    """,
    "positions": "select positions::text from positions order by worker",
    "device_states": "select device_states::text from device_states order by source",
    "stays": "select stays::text from stays order by worker, start_at",
    "searches": "select searches::text from searches order by worker",
    "sightings": "select sightings::text from sightings order by source",
    "neighbours": "select neighbours::text from neighbours order by site, neighbour",
}
