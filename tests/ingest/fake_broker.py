"""A broker that does what a test tells it to: it speaks MQTT 5 with one client at a time and keeps what it was sent."""

import socket
import threading
from collections.abc import Callable

import mqtt5

AT_LEAST_ONCE = mqtt5.QoS.AT_LEAST_ONCE


class FakeBroker:
    """Answers CONNECT, SUBSCRIBE and PINGREQ, and acknowledges what is published; each of them can be told otherwise."""

    def __init__(self) -> None:
        self.connected = mqtt5.ConnAckPacket(session_present=True)
        """What CONNECT is answered with."""
        self.kept = b""
        """What waited for the client: it comes before the answer to SUBSCRIBE."""
        self.answering = True
        """Pings and publications are answered."""
        self.returns: Callable[[mqtt5.PublishPacket], bool] = lambda _: False
        """Publications that come back to the client, as a subscription would have it."""
        self.connects: list[mqtt5.ConnectPacket] = []
        self.acknowledged: list[list[int]] = []
        """The numbers of the PUBACKs that came, a list for each connection."""
        self.published: list[mqtt5.PublishPacket] = []
        self._client: socket.socket | None = None
        self._returned = 40_000
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def send(self, raw: bytes) -> None:
        """Any bytes to the client."""
        assert self._client is not None
        self._client.sendall(raw)

    def deliver(self, mid: int, topic: str = "sitewatch/v1/workers/w-1/position", payload: bytes = b"{}") -> None:
        self.send(message(mid, topic, payload))

    def cut(self) -> None:
        assert self._client is not None
        self._client.shutdown(socket.SHUT_RDWR)

    def say_no_more(self) -> None:
        """Half of a cut: it would still hear what the client says."""
        assert self._client is not None
        self._client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.acknowledged.append([])
            unread = bytearray()
            try:
                while chunk := client.recv(65_536):
                    unread += chunk
                    self._answer_all(client, unread)
            except OSError:
                continue

    def _answer_all(self, client: socket.socket, unread: bytearray) -> None:
        while unread:
            try:
                packet, size = mqtt5.read(memoryview(bytes(unread)))
            except IndexError:
                return
            del unread[:size]
            self._answer(client, packet)

    def _answer(self, client: socket.socket, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.ConnectPacket):
            self.connects.append(packet)
            self._client = client
            client.sendall(self.connected.write() + self.kept)
        elif isinstance(packet, mqtt5.SubscribePacket):
            codes = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE for _ in packet.topic_filters]
            client.sendall(mqtt5.SubAckPacket(packet.packet_id, codes).write())
        elif isinstance(packet, mqtt5.PubAckPacket):
            self.acknowledged[-1].append(packet.packet_id)
        elif isinstance(packet, mqtt5.PublishPacket):
            self.published.append(packet)
            if self.answering:
                self.acknowledge(packet)
            if self.returns(packet):
                self._returned += 1
                self.deliver(self._returned, packet.topic, packet.payload)
        elif isinstance(packet, mqtt5.PingReqPacket) and self.answering:
            client.sendall(mqtt5.PingRespPacket().write())

    def acknowledge(self, packet: mqtt5.PublishPacket) -> None:
        assert packet.packet_id is not None
        self.send(mqtt5.PubAckPacket(packet.packet_id).write())


def message(mid: int, topic: str, payload: bytes) -> bytes:
    return mqtt5.PublishPacket(topic, payload, qos=AT_LEAST_ONCE, packet_id=mid).write()
