"""Windows: all that is known about many visits at once, as the engine takes it.

Rules kept here:

- A handful of queries, however many visits. Fixes, which are nearly all of the evidence, come as one row a source whose columns are
  binary arrays, which numpy reads in place: no Python object is made per fix.
- A window has the same content whatever the order in which it was stored: every part is in the order of (at, source, identity).
- A status lasts until the next. So beside those of the window come the `STATUSES_BEFORE` before it, and offline notices that came
  inside it: their own time is that of the connection's beginning.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from geofence.evidence import NO_SKETCHES, Check, DeviceEvent, Fixes, Observed, Status
from geofence.plan import Scene
from geofence.policy import Policy
from geofence.stays import TOLD_MIN_S
from store import haunts, scenes, sketches
from store.evidence import micros
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
    elsewhen = _elsewhen(connection, visits)
    earlier = sketches.read(connection, [stage.scene.visit for n, stage in enumerate(staged) if n in fixes])
    return [
        Case(
            scene=stage.scene,
            observed=Observed(
                fixes=fixes.get(n, NO_FIXES),
                checks=checks[n],
                events=events[n],
                statuses=statuses[n],
                elsewhen=tuple(elsewhen[stage.scene.visit.id]),
                earlier=earlier.get(stage.scene.visit.id, NO_SKETCHES),
            ),
            policy=stage.policy,
            haunts={place: tuple(known[place]) for place in places[n]},
            outages=tuple(outage for outage in outages if outage[0] < stage.closes_at and outage[1] > stage.opens_at),
        )
        for n, stage in enumerate(staged)
    ]


def read_tracks(connection: Connection, visits: Sequence[str], policies: Policies) -> list[tuple[Staged, Fixes]]:
    """Those of the visits that exist, with nothing but the fixes of their windows."""
    staged = scenes.read(connection, visits, policies)
    fixes = read_fixes(connection, _spans(staged, [stage.scene.phones for stage in staged]))
    return [(stage, fixes.get(n, NO_FIXES)) for n, stage in enumerate(staged)]


def read_fixes(connection: Connection, spans: Sequence[Span]) -> dict[int, Fixes]:
    """The fixes of each owner that has any. What several want of a source is read once, and they share its memory, read only."""
    stretches, place_of = _stretches(spans)
    if not stretches:
        return {}
    tracks: dict[int, _Track] = {}
    with connection.cursor(binary=True) as cursor:
        for name in _ELEMENTS:
            cursor.adapters.register_loader(cursor.adapters.types[name].array_oid, _Raw)
        for place, *arrays in cursor.execute(FIXES, {**_columns(stretches), **_bounds(stretches)}):
            tracks[place] = _track(arrays)
    found: dict[int, list[tuple[str, _Track]]] = defaultdict(list)
    for span, place in zip(spans, place_of, strict=True):
        if place in tracks:
            part = _within(tracks[place], span)
            if len(part.at_us):
                found[span.owner].append((span.source, part))
    return {owner: _fixes(sorted(parts, key=lambda part: part[0])) for owner, parts in found.items()}


def _stretches(spans: Sequence[Span]) -> tuple[list[Span], list[int]]:
    """Spans of one source that overlap as one stretch, owned by its own place in the list; and the place of each span's stretch."""
    stretches: list[Span] = []
    place_of = [0] * len(spans)
    for n in sorted(range(len(spans)), key=lambda n: (spans[n].source, spans[n].from_at)):
        span = spans[n]
        last = stretches[-1] if stretches else None
        if last is not None and last.source == span.source and span.from_at <= last.to_at:
            stretches[-1] = Span(last.owner, last.source, last.from_at, max(last.to_at, span.to_at))
        else:
            stretches.append(Span(len(stretches), span.source, span.from_at, span.to_at))
        place_of[n] = len(stretches) - 1
    return stretches, place_of


