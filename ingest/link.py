"""The link to the broker: one session after the other, and every message of it into the inbox.

    away ──connect, MQTT 5──▶ subscribed ──lost──▶ away, after a pause that grows and is jittered
      └──closed without an answer──▶ the same with MQTT 3.1.1, which is what some embedded brokers speak

Rules kept here:

- Each connection is a `Session` with a client of its own. An acknowledgement goes to the session that its message came over, so
  those of a lost one end with it: after a reconnect the same number may mean another message.
- The client id is fixed and the session is kept by the broker, so that what arrives while we are away waits for us there.
- Nothing is acknowledged here, and nothing is discarded: the broker's window of unacknowledged messages is the back-pressure.
  Messages of QoS 0 have no window; they wait in the socket when the inbox is full."""

import random
import threading
import time
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from msgspec import Struct
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ingest.batch import Delivery
from ingest.settings import Settings

ANSWER_TIMEOUT_S = 5.0
"""How long a broker may take to answer CONNECT and SUBSCRIBE."""
SHORT_S = 5.0
"""A session that lasted no longer than this counts as a failure for the pause before the next."""
RECEIPTS_QUEUED_MAX = 65_536
"""Receipts that wait for a slow broker. One that finds no room is dropped: the phone sends again and gets another."""

log = structlog.get_logger("ingest")

Inbox = SimpleQueue[Delivery | None]
"""What has come and was not looked at yet. None says only: look around."""


class Broker(Struct, frozen=True):
    """Where the broker is, and as whom we come."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool


class Opened(Enum):
    """What became of an attempt."""

    LIVE = "live"
    AWAY = "away"
    OTHER_PROTOCOL = "it does not speak this version of MQTT"
    REFUSED = "refused"


def parse(url: str) -> Broker:
    """A broker's URL: `mqtt://[user:password@]host[:port]`, or `mqtts://` for TLS."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"not the URL of a broker: {url!r}; it looks like mqtt://user:password@host:1883")
    tls = parts.scheme == "mqtts"
    return Broker(
        host=parts.hostname,
        port=parts.port or (8883 if tls else 1883),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )


