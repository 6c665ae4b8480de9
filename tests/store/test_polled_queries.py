"""What runs several times a second walks indexes: a table scan would be noticed only when there is a year of data."""

from collections.abc import Iterator

import psycopg
import pytest

from store import (
    alerts,
    derived,
    device_states,
    fresh,
    haunts,
    journal,
    positions,
    scenes,
    sightings,
    sketches,
    stays,
    stops,
    touched,
    windows,
)

SPANS = {
    "sources": ["w-1", "w-2"],
    "from_at": [1.79e9, 1.79e9],
    "to_at": [1.79e9 + 60, 1.79e9 + 60],
    "owners": [0, 1],
    "first": 1.79e9,
    "last": 1.79e9 + 60,
    "before": 4,
    "margin_s": 3000.0,
    "due": 1.79e9,
    "now": 1.79e9,
    "soon": 1.79e9 + 15,
    "why": "late evidence",
    "visits": ["v-1", "v-2"],
    "visits_max": 100,
    "workers": ["w-1", "w-2"],
    "until": [1.79e9, 1.79e9],
    "back_s": 900.0,
    "at": [1.79e9, 1.79e9],
    "identities": [1, 2],
    "flags": ["", ""],
    "all": ["w-1", "w-2"],
    "ids": ["late:v-1"],
    "sites": ["s-1", "s-2"],
    "lons": [116.0],
    "lats": [39.0],
    "cell": 0.001,
    "before_": "1:1:",
    "rows_max": 100,
    "firsts": [1.79e9, 1.79e9],
    "enough_s": 600.0,
    "late_at": [1.79e9, 1.79e9],
    "min_s": 600.0,
    "day_s": 43_200.0,
    "metres": 111_320.0,
    "across": [0.001],
    "up": [0.001],
    "starts_at": [1.79e9, 1.79e9],
    "made": 1,
    "positions": [b"", b""],
    "without": ["v-3"],
}
QUERIES = {
    "journal entries": journal.ENTRIES.replace("%(before)s", "pg_current_snapshot()"),
    "owners": touched.OWNERS,
    "lasting statuses": touched.LASTING,
    "first sightings": sightings.EARLIER,
    "queue by worker": touched.QUEUE_SPANS.format(visits=touched.BY_WORKER),
    "queue by site": touched.QUEUE_SPANS.format(visits=touched.BY_SITE),
    "due": touched.DUE,
    "visits": scenes.VISITS,
    "touching visits": scenes.TOUCHING,
    "near sites": scenes.NEAR,
    "sites": scenes.SITES,
    "devices": scenes.DEVICES,
    "phones": scenes.PHONES,
    "fixes": windows.FIXES,
    "checks": windows.CHECKS,
    "device events": windows.DEVICE_EVENTS,
    "statuses": windows.STATUSES,
    "outcomes": derived.OUTCOMES.replace("%s", "%(visits)s"),
    "gaps": derived.FOLLOW_GAPS,
    "presence": derived.FOLLOW_PRESENCE,
    "coverage": derived.FOLLOW_COVERAGE,
    "cleared alerts": alerts.CLEAR,
    "alarms": alerts.ALARMS,
    "ended alarms": alerts.ENDS,
    "offline": alerts.OFFLINE,
    "back online": alerts.BACK_ONLINE,
    "sites at a place": haunts.SITES_AT,
    "newest fixes": positions.NEWEST,
    "positions": positions.WRITE,
    "worth a look": positions.WORTH,
    "fresh fixes": fresh.FRESH,
    "moved positions": positions.MOVE,
    "positions of visits": positions.FOLLOW_VISITS,
    "device states": device_states.REFRESH,
    "searches that go on": stops.ASKED,
    "where searches begin": stops.BEGINNINGS,
    "where fixes begin": stops.FIRST,
    "stored stops": stops.STORED,
    "stays between": stays.BETWEEN,
    "stays that plans concern": stays.CONCERNED,
    "sites near stops": stays.SITES_NEAR,
    "visits near stops": stays.VISITS_NEAR,
    "stays at another time": windows.ELSEWHEN,
    "earlier sketches": sketches.EARLIER,
    "different sketches": sketches.DIFFERENT,
    "stored sketches": sketches.STORED.replace("%s", "%(visits)s"),
    "later sketches": sketches.LATER,
}


