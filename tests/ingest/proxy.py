"""A TCP proxy that a test can cut: between ingest and a broker or a database, with what goes wrong decided by a rule."""

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

Rule = Callable[[bytes], bool]


class Proxy:
    """Carries bytes to `port` on loopback. Closed, it refuses connections; `cut` drops those that there are."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.swallow_answer_to: Rule = lambda _: False
        """Bytes from the client after which the connection is cut instead of an answer: they do reach the server."""
        self.refuse: Rule = lambda _: False
        """Bytes from the client that end the connection before they reach the server."""
        self.hold: Rule = lambda _: False
        """Bytes from the client that wait for `release` before they go on; what was sent before them arrives."""
        self.flowing = threading.Event()
        """Cleared, the connections stay open and nothing comes through, as in a tunnel."""
        self.flowing.set()
        self.slicing = False
        """Everything comes through in small pieces, each a segment of its own."""
        self.swallowed = 0
        self.refused = 0
        self.held = 0
        self._released = threading.Event()
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """As if the other side were away: nothing connects any more, and nobody stays connected."""
        assert self._listener is not None
        # A blocked accept keeps the port listening until it is woken.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def release(self) -> None:
        """Lets go what was held back, and holds nothing any more."""
        self.hold = lambda _: False
        self._released.set()
        self._released = threading.Event()

    def freeze(self) -> None:
        """Nothing comes through the connections that there are, ever again, and they stay open. New ones flow."""
        frozen, self.flowing = self.flowing, threading.Event()
        self.flowing.set()
        frozen.clear()

    def cut(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._forward, args=(*ends, self.flowing), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, from_client: bool, flowing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                if from_client and self.refuse(content):
                    self.refused += 1
                    break
                if from_client and self.hold(content):
                    released = self._released
                    self.held += 1
                    released.wait()
                if from_client and self.swallow_answer_to(content):
                    self.swallowed += 1
                    # The way back is closed first, so that no answer can slip through.
                    source.shutdown(socket.SHUT_WR)
                    target.sendall(content)
                    target.recv(1)
                    break
                flowing.wait()
                for piece in _pieces(content) if self.slicing else (content,):
                    target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _pieces(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        size = random.randint(1, 97)
        yield content[at : at + size]
        at += size
