"""One connection to the broker, from CONNECT to its end, in MQTT 5. `mqtt5` reads and writes the packets; the rest is here.

    open ──▶ live ──run──▶ ended: left, lost, half open, or stalled
      └────▶ refused, or away

Everything that touches the socket happens in the thread that calls `open` and `run`. Other threads leave acknowledgements and
receipts, and wake it; nobody waits for a broker that does not read. Bytes come in by the chunk, and all messages of a chunk are cut
out and handed on in one go: a client that waits and reads for each message spends thirty microseconds on it, this one.

Rules kept here:

- An acknowledgement belongs to the connection that its message came over. When that has ended it does nothing: after a reconnect
  the same number may mean another message.
- All acknowledgements of a batch are one write, in the order in which the messages came.
- Of several receipts that wait for one phone the newest goes. When too many wait, the oldest is dropped: its phone sends again, and
  gets another.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum

import mqtt5
import structlog
from msgspec import Struct

from ingest import broker
from ingest.batch import Delivery
from ingest.broker import Broker
from ingest.intake import Intake
from ingest.settings import Settings
from ingest.watch import Due, Watch

ANSWER_TIMEOUT_S = 5.0
"""How long a broker may take to answer CONNECT and SUBSCRIBE."""
LEAVE_TIMEOUT_S = 1.0
"""How long one that we leave may take to read what it is owed."""
CHUNK_BYTES = 65_536
"""Read at once. It bounds what is decoded before anybody else gets a turn: some 400 messages, or 400 fixes of a batch."""
UNSENT_MAX = 1_048_576
"""Bytes that wait for the broker to read, beyond which receipts wait in their place."""
RECEIPTS_MAX = 65_536
MID_MAX = 65_535
"""Of a packet's number, and so of any window."""
SUBSCRIPTION = 1
"""The number of our only SUBSCRIBE."""
PUBLISH = 3
"""The type of a packet that brings a message."""
IDLE_S = 1.0
CUT = getattr(select, "POLLRDHUP", 0)
"""The other side has closed, with or without bytes before that. Where the kernel does not say so, it is seen when all was read."""

log = structlog.get_logger("ingest")


class BrokenProtocol(Exception):  # noqa: N818 - it says what is broken; at fault is the other side.
    """The broker sent what MQTT 5 does not allow."""


class Unreadable(Struct, frozen=True):
    """A message with a text in its head that is not UTF-8. All of its packet is taken for its payload, which makes it a reject."""

    mid: int
    qos: int
    topic: str
    raw: bytes


