"""The least of MQTT 3.1.1 that a simulated phone needs: QoS 1 both ways, on asyncio, thousands of messages a second.

A client of our own, because the judge should not lean on the library that is under test, and because phones here do what no
library lets them: break off in the middle, send the same number twice, say things again in other words.

    closed ──open──▶ greeting ──CONNACK──▶ open ──lost──▶ closed
"""

import asyncio
from typing import Protocol, cast

from tests.torture import packets
from tests.torture.packets import CONNACK, CONNECT, PUBACK, PUBLISH, QOS_1, SUBACK, SUBSCRIBE

MIDS = 65_535


class Listener(Protocol):
    """Whoever holds the line."""

    def opened(self) -> None: ...
    def acknowledged(self, mid: int) -> None: ...
    def heard(self, topic: str, payload: bytes) -> None: ...
    def lost(self) -> None: ...


class Line(asyncio.Protocol):
    """One connection to the broker. Everything after `lost` is for nothing."""

    def __init__(self, client_id: str, topics: tuple[str, ...], listener: Listener) -> None:
        self._client_id = client_id
        self._topics = topics
        self._listener = listener
        self._got = bytearray()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, client_id: str, topics: tuple[str, ...], listener: Listener) -> "Line":
        """Connects; `opened` is called when the broker has agreed. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: cls(client_id, topics, listener), "127.0.0.1", port)
        return line

    def publish(self, mid: int, topic: str, payload: bytes) -> None:
        self._send(PUBLISH | QOS_1, packets.text(topic) + mid.to_bytes(2, "big") + payload)

    def abort(self) -> None:
        """As when the network goes: nothing that was under way arrives, and nobody says goodbye."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Clean session, no keepalive: who lives is for the test to decide.
        self._send(CONNECT, b"\x00\x04MQTT\x04\x02\x00\x00" + packets.text(self._client_id))

    def data_received(self, data: bytes) -> None:
        self._got += data
        for first, body in packets.take(self._got):
            self._handle(first, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._listener.lost()

    # Helpers ----------------------------------------------------------------------------------------------------------------

    def _handle(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == PUBACK:
            self._listener.acknowledged(int.from_bytes(body[:2], "big"))
        elif kind == PUBLISH:
            topic, mid, payload = packets.published(first, body)
            if mid:
                self._send(PUBACK, mid)
            self._listener.heard(topic, payload)
        elif kind == CONNACK:
            if body[1]:
                self.abort()
            elif self._topics:
                wanted = b"".join(packets.text(topic) + b"\x01" for topic in self._topics)
                self._send(SUBSCRIBE | packets.ASKS, b"\x00\x01" + wanted)
            else:
                self._listener.opened()
        elif kind == SUBACK:
            self._listener.opened()

    def _send(self, first: int, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packets.packet(first, body))
