"""A phone keeps what it said until a receipt, whatever the network does."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sim import outbox
from device_sim.feed import Feed, Said, empty_track
from device_sim.outbox import RESEND_S, WINDOW, Outbox


def _feed(count: int, *, counted: bool = True, every_s: float = 1.0) -> Feed:
    said = tuple(Said(k * every_s, k * every_s, "t", {"k": k}, counted=counted) for k in range(count))
    numbers = np.arange(1, count + 1) if counted else np.zeros(count, dtype=np.int64)
    order = ~np.arange(count)
    times = np.arange(count, dtype=np.float64) * every_s
    return Feed("w", "t", "", False, empty_track(), said, order, times, numbers, np.full(count, 7 if counted else 0), "w")


def test_nothing_is_said_before_its_time() -> None:
    box = Outbox(_feed(10))
    assert box.due(4.5, 100) == [0, 1, 2, 3, 4]
    assert box.next_at() == 5.0
    assert box.due(4.5, 100) == []


def test_the_brokers_word_is_enough_for_a_device_but_not_for_a_phone() -> None:
    for counted in (True, False):
        box = Outbox(_feed(3, counted=counted))
        fresh = box.due(9, 100)
        box.sent(fresh, 0.0)
        box.acknowledged(fresh)
        assert box.empty is not counted


def test_what_has_no_receipt_is_sent_again_with_growing_patience() -> None:
    box = Outbox(_feed(2))
    box.sent(box.due(9, 100), 0.0)
    assert box.overdue(RESEND_S - 0.1, 100) == []
    assert box.overdue(RESEND_S, 100) == [0, 1]
    box.sent([0, 1], RESEND_S)
    assert box.overdue(2 * RESEND_S, 100) == []
    assert box.overdue(3 * RESEND_S, 100) == [0, 1]
    box.receipt(7, 1)
    assert box.overdue(3 * RESEND_S, 100) == [1]
    assert box.resent == 5


def test_a_receipt_of_another_epoch_confirms_nothing() -> None:
    box = Outbox(_feed(2))
    box.sent(box.due(9, 100), 0.0)
    box.receipt(6, 2)
    assert box.unconfirmed == 2


def test_a_phone_without_receipts_stops_at_its_window() -> None:
    box = Outbox(_feed(3 * WINDOW))
    while fresh := box.due(1e9, 100):
        box.sent(fresh, 0.0)
    assert box.unconfirmed == WINDOW
    assert box.next_at() == float("inf")
    box.receipt(7, 10)
    assert box.due(1e9, 100) == list(range(WINDOW, WINDOW + 10))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120), st.floats(0, 0.6))
def test_every_report_arrives_over_any_network_and_then_the_outbox_is_empty(seed: int, count: int, loss: float) -> None:
    """A network that loses messages, acknowledgements and receipts, and sometimes breaks the connection."""
    rng, box, stored, clock = random.Random(seed), Outbox(_feed(count)), set(), 0.0
    for _ in range(4000):
        clock += 1.0
        sending = [box.due(clock, outbox.WINDOW), box.overdue(clock, outbox.WINDOW)]
        for deliveries in sending:
            box.sent(deliveries, clock)
            arrived = [k for k in deliveries if rng.random() >= loss]
            stored |= {k + 1 for k in arrived}
            if rng.random() < loss / 4:
                box.failed(deliveries)
            else:
                box.acknowledged(arrived)
        through = next(k for k in range(count + 1) if k + 1 not in stored)
        if rng.random() >= loss:
            box.receipt(7, through)
        assert not box.empty or len(stored) == count, "empty before everything was stored"
        if box.empty:
            return
    raise AssertionError("the outbox never became empty")
