"""One batch, one transaction: evidence, rejects and counters together, then the receipts that may be sent.

    quick road     COPY into the tables: right when all of it is new
       │ a row is there already, or cannot be taken
       ▼
    careful road   by way of staging tables, which skip what is there; a batch that is refused is halved until the row is found

Rules kept here:

- Returns only after the commit. Whoever acknowledges or sends receipts does so with what is returned, so never before it.
- A row that the database refuses is found by halving the batch, and becomes a reject: the others are stored. Only errors that would
  come again with the same rows are treated so; every other error passes through untouched, and nothing is stored or lost by it.
- Committing a batch again (the answer of a COMMIT was lost) stores nothing twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import psycopg
from msgspec import Struct

from geofence.evidence import DeviceEvent, Evidence
from ingest.batch import Delivery
from ingest.patience import Patience
from ingest.wire import Report
from store import evidence, faults, rejects, sequences
from store.evidence import Touched
from store.rejects import Reason, Reject
from store.sequences import Receipt

CAREFUL_BATCHES = 50
"""Batches that take the careful road after one with a repeat. Repeats come in swarms (a phone sends its outbox again, a broker what
was not acknowledged), and each vain attempt leaves dead rows in the table."""

Reports = list[tuple[Delivery, Report]]
Write = Callable[[psycopg.Connection, Iterable[Evidence]], list[Touched]]


class Committed(Struct, frozen=True, kw_only=True):
    """What is in the database now."""

    stored: int
    duplicate: int
    rejected: Counter[str]
    receipts: list[Receipt]
    """In the order of the commits; of one counter the last is the highest."""


class Committer:
    """Commits batch after batch on one connection, which it prepares for that.

    `between` is called before each transaction but the first of a batch: looking for bad rows takes a while, in which the program
    should not seem dead.
    """

    def __init__(self, connection: psycopg.Connection, patience: Patience, between: Callable[[], object] = lambda: None) -> None:
        self.connection = connection
        self._patience = patience
        self._between = between
        self._careful = 0
        with patience.over(connection):
            evidence.prepare(connection)

    def commit(self, reports: Reports) -> Committed:
        """Stores the reports of a batch. Raises what is no fault of theirs, as psycopg does."""
        if self._careful == 0:
            try:
                return self._transact(reports, evidence.copy)
            except psycopg.errors.UniqueViolation:
                self._careful = CAREFUL_BATCHES
            except (psycopg.Error, OverflowError, UnicodeError) as error:
                if not faults.blames_data(error):
                    raise
        else:
            self._careful -= 1
        return self.commit_carefully(reports)

    def commit_carefully(self, reports: Reports) -> Committed:
        """Stores what is new of the reports, and sets aside what the database refuses."""
        try:
            return self._transact(reports, evidence.write)
        except (psycopg.Error, OverflowError, UnicodeError) as error:
            if not faults.blames_data(error) or not reports:
                raise
            if len(reports) == 1:
                return self._transact([_refused(*reports[0], error)], evidence.write)
        middle = len(reports) // 2
        self._between()
        first = self.commit_carefully(reports[:middle])
        self._between()
        return _join(first, self.commit_carefully(reports[middle:]))

    def _transact(self, reports: Reports, write: Write) -> Committed:
        said = [report.said for _, report in reports]
        refused = [one for one in said if isinstance(one, Reject)]
        taken = [one for one in said if not isinstance(one, Reject)]
        with self._patience.over(self.connection), self.connection.transaction():
            touched = write(self.connection, taken)
            rejects.write(self.connection, refused)
            receipts = sequences.extend(self.connection, counted(said))
        stored = sum(source.rows for source in touched)
        return Committed(
            stored=stored,
            duplicate=len(taken) - stored,
            rejected=Counter(reject.reason.value for reject in refused),
            receipts=receipts,
        )


def counted(said: list[Evidence | Reject]) -> list[tuple[str, int, int]]:
    """The (source, epoch, seq) of everything that a phone has counted."""
    numbers: list[tuple[str, int, int]] = []
    for one in said:
        if isinstance(one, DeviceEvent) or one.seq is None or one.source is None:
            continue
        numbers.append((one.source, one.epoch or 0, one.seq))
    return numbers


def _refused(delivery: Delivery, report: Report, error: Exception) -> tuple[Delivery, Report]:
    """The one report that the database would not take, as a reject that keeps its number."""
    said = report.said
    epoch, seq = (None, None) if isinstance(said, DeviceEvent) else (said.epoch, said.seq)
    reject = Reject(
        received_at=delivery.received_at,
        topic=delivery.topic,
        payload=report.payload,
        reason=Reason.REFUSED_BY_DATABASE,
        detail=f"the database refused it: {error}",
        source=said.source,
        epoch=epoch,
        seq=seq,
    )
    return delivery, Report(report.payload, reject)


def _join(one: Committed, other: Committed) -> Committed:
    return Committed(
        stored=one.stored + other.stored,
        duplicate=one.duplicate + other.duplicate,
        rejected=one.rejected + other.rejected,
        receipts=one.receipts + other.receipts,
    )
