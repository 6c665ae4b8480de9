"""The journal's reader sees every entry once, whatever the order in which transactions begin, write and commit."""

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sitewatch.verify import prepared
from store import journal


@pytest.fixture
def writers(database: str) -> Iterator[list[psycopg.Connection]]:
    connections = [psycopg.connect(database) for _ in range(4)]
    yield connections
    for connection in connections:
        connection.close()


@pytest.fixture
def reader(database: str) -> Iterator[psycopg.Connection]:
    with prepared(psycopg.connect(database)) as connection:
        yield connection


def write(connection: psycopg.Connection, visit: str) -> None:
    connection.execute("insert into journal (visits) values (array[%s])", [visit])


def read(connection: psycopg.Connection, rows_max: int = 1000) -> list[str]:
    with connection.transaction():
        bite = journal.follow(connection, "test", rows_max)
        journal.advance(connection, "test", bite.cursor)
    return sorted(bite.visits)


def test_a_transaction_that_begins_first_and_commits_last_is_seen(
    writers: list[psycopg.Connection], reader: psycopg.Connection
) -> None:
    slow, fast, *_ = writers
    write(slow, "slow")
    write(fast, "fast")
    fast.commit()
    assert read(reader) == ["fast"], "an open transaction holds up nobody"
    assert read(reader) == []
    slow.commit()
    assert read(reader) == ["slow"], "and is not overtaken"
    assert read(reader) == []


def test_a_transaction_that_fails_is_not_seen_and_leaves_no_hole(
    writers: list[psycopg.Connection], reader: psycopg.Connection
) -> None:
    lost, kept, *_ = writers
    write(lost, "lost")
    write(kept, "kept")
    kept.commit()
    lost.rollback()
    assert read(reader) == ["kept"]
    write(lost, "again")
    lost.commit()
    assert read(reader) == ["again"]


def test_a_long_open_transaction_stays_outside_many_bites_and_comes_in_at_last(
    writers: list[psycopg.Connection], reader: psycopg.Connection
) -> None:
    long, other, *_ = writers
    write(long, "long")
    for n in range(20):
        write(other, f"v{n:02}")
        other.commit()
    seen = [visit for _ in range(30) for visit in read(reader, rows_max=3)]
    assert seen == [f"v{n:02}" for n in range(20)]
    long.commit()
    assert read(reader, rows_max=3) == ["long"]


def test_a_part_of_what_was_late_does_not_bring_back_what_was_seen(
    writers: list[psycopg.Connection], reader: psycopg.Connection
) -> None:
    late, later, fast, _ = writers
    write(late, "late"), write(later, "later")
    for n in range(3):
        write(fast, f"v{n}")
        fast.commit()
    assert read(reader) == ["v0", "v1", "v2"]
    late.commit()
    later.commit()
    assert read(reader, rows_max=1) == ["late"]
    assert read(reader, rows_max=1) == ["later"]
    assert read(reader) == []


def test_a_bite_never_cuts_a_transaction(writers: list[psycopg.Connection], reader: psycopg.Connection) -> None:
    writer = writers[0]
    for n in range(5):
        write(writer, f"v{n}")
    writer.commit()
    write(writer, "next")
    writer.commit()
    assert read(reader, rows_max=2) == ["v0", "v1", "v2", "v3", "v4"]
    assert read(reader, rows_max=2) == ["next"]


def test_a_reader_that_dies_before_it_commits_reads_the_same_again(
    database: str, writers: list[psycopg.Connection], reader: psycopg.Connection
) -> None:
    write(writers[0], "v1")
    writers[0].commit()
    with prepared(psycopg.connect(database)) as dying, dying.transaction(force_rollback=True):
        bite = journal.follow(dying, "test")
        journal.advance(dying, "test", bite.cursor)
    assert read(reader) == ["v1"]


def test_two_readers_of_one_name_cannot_both_commit(database: str, writers: list[psycopg.Connection]) -> None:
    write(writers[0], "v1")
    writers[0].commit()
    with prepared(psycopg.connect(database)) as one, prepared(psycopg.connect(database)) as other:
        read(one)
        write(writers[0], "v2")
        writers[0].commit()
        one.execute("begin isolation level repeatable read")
        bite = journal.follow(one, "test")
        assert read(other) == ["v2"]
        with pytest.raises(psycopg.errors.SerializationFailure):
            journal.advance(one, "test", bite.cursor)
        one.execute("rollback")
        assert read(one) == []


def test_trimming_keeps_what_was_not_read(writers: list[psycopg.Connection], reader: psycopg.Connection) -> None:
    open_one, writer, *_ = writers
    write(open_one, "open")
    for n in range(5):
        write(writer, f"v{n}")
        writer.commit()
    assert journal.trim(reader, "test", -1) == 0, "nobody has read yet"
    read(reader)
    open_one.commit()
    journal.trim(reader, "test", -1)
    assert read(reader) == ["open"]
    write(writer, "last")
    writer.commit()
    read(reader)
    assert journal.trim(reader, "test", -1) > 0


STEPS = st.lists(st.tuples(st.sampled_from(["write", "commit", "rollback", "read"]), st.integers(0, 3)), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, rows_max=st.integers(1, 5))
def test_every_committed_entry_is_seen_exactly_once(
    writers: list[psycopg.Connection], reader: psycopg.Connection, steps: list[tuple[str, int]], rows_max: int
) -> None:
    """The second definition: a list of what each writer wrote since its last commit."""
    open_ones: list[list[str]] = [[], [], [], []]
    committed: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    start = reader.execute("select coalesce(max(id), 0) from journal").fetchone()
    for n, (step, who) in enumerate(steps):
        if step == "write":
            open_ones[who].append(f"{start} {n}")
            write(writers[who], f"{start} {n}")
        elif step == "commit":
            writers[who].commit()
            committed.update(open_ones[who])
            open_ones[who].clear()
        elif step == "rollback":
            writers[who].rollback()
            open_ones[who].clear()
        else:
            seen.update(read(reader, rows_max))
            assert seen <= committed
    for writer, left in zip(writers, open_ones, strict=True):
        writer.commit()
        committed.update(left)
    while bite := read(reader, rows_max):
        seen.update(bite)
    assert seen == committed


def test_spans_of_one_source_are_merged_when_they_are_near() -> None:
    near = journal._merged([journal.Touch("a", 0, 10), journal.Touch("b", 5, 6), journal.Touch("a", 100, 110)])
    assert near == (journal.Touch("a", 0, 110), journal.Touch("b", 5, 6))
    far = journal._merged([journal.Touch("a", 1e6, 1e6), journal.Touch("a", 0, 10)])
    assert far == (journal.Touch("a", 0, 10), journal.Touch("a", 1e6, 1e6))
