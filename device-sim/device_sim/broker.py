"""Broker: where it is, how to connect to it, and the radio between it and a phone, which can fail."""

import asyncio
import ssl
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import aiomqtt
import msgspec

KEEPALIVE_S = 60
TIMEOUT_S = 30.0
CALLS_MAX = 4000
"""Publishes on their way on one connection before the client's library thinks that it should warn."""


class Broker(msgspec.Struct, frozen=True):
    """Where the broker is, from `mqtt://user:password@host:port`."""

    host: str
    port: int
    username: str | None
    password: str | None
    secure: bool

    @classmethod
    def parse(cls, url: str) -> "Broker":
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts", "tcp") or not parts.hostname:
            raise ValueError(f"{url!r} is not an MQTT URL such as mqtt://localhost:1883")
        secure = parts.scheme == "mqtts"
        user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
        return cls(parts.hostname, parts.port or (8883 if secure else 1883), user, password, secure)

    def client(self, identifier: str, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
        """A client of MQTT 3.1.1, which every broker speaks."""
        client = aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            will=will,
            protocol=aiomqtt.ProtocolVersion.V311,
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            max_inflight_messages=100,
            tls_context=ssl.create_default_context() if self.secure else None,
        )
        client.pending_calls_threshold = CALLS_MAX
        return client


class Radio:
    """The air between one phone and the broker: a relay that can be cut, so that the broker hears no goodbye."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.near = msgspec.structs.replace(self._broker, host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Drop everything at once, as a phone without battery does."""
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(self._broker.host, self._broker.port)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))
        except OSError:
            writer.transport.abort()  # No broker: the phone notices that its connection is gone.
        except asyncio.CancelledError:
            # Only the end of the program cancels this. The streams' own callback takes a cancelled task for an accident.
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
