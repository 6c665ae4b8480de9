"""Counts: what an ingestor has done since it started, for its heartbeat.

received = stored + duplicate + rejected + ignored holds whenever no batch is under way.
"""

from collections import Counter

from ingest.batch import Taken
from ingest.commit import Committed
from ingest.link import History


class Counts:
    """Totals since the start, and the newest figures."""

    def __init__(self) -> None:
        self.messages = 0
        self.received = 0
        self.stored = 0
        self.duplicate = 0
        self.ignored = 0
        self.rejected: Counter[str] = Counter()
        self.batches = 0
        self.commit_s_total = 0.0
        self.commit_s = 0.0
        self.retries = 0
        self.last_message_at: float | None = None
        self._rated = (0.0, 0)

    def add(self, taken: Taken, committed: Committed, commit_s: float) -> None:
        """One batch is in the database."""
        self.messages += len(taken.deliveries)
        self.received += taken.rows + taken.ignored
        self.ignored += taken.ignored
        self.stored += committed.stored
        self.duplicate += committed.duplicate
        self.rejected += committed.rejected
        self.batches += 1
        self.commit_s_total += commit_s
        self.commit_s = commit_s
        if taken.deliveries:
            self.last_message_at = taken.deliveries[-1].received_at

    def state(
        self, *, now: float, connected: bool, queue_depth: int, oldest_at: float | None, history: History
    ) -> dict[str, object]:
        """As a heartbeat carries it. `now` and `oldest_at`, of the oldest message that is not committed, are by the wall clock."""
        state: dict[str, object] = {
            "connected": connected,
            "queue_depth": queue_depth,
            "lag_s": round(max(0.0, now - oldest_at), 3) if oldest_at is not None else 0.0,
            "messages_total": self.messages,
            "received_total": self.received,
            "received_per_s": self._rate(now),
            "stored_total": self.stored,
            "duplicate_total": self.duplicate,
            "ignored_total": self.ignored,
            "rejected_total": dict(self.rejected),
            "batches_total": self.batches,
            "commit_seconds_total": round(self.commit_s_total, 6),
            "commit_ms": round(self.commit_s * 1000, 3),
            "retries_total": self.retries,
            "last_message_at": self.last_message_at,
            "connections_total": history.connections,
            "stalls_total": history.stalls,
            "half_open_total": history.half_open,
            "sessions_lost_total": history.sessions_lost,
        }
        if history.connected_at is not None:
            state["connected_at"] = history.connected_at
        return state

    def _rate(self, now: float) -> float:
        """Reports a second since this was last asked."""
        at, received = self._rated
        self._rated = (now, self.received)
        return round((self.received - received) / (now - at), 1) if at and now > at else 0.0
