"""Real brokers, a fresh one for every test: `mosquitto`, `iotcore`, and `each_broker` for a test that must pass on both."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitewatch import broker
from tests import missing


class RunningBroker:
    """A broker that a test may kill and start again on the same port and folder."""

    def __init__(self, described: broker.Broker) -> None:
        self.described = described
        self.kind = described.kind
        self.host = "127.0.0.1"
        self.port = described.port
        self.url = described.url
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = broker.start(self.described, self.described.folder / "broker.log")

    def stop(self) -> None:
        if self._process is not None:
            broker.stop(self._process)

    def kill(self) -> None:
        """As `kill -9` does: nothing is saved on the way out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __str__(self) -> str:
        return self.url


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[RunningBroker]:
    if broker.find_mosquitto() is None:
        missing.skip("mosquitto", "apt-get install mosquitto, or brew install mosquitto")
    yield from _run(broker.prepare(tmp_path / "mosquitto", "mosquitto"))


@pytest.fixture
def iotcore(tmp_path: Path) -> Iterator[RunningBroker]:
    yield from _run(broker.prepare(tmp_path / "iotcore", "iotcore"))


@pytest.fixture(params=["mosquitto", "iotcore"])
def each_broker(request: pytest.FixtureRequest) -> RunningBroker:
    found: RunningBroker = request.getfixturevalue(request.param)
    return found


def _run(described: broker.Broker) -> Iterator[RunningBroker]:
    running = RunningBroker(described)
    running.start()
    yield running
    running.stop()
