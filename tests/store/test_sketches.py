"""What is kept of earlier visits: five weeks of the same site, read once for all of its visits that are asked for."""

import numpy as np
import psycopg

from geofence.evidence import Sketch
from geofence.plan import Visit
from geofence.replayed import SINCE_S
from store import sketches

DAY_S = 86_400.0


def visit(name: str, site: str, day: float) -> Visit:
    return Visit(id=name, worker="w", site=site, service="x", starts_at=1.79e9 + day * DAY_S, ends_at=1.79e9 + day * DAY_S + 3600)


def test_each_visit_gets_those_before_it_at_its_site_and_no_older_ones(database: str) -> None:
    planned = [visit(f"{site}-{day}", site, day) for site in ("here", "there") for day in (0, 5, 30, 36, 50)]
    kept = {one: Sketch(np.array([n, 100 + n], dtype=np.int32), np.array([1.0, 2.0])) for n, one in enumerate(planned)}
    nothing = {visit("empty", "here", 20): Sketch(np.empty(0, dtype=np.int32), np.empty(0))}
    with psycopg.connect(database) as connection:
        sketches.write(connection, {**kept, **nothing}, [])
        found = sketches.read(connection, [*planned, visit("new", "here", 51), visit("nowhere", "elsewhere", 3)])
    for one in [*planned, visit("new", "here", 51)]:
        before = [
            n for n, other in enumerate(planned) if other.site == one.site and 0.0 < one.starts_at - other.starts_at <= SINCE_S
        ]
        told = found.get(one.id)
        assert ([] if told is None else told.prints[::2].tolist()) == before, one
        assert ([] if told is None else told.ends.tolist()) == [2 * (n + 1) for n in range(len(before))]
    assert "nowhere" not in found
