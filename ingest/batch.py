"""Batches: messages gathered until a transaction is worth it. Pure: the time is an argument.

    empty ──add──▶ gathering ──due──▶ taken whole, and empty again
                       └──full──▶ no more is read from the broker until it is taken

A batch is due

- at once when it is full: of reports, of messages, or of bytes; or when it has `WORTH_ROWS` reports, and then it goes on gathering
  for as long as nobody is free to take it;
- else `linger_s` after the one before it was taken, so that a stream of single messages makes few transactions; a message that
  comes after a pause waits for `quiet_s` only;
- or when it has `quiet_rows` reports and nothing has come for `quiet_s`.

The next one gathers while one is committed, so the window of the broker should hold two. It is bounded: `full` is asked after every
chunk that was read, and a chunk has a bounded number of reports.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Protocol

from msgspec import Struct

from ingest.native import Position
from ingest.settings import Settings
from ingest.wire import Report
from store.packing import Packed

BYTES_MAX = 16 * 1024 * 1024
"""Of the payloads in a batch. Outboxes of a day, 100 kB each, would otherwise fill the window with half a gigabyte."""


WORTH_ROWS = 1_000
"""Reports that are worth a transaction, so that waiting for more wins nothing. Beside a phone that floods, what the others say
would wait with them."""


class Session(Protocol):
    """The connection that a message came over. An acknowledgement means something only there."""

    def acknowledge(self, mids: Sequence[int]) -> None: ...


class Delivery(Struct, frozen=True):
    """One message as it came. With QoS 0 there is nothing to acknowledge, and `mid` is 0."""

    session: Session
    mid: int
    qos: int
    topic: str
    payload: bytes
    received_at: float


Decode = Callable[[Delivery], list[Report]]


class Block(Struct, frozen=True):
    """One message that looks like nothing but positions, which `ingest.block` may store without making a report of each."""

    delivery: Delivery
    source: str
    said: list[Position]
    decode: Decode

    def reports(self) -> list[tuple[Delivery, Report]]:
        return [(self.delivery, report) for report in self.decode(self.delivery)]


def reports_of(blocks: Iterable[Block]) -> list[tuple[Delivery, Report]]:
    """The reports in blocks, decoded one by one."""
    return [report for block in blocks for report in block.reports()]


class Sorted(Struct, frozen=True):
    """Of blocks: what can be copied as it is, and the messages that must be decoded."""

    packed: Packed | None
    odd: list[Block]


class Taken(Struct, frozen=True):
    """What one transaction is made of: the messages in their order of arrival, and the reports in them."""

    deliveries: list[Delivery]
    reports: list[tuple[Delivery, Report]]
    ignored: int
    """Messages that carried no evidence. They are acknowledged with the others, in order."""
    blocks: list[Block]

    @property
    def rows(self) -> int:
        """Reports, those in blocks too."""
        return len(self.reports) + sum([len(block.said) for block in self.blocks])

    def halves(self) -> list["Taken"]:
        """The same reports in two; in one, if there is no more."""
        reports = self.reports + reports_of(self.blocks)
        middle = len(reports) // 2
        parts = [reports[:middle], reports[middle:]] if middle else [reports]
        return [Taken(self.deliveries, part, self.ignored, []) for part in parts]


class Batch:
    """Gathers messages and what they said."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._messages_max = max(1, settings.window // 2)
        self._taken_at = float("-inf")
        self._clear()

    def add(self, delivery: Delivery, said: list[Report] | Block, now: float) -> None:
        """Takes one message in. `now` is any clock that never goes back, in seconds; the same one everywhere here."""
        if not self._deliveries:
            self._first_at = now
        self._last_at = now
        self._bytes += len(delivery.payload)
        self._deliveries.append(delivery)
        if isinstance(said, Block):
            self._blocks.append(said)
            self._rows += len(said.said)
            return
        self._reports += zip(repeat(delivery), said)
        self._rows += len(said)
        if not said:
            self._ignored += 1

    @property
    def messages(self) -> int:
        return len(self._deliveries)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest message was received, by the wall clock."""
        return self._deliveries[0].received_at if self._deliveries else None

    @property
    def full(self) -> bool:
        """No more should be added before it is taken."""
        return (
            self._rows >= self._settings.rows_max
            or len(self._deliveries) >= self._messages_max
            or self._bytes >= BYTES_MAX
        )  # fmt: skip

    @property
    def worth(self) -> bool:
        """It is due, whatever the time."""
        return self._rows >= WORTH_ROWS or self.full

    def wait_s(self, now: float) -> float | None:
        """How long more messages may be waited for; 0 or less: it is due; None: there is nothing to wait with."""
        if not self._deliveries:
            return None
        if self.worth:
            return 0.0
        due_at = max(self._first_at + self._settings.quiet_s, self._taken_at + self._settings.linger_s)
        if self._rows >= self._settings.quiet_rows:
            due_at = min(due_at, self._last_at + self._settings.quiet_s)
        return due_at - now

    def take(self, now: float) -> Taken:
        """Everything gathered; the batch is empty afterwards."""
        taken = Taken(self._deliveries, self._reports, self._ignored, self._blocks)
        self._taken_at = now
        self._clear()
        return taken

    def _clear(self) -> None:
        self._deliveries: list[Delivery] = []
        self._reports: list[tuple[Delivery, Report]] = []
        self._blocks: list[Block] = []
        self._rows = 0
        self._ignored = 0
        self._bytes = 0
        self._first_at = 0.0
        self._last_at = 0.0
