"""One batch, one transaction, on a real database: nothing twice, poison set aside, nothing journaled that was there before."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from geofence.evidence import Check, DeviceEvent, Evidence, Fix, Status
from ingest.batch import Delivery
from ingest.commit import CAREFUL_BATCHES, Committed, Committer, Reports
from ingest.patience import Patience
from ingest.wire import Report
from store import evidence, rejects
from store.rejects import Reason, Reject

NOW = 1_795_312_800.0


class NoSession:
    def acknowledge(self, mids: Sequence[int]) -> None: ...


@pytest.fixture
def connection(each_database: str) -> Iterator[psycopg.Connection]:
    with connect(each_database) as opened:
        yield opened


def connect(url: str) -> psycopg.Connection:
    opened = psycopg.connect(url, autocommit=True)
    evidence.prepare(opened)
    return opened


def reports(*said: Evidence | Reject) -> Reports:
    delivery = Delivery(NoSession(), 1, 1, "sitewatch/v1/workers/w-1/position", b"[...]", NOW)
    return [(delivery, Report(b"{%d}" % number, one)) for number, one in enumerate(said)]


def fix(number: int = 1, *, source: str = "w-1", at: float | None = None, seq: int | None = None, lon: float = 116.4) -> Fix:
    return Fix(
        source=source,
        at=NOW + number if at is None else at,
        received_at=NOW + 60,
        identity=number,
        lon=lon,
        lat=39.9,
        epoch=None if seq is None else 0,
        seq=seq,
    )


def commit(connection: psycopg.Connection, reports: Reports) -> Committed:
    """As ingest does it for the first batch on a connection."""
    return committer(connection).commit(reports)


def committer(connection: psycopg.Connection) -> Committer:
    return Committer(connection, Patience(60))


def count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return int(row[0])


def journal(connection: psycopg.Connection) -> list[tuple[list[str], list[datetime], list[datetime]]]:
    return connection.execute("select sources, from_at, to_at from journal order by xid, id").fetchall()


def summary(done: Committed) -> tuple[int, int, int]:
    return done.stored, done.duplicate, done.rejected.total()


# Values ------------------------------------------------------------------------------------------------------------------------


def test_every_kind_comes_back_as_it_went_in(connection: psycopg.Connection) -> None:
    at = 1_795_312_800.123456
    full = Fix(
        source="w-1", at=at, received_at=at + 0.5, identity=2**63 - 1, lon=116.39376, lat=-39.9, accuracy_m=12.5, altitude_m=-3.25,
        speed_mps=1.5, heading_deg=359.5, battery=0.5, mock=True, crs="gcj02", raw_lon=116.4, raw_lat=-39.8, mode="move",
        trigger="ping", epoch=7, seq=2**53,
    )  # fmt: skip
    check = Check(
        source="w-1", at=at, received_at=at, identity=1, kind="in", visit="v-1", method="qr", code="é9", lon=1.5, lat=2.5,
        accuracy_m=4, epoch=0, seq=2,
    )  # fmt: skip
    event = DeviceEvent(source="lock-3", at=at, received_at=at, identity=0, kind="unlock", value=1e12, worker="w-1", credential="c")
    status = Status(
        source="w-1", at=at, received_at=at, identity=3, state="offline", permission="denied", power_save=False, app_version="1.2",
        battery=0.25, epoch=0, seq=3,
    )  # fmt: skip
    assert summary(commit(connection, reports(full, check, event, status))) == (4, 0, 0)
    for value, table in ((full, "fixes"), (check, "checks"), (event, "device_events"), (status, "statuses")):
        names = value.__struct_fields__
        columns = ", ".join(f"extract(epoch from {name})::float8" if name.endswith("at") and name != "lat" and name != "raw_lat"
                            else name for name in names)  # fmt: skip
        row = connection.execute(f"select {columns} from {table}").fetchone()
        assert row == tuple(getattr(value, name) for name in names)


def test_a_time_survives_to_the_microsecond(connection: psycopg.Connection) -> None:
    drawn = random.Random(7)
    times = sorted(round(drawn.uniform(946_684_800, 1_900_000_000), 6) for _ in range(60))
    commit(connection, reports(*(fix(number, at=at) for number, at in enumerate(times))))
    stored = connection.execute("select extract(epoch from at)::float8 from fixes order by at").fetchall()
    assert [row[0] for row in stored] == times


# Repeats -----------------------------------------------------------------------------------------------------------------------


def test_a_repeat_in_the_same_batch_is_stored_once(connection: psycopg.Connection) -> None:
    assert summary(commit(connection, reports(fix(1), fix(2), fix(1), fix(1)))) == (2, 2, 0)
    assert count(connection, "fixes") == 2


def test_a_repeat_in_a_later_batch_changes_nothing_and_is_not_journaled(connection: psycopg.Connection) -> None:
    commit(connection, reports(fix(1), fix(2)))
    assert summary(commit(connection, reports(fix(1, lon=0), fix(2)))) == (0, 2, 0)
    assert len(journal(connection)) == 1
    assert connection.execute("select distinct lon from fixes").fetchall() == [(116.4,)]


def test_two_reports_of_the_same_second_are_two(connection: psycopg.Connection) -> None:
    assert summary(commit(connection, reports(fix(1, at=NOW), fix(2, at=NOW)))) == (2, 0, 0)


def test_a_batch_that_is_committed_again_after_a_lost_answer_counts_as_repeats(connection: psycopg.Connection) -> None:
    batch = reports(fix(1, seq=1), fix(2, seq=2), Status(source="w-1", at=NOW, received_at=NOW, identity=1, state="online"))
    first, second = commit(connection, batch), commit(connection, batch)
    assert (summary(first), summary(second)) == ((3, 0, 0), (0, 3, 0))
    assert [receipt.through for receipt in first.receipts] == [receipt.through for receipt in second.receipts] == [2]
    assert len(journal(connection)) == 1


def test_the_quick_road_and_the_careful_one_end_in_the_same_tables(connection: psycopg.Connection) -> None:
    """With repeats inside a batch, across batches, and with rows that nobody can take."""

    def drawn(seed: int) -> Iterator[Reports]:
        rng = random.Random(seed)
        for _ in range(12):
            said: list[Evidence | Reject] = []
            # Half of the batches are all new, as most are: without them the quick road would be taken once and never again.
            first = rng.choice([0, 1000 * rng.randrange(1, 10**6)])
            for _ in range(rng.randrange(1, 60)):
                number = first + rng.randrange(40)
                source = f"w-{rng.randrange(5)}"
                said.append(fix(number, source=source, seq=number + 1))
                said.append(
                    Status(source=source, at=NOW + number, received_at=NOW, identity=number, state="online", seq=number + 1)
                )
            said += [fix(7, lon=float("nan"), source="\0")] * rng.randrange(2)
            yield reports(*said)

    tables = ("fixes", "checks", "device_events", "statuses", "sequences", "journal", "rejects")

    def contents() -> list[list[tuple[object, ...]]]:
        shown = {"journal": "sources, from_at, to_at", "rejects": "topic, payload, reason, times"}
        found = [connection.execute(f"select {shown.get(table, '*')} from {table} order by 1, 2, 3").fetchall() for table in tables]
        connection.execute(f"truncate {', '.join(tables)}")
        return found

    quick = committer(connection)
    counts = []
    for batch in drawn(3):
        quick._careful = 0
        counts.append(summary(quick.commit(batch)))
    stored = contents()
    assert [summary(quick.commit_carefully(batch)) for batch in drawn(3)] == counts
    assert contents() == stored
    assert any(duplicate == 0 for _, duplicate, _ in counts)
    assert any(duplicate for _, duplicate, _ in counts)


def test_after_a_repeat_batches_are_careful_for_a_while(connection: psycopg.Connection) -> None:
    """Each vain attempt at the quick road leaves dead rows behind."""
    quick = committer(connection)
    assert summary(quick.commit(reports(fix(1), fix(2)))) == (2, 0, 0)
    for _ in range(CAREFUL_BATCHES + 1):
        assert summary(quick.commit(reports(fix(1), fix(2), fix(3)))) in ((1, 2, 0), (0, 3, 0))
    quick_xids, careful_xids = 1, 2
    assert xids_used(connection, lambda: quick.commit(reports(fix(4)))) == quick_xids
    assert xids_used(connection, lambda: quick.commit(reports(fix(4)))) == quick_xids + careful_xids
    assert xids_used(connection, lambda: quick.commit(reports(fix(4)))) == careful_xids


def xids_used(connection: psycopg.Connection, work: Callable[[], object]) -> int:
    """How many transactions wrote, and savepoints within them."""
    before = connection.execute("select pg_current_xact_id()::text::bigint").fetchone() or (0,)
    work()
    after = connection.execute("select pg_current_xact_id()::text::bigint").fetchone() or (0,)
    return int(after[0] - before[0]) - 1


# Journal -----------------------------------------------------------------------------------------------------------------------


def test_the_journal_names_each_source_once_with_the_span_of_what_is_new(connection: psycopg.Connection) -> None:
    commit(connection, reports(fix(5), fix(1, source="w-2")))
    check = Check(source="w-1", at=NOW - 100, received_at=NOW, identity=1, kind="in")
    commit(connection, reports(fix(5), fix(9), fix(7), check, fix(1, source="w-2"), fix(3, source="w-0")))
    others = connection.execute("select others from journal order by xid, id").fetchall()
    assert others == [([False, False],), ([False, True],)]
    _, (sources, from_at, to_at) = journal(connection)
    spans = [(source, a.timestamp() - NOW, b.timestamp() - NOW) for source, a, b in zip(sources, from_at, to_at, strict=True)]
    assert spans == [("w-0", 3, 3), ("w-1", -100, 9)]


def test_verify_is_woken_by_what_is_new_and_by_nothing_else(each_database: str, connection: psycopg.Connection) -> None:
    with psycopg.connect(each_database, autocommit=True) as listener:
        listener.execute("listen sitewatch_journal")
        commit(connection, reports(fix(1)))
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
        commit(connection, reports(fix(1)))
        assert list(listener.notifies(timeout=0.2)) == []


# Poison ------------------------------------------------------------------------------------------------------------------------


CONSTRAINT = ["alter table fixes add constraint no_thirteen check (lon <> 13)"]
TRIGGER = [
    """create function no_thirteen() returns trigger language plpgsql as
       $$ begin if new.lon = 13 then raise exception 'no_thirteen'; end if; return new; end $$""",
    "create trigger no_thirteen before insert on fixes for each row execute function no_thirteen()",
]
AT_THE_COMMIT = [
    TRIGGER[0],
    """create constraint trigger no_thirteen after insert on fixes deferrable initially deferred
       for each row execute function no_thirteen()""",
]


def forbid_thirteen(connection: psycopg.Connection, rules: list[str]) -> None:
    for rule in rules:
        connection.execute(rule)
    # As it is for who connects now: a constraint is known to the staging table.
    connection.execute("drop table staged_fixes")


def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the rows of each attempt to insert some."""
    seen: list[int] = []
    insert = evidence._insert

    def counting(connection: psycopg.Connection, table: evidence._Table, rows: list[evidence.Row]) -> list[evidence.Touched]:
        seen.append(len(rows))
        return insert(connection, table, rows)

    monkeypatch.setattr(evidence, "_insert", counting)
    return seen