class Session:
    """See above. `open` and `run` are for one thread; `acknowledge`, `publish`, `take_no_more` and `leave` for any."""

    def __init__(self, settings: Settings, where: Broker, intake: Intake, *, proven: bool) -> None:
        self._settings = settings
        self._where = where
        self._intake = intake
        self.ended = False
        self.refusal: str | None = None
        self.farewell = ""
        """Why it ended, in words. `Session taken over` means that somebody else has our client id."""
        self.fault: Due | None = None
        """What the watch ended it for."""
        self.session_present = False
        """The broker has kept what came while we were away."""
        self._watch = Watch(settings.keepalive_s, settings.pulse_s, time.monotonic(), proven=proven)
        self._pulse_topic = f"{settings.prefix}/ingest/{settings.client_id}/pulse"
        self._subscribed = False
        self._taking = True
        self._leaving = False
        self._lock = threading.Lock()
        # Guarded by the lock: what other threads have left here.
        self._left = bytearray()
        self._receipts: dict[tuple[str, int], bytes] = {}
        self._unacknowledged = 0
        # Of the reading thread alone.
        self._unread = bytearray()
        self._unsent = bytearray()
        self._in_flight: set[int] = set()
        self._window = 1
        self._mid = SUBSCRIPTION
        self._socket: socket.socket | None = None
        self._waker, self._sleeper = socket.socketpair()
        for end in (self._waker, self._sleeper):
            end.setblocking(False)

    # The thread of the connection -----------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Connects and subscribes; returns when that is decided. If it is not live, `refusal` says why."""
        try:
            self._socket = broker.connect(self._where, ANSWER_TIMEOUT_S)
        except OSError as error:
            self.refusal = str(error)
            self._end(self.refusal)
            return False
        self._unsent += self._greeting()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not (self._subscribed or self.ended or self._leaving or self.refusal) and time.monotonic() < deadline:
            self._turn(min(deadline - time.monotonic(), IDLE_S))
        if self._subscribed and self.refusal is None and not self.ended:
            return True
        self.refusal = self.refusal or self.farewell or "no answer to CONNECT in MQTT 5"
        self._end(self.refusal)
        return False

    def run(self) -> None:
        """Lives until the end."""
        while not self.ended and not self._leaving:
            self._turn(IDLE_S)
        deadline = time.monotonic() + LEAVE_TIMEOUT_S
        while not self.ended and self._owes() and time.monotonic() < deadline:
            self._turn(0.05)
        if not self.ended:
            self._unsent += mqtt5.DisconnectPacket().write()
            self._write()
            self._end("left")

    @property
    def proven(self) -> bool:
        """A pulse has come back through this broker."""
        return self._watch.proven

    # Other threads --------------------------------------------------------------------------------------------------------------

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Tells the broker that it may forget these messages. Does nothing on a connection that has ended."""
        packets = b"".join([mqtt5.PubAckPacket(mid).write() for mid in mids])
        with self._lock:
            if self.ended:
                return
            self._left += packets
            self._unacknowledged -= len(mids)
        self.wake()

    def publish(self, receipts: Iterable[tuple[str, int, bytes]]) -> None:
        """Sends (topic, epoch, payload) with QoS 1, in the background, each instead of an older one that still waits."""
        with self._lock:
            for topic, epoch, payload in receipts:
                self._receipts[topic, epoch] = payload
            while len(self._receipts) > RECEIPTS_MAX:
                del self._receipts[next(iter(self._receipts))]
        self.wake()

    def take_no_more(self) -> None:
        """What comes from now on is left unacknowledged, for the broker to deliver to the next session."""
        self._taking = False
        self.wake()

    def leave(self) -> None:
        """Ends the connection after what has been handed over for sending; the broker keeps the session."""
        self._taking = False
        self._leaving = True
        self.wake()

    def wake(self) -> None:
        """There is something to send, or room to read again."""
        # Either it is full of calls that were not answered yet, or it has ended.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    # Turns ----------------------------------------------------------------------------------------------------------------------

    def _turn(self, patience_s: float) -> None:
        """Waits until something can be done, and does it."""
        try:
            self._wait_and_move(patience_s)
        except (OSError, BrokenProtocol) as error:
            self._end(str(error) or type(error).__name__)

    def _wait_and_move(self, patience_s: float) -> None:
        assert self._socket is not None
        now = time.monotonic()
        # Without a subscription nobody keeps anything for us, so its answer is waited for, however full it is here. While we leave,
        # answers are still read, and messages left to the next session.
        reading = not self._subscribed or not self._taking or not self._intake.full
        if not reading or self._unacknowledged > 0:
            self._watch.blind(now)
        self._do_what_is_due(now)
        if self.ended:
            return
        self._collect()
        wait_s = min(patience_s, self._watch.wait_s(now))
        poll = select.poll()
        poll.register(self._sleeper, select.POLLIN)
        # Whether it was cut is asked also where nothing is read: the broker would else count as there until there is room again.
        poll.register(self._socket, (select.POLLIN if reading else CUT) | (select.POLLOUT if self._unsent else 0))
        happened = dict(poll.poll(1000 * wait_s))
        if self._sleeper.fileno() in happened:
            self._sleeper.recv(4096)
        seen = happened.get(self._socket.fileno(), 0)
        if seen & select.POLLOUT:
            self._write()
        if reading and seen & ~select.POLLOUT:
            self._read()
        elif seen & (CUT | select.POLLHUP | select.POLLERR):
            self._end(self.farewell or "the broker closed the connection")

    def _do_what_is_due(self, now: float) -> None:
        if not self._subscribed:
            return
        due = self._watch.due(now)
        if due is Due.PING:
            self._unsent += mqtt5.PingReqPacket().write()
        elif due is Due.PULSE:
            self._publish(self._pulse_topic, b"")
        elif due is Due.UNPROVEN:
            log.warning("The broker does not let our pulse through.", topic=self._pulse_topic, why=due.value)
        elif due is not Due.NOTHING:
            self.fault = due
            self._end(due.value)

    def _collect(self) -> None:
        """Takes over what other threads have left here for sending."""
        with self._lock:
            if self._left:
                self._unsent += self._left
                self._left.clear()
            while self._receipts and len(self._in_flight) < self._window and len(self._unsent) < UNSENT_MAX:
                key = next(iter(self._receipts))
                self._publish(key[0], self._receipts.pop(key))

    def _publish(self, topic: str, payload: bytes) -> None:
        self._mid = self._mid % MID_MAX + 1
        while self._mid in self._in_flight:
            self._mid = self._mid % MID_MAX + 1
        self._in_flight.add(self._mid)
        self._unsent += mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._mid).write()

    def _write(self) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        del self._unsent[:sent]
        self._watch.sent(time.monotonic())

    def _read(self) -> None:
        """Reads one chunk, and with TLS what it has decrypted beyond it, which the next select would not see."""
        assert self._socket is not None
        while True:
            try:
                chunk = self._socket.recv(CHUNK_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not chunk:
                self._end(self.farewell or "the broker closed the connection")
                return
            self._watch.heard(time.monotonic())
            self._unread += chunk
            self._take(self._packets())
            if self.ended or not isinstance(self._socket, ssl.SSLSocket) or not self._socket.pending():
                return

    def _packets(self) -> Iterator[mqtt5.Packet | Unreadable]:
        """Cuts off what is whole. A large packet is looked at again with each chunk of it, which costs nothing."""
        at = 0
        with memoryview(self._unread) as unread:
            while at < len(unread):
                packet: mqtt5.Packet | Unreadable
                try:
                    packet, size = mqtt5.read(unread[at:])
                except IndexError:  # The rest has not come yet.
                    break
                except ValueError as error:
                    raise BrokenProtocol(f"the broker sent what is no MQTT 5: {error}") from error
                except BaseException as error:
                    # So it says that a text is not UTF-8. Brokers hand such messages on, and this one again and again.
                    if type(error).__name__ != "PanicException":
                        raise
                    found = _unreadable(unread[at:])
                    if found is None:
                        break
                    packet, size = found, len(found.raw)
                at += size
                yield packet
        del self._unread[:at]

    def _take(self, arrived: Iterable[mqtt5.Packet | Unreadable]) -> None:
        received_at = time.time()
        deliveries: list[Delivery] = []
        for packet in arrived:
            if isinstance(packet, mqtt5.PublishPacket):
                deliveries.append(Delivery(self, packet.packet_id or 0, int(packet.qos), packet.topic, packet.payload, received_at))
            elif isinstance(packet, Unreadable):
                deliveries.append(Delivery(self, packet.mid, packet.qos, packet.topic, packet.raw, received_at))
            else:
                self._answer(packet)
        if not deliveries or not self._taking:
            return
        self._watch.flowed(time.monotonic())
        if not self._watch.proven:
            self._watch.proven = any(one.topic == self._pulse_topic for one in deliveries)
        with self._lock:
            self._unacknowledged += sum(one.qos for one in deliveries)
        self._intake.receive(deliveries)

    def _answer(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.PubAckPacket):
            self._in_flight.discard(packet.packet_id)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            self._on_connected(packet)
        elif isinstance(packet, mqtt5.SubAckPacket):
            self._in_flight.discard(SUBSCRIPTION)
            # The last filter is that of the pulse, without which we can live.
            refused = [code for code in packet.reason_codes[:-1] if int(code) >= 128]
            if refused:
                self.refusal = f"the subscription was refused: {_words(refused[0])}"
                self._end(self.refusal)
            self._subscribed = True
        elif isinstance(packet, mqtt5.DisconnectPacket):
            self.farewell = _words(packet.reason_code)

    def _on_connected(self, packet: mqtt5.ConnAckPacket) -> None:
        if packet.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
            self.refusal = _words(packet.reason_code)
            return
        self.session_present = packet.session_present
        self._window = packet.receive_max
        if packet.server_keep_alive is not None:
            self._watch = Watch(packet.server_keep_alive, self._settings.pulse_s, time.monotonic(), proven=self._watch.proven)
        self._unsent += mqtt5.SubscribePacket(SUBSCRIPTION, self._filters()).write()
        self._in_flight.add(SUBSCRIPTION)
        # What it has kept for us comes before its answer to that: a whole window, for which there may be no room.
        self._subscribed = packet.session_present

    def _owes(self) -> bool:
        with self._lock:
            return bool(self._left or self._unsent or self._receipts)

    def _end(self, why: str) -> None:
        with self._lock:
            self.ended = True
        self.farewell = self.farewell or why
        if self._socket is not None:
            self._socket.close()
        self._waker.close()
        self._sleeper.close()

    # Beginning ------------------------------------------------------------------------------------------------------------------

    def _greeting(self) -> bytes:
        where, settings = self._where, self._settings
        return mqtt5.ConnectPacket(
            settings.client_id,
            username=where.user,
            password=None if where.password is None else where.password.encode(),
            clean_start=False,
            keep_alive=settings.keepalive_s,
            session_expiry_interval=settings.session_expiry_s,
            receive_max=min(settings.window, MID_MAX),
        ).write()

    def _filters(self) -> list[mqtt5.TopicFilter]:
        """All of our own prefix, so that a misspelt topic becomes a reject that somebody can see, and is not simply never heard."""
        topics = [f"{self._settings.prefix}/#"]
        if self._settings.owntracks_prefix:
            topics.append(f"{self._settings.owntracks_prefix}/#")
        share = f"$share/{self._settings.share}/" if self._settings.share else ""
        # Our own receipts need not come back. A shared subscription may not ask for that.
        return [*(_filter(share + one, no_local=not share) for one in topics), _filter(self._pulse_topic, no_local=False)]


def _filter(pattern: str, *, no_local: bool) -> mqtt5.TopicFilter:
    # Retained messages only when the subscription is new.
    return mqtt5.TopicFilter(
        pattern,
        max_qos=mqtt5.QoS.AT_LEAST_ONCE,
        no_local=no_local,
        retain_as_published=False,
        retain_handling=mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
    )


def _unreadable(unread: memoryview) -> Unreadable | None:
    """Cuts off a PUBLISH by its lengths alone; None while it is not whole."""
    length = behind = 0
    while behind == 0 or unread[behind] >= 128:
        behind += 1
        if behind == len(unread):
            return None
        length |= (unread[behind] & 127) << 7 * (behind - 1)
    raw = bytes(unread[: behind + 1 + length])
    if len(raw) < behind + 1 + length:
        return None
    start = behind + 3
    end = start + int.from_bytes(raw[start - 2 : start], "big")
    qos = raw[0] >> 1 & 3
    if raw[0] >> 4 != PUBLISH or qos > 1 or end + 2 * qos > len(raw):
        raise BrokenProtocol("the broker sent what is no MQTT 5: a text that is not UTF-8")
    mid = int.from_bytes(raw[end : end + 2], "big") if qos else 0
    return Unreadable(mid, qos, raw[start:end].decode("utf-8", "backslashreplace"), raw)


def _words(code: IntEnum) -> str:
    """`Session taken over`, of `SESSION_TAKEN_OVER`."""
    return code.name.replace("_", " ").capitalize()
