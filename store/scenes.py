"""Scenes: the plans that bear on visits, read for many visits at once.

A scene needs the visit's site and the sites near it, the devices there, the worker's phones, and the visits that touch it in time:
the same worker's, with their sites, and other workers' at the same site. Five queries, however many visits.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import shapely
from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection

from geofence import window
from geofence.plan import Device, Scene, Site, Visit
from geofence.policy import Policy
from store.policies import Policies


class Staged(Struct, frozen=True, kw_only=True, eq=False):
    """A visit with all that was planned around it, what judges it, and the span of evidence `[opens_at, closes_at)` it wants."""

    scene: Scene
    policy: Policy
    opens_at: float
    closes_at: float


def read(connection: Connection, visits: Sequence[str], policies: Policies) -> list[Staged]:
    """The scenes of those of the visits that exist, in the order of their ids."""
    asked = [_Planned(*row) for row in connection.execute(VISITS, {"visits": list(visits)})]
    touching = _touching(connection, visits, policies)
    near = _near(connection, {planned.site for planned in asked})
    sites = _sites(connection, _sites_of(asked, near, touching))
    devices = _devices(connection, near)
    phones = _phones(connection, {planned.worker for planned in asked})
    return [_staged(planned, touching[planned.id], near[planned.site], sites, devices, phones, policies) for planned in asked]


def with_sites(connection: Connection, staged: Sequence[Staged], sites: Sequence[Sequence[str]]) -> list[Staged]:
    """The same scenes with more sites beside the neighbours, for each scene its own."""
    added = _sites(connection, {site for wanted in sites for site in wanted}) if any(sites) else {}
    return [_with_sites(stage, [added[site] for site in wanted]) for stage, wanted in zip(staged, sites, strict=True)]


def _with_sites(stage: Staged, sites: Sequence[Site]) -> Staged:
    around = {site.id: site for site in (*stage.scene.neighbours, *sites) if site.id != stage.scene.site.id}
    return replace(stage, scene=replace(stage.scene, neighbours=tuple(around[site] for site in sorted(around))))


class _Planned(Struct, frozen=True):
    """A row of `visits`. `until` is the later of its end and of when it was last planned."""

    id: str
    worker: str
    site: str
    service: str
    starts_at: float
    ends_at: float
    until: float

    def visit(self) -> Visit:
        return Visit(
            id=self.id, worker=self.worker, site=self.site, service=self.service, starts_at=self.starts_at, ends_at=self.ends_at
        )


class _Phone(Struct, frozen=True):
    """A source of a worker, and since when it counts as hers: since ever when it is mapped."""

    source: str
    since: float


def _staged(
    planned: _Planned,
    touching: Sequence[_Planned],
    near: Iterable[str],
    sites: Mapping[str, Site],
    devices: Mapping[str, Sequence[Device]],
    phones: Mapping[str, Sequence[_Phone]],
    policies: Policies,
) -> Staged:
    policy = policies.of(planned.service, planned.until)
    visit = planned.visit()
    opens_at, closes_at = window(visit, policy)
    meeting = [other for other in touching if _meet(other, opens_at, closes_at, policies)]
    others = tuple(other.visit() for other in meeting if other.worker == visit.worker)
    around = sorted({*near, *(other.site for other in others)} - {visit.site})
    scene = Scene(
        visit=visit,
        site=sites[visit.site],
        neighbours=tuple(sites[site] for site in around),
        devices=tuple(device for site in (visit.site, *sorted(near)) for device in devices.get(site, ())),
        phones=tuple(phone.source for phone in phones.get(visit.worker, ()) if phone.since < closes_at),
        others=others,
        rivals=tuple(other.visit() for other in meeting if other.worker != visit.worker),
    )
    return Staged(scene=scene, policy=policy, opens_at=opens_at, closes_at=closes_at)


def _meet(other: _Planned, opens_at: float, closes_at: float, policies: Policies) -> bool:
    others_open, others_close = window(other.visit(), policies.of(other.service, other.until))
    return others_open < closes_at and opens_at < others_close


def _touching(connection: Connection, visits: Sequence[str], policies: Policies) -> Mapping[str, list[_Planned]]:
    touching: dict[str, list[_Planned]] = defaultdict(list)
    for visit, *row in connection.execute(TOUCHING, {"visits": list(visits), "margin_s": 2 * policies.margin_s()}):
        touching[visit].append(_Planned(*row))
    for found in touching.values():
        found.sort(key=lambda planned: (planned.starts_at, planned.id))
    return touching


def _near(connection: Connection, sites: Iterable[str]) -> dict[str, list[str]]:
    near: dict[str, list[str]] = {site: [] for site in sites}
    for site, neighbour in connection.execute(NEAR, {"sites": list(near)}):
        near[site].append(neighbour)
    return near


def _sites_of(asked: Iterable[_Planned], near: Mapping[str, Iterable[str]], touching: Mapping[str, Iterable[_Planned]]) -> set[str]:
    here = {planned.site for planned in asked}
    elsewhere = {planned.site for planned_around in touching.values() for planned in planned_around}
    return here | elsewhere | {site for sites in near.values() for site in sites}


def _sites(connection: Connection, sites: Iterable[str]) -> dict[str, Site]:
    return {row[0]: site_of(*row) for row in connection.execute(SITES, {"sites": list(sites)})}


@lru_cache(maxsize=20_000)
def site_of(id: str, geometry: str, radius_m: float | None, timezone: str) -> Site:  # noqa: A002 (as the column is called)
    """A row of sites as a value. The same text is the same value: parsing a fence takes longer than reading it."""
    return Site(id=id, geometry=shapely.from_geojson(geometry), radius_m=radius_m, timezone=timezone)


def _devices(connection: Connection, near: Mapping[str, Iterable[str]]) -> dict[str, list[Device]]:
    wanted = {site for here, around in near.items() for site in (here, *around)}
    devices: dict[str, list[Device]] = defaultdict(list)
    for id_, site, kind, source in connection.execute(DEVICES, {"sites": list(wanted)}):
        devices[site].append(Device(id=id_, site=site, kind=kind, source=source))
    return devices


def _phones(connection: Connection, workers: Iterable[str]) -> dict[str, list[_Phone]]:
    phones: dict[str, list[_Phone]] = defaultdict(list)
    for worker, source, since in connection.execute(PHONES, {"workers": list(workers)}):
        phones[worker].append(_Phone(source, since))
    for found in phones.values():
        found.sort(key=lambda phone: phone.source)
    return phones


# The visits that are asked for.
VISITS = """
select id, worker, site, service, extract(epoch from starts_at)::float8, extract(epoch from ends_at)::float8,
       extract(epoch from greatest(ends_at, updated_at))::float8
