"""What stands behind the broker and the API in these tests: it keeps, forgets now and then, and gives receipts for what it kept."""

import json
import random
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


class FakeIngest:
    """Listens to everything. With probability `loss` a message is lost after the broker acknowledged it: no receipt covers it."""

    def __init__(self, host: str, port: int, *, loss: float = 0.0) -> None:
        self.kept: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self.payloads: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.retained: dict[str, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.enough = threading.Event()
        """After sixty messages."""
        self._through: Counter[tuple[str, int]] = Counter()
        self._rng, self._loss, self._subscribed = random.Random(1), loss, threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="fake-ingest", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe([("sitewatch/v1/#", 1), ("owntracks/#", 1)])
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        self._client.max_inflight_messages_set(1000)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(host, port, keepalive=30)

    def __enter__(self) -> Self:
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/receipt"):
            return
        self.counts["messages"] += 1
        if self.counts["messages"] == 60:
            self.enough.set()
        assert len(message.payload) < 20_000
        if self._rng.random() < self._loss:
            self.counts["lost"] += 1
            return
        said = json.loads(message.payload)
        elements = said if isinstance(said, list) else [said]
        for element in elements:
            self.payloads[message.topic].append(element)
            if "seq" in element:
                self.kept[message.topic.split("/")[3]].add((element["epoch"], element["seq"]))
        parts = message.topic.split("/")
        if parts[0] == "sitewatch" and parts[2] == "workers":
            self._receipt(client, parts[3], {element["epoch"] for element in elements if "seq" in element})

    def _receipt(self, client: mqtt.Client, worker: str, epochs: set[int]) -> None:
        kept = self.kept.get(worker, set())
        for epoch in epochs:
            through = self._through[worker, epoch]
            while (epoch, through + 1) in kept:
                through += 1
            self._through[worker, epoch] = through
            client.publish(f"sitewatch/v1/workers/{worker}/receipt", json.dumps({"epoch": epoch, "through": through}), qos=1)


class FakeApi:
    """Takes plans: in bulk, or (`bulk=False`, as an older system) one by one."""

    def __init__(self, *, bulk: bool, token: str | None = None) -> None:
        self.bodies: list[tuple[str, str, dict[str, Any]]] = []
        taken, lock = self.bodies, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                allowed = token is None or self.headers.get("Authorization") == f"Bearer {token}"
                status = 401 if not allowed else 404 if self.path == "/v1/plans" and not bulk else 200
                if status == 200:
                    with lock:
                        taken.append((self.command, self.path, body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_PUT = _answer  # noqa: N815 - the base class looks for these names

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
