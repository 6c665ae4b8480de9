"""A stand-in for the system behind the broker: keeps what arrives by (worker, epoch, seq) and sends the receipts of the contract.

It is the judge of a delivery, so it is independent of the importer: plain JSON, a set, and the contract's sentence "highest seq
with nothing missing below it". Its faults are switches that a test sets.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.fix_broker import RunningBroker


class Receipts:
    def __init__(self, host: str, port: int) -> None:
        self.kept: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.fixes: dict[tuple[str, int, int], dict[str, Any]] = {}
        self.messages: list[tuple[str, bytes]] = []
        self.payloads: list[bytes] = []
        self.repeats = 0
        self.swallow = 0
        """So many batches are neither kept nor receipted, as when ingest died with them."""
        self.mute = False
        """Keep, but send no receipts."""
        self.arrived = threading.Event()
        self.listening = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="receipts", clean_session=False)
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.on_connect = self._on_connect
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(host, port)
        self._client.loop_start()
        assert self.listening.wait(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def through(self, worker: str, epoch: int) -> int:
        kept, through = self.kept[worker, epoch], 0
        while through + 1 in kept:
            through += 1
        return through

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe([("sitewatch/v1/workers/+/position", 1), ("owntracks/#", 1)])

    def _on_subscribe(self, *_: object) -> None:
        self.listening.set()

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        self.arrived.set()
        if message.topic.startswith("owntracks/"):
            self.messages.append((message.topic, bytes(message.payload)))
            return
        if self.swallow > 0:
            self.swallow -= 1
            return
        self.payloads.append(bytes(message.payload))
        worker = message.topic.split("/")[3]
        epochs = set()
        for fix in json.loads(message.payload):
            self.repeats += fix["seq"] in self.kept[worker, fix["epoch"]]
            self.kept[worker, fix["epoch"]].add(fix["seq"])
            self.fixes[worker, fix["epoch"], fix["seq"]] = fix
            epochs.add(fix["epoch"])
        for epoch in epochs if not self.mute else ():
            receipt = json.dumps({"epoch": epoch, "through": self.through(worker, epoch)})
            client.publish(f"sitewatch/v1/workers/{worker}/receipt", receipt, qos=1)


@pytest.fixture
def receipts(mosquitto: RunningBroker) -> Iterator[Receipts]:
    judge = Receipts(mosquitto.host, mosquitto.port)
    yield judge
    judge.stop()
