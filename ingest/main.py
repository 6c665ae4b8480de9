"""ingest: takes messages from the broker, stores what they say, and only then acknowledges them.

    broker ──link──▶ inbox ──decode──▶ batch ──one transaction──▶ database
       ▲                                               │
       └────────── acknowledge, in order; receipts ────┘

Rules kept here:

- Acknowledged and receipted is what has been committed, and nothing else, whatever dies when.
- A batch that could not be committed is tried again here, with a pause that grows, until it is: the broker would deliver it again
  only to the next session. What is unacknowledged when this program ends is delivered to the next one and found to be a repeat.
- Told to stop, it takes no more, commits what it holds, acknowledges it, and goes."""

import os
import random
import signal
import threading
import time
from queue import Empty, SimpleQueue

import msgspec
import psycopg
import structlog

from ingest import reread, wire
from ingest.batch import Batch, Taken
from ingest.commit import Committed, commit
from ingest.counts import Counts
from ingest.link import Inbox, Link, pause_s
from ingest.settings import Settings
from store import evidence, keys, outages
from store.sequences import Receipt

IDLE_S = 0.25
"""How often an idle ingest looks whether it is told to stop."""
HARD_EXIT_S = 1.0
"""How long after the time for draining a stop may still hang."""
CONNECTION = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "tcp_user_timeout": "20000",
    "application_name": "sitewatch-ingest",
    # A statement that hangs for a minute is taken for a lost database. Durability is not left to the server's default.
    "options": "-c timezone=UTC -c statement_timeout=60000 -c synchronous_commit=on",
}

log = structlog.get_logger("ingest")


def run(settings: Settings, database: str, mqtt: str, *, stopping: threading.Event | None = None) -> None:
    """Runs until SIGTERM or SIGINT, or until `stopping` is set. `database` and `mqtt` are URLs; either may be away at any time."""
    stopping = stopping or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _stop(stopping, inbox, settings.drain_s + HARD_EXIT_S))
    inbox: Inbox = SimpleQueue()
    jitter = random.Random()  # noqa: S311 - spreads retries; guards nothing.
    link = Link(settings, mqtt, inbox, jitter)
    Ingestor(settings, database, link, inbox, jitter, stopping).run()


def _stop(stopping: threading.Event, inbox: Inbox, seconds: float) -> None:
    """Asks for a clean stop, and ends the process where a database or a broker that hangs does not let it happen.

    That is no worse than a kill: what was not acknowledged is delivered again.
    """
    if not stopping.is_set():
        stopping.set()
        # A signal that interrupts SimpleQueue.get() near its timeout leaves it waiting for ever (CPython 3.11): wake it.
        inbox.put(None)
        hard = threading.Timer(seconds, os._exit, (1,))
        hard.daemon = True
        hard.start()


