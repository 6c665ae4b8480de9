"""A nosy broker: it says to ingest what a test wants, and notes what ingest acknowledges and publishes, over which connection.

Real brokers hide that. With this one a test sees when an acknowledgement was sent, in which order, and for a message of which
connection. It keeps no session and delivers nothing by itself; it speaks MQTT 5, as much of it as ingest uses.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

from msgspec import Struct

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


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
        raw = topic.encode()
        body = len(raw).to_bytes(2, "big") + raw + mid.to_bytes(2, "big") + b"\x00" + payload
        self._newest.sendall(bytes([0x32]) + _varint(len(body)) + body)

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
        with contextlib.suppress(OSError):
            for first, body in _packets(client):
                self._handle(client, number, first, body)

    def _handle(self, client: socket.socket, number: int, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == CONNECT:
            self.clean.append(bool(body[7] & 0x02))
            client.sendall(b"\x20\x03\x00\x00\x00")
        elif kind == SUBSCRIBE:
            filters = _filters(body)
            self._newest = client
            self.subscribed += 1
            client.sendall(b"\x90" + _varint(3 + filters) + body[:2] + b"\x00" + b"\x01" * filters)
        elif kind == PUBACK:
            self.acknowledged.append(Acknowledged(number, int.from_bytes(body[:2], "big")))
        elif kind == PUBLISH:
            length = int.from_bytes(body[:2], "big")
            topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
            if first & 0x06:
                client.sendall(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            size, begin = _read_varint(rest, 0)
            self.said.append(Said(number, topic, rest[begin + size :]))
        elif kind == PINGREQ:
            client.sendall(b"\xd0\x00")


def _packets(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    reading = client.makefile("rb")
    while first := reading.read(1):
        size, shift = 0, 0
        while True:
            [digit] = reading.read(1)
            size |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                break
        yield first[0], reading.read(size)


def _filters(body: bytes) -> int:
    """How many topic filters a SUBSCRIBE asks for."""
    size, at = _read_varint(body, 2)
    at += size
    count = 0
    while at < len(body):
        at += 2 + int.from_bytes(body[at : at + 2], "big") + 1
        count += 1
    return count


def _varint(size: int) -> bytes:
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(digits)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where what follows it begins."""
    size, shift = 0, 0
    while True:
        digit = body[at]
        at += 1
        size |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return size, at
