"""Writes of plans: sites, workers with their addresses, devices, visits and policies, as people put and delete them.

Rules kept here:

- Whoever calls has opened the transaction; a refusal (`refusals.Refused`) leaves it to be rolled back. What changed is written into
  `journal` in the same transaction, in one row, so that verify recomputes exactly that.
- A put is idempotent: what is stored already is left alone, and a transaction that changed nothing writes no journal row.
- Rows are written in the order of their ids, so that two bulk puts cannot wait for each other in a ring.
- Many rows are one statement. A single put is a bulk of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from store import keys, refusals

Json = dict[str, Any]


class SitePlan(Struct, frozen=True, kw_only=True):
    """A fence with its customer. `geometry` is GeoJSON; the box `min_lon` to `max_lat` encloses it with its radius."""

    id: str
    name: str
    customer: str | None
    timezone: str
    geometry: Json
    radius_m: float | None
    properties: Json
    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float


class WorkerPlan(Struct, frozen=True, kw_only=True):
    """A worker, and by dialect the addresses that report for her."""

    id: str
    name: str
    aliases: dict[str, tuple[str, ...]]
    properties: Json

    @property
    def sources(self) -> frozenset[str]:
        """The aliases as sources. Her own id needs no mapping: evidence that comes under it is hers."""
        aliases = self.aliases.items()
        return frozenset(source(dialect, address) for dialect, found in aliases for address in found) - {self.id}

    @property
    def owntracks_sources(self) -> frozenset[str]:
        """Those of them that may encrypt what they send."""
        return frozenset(source("owntracks", address) for address in self.aliases.get("owntracks", ()))


class DevicePlan(Struct, frozen=True, kw_only=True):
    """A device at a site. Without an address, its id is the address."""

    id: str
    site: str
    kind: str
    dialect: str
    address: str | None
    name: str | None
    properties: Json

    @property
    def source(self) -> str:
        return source(self.dialect, self.address or self.id)


class VisitPlan(Struct, frozen=True, kw_only=True):
    """A planned service `[starts_at, ends_at)`."""

    id: str
    worker: str
    site: str
    service: str
    starts_at: datetime
    ends_at: datetime
    properties: Json


class Plans(Struct, frozen=True, kw_only=True):
    """What one transaction puts. Ids are unique within each kind."""

    sites: Sequence[SitePlan] = ()
    workers: Sequence[WorkerPlan] = ()
    devices: Sequence[DevicePlan] = ()
    visits: Sequence[VisitPlan] = ()
    owntracks_keys: Mapping[str, str | None] = {}
    """By worker, as far as it was said: the passphrase of her OwnTracks phones, null for none. The others keep theirs."""


class Counts(Struct, frozen=True, kw_only=True):
    """What became of the rows of one kind."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0


class Written(Struct, frozen=True, kw_only=True):
    """What became of each kind of plan."""

    sites: Counts
    workers: Counts
    devices: Counts
    visits: Counts


class _Touched(Struct, kw_only=True):
    """What a transaction changed: the lists of its journal row."""

    visits: set[str] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)
    workers: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)


def source(dialect: str, address: str) -> str:
    """The source that evidence from this address comes under."""
    return address if dialect == "native" else f"{dialect}:{address}"


async def put(connection: AsyncConnection, plans: Plans) -> Written:
    """Writes all plans or raises `refusals.Refused`. Sites and workers come before the devices and visits that name them."""
    touched = _Touched()
    written = Written(
        sites=await _put_sites(connection, plans.sites, touched),
        workers=await _put_workers(connection, plans.workers, plans.owntracks_keys, touched),
        devices=await _put_devices(connection, plans.devices, touched),
        visits=await _put_visits(connection, plans.visits, touched),
    )
    await _journal(connection, touched)
    return written


async def hold_policy(connection: AsyncConnection, service: str) -> None:
    """Two people who edit one policy at the same time get two versions, one after the other: the second sees what the first said.

    Before the policy is read that an edit starts from, in the transaction of the edit.
    """
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('sitewatch policy ' || %s, 0))", [service])


