"""What replaying history costs, in fixes judged a second and core, beside what merely asking "which fixes lie in the fence" costs.

    python -m bench.replay [--workers 4] [--sites]

Simulated days of the project's simulator on a database server of its own. CPU of this process and of its database session, not wall
time, so that what else runs on the machine disturbs little. A fix that two visits see is judged twice, and counted twice.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Sequence

import psycopg
import shapely
from msgspec import Struct
from psycopg import Connection

from bench import fleet
from geofence import Asked, judge_all
from geofence.plan import Site
from sitewatch import crew, replay
from sitewatch.config import Log
from sitewatch.verify import prepared
from store import neighbours, policies, windows
from store.rebuilding import Scope
from store.windows import Case

NOW = 1_796_000_000.0
"""Days after everything."""
ALL_VISITS = Scope(start=0.0)
"""Judged anew, on the sightings, neighbours and stays that are there."""
TIMES = 3
"""The best of so many passes."""
SCALES = (1, 10, 100)
SITES = (1_000, 10_000, 100_000)


class Cost(Struct, frozen=True):
    """CPU seconds here and in the database for so many visits with so many fixes."""

    visits: int
    fixes: int
    here_s: float
    server_s: float = 0.0

    @property
    def fixes_a_second(self) -> float:
        return self.fixes / (self.here_s + self.server_s)

    def __str__(self) -> str:
        both_s = self.here_s + self.server_s
        return f"{self.fixes_a_second / 1e6:5.2f} M fixes/s and core, {1e3 * both_s / self.visits:5.2f} ms a visit"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workers", type=int, default=4, help="of the smallest fleet; the others are 10 and 100 times as large")
    options.add_argument("--sites", action="store_true", help="also with up to 100,000 sites around")
    chosen = options.parse_args()
    with fleet.server() as cluster:
        print("A fix every    fixes  visits  engine, beside bulk containment, and whole with the database")
        for interval_s in (60.0, 10.0, 1.0):
            url = fleet.database(cluster, f"every_{interval_s:.0f}", 5 * chosen.workers, interval_s)
            by_interval(url, f"{interval_s:3.0f} s")
        print("\nA fix every 10 s  visits  whole replay")
        for scale in SCALES:
            url = fleet.database(cluster, f"times_{scale}", scale * chosen.workers, 10.0)
            by_scale(url, f"{scale * chosen.workers:5} workers")
            if scale == 10 and chosen.sites:
                for count in SITES:
                    by_sites(url, count)


def by_interval(url: str, name: str) -> None:
    """The engine alone, bulk containment of the same fixes in the same fences, reading, and all of a replay."""
    with prepared(psycopg.connect(url)) as connection:
        replay.rebuild(connection, NOW)
        cases, read = _read(connection)
        fixes = sum(len(case.observed.fixes.at) for case in cases)
        engine = Cost(len(cases), fixes, _best_s(lambda: _judge(cases)))
        bare = Cost(len(cases), fixes, _best_s(lambda: _contain(cases)))
        replayed = min(whole(connection), whole(connection), key=lambda cost: cost.here_s + cost.server_s)
    print(f"{name:>11} {fixes:8} {len(cases):7}  engine       {engine}")
    print(f"{'':28}  containment  {bare}: the engine does {engine.fixes_a_second / bare.fixes_a_second:.3f} of it")
    print(f"{'':28}  reading      {read}")
    print(f"{'':28}  replay       {replayed}")


def by_scale(url: str, name: str) -> None:
    """All of a replay in one process, and on all cores by the clock."""
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with prepared(psycopg.connect(url)) as connection:
        replay.rebuild(connection, NOW)
        cost = whole(connection)
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kb
        cores = len(os.sched_getaffinity(0))
        with crew.together(url, cores, Log(level="error")) as hands:
            replay.rebuild(connection, NOW, ALL_VISITS, hands=hands)
            began = time.monotonic()
            replay.rebuild(connection, NOW, ALL_VISITS, hands=hands)
            took_s = time.monotonic() - began
    print(
        f"{name:>16} {cost.visits:7}  {cost}; with {cores} processes {cost.visits / took_s:.0f} visits/s by the clock;"
        f" peak memory grew by {grown_kb / 1024:.0f} MB"
    )


def by_sites(url: str, count: int) -> None:
    """The same visits among more and more homes, 160 m from each other."""
    with prepared(psycopg.connect(url)) as connection:
        connection.execute("delete from sites where id like 'more-%'")
        connection.execute(MORE_SITES, {"count": count})
        began = time.monotonic()
        with connection.transaction():
            neighbours.rebuild(connection)
        took_s = time.monotonic() - began
        connection.execute("analyze")
        whole(connection)
        print(f"{count:10} sites          {whole(connection)}; all neighbours found in {took_s:.1f} s")


def whole(connection: Connection) -> Cost:
    """A replay of all visits in this process, from reading to writing."""
    here_s, server_s = time.process_time(), fleet.server_cpu_s(connection)
    done = replay.rebuild(connection, NOW, ALL_VISITS)
    here_s, server_s = time.process_time() - here_s, fleet.server_cpu_s(connection) - server_s
    row = connection.execute("select sum((outcome #>> '{evidence,fixes}')::int) from outcomes").fetchone()
    assert row is not None
    assert done.failed == 0
    return Cost(done.visits, row[0], here_s, server_s)


def _read(connection: Connection) -> tuple[list[Case], Cost]:
    """Every visit's case, in the chunks of a replay."""
    rules = policies.read(connection)
    visits = [visit for (visit,) in connection.execute("select id from visits order by worker, starts_at")]
    cases: list[Case] = []
    here_s, server_s = time.process_time(), fleet.server_cpu_s(connection)
    for n in range(0, len(visits), replay.CHUNK):
        cases += windows.read(connection, visits[n : n + replay.CHUNK], rules)
    here_s, server_s = time.process_time() - here_s, fleet.server_cpu_s(connection) - server_s
    return cases, Cost(len(cases), sum(len(case.observed.fixes.at) for case in cases), here_s, server_s)