@pytest.fixture(scope="module")
def full_database(plain_postgres: object) -> Iterator[psycopg.Connection]:
    """A database in which a scan of any big table would cost more than its index."""
    from tests.fix_database import _clone

    clone = _clone(plain_postgres)  # type: ignore[arg-type]
    with psycopg.connect(next(clone), autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("analyze")
        yield connection
    for _ in clone:
        pass


@pytest.mark.parametrize("name", QUERIES)
def test_a_polled_query_scans_no_big_table(full_database: psycopg.Connection, name: str) -> None:
    plan = [line for (line,) in full_database.execute(f"explain {QUERIES[name]}".encode(), SPANS)]
    scans = [line.strip() for line in plan if "Seq Scan on" in line]
    big = [line for line in scans if any(f"on {table}" in line for table in BIG)]
    assert not big, "\n".join(plan)


def test_the_check_can_fail(full_database: psycopg.Connection) -> None:
    plan = "\n".join(line for (line,) in full_database.execute("explain select * from fixes where lon > 0"))
    assert "Seq Scan on fixes" in plan


BIG = ("fixes", "checks", "device_events", "statuses", "visits", "outcomes", "gaps", "presence", "coverage", "journal", "sites",
       "devices", "workers", "sightings", "positions", "alerts", "haunts", "neighbours",
       "stays", "searches", "sketches")  # fmt: skip
FILL = """
insert into sites (id, name, geometry, min_lon, min_lat, max_lon, max_lat)
    select 's-' || n, 's', '{}', 100 + n * 0.001, 30, 100.0005 + n * 0.001, 30.0005 from generate_series(1, 5000) as n;
insert into workers (id, name) select 'w-' || n, 'w' from generate_series(1, 5000) as n;
insert into devices (id, site, kind, source) select 'd-' || n, 's-' || n, 'lock', 'd-' || n from generate_series(1, 5000) as n;
insert into neighbours select 's-' || n, 's-' || n + 1 from generate_series(1, 5000) as n;
insert into sightings select 'w-' || n, 'w-' || n, now() from generate_series(1, 5000) as n;
insert into visits (id, worker, site, starts_at, ends_at)
    select 'v-' || n, 'w-' || n % 5000 + 1, 's-' || n % 5000 + 1, t, t + interval '1 hour'
    from generate_series(1, 20000) as n, lateral (select to_timestamp(1.79e9 - 3600.0 * n)) as at (t);
insert into outcomes (visit, worker, site, service, starts_at, ends_at, verdict, findings, monitored_s, expected_s, on_site_s,
                      outcome, revision)
    select id, worker, site, service, starts_at, ends_at, 'verified', '{}', 0, 0, 0, '{"gaps": [], "presence": []}', 1 from visits;
insert into positions (worker, source, at, received_at, lon, lat, visit)
    select 'w-' || n, 'w-' || n, now(), now(), 0, 0, 'v-' || n from generate_series(1, 5000) as n;
insert into gaps select id, starts_at, ends_at, 'silent' from visits;
insert into presence select id, starts_at, ends_at, worker, site, 'on' from visits;
insert into coverage (visit, worker, site, service, starts_at, monitored_s, expected_s, share)
    select id, worker, site, service, starts_at, 0, 0, 0 from visits;
insert into haunts select id, point(100, 30), '{}' from visits;
insert into sketches select id, site, starts_at, '', 1 from visits;
insert into alerts (id, kind, severity, at, visit, detail)
    select 'late:' || id, 'late', 'info', starts_at, case when n % 2 = 0 then id end, jsonb_build_object('source', 'd-' || n)
    from (select *, row_number() over () as n from visits) as numbered;
insert into fixes (source, at, identity, received_at, lon, lat)
    select 'w-' || n % 5000 + 1, to_timestamp(1.79e9 - n), n, now(), 0, 0 from generate_series(1, 50000) as n;
insert into checks (source, at, identity, received_at, kind, method)
    select 'w-' || n % 5000 + 1, to_timestamp(1.79e9 - n), n, now(), 'in', 'app' from generate_series(1, 20000) as n;
insert into device_events (source, at, identity, received_at, kind)
    select 'd-' || n % 5000 + 1, to_timestamp(1.79e9 - n), n, now(), 'motion' from generate_series(1, 50000) as n;
insert into statuses (source, at, identity, received_at, state)
    select 'w-' || n % 5000 + 1, to_timestamp(1.79e9 - n), n, now(), 'online' from generate_series(1, 20000) as n;
insert into stays (worker, start_at, end_at, lon, lat, error_m, fixes, cut_at, sure_at, kind, site, sites, visit)
    select worker, starts_at, ends_at, 100 + n * 0.001, 30, 9, 99, ends_at, ends_at, 'unscheduled', site, array[site], id
    from (select *, row_number() over () as n from visits) as numbered;
insert into searches select id, to_timestamp(1.79e9), '{}' from workers;
insert into journal (sources, from_at, to_at) select '{w-1}', '{now}', '{now}' from generate_series(1, 20000);
"""
