"""What a receipt promises: never more than is stored, and in the end all of it."""

from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import sequences


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def through(connection: psycopg.Connection, *seqs: int, source: str = "w-1", epoch: int = 0) -> int:
    (receipt,) = sequences.extend(connection, [(source, epoch, seq) for seq in seqs])
    assert (receipt.source, receipt.epoch) == (source, epoch)
    return receipt.through


def test_a_receipt_goes_as_far_as_nothing_is_missing(connection: psycopg.Connection) -> None:
    assert through(connection, 1, 2, 3) == 3
    assert through(connection, 6, 5) == 3
    assert through(connection, 4) == 6
    assert through(connection, 2) == 6


def test_without_the_first_there_is_nothing_to_promise(connection: psycopg.Connection) -> None:
    assert through(connection, 2, 3) == 0
    assert through(connection, 1) == 3


def test_counters_of_other_phones_and_epochs_are_apart(connection: psycopg.Connection) -> None:
    through(connection, 1, 2, 3)
    assert through(connection, 2, epoch=1) == 0
    assert through(connection, 1, source="w-2") == 1


def test_several_counters_at_once_give_a_receipt_each(connection: psycopg.Connection) -> None:
    receipts = sequences.extend(connection, [("b", 0, 1), ("a", 0, 1), ("b", 0, 2), ("a", 5, 1)])
    assert [(one.source, one.epoch, one.through) for one in receipts] == [("a", 0, 1), ("a", 5, 1), ("b", 0, 2)]
    assert sequences.extend(connection, []) == []


def test_the_highest_numbers_fit(connection: psycopg.Connection) -> None:
    assert through(connection, 2**53, 2**53 - 1) == 0


def test_a_phone_with_holes_without_end_keeps_a_small_row_and_is_never_promised_too_much(connection: psycopg.Connection) -> None:
    odd = range(1, 4 * sequences.RANGES_MAX, 2)
    assert through(connection, *odd) == 1
    assert through(connection, 4 * sequences.RANGES_MAX + 1) == 1
    (ranges,) = connection.execute("select count(*) from sequences, unnest(seen)").fetchone() or (0,)
    assert ranges <= 2 * sequences.RANGES_MAX
    through(connection, 4 * sequences.RANGES_MAX + 3)
    (ranges,) = connection.execute("select count(*) from sequences, unnest(seen)").fetchone() or (0,)
    assert ranges <= sequences.RANGES_MAX
    # Sent again, everything is promised in the end.
    assert through(connection, *range(1, 4 * sequences.RANGES_MAX)) >= 4 * sequences.RANGES_MAX - 1


@settings(deadline=None)
@given(st.sets(st.integers(1, 60)))
def test_runs_are_the_ranges_of_consecutive_numbers(seqs: set[int]) -> None:
    ranges = sequences.runs(seqs)
    assert [number for low, high in ranges for number in range(low, high)] == sorted(seqs)
    assert all(one[1] < other[0] for one, other in pairwise(ranges))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=6))
def test_any_order_of_arrival_promises_what_counting_by_hand_does(database: str, batches: list[list[int]]) -> None:
    with psycopg.connect(database) as connection:
        seen: set[int] = set()
        for batch in batches:
            seen.update(batch)
            expected = next(number for number in range(1, 40) if number not in seen) - 1
            assert through(connection, *batch) == expected
        connection.rollback()
