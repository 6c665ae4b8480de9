"""A nosy broker: it says to ingest what a test wants, and notes what ingest acknowledges and publishes, over which connection.

Real brokers hide that. With this one a test sees when an acknowledgement was sent, in which order, and for a message of which
connection. It keeps no session and delivers nothing by itself; it speaks MQTT 5, as much of it as ingest uses.
"""

import contextlib
import socket
import threading

from msgspec import Struct

from tests.torture import packets
from tests.torture.packets import CONNACK, CONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, QOS_1, SUBACK, SUBSCRIBE


class Acknowledged(Struct, frozen=True):
    """A PUBACK: over the n-th connection, for the message of this number."""

    connection: int
    mid: int


class Said(Struct, frozen=True):
    """What ingest published: a receipt."""

    connection: int
    topic: str
    payload: bytes


class NosyBroker:
    """Listens on a port of its own. Connections are counted from 1; the newest is the one that is talked to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self.acknowledged: list[Acknowledged] = []
        self.said: list[Said] = []
        self.subscribed = 0
        """How many connections have subscribed so far."""
        self.clean: list[bool] = []
        """Of each connection, whether it asked for a clean start."""
        self._newest: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def publish(self, mid: int, topic: str, payload: bytes) -> None:
        """Delivers one message with QoS 1 over the newest connection."""
        assert self._newest is not None
        body = packets.text(topic) + mid.to_bytes(2, "big") + b"\x00" + payload
        self._newest.sendall(packets.packet(PUBLISH | QOS_1, body))

    def mids(self, connection: int) -> list[int]:
        """What was acknowledged over a connection, in order."""
        return [one.mid for one in self.acknowledged if one.connection == connection]

    def drop(self) -> None:
        """Ends the newest connection without a word."""
        if self._newest is not None:
            with contextlib.suppress(OSError):
                self._newest.shutdown(socket.SHUT_RDWR)
            self._newest = None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                number += 1
                threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        unread = bytearray()
        with contextlib.suppress(OSError):
            while chunk := client.recv(65_536):
                unread += chunk
                for first, body in packets.take(unread):
                    self._handle(client, number, first, body)

    def _handle(self, client: socket.socket, number: int, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == CONNECT:
            self.clean.append(bool(body[7] & 0x02))
            client.sendall(packets.packet(CONNACK, b"\x00\x00\x00"))
        elif kind == SUBSCRIBE:
            answer = body[:2] + b"\x00" + b"\x01" * _filters(body)
            self._newest = client
            self.subscribed += 1
            client.sendall(packets.packet(SUBACK, answer))
        elif kind == PUBACK:
            self.acknowledged.append(Acknowledged(number, int.from_bytes(body[:2], "big")))
        elif kind == PUBLISH:
            topic, mid, rest = packets.published(first, body)
            if mid:
                client.sendall(packets.packet(PUBACK, mid))
            self.said.append(Said(number, topic, rest[_skipped(rest, 0) :]))
        elif kind == PINGREQ:
            client.sendall(packets.packet(PINGRESP, b""))


def _filters(body: bytes) -> int:
    """How many topic filters a SUBSCRIBE asks for."""
    at, count = _skipped(body, 2), 0
    while at < len(body):
        at += 2 + int.from_bytes(body[at : at + 2], "big") + 1
        count += 1
    return count


def _skipped(body: bytes, at: int) -> int:
    """Where the properties that begin at `at` are over."""
    length = packets.read_number(body, at)
    assert length is not None
    size, begin = length
    return begin + size
