"""Reads for HTTP: what is counted and what wants a person. Coverage, alerts, the stream's log, the programs' heartbeats.

Rules kept here: see `store.views`. A share is never averaged: seconds are summed and divided once.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Literal

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.plans import Json

Dimension = Literal["day", "worker", "site", "service"]


class CoverageRow(Struct, frozen=True, kw_only=True):
    """Sums over the visits of one group. A dimension that was not asked for is null; in the total all are."""

    day: date | None
    worker: str | None
    site: str | None
    service: str | None
    visits: int
    covered_visits: int
    monitored_s: float
    expected_s: float
    ingest_outage: float
    no_device: float
    permission_off: float
    phone_offline: float
    power_save: float
    poor_accuracy: float
    suspect: float
    delayed: float
    silent: float


class AlertRow(Struct, frozen=True, kw_only=True):
    """An exception, and what a person said of it."""

    id: str
    kind: str
    severity: str
    at: datetime
    visit: str | None
    worker: str | None
    site: str | None
    device: str | None
    detail: Json
    cleared: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts: all that are given must hold. `open` are those neither cleared nor acknowledged."""

    open: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    worker: str | None = None
    site: str | None = None
    visit: str | None = None


class Changes(Struct, frozen=True, kw_only=True):
    """What changed after one id of the stream's log and through another."""

    through: int
    workers: Sequence[str] = ()
    visits: Sequence[str] = ()
    alerts: Sequence[str] = ()
    devices: Sequence[str] = ()


class ProgramRow(Struct, frozen=True, kw_only=True):
    """The last heartbeat of a program; `silent_s` by the database's clock, which wrote it."""

    name: str
    beat_at: datetime
    started_at: datetime
    silent_s: float
    state: Json


async def coverage(
    connection: AsyncConnection, start: datetime, end: datetime, target: float, by: Sequence[Dimension], offset: int, limit: int
) -> list[CoverageRow]:
    """Sums by group, in the order of the group; the days are those of each site's own time zone."""
    keys = ", ".join(by)
    query = f"select {_keys(by)}, {SUMS} {JUDGED} group by {keys} order by {keys} offset %(offset)s limit %(limit)s"
    async with connection.cursor(row_factory=class_row(CoverageRow)) as cursor:
        await cursor.execute(query, {"start": start, "end": end, "target": target, "offset": offset, "limit": limit})
        return await cursor.fetchall()


async def coverage_total(connection: AsyncConnection, start: datetime, end: datetime, target: float) -> CoverageRow:
    async with connection.cursor(row_factory=class_row(CoverageRow)) as cursor:
        await cursor.execute(f"select {_keys(())}, {SUMS} {JUDGED}", {"start": start, "end": end, "target": target})
        total = await cursor.fetchone()
    assert total is not None, "an aggregate without groups has one row"
    return total


async def alerts(
    connection: AsyncConnection, wanted: AlertFilter, before: tuple[datetime, str] | None, limit: int
) -> list[AlertRow]:
    """Alerts, newest first."""
    conditions: list[str] = []
    values: dict[str, Any] = {"limit": limit}
    for name, condition in ALERT_CONDITIONS.items():
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(condition)
            values[name] = value
    if before is not None:
        conditions.append("(alerts.at, alerts.id) < (%(before_at)s, %(before_id)s)")
        values["before_at"], values["before_id"] = before
    where = f"where {' and '.join(conditions)}" if conditions else ""
    async with connection.cursor(row_factory=class_row(AlertRow)) as cursor:
        await cursor.execute(f"{ALERTS} {where} order by alerts.at desc, alerts.id desc limit %(limit)s", values)
        return await cursor.fetchall()


async def alerts_by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[AlertRow]:
    async with connection.cursor(row_factory=class_row(AlertRow)) as cursor:
        await cursor.execute(f"{ALERTS} where alerts.id = any(%s)", [list(ids)])
        return await cursor.fetchall()


async def acknowledge(connection: AsyncConnection, alert: str, by: str | None, note: str | None) -> bool:
    """Keeps what a person said of an alert; the first word stands. False when there is no such alert."""
    journaled = await connection.execute(ACKNOWLEDGE, {"alert": alert, "by": by, "note": note})
    if journaled.rowcount:
        await connection.execute("notify sitewatch_journal")
        return True
    found = await connection.execute("select from alerts where id = %s", [alert])
    return await found.fetchone() is not None


