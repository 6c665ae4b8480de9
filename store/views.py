"""Reads for HTTP: plans with what was made of them, as frozen rows.

Rules kept here:

- One statement a call, columns listed; a list takes the key of the last row that the reader has (`after`) and a `limit`, and walks
  an index from there, so that page one thousand costs what page one costs.
- Rows are as stored. How they read as JSON is the business of `api`.
- What was observed (positions, tracks, evidence) is in `store.observations`, what is counted in `store.figures`, what could not be
  taken in `store.rejects`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.plans import DevicePlan, Json, SitePlan, VisitPlan, WorkerPlan


class SiteRow(SitePlan, frozen=True, kw_only=True):
    """A stored site."""

    updated_at: datetime


class WorkerRow(WorkerPlan, frozen=True, kw_only=True):
    """A stored worker. Her key itself is read by ingest alone."""

    updated_at: datetime
    has_owntracks_key: bool


class DeviceRow(DevicePlan, frozen=True, kw_only=True):
    """A stored device with the state it reported last; `reported_at` is null when it never reported."""

    updated_at: datetime
    reported_at: datetime | None
    received_at: datetime | None
    online: bool | None
    battery: float | None
    state: Json | None


class VisitRow(VisitPlan, frozen=True, kw_only=True):
    """A stored visit with its current outcome, which is null before anybody judged it."""

    updated_at: datetime
    outcome: Json | None
    revision: int | None


class OutcomeRow(Struct, frozen=True, kw_only=True):
    """One version of a visit's outcome, and why it differs from the one before."""

    visit: str
    revision: int
    outcome: Json
    why: str
    reasons: list[Json]
    recorded_at: datetime


class PolicyRow(Struct, frozen=True, kw_only=True):
    """The newest version of what a service overrides of the defaults."""

    service: str
    version: int
    body: Json
    created_at: datetime


class StayRow(Struct, frozen=True, kw_only=True):
    """Where a worker stayed, and what it was."""

    worker: str
    start_at: datetime
    end_at: datetime
    ongoing: bool
    lon: float
    lat: float
    error_m: float
    fixes: int
    kind: str
    site: str | None
    sites: list[str]
    visit: str | None
    instead_of: str | None


class StayFilter(Struct, frozen=True, kw_only=True):
    """Which stays: all that are given must hold; any of a list's members does."""

    starts_from: datetime | None = None
    starts_before: datetime | None = None
    workers: Sequence[str] = ()
    sites: Sequence[str] = ()
    kinds: Sequence[str] = ()


class VisitFilter(Struct, frozen=True, kw_only=True):
    """Which visits: all that are given must hold; any of a list's members does."""

    starts_from: datetime | None = None
    starts_before: datetime | None = None
    workers: Sequence[str] = ()
    sites: Sequence[str] = ()
    services: Sequence[str] = ()
    verdicts: Sequence[str] = ()


async def sites(connection: AsyncConnection, after: str, limit: int) -> list[SiteRow]:
    """Sites in the order of their ids."""
    async with connection.cursor(row_factory=class_row(SiteRow)) as cursor:
        await cursor.execute(f"{SITES} where id > %s order by id limit %s", [after, limit])
        return await cursor.fetchall()


async def site(connection: AsyncConnection, name: str) -> SiteRow | None:
    async with connection.cursor(row_factory=class_row(SiteRow)) as cursor:
        await cursor.execute(f"{SITES} where id = %s", [name])
        return await cursor.fetchone()


async def workers(connection: AsyncConnection, after: str, limit: int) -> list[WorkerRow]:
    """Workers in the order of their ids."""
    async with connection.cursor(row_factory=class_row(WorkerRow)) as cursor:
        await cursor.execute(f"{WORKERS} where id > %s order by id limit %s", [after, limit])
        return await cursor.fetchall()


async def worker(connection: AsyncConnection, name: str) -> WorkerRow | None:
    async with connection.cursor(row_factory=class_row(WorkerRow)) as cursor:
        await cursor.execute(f"{WORKERS} where id = %s", [name])
        return await cursor.fetchone()


async def devices(connection: AsyncConnection, site: str | None, after: str, limit: int) -> list[DeviceRow]:
    """Devices in the order of their ids, of one site or of all."""
    only = "" if site is None else "devices.site = %(site)s and"
    async with connection.cursor(row_factory=class_row(DeviceRow)) as cursor:
        query = f"{DEVICES} where {only} devices.id > %(after)s order by devices.id limit %(limit)s"
        await cursor.execute(query, {"site": site, "after": after, "limit": limit})
        return await cursor.fetchall()


async def devices_by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[DeviceRow]:
    async with connection.cursor(row_factory=class_row(DeviceRow)) as cursor:
        await cursor.execute(f"{DEVICES} where devices.id = any(%s)", [list(ids)])
        return await cursor.fetchall()


