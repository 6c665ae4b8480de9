"""The embedded broker does what ingest and phones rely on, for MQTT 3.1.1 and MQTT 5 on one port."""

import socket
import threading
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sitewatch import iotcore_broker
from tests.fix_broker import RunningBroker

VERSIONS = [paho.MQTTv311, paho.MQTTv5]
TIMEOUT_S = 5.0


class Client:
    """A connected client that remembers what it got."""

    def __init__(self, broker: RunningBroker, version: int, name: str, *, clean: bool = True, will: str | None = None) -> None:
        self.got: list[tuple[str, bytes, bool]] = []
        self._came = threading.Condition()
        self._connected, self._subscribed = threading.Event(), threading.Event()
        session: dict[str, Any] = {"clean_session": clean} if version == paho.MQTTv311 else {}
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion(version), **session)
        self.paho.on_message = self._message
        self.paho.on_connect = lambda *_: self._connected.set()
        self.paho.on_subscribe = lambda *_: self._subscribed.set()
        if will:
            self.paho.will_set(will, b"gone", 1, retain=True)
        properties = Properties(PacketTypes.CONNECT) if version == paho.MQTTv5 else None  # type: ignore[no-untyped-call]
        if properties is not None and not clean:
            properties.SessionExpiryInterval = 600
        start: dict[str, Any] = {"clean_start": clean, "properties": properties} if version == paho.MQTTv5 else {}
        self.paho.connect(broker.host, broker.port, **start)
        self.paho.loop_start()
        assert self._connected.wait(TIMEOUT_S)

    def subscribe(self, topic: str) -> None:
        self.paho.subscribe(topic, 1)
        assert self._subscribed.wait(TIMEOUT_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        sent = self.paho.publish(topic, payload, 1, retain)
        sent.wait_for_publish(TIMEOUT_S)
        assert sent.is_published()

    def wait(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= count, TIMEOUT_S), self.got

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self) -> None:
        """As a phone does that loses its network: without DISCONNECT."""
        self.paho.loop_stop()
        connection = self.paho.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)

    def _message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._came:
            self.got.append((message.topic, bytes(message.payload), bool(message.retain)))
            self._came.notify_all()


@pytest.mark.parametrize("version", VERSIONS)
def test_either_version_is_heard_by_both_on_the_same_port(iotcore: RunningBroker, version: int) -> None:
    readers = [Client(iotcore, other, f"reader-{other}") for other in VERSIONS]
    for reader in readers:
        reader.subscribe("a/#")
    sender = Client(iotcore, version, "sender")
    payload = b"x" * 256_000
    sender.publish("a/b", payload)
    for reader in readers:
        reader.wait(1)
        assert reader.got == [("a/b", payload, False)]
    for client in [*readers, sender]:
        client.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_retained_message_and_a_last_will_reach_who_comes_later(iotcore: RunningBroker, version: int) -> None:
    sender = Client(iotcore, version, "sender", will="s/will")
    sender.publish("s/state", b"here", retain=True)
    watcher = Client(iotcore, version, "watcher")
    watcher.subscribe("s/will")
    sender.vanish()
    watcher.wait(1)
    later = Client(iotcore, version, "later")
    later.subscribe("s/#")
    later.wait(2)
    assert sorted(later.got) == [("s/state", b"here", True), ("s/will", b"gone", True)]
    watcher.close()
    later.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_keeps_what_came_while_its_client_was_away(iotcore: RunningBroker, version: int) -> None:
    reader = Client(iotcore, version, "reader", clean=False)
    reader.subscribe("a/#")
    reader.close()
    sender = Client(iotcore, version, "sender")
    for number in range(50):
        sender.publish("a/b", str(number).encode())
    reader = Client(iotcore, version, "reader", clean=False)
    reader.wait(50)
    assert [payload for _, payload, _ in reader.got] == [str(number).encode() for number in range(50)]
    reader.close()
    sender.close()


def test_what_is_no_mqtt_is_turned_away_and_harms_nobody(iotcore: RunningBroker) -> None:
    with socket.create_connection((iotcore.host, iotcore.port), TIMEOUT_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.settimeout(TIMEOUT_S)
        assert connection.recv(100) == b""
    Client(iotcore, paho.MQTTv311, "after").close()


@given(st.sampled_from([(b"MQIsdp", 3), (b"MQTT", 4), (b"MQTT", 5)]), st.integers(0, 200_000), st.integers(0, 14))
def test_the_version_is_read_from_any_beginning_that_holds_it(version: tuple[bytes, int], size: int, cut: int) -> None:
    name, level = version
    length = size + 12
    packet = b"\x10"
    while length > 127:
        packet += bytes([length % 128 | 128])
        length //= 128
    packet += bytes([length]) + len(name).to_bytes(2, "big") + name + bytes([level])
    assert iotcore_broker.protocol_level(packet + b"rest") == level
    assert iotcore_broker.protocol_level(packet[: min(cut, len(packet) - 1)]) is None


@given(st.binary(max_size=40))
def test_no_beginning_makes_the_reader_of_versions_fail(beginning: bytes) -> None:
    level = iotcore_broker.protocol_level(beginning)
    assert level is None or 0 <= level <= 255
