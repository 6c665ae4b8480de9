"""Sketches: some of the positions of each visit, kept for the later visits to the same site to be compared with (`replayed`).

Rules kept here:

- A sketch follows from the fixes of a visit's window alone, once that has closed: while she is there, nobody plays her track again.
  It may be empty.
- What changes it touches the later visits that share a position with what it was or is. So it does not matter which of two tracks
  came first.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from psycopg import Connection

from geofence.evidence import Sketch, Sketches
from geofence.plan import Visit
from geofence.replayed import SINCE_S

_POSITION = np.dtype([("print", "<i4"), ("at", "<f8")])


def read(connection: Connection, visits: Sequence[Visit]) -> dict[str, Sketches]:
    """What is kept of the visits before each of these at its site, if there is anything."""
    found: dict[str, list[bytes]] = {}
    with connection.cursor(binary=True) as cursor:
        for visit, positions in cursor.execute(EARLIER, _columns(visits)):
            found.setdefault(visit, []).append(positions)
    return {visit: _joined(sketches) for visit, sketches in found.items()}


def write(connection: Connection, kept: Mapping[Visit, Sketch], without: Collection[str]) -> set[str]:
    """Makes what is kept of visits what is given, and of those `without` nothing; returns the later visits that this touches."""
    values = {**_columns(kept), "positions": [_packed(sketch) for sketch in kept.values()], "without": list(without)}
    changed = [visit for (visit,) in connection.execute(DIFFERENT, values)]
    if not changed:
        return set()
    touched = _later(connection, changed)
    connection.execute("delete from sketches where visit = any(%s)", [changed])
    connection.execute(WRITE, {**values, "changed": changed})
    return touched | _later(connection, changed)


def _later(connection: Connection, visits: Sequence[str]) -> set[str]:
    """The visits after these at their sites that share a position with them, as stored."""
    found = connection.execute(LATER, {"visits": visits, "since_s": SINCE_S}, binary=True)
    return {visit for visit, one, other in found if np.intersect1d(_unpacked(one).prints, _unpacked(other).prints).size}


def _columns(visits: Iterable[Visit]) -> dict[str, object]:
    rows = list(visits)
    return {
        "visits": [visit.id for visit in rows],
        "sites": [visit.site for visit in rows],
        "starts_at": [visit.starts_at for visit in rows],
        "since_s": SINCE_S,
    }


def _packed(sketch: Sketch) -> bytes:
    positions = np.empty(len(sketch.prints), dtype=_POSITION)
    positions["print"], positions["at"] = sketch.prints, sketch.at
    return positions.tobytes()


def _joined(sketches: Sequence[bytes]) -> Sketches:
    every = _unpacked(b"".join(sketches))
    return Sketches(every.prints, every.at, np.cumsum([len(one) for one in sketches]) // _POSITION.itemsize)


def _unpacked(positions: bytes) -> Sketch:
    columns = np.frombuffer(positions, dtype=_POSITION)
    return Sketch(columns["print"], columns["at"])


# What is kept of the earlier visits to the sites of these.
EARLIER = """
select asked.visit, earlier.positions
from unnest(%(visits)s::text[], %(sites)s::text[], %(starts_at)s::float8[]) as asked (visit, site, starts_at)
cross join lateral (
    select positions from sketches
    where site = asked.site and starts_at < to_timestamp(asked.starts_at)
      and starts_at >= to_timestamp(asked.starts_at - %(since_s)s) and positions <> ''
    offset 0
) as earlier
"""

# Of which of these visits something else is stored than is given.
DIFFERENT = """
select wanted.visit
from unnest(%(visits)s::text[], %(sites)s::text[], %(starts_at)s::float8[], %(positions)s::bytea[])
     as wanted (visit, site, starts_at, positions)
left join sketches using (visit)
where (sketches.site, sketches.starts_at, sketches.positions)
      is distinct from (wanted.site, to_timestamp(wanted.starts_at), wanted.positions)
union all
select visit from sketches where visit = any(%(without)s)
"""

WRITE = """
insert into sketches (visit, site, starts_at, positions)
select visit, site, to_timestamp(starts_at), positions
from unnest(%(visits)s::text[], %(sites)s::text[], %(starts_at)s::float8[], %(positions)s::bytea[])
     as wanted (visit, site, starts_at, positions)
where visit = any(%(changed)s)
"""

LATER = """
select later.visit, changed.positions, later.positions
from sketches as changed
join sketches as later on later.site = changed.site and later.starts_at > changed.starts_at
    and later.starts_at <= changed.starts_at + make_interval(secs => %(since_s)s)
where changed.visit = any(%(visits)s)
"""
