"""The live stream's middle: one reader of the database a process, any number of readers of the stream.

    changes ──NOTIFY──▶ Hub ──▶ reads the rows that changed, once ──▶ Batch ──▶ each Reader's bounded queue ──▶ its socket

Rules kept here:

- The stream carries states and not differences: a thing that changed ten times meanwhile is sent once, as it is now. So a batch may
  be repeated and batches may be merged, and a reader who sees the last one sees the truth.
- An id is that of the last row of `changes` behind which nothing is missing. Of a batch only the last event carries the batch's id,
  those before it carry the id of the batch before: whoever is cut off in the middle and resumes gets the rest.
- A reader who does not keep up is sent away with `reset` and fetches everything anew; the others never wait.
- Notifications may be lost with a connection, so the hub looks at least every `POLL_S` as well.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, get_args

import msgspec
import psycopg
import structlog
from fastapi.sse import format_sse_event
from msgspec import Struct
from psycopg import AsyncConnection

from api import alerts, devices, positions, visits
from api.database import configure
from store import figures, observations, views

log = structlog.get_logger()

Kind = Literal["position", "visit", "alert", "device"]
KINDS: tuple[Kind, ...] = get_args(Kind)

POLL_S = 1.0
COALESCE_S = 0.1
"""A pause after each batch: what changes meanwhile goes out together."""
ROWS_MAX = 500
"""Rows of `changes` in a batch."""
THINGS_MAX = 500
"""Things read by one query; a batch takes several if it must."""
QUERY_TIMEOUT_S = 10.0
HEARTBEAT_S = 15.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
STUCK_S = 30.0
"""How long a reader that was sent away may take to notice before its connection is cut."""
RETRY = b"retry: 2000\n: sitewatch live\n\n"
PING = b": ping\n\n"


class Event(Struct, frozen=True):
    """One event without its id, as it goes over the wire."""

    kind: Kind
    wire: bytes


class Batch(Struct, frozen=True):
    """What changed behind `after` and through `through`."""

    after: int
    through: int
    events: Sequence[Event]
    size: int


class Reader:
    """One client of the stream: what waits for it, and whether it was sent away."""

    def __init__(self, kinds: frozenset[Kind], bytes_max: int) -> None:
        self.kinds = kinds
        self.sent_away = False
        self._bytes_max = bytes_max
        self._bytes = 0
        self._waiting: deque[Batch] = deque()
        self._woken = asyncio.Event()
        self._task = asyncio.current_task()

    def offer(self, batch: Batch) -> bool:
        """Queues a batch, or sends the reader away when it has fallen too far behind, and then answers false, once."""
        if self.sent_away:
            return True
        if self._bytes + batch.size > self._bytes_max:
            self.sent_away = True
            self._waiting.clear()
            if self._task is not None:
                asyncio.get_running_loop().call_later(STUCK_S, self._task.cancel)
        else:
            self._waiting.append(batch)
            self._bytes += batch.size
        self._woken.set()
        return not self.sent_away

    def wake(self) -> None:
        """Lets the reader look around."""
        self._woken.set()

    async def next(self, timeout_s: float) -> Batch | None:
        """The next batch; null when there is none after the timeout, or when the reader was woken for something else."""
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._woken.wait()
        # Cleared behind the wait and not before it: whoever woke us while we were sending must not be forgotten.
        self._woken.clear()
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        self._bytes -= batch.size
        return batch


class Hub:
    """Follows `changes` and hands every batch to every reader."""

    def __init__(self, database: str, reader_bytes_max: int, resume_rows_max: int) -> None:
        self._database = database
        self._reader_bytes_max = reader_bytes_max
        self._resume_rows_max = resume_rows_max
        self._readers: set[Reader] = set()
        self._at: int | None = None
        self._known = asyncio.Event()
        self._closing = False
        self.sent_away_total = 0
        self.batches_total = 0

    @property
    def readers(self) -> int:
        """How many clients listen now."""
        return len(self._readers)

    def close(self) -> None:
        """Ends every stream; the clients come back to whoever serves next and resume."""
        self._closing = True
        self._known.set()
        for reader in self._readers:
            reader.wake()

    async def follow(self) -> None:
        """Runs until cancelled; a lost database is looked for again, and nothing is skipped meanwhile."""
        failures = 0
        while True:
            try:
                async with await AsyncConnection.connect(self._database, autocommit=True) as connection:
                    await _prepare(connection)
                    if self._at is None:
                        self._at = (await figures.changes_kept(connection))[1]
                        self._known.set()
                    failures = 0
                    await self._pump(connection)
            except psycopg.OperationalError as error:
                if failures == 0:
                    log.warning("the live stream lost the database", error=str(error))
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1

    async def stream(self, kinds: frozenset[Kind], resume: int | None, connect: Callable[[], Any]) -> AsyncIterator[bytes]:
        """What one client receives. `connect` opens a connection for the time of catching up behind the id `resume`."""
        reader = Reader(kinds, self._reader_bytes_max)
        self._readers.add(reader)
        try:
            yield RETRY
            await self._known.wait()
            through = self._at or 0
            if resume is not None:
                async with connect() as connection:
                    caught_up, through = await self._catch_up(connection, kinds, resume, through)
                yield caught_up
            while not self._closing:
                batch = await reader.next(HEARTBEAT_S)
                if reader.sent_away:
                    yield _reset("too slow", self._at or 0)
                    return
                if batch is None:
                    yield PING
                elif batch.through > through:
                    through = batch.through
                    yield _wire(batch, kinds)
        finally:
            self._readers.discard(reader)

    async def _pump(self, connection: AsyncConnection) -> None:
        while True:
            assert self._at is not None, "follow sets it before the first batch"
            # Without readers nothing needs to be read: only the place is kept.
            found = await figures.changes(connection, self._at, ROWS_MAX)
            if found is None:
                async for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                    pass
                continue
            if self._readers:
                batch = await _load(connection, self._at, found)
                for reader in tuple(self._readers):
                    self.sent_away_total += not reader.offer(batch)
                self.batches_total += 1
            self._at = found.through
            await asyncio.sleep(COALESCE_S)

    async def _catch_up(self, connection: AsyncConnection, kinds: frozenset[Kind], resume: int, through: int) -> tuple[bytes, int]:
        oldest, newest = await figures.changes_kept(connection)
        newest = max(newest, through)
        if not oldest - 1 <= resume <= newest or newest - resume > self._resume_rows_max:
            return _reset("too far back", through), through
        found = await figures.changes(connection, resume, self._resume_rows_max)
        if found is None:
            return b"", through
        batch = await _load(connection, resume, found)
        return _wire(batch, kinds), max(through, found.through)


async def _prepare(connection: AsyncConnection) -> None:
    await configure(connection, QUERY_TIMEOUT_S)
    await connection.execute("listen sitewatch_changes")


async def _load(connection: AsyncConnection, after: int, found: figures.Changes) -> Batch:
    """Reads what changed as it is now. What is gone is said to be deleted."""
    events: list[Event] = []
    for ids in _pieces(found.workers):
        rows = await observations.positions(connection, ids, "", len(ids))
        events += (_event("position", positions.position(row)) for row in rows)
    for ids in _pieces(found.visits):
        seen = {row.id: visits.read(row) for row in await views.visits_by_id(connection, ids)}
        events += (_event("visit", seen.get(name, _deleted(name))) for name in ids)
    for ids in _pieces(found.alerts):
        told = {row.id: alerts.read(row) for row in await figures.alerts_by_id(connection, ids)}
        events += (_event("alert", told.get(name, _deleted(name))) for name in ids)
    for ids in _pieces(found.devices):
        known = {row.id: devices.read(row) for row in await views.devices_by_id(connection, ids)}
        events += (_event("device", known.get(name, _deleted(name))) for name in ids)
    return Batch(after, found.through, events, sum(len(event.wire) for event in events))


def _pieces(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + THINGS_MAX] for start in range(0, len(ids), THINGS_MAX)]


def _deleted(name: str) -> dict[str, object]:
    return {"id": name, "deleted": True}


def _event(kind: Kind, document: Any) -> Event:
    wire = format_sse_event(event=kind, data_str=msgspec.json.encode(document).decode())
    return Event(kind, wire.removesuffix(b"\n"))


def _wire(batch: Batch, kinds: frozenset[Kind]) -> bytes:
    wanted = [event.wire for event in batch.events if event.kind in kinds]
    if not wanted:
        return b""
    before, last = f"id: {batch.after}\n\n".encode(), f"id: {batch.through}\n\n".encode()
    return before.join(wanted) + last


def _reset(reason: str, at: int) -> bytes:
    return format_sse_event(event="reset", data_str=msgspec.json.encode({"reason": reason}).decode(), id=str(at))
