"""Neighbours: which sites are near enough to be mistaken for each other.

Near is when the boxes around the two fences, with their radii, are not further apart than `NEAR_M` in either direction. The pairs
are kept, both ways round, so that a site that is redrawn still knows whose neighbour it was.
"""

from collections.abc import Collection

from psycopg import Connection

NEAR_M = 100.0
"""Further than the error of nearly every fix that can tell on from off at all."""
_METRES_A_DEGREE = 111_320.0


def refresh(connection: Connection, sites: Collection[str]) -> set[str]:
    """Follows sites that were put or deleted; returns them with their old and new neighbours."""
    values = {"sites": list(sites), "near": NEAR_M / _METRES_A_DEGREE}
    before = connection.execute(FORGET, values).fetchall()
    after = connection.execute(FIND, values).fetchall()
    return set(sites) | {site for pair in [*before, *after] for site in pair}


def rebuild(connection: Connection) -> None:
    """Makes everything anew."""
    connection.execute("delete from neighbours")
    refresh(connection, [site for (site,) in connection.execute("select id from sites")])


FORGET = "delete from neighbours where site = any(%(sites)s) or neighbour = any(%(sites)s) returning site, neighbour"

# A degree of longitude is shorter away from the equator: by the cosine of the latitude, and never nothing, at the poles.
FIND = """
insert into neighbours (site, neighbour)
select pair.site, pair.neighbour
from sites as here
join sites as there on there.id <> here.id
    and box(point(there.min_lon, there.min_lat), point(there.max_lon, there.max_lat)) &&
        box(point(here.min_lon - %(near)s / greatest(cosd(here.min_lat), 0.01), here.min_lat - %(near)s),
            point(here.max_lon + %(near)s / greatest(cosd(here.min_lat), 0.01), here.max_lat + %(near)s))
cross join lateral (values (here.id, there.id), (there.id, here.id)) as pair (site, neighbour)
where here.id = any(%(sites)s)
on conflict do nothing
returning site, neighbour
"""
