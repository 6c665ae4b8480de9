"""The broker's configuration and its rights, in the real mosquitto: the deployed files with their paths changed, nothing else."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from deploy import make_secrets
from sitewatch import broker
from sitewatch.postgres import free_port
from tests import missing
from tests.deploy.house import HOUSE


class Deployed:
    """A running broker with the deployed configuration, and the passwords of its users."""

    def __init__(self, port: int, passwords: dict[str, str]) -> None:
        self.port = port
        self.passwords = passwords

    def client(self, user: str, password: str | None = None) -> "Client":
        return Client(self.port, user, password or self.passwords[user])


class Client:
    """An MQTT 5 client: it is told when the broker refuses, where 3.1.1 would be told nothing."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        self.connected: str | None = None
        self._granted: dict[int, bool] = {}
        self._done: dict[int, str] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{user}", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(user, password)
        self._client.on_connect = lambda *arguments: setattr(self, "connected", str(arguments[3]))
        self._client.on_message = lambda _, __, message: self.got.append((message.topic, bytes(message.payload)))
        self._client.on_publish = lambda _, __, mid, reason, ___: self._done.__setitem__(mid, str(reason))
        self._client.on_subscribe = lambda _, __, mid, reasons, ___: self._granted.__setitem__(mid, not reasons[0].is_failure)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(lambda: self.connected is not None)

    def may_publish(self, topic: str) -> bool:
        mid = self._client.publish(topic, b"1", qos=1).mid
        until(lambda: mid in self._done)
        return self._done[mid] != "Not authorized"

    def subscribe(self, topic: str) -> bool:
        mid = self._client.subscribe(topic, qos=1)[1]
        assert mid is not None
        until(lambda: mid in self._granted)
        return self._granted[mid]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def until(holds: object, timeout_s: float = 5) -> None:
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    program = broker.find_mosquitto()
    if program is None:
        missing.skip("mosquitto", "apt-get install mosquitto, or brew install mosquitto")
    folder = tmp_path_factory.mktemp("broker")
    port = free_port()
    passwords = _users(folder)
    settings = (HOUSE / "deploy/broker/mosquitto.conf").read_text()
    for deployed_at, here in {
        "listener 1883": f"listener {port} 127.0.0.1\nuser root",
        "/run/secrets/mosquitto_passwords": str(folder / "mosquitto_passwords"),
        "/mosquitto/config/acl": str(HOUSE / "deploy/broker/acl"),
        "/mosquitto/conf.d": str(HOUSE / "deploy/broker/conf.d"),
        "/mosquitto/data/": f"{folder}/",
    }.items():
        assert deployed_at in settings
        settings = settings.replace(deployed_at, here)
    (folder / "mosquitto.conf").write_text(settings)
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield Deployed(port, passwords)
    finally:
        process.terminate()
        process.wait(10)
        log.close()
    said = (folder / "log").read_text()
    assert "Error" not in said, said


def _users(folder: Path) -> dict[str, str]:
    make_secrets.make(folder)
    passwords = {"health": (folder / "mqtt_health").read_text()}
    for user in ("ingest", "api", "sim", "import"):
        passwords[user] = (folder / f"mqtt_{user}").read_text().split("@")[0].rpartition(":")[2]
    hashes = (folder / "mosquitto_passwords").read_text()
    for user in ("w-1", "w-2", "lock-1", "anna"):
        passwords[user] = f"password of {user}"
        hashes += f"{user}:{make_secrets.hashed(passwords[user])}\n"
    path = folder / "mosquitto_passwords"
    path.unlink()
    path.write_text(hashes)
    return passwords


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import socket

    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("user", ["ingest", "api", "sim", "import", "health", "w-1"])
def test_our_hashes_are_the_brokers_and_a_wrong_password_is_refused(deployed: Deployed, user: str) -> None:
    right, wrong = deployed.client(user), deployed.client(user, "wrong")
    assert right.connected == "Success"
    assert wrong.connected == "Not authorized"
    right.close()
    wrong.close()


