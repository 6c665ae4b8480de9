"""The whole way into a real database: decode, COPY, commit. Whatever comes, nothing must reach the retry path.

An error of the data that is taken for one of the world would be tried again for ever, and everything behind it would wait.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import psycopg

from geofence.evidence import Check, DeviceEvent, Evidence, Fix, Status
from ingest import wire
from ingest.batch import Delivery
from ingest.commit import Committed, Committer
from ingest.patience import Patience
from store.rejects import Reason, Reject, storable
from tests.fuzz import targets

TABLES: dict[type[Evidence], str] = {Fix: "fixes", Check: "checks", DeviceEvent: "device_events", Status: "statuses"}
BATCH_MESSAGES = 40


class NoSession:
    """Nobody waits for an acknowledgement here."""

    def acknowledge(self, mids: Sequence[int]) -> None: ...


class Commits:
    """Takes cases as messages, and commits a batch of them at a time."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg.connect(database, autocommit=True)
        self._committer = Committer(self._connection, Patience(60))
        self._waiting: list[bytes] = []
        self.stored = 0
        self.rejected = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def target(self) -> targets.Target:
        return targets.Target(self.take, lambda _data, _result: None)

    def take(self, data: bytes) -> None:
        """Commits when a batch is full. A law that does not hold names the whole batch."""
        self._waiting.append(data)
        if len(self._waiting) >= BATCH_MESSAGES:
            batch, self._waiting = self._waiting, []
            self.check(batch)

    def check(self, batch: list[bytes]) -> None:
        """Each report of the batch is in the database, once: as evidence or as a reject."""
        reports: list[tuple[Delivery, wire.Report]] = []
        for data in batch:
            topic, payload = targets.addressed(data)
            delivery = Delivery(NoSession(), 1, 1, topic, payload, targets.NOW)
            reports += [(delivery, report) for report in wire.decode(topic, payload, targets.NOW, keys=targets.KEYS)]
        done = self._committer.commit(reports)
        self._add(done)
        assert done.stored + done.duplicate + done.rejected.total() == len(reports), "a report is neither stored nor rejected"
        refused = done.rejected[Reason.REFUSED_BY_DATABASE.value]
        assert not refused, f"the decoder took {refused} reports that the database refuses"
        for delivery, report in reports:
            found = self._count(delivery.topic, report)
            assert found == 1, f"there are {found} rows of {report.payload[:200]!r}"

    def _add(self, done: Committed) -> None:
        self.stored += done.stored
        self.rejected += done.rejected.total()

    def _count(self, topic: str, report: wire.Report) -> int:
        said = report.said
        if isinstance(said, Reject):
            query = "select count(*) from rejects where topic = %s and payload = %s"
            found = self._connection.execute(query, [storable(topic), report.payload]).fetchone()
        else:
            query = f"select count(*) from {TABLES[type(said)]} where source = %s and at = to_timestamp(%s) and identity = %s"
            found = self._connection.execute(query.encode(), [said.source, said.at, said.identity]).fetchone()
        assert found is not None, "a count has one row"
        return int(found[0])
