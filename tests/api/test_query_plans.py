"""What a dashboard polls walks an index, also when there is a year of it: no sequential scan over what grows."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from store import figures, observations, rejects, views

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)
GROWS = (
    "fixes",
    "checks",
    "device_events",
    "statuses",
    "rejects",
    "visits",
    "outcomes",
    "coverage",
    "alerts",
    "changes",
    "journal",
    "stays",
)

YEAR = """
insert into sites (id, name, geometry, min_lon, min_lat, max_lon, max_lat)
select 's-' || n, '', '{}', 0, 0, 0, 0 from generate_series(1, 500) n;
insert into workers (id, name) select 'w-' || n, '' from generate_series(1, 200) n;
insert into visits (id, worker, site, starts_at, ends_at)
select 'v-' || n, 'w-' || (n % 200 + 1), 's-' || (n % 500 + 1), '2026-01-01Z'::timestamptz + n * interval '25 min',
       '2026-01-01Z'::timestamptz + n * interval '25 min' + interval '1 h'
from generate_series(1, 20000) n;
insert into outcomes (visit, worker, site, service, starts_at, ends_at, verdict, findings, monitored_s, expected_s, on_site_s,
                      outcome, revision)
select id, worker, site, service, starts_at, ends_at, 'verified', '{}', 1, 1, 1, '{}', 1 from visits;
insert into coverage (visit, worker, site, service, starts_at, monitored_s, expected_s, share)
select id, worker, site, service, starts_at, 1, 1, 1 from visits;
insert into fixes (source, at, identity, received_at, lon, lat)
select 'w-' || (n % 200 + 1), '2026-01-01Z'::timestamptz + n * interval '5 min', n, now(), 0, 0 from generate_series(1, 40000) n;
insert into checks (source, at, identity, received_at, kind, method)
select source, at, identity, received_at, 'in', 'app' from fixes where identity % 2 = 0;
insert into statuses (source, at, identity, received_at, state)
select source, at, identity, received_at, 'online' from fixes where identity % 2 = 0;
insert into devices (id, site, kind, source)
select 'd-' || n, 's-' || (n % 500 + 1), 'lock', 'd-' || n from generate_series(1, 1000) n;
insert into device_events (source, at, identity, received_at, kind)
select 'd-' || (identity % 1000 + 1), at, identity, received_at, 'motion' from fixes;
insert into rejects (received_at, topic, payload, reason)
select at, 't/' || identity, '', 'r' || (identity % 9) from fixes where identity % 2 = 0;
insert into alerts (id, kind, severity, at, visit) select 'a-' || id, 'no_show', 'info', starts_at, id from visits;
insert into positions (worker, source, at, received_at, lon, lat) select id, id, now(), now(), 0, 0 from workers;
insert into changes (workers) select array[id] from visits;
insert into stays (worker, start_at, end_at, lon, lat, error_m, fixes, kind, site, sites, visit)
select worker, starts_at, ends_at, 0, 0, 9, 100, case when length(id) % 2 = 0 then 'planned' else 'off_duty' end, site, array[site],
       id from visits;
"""

Query = Callable[[AsyncConnection], Awaitable[Any]]
POLLED: dict[str, Query] = {
    "positions": lambda c: observations.positions(c, [], "", 501),
    "positions of some": lambda c: observations.positions(c, ["w-1", "w-2"], "", 2),
    "track": lambda c: observations.track(c, "w-1", START, END, None, 1001),
    "track, next page": lambda c: observations.track(
        c, "w-1", START, END, observations.Place(at=START, source="w-1", identity=5), 1001
    ),
    "track before": lambda c: observations.track_before(c, "w-1", END, timedelta(hours=1), 500),
    "checks": lambda c: observations.checks(c, "w-1", START, END, 100),
    "device events": lambda c: observations.device_events(c, "s-1", START, END, 100),
    "statuses": lambda c: observations.statuses(c, "w-1", "s-1", START, END, 100),
    "rejects": lambda c: rejects.page(c, rejects.Filter(), None, 101),
    "open rejects": lambda c: rejects.page(c, rejects.Filter(is_open=True), None, 101),
    "rejects of a reason, next page": lambda c: rejects.page(
        c, rejects.Filter(reason="r1"), rejects.Place(received_at=END, id=2**40), 101
    ),
    "open rejects by reason": rejects.count_open,
    "visits of a day": lambda c: views.visits(c, views.VisitFilter(starts_from=START, starts_before=END), None, 501),
    "visits, next page": lambda c: views.visits(c, views.VisitFilter(starts_before=END), (START, "v-1"), 501),
    "visits of a worker": lambda c: views.visits(
        c, views.VisitFilter(starts_from=START, starts_before=END, workers=["w-1"]), None, 9
    ),
    "visits of a verdict": lambda c: views.visits(
        c, views.VisitFilter(starts_from=START, starts_before=END, verdicts=["unknown"]), None, 501
    ),
    "stays of a day": lambda c: views.stays(c, views.StayFilter(starts_from=START, starts_before=END), None, 501),
    "stays of a worker": lambda c: views.stays(c, views.StayFilter(starts_from=START, starts_before=END, workers=["w-1"]), None, 9),
    "stays at a site, next page": lambda c: views.stays(c, views.StayFilter(sites=["s-1"]), (START, "w-1"), 501),
    "visits by id": lambda c: views.visits_by_id(c, ["v-1", "v-2"]),
    "coverage of a week": lambda c: figures.coverage(c, START, START + timedelta(days=7), 0.95, ["day"], 0, 501),
    "coverage in total": lambda c: figures.coverage_total(c, START, START + timedelta(days=7), 0.95),
    "alerts": lambda c: figures.alerts(c, figures.AlertFilter(), None, 501),
    "open alerts": lambda c: figures.alerts(c, figures.AlertFilter(open=True), None, 51),
    "changes": lambda c: figures.changes(c, 19_000, 500),
    "changes kept": figures.changes_kept,
}


def test_no_polled_query_scans_what_grows(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(YEAR)
        connection.execute("vacuum analyze")
    found = asyncio.run(_plans(database))
    assert not found, "\n\n".join(f"{name}:\n{plan}" for name, plan in found.items())


async def _plans(database: str) -> dict[str, str]:
    """The plans that scan a growing table, by the name of the query."""
    scanning: dict[str, str] = {}
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        for name, query in POLLED.items():
            plan = await _explained(connection, query)
            if re.search(rf"Seq Scan on ({'|'.join(GROWS)})\b", plan):
                scanning[name] = plan
    return scanning


async def _explained(connection: AsyncConnection, query: Query) -> str:
    """Runs a query of the store as it is and returns how the database did it."""
    plans: list[str] = []
    connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    await connection.execute("load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_level = notice")
    await query(connection)
    await connection.execute("set auto_explain.log_min_duration = -1")
    if not plans:
        pytest.fail("the database did not say how it answered")
    return "\n".join(plans)