def _judge(cases: Sequence[Case]) -> None:
    """All of them, in the chunks of a replay."""
    for n in range(0, len(cases), replay.CHUNK):
        judge_all([Asked(case.scene, case.observed, case.policy, NOW, case.outages) for case in cases[n : n + replay.CHUNK]])


def _contain(cases: Sequence[Case]) -> None:
    for case in cases:
        shapely.contains_xy(_outline(case.scene.site), case.observed.fixes.lon, case.observed.fixes.lat)


_outlines: dict[str, shapely.Geometry] = {}


def _outline(site: Site) -> shapely.Geometry:
    """A site's fence as a prepared polygon in degrees."""
    if site.id not in _outlines:
        outline = site.geometry.buffer((site.radius_m or 0.0) / 111_320.0)
        shapely.prepare(outline)
        _outlines[site.id] = outline
    return _outlines[site.id]


def _best_s(work: Callable[[], None]) -> float:
    """CPU seconds of the best of some passes."""
    work()
    best = float("inf")
    for _ in range(TIMES):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


# On a grid about the middle of what is there, among the sites of the fleet, and up to so many in all.
MORE_SITES = """
with here as (select avg(min_lon) as lon, avg(min_lat) as lat, count(*) as already from sites),
grid as (
    select n, ceil(sqrt(%(count)s::float8))::int as side from here, generate_series(1, %(count)s - here.already) as n
), spot as (
    select n, here.lon + 0.00195 * (n %% side - side / 2) as lon, here.lat + 0.00145 * (n / side - side / 2) as lat from grid, here
)
insert into sites (id, name, geometry, radius_m, min_lon, min_lat, max_lon, max_lat)
select 'more-' || n, 'more', jsonb_build_object('type', 'Point', 'coordinates', jsonb_build_array(lon, lat)), 30,
       lon - 0.00036, lat - 0.00027, lon + 0.00036, lat + 0.00027
from spot
"""

if __name__ == "__main__":
    main()