async def put_policy(connection: AsyncConnection, service: str, body: Json) -> int:
    """Adds a version of a service's policy unless the newest says the same, and returns the version that holds now."""
    await hold_policy(connection, service)
    newest = "select version, body from policies where service = %s order by version desc limit 1"
    found = await (await connection.execute(newest, [service])).fetchone()
    if found is not None and found[1] == body:
        return int(found[0])
    version = 1 if found is None else int(found[0]) + 1
    insert = "insert into policies (service, version, body) values (%s, %s, %s)"
    await connection.execute(insert, [service, version, Jsonb(body)])
    await _journal(connection, _Touched(services={service}))
    return version


async def delete_site(connection: AsyncConnection, site: str) -> bool:
    """False when there is none. Raises `InUse` while devices or visits name it."""
    await refusals.refuse_when_named(connection, "site", site, {"devices": "site", "visits": "site"})
    return await _delete(connection, "delete from sites where id = %s returning id", site, "sites")


async def delete_worker(connection: AsyncConnection, worker: str) -> bool:
    """False when there is none. Her aliases and keys go with her; her evidence stays. Raises `InUse` while visits name her."""
    await refusals.refuse_when_named(connection, "worker", worker, {"visits": "worker"})
    await keys.change(connection, (await keys.of_workers(connection, [worker])).get(worker, {}), {})
    return await _delete(connection, "delete from workers where id = %s returning id", worker, "workers")


async def delete_device(connection: AsyncConnection, device: str) -> bool:
    """False when there is none. Its evidence stays, and counts for the site no more."""
    deleted = await (await connection.execute("delete from devices where id = %s returning site", [device])).fetchone()
    if deleted is None:
        return False
    await _journal(connection, _Touched(devices={device}, sites={deleted[0]}))
    return True


async def delete_visit(connection: AsyncConnection, visit: str) -> bool:
    """False when there is none."""
    return await _delete(connection, "delete from visits where id = %s returning id", visit, "visits")


async def _put_sites(connection: AsyncConnection, sites: Sequence[SitePlan], touched: _Touched) -> Counts:
    if not sites:
        return Counts()
    await refusals.refuse_unknown_zones(connection, sites)
    rows = sorted(sites, key=lambda site: site.id)
    created, changed = await _upsert(connection, PUT_SITES, rows)
    touched.sites |= created | changed
    return _counts(rows, created, changed)


async def _put_workers(
    connection: AsyncConnection, workers: Sequence[WorkerPlan], owntracks_keys: Mapping[str, str | None], touched: _Touched
) -> Counts:
    if not workers:
        return Counts()
    rows = sorted(workers, key=lambda worker: worker.id)
    created, changed = await _upsert(connection, PUT_WORKERS, rows)
    keyed = await keys.of_workers(connection, [worker.id for worker in rows])
    remapped = await _map_sources(connection, rows)
    rekeyed = await _change_keys(connection, rows, keyed, owntracks_keys)
    # A key changes nothing of what is stored already, so verify need not hear of it.
    touched.workers |= created | changed | remapped
    return _counts(rows, created, (changed | remapped | rekeyed) - created)


async def _put_devices(connection: AsyncConnection, devices: Sequence[DevicePlan], touched: _Touched) -> Counts:
    if not devices:
        return Counts()
    rows = sorted(devices, key=lambda device: device.id)
    await refusals.refuse_unknown(connection, "device", "site", "sites", [(row.id, row.site) for row in rows])
    await refusals.refuse_taken_addresses(connection, rows)
    ids = [row.id for row in rows]
    before = await (await connection.execute("select id, site from devices where id = any(%s)", [ids])).fetchall()
    created, changed = await _upsert(connection, PUT_DEVICES, rows)
    touched.devices |= created | changed
    # The home that a device moved away from has lost a witness, and only this row knows.
    touched.sites |= {site for device, site in before if device in changed}
    return _counts(rows, created, changed)


