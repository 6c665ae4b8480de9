"""Session: a connection to the database that does not wait for ever for an answer, and is followed by another one.

A connection can stay open with nothing behind it any more (a hung server, a middlebox that has forgotten it): the kernel goes on
acknowledging, so neither keepalives nor TCP's own limit notice. So each answer has a time limit here, and what is not answered by
then is closed.

Rules kept here:

- The limit is one statement's and not a transaction's: a long backlog is many statements, and is no lost connection.
- The server goes on with what was closed here, and holds its locks. So the next session first ends the one before it.
- Whoever waits in line for a lock is not lost: see `wait_in_line`.
"""

from typing import Any

import psycopg
from psycopg import Connection, errors
from psycopg.pq import TransactionStatus

NAME = "sitewatch verify"
CONNECT_S = 5
KEEPALIVE_S, GONE_MS = 10, 20_000
"""A peer that has vanished is noticed within half a minute, here and (by `SERVER`) there."""
SERVER = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c timezone=UTC"
LINE_SHARE = 3
"""A lock is asked for anew so many times within the limit, so that waiting in line is no statement without an answer."""


class Session(Connection[Any]):
    """A connection whose every wait for an answer ends."""

    answer_max_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's, and an `OperationalError` after `answer_max_s` where nobody named another limit."""
        try:
            return super().wait(gen, interval, self.answer_max_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if timeout is None and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # Whatever is still to be said over it, a rollback for one, would wait as long again.
                self.pgconn.finish()
            raise


class Sessions:
    """One session after the other."""

    def __init__(self, database: str, answer_max_s: float) -> None:
        self._database = database
        self._answer_max_s = answer_max_s
        self._last: tuple[int, Any] | None = None

    def open(self) -> Session:
        """A new session, and no other of ours beside it."""
        session = Session.connect(
            self._database,
            autocommit=True,
            application_name=NAME,
            options=self._options(),
            connect_timeout=CONNECT_S,
            keepalives_idle=KEEPALIVE_S,
            tcp_user_timeout=GONE_MS,
        )
        try:
            session.answer_max_s = self._answer_max_s
            if self._last is not None:
                session.execute(END, self._last)
            self._last = session.execute(WHO).fetchone()
        except psycopg.Error:
            session.close()
            raise
        return session

    def _options(self) -> str:
        limit_ms = round(1000 * self._answer_max_s)
        return f"{SERVER} -c statement_timeout={limit_ms} -c lock_timeout={limit_ms // LINE_SHARE}"


def wait_in_line(connection: Connection, key: int) -> None:
    """Takes an advisory lock, however long others hold it."""
    while True:
        try:
            connection.execute("select pg_advisory_lock(%s)", [key])
        except errors.LockNotAvailable:
            continue
        return


WHO = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"

# A number may have gone to somebody else, but not one that began at that moment.
END = "select pg_terminate_backend(pid) from pg_stat_activity where pid = %s and backend_start = %s"
