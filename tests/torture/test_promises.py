"""What ingest may say to the broker and to phones, and when: never before the commit, and to the very last message.

Seen through a broker that notes every acknowledgement, and a proxy that decides when the database may answer.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from ingest.settings import Settings
from tests.ingest.phone import PREFIX, until
from tests.ingest.program import Program, through
from tests.ingest.proxy import Proxy
from tests.torture.house import House
from tests.torture.nosy import NosyBroker

POSITION = f"{PREFIX}/workers/w-1/position"
QUICK = Settings(beat_every_s=0.2, retry_max_s=0.3)
A_WHILE_S = 0.6
"""Long enough for anything that is said too early to be said."""


UNTOLD = """
select source, at from {table} as one
where not exists (
    select from journal, unnest(journal.sources, journal.from_at, journal.to_at) as touch (source, first, last)
    where journal.xid::text = one.xmin::text and touch.source = one.source and one.at between touch.first and touch.last
)
"""


FULL_DISK = """
create function full_disk() returns trigger language plpgsql as $$
begin
    raise exception 'could not extend file' using errcode = 'disk_full';
end
$$
"""


class Desk:
    """A nosy broker, ingest, and a database behind a proxy."""

    def __init__(self, database: str) -> None:
        self.broker = NosyBroker()
        self.proxy = Proxy(urlsplit(database).port or 0)
        self.url = through(database, self.proxy.port)
        self.connection = psycopg.connect(database, autocommit=True)
        self.began = int(time.time()) - 3600

    def start(self, settings: Settings = QUICK) -> Program:
        before = self.broker.subscribed
        program = Program(self.url, self.broker.url, settings)
        until(lambda: self.broker.subscribed > before)
        return program

    def fix(self, seq: int) -> bytes:
        return json.dumps({"at": self.began + seq, "lon": 116.4, "lat": 39.9, "accuracy_m": 8, "seq": seq}).encode()

    def seqs(self) -> list[int]:
        return [seq for (seq,) in self.connection.execute("select seq from fixes order by seq")]

    def promised(self) -> int:
        receipts = [said.payload for said in self.broker.said if said.topic.endswith("/receipt")]
        return max((json.loads(receipt)["through"] for receipt in receipts), default=0)

    def close(self) -> None:
        self.broker.close()
        self.proxy.close()
        self.connection.close()


@pytest.fixture
def desk(database: str) -> Iterator[Desk]:
    opened = Desk(database)
    yield opened
    opened.close()


def test_nothing_is_acknowledged_or_receipted_before_the_commit_and_everything_after_it(desk: Desk) -> None:
    with desk.start():
        desk.broker.publish(1, POSITION, desk.fix(1))
        until(lambda: desk.broker.mids(1) == [1])
        # The COMMIT itself is held back: everything before it was answered.
        desk.proxy.hold = lambda content: b"COMMIT" in content
        desk.broker.publish(2, POSITION, desk.fix(2))
        desk.broker.publish(3, POSITION, b"nobody can read this")
        desk.broker.publish(4, f"{PREFIX}/devices/lock-3/result", b"known, and no evidence")
        desk.broker.publish(5, POSITION, b"")
        desk.broker.publish(6, POSITION, desk.fix(3))
        desk.broker.publish(7, POSITION, desk.fix(4).replace(b"39.9", b"139.9"))
        until(lambda: desk.proxy.held > 0)
        time.sleep(A_WHILE_S)
        assert desk.broker.mids(1) == [1], "acknowledged before the commit"
        assert desk.promised() == 1, "receipted before the commit"
        assert desk.seqs() == [1]
        desk.proxy.release()
        until(lambda: len(desk.broker.mids(1)) >= 7)
        until(lambda: desk.promised() == 4)
    assert desk.broker.mids(1) == [1, 2, 3, 4, 5, 6, 7], "in the order of arrival, to the last one, whatever it said"
    assert desk.seqs() == [1, 2, 3]


def test_a_commit_that_failed_is_not_acknowledged_and_is_tried_again(desk: Desk) -> None:
    with desk.start():
        desk.broker.publish(1, POSITION, desk.fix(1))
        until(lambda: desk.broker.mids(1) == [1])
        desk.proxy.refuse = lambda content: b"COMMIT" in content
        desk.broker.publish(2, POSITION, desk.fix(2))
        until(lambda: desk.proxy.refused >= 2)
        time.sleep(A_WHILE_S / 2)
        assert desk.broker.mids(1) == [1]
        assert desk.promised() == 1
        desk.proxy.refuse = lambda _: False
        until(lambda: desk.broker.mids(1) == [1, 2])
    assert desk.seqs() == [1, 2]
    assert desk.connection.execute("select count(*) from rejects").fetchone() == (0,), "the world's fault is nobody's reject"


def test_after_a_reconnect_nothing_of_the_old_connection_is_acknowledged(desk: Desk) -> None:
    """The numbers of messages start anew with a connection, and the same one may mean a message that nobody has stored."""
    with desk.start():
        desk.proxy.hold = lambda content: b"COMMIT" in content
        for mid in (1, 2, 3):
            desk.broker.publish(mid, POSITION, desk.fix(mid))
        until(lambda: desk.proxy.held > 0)
        desk.broker.drop()
        until(lambda: desk.broker.subscribed == 2)
        desk.proxy.release()
        until(lambda: desk.seqs() == [1, 2, 3])
        time.sleep(A_WHILE_S)
        assert desk.broker.mids(2) == [], "a number of the old connection was acknowledged over the new one"
        desk.broker.publish(1, POSITION, desk.fix(4))
        until(lambda: desk.broker.mids(2) == [1])
    assert desk.seqs() == [1, 2, 3, 4]


def test_the_broker_is_asked_to_keep_what_we_have_not_acknowledged(desk: Desk) -> None:
    with desk.start() as program:
        assert program.stop() == 0
    with desk.start():
        pass
    assert desk.broker.clean == [False, False]


def test_a_receipt_counts_what_another_ingestor_stored_and_what_was_stored_before_a_restart(desk: Desk) -> None:
    with desk.start() as first:
        desk.broker.publish(1, POSITION, desk.fix(1))
        until(lambda: desk.promised() == 1)
        first.kill()
    with desk.start():
        desk.broker.publish(1, POSITION, desk.fix(3))
        until(lambda: desk.broker.mids(2) == [1])
        assert desk.promised() == 1, "a promise over a hole"
        desk.broker.publish(2, POSITION, desk.fix(2))
        until(lambda: desk.promised() == 3)


def test_what_the_database_refuses_costs_itself_alone_however_large_the_batch(desk: Desk) -> None:
    desk.connection.execute("alter table fixes add constraint torture check (accuracy_m is distinct from 13)")
    with desk.start():
        batch = [json.loads(desk.fix(seq)) for seq in range(1, 101)]
        for seq in (1, 40, 100):
            batch[seq - 1]["accuracy_m"] = 13
        desk.broker.publish(1, POSITION, json.dumps(batch).encode())
        until(lambda: desk.broker.mids(1) == [1])
        until(lambda: desk.promised() == 100)
    assert desk.seqs() == [seq for seq in range(1, 101) if seq not in (1, 40, 100)]
    reasons = desk.connection.execute("select reason, count(*) from rejects group by 1").fetchall()
    assert reasons == [("refused_by_database", 3)]


def test_a_full_disk_is_nobodys_fault_and_makes_no_reject(desk: Desk) -> None:
    desk.connection.execute(FULL_DISK)
    with desk.start():
        desk.connection.execute("create trigger full_disk before insert on fixes for each statement execute function full_disk()")
        desk.broker.publish(1, POSITION, b"[%s, %s]" % (desk.fix(1), desk.fix(2)))
        time.sleep(A_WHILE_S)
        assert desk.broker.acknowledged == []
        desk.connection.execute("drop trigger full_disk on fixes")
        until(lambda: desk.broker.mids(1) == [1])
    assert desk.seqs() == [1, 2]
    assert desk.connection.execute("select count(*) from rejects").fetchone() == (0,)


def test_what_was_acknowledged_survives_kill_9_of_the_database(tmp_path: Path) -> None:
    house = House(tmp_path, ingestors=1)
    # A server that is in no hurry with what nobody waits for: whoever does not wait for the disk loses it here.
    (tmp_path / "postgres" / "data" / "local.conf").write_text("wal_writer_delay = 10000\n")
    house.start("database")
    until(lambda: house.answers("database"))
    house.create(house.database)
    desk = Desk(house.database)
    try:
        with desk.start():
            for mid in range(1, 6):
                desk.broker.publish(mid, POSITION, desk.fix(mid))
                until(lambda mid=mid: mid in desk.broker.mids(1))  # type: ignore[misc]
            house.kill("database")
        house.start("database")
        until(lambda: house.answers("database"))
        with psycopg.connect(house.database) as connection:
            assert connection.execute("select count(*) from fixes").fetchone() == (5,)
    finally:
        desk.close()
        house.end()


def test_told_to_stop_while_the_database_is_away_it_acknowledges_nothing(desk: Desk) -> None:
    with desk.start() as program:
        desk.proxy.close()
        desk.broker.publish(1, POSITION, desk.fix(1))
        time.sleep(A_WHILE_S)
        program.stop()
    assert desk.broker.acknowledged == []
    assert desk.promised() == 0
    desk.proxy.open()


def test_two_that_store_the_same_report_at_once_store_it_once(desk: Desk) -> None:
    other = NosyBroker()
    with desk.start(), Program(desk.url, other.url, Settings(client_id="other", beat_every_s=0.2)):
        until(lambda: other.subscribed == 1)
        for mid in range(1, 41):
            for broker in (desk.broker, other):
                broker.publish(mid, POSITION, desk.fix(mid))
        until(lambda: len(desk.broker.mids(1)) == 40 and len(other.mids(1)) == 40)
    other.close()
    assert desk.seqs() == list(range(1, 41))
    assert desk.connection.execute("select count(*) from rejects").fetchone() == (0,), "a repeat is nobody's fault"


def test_whatever_is_stored_is_journaled_by_the_same_transaction(desk: Desk) -> None:
    with desk.start():
        for mid in range(1, 13):
            payload = desk.fix(mid) if mid % 3 else b"[%s, %s]" % (desk.fix(mid), desk.fix(mid - 1))
            desk.broker.publish(mid, POSITION, payload)
            if mid % 2:  # One source alone in its transaction, and two in one.
                until(lambda: len(desk.broker.mids(1)) >= mid)  # noqa: B023 - asked at once
            event = b'{"at": %d, "kind": "open"}' % (desk.began + mid)
            desk.broker.publish(100 + mid, f"{PREFIX}/devices/lock-{mid % 3}/event", event)
        until(lambda: len(desk.broker.mids(1)) == 24)
    for table in ("fixes", "device_events"):
        untold = desk.connection.execute(UNTOLD.format(table=table).encode()).fetchall()
        assert untold == [], table
    assert desk.seqs() == list(range(1, 13))