async def _put_visits(connection: AsyncConnection, visits: Sequence[VisitPlan], touched: _Touched) -> Counts:
    if not visits:
        return Counts()
    rows = sorted(visits, key=lambda visit: visit.id)
    await refusals.refuse_unknown(connection, "visit", "worker", "workers", [(row.id, row.worker) for row in rows])
    await refusals.refuse_unknown(connection, "visit", "site", "sites", [(row.id, row.site) for row in rows])
    created, changed = await _upsert(connection, PUT_VISITS, rows)
    touched.visits |= created | changed
    return _counts(rows, created, changed)


async def _upsert(connection: AsyncConnection, statement: str, rows: Sequence[Struct]) -> tuple[set[str], set[str]]:
    """Runs an upsert of columns given by name; returns the ids that were created and those that were changed."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in rows[0].__struct_fields__}
    for name in JSON_COLUMNS & columns.keys():
        columns[name] = [Jsonb(value) for value in columns[name]]
    columns["source"] = [getattr(row, "source", None) for row in rows]
    found = await (await connection.execute(statement, columns)).fetchall()
    return {item for item, created in found if created}, {item for item, created in found if not created}


async def _map_sources(connection: AsyncConnection, workers: Sequence[WorkerPlan]) -> set[str]:
    """Makes the mapping of these workers' sources what their plans say; returns the workers for whom that changed anything."""
    ids = [worker.id for worker in workers]
    found = await (await connection.execute("select worker, source from sources where worker = any(%s)", [ids])).fetchall()
    wanted = {(worker.id, source) for worker in workers for source in worker.sources}
    removed, added = set(found) - wanted, sorted(wanted - set(found), key=lambda pair: pair[1])
    await connection.execute("delete from sources where source = any(%s)", [[source for _, source in removed]])
    mapping = [[source for _, source in added], [worker for worker, _ in added]]
    inserted = await (await connection.execute(MAP_SOURCES, mapping)).fetchall()
    if len(inserted) < len(added):
        missing = {source for _, source in added} - {source for (source,) in inserted}
        await refusals.refuse_taken_sources(connection, added, missing)
    await refusals.refuse_a_worker_as_alias(connection, ids)
    return {worker for worker, _ in removed} | {worker for worker, _ in added}


async def _change_keys(
    connection: AsyncConnection,
    workers: Sequence[WorkerPlan],
    keyed: Mapping[str, Mapping[str, str]],
    said: Mapping[str, str | None],
) -> set[str]:
    """Gives the workers' OwnTracks sources the key that was said, or else the one that was theirs (`keyed`: before the mapping).

    Returns the workers for whom that changed anything.
    """
    keyed_now = await keys.of_workers(connection, [worker.id for worker in workers])
    owners = {source: worker for known in (keyed, keyed_now) for worker, sources in known.items() for source in sources}
    before = {source: secret for known in (keyed, keyed_now) for sources in known.values() for source, secret in sources.items()}
    after: dict[str, str] = {}
    for worker in workers:
        had = [*keyed.get(worker.id, {}).values(), *keyed_now.get(worker.id, {}).values()]
        secret = said.get(worker.id, next(iter(had), None))
        if secret is not None:
            owners |= dict.fromkeys(worker.owntracks_sources, worker.id)
            after |= dict.fromkeys(worker.owntracks_sources, secret)
    return {owners[source] for source in await keys.change(connection, before, after)}


async def _delete(connection: AsyncConnection, statement: str, item: str, touched: str) -> bool:
    deleted = await (await connection.execute(statement, [item])).fetchone()
    if deleted is None:
        return False
    await _journal(connection, _Touched(**{touched: {item}}))
    return True


async def _journal(connection: AsyncConnection, touched: _Touched) -> None:
    lists = {name: sorted(getattr(touched, name)) for name in _Touched.__struct_fields__}
    if any(lists.values()):
        await connection.execute(JOURNAL, lists)
        await connection.execute("notify sitewatch_journal")


def _counts(rows: Sequence[Struct], created: Iterable[str], changed: Iterable[str]) -> Counts:
    new, other = len(set(created)), len(set(changed))
    return Counts(created=new, changed=other, unchanged=len(rows) - new - other)


