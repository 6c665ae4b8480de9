"""Stays: where workers stayed and what that was, kept as what the stops in their fixes and the plans of now say.

Rules kept here:

- Stays follow from fixes, sites and visits alone. Who brings evidence or changes a plan has them followed in the same transaction.
- What is the same as stored is not written. A changed stay at the site of a visit, at another time of its day, bears on that visit:
  it is judged again.
- An alert is raised for a stay at a known site that nobody planned, if it is no short one, she was not planned elsewhere (then that
  visit has its own), and no visit of hers there on that day explains it (then that visit says so).
"""

from collections.abc import Collection, Iterable, Sequence
from math import cos, radians
from typing import LiteralString

import msgspec
from msgspec import Struct
from psycopg import Connection

from geofence.plan import Site, Visit
from geofence.stays import SAME_DAY_S, SIGMAS, TOLD_MIN_S, Stay, stay
from geofence.stops import Stop
from store.alerts import Severity
from store.scenes import site_of
from store.stops import Found

ALERT = "unscheduled"
SLACK_M = 10.0
"""Boxes of sites are searched this much wider: their edges are drawn by another measure than the fence's."""
_METRES_A_DEGREE = 111_320.0


class Saying(Struct, frozen=True):
    """How the alert reads."""

    severity: Severity
    en: str
    zh: str


class Followed(Struct, frozen=True, kw_only=True):
    """What following changed: ids of alerts, and visits that look different now."""

    alerts: frozenset[str] = frozenset()
    visits: frozenset[str] = frozenset()


class Row(Struct, frozen=True, kw_only=True):
    """A stay as stored."""

    worker: str
    start_at: float
    end_at: float
    lon: float
    lat: float
    error_m: float
    fixes: int
    cut_at: float | None
    sure_at: float | None
    kind: str
    site: str | None
    sites: tuple[str, ...]
    visit: str | None
    instead_of: str | None

    @property
    def stop(self) -> Stop:
        return Stop(**{name: getattr(self, name) for name in Stop.__struct_fields__})

    @property
    def alert(self) -> str | None:
        """The id of its alert, if it wants one."""
        wanted = self.kind == "unscheduled" and self.visit is None and self.instead_of is None
        long = self.end_at - self.start_at >= TOLD_MIN_S
        return f"{ALERT}:{self.worker}:{round(self.start_at * 1000)}" if wanted and long else None

    @property
    def served(self) -> str | None:
        """The visit that may have been served by it at another time."""
        return self.visit if self.kind == "unscheduled" and self.end_at - self.start_at >= TOLD_MIN_S else None


def follow(connection: Connection, found: Sequence[Found], saying: Saying) -> Followed:
    """Makes the stays of workers, in the spans that were searched, what was found there."""
    stops = [(one.worker, stop) for one in found for stop in one.stops]
    before = _between(connection, found)
    return _write(connection, before, _said(connection, stops), saying)


def anew(connection: Connection, found: Sequence[Found], saying: Saying) -> Followed:
    """The same for all that there is of workers, and nothing that is stored is believed: neither their stays nor their alerts."""
    stops = [(one.worker, stop) for one in found for stop in one.stops]
    after = _said(connection, stops)
    followed = _write(connection, _between(connection, found), after, saying)
    wanted = [row for row in after if row.alert]
    values = {"workers": [one.worker for one in found], "kind": ALERT, "wanted": [row.alert for row in wanted]}
    stale = frozenset(alert for (alert,) in connection.execute(CLEAR_OTHERS, values))
    return Followed(alerts=followed.alerts | stale | _follow_alerts(connection, (), wanted, saying), visits=followed.visits)


def follow_plans(connection: Connection, visits: Collection[str], sites: Collection[str], saying: Saying) -> Followed:
    """Brings stays up to what these visits and sites are now, wherever they were before."""
    values = {"visits": list(visits), "sites": list(sites), "day_s": SAME_DAY_S, "metres": _METRES_A_DEGREE}
    before = [_row(row) for row in connection.execute(CONCERNED, values)]
    return _write(connection, before, _said(connection, [(row.worker, row.stop) for row in before]), saying)


def _said(connection: Connection, stops: Sequence[tuple[str, Stop]]) -> list[Row]:
    """What stops were, by the plans of now."""
    if not stops:
        return []
    sites, visits = _sites(connection, [stop for _, stop in stops]), _visits(connection, stops)
    return [_told(worker, stop, stay(stop, sites[n], visits[n])) for n, (worker, stop) in enumerate(stops)]


def _told(worker: str, stop: Stop, was: Stay) -> Row:
    return Row(worker=worker, **msgspec.structs.asdict(stop), **msgspec.structs.asdict(was))


