"""Patience with the database: an attempt that takes too long is ended from this side.

A connection can stay open with nothing behind it any more (a hung server, a middlebox that has forgotten it): the kernel goes on
acknowledging, so neither keepalives nor TCP's own limit notice, and the server's `statement_timeout` is the server's. So a thread
of ours shuts the socket down, which whoever waits for an answer sees as a lost connection, and tries again on a new one. The same
limit on the server's side ends what the lost attempt has left there, whose locks the new one would wait for.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import psycopg

LOOKS = 10
"""Looks within the limit: an attempt lives at most a tenth longer."""


class Patience:
    """Watches one attempt after the other; `limit_s` is for each."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._watched: psycopg.Connection | None = None
        self._until = 0.0
        self.lost = 0
        """Attempts that were ended."""
        threading.Thread(target=self._watch, name="patience", daemon=True).start()

    @contextlib.contextmanager
    def over(self, connection: psycopg.Connection) -> Iterator[None]:
        """The attempt is what happens inside. It fails with `OperationalError` when it takes too long."""
        with self._lock:
            self._watched, self._until = connection, time.monotonic() + self._limit_s
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def _watch(self) -> None:
        while True:
            time.sleep(self._limit_s / LOOKS)
            with self._lock:
                if self._watched is not None and time.monotonic() >= self._until:
                    _shut_down(self._watched)
                    self._watched = None
                    self.lost += 1


def _shut_down(connection: psycopg.Connection) -> None:
    """Ends it under the hands of the thread that waits for it, which `close` may not do."""
    # The descriptor is libpq's: what is closed here is a copy, what is shut down is the connection itself.
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
