"""replay: makes everything that is derived anew from the evidence, the plans and the policies.

    plans ──▶ chunks of visits, by day and worker ──▶ a crew of processes ──▶ judged and written, a chunk a transaction

Rules kept here:

- What is stored as derived is not believed: rows are deleted and written again, a bounded number of visits a transaction, so that
  readers never see a half-empty database and memory stays small.
- What people were told survives: history, acknowledgements and cleared alerts are no derived data. An outcome that comes out as it
  was keeps its revision.
- It may run beside verify; they take turns. A replay that is killed, at any point, leaves every visit either as it was or made
  anew, and those that it did not reach in verify's queue; or it is simply started again.
- The processes of a replay share the turn, and no visit: what one derives, none of the others does. Only what they tell the live
  stream goes through a gate, since its readers take the order of its rows for the order of the commits; and where two put the same
  visit into verify's queue, one is done once more.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import TypeVar

import psycopg
import structlog
from msgspec import Struct
from psycopg import Connection

from sitewatch import crew, judging, staying, verify
from sitewatch.apart import MISTAKES
from sitewatch.config import Log
from sitewatch.crew import Hands
from sitewatch.progress import Report, shown, silent
from sitewatch.verify import prepared, writing
from store import changes, device_states, migrate, neighbours, positions, rebuilding, sightings, stops, touched, windows
from store import policies as stored_policies
from store.changes import Changed
from store.journal import Touch
from store.policies import Policies
from store.rebuilding import Planned, Scope

CHUNK = 200
"""Visits, workers or sources a transaction."""
CHUNK_PLANNED_S = 600 * 3600.0
"""And of visits not more than this, planned: their evidence is in memory at once, 15 MB of it with a fix every 10 s."""
TELLING = 7_483_204
"""Key of the advisory lock of the one who writes what changed."""


Item = TypeVar("Item")

log = structlog.get_logger()


class Done(Struct, frozen=True, kw_only=True):
    """What a replay did."""

    visits: int = 0
    changed: int = 0
    failed: int = 0
    """Visits that could not be judged, and workers of whom something could not be made anew."""
    took_s: float = 0.0


class Part(Struct, frozen=True, kw_only=True):
    """What became of a chunk, or of many."""

    items: int = 0
    changed: int = 0
    failed: int = 0

    def __add__(self, other: "Part") -> "Part":
        return Part(items=self.items + other.items, changed=self.changed + other.changed, failed=self.failed + other.failed)


def run(
    database: str,
    start: float | None = None,
    end: float | None = None,
    worker: str | None = None,
    processes: int | None = None,
    log: Log | None = None,
) -> Done:
    """Rebuilds with a progress bar, on all cores: everything, or the visits that start in `[start, end)`, or one worker's."""
    count = processes or len(os.sched_getaffinity(0))
    scope = Scope(start=start, end=end, worker=worker)
    with prepared(psycopg.connect(database, application_name="sitewatch replay")) as connection, shown() as report:
        lacking = migrate.missing(connection)
        if lacking:
            raise SystemExit(f"The database lacks {', '.join(lacking)}: run `sitewatch migrate` first.")
        # A new process takes as long to begin as a chunk to judge.
        count = min(count, rebuilding.count(connection, scope) // CHUNK)
        if count <= 1:
            return rebuild(connection, time.time(), scope, report)
        with crew.together(database, count, log or Log()) as hands:
            return rebuild(connection, time.time(), scope, report, hands)


def rebuild(
    connection: Connection, now: float, scope: Scope | None = None, report: Report = silent, hands: Hands | None = None
) -> Done:
    """Rebuilds what `scope` says as of `now`. The connection must be `prepared`; `hands` do the work, by default those here."""
    scope, hands = scope or Scope(), hands or crew.alone(connection)
    began = time.monotonic()
    with writing(connection):
        if scope.everything:
            sightings.rebuild(connection)
            neighbours.rebuild(connection)
            rebuilding.drop_orphans(connection)
        total = rebuilding.queue(connection, scope, now)
    # Before the visits: a stay bears on a visit that was served at another time, and an earlier track on one that repeats it.
    workers = stops.everybody(connection) if scope.everything else [scope.worker] if scope.worker is not None else []
    others = [_in_parts("stays", _chunked(workers), len(workers), partial(_stays_anew, now=now), hands, report)]
    unknown = rebuilding.without_sketch(connection, scope, now)
    _in_parts("tracks", _chunks(iter(unknown)), len(unknown), partial(_keep_tracks, now=now), hands, report)
    with contextlib.closing(rebuilding.planned(connection, scope)) as planned:
        visits = _in_parts("visits", _chunks(planned), total, partial(_judge_anew, now=now), hands, report)
    if scope.everything:
        devices, workers = device_states.everything(connection), positions.everybody(connection)
        others.append(_in_parts("devices", _chunked(devices), len(devices), _devices_anew, hands, report))
        others.append(_in_parts("positions", _chunked(workers), len(workers), partial(_positions_anew, now=now), hands, report))
    failed = visits.failed + sum(part.failed for part in others)
    return Done(visits=visits.items, changed=visits.changed, failed=failed, took_s=time.monotonic() - began)


def digest(connection: Connection) -> str:
    """One hash of everything that is derived, but for revisions, which count how often people were told something new."""
    said = hashlib.sha256()
    for table, rows in rebuilding.contents(connection):
        said.update(table.encode())
        for row in rows:
            said.update(row.encode())
            said.update(b"\n")
    return said.hexdigest()


def _chunks(visits: Iterator[Planned]) -> Iterator[list[str]]:
    chunk: list[str] = []
    planned_s = 0.0
    for visit in visits:
        if chunk and (len(chunk) == CHUNK or planned_s + visit.planned_s > CHUNK_PLANNED_S):
            yield chunk
            chunk, planned_s = [], 0.0
        chunk.append(visit.id)
        planned_s += visit.planned_s
    if chunk:
        yield chunk


def _chunked(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[n : n + CHUNK] for n in range(0, len(items), CHUNK))


def _in_parts(
    name: str,
    chunks: Iterator[Sequence[Item]],
    total: int,
    work: Callable[[Connection, Sequence[Item]], Part],
    hands: Hands,
    report: Report,
) -> Part:
    done = Part()
    for part in hands(work, chunks):
        done += part
        report(name, done.items, total)
    return done


def _stays_anew(connection: Connection, workers: Sequence[str], now: float) -> Part:
    with _sharing(connection):
        done = _each(connection, workers, lambda some: _Each(staying.anew(connection, some, now)))
        _tell(connection, done.changed)
    return Part(items=len(workers), failed=done.failed)


def _keep_tracks(connection: Connection, visits: Sequence[str], now: float) -> Part:
    """Keeps what later visits are compared with, of those of which nothing is kept. Judging does so too, but no visit may be told
    anew only because an earlier one is judged after it. One for which this cannot be done cannot be judged, and counts there.
    """
    with _sharing(connection):
        _each(connection, visits, partial(_kept, connection, stored_policies.read(connection), now))
    return Part(items=len(visits))


def _kept(connection: Connection, rules: Policies, now: float, visits: Sequence[str]) -> "_Each":
    tracks = windows.read_tracks(connection, visits, rules)
    kept = [(stage.scene, fixes, stage.policy) for stage, fixes in tracks]
    gone = set(visits) - {stage.scene.visit.id for stage, _ in tracks}
    touched.repeating(connection, judging.keep(connection, kept, gone, now), now)
    return _Each(Changed())


def _judge_anew(connection: Connection, visits: Sequence[str], now: float) -> Part:
    """Judges visits as if nothing had been derived of them."""
    with _sharing(connection):
        rules = stored_policies.read(connection)
        done = _each(connection, visits, lambda some: _judged_anew(connection, some, rules, now))
        _tell(connection, done.changed)
    return Part(items=len(visits), changed=len(done.changed.visits), failed=done.failed)


def _judged_anew(connection: Connection, visits: Sequence[str], rules: Policies, now: float) -> "_Each":
    before = rebuilding.forget(connection, visits)
    judged, failed, _ = judging.visits(connection, dict.fromkeys(visits, "replay"), rules, now, before)
    different = {item.visit.id for item in judged if item.outcome != before[item.visit.id].told}
    workers = judging.follow_visits(connection, judged, now).workers
    return _Each(Changed(visits=frozenset(different), workers=workers), failed)


def _devices_anew(connection: Connection, touches: Sequence[Touch]) -> Part:
    with _sharing(connection):
        device_states.forget(connection, [touch.source for touch in touches])
        judging.follow_devices(connection, touches)
    return Part(items=len(touches))


def _positions_anew(connection: Connection, workers: Sequence[str], now: float) -> Part:
    with _sharing(connection):
        done = _each(connection, workers, partial(_refreshed, connection, now))
    return Part(items=len(workers), failed=done.failed)


def _refreshed(connection: Connection, now: float, workers: Sequence[str]) -> "_Each":
    positions.forget(connection, workers)
    return _Each(Changed(workers=frozenset(positions.refresh(connection, workers, now).changed)))


class _Each(Struct, frozen=True):
    changed: Changed
    failed: int = 0


def _each(connection: Connection, ids: Sequence[str], work: Callable[[Sequence[str]], _Each]) -> _Each:
    """Does something for many together; if a mistake is in the way, for each by itself. Who is in the way stays as it was."""
    try:
        with connection.transaction():
            return work(ids)
    except MISTAKES:
        if len(ids) == 1:
            log.exception("A visit or worker could not be made anew", id=ids[0])
            return _Each(Changed(), 1)
    each = [_each(connection, [id_], work) for id_ in ids]
    return _Each(reduce(judging.united, (one.changed for one in each), Changed()), sum(one.failed for one in each))


def _tell(connection: Connection, changed: Changed) -> None:
    if changed:
        # Held until the commit, so that ids come in the order in which they are seen.
        connection.execute("select pg_advisory_xact_lock(%s)", [TELLING])
        changes.write(connection, changed)


@contextlib.contextmanager
def _sharing(connection: Connection) -> Iterator[None]:
    """One transaction that writes derived rows, together with others of a replay and without verify: see `verify.writing`."""
    connection.execute("select pg_advisory_lock_shared(%s)", [verify.WRITERS])
    try:
        with connection.transaction():
            yield
    finally:
        with contextlib.suppress(psycopg.OperationalError):
            connection.execute("select pg_advisory_unlock_shared(%s)", [verify.WRITERS])
