"""The embedded broker as a program of its own: `python -P -m sitewatch.iotcore_broker PORT`.

iotcore (rumqttd in a wheel) has one listener for MQTT 3.1.1 and another for MQTT 5, each on its own port. Clients must not
need to know: this program listens on the advertised port, reads the version in the first packet of a connection, and
carries the bytes to and from the right listener. It looks at nothing else.

What iotcore 0.4.0 does, as tried (tests/up/test_iotcore.py has what we rely on):

- retained messages and last wills work, for both versions and across them, also a will for a silent client;
- a session that was not clean keeps what comes while its client is away, with 3.1.1 too;
- nothing is on disk: after a restart of the broker, sessions, retained messages and what was not delivered are gone;
- a shared subscription on a session that is not clean can kill its router; ingest uses a plain one on this broker.
"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from iotcore.iotcore import IotCoreBroker

from sitewatch.broker import PACKET_BYTES_MAX
from sitewatch.postgres import free_port

HOST = "127.0.0.1"
MQTT_5 = 5
# 3 is MQTT 3.1, 4 is 3.1.1.
VERSIONS = (3, 4, MQTT_5)
# How long a new connection may stay silent.
FIRST_PACKET_TIMEOUT_S = 10.0
# The longest beginning of a CONNECT: type, length (up to 4), name length (2), name "MQIsdp" (6), level.
BEGINNING_BYTES_MAX = 14


def main() -> None:
    """Serves until it is killed: the library has no other way to end."""
    # rumqttd reports every packet as an error record.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    plain, five = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rumqttd.toml"
        file.write_text(configuration(plain, five))
        IotCoreBroker(config_path=str(file)).start()
    asyncio.run(_serve(int(sys.argv[1]), plain, five))


def configuration(plain: int, five: int) -> str:
    """rumqttd's TOML with a listener for MQTT 3.1.1 and one for MQTT 5."""
    listeners = "".join(
        f"""
[{version}.1]
name = "{version}"
listen = "{HOST}:{port}"
next_connection_delay_ms = 1
[{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = {PACKET_BYTES_MAX}
max_inflight_count = 500
dynamic_filters = true
"""
        for version, port in (("v4", plain), ("v5", five))
    )
    return f"""id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 500
max_segment_size = 104857600
max_segment_count = 10
{listeners}"""


def protocol_level(beginning: bytes) -> int | None:
    """The version in a CONNECT packet: 3, 4 or 5; None while it is not there yet, 0 for what is no CONNECT."""
    if beginning and beginning[0] != 0x10:
        return 0
    at = 1
    while at < len(beginning) and beginning[at] & 0x80 and at < 4:
        at += 1
    name = at + 1
    if len(beginning) < name + 2:
        return None
    level = name + 2 + int.from_bytes(beginning[name : name + 2], "big")
    if level >= BEGINNING_BYTES_MAX:
        return 0
    return beginning[level] if len(beginning) > level else None


class _End(asyncio.Protocol):
    """One end of a carried connection. What it receives goes to the other; a slow reader slows the writer down."""

    def __init__(self, other: "_End | None" = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _reason: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Client(_End):
    """The client's end, which begins alone: the other is chosen by its first packet."""

    def __init__(self, plain: int, five: int) -> None:
        super().__init__()
        self._ports = plain, five
        self._beginning = b""
        self._loop = asyncio.get_running_loop()
        self._patience: asyncio.TimerHandle | None = None
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._patience = self._loop.call_later(FIRST_PACKET_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        self._beginning += data
        level = protocol_level(self._beginning)
        if level is None or self._joining is not None:
            return
        assert self.transport is not None
        assert self._patience is not None
        if level not in VERSIONS:
            self.transport.close()
            return
        self._patience.cancel()
        # Nothing more is read until the other end is there.
        self.transport.pause_reading()
        self._joining = self._loop.create_task(self._join(self._ports[level == MQTT_5]))

    async def _join(self, port: int) -> None:
        assert self.transport is not None
        try:
            _, other = await self._loop.create_connection(lambda: _End(self), HOST, port)
        except OSError:
            self.transport.close()
            return
        assert other.transport is not None
        if self.transport.is_closing():
            other.transport.close()
            return
        self.other = other
        other.transport.write(self._beginning)
        self._beginning = b""
        self.transport.resume_reading()

    def connection_lost(self, reason: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(reason)


async def _serve(port: int, plain: int, five: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Client(plain, five), HOST, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    main()
