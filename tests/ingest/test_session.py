"""One connection to the broker, against a broker that does what it is told: what is read, acknowledged, receipted, and given up."""

import random
import threading
import time
from collections.abc import Iterator

import mqtt5
import pytest

from ingest import watch
from ingest.batch import Delivery
from ingest.broker import parse
from ingest.intake import Intake
from ingest.link import Link
from ingest.session import Session
from ingest.settings import Settings
from store.rejects import Reject
from tests.ingest.fake_broker import FakeBroker, message
from tests.ingest.phone import until

POSITION = "sitewatch/v1/workers/w-1/position"


class Way:
    """A link from the fake broker to an intake that nobody takes from but the test."""

    def __init__(self, broker: FakeBroker, settings: Settings) -> None:
        self.intake = Intake(settings)
        self.link = Link(settings, broker.url, self.intake, random.Random(1))
        self.link.start()

    @property
    def session(self) -> Session:
        assert self.link.session is not None
        return self.link.session

    def taken(self, at_least: int) -> int:
        """Takes batch after batch until there were so many messages, or more; how many."""
        got = 0
        while got < at_least:
            taken = self.intake.wait(0.2)
            self.link.wake()
            got += len(taken.deliveries) if taken else 0
        return got

    def close(self) -> None:
        self.link.close()


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    opened = FakeBroker()
    yield opened
    opened.close()


@pytest.fixture
def way(broker: FakeBroker, request: pytest.FixtureRequest) -> Iterator[Way]:
    """Settings that differ come from the test's parameter."""
    opened = Way(broker, Settings(retry_max_s=0.05, **getattr(request, "param", {})))
    until(lambda: opened.link.session is not None)
    yield opened
    opened.close()


def settings(**changes: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("way", [changes], indirect=True, ids=["set"])


# Beginning ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "kept", "lost"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_session_that_the_broker_has_forgotten_while_we_were_away_counts_as_lost(
    broker: FakeBroker, known: bool, kept: bool, lost: int
) -> None:
    broker.connected = mqtt5.ConnAckPacket(session_present=kept)
    link = Link(Settings(), broker.url, Intake(Settings()), random.Random(1))
    link.start(known=known)
    until(lambda: link.session is not None)
    assert link.history.sessions_lost == lost
    link.close()


# Reading -----------------------------------------------------------------------------------------------------------------------


def test_a_message_may_be_cut_anywhere_and_have_any_size(broker: FakeBroker, way: Way) -> None:
    rng = random.Random(4)
    sent = [(mid, rng.randbytes(rng.choice([0, 1, 90, 130, 300, 20_000]))) for mid in range(1, 200)]
    sent.append((200, rng.randbytes(3_000_000)))
    raw = b"".join(message(mid, POSITION, payload) for mid, payload in sent)
    while raw:
        size = rng.choice([1, 2, 3, 50, 5_000, 70_000])
        broker.send(raw[:size])
        raw = raw[size:]
    until(lambda: way.intake.depth == len(sent))
    taken = way.intake.take()
    assert [(one.mid, one.payload) for one in taken.deliveries] == sent
    assert {(one.topic, one.qos) for one in taken.deliveries} == {(POSITION, 1)}


@settings(rows_max=50)
def test_what_does_not_fit_stays_with_the_broker(broker: FakeBroker, way: Way) -> None:
    raw = b"".join(message(mid, POSITION, b"x" * 1_000) for mid in range(1, 20_001))
    pushing = threading.Thread(target=broker.send, args=(raw,))
    pushing.start()
    until(lambda: way.intake.full)
    time.sleep(0.3)
    held = way.intake.depth
    # One read beyond what is full: the sockets hold the rest, and the broker's window bounds that.
    assert 50 <= held <= 50 + 65_536 // 1_000
    assert pushing.is_alive(), "everything fitted into the sockets, so this proves nothing"
    assert way.taken(20_000) == 20_000
    pushing.join()


def test_what_was_kept_for_us_is_read_only_while_there_is_room(broker: FakeBroker) -> None:
    """A broker hands over a whole window of it before it answers anything: ten thousand outboxes, after a night without us."""
    broker.kept = b"".join(message(mid, POSITION, b"x" * 1_000) for mid in range(1, 20_001))
    way = Way(broker, Settings(rows_max=50))
    until(lambda: way.link.session is not None and way.intake.full)
    time.sleep(0.3)
    assert 50 <= way.intake.depth <= 50 + 65_536 // 1_000
    assert way.taken(20_000) == 20_000
    way.close()


