"""The intake: what the link has read is decoded and gathered here, until the other thread takes it to the database.

    link's thread: receive ──decode──▶ batch ──┬──▶ wait: the committing thread
                      ▲                        │
                      └── reads no more while it is full

Rules kept here:

- The link asks `full` before it reads. That, and the broker's window, is the back-pressure: nothing is ever discarded.
- Whoever waits is woken by a bell, which a signal handler may ring too. (Waiting with Event or Condition is not safe there: a
  signal that comes while their lock is held would wait for itself.)
"""

import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue

from ingest import block, wire
from ingest.batch import Batch, Block, Delivery, Taken
from ingest.settings import Settings
from ingest.topics import locate
from ingest.wire import Report

BELLS_MAX = 8
"""One is enough. It only bounds the queue if nobody listens."""


class Intake:
    """Between the thread that reads and the thread that commits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._batch = Batch(settings)
        self._lock = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.closing = False
        """The program is told to stop."""
        self.keys: Mapping[str, str] = wire.NO_KEYS
        """Passphrases of the sources that encrypt."""
        self.in_blocks = True
        """Blocks can be stored as they are, mostly."""

    # The reading side -----------------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._batch.full

    def receive(self, deliveries: list[Delivery]) -> None:
        """Takes in what one read brought."""
        said = [self._read(one) for one in deliveries]
        now = time.monotonic()
        with self._lock:
            was_empty, was_worth = self._batch.messages == 0, self._batch.worth
            for delivery, one in zip(deliveries, said, strict=True):
                self._batch.add(delivery, one, now)
            ring = was_empty or (self._batch.worth and not was_worth)
        if ring:
            self.ring()

    def _read(self, delivery: Delivery) -> list[Report] | Block:
        settings = self._settings
        found = None
        if self.in_blocks and delivery.payload.startswith(b"["):
            where = locate(delivery.topic, settings.prefix, settings.owntracks_prefix)
            found = block.read(where, delivery, self._decode)
        return self._decode(delivery) if found is None else found

    def _decode(self, delivery: Delivery) -> list[Report]:
        settings = self._settings
        return wire.decode(
            delivery.topic,
            delivery.payload,
            delivery.received_at,
            prefix=settings.prefix,
            owntracks_prefix=settings.owntracks_prefix,
            keys=self.keys,
        )

    # The committing side --------------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Messages that are gathered and not taken."""
        return self._batch.messages

    @property
    def oldest_at(self) -> float | None:
        """When the oldest of them was received."""
        with self._lock:
            return self._batch.oldest_at

    def wait(self, patience_s: float) -> Taken | None:
        """The next batch that is worth a transaction; None if none is within the patience, or when somebody rang."""
        now = time.monotonic()
        with self._lock:
            wait_s = self._batch.wait_s(now)
            if wait_s is not None and wait_s <= 0:
                return self._batch.take(now)
        self._listen(patience_s if wait_s is None else min(wait_s, patience_s))
        return None

    def take(self) -> Taken:
        """Whatever there is."""
        with self._lock:
            return self._batch.take(time.monotonic())

    def rest(self, seconds: float) -> None:
        """Does nothing for a while, or until told to stop. Who was told already rests all the same."""
        until, closing = time.monotonic() + seconds, self.closing
        while self.closing == closing and (left := until - time.monotonic()) > 0:
            self._listen(left)

    # Either side, and signal handlers -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Asks whoever waits here to come to an end."""
        self.closing = True
        self.ring()

    def ring(self) -> None:
        if self._bell.qsize() < BELLS_MAX:
            self._bell.put(None)

    def _listen(self, seconds: float) -> None:
        # A signal that interrupts the waiting near its end leaves it waiting for ever (CPython 3.11); its handler must ring.
        try:
            self._bell.get(timeout=seconds)
        except Empty:
            return
