"""The link to the broker: one session after the other, for as long as the program runs.

    away ──connect──▶ live ──lost, half open, stalled──▶ away, after a pause that grows and is jittered

Rules kept here:

- The client id is fixed and the session is kept by the broker, so that what arrives while we are away waits for us there.
- What a broker does not answer, or ends, is said once, not at each attempt.
- A mistake of ours in this thread ends the program: `broken` tells the other one.
"""

import random
import threading
import time

import structlog
from msgspec import Struct

from ingest.broker import parse
from ingest.intake import Intake
from ingest.session import ANSWER_TIMEOUT_S, Session
from ingest.settings import Settings
from ingest.watch import Due

SHORT_S = 5.0
"""A session that lasted no longer than this counts as a failure for the pause before the next."""

log = structlog.get_logger("ingest")


class History(Struct):
    """What became of our connections, since the start."""

    connections: int = 0
    """Sessions that became live."""
    connected_at: float | None = None
    """Since when the present one is."""
    stalls: int = 0
    half_open: int = 0
    sessions_lost: int = 0
    """Times the broker had forgotten us, also while we were away: what had waited there is gone, and phones send it again."""


class Link:
    """Keeps a session up in a thread of its own until it is told to stop."""

    def __init__(self, settings: Settings, url: str, intake: Intake, jitter: random.Random) -> None:
        self._settings = settings
        self._broker = parse(url)
        self._intake = intake
        self._jitter = jitter
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._known = False
        self._proven = False
        self._current: Session | None = None
        """The session that is live, or about to be."""
        self.session: Session | None = None
        """The session that is live, if there is one."""
        self.history = History()
        self.broken: BaseException | None = None

    def start(self, *, known: bool = False) -> None:
        """`known`: the broker should have kept a session of ours from before."""
        self._known = known
        self._thread.start()

    def wake(self) -> None:
        """There is room again: it may read on."""
        session = self.session
        if session is not None:
            session.wake()

    def take_no_more(self) -> None:
        """What comes from now on is left unacknowledged, for the broker to deliver to the next session."""
        self._stopping.set()
        session = self._current
        if session is not None:
            session.take_no_more()

    def close(self) -> None:
        """Sends what has been handed over and ends the session."""
        self._stopping.set()
        session = self._current
        if session is not None:
            session.leave()
        if self._thread.is_alive():
            self._thread.join(ANSWER_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._keep()
        except BaseException as error:
            self.broken = error
            self._intake.ring()
            raise

    def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            session = Session(self._settings, self._broker, self._intake, proven=self._proven)
            self._current = session
            live = session.open()
            lasted_s = self._hold(session) if live else 0.0
            if not live and failures == 0:
                log.warning("The broker does not answer, trying on.", broker=self._broker.host, why=session.refusal)
            # Two that share a client id by mistake throw each other out: without a growing pause they would do nothing else.
            failures = 0 if lasted_s > SHORT_S else failures + 1
            self._stopping.wait(pause_s(failures, self._settings.retry_max_s, self._jitter))

    def _hold(self, session: Session) -> float:
        """Lets a session live, and returns how many seconds it did."""
        began = time.monotonic()
        history, where = self.history, self._broker
        if self._known and not session.session_present:
            history.sessions_lost += 1
            log.warning("The broker has forgotten us: what waited there comes again from the phones.", broker=where.host)
        self._known = True
        history.connections += 1
        history.connected_at = time.time()
        self.session = session
        if self._stopping.is_set():  # It was told so before there was a session to tell.
            session.leave()
        log.info("Subscribed.", broker=where.host, port=where.port)
        self._intake.ring()
        session.run()
        self.session = None
        history.connected_at = None
        history.stalls += session.fault is Due.STALLED
        history.half_open += session.fault is Due.HALF_OPEN
        self._proven = session.proven
        if not self._stopping.is_set():
            log.warning("Lost the broker, connecting again.", broker=where.host, why=session.farewell)
        return time.monotonic() - began


def pause_s(failures: int, cap_s: float, jitter: random.Random) -> float:
    """How long to wait after so many failures in a row: doubling up to the cap, and never the same for two programs."""
    return min(cap_s, 0.1 * 2.0 ** min(failures, 16)) * jitter.uniform(0.5, 1.0)
