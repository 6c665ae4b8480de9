"""verify: follows what was committed, has it judged, and writes what follows from it, exactly once in effect.

    journal ──▶ which visits does it touch ──▶ queue `due` ─┐
                                                            ├──▶ windows ──▶ geofence.judge ──▶ what differs is written
    the clock ──▶ outcomes whose look has come ─────────────┘

Rules kept here:

- `cycle` is the unit: one transaction that reads the journal, moves the cursor, judges a bounded number of visits and writes. It
  may be killed at any point: either all of it happened or nothing.
- A visit is judged whole, from stored evidence. So it does not matter in which order evidence came, or how often a visit is judged.
- What fails by a mistake of ours is done once more with each visit and each worker by itself (`apart`): one stops nobody else.
- The clock is an argument. Nothing that is stored depends on when a cycle ran, but for outcomes of visits that are not over.
- One verify works a database; another waits as a standby. Whoever writes derived rows (replay does too) holds `WRITERS` meanwhile.
"""

import contextlib
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import psycopg
import structlog
from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, IsolationLevel, errors

from sitewatch import judging, staying
from sitewatch.apart import MISTAKES, Apart
from sitewatch.memory import Memory
from sitewatch.session import Sessions, wait_in_line
from sitewatch.verify_settings import Settings
from store import changes, journal, migrate, policies, touched
from store.changes import Changed
from store.derived import Judged
from store.journal import Bite
from store.outages import beat
from store.touched import Owners, Pace

NAME = "verify"
ACTIVE = 7_483_202
"""Key of the advisory lock of the one verify that works this database."""
WRITERS = 7_483_203
"""Key of the advisory lock around every transaction that writes derived rows."""
TRIES_MAX = 10
"""So often somebody else may have written a row of ours at the same time."""

log = structlog.get_logger()


class Cycle(Struct, frozen=True, kw_only=True):
    """What one cycle did."""

    changed: Changed = Changed()
    entries: int = 0
    judged: int = 0
    failed: int = 0
    more: bool = False
    """Something that was due could not be done in this bite."""
    oldest_at: float | None = None


class Way(NamedTuple):
    """How the work of a cycle is done: for everybody at once, or for each by itself."""

    visits: Callable[..., tuple[list[Judged], int, Changed]]
    follow: Callable[[Connection, Bite, Owners, float, Memory], Changed]
    follow_plans: Callable[[Connection, Bite, Collection[str], float], Changed]


TOGETHER = Way(judging.visits, judging.follow, staying.follow_plans)


def look(connection: Connection, now: float, settings: Settings | None = None, memory: Memory | None = None) -> Cycle:
    """A cycle that gets through: once more where somebody else wrote the same row, and apart where a mistake is in the way."""
    settings, memory = settings or Settings(), memory or Memory()
    way, alone = TOGETHER, Apart()
    for _ in range(TRIES_MAX):
        try:
            done = cycle(connection, now, settings, memory, way)
            return replace(done, failed=done.failed + alone.failed)
        except (errors.SerializationFailure, errors.DeadlockDetected) as error:
            log.info("Somebody else wrote the same row; once more", why=str(error).strip())
        except MISTAKES:
            if way is not TOGETHER:
                raise
            log.exception("A cycle failed; once more, with each visit and each worker by itself")
            way = Way(alone.visits, alone.follow, alone.follow_plans)
        memory.undone()
    return cycle(connection, now, settings, memory, way)