from visits
where id = any(%(visits)s)
order by id
"""

# Visits of the same worker, and visits at the same site, whose windows may touch. The margin is that of both windows.
TOUCHING = """
select asked.id, visits.id, visits.worker, visits.site, visits.service, extract(epoch from visits.starts_at)::float8,
       extract(epoch from visits.ends_at)::float8, extract(epoch from greatest(visits.ends_at, visits.updated_at))::float8
from visits as asked
cross join lateral (
    select * from visits as other
    where other.worker = asked.worker and other.id <> asked.id
      and other.starts_at < asked.ends_at + make_interval(secs => %(margin_s)s)
      and other.starts_at > asked.starts_at - make_interval(secs => %(margin_s)s) - interval '168 hours'
      and other.ends_at > asked.starts_at - make_interval(secs => %(margin_s)s)
    union all
    select * from visits as other
    where other.site = asked.site and other.worker <> asked.worker
      and other.starts_at < asked.ends_at + make_interval(secs => %(margin_s)s)
      and other.starts_at > asked.starts_at - make_interval(secs => %(margin_s)s) - interval '168 hours'
      and other.ends_at > asked.starts_at - make_interval(secs => %(margin_s)s)
) as visits
where asked.id = any(%(visits)s)
"""

NEAR = "select site, neighbour from neighbours where site = any(%(sites)s)"

SITES = "select id, geometry::text, radius_m, timezone from sites where id = any(%(sites)s)"

DEVICES = "select id, site, kind, source from devices where site = any(%(sites)s) order by id"

# A worker's sources, and since when each counts: a mapped one always did.
PHONES = """
select sightings.worker, source,
       case when sources.source is null then extract(epoch from first_at)::float8 else '-infinity' end
from sightings left join sources using (source)
where sightings.worker = any(%(workers)s)
"""
