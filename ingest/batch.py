"""Batches: messages gathered until a transaction is worth it. Pure: the time is an argument.

    empty ──add──▶ gathering ──due──▶ taken whole, and empty again

A batch is due when it has `rows_max` rows, when its first message has waited for `linger_s`, or when it has `quiet_rows` rows and
nothing has come for `quiet_s`. It is bounded: `due` is asked after every message, and a message has a bounded number of reports.
"""

from typing import Protocol

from msgspec import Struct

from ingest.settings import Settings
from ingest.wire import Report


class Session(Protocol):
    """The connection that a message came over. An acknowledgement means something only there."""

    def acknowledge(self, mid: int, qos: int) -> None: ...


class Delivery(Struct, frozen=True):
    """One message as it came."""

    session: Session
    mid: int
    qos: int
    topic: str
    payload: bytes
    received_at: float


class Taken(Struct, frozen=True):
    """What one transaction is made of: the messages in their order of arrival, and the reports in them."""

    deliveries: list[Delivery]
    reports: list[tuple[Delivery, Report]]
    ignored: int
    """Messages that carried no evidence. They are acknowledged with the others, in order."""


class Batch:
    """Gathers messages and what they said."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clear()

    def add(self, delivery: Delivery, reports: list[Report], now: float) -> None:
        """Takes one message in. `now` is any clock that never goes back, in seconds; the same one for `wait_s`."""
        if not self._deliveries:
            self._first_at = now
        self._last_at = now
        self._deliveries.append(delivery)
        self._reports += [(delivery, report) for report in reports]
        if not reports:
            self._ignored += 1

    def wait_s(self, now: float) -> float | None:
        """How long more messages may be waited for; 0 or less: it is due; None: there is nothing to wait with."""
        if not self._deliveries:
            return None
        rows = len(self._reports)
        if rows >= self._settings.rows_max or len(self._deliveries) >= self._settings.window:
            return 0.0
        left = self._first_at + self._settings.linger_s - now
        if rows >= self._settings.quiet_rows:
            left = min(left, self._last_at + self._settings.quiet_s - now)
        return left

    def take(self) -> Taken:
        """Everything gathered; the batch is empty afterwards."""
        taken = Taken(self._deliveries, self._reports, self._ignored)
        self._clear()
        return taken

    def _clear(self) -> None:
        self._deliveries: list[Delivery] = []
        self._reports: list[tuple[Delivery, Report]] = []
        self._ignored = 0
        self._first_at = 0.0
        self._last_at = 0.0