class Ingestor:
    """The loop between the inbox and the database."""

    def __init__(
        self, settings: Settings, database: str, link: Link, inbox: Inbox, jitter: random.Random, stopping: threading.Event
    ) -> None:
        self._settings = settings
        self._database = database
        self._link = link
        self._inbox = inbox
        self._jitter = jitter
        self._stopping = stopping
        self._batch = Batch(settings)
        self._counts = Counts()
        self._connection: psycopg.Connection | None = None
        self._keys: dict[str, str] = {}
        self._name = "ingest" if settings.client_id == Settings().client_id else f"ingest:{settings.client_id}"
        self._started_at = time.time()
        self._next_beat = 0.0
        self._give_up_at = float("inf")
        self._beaten = True
        self._said_connected = False

    def run(self) -> None:
        log.info("Started.", name=self._name)
        # Messages wait better in the broker than here, and without the keys some could not be read.
        failures = 0
        while not self._stopping.is_set() and not self._beat():
            failures += 1
            self._stopping.wait(pause_s(failures, self._settings.retry_max_s, self._jitter))
        self._link.start()
        while not self._stopping.is_set():
            self._beat_if_due()
            self._step()
        self._drain()
        log.info("Stopped.", name=self._name, **self._counts.state(connected=False, queue_depth=self._inbox.qsize()))

    def _drain(self) -> None:
        self._give_up_at = time.monotonic() + self._settings.drain_s
        self._link.take_no_more()
        while not self._inbox.empty() and time.monotonic() < self._give_up_at:
            self._step()
        self._store(self._batch.take())
        self._link.close()
        self._beat()
        if self._connection is not None:
            self._connection.close()

    def _step(self) -> None:
        """Takes one message in, or commits the batch that is due."""
        wait_s = self._batch.wait_s(time.monotonic())
        if wait_s is not None and wait_s <= 0:
            self._store(self._batch.take())
            return
        try:
            delivery = self._inbox.get(timeout=IDLE_S if wait_s is None else min(wait_s, IDLE_S))
        except Empty:
            return
        if delivery is None:
            return
        reports = wire.decode(
            delivery.topic,
            delivery.payload,
            delivery.received_at,
            prefix=self._settings.prefix,
            owntracks_prefix=self._settings.owntracks_prefix,
            keys=self._keys,
        )
        self._batch.add(delivery, reports, time.monotonic())

    def _store(self, taken: Taken) -> None:
        """Commits, then acknowledges and sends receipts. Leaves all of it to the next session when told to stop and unable."""
        if not taken.deliveries:
            return
        started = time.monotonic()
        committed = self._commit_at_last(taken)
        if committed is None:
            return
        seconds = time.monotonic() - started
        for delivery in taken.deliveries:
            delivery.session.acknowledge(delivery.mid, delivery.qos)
        self._send(committed.receipts)
        self._counts.add(taken, committed, seconds)
        log.debug(
            "Committed.",
            messages=len(taken.deliveries),
            stored=committed.stored,
            duplicate=committed.duplicate,
            rejected=committed.rejected.total(),
            ignored=taken.ignored,
            ms=round(seconds * 1000, 1),
        )

    def _commit_at_last(self, taken: Taken) -> Committed | None:
        failures = 0
        while True:
            try:
                committed = commit(self._connect(), taken.reports)
            except psycopg.Error as error:
                if failures == 0:
                    log.warning("The database did not take a batch, trying on.", why=str(error).strip(), reports=len(taken.reports))
                failures += 1
                self._counts.retries += 1
                self._hang_up()
            else:
                if failures:
                    log.info("The database took the batch.", attempts=failures + 1)
                return committed
            if time.monotonic() >= self._give_up_at:
                return None
            self._stopping.wait(pause_s(failures, self._settings.retry_max_s, self._jitter))
            if self._stopping.is_set() and self._give_up_at == float("inf"):
                self._give_up_at = time.monotonic() + self._settings.drain_s

    def _send(self, receipts: list[Receipt]) -> None:
        session = self._link.session
        if session is None:
            return
        newest = {(receipt.source, receipt.epoch): receipt for receipt in receipts}
        for receipt in newest.values():
            topic = f"{self._settings.prefix}/workers/{receipt.source}/receipt"
            session.publish(topic, msgspec.json.encode({"epoch": receipt.epoch, "through": receipt.through}))

    def _beat_if_due(self) -> None:
        # At once when the link has changed: who waits for us to be subscribed must not wait for a beat as well.
        if time.monotonic() >= self._next_beat or (self._link.session is not None) != self._said_connected:
            self._beat()

    def _beat(self) -> bool:
        """Says that we live, notes an outage that has just ended, reads keys that were added, and rejects that are wanted again.

        False if the database is away."""
        self._next_beat = time.monotonic() + self._settings.beat_every_s
        now = time.time()
        session = self._link.session
        self._said_connected = session is not None
        state = self._counts.state(connected=session is not None, queue_depth=self._inbox.qsize())
        try:
            connection = self._connect()
            if session is not None:
                outage = outages.record_silence(connection, now=now, tolerated_s=self._settings.outage_after_s)
                if outage is not None:
                    log.warning("Nobody took evidence for a while.", seconds=round(outage[1] - outage[0], 1))
                state["live_at"] = now
                state["protocol"] = session.protocol.name
            outages.beat(connection, self._name, now=now, started_at=self._started_at, state=state)
            self._keys = keys.read(connection)
            settings = self._settings
            reread.bite(connection, prefix=settings.prefix, owntracks_prefix=settings.owntracks_prefix, keys=self._keys)
        except psycopg.Error as error:
            if self._beaten:
                log.warning("The database does not answer, trying on.", why=str(error).strip())
            self._beaten = False
            self._hang_up()
        else:
            self._beaten = True
        return self._beaten

    def _connect(self) -> psycopg.Connection:
        if self._connection is None:
            connection = psycopg.connect(self._database, autocommit=True, **CONNECTION)  # type: ignore[arg-type]
            try:
                evidence.prepare(connection)
            except psycopg.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
