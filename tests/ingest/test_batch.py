"""When a batch is worth a transaction."""

from geofence.evidence import Status
from ingest.batch import Batch, Delivery
from ingest.settings import Settings
from ingest.wire import Report

SETTINGS = Settings(rows_max=10, linger_s=0.1, quiet_s=0.01, quiet_rows=5, window=20)


class NoSession:
    def acknowledge(self, mid: int, qos: int) -> None: ...


def delivery(mid: int) -> Delivery:
    return Delivery(NoSession(), mid, 1, "t", b"", 0.0)


def reports(count: int) -> list[Report]:
    return [Report(b"", Status(source="w", at=0, received_at=0, identity=n, state="online")) for n in range(count)]


def filled(*counts: int, at: float = 0.0) -> Batch:
    batch = Batch(SETTINGS)
    for mid, count in enumerate(counts):
        batch.add(delivery(mid), reports(count), at)
    return batch


def test_an_empty_batch_waits_for_nothing() -> None:
    assert Batch(SETTINGS).wait_s(5) is None
    assert Batch(SETTINGS).take().deliveries == []


def test_a_lonely_message_waits_for_company_and_no_longer() -> None:
    batch = filled(1)
    assert batch.wait_s(0) == 0.1
    batch.add(delivery(2), reports(1), 0.09)
    assert batch.wait_s(0.1) == 0


def test_a_full_batch_goes_at_once() -> None:
    assert filled(1, 8).wait_s(0) == 0.01
    assert filled(1, 9).wait_s(0) == 0
    assert filled(300).wait_s(0) == 0


def test_many_messages_that_say_nothing_are_acknowledged_before_the_window_is_full() -> None:
    batch = filled(*[0] * 19)
    assert batch.wait_s(0) == 0.1
    batch.add(delivery(20), [], 0)
    assert batch.wait_s(0) == 0


def test_when_nothing_more_comes_a_batch_of_some_size_goes_early() -> None:
    batch = filled(4)
    batch.add(delivery(5), reports(1), 0.02)
    wait_s = batch.wait_s(0.03)
    assert wait_s is not None
    assert abs(wait_s) < 1e-9


def test_what_is_taken_is_in_the_order_of_arrival_and_gone() -> None:
    batch = filled(1, 0, 2)
    taken = batch.take()
    assert [one.mid for one in taken.deliveries] == [0, 1, 2]
    assert [one.mid for one, _ in taken.reports] == [0, 2, 2]
    assert taken.ignored == 1
    assert batch.wait_s(1) is None
    assert batch.take().reports == []