def _write(connection: Connection, before: Sequence[Row], after: Sequence[Row], saying: Saying) -> Followed:
    old, new = {(row.worker, row.start_at): row for row in before}, {(row.worker, row.start_at): row for row in after}
    gone = [key for key in old if key not in new]
    changed = [row for key, row in new.items() if old.get(key) != row]
    if gone:
        connection.execute(DELETE, {"workers": [worker for worker, _ in gone], "start_at": [at for _, at in gone]})
    if changed:
        connection.execute(WRITE, {name: [_cell(getattr(row, name)) for row in changed] for name in Row.__struct_fields__})
    others = [old[key] for key in gone] + [old[(row.worker, row.start_at)] for row in changed if (row.worker, row.start_at) in old]
    visits = {row.served for row in (*changed, *others)} - {None}
    return Followed(alerts=_follow_alerts(connection, others, changed, saying), visits=frozenset(v for v in visits if v))


def _follow_alerts(connection: Connection, before: Iterable[Row], after: Iterable[Row], saying: Saying) -> frozenset[str]:
    wanted = [row for row in after if row.alert]
    unwanted = {row.alert for row in before if row.alert} - {row.alert for row in wanted}
    told: list[str] = []
    if wanted:
        values = {
            "ids": [row.alert for row in wanted],
            "kind": ALERT,
            "severity": saying.severity,
            "at": [row.start_at for row in wanted],
            "workers": [row.worker for row in wanted],
            "sites": [row.site for row in wanted],
            "detail": msgspec.json.encode({"en": saying.en, "zh": saying.zh}).decode(),
        }
        told += [alert for (alert,) in connection.execute(RAISE, values)]
    if unwanted:
        told += [alert for (alert,) in connection.execute(CLEAR, {"ids": list(unwanted)})]
    return frozenset(told)


def _between(connection: Connection, found: Sequence[Found]) -> list[Row]:
    if not found:
        return []
    values = {
        "workers": [one.worker for one in found],
        "from_at": [one.from_at for one in found],
        "to_at": [one.to_at for one in found],
    }
    return [_row(row) for row in connection.execute(BETWEEN, values)]


def _row(row: Sequence[object]) -> Row:
    named = dict(zip(Row.__struct_fields__, row, strict=True))
    return msgspec.convert(named, Row)


def _cell(value: object) -> object:
    return ",".join(value) if isinstance(value, tuple) else value


def _sites(connection: Connection, stops: Sequence[Stop]) -> list[list[Site]]:
    """The sites that each stop may have been at, by their boxes."""
    reach = [(SIGMAS * stop.error_m + SLACK_M) / _METRES_A_DEGREE for stop in stops]
    values = {
        "lons": [stop.lon for stop in stops],
        "lats": [stop.lat for stop in stops],
        "across": [r / max(cos(radians(stop.lat)), 0.01) for r, stop in zip(reach, stops, strict=True)],
        "up": reach,
    }
    near: list[list[Site]] = [[] for _ in stops]
    for n, *row in connection.execute(SITES_NEAR, values):
        near[n - 1].append(site_of(*row))
    return near


def _visits(connection: Connection, stops: Sequence[tuple[str, Stop]]) -> list[list[Visit]]:
    """The visits of each stop's worker within a day of it."""
    values = {
        "workers": [worker for worker, _ in stops],
        "from_at": [stop.start_at - SAME_DAY_S for _, stop in stops],
        "to_at": [stop.end_at + SAME_DAY_S for _, stop in stops],
    }
    near: list[list[Visit]] = [[] for _ in stops]
    for n, id_, worker, site, service, starts_at, ends_at in connection.execute(VISITS_NEAR, values):
        near[n - 1].append(Visit(id=id_, worker=worker, site=site, service=service, starts_at=starts_at, ends_at=ends_at))
    return near


_COLUMNS: LiteralString = """
stays.worker, extract(epoch from stays.start_at)::float8, extract(epoch from stays.end_at)::float8, stays.lon, stays.lat,
stays.error_m, stays.fixes, extract(epoch from stays.cut_at)::float8, extract(epoch from stays.sure_at)::float8, stays.kind,
stays.site, stays.sites, stays.visit, stays.instead_of
"""

BETWEEN: LiteralString = f"""
select {_COLUMNS}
from unnest(%(workers)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as span (worker, from_at, to_at)
join stays on stays.worker = span.worker
    and stays.start_at >= to_timestamp(span.from_at) and stays.start_at < to_timestamp(span.to_at)
"""

