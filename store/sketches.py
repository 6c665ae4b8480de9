"""Sketches: some of the positions of each visit, kept for the later visits to the same site to be compared with (`replayed`).

Rules kept here:

- A sketch follows from the fixes of a visit's window and its site alone, once that has closed: while she is there, nobody plays her
  track again. It may be empty.
- What changes it touches the later visits that may repeat what it was or is. So it does not matter which of two tracks came first.
  A sketch that is full tells only of its smallest prints what the visit had, so a visit too many is touched, and none too few.
- A site is read once, however many of its visits are asked for.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from psycopg import Connection

from geofence.evidence import Sketch, Sketches
from geofence.plan import Visit
from geofence.replayed import KEPT_MAX, MADE, SINCE_S

_POSITION = np.dtype([("print", "<i4"), ("at", "<f8")])


def read(connection: Connection, visits: Sequence[Visit]) -> dict[str, Sketches]:
    """What is kept of the visits before each of these at its site, if there is anything."""
    asked: dict[str, list[Visit]] = defaultdict(list)
    for visit in visits:
        asked[visit.site].append(visit)
    values = {
        "sites": list(asked),
        "from_at": [min(visit.starts_at for visit in own) - SINCE_S for own in asked.values()],
        "to_at": [max(visit.starts_at for visit in own) for own in asked.values()],
    }
    known = _by_site(connection.execute(EARLIER, values, binary=True)) if asked else {}
    return {visit.id: part for site, rows in known.items() for visit, part in _parts(*rows, asked[site])}


def write(connection: Connection, kept: Mapping[Visit, Sketch], without: Collection[str]) -> set[str]:
    """Makes what is kept of visits what is given, and of those `without` nothing; returns the later visits that this touches."""
    values = {
        "visits": [visit.id for visit in kept],
        "sites": [visit.site for visit in kept],
        "starts_at": [visit.starts_at for visit in kept],
        "positions": [_packed(sketch) for sketch in kept.values()],
        "made": MADE,
        "without": list(without),
    }
    changed = [visit for (visit,) in connection.execute(DIFFERENT, values)]
    if not changed:
        return set()
    touched = _later(connection, changed)
    connection.execute("delete from sketches where visit = any(%s)", [changed])
    connection.execute(WRITE, {**values, "changed": changed})
    return touched | _later(connection, changed)


def _by_site(rows: Iterable[tuple[str, float, bytes]]) -> dict[str, tuple[list[float], list[bytes]]]:
    """Of each site when its visits start, and what is kept of them."""
    found: dict[str, tuple[list[float], list[bytes]]] = defaultdict(lambda: ([], []))
    for site, starts_at, positions in rows:
        found[site][0].append(starts_at)
        found[site][1].append(positions)
    return found


def _parts(starts_at: list[float], sketches: list[bytes], visits: Iterable[Visit]) -> Iterable[tuple[Visit, Sketches]]:
    """The sketches of a site, of which each visit gets those before it, without a copy."""
    every = _unpacked(b"".join(sketches))
    ends = np.cumsum([0, *(len(one) // _POSITION.itemsize for one in sketches)])
    for visit in visits:
        low, high = bisect_left(starts_at, visit.starts_at - SINCE_S), bisect_left(starts_at, visit.starts_at)
        first, last = int(ends[low]), int(ends[high])
        if last > first:
            yield visit, Sketches(every.prints[first:last], every.at[first:last], ends[low + 1 : high + 1] - first)


def _later(connection: Connection, visits: Sequence[str]) -> set[str]:
    """The visits after these at their sites that may repeat them, as stored."""
    changed = _by_site(connection.execute(STORED, [list(visits)], binary=True))
    values = {
        "sites": list(changed),
        "from_at": [min(starts_at) for starts_at, _ in changed.values()],
        "to_at": [max(starts_at) + SINCE_S for starts_at, _ in changed.values()],
    }
    prints = {site: _unpacked(b"".join(sketches)).prints for site, (_, sketches) in changed.items()}
    touched: set[str] = set()
    for site, visit, positions in connection.execute(LATER, values, binary=True) if changed else ():
        theirs = _unpacked(positions).prints
        unknown = len(theirs) == KEPT_MAX and bool((prints[site] > theirs[-1]).any())
        if unknown or np.isin(prints[site], theirs).any():
            touched.add(visit)
    return touched


def _packed(sketch: Sketch) -> bytes:
    positions = np.empty(len(sketch.prints), dtype=_POSITION)
    positions["print"], positions["at"] = sketch.prints, sketch.at
    return positions.tobytes()


def _unpacked(positions: bytes) -> Sketch:
    columns = np.frombuffer(positions, dtype=_POSITION)
    return Sketch(columns["print"], columns["at"])


# What is kept of the visits to these sites that start in these spans.
EARLIER = """
select stretch.site, extract(epoch from starts_at)::float8, positions
from unnest(%(sites)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as stretch (site, from_at, to_at)
cross join lateral (
    select starts_at, positions from sketches
    where site = stretch.site and starts_at >= to_timestamp(stretch.from_at) and starts_at < to_timestamp(stretch.to_at)
      and positions <> ''
    order by starts_at, visit
    offset 0
) as earlier
"""

# Of which of these visits something else is stored than is given.
DIFFERENT = """
select wanted.visit
from unnest(%(visits)s::text[], %(sites)s::text[], %(starts_at)s::float8[], %(positions)s::bytea[])
     as wanted (visit, site, starts_at, positions)
left join sketches using (visit)
where (sketches.site, sketches.starts_at, sketches.positions, sketches.made)
      is distinct from (wanted.site, to_timestamp(wanted.starts_at), wanted.positions, %(made)s::int2)
union all
select visit from sketches where visit = any(%(without)s)
"""

WRITE = """
insert into sketches (visit, site, starts_at, positions, made)
select visit, site, to_timestamp(starts_at), positions, %(made)s
from unnest(%(visits)s::text[], %(sites)s::text[], %(starts_at)s::float8[], %(positions)s::bytea[])
     as wanted (visit, site, starts_at, positions)
where visit = any(%(changed)s)
"""

STORED = "select site, extract(epoch from starts_at)::float8, positions from sketches where visit = any(%s)"

# Those of sites that start within spans.
LATER = """
select later.site, later.visit, later.positions
from unnest(%(sites)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as changed (site, from_at, to_at)
cross join lateral (
    select site, visit, positions from sketches
    where site = changed.site and starts_at > to_timestamp(changed.from_at) and starts_at <= to_timestamp(changed.to_at)
    offset 0
) as later
"""