async def changes(connection: AsyncConnection, after: int, rows_max: int) -> Changes | None:
    """What changed behind an id, each thing once however often it changed; null when nothing did."""
    row = await (await connection.execute(CHANGES, {"after": after, "rows_max": rows_max})).fetchone()
    if row is None or row[0] is None:
        return None
    return Changes(through=row[0], workers=row[1], visits=row[2], alerts=row[3], devices=row[4])


async def changes_kept(connection: AsyncConnection) -> tuple[int, int]:
    """The oldest and the newest id of the stream's log. Of an empty log: (1, 0)."""
    row = await (await connection.execute("select coalesce(min(id), 1), coalesce(max(id), 0) from changes")).fetchone()
    assert row is not None, "an aggregate without groups has one row"
    return row[0], row[1]


async def programs(connection: AsyncConnection) -> list[ProgramRow]:
    query = """
    select name, beat_at, started_at, extract(epoch from clock_timestamp() - beat_at)::float8 as silent_s, state
    from programs order by name
    """
    async with connection.cursor(row_factory=class_row(ProgramRow)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


def _keys(by: Sequence[Dimension]) -> str:
    return ", ".join(f"{COLUMNS[name] if name in by else NULLS[name]} as {name}" for name in COLUMNS)


COLUMNS: dict[Dimension, str] = {
    "day": "day",
    "worker": "worker",
    "site": "site",
    "service": "service",
}
NULLS: dict[Dimension, str] = {"day": "null::date", "worker": "null::text", "site": "null::text", "service": "null::text"}

SUMS = """
count(*) as visits, count(*) filter (where share >= %(target)s) as covered_visits,
coalesce(sum(monitored_s), 0) as monitored_s, coalesce(sum(expected_s), 0) as expected_s,
coalesce(sum(ingest_outage), 0) as ingest_outage, coalesce(sum(no_device), 0) as no_device,
coalesce(sum(permission_off), 0) as permission_off, coalesce(sum(phone_offline), 0) as phone_offline,
coalesce(sum(power_save), 0) as power_save, coalesce(sum(poor_accuracy), 0) as poor_accuracy,
coalesce(sum(suspect), 0) as suspect, coalesce(sum(delayed), 0) as delayed, coalesce(sum(silent), 0) as silent
"""

# Judged visits of a span, each with the day on which it began at its site.
JUDGED = """
from (
    select (coverage.starts_at at time zone coalesce(sites.timezone, 'UTC'))::date as day, coverage.*
    from coverage left join sites on sites.id = coverage.site
    where coverage.starts_at >= %(start)s and coverage.starts_at < %(end)s
) as judged
"""

ALERTS = """
select alerts.id, alerts.kind, alerts.severity, alerts.at, alerts.visit, alerts.worker, alerts.site, alerts.device, alerts.detail,
       alerts.cleared, said.acknowledged_at, said.acknowledged_by, said.note
from alerts left join acknowledgements as said on said.alert = alerts.id
"""

# Keeps a first word, and journals it: verify alone may tell the other desks, or the ids of `changes` would come out of order.
ACKNOWLEDGE = """
with said as (
    insert into acknowledgements (alert, acknowledged_by, note)
    select id, %(by)s, %(note)s from alerts where id = %(alert)s
    on conflict (alert) do nothing
    returning alert
)
insert into journal (alerts) select array[alert] from said
"""

ALERT_CONDITIONS = {
    "open": "(not alerts.cleared and said.alert is null) = %(open)s",
    "since": "alerts.at >= %(since)s",
    "until": "alerts.at < %(until)s",
    "kind": "alerts.kind = %(kind)s",
    "worker": "alerts.worker = %(worker)s",
    "site": "alerts.site = %(site)s",
    "visit": "alerts.visit = %(visit)s",
}

# The union of the next rows of the stream's log.
CHANGES = """
with next as (select id, workers, visits, alerts, devices from changes where id > %(after)s order by id limit %(rows_max)s)
select (select max(id) from next),
       array(select distinct unnest(workers) from next), array(select distinct unnest(visits) from next),
       array(select distinct unnest(alerts) from next), array(select distinct unnest(devices) from next)
"""
