"""Windows: all that is known about many visits at once, as the engine takes it.

Rules kept here:

- A handful of queries, however many visits. Fixes, which are nearly all of the evidence, come as one binary COPY of rows of one
  width, which numpy reads in place: no Python object is made per fix.
- A window has the same content whatever the order in which it was stored: every part is in the order of (at, source, identity).
- A status lasts until the next. So beside those of the window come the `STATUSES_BEFORE` before it, and offline notices that came
  inside it: their own time is that of the connection's beginning.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from psycopg import Connection

from geofence.evidence import Check, DeviceEvent, Fixes, Observed, Status
from geofence.plan import Scene
from geofence.policy import Policy
from store import haunts, scenes
from store.haunts import Place
from store.policies import Policies
from store.scenes import Staged

STATUSES_BEFORE = 4

Stretch = tuple[float, float]


class Case(Struct, frozen=True, kw_only=True, eq=False):
    """What the engine judges: a visit in its scene, what was observed, by which policy, and when our own ingest was down."""

    scene: Scene
    observed: Observed
    policy: Policy
    outages: tuple[Stretch, ...]
    haunts: Mapping[Place, tuple[str, ...]]
    """Where else the worker was in planned time, and the sites known there."""


class Span(Struct, frozen=True):
    """A source whose evidence with `at` in `[from_at, to_at)` is wanted; `owner` numbers who wants it."""

    owner: int
    source: str
    from_at: float
    to_at: float


def read(connection: Connection, visits: Sequence[str], policies: Policies) -> list[Case]:
    """The cases of those of the visits that exist, in the order of their ids."""
    staged = scenes.read(connection, visits, policies)
    of_phones = _spans(staged, [stage.scene.phones for stage in staged])
    of_devices = _spans(staged, [tuple(device.source for device in stage.scene.devices) for stage in staged])
    fixes = read_fixes(connection, of_phones)
    places = [haunts.of(fixes[n], stage.scene.visit, stage.scene.site) if n in fixes else [] for n, stage in enumerate(staged)]
    known = haunts.sites_at(connection, {place for own in places for place in own})
    staged = scenes.with_sites(connection, staged, [[site for place in own for site in known[place]] for own in places])
    checks = _read_rows(connection, CHECKS, of_phones, Check)
    events = _read_rows(connection, DEVICE_EVENTS, of_devices, DeviceEvent)
    statuses = _read_rows(connection, STATUSES, list(dict.fromkeys([*of_phones, *of_devices])), Status)
    outages = _outages(connection, staged)
    return [
        Case(
            scene=stage.scene,
            observed=Observed(fixes=fixes.get(n, NO_FIXES), checks=checks[n], events=events[n], statuses=statuses[n]),
            policy=stage.policy,
            haunts={place: tuple(known[place]) for place in places[n]},
            outages=tuple(outage for outage in outages if outage[0] < stage.closes_at and outage[1] > stage.opens_at),
        )
        for n, stage in enumerate(staged)
    ]


def read_fixes(connection: Connection, spans: Sequence[Span]) -> dict[int, Fixes]:
    """The fixes of each owner that has any."""
    if not spans:
        return {}
    sources = sorted({span.source for span in spans})
    rank = {source: n for n, source in enumerate(sources)}
    values = {
        "owners": [span.owner for span in spans],
        "ranks": [rank[span.source] for span in spans],
        "first": min(span.from_at for span in spans),
        "last": max(span.to_at for span in spans),
        **_columns(spans),
    }
    with connection.cursor() as cursor, cursor.copy(FIXES, values) as copy:
        rows = _unpack(b"".join(copy))
    if not len(rows):
        return {}
    rows = rows[np.lexsort((rows["identity"], rows["rank"], rows["at"], rows["owner"]))]
    owners, starts = np.unique(rows["owner"], return_index=True)
    return {int(owner): _fixes(part, sources) for owner, part in zip(owners, np.split(rows, starts[1:]), strict=True)}


_HEADER_BYTES = 19
_TRAILER_BYTES = 2
_COLUMNS = (
    ("owner", ">i4"),
    ("rank", ">i4"),
    ("at", ">i8"),
    ("received_at", ">i8"),
    ("identity", ">i8"),
    ("lon", ">f8"),
    ("lat", ">f8"),
    ("accuracy_m", ">f4"),
    ("altitude_m", ">f4"),
    ("speed_mps", ">f4"),
    ("heading_deg", ">f4"),
    ("mock", "?"),
    ("ping", "?"),
    ("mode", "S16"),
)
# Every value has its length before it, and every row the number of its values.
_ROW = np.dtype([("columns", ">i2"), *(pair for name, kind in _COLUMNS for pair in ((f"{name} bytes", ">i4"), (name, kind)))])
_EPOCH_US = 946_684_800_000_000


def _unpack(copied: bytes) -> NDArray[np.void]:
    """The rows of a binary COPY whose columns all have one width and are never null."""
    rows = np.frombuffer(
        copied, dtype=_ROW, offset=_HEADER_BYTES, count=(len(copied) - _HEADER_BYTES - _TRAILER_BYTES) // _ROW.itemsize
    )
    if len(rows) * _ROW.itemsize + _HEADER_BYTES + _TRAILER_BYTES != len(copied):
        raise AssertionError("a column of FIXES is null or has another width than _COLUMNS says")
    return rows


def _fixes(rows: NDArray[np.void], sources: Sequence[str]) -> Fixes:
    ranks, source = np.unique(rows["rank"], return_inverse=True)
    named = rows["mode"] != b""
    return Fixes(
        sources=tuple(sources[rank] for rank in ranks),
        source=source.astype(np.int64),
        at=_seconds(rows["at"]),
        received_at=_seconds(rows["received_at"]),
        lon=rows["lon"].astype(np.float64),
        lat=rows["lat"].astype(np.float64),
        accuracy_m=rows["accuracy_m"].astype(np.float64),
        altitude_m=rows["altitude_m"].astype(np.float64),
        speed_mps=rows["speed_mps"].astype(np.float64),
        heading_deg=rows["heading_deg"].astype(np.float64),
        mock=rows["mock"].astype(np.bool_),
        ping=rows["ping"].astype(np.bool_),
        mode=tuple(mode.decode(errors="ignore") or None for mode in rows["mode"].tolist()) if named.any() else (),
    )


def _seconds(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    """PostgreSQL's microseconds since 2000 as seconds since 1970: one division, so that they equal the floats that came in."""
    return (micros.astype(np.int64) + _EPOCH_US) / 1e6


