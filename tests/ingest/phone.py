"""A phone of the tests: it counts what it sends, and keeps the receipts it gets."""

import json
import threading
import time
from collections.abc import Callable

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

PREFIX = "sitewatch/v1"


class Phone:
    """One MQTT 3.1.1 connection that publishes with QoS 1 and waits for nothing but the broker."""

    def __init__(self, port: int, worker: str = "w-1") -> None:
        self.worker = worker
        self.sent = 0
        self.receipts: list[int] = []
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"phone-{worker}")
        self._client.max_inflight_messages_set(1_000)
        self._client.on_message = lambda _, __, message: self.receipts.append(json.loads(message.payload)["through"])
        self._client.on_connect = lambda client, *_: client.subscribe(f"{PREFIX}/workers/{worker}/receipt", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    @property
    def promised(self) -> int:
        return max(self.receipts, default=0)

    def send(self, count: int = 1) -> None:
        """Fixes with the next numbers: one alone, or several as a batch."""
        fixes = []
        for _ in range(count):
            self.sent += 1
            fixes.append({"at": time.time(), "lon": 116.4, "lat": 39.9, "accuracy_m": 8, "seq": self.sent})
        self.publish(f"workers/{self.worker}/position", fixes[0] if count == 1 else fixes)

    def publish(self, topic: str, payload: object, *, retain: bool = False) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload)
        self._client.publish(f"{PREFIX}/{topic}", raw, qos=1, retain=retain).wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something to become true, and fails where it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.02)
