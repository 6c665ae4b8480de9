"""Starts an MQTT broker of our own: mosquitto where it is installed, else the one in the wheel iotcore.

The rules:

- It listens on loopback only, so it asks for no password. A broker that others reach is a deployment, not this.
- An open port proves nothing (iotcore's router can be dead behind it): a broker answers when a message that was published
  with QoS 1 is acknowledged.
- mosquitto keeps what it acknowledged on disk as well as it can; iotcore keeps nothing. Either way the receipt after the
  commit, not the broker's PUBACK, is what tells a phone that its evidence is safe.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from sitewatch import dependent
from sitewatch.postgres import UnavailableError, free_port

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
# A batch of a day's fixes from an outbox is about 100 KB.
PACKET_BYTES_MAX = 1_048_576


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which broker `sitewatch up` runs."""

    kind: Literal["auto", "mosquitto", "iotcore"] = "auto"
    """`auto` takes mosquitto where it is found, else the embedded iotcore."""


class Broker(msgspec.Struct, frozen=True):
    """One broker: which program it is, its folder, and its port on loopback."""

    kind: str
    folder: Path
    port: int
    program: str

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """The broker as a child of this process. To be started from a thread that lives on; stopped by SIGTERM."""
        if self.kind == "mosquitto":
            return dependent.command([self.program, "-c", str(self.folder / "mosquitto.conf")])
        return dependent.command([self.program, "-P", "-m", "sitewatch.iotcore_broker", str(self.port)])


def prepare(folder: Path, kind: str = "auto", *, port: int = 0) -> Broker:
    """Writes the configuration of a broker into `folder`. `port` 0 takes a free one. Raises UnavailableError."""
    program = find_mosquitto() if kind in ("auto", "mosquitto") else None
    if kind == "mosquitto" and program is None:
        raise UnavailableError("mosquitto was not found: install it, or choose the embedded one (broker.kind = 'iotcore')")
    if kind not in ("auto", "mosquitto", "iotcore"):
        raise UnavailableError(f"there is no broker kind {kind!r}: auto, mosquitto or iotcore")
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    broker = Broker("mosquitto" if program else "iotcore", folder, port or free_port(), program or sys.executable)
    if program:
        (folder / "mosquitto.conf").write_text(_mosquitto_configuration(broker))
    return broker


def start(broker: Broker, log: Path) -> subprocess.Popen[bytes]:
    """Starts the broker and returns once it answers. Raises UnavailableError with the end of its log otherwise."""
    with log.open("ab") as output:
        process = subprocess.Popen(broker.command(), stdout=output, stderr=output, stdin=subprocess.DEVNULL)  # noqa: S603 our own command
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(broker.port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise UnavailableError(f"the broker {broker.kind} did not start; the end of {log}:\n{end}")
        time.sleep(0.03)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    """The broker, for as long as the block takes."""
    process = start(broker, broker.folder / "broker.log")
    try:
        yield broker
    finally:
        stop(process)


def answers(port: int, host: str = "127.0.0.1", timeout_s: float = 2.0) -> bool:
    """Whether a published message is acknowledged, spoken by hand: CONNECT, CONNACK, PUBLISH with QoS 1, PUBACK."""
    client = f"sitewatch-health-{os.getpid()}".encode()
    variable = b"\x00\x04MQTT\x04\x02\x00\x0a" + len(client).to_bytes(2, "big") + client
    topic = b"sitewatch/health"
    publish = len(topic).to_bytes(2, "big") + topic + b"\x00\x01"
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(bytes([0x10, len(variable)]) + variable)
            if _exactly(connection, 4) != b"\x20\x02\x00\x00":
                return False
            connection.sendall(bytes([0x32, len(publish)]) + publish)
            acknowledged = _exactly(connection, 4) == b"\x40\x02\x00\x01"
            connection.sendall(b"\xe0\x00")
            return acknowledged
    except OSError:
        return False


def find_mosquitto() -> str | None:
    """mosquitto on PATH, or where Debian and Homebrew put it, which is often not on it."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
    return shutil.which("mosquitto", path=places)


def _exactly(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got


def _mosquitto_configuration(broker: Broker) -> str:
    """mosquitto.conf: what it acknowledged is on disk after a second or two, and no queue drops before a gigabyte."""
    return "\n".join(
        [
            f"listener {broker.port} 127.0.0.1",
            "allow_anonymous true",
            # Root gives itself up to `nobody` otherwise, who cannot write into our folder.
            *(["user root"] if os.geteuid() == 0 else []),
            "persistence true",
            f"persistence_location {broker.folder}/",
            # Seconds. By changes instead (autosave_on_changes) it would lose less after kill -9, but it writes the whole queue
            # each time, and the longer the queue grew, the more it would be written.
            "autosave_interval 1",
            "max_inflight_messages 10000",
            "max_queued_messages 1000000",
            "max_queued_bytes 1073741824",
            # Not message_size_limit, which acknowledges and then drops.
            f"max_packet_size {PACKET_BYTES_MAX}",
            "set_tcp_nodelay true",
            "sys_interval 5",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "",
        ]
    )