class _Raw(Loader):
    """Leaves an array as the bytes that it came in, for numpy to read in place."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


# An array without nulls of values of one width: a header, and then every value with its length before it.
_HEADER_BYTES = 20
_ELEMENTS = {
    "timestamptz": np.dtype([("bytes", ">i4"), ("value", ">i8")]),
    "int8": np.dtype([("bytes", ">i4"), ("value", ">i8")]),
    "float8": np.dtype([("bytes", ">i4"), ("value", ">f8")]),
    "float4": np.dtype([("bytes", ">i4"), ("value", ">f4")]),
    "bool": np.dtype([("bytes", ">i4"), ("value", "?")]),
}
_TIME, _KEY, _DEGREES, _NUMBER, _FLAG = _ELEMENTS.values()
_KINDS = (_TIME, _TIME, _KEY, _DEGREES, _DEGREES, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _FLAG, _FLAG)
_EPOCH_US = 946_684_800_000_000


class _Track(Struct, frozen=True, eq=False):
    """Fixes of one source, in the order of (at, identity)."""

    at_us: NDArray[np.int64]
    """PostgreSQL's microseconds since 2000."""
    numbers: Sequence[NDArray[Any]]
    """Those of `Fixes` from `at` to `ping`, in their order."""
    modes: list[str | None] | None


def _track(arrays: Sequence[Any]) -> _Track:
    at_us, received_us, identity, *rest = (_values(array, kind) for array, kind in zip(arrays, _KINDS, strict=False))
    modes = arrays[-1]
    numbers = [_seconds(at_us), _seconds(received_us), *rest]
    if np.any(np.diff(at_us) <= 0):
        # Nothing promises the order in which rows are gathered, but they nearly always come as the index has them.
        order = np.lexsort((identity, at_us))
        at_us, numbers = at_us[order], [column[order] for column in numbers]
        modes = modes and [modes[n] for n in order.tolist()]
    for column in numbers:
        column.setflags(write=False)
    return _Track(at_us, numbers, modes)


def _within(track: _Track, span: Span) -> _Track:
    first, last = np.searchsorted(track.at_us, [micros(span.from_at), micros(span.to_at)]).tolist()
    modes = track.modes and track.modes[first:last]
    return _Track(track.at_us[first:last], [column[first:last] for column in track.numbers], modes)


def _fixes(parts: Sequence[tuple[str, _Track]]) -> Fixes:
    """The fixes of one owner out of those of each of her sources, which come in the order of their names."""
    lengths = [len(part.at_us) for _, part in parts]
    source = np.repeat(np.arange(len(parts)), lengths)
    numbers = parts[0][1].numbers
    named = any(part.modes and any(part.modes) for _, part in parts)
    modes = [mode for _, part in parts for mode in part.modes or [None] * len(part.at_us)] if named else []
    if len(parts) > 1:
        order = np.lexsort((source, np.concatenate([part.at_us for _, part in parts])))
        source = source[order]
        numbers = [np.concatenate(column)[order] for column in zip(*(part.numbers for _, part in parts), strict=True)]
        modes = [modes[n] for n in order.tolist()] if named else []
    at, received_at, lon, lat, accuracy_m, altitude_m, speed_mps, heading_deg, mock, ping = numbers
    return Fixes(
        sources=tuple(source for source, _ in parts),
        source=source,
        at=at,
        received_at=received_at,
        lon=lon,
        lat=lat,
        accuracy_m=accuracy_m,
        altitude_m=altitude_m,
        speed_mps=speed_mps,
        heading_deg=heading_deg,
        mock=mock,
        ping=ping,
        mode=tuple(modes),
    )


def _values(array: bytes, kind: np.dtype[np.void]) -> NDArray[Any]:
    values = np.frombuffer(array, dtype=kind, offset=_HEADER_BYTES)["value"]
    return values.astype(np.float64 if kind in (_DEGREES, _NUMBER) else values.dtype.newbyteorder("="))