# Stays near the old or the new time of a visit, and stays near where a site is, or that were at it.
CONCERNED: LiteralString = f"""
with plans as (
    select worker, starts_at, ends_at from visits where id = any(%(visits)s)
    union all
    select worker, starts_at, ends_at from outcomes where visit = any(%(visits)s)
)
select {_COLUMNS} from stays join (
    select stays.worker, stays.start_at
    from plans join stays on stays.worker = plans.worker
        and stays.start_at <= plans.ends_at + make_interval(secs => %(day_s)s)
        and stays.end_at >= plans.starts_at - make_interval(secs => %(day_s)s)
    union
    select worker, start_at from stays where visit = any(%(visits)s)
    union
    select worker, start_at from stays where sites && %(sites)s::text[]
    union
    select stays.worker, stays.start_at
    from sites join stays on point(stays.lon, stays.lat)
        <@ box(point(min_lon - 1000 / %(metres)s / greatest(cosd(min_lat), 0.01), min_lat - 1000 / %(metres)s),
               point(max_lon + 1000 / %(metres)s / greatest(cosd(min_lat), 0.01), max_lat + 1000 / %(metres)s))
    where sites.id = any(%(sites)s)
) as concerned using (worker, start_at)
"""

DELETE = """
delete from stays using unnest(%(workers)s::text[], %(start_at)s::float8[]) as gone (worker, start_at)
where stays.worker = gone.worker and stays.start_at = to_timestamp(gone.start_at)
"""

WRITE = """
insert into stays (worker, start_at, end_at, lon, lat, error_m, fixes, cut_at, sure_at, kind, site, sites, visit, instead_of)
select worker, to_timestamp(start_at), to_timestamp(end_at), lon, lat, error_m, fixes, to_timestamp(cut_at), to_timestamp(sure_at),
       kind, site, string_to_array(sites, ','), visit, instead_of
from unnest(%(worker)s::text[], %(start_at)s::float8[], %(end_at)s::float8[], %(lon)s::float8[], %(lat)s::float8[],
            %(error_m)s::float8[], %(fixes)s::int4[], %(cut_at)s::float8[], %(sure_at)s::float8[], %(kind)s::text[],
            %(site)s::text[], %(sites)s::text[], %(visit)s::text[], %(instead_of)s::text[])
     as said (worker, start_at, end_at, lon, lat, error_m, fixes, cut_at, sure_at, kind, site, sites, visit, instead_of)
on conflict (worker, start_at) do update
set end_at = excluded.end_at, lon = excluded.lon, lat = excluded.lat, error_m = excluded.error_m, fixes = excluded.fixes,
    cut_at = excluded.cut_at, sure_at = excluded.sure_at, kind = excluded.kind, site = excluded.site, sites = excluded.sites,
    visit = excluded.visit, instead_of = excluded.instead_of
"""

RAISE = """
insert into alerts (id, kind, severity, at, worker, site, detail)
select id, %(kind)s, %(severity)s, to_timestamp(at), worker, site, %(detail)s::jsonb
from unnest(%(ids)s::text[], %(at)s::float8[], %(workers)s::text[], %(sites)s::text[]) as wanted (id, at, worker, site)
on conflict (id) do update set site = excluded.site, severity = excluded.severity, detail = excluded.detail, cleared = false
where (alerts.site, alerts.severity, alerts.detail, alerts.cleared)
      is distinct from (excluded.site, excluded.severity, excluded.detail, false)
returning id
"""

CLEAR = "update alerts set cleared = true where id = any(%(ids)s) and not cleared returning id"

CLEAR_OTHERS = """
update alerts set cleared = true
where kind = %(kind)s and visit is null and worker = any(%(workers)s) and not cleared and not id = any(%(wanted)s)
returning id
"""

SITES_NEAR = """
select place.n, sites.id, geometry::text, radius_m, timezone
from unnest(%(lons)s::float8[], %(lats)s::float8[], %(across)s::float8[], %(up)s::float8[])
     with ordinality as place (lon, lat, across, up, n)
join sites on box(point(min_lon, min_lat), point(max_lon, max_lat))
           && box(point(lon - across, lat - up), point(lon + across, lat + up))
order by place.n, sites.id
"""

VISITS_NEAR = """
select near.n, visits.id, visits.worker, visits.site, visits.service, extract(epoch from visits.starts_at)::float8,
       extract(epoch from visits.ends_at)::float8
from unnest(%(workers)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) with ordinality as near (worker, from_at, to_at, n)
join visits on visits.worker = near.worker and visits.starts_at < to_timestamp(near.to_at)
    and visits.starts_at > to_timestamp(near.from_at) - interval '168 hours' and visits.ends_at > to_timestamp(near.from_at)
order by near.n, visits.starts_at, visits.id
"""
