"""One batch, one transaction: evidence, rejects and counters together, then the receipts that may be sent.

    quick road     COPY into the tables: right when all of it is new
       │ a row is there already, or cannot be taken
       ▼
    careful road   by way of staging tables, which skip what is there; a row that is refused is found there, by savepoints

Rules kept here:

- Returns only after the commit. Whoever acknowledges or sends receipts does so with what is returned, so never before it.
- A row that the database refuses becomes a reject: the others are stored, all in the same transaction. Only errors that would come
  again with the same rows are treated so; every other error passes through untouched, and nothing is stored or lost by it.
- What is refused only as a whole (a constraint that is checked at the COMMIT) is looked for by halving the batch, each half a
  transaction of its own.
- Committing a batch again (the answer of a COMMIT was lost) stores nothing twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from geofence.evidence import DeviceEvent, Evidence
from ingest import block
from ingest.batch import Block, Delivery, Sorted, reports_of
from ingest.patience import Patience
from ingest.wire import Report
from store import evidence, faults, rejects, sequences
from store.evidence import Sifted
from store.packing import Packed
from store.rejects import Reject, refused
from store.sequences import Receipt

CAREFUL_BATCHES = 50
"""Batches that take the careful road after one with a repeat or a bad row. Both come in swarms (a phone sends its outbox again, a
broker what was not acknowledged), and each vain attempt leaves dead rows in the table."""

Reports = list[tuple[Delivery, Report]]
Write = Callable[[psycopg.Connection, Iterable[Evidence]], Sifted]


class Committed(Struct, frozen=True, kw_only=True):
    """What is in the database now."""

    stored: int
    duplicate: int
    rejected: Counter[str]
    receipts: list[Receipt]
    """In the order of the commits; of one counter the last is the highest."""

    def __add__(self, other: "Committed") -> "Committed":
        """Both, one after the other."""
        return Committed(
            stored=self.stored + other.stored,
            duplicate=self.duplicate + other.duplicate,
            rejected=self.rejected + other.rejected,
            receipts=self.receipts + other.receipts,
        )


NOTHING = Committed(stored=0, duplicate=0, rejected=Counter(), receipts=[])


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

    @property
    def quick(self) -> bool:
        """The next batch takes the quick road."""
        return self._careful == 0

    def commit(self, reports: Reports, blocks: Sequence[Block] = ()) -> Committed:
        """Stores the reports of a batch. Raises what is no fault of theirs, as psycopg does."""
        if self.quick:
            try:
                return self._commit_quickly(reports, block.sort(list(blocks)))
            except (psycopg.Error, OverflowError, UnicodeError) as error:
                if not faults.blames_data(error):
                    raise
            self._careful = CAREFUL_BATCHES
        else:
            self._careful -= 1
        return self.commit_carefully(reports + reports_of(blocks))

    def _commit_quickly(self, reports: Reports, found: Sorted) -> Committed:
        return self._transact(reports + reports_of(found.odd), partial(_copy, packed=found.packed), found.packed)

    def commit_carefully(self, reports: Reports) -> Committed:
        """Stores what is new of the reports, and sets aside what the database refuses."""
        try:
            return self._transact(reports, evidence.sift)
        except (psycopg.Error, OverflowError, UnicodeError) as error:
            if not faults.blames_data(error) or not reports:
                raise
            if len(reports) == 1:
                return self._transact([_refused(*reports[0], error)], evidence.sift)
        middle = len(reports) // 2
        self._between()
        first = self.commit_carefully(reports[:middle])
        self._between()
        return first + self.commit_carefully(reports[middle:])

    def _transact(self, reports: Reports, write: Write, packed: Packed | None = None) -> Committed:
        with self._patience.over(self.connection), self.connection.transaction():
            sifted = write(self.connection, [report.said for _, report in reports if not isinstance(report.said, Reject)])
            said = [report.said for _, report in _set_aside(reports, sifted)]
            rejected = [one for one in said if isinstance(one, Reject)]
            rejects.write(self.connection, rejected)
            receipts = sequences.extend(self.connection, counted(said), packed.ranges if packed else ())
        stored = sum(source.rows for source in sifted.touched)
        return Committed(
            stored=stored,
            duplicate=len(said) - len(rejected) + (packed.rows if packed else 0) - stored,
            rejected=Counter(reject.reason.value for reject in rejected),
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


def _copy(connection: psycopg.Connection, said: Iterable[Evidence], packed: Packed | None) -> Sifted:
    return Sifted(evidence.copy(connection, said, packed), [])


def _set_aside(reports: Reports, sifted: Sifted) -> Reports:
    """The reports, with a reject for each that the database refused."""
    errors = sifted.errors
    if not errors:
        return reports
    return [
        _refused(delivery, report, errors[id(report.said)]) if id(report.said) in errors else (delivery, report)
        for delivery, report in reports
    ]


def _refused(delivery: Delivery, report: Report, error: Exception) -> tuple[Delivery, Report]:
    """The one report that the database would not take, as a reject that keeps its number."""
    said = report.said
    epoch, seq = (None, None) if isinstance(said, DeviceEvent) else (said.epoch, said.seq)
    reject = refused(delivery.received_at, delivery.topic, report.payload, error)
    reject = replace(reject, source=said.source, epoch=epoch, seq=seq)
    return delivery, Report(report.payload, reject)