_EMPTY = np.empty(0)
NO_FIXES = Fixes(
    sources=(),
    source=np.empty(0, dtype=np.int64),
    at=_EMPTY,
    received_at=_EMPTY,
    lon=_EMPTY,
    lat=_EMPTY,
    accuracy_m=_EMPTY,
    altitude_m=_EMPTY,
    speed_mps=_EMPTY,
    heading_deg=_EMPTY,
    mock=np.empty(0, dtype=np.bool_),
    ping=np.empty(0, dtype=np.bool_),
)

Row = TypeVar("Row", Check, DeviceEvent, Status)


def _read_rows(connection: Connection, query: str, spans: Sequence[Span], kind: type[Row]) -> Mapping[int, tuple[Row, ...]]:
    """The rows of each owner. The query's columns after the owner are the kind's fields in the order of `_fields`."""
    found: dict[int, list[Row]] = defaultdict(list)
    if spans:
        names = kind.__struct_fields__
        values = {
            "owners": [span.owner for span in spans],
            "first": min(span.from_at for span in spans),
            "last": max(span.to_at for span in spans),
            "before": STATUSES_BEFORE,
            **_columns(spans),
        }
        for owner, *row in connection.execute(query.encode(), values):
            found[owner].append(kind(**dict(zip(names, row, strict=True))))
    ordered = {owner: tuple(sorted(rows, key=_order)) for owner, rows in found.items()}
    return defaultdict(tuple, ordered)


def _order(row: Check | DeviceEvent | Status) -> tuple[float, str, int]:
    return row.at, row.source, row.identity


