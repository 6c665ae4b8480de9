"""How fast is the way in, against the limits of its parts, measured in one run on one machine: `python -m bench.ingest`.

Messages are first queued in the broker for two sessions, and then drained: by a paho client that does nothing else, and by
ingest, which decodes, validates, commits and acknowledges. So neither waits for a publisher. The database alone is measured with
the same reports, decoded beforehand: a bare binary COPY into the table, and the ordered insert that skips repeats. Rates differ
by 30 % from run to run and from machine to machine; the ratios are what is worth keeping."""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from geofence.evidence import Evidence, Fix
from ingest.settings import Settings
from ingest.wire import decode
from sitewatch import broker, postgres
from store import evidence, migrate
from store.rejects import Reject

WORKERS = 200
ROWS_A_COMMIT = 5_000
PREFIX = Settings().prefix
WINDOW = Settings().window
INGEST = "import sys; from ingest import main; from ingest.settings import Settings; main.run(Settings(), *sys.argv[1:])"
SUBSCRIBE = "import sys; from bench import ingest; ingest.drain(int(sys.argv[1]), int(sys.argv[2]))"

Message = tuple[str, bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000, help="single fixes to send; as many fixes go in batches of 100")
    parser.add_argument("--broker", default="auto", help="mosquitto, iotcore, or auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        described = broker.prepare(root / "broker", options.broker)
        cluster = postgres.prepare(root / "postgres", postgres.Settings(timescaledb="none"))
        with broker.running(described), postgres.running(cluster):
            print(f"broker {described.kind}, {options.messages} single fixes, and the same number in batches of 100\n")
            singles = [(topic, json.dumps(fix).encode()) for topic, fix in fixes(options.messages)]
            database = fresh(cluster, "singles")
            paho = race(described.port, singles, lambda: subscribe_only(described.port, len(singles)))
            ours = race(described.port, singles, lambda: ingest(database, described.url, len(singles)))
            batches = list(batched(options.messages))
            database = fresh(cluster, "batches")
            whole = race(described.port, batches, lambda: ingest(database, described.url, options.messages))
            copy, insert = writer_alone(fresh(cluster, "copy"), fresh(cluster, "insert"), singles)
            p50_ms, p99_ms = idle_latency(fresh(cluster, "idle"), described)
    rows = [
        ("paho, subscribe only", paho, None),
        ("ingest, single fixes", ours, ours / paho),
        ("COPY into the table, nothing else", copy, None),
        ("staged COPY and ordered insert", insert, insert / copy),
        ("ingest, batches of 100", whole, whole / copy),
    ]
    print(f"{'':38}{'fixes/s':>10}{'ratio':>8}")
    for name, rate, ratio in rows:
        print(f"{name:38}{rate:>10,.0f}{'' if ratio is None else f'{ratio:8.2f}'}")
    print(f"\nidle, publish to receipt: p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms")


def fixes(count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Fixes of many workers, one after the other, ten seconds apart, each with its number."""
    begin = time.time() - 86_000
    for number in range(count):
        worker, seq = number % WORKERS, number // WORKERS + 1
        fix = {
            "at": round(begin + 10 * seq + worker / 100, 3), "lon": 116.39 + worker / 1e4, "lat": 39.9 + seq % 100 / 1e5,
            "accuracy_m": 8.5, "speed_mps": 1.2, "heading_deg": 90, "battery": 0.8, "seq": seq,
        }  # fmt: skip
        yield f"{PREFIX}/workers/w-{worker}/position", fix


def batched(count: int) -> Iterator[Message]:
    waiting: dict[str, list[dict[str, float]]] = {}
    for topic, fix in fixes(count):
        batch = waiting.setdefault(topic, [])
        batch.append(fix)
        if len(batch) == 100:
            yield topic, json.dumps(batch).encode()
            batch.clear()
    yield from ((topic, json.dumps(batch).encode()) for topic, batch in waiting.items() if batch)


def race(port: int, messages: list[Message], drained: Callable[[], float]) -> float:
    """Queues the messages for both sessions, then lets one of them drain its queue; the other's is thrown away."""
    for name in ("bench-paho", Settings().client_id):
        end_session(port, name)
        end_session(port, name, keep=True)
    publish(port, messages)
    return drained()


def client(name: str, *, clean: bool, expiry_s: int = 3600) -> tuple[Client, dict[str, object]]:
    made = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry_s
    properties.ReceiveMaximum = WINDOW
    return made, {"clean_start": clean, "properties": properties}


def end_session(port: int, name: str, *, keep: bool = False) -> None:
    """Ends what the broker holds for a client; with `keep`, leaves an empty session that is subscribed to everything of ours."""
    made, how = client(name, clean=not keep, expiry_s=3600 if keep else 0)
    subscribed = threading.Event()
    made.on_connect = lambda *_: made.subscribe(f"{PREFIX}/#", 1) and None
    made.on_subscribe = lambda *_: subscribed.set()
    made.connect("127.0.0.1", port, **how)  # type: ignore[arg-type]
    made.loop_start()
    subscribed.wait(10)
    made.disconnect()
    made.loop_stop()


def publish(port: int, messages: list[Message]) -> None:
    made = Client(CallbackAPIVersion.VERSION2, client_id="bench-publisher")
    made.max_inflight_messages_set(2_000)
    left, sent = threading.Semaphore(0), 0
    made.on_publish = lambda *_: left.release()
    made.connect("127.0.0.1", port)
    made.loop_start()
    for topic, payload in messages:
        made.publish(topic, payload, qos=1)
        sent += 1
        if sent > 2_000:
            left.acquire()
    for _ in range(min(sent, 2_000)):
        left.acquire()
    made.disconnect()
    made.loop_stop()


def drain(port: int, count: int) -> None:
    """What paho alone can do: receives so many messages, acknowledges them by itself, and prints the rate."""
    made, how = client("bench-paho", clean=False)
    seen, first = 0, 0.0

    def receive(*_: object) -> None:
        nonlocal seen, first
        seen += 1
        if seen == 1:
            first = time.perf_counter()
        if seen == count:
            print((count - 1) / (time.perf_counter() - first))
            made.disconnect()

    made.on_message = receive
    made.connect("127.0.0.1", port, **how)  # type: ignore[arg-type]
    made.loop_forever()


def subscribe_only(port: int, count: int) -> float:
    command = [sys.executable, "-c", SUBSCRIBE, str(port), str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def program(database: str, mqtt: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", INGEST, database, mqtt], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def ingest(database: str, mqtt: str, count: int) -> float:
    """From the first message received to the last row committed."""
    with program(database, mqtt), psycopg.connect(database, autocommit=True) as connection:
        while True:
            row = connection.execute("select count(*), extract(epoch from min(received_at))::float8 from fixes").fetchone()
            assert row is not None
            if row[0] == count:
                return count / (time.time() - float(row[1]))
            time.sleep(0.05)


def writer_alone(plain: str, keyed: str, messages: list[Message]) -> tuple[float, float]:
    """Rows a second of a bare COPY into the table, and of what ingest does instead."""
    said = [report.said for topic, raw in messages for report in decode(topic, raw, time.time())]
    taken: list[Evidence] = [one for one in said if not isinstance(one, Reject)]
    assert len(taken) == len(messages)
    table = evidence.TABLES[Fix]
    bare = table.copy.replace("copy staged_fixes", "copy fixes")

    def copy(connection: psycopg.Connection, part: list[Evidence]) -> None:
        with connection.cursor() as cursor, cursor.copy(bare) as rows:
            rows.set_types(table.types)
            for one in part:
                rows.write_row(table.row(one))

    rates = []
    for database, write in ((plain, copy), (keyed, evidence.write)):
        with psycopg.connect(database, autocommit=True) as connection:
            evidence.prepare(connection)
            started = time.perf_counter()
            for begin in range(0, len(taken), ROWS_A_COMMIT):
                with connection.transaction():
                    write(connection, taken[begin : begin + ROWS_A_COMMIT])
            rates.append(len(taken) / (time.perf_counter() - started))
    return rates[0], rates[1]


def idle_latency(database: str, described: broker.Broker, count: int = 100) -> tuple[float, float]:
    """Milliseconds from publishing a lonely fix to its receipt: the median and the 99th percentile."""
    got = threading.Event()
    made = Client(CallbackAPIVersion.VERSION2, client_id="bench-phone")
    made.on_message = lambda *_: got.set()
    made.connect("127.0.0.1", described.port)
    made.subscribe(f"{PREFIX}/workers/w-1/receipt", 1)
    made.loop_start()
    waits = []
    with program(database, described.url):
        for seq in range(1, count + 11):
            started = time.perf_counter()
            payload = json.dumps({"at": time.time(), "lon": 1, "lat": 1, "seq": seq})
            made.publish(f"{PREFIX}/workers/w-1/position", payload, qos=1)
            assert got.wait(20)
            got.clear()
            waits.append(1000 * (time.perf_counter() - started))
            time.sleep(0.03)
    made.loop_stop()
    ordered = sorted(waits[10:])
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99) - 1]


def fresh(cluster: postgres.Cluster, name: str) -> str:
    url = postgres.create_database(cluster, name)
    migrate.apply(url)
    return url


if __name__ == "__main__":
    main()