def cycle(
    connection: Connection, now: float, settings: Settings | None = None, memory: Memory | None = None, way: Way = TOGETHER
) -> Cycle:
    """Does what is to be done as of `now`, bounded, in one transaction. The connection must be `prepared`.

    `memory` is that of earlier cycles on this connection; a first cycle has an empty one. If this raises, it must be told that all
    this is `undone`.
    """
    settings, memory = settings or Settings(), memory or Memory()
    with writing(connection):
        bite = journal.follow(connection, NAME, settings.entries_max)
        rules = policies.read(connection)
        onward, rest = memory.phones.split(bite.evidence, now)
        if way is not TOGETHER:
            memory.phones.forget(onward)
            onward, rest = [], list(bite.evidence)
        everything = judging.follow_onward(connection, onward, now, memory) if onward else Changed()
        bite = replace(bite, evidence=tuple(rest))
        pace = Pace(coalesce_s=settings.coalesce_s)
        owners = touched.queue(connection, bite, rules, now, pace) if bite.evidence or bite.plans else Owners()
        if bite.plans:
            memory.set_aside.clear()
            # Before visits are judged: where a visit was until now is known from its outcome alone.
            stayed = way.follow_plans(connection, bite, owners.remapped, now)
            everything = judging.united(everything, stayed)
        due = _due(connection, now, settings, memory)
        if not bite.entries and not due:
            return Cycle()
        memory.judging = due
        judged, failed, changed = way.visits(connection, due, rules, now, memory=memory)
        everything = judging.united(everything, changed)
        everything = judging.united(everything, judging.follow_visits(connection, judged, now))
        if bite.entries:
            everything = judging.united(everything, way.follow(connection, bite, memory.without_aside(owners, now), now, memory))
            journal.advance(connection, NAME, bite.cursor)
        if everything:
            changes.write(connection, everything)
    return Cycle(
        changed=everything,
        entries=bite.entries,
        judged=len(judged),
        failed=failed,
        more=bite.full or len(due) >= settings.visits_max,
        oldest_at=bite.oldest_at,
    )


def _due(connection: Connection, now: float, settings: Settings, memory: Memory) -> dict[str, str]:
    """Which visits to judge now, and why: those whose look has come, the queue, and those that fresh fixes turned over."""
    if memory.judge_again_at > now >= memory.judge_again_at - settings.judge_every_s:
        return {}
    due = touched.due(connection, now, settings.visits_max)
    hurried = memory.visits.too_soon([visit for visit, why in due.items() if why == touched.LATE_EVIDENCE], now)
    touched.put_off(connection, hurried)
    waiting = {visit: why for visit, why in due.items() if visit not in hurried}
    waiting = dict.fromkeys(memory.visits.wanted(now, settings.visits_max), touched.TIME_PASSED) | waiting
    memory.judge_again_at = now + (settings.judge_every_s if waiting and len(due) < settings.visits_max else 0.0)
    return waiting


def prepared(connection: Connection) -> Connection:
    """The connection as `cycle` wants it: every transaction sees one moment, and two that write the same cannot both commit."""
    connection.autocommit = True
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    # Times are sent and read in seconds since 1970; this is for the eyes of whoever reads a log.
    connection.execute("set time zone 'UTC'")
    return connection


@contextlib.contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """One transaction that writes derived rows, alone. The lock comes first: a transaction sees what was there when it began."""
    wait_in_line(connection, WRITERS)
    try:
        with connection.transaction():
            yield
    finally:
        # A lost connection has lost its locks too.
        with contextlib.suppress(psycopg.OperationalError):
            connection.execute("select pg_advisory_unlock(%s)", [WRITERS])