def _spans(staged: Iterable[Staged], sources: Iterable[Sequence[str]]) -> list[Span]:
    return [
        Span(n, source, stage.opens_at, stage.closes_at)
        for n, (stage, wanted) in enumerate(zip(staged, sources, strict=True))
        for source in wanted
    ]


def _columns(spans: Sequence[Span]) -> dict[str, object]:
    return {
        "sources": [span.source for span in spans],
        "from_at": [span.from_at for span in spans],
        "to_at": [span.to_at for span in spans],
    }


def _outages(connection: Connection, staged: Sequence[Staged]) -> list[Stretch]:
    if not staged:
        return []
    values = {"first": min(stage.opens_at for stage in staged), "last": max(stage.closes_at for stage in staged)}
    return connection.execute(OUTAGES, values).fetchall()


# In each of these the evidence of a span is read in a lateral subquery that is kept apart by `offset 0`, so that the plan is always
# one walk of the unique index per span, also before the tables were ever analysed. `first` and `last` repeat the bounds as
# constants, by which TimescaleDB leaves out chunks when it plans.

# The columns are those of _COLUMNS, none of them null. Binary timestamps are microseconds.
FIXES = """
copy (
    select span.owner, span.rank, said.at, said.received_at, said.identity, said.lon, said.lat,
           coalesce(said.accuracy_m, 'NaN'), coalesce(said.altitude_m, 'NaN'), coalesce(said.speed_mps, 'NaN'),
           coalesce(said.heading_deg, 'NaN'), said.mock, coalesce(said.trigger = 'ping', false),
           substr(convert_to(coalesce(said.mode, ''), 'UTF8') || '\\x00000000000000000000000000000000', 1, 16)
    from unnest(%(owners)s::int4[], %(ranks)s::int4[], %(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[])
         as span (owner, rank, source, from_at, to_at)
    cross join lateral (
        select * from fixes
        where source = span.source and at >= to_timestamp(span.from_at) and at < to_timestamp(span.to_at)
          and at >= to_timestamp(%(first)s) and at < to_timestamp(%(last)s)
        offset 0
    ) as said
) to stdout (format binary)
"""

_SPANS = """
unnest(%(owners)s::int4[], %(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as span (owner, source, from_at, to_at)
"""
_INSIDE = """
where source = span.source and at >= to_timestamp(span.from_at) and at < to_timestamp(span.to_at)
  and at >= to_timestamp(%(first)s) and at < to_timestamp(%(last)s)
"""

# The columns of each are the fields of its struct, in their order.
CHECKS = f"""
select span.owner, said.source, extract(epoch from at)::float8, extract(epoch from received_at)::float8, identity, kind, visit, method,
       code, lon, lat, accuracy_m::float8, epoch, seq
from {_SPANS} cross join lateral (select * from checks {_INSIDE} offset 0) as said
"""

DEVICE_EVENTS = f"""
select span.owner, said.source, extract(epoch from at)::float8, extract(epoch from received_at)::float8, identity, kind, value,
       worker, credential
from {_SPANS} cross join lateral (select * from device_events {_INSIDE} offset 0) as said
"""

STATUSES = f"""
select span.owner, said.source, extract(epoch from at)::float8, extract(epoch from received_at)::float8, identity, state,
       permission, power_save, app_version, battery::float8, epoch, seq
from {_SPANS}
cross join lateral (
    select * from statuses {_INSIDE}
    union
    select * from statuses
    where source = span.source and at >= to_timestamp(span.from_at) - interval '2 days' and at < to_timestamp(span.from_at)
      and received_at >= to_timestamp(span.from_at) and received_at < to_timestamp(span.to_at)
    union
    (select * from statuses where source = span.source and at < to_timestamp(span.from_at)
     order by at desc, identity desc limit %(before)s)
) as said
"""

OUTAGES = """
select extract(epoch from start_at)::float8, coalesce(extract(epoch from end_at)::float8, %(last)s)
from outages
where start_at < to_timestamp(%(last)s) and coalesce(end_at, 'infinity') > to_timestamp(%(first)s)
order by start_at
"""
