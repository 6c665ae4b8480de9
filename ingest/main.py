"""ingest: takes messages from the broker, stores what they say, and only then acknowledges them.

    link's thread    broker ──read──▶ decode ──▶ intake: the batch that gathers
                        ▲                             │ due
    main thread         └── acknowledge, receipts ◀── one transaction ──▶ database

Rules kept here:

- Acknowledged and receipted is what has been committed, and nothing else, whatever dies when.
- A batch that could not be committed is tried again here, with a pause that grows, until it is: the broker would deliver it again
  only to the next session. What is unacknowledged when this program ends is delivered to the next one and found to be a repeat.
- One that took too long is tried again in halves, so that a slow database gets something done in the time of an attempt.
- Told to stop, it takes no more, commits what it holds, acknowledges it, and goes."""

import gc
import os
import random
import signal
import sys
import threading
import time
from collections import deque
from itertools import groupby
from operator import attrgetter

import msgspec
import psycopg
import structlog

from ingest import reread
from ingest.batch import Taken
from ingest.commit import NOTHING, Committed, Committer
from ingest.counts import Counts
from ingest.intake import Intake
from ingest.link import Link, pause_s
from ingest.patience import Patience
from ingest.settings import Settings
from store import keys, outages
from store.sequences import Receipt

IDLE_S = 0.25
"""How often an idle ingest looks at the clock."""
HARD_EXIT_S = 1.0
"""How long after the time for draining a stop may still hang."""
SWITCH_S = 0.0005
"""How long one thread may keep the interpreter from the other. A COPY gives it away at every block, and wants it back soon."""
GARBAGE_OBJECTS = 200_000
"""Objects that may be made before cycles among them are looked for. What a batch is made of, some 10 objects a report, has none and
goes without that; by Python's own limit of 700 the search costs a quarter of all."""
CONNECTION = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "tcp_user_timeout": "20000",
    "application_name": "sitewatch-ingest",
}
# Durability is not left to the server's default. The limits end what an attempt that was given up here has left there.
OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=on -c statement_timeout={limit_ms} -c idle_in_transaction_session_timeout={limit_ms}"
)

log = structlog.get_logger("ingest")
_session = attrgetter("session")


def run(settings: Settings, database: str, mqtt: str) -> None:
    """Runs until SIGTERM or SIGINT. `database` and `mqtt` are URLs; either may be away at any time."""
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 10, 10)
    intake = Intake(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(intake, settings.drain_s + HARD_EXIT_S))
    jitter = random.Random()  # noqa: S311 - spreads retries; guards nothing.
    link = Link(settings, mqtt, intake, jitter)
    Ingestor(settings, database, link, intake, jitter).run()


def _stop(intake: Intake, seconds: float) -> None:
    """Asks for a clean stop, and ends the process where a database or a broker that hangs does not let it happen.

    That is no worse than a kill: what was not acknowledged is delivered again.
    """
    if not intake.closing:
        intake.close()
        hard = threading.Timer(seconds, os._exit, (1,))
        hard.daemon = True
        hard.start()