JSON_COLUMNS = frozenset({"geometry", "aliases", "properties"})

# The `where` of each upsert keeps what is stored already as it is: no new row version, no journal row, nothing judged again.

# Puts sites; answers the ids that were created or changed.
PUT_SITES = """
insert into sites (id, name, customer, timezone, geometry, radius_m, properties, min_lon, min_lat, max_lon, max_lat)
select * from unnest(%(id)s::text[], %(name)s::text[], %(customer)s::text[], %(timezone)s::text[], %(geometry)s::jsonb[],
                     %(radius_m)s::float8[], %(properties)s::jsonb[],
                     %(min_lon)s::float8[], %(min_lat)s::float8[], %(max_lon)s::float8[], %(max_lat)s::float8[])
on conflict (id) do update
set name = excluded.name, customer = excluded.customer, timezone = excluded.timezone, geometry = excluded.geometry,
    radius_m = excluded.radius_m, properties = excluded.properties, min_lon = excluded.min_lon, min_lat = excluded.min_lat,
    max_lon = excluded.max_lon, max_lat = excluded.max_lat, updated_at = now()
where (sites.name, sites.customer, sites.timezone, sites.geometry, sites.radius_m, sites.properties)
      is distinct from
      (excluded.name, excluded.customer, excluded.timezone, excluded.geometry, excluded.radius_m, excluded.properties)
returning id, xmax = 0
"""

# Puts workers without the mapping of their sources; answers the ids that were created or changed.
PUT_WORKERS = """
insert into workers (id, name, aliases, properties)
select * from unnest(%(id)s::text[], %(name)s::text[], %(aliases)s::jsonb[], %(properties)s::jsonb[])
on conflict (id) do update
set name = excluded.name, aliases = excluded.aliases, properties = excluded.properties, updated_at = now()
where (workers.name, workers.aliases, workers.properties) is distinct from (excluded.name, excluded.aliases, excluded.properties)
returning id, xmax = 0
"""

# Maps sources to workers; answers those that were free.
MAP_SOURCES = """
insert into sources (source, worker) select * from unnest(%s::text[], %s::text[]) on conflict (source) do nothing returning source
"""

# Puts devices; answers the ids that were created or changed.
PUT_DEVICES = """
insert into devices (id, site, kind, dialect, address, source, name, properties)
select * from unnest(%(id)s::text[], %(site)s::text[], %(kind)s::text[], %(dialect)s::text[], %(address)s::text[],
                     %(source)s::text[], %(name)s::text[], %(properties)s::jsonb[])
on conflict (id) do update
set site = excluded.site, kind = excluded.kind, dialect = excluded.dialect, address = excluded.address, source = excluded.source,
    name = excluded.name, properties = excluded.properties, updated_at = now()
where (devices.site, devices.kind, devices.dialect, devices.address, devices.name, devices.properties)
      is distinct from
      (excluded.site, excluded.kind, excluded.dialect, excluded.address, excluded.name, excluded.properties)
returning id, xmax = 0
"""

# Puts visits; answers the ids that were created or changed.
PUT_VISITS = """
insert into visits (id, worker, site, service, starts_at, ends_at, properties)
select * from unnest(%(id)s::text[], %(worker)s::text[], %(site)s::text[], %(service)s::text[],
                     %(starts_at)s::timestamptz[], %(ends_at)s::timestamptz[], %(properties)s::jsonb[])
on conflict (id) do update
set worker = excluded.worker, site = excluded.site, service = excluded.service, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, properties = excluded.properties, updated_at = now()
where (visits.worker, visits.site, visits.service, visits.starts_at, visits.ends_at, visits.properties)
      is distinct from
      (excluded.worker, excluded.site, excluded.service, excluded.starts_at, excluded.ends_at, excluded.properties)
returning id, xmax = 0
"""

# Tells verify what a transaction changed.
JOURNAL = """
insert into journal (visits, sites, workers, devices, services)
values (%(visits)s, %(sites)s, %(workers)s, %(devices)s, %(services)s)
"""
