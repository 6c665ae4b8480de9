"""When a batch is worth a transaction, and when it takes no more."""

import threading
from collections.abc import Sequence

import pytest

from geofence.evidence import Status
from ingest import batch as batches
from ingest.batch import Batch, Delivery, Taken
from ingest.intake import Intake
from ingest.settings import Settings
from ingest.wire import Report

SETTINGS = Settings(rows_max=10, linger_s=0.1, quiet_s=0.01, quiet_rows=5, window=40)


class NoSession:
    def acknowledge(self, mids: Sequence[int]) -> None: ...


def delivery(mid: int, payload: bytes = b"") -> Delivery:
    return Delivery(NoSession(), mid, 1, "t", payload, 100.0 + mid)


def reports(count: int) -> list[Report]:
    return [Report(b"", Status(source="w", at=0, received_at=0, identity=n, state="online")) for n in range(count)]


def filled(*counts: int, at: float = 0.0) -> Batch:
    batch = Batch(SETTINGS)
    for mid, count in enumerate(counts):
        batch.add(delivery(mid), reports(count), at)
    return batch


def test_an_empty_batch_waits_for_nothing() -> None:
    assert Batch(SETTINGS).wait_s(5) is None
    assert Batch(SETTINGS).oldest_at is None
    assert Batch(SETTINGS).take(5).deliveries == []


def test_a_message_after_a_pause_hardly_waits() -> None:
    batch = filled(1)
    assert batch.wait_s(0) == 0.01
    batch.add(delivery(2), reports(1), 0.009)
    assert batch.wait_s(0.01) == 0


def test_a_stream_of_single_messages_makes_few_transactions() -> None:
    batch = filled(1)
    taken_at = 0.01
    assert len(batch.take(taken_at).deliveries) == 1
    for number in range(3):
        batch.add(delivery(number), reports(1), 0.02 + number / 100)
    assert batch.wait_s(0.06) == pytest.approx(taken_at + 0.1 - 0.06)
    assert batch.wait_s(taken_at + 0.1) == pytest.approx(0)


def test_what_is_worth_a_transaction_goes_at_once_and_takes_more_until_it_is_taken() -> None:
    """Others wait in the same batch as the phone that floods."""
    batch = Batch(Settings())
    batch.take(0.0)
    batch.add(delivery(1), reports(batches.WORTH_ROWS - 1), 0.001)
    assert batch.wait_s(0.001) == pytest.approx(0.01)
    batch.add(delivery(2), reports(1), 0.002)
    assert (batch.wait_s(0.002), batch.full) == (0, False)


def test_whoever_waits_is_woken_by_what_is_worth_a_transaction() -> None:
    intake = Intake(Settings(linger_s=600, quiet_s=600, quiet_rows=10**6))
    taken: list[Taken | None] = []

    def wait() -> None:
        while not taken:
            taken.extend(one for one in [intake.wait(60)] if one)

    waiting = threading.Thread(target=wait)
    waiting.start()
    for mid in range(batches.WORTH_ROWS):
        intake.receive([delivery(mid, b"{")])
    waiting.join(30)
    assert [len(one.reports) for one in taken if one] == [batches.WORTH_ROWS]


def test_a_full_batch_goes_at_once_and_takes_no_more() -> None:
    almost, full = filled(1, 8), filled(1, 9)
    assert (almost.wait_s(0), almost.full) == (0.01, False)
    assert (full.wait_s(0), full.full) == (0, True)
    assert filled(300).full


def test_half_the_window_is_a_batch_so_that_the_other_half_can_gather() -> None:
    batch = filled(*[0] * 19)
    assert not batch.full
    batch.add(delivery(20), [], 0)
    assert (batch.wait_s(0), batch.full) == (0, True)


def test_a_few_large_messages_are_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BYTES_MAX", 100)
    batch = filled(1)
    batch.add(delivery(1, b"x" * 99), reports(1), 0)
    assert not batch.full
    batch.add(delivery(2, b"x"), reports(1), 0)
    assert batch.full
    batch.take(0)
    assert not batch.full


def test_when_nothing_more_comes_a_batch_of_some_size_goes_early() -> None:
    batch = filled(4)
    batch.take(0)
    batch.add(delivery(1), reports(4), 0.01)
    assert batch.wait_s(0.05) == pytest.approx(0.05)
    batch.add(delivery(5), reports(1), 0.02)
    assert batch.wait_s(0.03) == pytest.approx(0)


def test_what_is_taken_is_in_the_order_of_arrival_and_gone() -> None:
    batch = filled(1, 0, 2)
    assert (batch.messages, batch.oldest_at) == (3, 100.0)
    taken = batch.take(0)
    assert [one.mid for one in taken.deliveries] == [0, 1, 2]
    assert [one.mid for one, _ in taken.reports] == [0, 2, 2]
    assert taken.ignored == 1
    assert batch.wait_s(1) is None
    assert batch.take(1).reports == []
