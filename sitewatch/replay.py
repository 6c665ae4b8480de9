"""replay: makes everything that is derived anew from the evidence, the plans and the policies.

Rules kept here:

- What is stored as derived is not believed: rows are deleted and written again, a bounded number of visits a transaction, so that
  readers never see a half-empty database and memory stays small.
- What people were told survives: history, acknowledgements and cleared alerts are no derived data. An outcome that comes out as it
  was keeps its revision.
- It may run beside verify; they take turns. A replay that is killed leaves the visits it did not reach in verify's queue.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from msgspec import Struct
from psycopg import Connection
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sitewatch import judging
from sitewatch.verify import prepared, writing
from store import changes, device_states, neighbours, positions, rebuilding, sightings
from store import policies as stored_policies
from store.rebuilding import Scope

CHUNK = 200
"""Visits, workers or sources a transaction."""

Report = Callable[[str, int, int], None]
"""Told after each chunk: what is being rebuilt, how many are done, how many there are."""


class Done(Struct, frozen=True, kw_only=True):
    """What a replay did."""

    visits: int
    changed: int
    failed: int
    took_s: float


def run(database: str, start: float | None = None, end: float | None = None, worker: str | None = None) -> Done:
    """Rebuilds with a progress bar: everything, or the visits that start in `[start, end)`, or one worker's."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with prepared(psycopg.connect(database, application_name="sitewatch replay")) as connection, Progress(*columns) as progress:
        tasks = {part: progress.add_task(part, total=None) for part in ("visits", "devices", "positions")}

        def report(part: str, done: int, total: int) -> None:
            progress.update(tasks[part], completed=done, total=total)

        return rebuild(connection, time.time(), Scope(start=start, end=end, worker=worker), report)


def rebuild(connection: Connection, now: float, scope: Scope | None = None, report: Report | None = None) -> Done:
    """Rebuilds what `scope` says as of `now`. The connection must be `prepared`."""
    scope, report = scope or Scope(), report or _silent
    began = time.monotonic()
    with writing(connection):
        if scope.everything:
            sightings.rebuild(connection)
            neighbours.rebuild(connection)
            rebuilding.drop_orphans(connection)
        total = rebuilding.queue(connection, scope, now)
    visits = changed = failed = 0
    for chunk in _visits(connection, scope):
        with writing(connection):
            told, lost = _judge_anew(connection, chunk, now)
        visits, changed, failed = visits + len(chunk), changed + told, failed + lost
        report("visits", visits, total)
    if scope.everything:
        _devices(connection, report)
        _positions(connection, now, report)
    return Done(visits=visits, changed=changed, failed=failed, took_s=time.monotonic() - began)


def digest(connection: Connection) -> str:
    """One hash of everything that is derived, but for revisions, which count how often people were told something new."""
    said = hashlib.sha256()
    for table, rows in rebuilding.contents(connection):
        said.update(table.encode())
        for row in rows:
            said.update(row.encode())
            said.update(b"\n")
    return said.hexdigest()


def _judge_anew(connection: Connection, visits: Sequence[str], now: float) -> tuple[int, int]:
    """Judges visits as if nothing had been derived of them; returns how many came out different, and how many could not be."""
    before = rebuilding.forget(connection, visits)
    rules = stored_policies.read(connection)
    judged, failed, _ = judging.visits(connection, dict.fromkeys(visits, "replay"), rules, now, before)
    different = {item.visit.id for item in judged if item.outcome != before[item.visit.id].told}
    workers = judging.follow_visits(connection, judged, now).workers
    changed = changes.Changed(visits=frozenset(different), workers=workers)
    if changed:
        changes.write(connection, changed)
    return len(different), failed


def _visits(connection: Connection, scope: Scope) -> Iterator[list[str]]:
    """The visits of the scope in chunks, in the order of their start."""
    place = (float("-inf"), "")
    while chunk := rebuilding.page(connection, scope, place, CHUNK):
        yield [visit for _, visit in chunk]
        place = chunk[-1]


def _devices(connection: Connection, report: Report) -> None:
    everything = device_states.everything(connection)
    for n in range(0, len(everything), CHUNK):
        chunk = everything[n : n + CHUNK]
        with writing(connection):
            device_states.forget(connection, [touch.source for touch in chunk])
            judging.follow_devices(connection, chunk)
        report("devices", n + len(chunk), len(everything))


def _positions(connection: Connection, now: float, report: Report) -> None:
    everybody = positions.everybody(connection)
    for n in range(0, len(everybody), CHUNK):
        chunk = everybody[n : n + CHUNK]
        with writing(connection):
            positions.forget(connection, chunk)
            positions.refresh(connection, chunk, now)
        report("positions", n + len(chunk), len(everybody))


def _silent(part: str, done: int, total: int) -> None:
    """Tells nobody."""