def test_nobody_comes_in_without_a_name(deployed: Deployed) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    answers: list[str] = []
    client.on_connect = lambda *arguments: answers.append(str(arguments[3]))
    client.connect("127.0.0.1", deployed.port)
    client.loop_start()
    until(lambda: answers)
    client.loop_stop()
    assert answers[0] == "Not authorized"


MAY = [
    ("w-1", "sitewatch/v1/workers/w-1/position", True),
    ("w-1", "sitewatch/v1/workers/w-1/check", True),
    ("w-1", "sitewatch/v1/workers/w-1/status", True),
    ("w-1", "sitewatch/v1/workers/w-1/receipt", False),
    ("w-1", "sitewatch/v1/workers/w-2/position", False),
    ("w-1", "sitewatch/v1/devices/lock-1/event", False),
    ("w-1", "owntracks/anna/phone", False),
    ("w-1", "sitewatch/v1/devices/lock-1/command", False),
    ("lock-1", "sitewatch/v1/devices/lock-1/event", True),
    ("lock-1", "sitewatch/v1/devices/lock-1/result", True),
    ("lock-1", "sitewatch/v1/devices/lock-1/command", False),
    ("lock-1", "sitewatch/v1/devices/lock-2/event", False),
    ("anna", "owntracks/anna/phone", True),
    ("anna", "owntracks/anna/phone/event", True),
    ("anna", "owntracks/bo/phone", False),
    ("ingest", "sitewatch/v1/workers/w-1/receipt", True),
    ("ingest", "sitewatch/v1/workers/w-1/position", False),
    ("api", "sitewatch/v1/devices/lock-1/command", True),
    ("api", "sitewatch/v1/workers/w-1/position", False),
    ("import", "sitewatch/v1/workers/w-1/position", True),
    ("import", "sitewatch/v1/workers/w-1/receipt", False),
    ("sim", "sitewatch/v1/workers/w-77/check", True),
    ("sim", "sitewatch/v1/devices/lock-77/event", True),
    ("health", "sitewatch/health", True),
    ("health", "sitewatch/v1/workers/w-1/position", False),
]


@pytest.mark.parametrize(("user", "topic", "allowed"), MAY)
def test_who_may_publish_what(deployed: Deployed, user: str, topic: str, allowed: bool) -> None:
    client = deployed.client(user)
    assert client.may_publish(topic) is allowed
    client.close()


def test_ingest_reads_all_evidence_through_its_shared_subscription(deployed: Deployed) -> None:
    ingest = deployed.client("ingest")
    for topics in ("sitewatch/v1/workers/+/position", "sitewatch/v1/devices/+/event", "owntracks/#"):
        assert ingest.subscribe(f"$share/ingest/{topics}")
    phone, lock, owntracks = (deployed.client(user) for user in ("w-1", "lock-1", "anna"))
    said = ["sitewatch/v1/workers/w-1/position", "sitewatch/v1/devices/lock-1/event", "owntracks/anna/phone"]
    for client, topic in zip((phone, lock, owntracks), said, strict=True):
        assert client.may_publish(topic)
    until(lambda: len(ingest.got) >= 3)
    assert sorted(topic for topic, _ in ingest.got) == sorted(said)
    for client in (ingest, phone, lock, owntracks):
        client.close()


def test_a_phone_hears_its_own_receipts_and_nobody_elses(deployed: Deployed) -> None:
    ingest, phone, other = (deployed.client(user) for user in ("ingest", "w-1", "w-2"))
    assert phone.subscribe("sitewatch/v1/workers/w-1/receipt")
    other.subscribe("sitewatch/v1/workers/+/receipt")  # mosquitto may grant it; what counts is what comes.
    other.subscribe("sitewatch/v1/workers/+/position")
    other.subscribe("#")
    assert ingest.may_publish("sitewatch/v1/workers/w-1/receipt")
    assert phone.may_publish("sitewatch/v1/workers/w-1/position")
    assert ingest.may_publish("sitewatch/v1/workers/w-2/receipt")
    until(lambda: phone.got and other.got)
    assert phone.got == [("sitewatch/v1/workers/w-1/receipt", b"1")]
    assert {topic for topic, _ in other.got} == {"sitewatch/v1/workers/w-2/receipt"}
    for client in (ingest, phone, other):
        client.close()