@settings(rows_max=1)
def test_a_cut_is_noticed_while_nothing_is_read(broker: FakeBroker, way: Way) -> None:
    """The database is away for hours, and meanwhile the broker dies: whoever asks should hear that."""
    broker.deliver(1)
    until(lambda: way.intake.full)
    for mid in range(2, 50):  # What lies in the socket does not hide it.
        broker.deliver(mid)
    first = way.session
    broker.say_no_more()
    until(lambda: first.ended)
    until(lambda: way.link.history.connections == 2)
    assert way.intake.depth == 1


def test_what_is_no_mqtt_ends_the_connection_and_the_next_goes_on(broker: FakeBroker, way: Way) -> None:
    first = way.session
    broker.deliver(1)
    until(lambda: way.intake.depth == 1)
    broker.send(b"\x00\x00")
    until(lambda: way.link.history.connections == 2)
    assert "no MQTT 5" in first.farewell
    broker.deliver(1)
    until(lambda: way.intake.depth == 2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # mqtt5 leaves one behind.
@pytest.mark.parametrize(
    ("topic", "properties"),
    [(b"sitewatch/v1/workers/\xff/position", b""), (POSITION.encode(), b"\x03\x00\x01\xff")],
    ids=["topic", "content type"],
)
def test_a_text_that_is_not_utf8_costs_its_message_alone(broker: FakeBroker, way: Way, topic: bytes, properties: bytes) -> None:
    """The broker would deliver it again and again, and nothing behind it would ever come."""
    body = len(topic).to_bytes(2, "big") + topic + b"\x00\x07" + bytes([len(properties)]) + properties + b"{}"
    raw = bytes([0x32, len(body)]) + body
    broker.send(raw[:-1])
    time.sleep(0.1)
    broker.send(raw[-1:] + message(8, POSITION, b"{}"))
    until(lambda: way.intake.depth == 2)
    taken = way.intake.take()
    assert [(one.mid, one.qos) for one in taken.deliveries] == [(7, 1), (8, 1)]
    said = taken.reports[0][1].said
    assert isinstance(said, Reject)
    assert said.payload == raw
    assert way.link.history.connections == 1


# Answering ---------------------------------------------------------------------------------------------------------------------


def test_acknowledgements_go_out_in_the_order_of_arrival(broker: FakeBroker, way: Way) -> None:
    mids = random.Random(2).sample(range(1, 65_536), 3_000)
    broker.send(b"".join(message(mid, POSITION, b"{}") for mid in mids))
    until(lambda: way.intake.depth == len(mids))
    way.session.acknowledge([one.mid for one in way.intake.take().deliveries])
    until(lambda: len(broker.acknowledged[-1]) == len(mids))
    assert broker.acknowledged == [mids]


def test_a_pending_acknowledgement_is_forgotten_with_its_connection(broker: FakeBroker, way: Way) -> None:
    """The same number means another message on the next one."""
    broker.deliver(7, payload=b"old")
    until(lambda: way.intake.depth == 1)
    old = way.intake.take().deliveries[0]
    broker.cut()
    until(lambda: way.link.history.connections == 2)
    broker.deliver(7, payload=b"new")
    until(lambda: way.intake.depth == 1)
    old.session.acknowledge([old.mid])
    time.sleep(0.2)
    assert broker.acknowledged == [[], []]
    new = way.intake.take().deliveries[0]
    new.session.acknowledge([new.mid])
    until(lambda: broker.acknowledged == [[], [7]])


def test_of_receipts_that_wait_the_newest_goes_and_the_brokers_window_is_kept() -> None:
    broker = FakeBroker()
    broker.connected = mqtt5.ConnAckPacket(receive_max=2)
    broker.answering = False
    way = Way(broker, Settings())
    until(lambda: way.link.session is not None)
    topics = [f"t/{number}" for number in range(3)]
    for through in range(10):
        way.session.publish([(topic, 0, str(through).encode()) for topic in topics])
    time.sleep(0.3)
    unanswered = list(broker.published)
    assert len(unanswered) == 2
    broker.answering = True
    for one in unanswered:
        broker.acknowledge(one)
    until(lambda: {(one.topic, one.payload) for one in broker.published} >= {(topic, b"9") for topic in topics})
    assert len(broker.published) <= 6, "an old receipt went where a newer one waited"
    assert len({one.packet_id for one in broker.published}) == len(broker.published)
    way.close()
    broker.close()


def test_a_connection_becomes_live_however_full_the_intake_is(broker: FakeBroker) -> None:
    """Else nobody subscribes while the database is away, and a broker that has forgotten us throws away what comes."""
    wanted = Settings(rows_max=1)
    intake = Intake(wanted)
    before = Session(wanted, parse(broker.url), intake, proven=False)
    intake.receive([Delivery(before, 1, 1, POSITION, b"no JSON", time.time())])
    after = Session(wanted, parse(broker.url), intake, proven=False)
    assert intake.full
    assert after.open(), after.refusal
    after.leave()
    after.run()


# The watch ---------------------------------------------------------------------------------------------------------------------


@settings(pulse_s=0.1)
def test_a_subscription_that_stalls_while_the_broker_answers_is_made_anew(broker: FakeBroker, way: Way) -> None:
    def acknowledged_and(enough: int) -> bool:
        way.session.acknowledge([one.mid for one in way.intake.take().deliveries])
        return len(broker.published) >= enough

    broker.returns = lambda packet: packet.topic.endswith("/pulse")
    until(lambda: acknowledged_and(3))
    assert way.link.history.connections == 1
    broker.returns = lambda _: False
    time.sleep(0.05)
    assert acknowledged_and(3)
    until(lambda: way.link.history.stalls == 1)
    until(lambda: way.link.history.connections == 2)
    broker.returns = lambda packet: packet.topic.endswith("/pulse")
    stalls = way.link.history.stalls
    time.sleep(0.6)
    assert way.link.history.stalls == stalls


@settings(pulse_s=0.1)
def test_a_broker_that_does_not_return_pulses_is_left_alone(broker: FakeBroker, way: Way) -> None:
    until(lambda: len(broker.published) == watch.PULSES)
    time.sleep(0.6)
    assert len(broker.published) == watch.PULSES
    assert (way.link.history.stalls, way.link.history.connections) == (0, 1)


@settings(pulse_s=0.1, rows_max=1)
def test_who_does_not_read_cannot_say_that_nothing_comes(broker: FakeBroker, way: Way) -> None:
    """While the database is away nothing is read, for half an hour if need be."""
    broker.returns = lambda packet: packet.topic.endswith("/pulse")
    until(lambda: len(broker.published) >= 1)
    broker.deliver(1, payload=b"no JSON")
    until(lambda: way.intake.full)
    broker.returns = lambda _: False
    time.sleep(1.0)
    assert (way.link.history.stalls, way.link.history.connections) == (0, 1)


@settings(pulse_s=0.1)
def test_who_owes_acknowledgements_cannot_say_that_nothing_comes(broker: FakeBroker, way: Way) -> None:
    """The broker may have a limit of its own to what it sends before them, and does not tell it."""
    broker.returns = lambda packet: packet.topic.endswith("/pulse")
    until(lambda: way.intake.depth >= 1)
    broker.returns = lambda _: False
    time.sleep(1.0)
    assert (way.link.history.stalls, way.link.history.connections) == (0, 1)


@settings(keepalive_s=1)
def test_a_half_open_connection_is_noticed_and_made_anew(broker: FakeBroker, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ANSWER_S", 0.3)
    time.sleep(1.2)
    assert way.link.history.connections == 1
    broker.answering = False
    until(lambda: way.link.history.half_open == 1)
    until(lambda: way.link.history.connections == 2)


# The session at the broker -----------------------------------------------------------------------------------------------------


def test_a_broker_that_has_forgotten_us_is_counted(broker: FakeBroker, way: Way) -> None:
    assert broker.connects[0].clean_start is False
    broker.cut()
    until(lambda: way.link.history.connections == 2)
    assert way.link.history.sessions_lost == 0
    broker.connected = mqtt5.ConnAckPacket(session_present=False)
    broker.cut()
    until(lambda: way.link.history.connections == 3)
    assert way.link.history.sessions_lost == 1


def test_a_broker_that_refuses_is_asked_again() -> None:
    broker = FakeBroker()
    broker.connected = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED)
    way = Way(broker, Settings(retry_max_s=0.05))
    until(lambda: len(broker.connects) >= 3)
    assert way.link.session is None
    broker.connected = mqtt5.ConnAckPacket()
    until(lambda: way.link.session is not None)
    way.close()
    broker.close()


def test_the_broker_says_why_it_ends_a_connection(broker: FakeBroker, way: Way) -> None:
    first = way.session
    broker.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write())
    broker.cut()
    until(lambda: way.link.history.connections == 2)
    assert first.farewell == "Session taken over"


def test_a_mistake_of_ours_on_the_links_side_ends_both(way: Way, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise AssertionError("ours")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(way.intake, "receive", fail)
    broker.deliver(1)
    until(lambda: way.link.broken is not None)