class Session:
    """One connection to the broker, from CONNECT to its end."""

    def __init__(self, settings: Settings, broker: Broker, protocol: MQTTProtocolVersion, receive: Callable[[Delivery], None]):
        self._settings = settings
        self._broker = broker
        self._receive = receive
        self._answered = threading.Event()
        self.ended = threading.Event()
        self.protocol = protocol
        self.refusal: str | None = None
        self.farewell = ""
        """Why it ended, in the broker's words or paho's. `Session taken over` means that somebody else has our client id."""
        self._greeted = False
        self._client = self._make_client()

    def open(self) -> Opened:
        """Connects and subscribes; returns when that is decided."""
        five = self.protocol is MQTTProtocolVersion.MQTTv5
        host, port, keepalive_s = self._broker.host, self._broker.port, self._settings.keepalive_s
        try:
            if five:
                self._client.connect(host, port, keepalive_s, clean_start=False, properties=self._connect_properties())
            else:
                self._client.connect(host, port, keepalive_s)
        except OSError as error:
            self.refusal = str(error)
            return Opened.AWAY
        self._client.loop_start()
        answered = self._answered.wait(ANSWER_TIMEOUT_S)
        if answered and self.refusal is None and not self.ended.is_set():
            return Opened.LIVE
        self.close()
        if five and not self._greeted:
            return Opened.OTHER_PROTOCOL
        self.refusal = self.refusal or "no answer"
        return Opened.REFUSED

    def acknowledge(self, mid: int, qos: int) -> None:
        """Tells the broker that it may forget a message. Does nothing on a session that has ended."""
        if qos and not self.ended.is_set():
            self._client.ack(mid, qos)

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends with QoS 1, in the background."""
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Ends the connection after what has been handed over for sending; the broker keeps the session."""
        self._client.disconnect()
        self._client.loop_stop()
        self.ended.set()

    def _make_client(self) -> Client:
        five = self.protocol is MQTTProtocolVersion.MQTTv5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            clean_session=None if five else False,
            protocol=self.protocol,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_queued_messages_set(RECEIPTS_QUEUED_MAX)
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls:
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = min(self._settings.window, 65_535)
        return properties

    def _filters(self) -> list[str]:
        """All of our own prefix, so that a misspelt topic becomes a reject that somebody can see, and is not simply never heard."""
        filters = [f"{self._settings.prefix}/#"]
        if self._settings.owntracks_prefix:
            filters.append(f"{self._settings.owntracks_prefix}/#")
        share = f"$share/{self._settings.share}/" if self._settings.share else ""
        return [share + one for one in filters]

    def _on_connect(self, client: Client, _: Any, __: Any, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            # A broker that knows only 3.1.1 may say so, and may as well close without a word.
            self._greeted = str(code) != "Unsupported protocol version"
            self.refusal = str(code)
            self._answered.set()
            return
        self._greeted = True
        if self.protocol is MQTTProtocolVersion.MQTTv5:
            # Our own receipts need not come back, and retained messages only when the subscription is new. A shared subscription
            # may not ask for the former.
            options = SubscribeOptions(
                qos=1, noLocal=not self._settings.share, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            )
            client.subscribe([(one, options) for one in self._filters()])
        else:
            client.subscribe([(one, 1) for one in self._filters()])

    def _on_subscribe(self, _: Client, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            self.refusal = f"the subscription was refused: {refused[0]}"
        self._answered.set()

    def _on_disconnect(self, _: Client, __: Any, ___: Any, code: ReasonCode, ____: Any) -> None:
        self.farewell = str(code)
        self.ended.set()
        self._answered.set()

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = repr(message._topic)  # There is no public way to the bytes of a topic that is not UTF-8.
        self._receive(Delivery(self, message.mid, message.qos, topic, bytes(message.payload), time.time()))


class Link:
    """Keeps a session up in a thread of its own until it is told to stop."""

    def __init__(self, settings: Settings, url: str, inbox: Inbox, jitter: random.Random) -> None:
        self._settings = settings
        self._broker = parse(url)
        self._inbox = inbox
        self._inbox_max = 2 * settings.window
        self._jitter = jitter
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="link", daemon=True)
        self.session: Session | None = None
        """The session that is live, if there is one."""

    def start(self) -> None:
        self._thread.start()

    def take_no_more(self) -> None:
        """What comes from now on is left unacknowledged, for the broker to deliver to the next session."""
        self._stopping.set()

    def close(self) -> None:
        """Sends what has been handed over and ends the session."""
        self._stopping.set()
        session = self.session
        if session is not None:
            session.close()
        self._thread.join(ANSWER_TIMEOUT_S)

    def _keep(self) -> None:
        protocol = MQTTProtocolVersion.MQTTv5
        failures = 0
        while not self._stopping.is_set():
            session = Session(self._settings, self._broker, protocol, self._receive)
            opened = session.open()
            if opened is Opened.OTHER_PROTOCOL:
                protocol = MQTTProtocolVersion.MQTTv311
                continue
            lasted_s = self._hold(session) if opened is Opened.LIVE else 0.0
            if opened is not Opened.LIVE and failures == 0:
                log.warning("The broker does not answer, trying on.", broker=self._broker.host, why=session.refusal)
            # Two that share a client id by mistake throw each other out: without a growing pause they would do nothing else.
            failures = 0 if lasted_s > SHORT_S else failures + 1
            protocol = MQTTProtocolVersion.MQTTv5
            self._stopping.wait(pause_s(failures, self._settings.retry_max_s, self._jitter))

    def _hold(self, session: Session) -> float:
        """Lets a session live, and returns how many seconds it did."""
        began = time.monotonic()
        self.session = session
        log.info("Subscribed.", broker=self._broker.host, port=self._broker.port, protocol=session.protocol.name)
        session.ended.wait()
        self.session = None
        if not self._stopping.is_set():
            log.warning("Lost the broker, connecting again.", broker=self._broker.host, why=session.farewell)
        return time.monotonic() - began

    def _receive(self, delivery: Delivery) -> None:
        while self._inbox.qsize() >= self._inbox_max and not self._stopping.is_set():
            time.sleep(0.005)
        if not self._stopping.is_set():
            self._inbox.put(delivery)


def pause_s(failures: int, cap_s: float, jitter: random.Random) -> float:
    """How long to wait after so many failures in a row: doubling up to the cap, and never the same for two programs."""
    return min(cap_s, 0.1 * 2.0 ** min(failures, 16)) * jitter.uniform(0.5, 1.0)
