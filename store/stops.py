"""Stops: searches the stored fixes of workers for stops, each fix once, and again from the last cut before what came late.

    new fixes ──▶ whole slots of SLOT_S, and BEHIND_S later ──▶ geofence.stops.step ──▶ stops that ended, and the one that goes on
    late fixes ──▶ begin at the last stop that they cannot change ──▶ the same, until the stops are again those that are stored

Rules kept here:

- A search has gone on to `until`, which follows from the newest fix of a worker alone. So live and replayed searches stand at the
  same place with the same state, however often and in whatever order evidence came.
- A worker costs one short read a slot, and a fix that is not older than BEHIND_S costs nothing more.
- A stretch is read a day at a time, whatever its length.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from zlib import crc32

import msgspec
import numpy as np
from msgspec import Struct
from psycopg import Connection

from geofence.evidence import Fixes
from geofence.stops import BEHIND_S, MINUTE_S, State, Stop, going_on, step
from store.journal import Touch
from store.windows import NO_FIXES, Span, read_fixes

SLOT_S = 300.0
"""Searches advance by whole slots: sooner, nobody is told of a stop anyway."""
DAY_S = 86_400.0
SOURCES_MAX = 200_000
"""Of more sources than this, slots are forgotten all at once: each is asked for once more."""
EVER, NEVER = float("-inf"), float("inf")


class Found(Struct, frozen=True, kw_only=True):
    """The stops of one worker that begin in `[from_at, to_at)`: all that there are, and no others."""

    worker: str
    from_at: float
    to_at: float
    stops: tuple[Stop, ...]


class Search(Struct, kw_only=True):
    """One worker's search while it goes on."""

    worker: str
    begin: float
    until: float
    """How far it goes."""
    late_at: float
    """What was reported late is not behind this: a stored stop that is met again with its cut behind it holds, and all after it."""
    state: State
    at: float
    sources: tuple[str, ...]
    stops: list[Stop]
    end: float = NEVER


class Slots:
    """Of which sources fixes may end a slot: for who sees every fix, and asks the database once a minute and not once a fix."""

    def __init__(self) -> None:
        self._next_at: dict[str, float] = {}

    def ended(self, touches: Sequence[Touch], now: float) -> list[Touch]:
        """Those of the touches, which are in order for each source, that reach into another minute than those before.

        What comes from the future counts as of now, as it does for a search.
        """
        if len(self._next_at) > SOURCES_MAX:
            self._next_at.clear()
        out = []
        for touch in touches:
            to_at = min(touch.to_at, now)
            if to_at >= self._next_at.get(touch.source, EVER):
                out.append(touch)
                self._next_at[touch.source] = (np.floor(to_at / MINUTE_S) + 1.0) * MINUTE_S
        return out


def follow(connection: Connection, touches: Sequence[Touch], now: float) -> list[Found]:
    """Searches as far as evidence of these workers in these spans asks for; returns what of their stops was found anew.

    A touch's source is the worker's id.
    """
    asked = _asked(connection, touches, now)
    searches = _searches(connection, asked) if asked else []
    return _run(connection, searches)


def anew(connection: Connection, workers: Collection[str]) -> list[Found]:
    """Searches all that these workers ever sent, and believes nothing that is stored."""
    connection.execute("delete from searches where worker = any(%s)", [list(workers)])
    found = _run(connection, _searches(connection, dict.fromkeys(workers, (EVER, EVER))))
    without = set(workers) - {one.worker for one in found}
    return [*found, *(Found(worker=worker, from_at=EVER, to_at=NEVER, stops=()) for worker in sorted(without))]


def everybody(connection: Connection) -> list[str]:
    """Every worker who has, or may have, stops."""
    query = "select worker from sightings union select worker from searches union select worker from stays order by 1"
    return [worker for (worker,) in connection.execute(query)]