async def visits(
    connection: AsyncConnection, wanted: VisitFilter, after: tuple[datetime, str] | None, limit: int
) -> list[VisitRow]:
    """Visits in the order of (starts_at, id). A visit that nobody judged yet counts as pending."""
    conditions: list[str] = []
    values: dict[str, Any] = {"limit": limit}
    for value, name, condition in (
        (wanted.starts_from, "starts_from", "visits.starts_at >= %(starts_from)s"),
        (wanted.starts_before, "starts_before", "visits.starts_at < %(starts_before)s"),
        (list(wanted.workers), "workers", "visits.worker = any(%(workers)s)"),
        (list(wanted.sites), "sites", "visits.site = any(%(sites)s)"),
        (list(wanted.services), "services", "visits.service = any(%(services)s)"),
        (list(wanted.verdicts), "verdicts", "coalesce(outcomes.verdict, 'pending') = any(%(verdicts)s)"),
    ):
        if value:
            conditions.append(condition)
            values[name] = value
    if after is not None:
        conditions.append("(visits.starts_at, visits.id) > (%(after_at)s, %(after_id)s)")
        values["after_at"], values["after_id"] = after
    where = f"where {' and '.join(conditions)}" if conditions else ""
    async with connection.cursor(row_factory=class_row(VisitRow)) as cursor:
        await cursor.execute(f"{VISITS} {where} order by visits.starts_at, visits.id limit %(limit)s", values)
        return await cursor.fetchall()


async def visits_by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[VisitRow]:
    async with connection.cursor(row_factory=class_row(VisitRow)) as cursor:
        await cursor.execute(f"{VISITS} where visits.id = any(%s)", [list(ids)])
        return await cursor.fetchall()


async def stays(connection: AsyncConnection, wanted: StayFilter, after: tuple[datetime, str] | None, limit: int) -> list[StayRow]:
    """Stays in the order of (start_at, worker), but for those that are nobody's business."""
    conditions = ["kind <> 'off_duty'"]
    values: dict[str, Any] = {"limit": limit}
    for value, name, condition in (
        (wanted.starts_from, "starts_from", "start_at >= %(starts_from)s"),
        (wanted.starts_before, "starts_before", "start_at < %(starts_before)s"),
        (list(wanted.workers), "workers", "worker = any(%(workers)s)"),
        (list(wanted.sites), "sites", "sites && %(sites)s::text[]"),
        (list(wanted.kinds), "kinds", "kind = any(%(kinds)s)"),
    ):
        if value:
            conditions.append(condition)
            values[name] = value
    if after is not None:
        conditions.append("(start_at, worker) > (%(after_at)s, %(after_worker)s)")
        values["after_at"], values["after_worker"] = after
    async with connection.cursor(row_factory=class_row(StayRow)) as cursor:
        await cursor.execute(f"{STAYS} where {' and '.join(conditions)} order by start_at, worker limit %(limit)s", values)
        return await cursor.fetchall()


async def history(connection: AsyncConnection, visit: str, before: int | None, limit: int) -> list[OutcomeRow]:
    """What people were told of a visit, newest first; of the versions before that one, where one is given."""
    query = """
    select visit, revision, outcome, why, reasons, recorded_at
    from outcome_history where visit = %(visit)s and revision < coalesce(%(before)s, 2147483647)
    order by revision desc limit %(limit)s
    """
    async with connection.cursor(row_factory=class_row(OutcomeRow)) as cursor:
        await cursor.execute(query, {"visit": visit, "before": before, "limit": limit})
        return await cursor.fetchall()


async def policies(connection: AsyncConnection) -> list[PolicyRow]:
    """The newest version of each service's policy, as far as one was put."""
    query = """
    select distinct on (service) service, version, body, created_at from policies order by service, version desc
    """
    async with connection.cursor(row_factory=class_row(PolicyRow)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


SITES = """
select id, name, customer, timezone, geometry, radius_m, properties, min_lon, min_lat, max_lon, max_lat, updated_at from sites
"""

WORKERS = """
select id, name, aliases, properties, updated_at,
       exists (select from sources join source_keys using (source) where sources.worker = workers.id) as has_owntracks_key
from workers
"""

# A device's last reported state hangs on its source, because the device may have reported before anybody planned it.
DEVICES = """
select devices.id, devices.site, devices.kind, devices.dialect, devices.address, devices.name, devices.properties,
       devices.updated_at, said.at as reported_at, said.received_at, said.online, said.battery, said.state
from devices left join device_states as said on said.source = devices.source
"""

STAYS = """
select worker, start_at, end_at, cut_at is null as ongoing, lon, lat, error_m, fixes, kind, site, sites, visit, instead_of
from stays
"""

VISITS = """
select visits.id, visits.worker, visits.site, visits.service, visits.starts_at, visits.ends_at, visits.properties,
       visits.updated_at, outcomes.outcome, outcomes.revision
from visits left join outcomes on outcomes.visit = visits.id
"""
