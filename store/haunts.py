"""Haunts: where else a worker was for a good part of a planned visit, and which sites are known there.

Sites near the visit's own are neighbours anyway. A worker who went to quite another home is found by where her fixes lie: in cells
of `CELL_DEG`, counted where they hold a good share of the fixes made in planned time.

Rules kept here:

- Haunts follow from the fixes and the sites alone, and are kept with the visit, so that a site that is put, moved or deleted later
  finds the visits which it bears on.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from msgspec import Struct
from psycopg import Connection

from geofence.evidence import Fixes
from geofence.plan import Site, Visit

CELL_DEG = 0.001
"""About a hundred metres, as large as the error of fixes that can tell on from off."""
SHARE_MIN = 0.05
"""A place with a smaller share of the fixes was passed by."""
FIXES_MIN = 3
ACCURACY_MAX_M = 200.0
"""A fix worse than this says nothing about which home it was."""


class Place(Struct, frozen=True, order=True):
    """The middle of a cell, in degrees."""

    lon: float
    lat: float


def of(fixes: Fixes, visit: Visit, site: Site) -> list[Place]:
    """The cells away from the visit's own site that hold a good share of the fixes made in planned time."""
    use = (fixes.at >= visit.starts_at) & (fixes.at < visit.ends_at) & ~(fixes.accuracy_m > ACCURACY_MAX_M)
    count = int(use.sum())
    if count < FIXES_MIN:
        return []
    lon, lat = np.round(fixes.lon[use] / CELL_DEG), np.round(fixes.lat[use] / CELL_DEG)
    min_lon, min_lat, max_lon, max_lat = np.array(site.geometry.bounds) / CELL_DEG
    away = (lon < min_lon - 2) | (lon > max_lon + 2) | (lat < min_lat - 2) | (lat > max_lat + 2)
    # One number a cell, in the order of (lon, lat): counting pairs takes thirty times as long.
    cells, counts = np.unique(lon[away] + 1j * lat[away], return_counts=True)
    much = cells[counts >= max(FIXES_MIN, SHARE_MIN * count)]
    return [Place(round(cell.real * CELL_DEG, 6), round(cell.imag * CELL_DEG, 6)) for cell in much.tolist()]


def sites_at(connection: Connection, places: Collection[Place]) -> dict[Place, list[str]]:
    """The sites that may be meant at each of the places."""
    found: dict[Place, list[str]] = {place: [] for place in places}
    if found:
        values = {"lons": [place.lon for place in found], "lats": [place.lat for place in found], "cell": CELL_DEG}
        for lon, lat, site in connection.execute(SITES_AT, values):
            found[Place(lon, lat)].append(site)
    return found


def write(connection: Connection, haunts: Mapping[str, Mapping[Place, Sequence[str]]]) -> None:
    """Makes the haunts of these visits what is given; of a visit that is given none, nothing."""
    if not haunts:
        return
    rows = [(visit, place, sites) for visit, places in haunts.items() for place, sites in places.items()]
    values = {
        "visits": list(haunts),
        "of": [visit for visit, _, _ in rows],
        "lons": [place.lon for _, place, _ in rows],
        "lats": [place.lat for _, place, _ in rows],
        "sites": [",".join(sites) for _, _, sites in rows],
    }
    connection.execute(WRITE, values)


# Half a cell around its middle, and as much again for fences that begin beside it.
SITES_AT = """
select lon, lat, sites.id
from unnest(%(lons)s::float8[], %(lats)s::float8[]) as place (lon, lat)
join sites on box(point(min_lon, min_lat), point(max_lon, max_lat))
           && box(point(lon - %(cell)s, lat - %(cell)s), point(lon + %(cell)s, lat + %(cell)s))
order by lon, lat, sites.id
"""

# Writes nothing while a worker stays where she is.
WRITE = """
with wanted as (
    select visit, point(lon, lat) as place, string_to_array(sites, ',') as sites
    from unnest(%(of)s::text[], %(lons)s::float8[], %(lats)s::float8[], %(sites)s::text[]) as haunt (visit, lon, lat, sites)
), gone as (
    delete from haunts
    where visit = any(%(visits)s) and not exists (
        select from wanted where wanted.visit = haunts.visit and wanted.place ~= haunts.place and wanted.sites = haunts.sites
    )
)
insert into haunts (visit, place, sites)
select visit, place, sites from wanted
where not exists (
    select from haunts where haunts.visit = wanted.visit and haunts.place ~= wanted.place and haunts.sites = wanted.sites
)
"""

# The visits on which sites bear because their workers were there, or because it was known where they had been.
VISITS_AT = """
select haunts.visit
from sites
join haunts on haunts.place <@ box(point(min_lon - %(cell)s, min_lat - %(cell)s), point(max_lon + %(cell)s, max_lat + %(cell)s))
where sites.id = any(%(changed)s)
union
select visit from haunts where sites && %(changed)s::text[]
"""


def visits_at(connection: Connection, sites: Collection[str]) -> list[str]:
    """Visits whose worker was where one of these sites is or was."""
    return [visit for (visit,) in connection.execute(VISITS_AT, {"changed": list(sites), "cell": CELL_DEG})]