def _asked(connection: Connection, touches: Sequence[Touch], now: float) -> dict[str, tuple[float, float]]:
    """The workers of whom something is to be read, and the span that came late (none: an empty one)."""
    if not touches:
        return {}
    values = {
        "workers": [touch.source for touch in touches],
        "from_at": [touch.from_at for touch in touches],
        "to_at": [touch.to_at for touch in touches],
        "now": now,
        "enough_s": SLOT_S + BEHIND_S,
    }
    return {worker: (from_at, to_at) for worker, from_at, to_at in connection.execute(ASKED, values)}


def _searches(connection: Connection, asked: Mapping[str, tuple[float, float]]) -> list[Search]:
    values = {
        "workers": list(asked),
        "from_at": [span[0] for span in asked.values()],
        "to_at": [span[1] for span in asked.values()],
    }
    sources: dict[str, list[str]] = defaultdict(list)
    for worker, source in connection.execute(SOURCES, values):
        sources[worker].append(source)
    searches = []
    for worker, newest_at, stood_at, state, cut_at in connection.execute(BEGINNINGS, values):
        late_from, late_to = asked[worker]
        until = max(EVER if newest_at is None else _slot_before(newest_at - BEHIND_S, worker), stood_at)
        late = late_from < stood_at
        if until <= stood_at and not late:
            continue
        begin = cut_at if late else stood_at
        # Who goes on anyway does not stop where she meets what is stored.
        late_at = late_to if late and until <= stood_at else NEVER
        searches.append(
            Search(
                worker=worker,
                begin=begin,
                until=until,
                late_at=late_at,
                state=State() if late or state is None else msgspec.json.decode(state, type=State),
                at=begin,
                sources=tuple(sorted(sources[worker])),
                stops=[],
            )
        )
    return searches


def _slot_before(at: float, worker: str) -> float:
    """Where the last slot ended. Not everybody's at once: the slots of a fleet would be a minute's work every five."""
    phase_s = crc32(worker.encode()) % round(SLOT_S / MINUTE_S) * MINUTE_S
    return float(np.floor((at - phase_s) / SLOT_S) * SLOT_S + phase_s)


def _run(connection: Connection, searches: Sequence[Search]) -> list[Found]:
    open_ = list(searches)
    while open_:
        fixes = _next_day(connection, open_)
        stored = _stored(connection, [search for search in open_ if search.late_at < NEVER])
        for n, search in enumerate(open_):
            search.state, ended = step(search.state, fixes.get(n, NO_FIXES), search.at)
            search.stops.extend(ended)
            met = [stop for stop in ended if stop in stored[search.worker]]
            if met:
                search.end = met[0].start_at
                search.stops = [stop for stop in search.stops if stop.start_at <= search.end]
        open_ = [search for search in open_ if search.at < search.until and search.end == NEVER]
    ran_through = [search for search in searches if search.end == NEVER]
    _write(connection, ran_through)
    return [_found(search) for search in searches]


def _next_day(connection: Connection, searches: Sequence[Search]) -> dict[int, Fixes]:
    """The fixes of the next day of each search in which there are any, and moves the searches to its end."""
    values: dict[str, list[object]] = {"owners": [], "sources": [], "from_at": [], "to_at": []}
    for n, search in enumerate(searches):
        for source in search.sources:
            for name, value in (("owners", n), ("sources", source), ("from_at", search.at), ("to_at", search.until)):
                values[name].append(value)
    first: dict[int, float] = dict(connection.execute(FIRST, values).fetchall())
    spans: list[Span] = []
    for n, search in enumerate(searches):
        begin = first.get(n)
        end = search.until if begin is None else min(search.until, (np.floor(begin / DAY_S) + 1.0) * DAY_S)
        if begin is not None:
            spans.extend(Span(n, source, begin, end) for source in search.sources)
        search.at = end
    return read_fixes(connection, spans)


def _found(search: Search) -> Found:
    if search.end < NEVER:
        # The one that was met again is as it is stored.
        stops = tuple(stop for stop in search.stops if stop.start_at < search.end)
        return Found(worker=search.worker, from_at=search.begin, to_at=search.end, stops=stops)
    last = going_on(search.state)
    stops = (*search.stops, *((last,) if last is not None else ()))
    # A stop that goes on began before the search did, if that went on from where it stood.
    begin = min([search.begin, *(stop.start_at for stop in stops)])
    return Found(worker=search.worker, from_at=begin, to_at=NEVER, stops=stops)