def run(database: str, settings: Settings | None = None, stop: threading.Event | None = None) -> None:
    """Works the database until SIGTERM, SIGINT or `stop`. Reconnects for as long as it takes; raises what is a mistake of ours."""
    settings = settings or Settings()
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    sessions, backoff_s = Sessions(database, settings.answer_max_s), 0.1
    while not stop.is_set():
        try:
            with prepared(sessions.open()) as connection:
                backoff_s = 0.1
                _work(connection, settings, stop)
        except psycopg.OperationalError as error:
            log.warning("The database is away", error=str(error).strip(), again_in_s=round(backoff_s, 1))
            stop.wait(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 (spreads retries, hides nothing)
            backoff_s = min(backoff_s * 2, 10.0)
    log.info("verify has stopped")


class Counts:
    """What this process has done, for its heartbeat."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.entries_total = 0
        self.judged_total = 0
        self.failed_total = 0
        self.cycles_total = 0
        self.cycle_ms = 0.0
        self.judge_ms = 0.0
        self._lags: deque[float] = deque(maxlen=1000)

    def add(self, done: Cycle, took_s: float, now: float) -> None:
        self.entries_total += done.entries
        self.judged_total += done.judged
        self.failed_total += done.failed
        self.cycles_total += 1
        if done.entries or done.judged:
            self.cycle_ms = took_s * 1000
        if done.judged:
            self.judge_ms = took_s * 1000 / done.judged
        if done.oldest_at is not None:
            self._lags.append(max(0.0, now - done.oldest_at))

    def state(self, backlog: touched.Backlog) -> dict[str, object]:
        lags = sorted(self._lags)
        return {
            "entries_total": self.entries_total,
            "judged_total": self.judged_total,
            "failed_total": self.failed_total,
            "cycles_total": self.cycles_total,
            "cycle_ms": round(self.cycle_ms, 2),
            "judge_ms": round(self.judge_ms, 2),
            "lag_s": round(self._lags[-1], 3) if lags else 0.0,
            "lag_p99_s": round(lags[int(len(lags) * 0.99)], 3) if lags else 0.0,
            "journal_backlog": backlog.entries,
            "queue_depth": backlog.visits,
            "queue_age_s": round(backlog.age_s, 3),
        }


def _work(connection: Connection, settings: Settings, stop: threading.Event) -> None:
    missing = migrate.missing(connection)
    if missing:
        raise SystemExit(f"The database lacks {', '.join(missing)}: run `sitewatch migrate` first.")
    counts = Counts(time.time())
    if not _take_over(connection, settings, stop):
        return
    connection.execute("listen sitewatch_journal")
    found = touched.queue_unjudged(connection, time.time())
    still_open = touched.queue_open(connection, time.time())
    log.info("verify follows the journal", unjudged=found, open=still_open)
    memory = Memory()
    beats, trims = _Every(settings.beat_s), _Every(settings.trim_s)
    while not stop.is_set():
        began = time.monotonic()
        done = look(connection, time.time(), settings, memory)
        counts.add(done, time.monotonic() - began, time.time())
        if done.judged or done.failed:
            log.debug(
                "Judged visits", visits=done.judged, failed=done.failed, changed=len(done.changed.visits), entries=done.entries
            )
        if beats.due():
            _beat(connection, counts)
        if trims.due():
            journal.trim(connection, NAME, settings.keep_journal_s)
            changes.trim(connection, settings.keep_changes_s)
            memory.phones.trim(time.time())
        if not done.more:
            stop.wait(max(0.0, settings.pause_s - (time.monotonic() - began)))
            _sleep(connection, settings.poll_s)


def _take_over(connection: Connection, settings: Settings, stop: threading.Event) -> bool:
    """Waits until no other verify works this database. False when it was told to stop first."""
    said = False
    while not stop.is_set():
        if connection.execute("select pg_try_advisory_lock(%s)", [ACTIVE]).fetchone() == (True,):
            return True
        if not said:
            log.info("Another verify works this database; standing by")
            said = True
        stop.wait(settings.poll_s)
    return False


def _beat(connection: Connection, counts: Counts) -> None:
    backlog = touched.backlog(connection, NAME)
    state = counts.state(backlog)
    beat(connection, NAME, now=time.time(), started_at=counts.started_at, state=state)


def _sleep(connection: Connection, poll_s: float) -> None:
    """Until something was committed, or until it is time to look anyway."""
    for _ in connection.notifies(timeout=poll_s, stop_after=1):
        pass


class _Every:
    """Says at most every so often that it is time again."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next = 0.0

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._period_s
        return True