@pytest.mark.parametrize(("rules", "tries_max"), [(CONSTRAINT, 6), (TRIGGER, 24)], ids=["named", "unnamed"])
def test_one_row_in_a_thousand_that_the_database_refuses_costs_one_reject(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, rules: list[str], tries_max: int
) -> None:
    forbid_thirteen(connection, rules)
    said = [fix(number, seq=number) for number in range(1, 1001)]
    said[300] = fix(301, seq=301, lon=13)
    tried = tries(monkeypatch)
    done = commit(connection, reports(*said))
    assert summary(done) == (999, 0, 1)
    assert done.receipts[-1].through == 1000
    (reject,) = rejects.newest(connection)
    assert (reject.reason, reject.payload) == (Reason.REFUSED_BY_DATABASE, b"{300}")
    assert "no_thirteen" in reject.detail
    assert len(journal(connection)) == 1
    assert len(tried) <= tries_max


@pytest.mark.parametrize("rules", [CONSTRAINT, TRIGGER], ids=["named", "unnamed"])
def test_bad_rows_are_set_aside_wherever_they_are(connection: psycopg.Connection, rules: list[str]) -> None:
    """With repeats among them, at both ends, in a row, and nothing else."""
    forbid_thirteen(connection, rules)
    drawn = random.Random(5)
    stored: set[int] = set()
    careful = committer(connection)
    for share in (0, 1, 0.5, 0.9, 0.02):
        numbers = [drawn.randrange(500) for _ in range(150)]
        bad = {number for number in range(500) if drawn.random() < share and number not in stored}
        done = careful.commit(reports(*(fix(number, lon=13 if number in bad else 1) for number in numbers)))
        good = [number for number in numbers if number not in bad]
        assert summary(done) == (len(set(good) - stored), len(good) - len(set(good) - stored), 150 - len(good))
        stored |= set(good)
    assert connection.execute("select identity from fixes order by 1").fetchall() == [(number,) for number in sorted(stored)]