class Ingestor:
    """The loop between the intake and the database."""

    def __init__(self, settings: Settings, database: str, link: Link, intake: Intake, jitter: random.Random) -> None:
        self._settings = settings
        self._database = database
        self._link = link
        self._intake = intake
        self._jitter = jitter
        self._counts = Counts()
        self._committer: Committer | None = None
        self._patience = Patience(settings.attempt_max_s)
        self._name = "ingest" if settings.client_id == Settings().client_id else f"ingest:{settings.client_id}"
        self._started_at = time.time()
        self._next_beat = 0.0
        self._give_up_at = float("inf")
        self._beaten = True
        self._said_connected = False
        self._committing: Taken | None = None
        self._known: bool | None = None
        """An ingestor of our name was live once, so that the broker should know us; None as long as nobody has looked."""

    def run(self) -> None:
        log.info("Started.", name=self._name)
        # Messages wait better in the broker than here, and without the keys some could not be read.
        failures = 0
        while not self._intake.closing and not self._beat():
            failures += 1
            self._intake.rest(pause_s(failures, self._settings.retry_max_s, self._jitter))
        self._link.start(known=self._known or False)
        while not self._intake.closing:
            self._beat_if_due()
            taken = self._intake.wait(IDLE_S)
            if taken is not None:
                self._link.wake()
                self.store(taken)
            if self._link.broken is not None:
                raise self._link.broken
        self._drain()
        log.info("Stopped.", name=self._name, messages=self._counts.messages, stored=self._counts.stored)

    def store(self, taken: Taken) -> None:
        """Commits, then acknowledges and sends receipts. Leaves all of it to the next session when told to stop and unable."""
        if not taken.deliveries:
            return
        started = time.monotonic()
        self._committing = taken
        committed = self._commit_at_last(taken)
        self._committing = None
        if committed is None:
            return
        seconds = time.monotonic() - started
        for session, deliveries in groupby(taken.deliveries, _session):
            session.acknowledge([one.mid for one in deliveries if one.qos])
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

    def hang_up(self) -> None:
        """Ends the connection to the database; the next batch opens another."""
        if self._committer is not None:
            self._committer.connection.close()
            self._committer = None

    def _drain(self) -> None:
        self._give_up_at = time.monotonic() + self._settings.drain_s
        self._link.take_no_more()
        self.store(self._intake.take())
        self._link.close()
        self._beat()
        self.hang_up()

    def _commit_at_last(self, taken: Taken) -> Committed | None:
        waiting = deque([taken])
        committed, failures = NOTHING, 0
        while waiting:
            slow = self._patience.lost
            try:
                committer = self._connect()
                committed += committer.commit(waiting[0].reports, waiting[0].blocks)
            except psycopg.Error as error:
                if failures == 0:
                    log.warning("The database did not take a batch, trying on.", why=str(error).strip(), reports=taken.rows)
                failures += 1
                self._counts.retries += 1
                self.hang_up()
                if self._patience.lost > slow or isinstance(error, psycopg.errors.QueryCanceled):
                    waiting.extendleft(reversed(waiting.popleft().halves()))
            else:
                self._intake.in_blocks = committer.quick
                waiting.popleft()
                if waiting:
                    self._beat_if_due()
                continue
            if time.monotonic() >= self._give_up_at:
                return None
            self._intake.rest(pause_s(failures, self._settings.retry_max_s, self._jitter))
            if self._intake.closing and self._give_up_at == float("inf"):
                self._give_up_at = time.monotonic() + self._settings.drain_s
        if failures:
            log.info("The database took the batch.", attempts=failures + 1)
        return committed

    def _send(self, receipts: list[Receipt]) -> None:
        session = self._link.session
        if session is None or not receipts:
            return
        prefix, encode = self._settings.prefix, msgspec.json.encode
        session.publish(
            [
                (f"{prefix}/workers/{one.source}/receipt", one.epoch, encode({"epoch": one.epoch, "through": one.through}))
                for one in receipts
            ]
        )

    def _beat_if_due(self) -> None:
        # At once when the link has changed: who waits for us to be subscribed must not wait for a beat as well.
        if time.monotonic() >= self._next_beat or (self._link.session is not None) != self._said_connected:
            self._beat()

    def _beat(self) -> bool:
        """Says that we live, notes an outage that has just ended, reads keys that were added, and rejects that are wanted again.

        False if the database is away."""
        settings = self._settings
        self._next_beat = time.monotonic() + settings.beat_every_s
        now = time.time()
        session = self._link.session
        self._said_connected = session is not None
        # What is being committed is older than what gathers meanwhile.
        under_way = self._committing.deliveries if self._committing else []
        state = self._counts.state(
            now=now,
            connected=session is not None,
            queue_depth=len(under_way) + self._intake.depth,
            oldest_at=under_way[0].received_at if under_way else self._intake.oldest_at,
            history=self._link.history,
        )
        try:
            connection = self._connect().connection
            with self._patience.over(connection):
                self._tell(connection, now, state)
                self._intake.keys = keys.read(connection)
        except psycopg.Error as error:
            if self._beaten:
                log.warning("The database does not answer, trying on.", why=str(error).strip())
            self._beaten = False
            self.hang_up()
        else:
            self._beaten = True
            self._read_again(connection)
        return self._beaten

    def _read_again(self, connection: psycopg.Connection) -> None:
        """Reads rejects that are wanted again. That it cannot says nothing about evidence, which is taken all the same."""
        settings = self._settings
        try:
            with self._patience.over(connection):
                reread.bite_if_free(connection, prefix=settings.prefix, owntracks_prefix=settings.owntracks_prefix)
        except psycopg.Error as error:
            log.warning("Rejects could not be read again.", why=str(error).strip())
            self.hang_up()

    def _tell(self, connection: psycopg.Connection, now: float, state: dict[str, object]) -> None:
        """Writes the heartbeat, and the outage that has just ended if there was one."""
        if self._link.session is not None:
            outage = outages.record_silence(connection, now=now, tolerated_s=self._settings.outage_after_s)
            if outage is not None:
                log.warning("Nobody took evidence for a while.", seconds=round(outage[1] - outage[0], 1))
            state |= {"live_at": now, "protocol": "MQTTv5"}
        elif self._known is None:
            self._known = outages.was_live(connection, self._name)
        outages.beat(connection, self._name, now=now, started_at=self._started_at, state=state)

    def _connect(self) -> Committer:
        if self._committer is None:
            options = OPTIONS.format(limit_ms=round(1000 * self._settings.attempt_max_s))
            connection = psycopg.connect(self._database, autocommit=True, options=options, **CONNECTION)  # type: ignore[arg-type]
            try:
                self._committer = Committer(connection, self._patience, self._beat_if_due)
            except psycopg.Error:
                connection.close()
                raise
        return self._committer