def _seconds(us: NDArray[np.int64]) -> NDArray[np.float64]:
    """PostgreSQL's microseconds since 2000 as seconds since 1970: one division, so that they equal the floats that came in."""
    return (us + _EPOCH_US) / 1e6


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
        values = {**_columns(spans), **_bounds(spans), "before": STATUSES_BEFORE}
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
        "owners": [span.owner for span in spans],
        "sources": [span.source for span in spans],
        "from_at": [span.from_at for span in spans],
        "to_at": [span.to_at for span in spans],
    }


def _bounds(spans: Sequence[Span]) -> dict[str, object]:
    return {"first": min(span.from_at for span in spans), "last": max(span.to_at for span in spans)}


def _elsewhen(connection: Connection, visits: Sequence[str]) -> Mapping[str, list[Stretch]]:
    """Of each visit, the stays of its worker at its site on the same day that lie in no window of a visit of hers there."""
    found: dict[str, list[Stretch]] = defaultdict(list)
    for visit, start_at, end_at in connection.execute(ELSEWHEN, {"visits": list(visits), "min_s": TOLD_MIN_S}):
        found[visit].append((start_at, end_at))
    return found


def _outages(connection: Connection, staged: Sequence[Staged]) -> list[Stretch]:
    if not staged:
        return []
    values = {"first": min(stage.opens_at for stage in staged), "last": max(stage.closes_at for stage in staged)}
    return connection.execute(OUTAGES, values).fetchall()


# In each of these the evidence of a span is read in a lateral subquery that is kept apart by `offset 0`, so that the plan is always
# one walk of the unique index per span, also before the tables were ever analysed. `first` and `last` repeat the bounds as
# constants, by which TimescaleDB leaves out chunks when it plans.

_SPANS = """
unnest(%(owners)s::int4[], %(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as span (owner, source, from_at, to_at)
"""
_INSIDE = """
where source = span.source and at >= to_timestamp(span.from_at) and at < to_timestamp(span.to_at)
  and at >= to_timestamp(%(first)s) and at < to_timestamp(%(last)s)
"""

# One row a span, its columns as arrays: those of _KINDS, in which a null would break the width, and the modes if there are any.
FIXES: LiteralString = f"""
select span.owner, said.at, said.received_at, said.identity, said.lon, said.lat, said.accuracy_m, said.altitude_m,
       said.speed_mps, said.heading_deg, said.mock, said.ping, said.mode
from {_SPANS}
cross join lateral (
    select array_agg(at) as at, array_agg(received_at) as received_at, array_agg(identity) as identity, array_agg(lon) as lon,
           array_agg(lat) as lat, array_agg(coalesce(accuracy_m, 'NaN')) as accuracy_m,
           array_agg(coalesce(altitude_m, 'NaN')) as altitude_m, array_agg(coalesce(speed_mps, 'NaN')) as speed_mps,
           array_agg(coalesce(heading_deg, 'NaN')) as heading_deg, array_agg(mock) as mock,
           array_agg(coalesce(trigger = 'ping', false)) as ping, case when count(mode) > 0 then array_agg(mode) end as mode
    from fixes {_INSIDE}
) as said
where said.at is not null
"""

# The columns of each are the fields of its struct, in their order.
CHECKS = f"""
select span.owner, said.source, extract(epoch from at)::float8, extract(epoch from received_at)::float8, identity, kind, visit,
       method, code, lon, lat, accuracy_m::float8, epoch, seq
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

ELSEWHEN = """
select visit, extract(epoch from start_at)::float8, extract(epoch from end_at)::float8
from stays
where visit = any(%(visits)s) and kind = 'unscheduled' and end_at - start_at >= make_interval(secs => %(min_s)s)
order by visit, start_at
"""

OUTAGES = """
select extract(epoch from start_at)::float8, coalesce(extract(epoch from end_at)::float8, %(last)s)
from outages
where start_at < to_timestamp(%(last)s) and coalesce(end_at, 'infinity') > to_timestamp(%(first)s)
order by start_at
"""