def test_where_most_is_bad_little_is_tried_twice(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_thirteen(connection, CONSTRAINT)
    tried = tries(monkeypatch)
    done = commit(connection, reports(*(fix(number, lon=13) for number in range(400))))
    assert summary(done) == (0, 0, 400)
    assert sum(tried) < 3 * 400


def test_a_row_that_only_the_commit_refuses_is_found_too(connection: psycopg.Connection) -> None:
    """And while it is looked for, transaction after transaction, the program can say that it lives."""
    forbid_thirteen(connection, AT_THE_COMMIT)
    said = [fix(number, lon=13 if number % 16 == 0 else 1) for number in range(1, 33)]
    beats = []
    careful = Committer(connection, Patience(60), lambda: beats.append(connection.info.transaction_status))
    assert summary(careful.commit(reports(*said))) == (30, 0, 2)
    assert len(beats) >= 10
    assert set(beats) == {TransactionStatus.IDLE}


@pytest.mark.parametrize(
    "poison",
    [
        Status(source="w-1", at=NOW, received_at=NOW, identity=1, state="online", permission="a\0b"),
        Status(source="w-1", at=NOW, received_at=NOW, identity=1, state="online", permission="\ud800"),
        Status(source="w-1", at=NOW, received_at=NOW, identity=2**70, state="online"),
        Status(source="w-1", at=1e17, received_at=NOW, identity=1, state="online"),
        Status(source="".join(random.Random(1).choices("abcdefgh", k=9_000)), at=NOW, received_at=NOW, identity=1, state="online"),
    ],
    ids=["nul", "surrogate", "bigint", "timestamp", "index row"],
)
def test_whatever_the_decoder_might_let_through_is_isolated(connection: psycopg.Connection, poison: Status) -> None:
    done = commit(connection, reports(fix(1), poison, fix(2)))
    assert summary(done) == (2, 0, 1)
    assert [reject.reason for reject in rejects.newest(connection)] == [Reason.REFUSED_BY_DATABASE]


def test_an_error_of_the_world_is_no_reject_and_stores_nothing(connection: psycopg.Connection) -> None:
    connection.execute("alter table rejects rename to elsewhere")
    reject = Reject(received_at=NOW, topic="t", payload=b"x", reason=Reason.MALFORMED, detail="no JSON")
    with pytest.raises(psycopg.errors.UndefinedTable):
        commit(connection, reports(fix(1), reject))
    connection.execute("alter table elsewhere rename to rejects")
    assert (count(connection, "fixes"), count(connection, "rejects"), len(journal(connection))) == (0, 0, 0)


def test_a_reject_keeps_every_byte_and_is_listed_newest_first(connection: psycopg.Connection) -> None:
    raw = bytes(range(256))
    odd = Reject(received_at=NOW, topic="a\0\ud800b", payload=raw, reason=Reason.MALFORMED, detail="bad \0" + "x" * 10_000)
    other = Reject(received_at=NOW + 1, topic="t", payload=b"", reason=Reason.NO_KEY, detail="no key")
    assert summary(commit(connection, reports(odd, other))) == (0, 0, 2)
    newest, oldest = rejects.newest(connection)
    assert (newest.reason, oldest.payload, oldest.received_at.timestamp()) == ("no_key", raw, NOW)
    assert [one.id for one in rejects.newest(connection, rejects.Filter(reason=Reason.MALFORMED))] == [oldest.id]
    behind = rejects.Place(received_at=newest.received_at, id=newest.id)
    assert [one.id for one in rejects.newest(connection, before=behind, limit=1)] == [oldest.id]
    assert journal(connection) == []


# Several ingestors -------------------------------------------------------------------------------------------------------------


def test_two_ingestors_with_the_same_rows_in_any_order_neither_deadlock_nor_double(each_database: str) -> None:
    said = [fix(number, source=f"w-{number % 40}", seq=number) for number in range(1, 400)]
    done: list[Committed] = []
    failed: list[BaseException] = []

    def ingest(seed: int) -> None:
        drawn = random.Random(seed)
        with connect(each_database) as connection:
            for _ in range(8):
                mine = list(said)
                drawn.shuffle(mine)
                try:
                    done.append(commit(connection, reports(*mine)))
                except psycopg.Error as error:
                    failed.append(error)

    threads = [threading.Thread(target=ingest, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sum(one.stored for one in done) == len(said)
    with connect(each_database) as connection:
        assert count(connection, "fixes") == len(said)
        spans = journal(connection)
        assert {source for sources, _, _ in spans for source in sources} == {one.source for one in said}


def test_rows_are_stored_in_the_order_of_the_key(connection: psycopg.Connection) -> None:
    """The order of inserting is the order of locking: without it two ingestors could wait for each other in a circle."""
    said = [fix(number, source=f"w-{number % 7}") for number in range(200)]
    random.Random(3).shuffle(said)
    commit(connection, reports(*said))
    plan = connection.execute("explain " + evidence.TABLES[Fix].insert).fetchall()
    assert any("Sort Key" in line[0] and "source" in line[0] and "identity" in line[0] for line in plan)


def test_the_journal_row_is_made_in_the_transaction_of_the_evidence(connection: psycopg.Connection) -> None:
    commit(connection, reports(fix(1)))
    rows = connection.execute("select f.xmin::text = j.xid::text from fixes f, journal j").fetchall()
    assert rows == [(True,)]
    (made_at,) = connection.execute("select made_at from journal").fetchone() or (None,)
    assert made_at is not None
    assert abs((datetime.now(UTC) - made_at).total_seconds()) < 60
