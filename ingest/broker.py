"""Where the broker is, and a socket to it."""

import socket
import ssl
from urllib.parse import unquote, urlsplit

from msgspec import Struct


class Broker(Struct, frozen=True):
    """An address, and as whom we come."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool


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


def connect(broker: Broker, timeout_s: float) -> socket.socket:
    """A connected socket that does not block, its TLS handshake done where there is one. Raises OSError."""
    opened = socket.create_connection((broker.host, broker.port), timeout=timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if broker.tls:
            opened = ssl.create_default_context().wrap_socket(opened, server_hostname=broker.host)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened
