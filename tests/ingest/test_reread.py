"""Rejects that are read again after a mend: stored as what they are, once, as of their first receipt; or still rejected."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from nacl.secret import SecretBox

from ingest import reread
from ingest.batch import Delivery
from ingest.commit import Committer
from ingest.patience import Patience
from ingest.wire import Report, decode
from store import evidence, rejects
from store.rejects import Filter, Outcome, Reason, Reject, StoredReject

NOW = 1_795_312_800.0
PHONE = "owntracks/anna/phone"
SOURCE = "owntracks:anna/phone"
POSITION = "sitewatch/v1/workers/w-1/position"


class NoSession:
    def acknowledge(self, mids: Sequence[int]) -> None: ...


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with connect(database) as opened:
        yield opened


def connect(url: str) -> psycopg.Connection:
    opened = psycopg.connect(url, autocommit=True)
    evidence.prepare(opened)
    return opened


def sealed(secret: str, at: float = NOW - 100, lon: float = 24.9) -> bytes:
    inside = json.dumps({"_type": "location", "tst": at, "lon": lon, "lat": 60.1, "acc": 9}).encode()
    box = SecretBox(secret.encode().ljust(32, b"\0")).encrypt(inside)
    return json.dumps({"_type": "encrypted", "data": b64encode(box).decode()}).encode()


def receive(connection: psycopg.Connection, topic: str, *payloads: bytes, at: float = NOW) -> None:
    """As ingest takes messages in."""
    said: list[tuple[Delivery, Report]] = []
    for payload in payloads:
        delivery = Delivery(NoSession(), 1, 1, topic, payload, at)
        said += [(delivery, report) for report in decode(topic, payload, at)]
    Committer(connection, Patience(60)).commit(said)


def store(connection: psycopg.Connection, topic: str, payload: bytes, reason: Reason = Reason.MALFORMED) -> None:
    """A reject of an older decoder, which could not take what ours can."""
    rejects.write(connection, [Reject(received_at=NOW, topic=topic, payload=payload, reason=reason, detail="old")])


def read_again(connection: psycopg.Connection, keys: dict[str, str] | None = None, wanted: Filter | None = None) -> list[int]:
    ids = rejects.want(connection, wanted or Filter())
    while reread.bite(connection, prefix="sitewatch/v1", owntracks_prefix="owntracks", keys=keys or {}):
        pass
    return ids


def one(connection: psycopg.Connection) -> StoredReject:
    (found,) = rejects.newest(connection)
    return found


def rows(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_a_phone_that_encrypts_gets_its_past_when_its_key_is_known(connection: psycopg.Connection) -> None:
    receive(connection, PHONE, sealed("s3cret"))
    assert (one(connection).reason, rows(connection, "select * from fixes")) == ("no_key", [])
    read_again(connection, {SOURCE: "s3cret"})
    fixes = "select source, extract(epoch from at)::float8, extract(epoch from received_at)::float8, lon from fixes"
    assert rows(connection, fixes) == [(SOURCE, NOW - 100, NOW, 24.9)]
    assert rows(connection, "select sources from journal") == [([SOURCE],)]
    replayed = one(connection)
    assert (replayed.outcome, replayed.reason, replayed.wanted_at) == (Outcome.EVIDENCE, "no_key", None)
    assert replayed.replayed_at is not None
    assert replayed.read_at == replayed.replayed_at


def test_reading_again_once_more_changes_nothing(connection: psycopg.Connection) -> None:
    receive(connection, PHONE, sealed("s3cret"))
    read_again(connection, {SOURCE: "s3cret"})
    before = one(connection), rows(connection, "select * from journal")
    assert read_again(connection, {SOURCE: "s3cret"}) == []
    assert (one(connection), rows(connection, "select * from journal")) == before


def test_what_came_again_after_the_mend_is_not_stored_twice(connection: psycopg.Connection) -> None:
    raw = sealed("s3cret")
    receive(connection, PHONE, raw)
    said = decode(PHONE, raw, NOW + 60, keys={SOURCE: "s3cret"})
    Committer(connection, Patience(60)).commit([(Delivery(NoSession(), 1, 1, PHONE, raw, NOW + 60), report) for report in said])
    read_again(connection, {SOURCE: "s3cret"})
    assert rows(connection, "select count(*) from fixes") == [(1,)]
    assert one(connection).outcome == Outcome.EVIDENCE


def test_what_still_cannot_be_taken_stays_and_says_why(connection: psycopg.Connection) -> None:
    receive(connection, PHONE, sealed("s3cret"))
    read_again(connection, {SOURCE: "wrong"})
    still = one(connection)
    assert (still.outcome, still.reason, still.replayed_at, still.wanted_at) == (Outcome.REJECTED, "undecipherable", None, None)
    assert "is it the same passphrase?" in still.detail
    assert still.read_at is not None
    assert read_again(connection, {SOURCE: "s3cret"}) == [still.id]
    assert one(connection).outcome == Outcome.EVIDENCE


def test_what_says_nothing_about_anybody_is_no_reject_any_more(connection: psycopg.Connection) -> None:
    store(connection, PHONE, b'{"_type": "card", "tid": "an"}', Reason.UNKNOWN_TYPE)
    read_again(connection)
    assert (one(connection).outcome, one(connection).replayed_at is None) == (Outcome.NO_EVIDENCE, False)


def test_an_array_that_can_be_read_now_gives_its_elements_and_new_rejects_for_the_bad_ones(connection: psycopg.Connection) -> None:
    good = {"at": NOW, "lon": 1, "lat": 2}
    store(connection, POSITION, json.dumps([good, {**good, "lat": 200}, {**good, "at": NOW - 1}]).encode())
    read_again(connection)
    assert rows(connection, "select count(*) from fixes") == [(2,)]
    (whole,), (part,) = (rejects.newest(connection, Filter(is_open=is_open)) for is_open in (False, True))
    assert (whole.outcome, part.reason, part.replayed_at) == (Outcome.EVIDENCE, "out_of_range", None)
    assert part.received_at == datetime.fromtimestamp(NOW, UTC)


def test_an_array_of_nothing_but_bad_elements_becomes_a_reject_for_each(connection: psycopg.Connection) -> None:
    store(connection, POSITION, b'[{"at": 1}, {"at": 2}]')
    read_again(connection)
    whole, parts = rejects.newest(connection, Filter(is_open=False)), rejects.newest(connection, Filter(is_open=True))
    assert ([found.outcome for found in whole], len(parts)) == ([Outcome.DIVIDED], 2)
    read_again(connection)
    assert [found.times for found in rejects.newest(connection)] == [1, 1, 1]


def test_an_array_that_only_lacks_its_end_stays_and_its_elements_are_stored_once(connection: psycopg.Connection) -> None:
    receive(connection, POSITION, b'[{"at": %d, "lon": 1, "lat": 2}' % NOW)
    assert rows(connection, "select count(*) from fixes") == [(1,)]
    read_again(connection)
    assert rows(connection, "select count(*) from fixes") == [(1,)]
    assert one(connection).outcome == Outcome.REJECTED


def test_one_that_the_database_refuses_keeps_none_of_the_others_back(connection: psycopg.Connection) -> None:
    connection.execute("alter table fixes add constraint no_thirteen check (lon <> 13)")
    for lon in (1, 13, 2):
        store(connection, POSITION, json.dumps({"at": NOW, "lon": lon, "lat": 2}).encode())
    read_again(connection)
    assert rows(connection, "select lon from fixes order by lon") == [(1,), (2,)]
    (left,) = rejects.newest(connection, Filter(is_open=True))
    assert (left.reason, left.outcome, b"13" in left.payload) == (Reason.REFUSED_BY_DATABASE, Outcome.REJECTED, True)
    assert "no_thirteen" in left.detail


def test_an_error_of_the_world_leaves_everything_as_it_was(connection: psycopg.Connection) -> None:
    store(connection, POSITION, json.dumps({"at": NOW, "lon": 1, "lat": 2}).encode())
    connection.execute("alter table fixes rename to elsewhere")
    with pytest.raises(psycopg.errors.UndefinedTable):
        read_again(connection)
    connection.execute("alter table elsewhere rename to fixes")
    assert one(connection).wanted_at is not None
    assert one(connection).read_at is None


def test_a_full_disk_behind_a_row_that_is_refused_is_nobodys_fault(connection: psycopg.Connection) -> None:
    """The first error blames the data, so each is tried alone; what the disk does then says nothing about any of them."""
    connection.execute("alter table fixes add constraint no_thirteen check (lon <> 13)")
    connection.execute("""
        create function full_disk() returns trigger language plpgsql as $$
        begin raise exception 'no space left' using errcode = '53100'; end $$;
        create trigger full_disk before insert on fixes for each row when (new.lon = 2) execute function full_disk()
    """)
    store(connection, POSITION, json.dumps({"at": NOW - 10, "lon": 13, "lat": 2}).encode())
    store(connection, POSITION, json.dumps({"at": NOW, "lon": 2, "lat": 2}).encode())
    with pytest.raises(psycopg.errors.DiskFull):
        read_again(connection)
    assert [found.read_at for found in rejects.newest(connection)] == [None, None]


def test_two_that_read_at_the_same_time_share_the_work(database: str, connection: psycopg.Connection) -> None:
    for number in range(300):
        store(connection, POSITION, json.dumps({"at": NOW - number, "lon": 1, "lat": 2}).encode())
    rejects.want(connection, Filter())
    done: list[int] = []

    def work() -> None:
        with connect(database) as own:
            while count := reread.bite(own, prefix="sitewatch/v1", owntracks_prefix="owntracks", keys={}, rows_max=40):
                done.append(count)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 300
    assert rows(connection, "select count(*) from fixes") == [(300,)]
    assert rejects.newest(connection, Filter(is_open=True)) == []


def test_ingest_does_not_wait_for_a_person_who_reads_again(database: str, connection: psycopg.Connection) -> None:
    store(connection, POSITION, json.dumps({"at": NOW, "lon": 1, "lat": 2}).encode())
    rejects.want(connection, Filter())
    connection.execute("set statement_timeout = '2s'")
    with connect(database) as person, person.transaction():
        assert len(rejects.next_wanted(person, 1)) == 1
        assert reread.bite_if_free(connection, prefix="sitewatch/v1", owntracks_prefix="owntracks") == 0
    assert reread.bite_if_free(connection, prefix="sitewatch/v1", owntracks_prefix="owntracks") == 1
    assert rows(connection, "select count(*) from fixes") == [(1,)]


def test_only_those_that_fit_are_read_again(connection: psycopg.Connection) -> None:
    receive(connection, PHONE, sealed("s3cret"))
    receive(connection, "owntracks/bert/phone", sealed("s3cret"))
    receive(connection, POSITION, b'{"at": 1}')
    everybody = {SOURCE: "s3cret", "owntracks:bert/phone": "s3cret"}
    read_again(connection, everybody, Filter(reason="no_key", topic="owntracks/anna/#"))
    assert rows(connection, "select source from fixes") == [(SOURCE,)]
    assert {found.reason for found in rejects.newest(connection, Filter(is_open=True))} == {"no_key", "missing_field"}


@pytest.mark.parametrize(
    ("topics", "fits"),
    [
        ("a/b/c", {"a/b/c"}),
        ("a/+/c", {"a/b/c", "a//c"}),
        ("a/#", {"a", "a/b/c", "a//c", "a/b.c"}),
        ("#", {"a", "a/b/c", "a//c", "a/b.c", "ab/c"}),
        ("a/b.c", {"a/b.c"}),
        ("+/c", {"ab/c"}),
        ("b", set()),
    ],
)
def test_topics_are_filtered_as_a_broker_would(connection: psycopg.Connection, topics: str, fits: set[str]) -> None:
    for topic in ("a", "a/b/c", "a//c", "a/b.c", "ab/c"):
        store(connection, topic, b"x")
    assert {found.topic for found in rejects.newest(connection, Filter(topic=topics))} == fits


def test_the_same_bytes_on_the_same_topic_are_one_reject(connection: psycopg.Connection) -> None:
    bad = b'{"lon": 1}'
    receive(connection, POSITION, bad, bad, at=NOW)
    receive(connection, POSITION, bad, at=NOW + 30)
    receive(connection, POSITION.replace("w-1", "w-2"), bad, at=NOW + 40)
    receive(connection, POSITION, b'{"lon": 2}', at=NOW + 50)
    found = rejects.newest(connection)
    assert [(reject.topic[-12:], reject.times) for reject in found] == [
        ("w-1/position", 1),
        ("w-2/position", 1),
        ("w-1/position", 3),
    ]
    assert (found[2].received_at.timestamp(), found[2].last_at.timestamp()) == (NOW, NOW + 30)


def test_two_ingestors_with_the_same_rejects_in_any_order_neither_deadlock_nor_double(database: str) -> None:
    bad = [b'{"lon": %d}' % number for number in range(200)]
    failed: list[Exception] = []

    def ingest(step: int) -> None:
        with connect(database) as own:
            for _ in range(5):
                try:
                    receive(own, POSITION, *bad[::step])
                except psycopg.Error as error:
                    failed.append(error)

    threads = [threading.Thread(target=ingest, args=(step,)) for step in (1, -1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with connect(database) as connection:
        assert rows(connection, "select count(*), min(times), max(times) from rejects") == [(200, 15, 15)]


def test_rejects_are_stored_in_the_order_of_their_key(connection: psycopg.Connection) -> None:
    """The order of inserting is the order of locking: without it two ingestors could wait for each other in a circle."""
    columns = {
        "received_at": [NOW, NOW],
        "topics": ["b", "a"],
        "payloads": [b"1", b"2"],
        "reasons": ["r", "r"],
        "details": ["", ""],
    }
    plan = connection.execute("explain " + rejects.WRITE, columns).fetchall()
    assert any("Sort Key" in line[0] and "sha256" in line[0] for line in plan), plan