def _stored(connection: Connection, searches: Sequence[Search]) -> Mapping[str, set[Stop]]:
    """The stops that had ended, of workers of whom something came late."""
    stored: dict[str, set[Stop]] = defaultdict(set)
    if searches:
        values = {"workers": [search.worker for search in searches], "late_at": [search.late_at for search in searches]}
        for worker, *row in connection.execute(STORED, values):
            stored[worker].add(Stop(**dict(zip(Stop.__struct_fields__, row, strict=True))))
    return stored


def _write(connection: Connection, searches: Sequence[Search]) -> None:
    values = {
        "workers": [search.worker for search in searches],
        "until": [search.until for search in searches],
        "states": [msgspec.json.encode(search.state).decode() for search in searches],
    }
    if searches:
        connection.execute(WRITE, values)


_WORKERS = "unnest(%(workers)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (worker, from_at, to_at)"

# Workers whose search could go on by a slot, and those of whom something came for a time that was searched already.
ASKED = f"""
select touch.worker,
       coalesce(min(touch.from_at) filter (where to_timestamp(touch.from_at) < searches.until), 'infinity'),
       coalesce(max(touch.to_at) filter (where to_timestamp(touch.from_at) < searches.until), '-infinity')
from {_WORKERS} left join searches using (worker)
where searches.worker is null
   or to_timestamp(touch.from_at) < searches.until
   or to_timestamp(least(touch.to_at, %(now)s)) >= searches.until + make_interval(secs => %(enough_s)s)
group by touch.worker
"""

SOURCES = "select worker, source from sightings where worker = any(%(workers)s)"

# Of each worker: the time of the newest fix (what comes from the future counts as of when it came), where her search stands and
# with what in mind, and where it begins again if something came late: behind the last stop that this cannot change.
BEGINNINGS = f"""
select touch.worker, newest.at, coalesce(extract(epoch from searches.until)::float8, '-infinity'), searches.state,
       coalesce(extract(epoch from cut.at)::float8, '-infinity')
from {_WORKERS}
left join searches using (worker)
left join lateral (
    select extract(epoch from max(least(fix.at, fix.received_at)))::float8 as at
    from sightings
    cross join lateral (
        select at, received_at from fixes where fixes.source = sightings.source order by at desc, identity desc limit 1
    ) as fix
    where sightings.worker = touch.worker
) as newest on true
left join lateral (
    select max(cut_at) as at from stays where stays.worker = touch.worker and sure_at <= to_timestamp(touch.from_at)
) as cut on true
order by touch.worker
"""

# When the fixes of a span begin, so that a silence of years is one step.
FIRST = """
select span.owner, min(fix.at)
from unnest(%(owners)s::int4[], %(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[])
     as span (owner, source, from_at, to_at)
cross join lateral (
    select extract(epoch from at)::float8 as at from fixes
    where source = span.source and at >= to_timestamp(span.from_at) and at < to_timestamp(span.to_at)
    order by at limit 1
) as fix
group by span.owner
"""

# The columns are the fields of `Stop`, in their order.
STORED = """
select stays.worker, extract(epoch from start_at)::float8, extract(epoch from end_at)::float8, lon, lat, error_m, fixes,
       extract(epoch from cut_at)::float8, extract(epoch from sure_at)::float8
from unnest(%(workers)s::text[], %(late_at)s::float8[]) as search (worker, late_at)
join stays on stays.worker = search.worker and cut_at > to_timestamp(search.late_at)
"""

WRITE = """
insert into searches (worker, until, state)
select worker, to_timestamp(until), state
from unnest(%(workers)s::text[], %(until)s::float8[], %(states)s::text[]) as search (worker, until, state)
where until > '-infinity'
on conflict (worker) do update set until = excluded.until, state = excluded.state
"""
