"""Reads for HTTP: what was observed. Newest positions, tracks, and the evidence of a window.

Rules kept here: see `store.views`. Evidence hangs on sources; whose they are is looked up in the same statement, so that an adopted
source brings its whole past with it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row


class PositionRow(Struct, frozen=True, kw_only=True):
    """The newest fix of a worker, and how it stands to the visit she should be at."""

    worker: str
    name: str | None
    source: str
    at: datetime
    received_at: datetime
    lon: float
    lat: float
    accuracy_m: float | None
    altitude_m: float | None
    speed_mps: float | None
    heading_deg: float | None
    battery: float | None
    mode: str | None
    flags: list[str]
    visit: str | None
    site: str | None
    presence: str
    online: bool | None


class FixRow(Struct, frozen=True, kw_only=True):
    """One fix as stored."""

    source: str
    at: datetime
    identity: int
    received_at: datetime
    lon: float
    lat: float
    accuracy_m: float | None
    altitude_m: float | None
    speed_mps: float | None
    heading_deg: float | None
    battery: float | None
    mock: bool
    crs: str
    raw_lon: float | None
    raw_lat: float | None
    mode: str | None
    trigger: str | None
    epoch: int | None
    seq: int | None


class CheckRow(Struct, frozen=True, kw_only=True):
    """One check-in or check-out as stored."""

    source: str
    at: datetime
    received_at: datetime
    kind: str
    visit: str | None
    method: str
    lon: float | None
    lat: float | None
    accuracy_m: float | None


class DeviceEventRow(Struct, frozen=True, kw_only=True):
    """One device event as stored, with the device it came from."""

    device: str
    at: datetime
    received_at: datetime
    kind: str
    value: float | None
    worker: str | None
    credential: str | None


class StatusRow(Struct, frozen=True, kw_only=True):
    """One status as stored."""

    source: str
    at: datetime
    received_at: datetime
    state: str
    permission: str | None
    power_save: bool | None
    battery: float | None


class Place(Struct, frozen=True, kw_only=True):
    """Where a page of a track goes on: behind this fix."""

    at: datetime
    source: str
    identity: int


async def positions(connection: AsyncConnection, workers: Sequence[str], after: str, limit: int) -> list[PositionRow]:
    """Newest positions in the order of worker ids, of these workers or of all; one whom nobody planned has no name."""
    only = "positions.worker = any(%(workers)s) and" if workers else ""
    async with connection.cursor(row_factory=class_row(PositionRow)) as cursor:
        query = f"{POSITIONS} where {only} positions.worker > %(after)s order by positions.worker limit %(limit)s"
        await cursor.execute(query, {"workers": list(workers), "after": after, "limit": limit})
        return await cursor.fetchall()


async def track(
    connection: AsyncConnection, worker: str, start: datetime, end: datetime, after: Place | None, limit: int
) -> list[FixRow]:
    """Every fix of a worker's sources with `at` in `[start, end)`, in the order of (at, source, identity)."""
    values = {"worker": worker, "start": start, "end": end, "limit": limit}
    behind = ""
    if after is not None:
        behind = "and (at, source, identity) > (%(at)s, %(source)s, %(identity)s)"
        values |= {"start": max(start, after.at), "at": after.at, "source": after.source, "identity": after.identity}
    async with connection.cursor(row_factory=class_row(FixRow)) as cursor:
        await cursor.execute(f"{TRACK} {behind} order by at, source, identity limit %(limit)s", values)
        return await cursor.fetchall()


async def track_before(connection: AsyncConnection, worker: str, end: datetime, lead: timedelta, limit: int) -> list[FixRow]:
    """The last fixes before a moment, oldest first: what judging the fixes behind it needs to have seen."""
    query = f"""
    select * from ({TRACK} order by at desc, source desc, identity desc limit %(limit)s) as newest
    order by at, source, identity
    """
    async with connection.cursor(row_factory=class_row(FixRow)) as cursor:
        await cursor.execute(query, {"worker": worker, "start": end - lead, "end": end, "limit": limit})
        return await cursor.fetchall()


async def has_reported(connection: AsyncConnection, worker: str) -> bool:
    """Whether there is a worker of this id, planned or only heard of."""
    query = """
    select exists (select from workers where id = %(worker)s) or exists (select from positions where worker = %(worker)s)
        or exists (select from fixes where source = %(worker)s)
    """
    found = await (await connection.execute(query, {"worker": worker})).fetchone()
    return bool(found and found[0])


async def checks(connection: AsyncConnection, worker: str, start: datetime, end: datetime, limit: int) -> list[CheckRow]:
    async with connection.cursor(row_factory=class_row(CheckRow)) as cursor:
        await cursor.execute(CHECKS, {"worker": worker, "start": start, "end": end, "limit": limit})
        return await cursor.fetchall()


async def device_events(connection: AsyncConnection, site: str, start: datetime, end: datetime, limit: int) -> list[DeviceEventRow]:
    async with connection.cursor(row_factory=class_row(DeviceEventRow)) as cursor:
        await cursor.execute(DEVICE_EVENTS, {"site": site, "start": start, "end": end, "limit": limit})
        return await cursor.fetchall()


async def statuses(
    connection: AsyncConnection, worker: str, site: str, start: datetime, end: datetime, limit: int
) -> list[StatusRow]:
    """Of the worker's phones and of the site's devices."""
    async with connection.cursor(row_factory=class_row(StatusRow)) as cursor:
        await cursor.execute(STATUSES, {"worker": worker, "site": site, "start": start, "end": end, "limit": limit})
        return await cursor.fetchall()


POSITIONS = """
select positions.worker, workers.name, positions.source, positions.at, positions.received_at, positions.lon, positions.lat,
       positions.accuracy_m, positions.altitude_m, positions.speed_mps, positions.heading_deg, positions.battery, positions.mode,
       positions.flags, positions.visit, positions.site, positions.presence, positions.online
from positions left join workers on workers.id = positions.worker
"""

# A worker's sources: those that are mapped to her, and her own id unless it is mapped to somebody else.
SOURCES_OF_WORKER = """
select source from sources where worker = %(worker)s
union all select %(worker)s where not exists (select from sources where source = %(worker)s)
"""

TRACK = f"""
select source, at, identity, received_at, lon, lat, accuracy_m, altitude_m, speed_mps, heading_deg, battery, mock, crs, raw_lon,
       raw_lat, mode, trigger, epoch, seq
from fixes
where source = any(array({SOURCES_OF_WORKER})) and at >= %(start)s and at < %(end)s
"""

CHECKS = f"""
select source, at, received_at, kind, visit, method, lon, lat, accuracy_m
from checks
where source = any(array({SOURCES_OF_WORKER})) and at >= %(start)s and at < %(end)s
order by at, source, identity
limit %(limit)s
"""

DEVICE_EVENTS = """
select devices.id as device, said.at, said.received_at, said.kind, said.value, said.worker, said.credential
from devices join device_events as said on said.source = devices.source
where devices.site = %(site)s and said.at >= %(start)s and said.at < %(end)s
order by said.at, said.source, said.identity
limit %(limit)s
"""

STATUSES = f"""
select source, at, received_at, state, permission, power_save, battery
from statuses
where source = any(array({SOURCES_OF_WORKER} union all select source from devices where site = %(site)s))
      and at >= %(start)s and at < %(end)s
order by at, source, identity
limit %(limit)s
"""
