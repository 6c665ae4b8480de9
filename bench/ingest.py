"""How fast is the way in, against the limits of its parts, measured in one run on one machine: `python -m bench.ingest`.

Messages are first queued in the broker for a session, and then drained: by clients that do nothing else (libmosquitto's and
paho's), and by ingest, which decodes, validates, commits, acknowledges and sends receipts. So nobody waits for a publisher. The
database alone is measured with the same reports, decoded beforehand, on the two roads that there are into a table. Rates differ by
30 % from run to run and from machine to machine; the ratios are what is worth keeping, so the limits and ours take turns, and the
median of each counts.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psycopg
from msgspec import Struct
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from geofence.evidence import Evidence
from ingest.settings import Settings
from ingest.wire import decode
from sitewatch import broker, postgres
from store import evidence, migrate
from store.rejects import Reject

WORKERS = 200
ROWS_A_COMMIT = Settings().rows_max
PREFIX = Settings().prefix
WINDOW = Settings().window
EVERYTHING = f"{PREFIX}/#"
GROUP = "bench"
INGEST = (
    "import sys, msgspec; from ingest import main; from ingest.settings import Settings;"
    "main.run(msgspec.json.decode(sys.argv[1], type=Settings), *sys.argv[2:])"
)
SUBSCRIBE = "import sys; from bench import ingest; ingest.drain(int(sys.argv[1]), int(sys.argv[2]))"

Message = tuple[str, bytes]


class Run(Struct):
    """One drain by ingest."""

    fixes_per_s: float
    early_mib: float
    """Resident memory of the largest ingestor after a quarter of the fixes."""
    late_mib: float


class House(Struct):
    """The broker and the database server of a run."""

    described: broker.Broker
    cluster: postgres.Cluster
    databases: int = 0

    def database(self) -> str:
        """A new one, migrated."""
        self.databases += 1
        url = postgres.create_database(self.cluster, f"bench_{self.databases}")
        migrate.apply(url)
        return url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixes", type=int, default=60_000, help="of each drain of single fixes; batches carry four times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", default="auto", help="mosquitto, iotcore, or auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        described = broker.prepare(root / "broker", options.broker)
        cluster = postgres.prepare(root / "postgres", postgres.Settings(timescaledb="none"))
        with broker.running(described), postgres.running(cluster):
            count, rounds = options.fixes, options.rounds
            print(f"broker {described.kind}, {count} single fixes, {4 * count} in batches, {rounds} rounds\n")
            measure(House(described, cluster), count, rounds)


def measure(house: House, count: int, rounds: int) -> None:
    singles = list(batched(count, 1))
    tens, hundreds = list(batched(4 * count, 10)), list(batched(4 * count, 100))
    said = taken_of(singles)
    port, many = house.described.port, 4 * count
    shared = house.described.kind == "mosquitto"  # The wheel's broker dies of persistent shared subscriptions.
    figures: dict[str, list[float]] = {}
    memory: list[Run] = []

    def note(name: str, rate: float | None) -> None:
        if rate is not None:
            figures.setdefault(name, []).append(rate)
            print(f"{name:16}{rate:>12,.0f}", file=sys.stderr)

    def ours(name: str, messages: list[Message], fixes: int, ingestors: int = 1) -> None:
        run = ingest(house, messages, fixes, ingestors)
        memory.append(run)
        note(name, run.fixes_per_s)

    for _ in range(rounds):
        note("libmosquitto", race(port, "bench-mosquitto", singles, lambda: mosquitto_sub(port, count)))
        note("paho", race(port, "bench-paho", singles, lambda: subscribe_only(port, count)))
        ours("single", singles, count)
        note("copy", write_alone(house.database(), said, evidence.copy))
        note("staged", write_alone(house.database(), said, evidence.write))
        ours("tens", tens, many)
        ours("hundreds", hundreds, many)
        if shared:
            ours("single, two", singles, count, 2)
            ours("hundreds, two", hundreds, many, 2)
    waits = idle_latency(house)
    show({name: statistics.median(rates) for name, rates in figures.items()})
    print(f"\nidle, publish to receipt: p50 {waits[len(waits) // 2]:.0f} ms, p99 {waits[int(len(waits) * 0.99) - 1]:.0f} ms")
    worst = max(memory, key=lambda run: run.late_mib - run.early_mib)
    print(f"memory of an ingestor, after a quarter of a drain and at its end, worst of {len(memory)}: ", end="")
    print(f"{worst.early_mib:.0f} and {worst.late_mib:.0f} MiB")


def show(rates: dict[str, float]) -> None:
    rows = [
        ("libmosquitto, subscribe only", "libmosquitto", None),
        ("paho, subscribe only", "paho", None),
        ("ingest, single fixes", "single", "paho"),
        ("  two ingestors", "single, two", "paho"),
        ("COPY into the table, sorted and journaled", "copy", None),
        ("  by way of staging, repeats skipped", "staged", "copy"),
        ("ingest, batches of 10", "tens", "copy"),
        ("ingest, batches of 100", "hundreds", "copy"),
        ("  two ingestors", "hundreds, two", "copy"),
    ]
    print(f"{'':44}{'fixes/s':>10}  ratio")
    for title, name, beside in rows:
        if name in rates:
            ratio = "" if beside is None else f"{rates[name] / rates[beside]:.2f} of {beside}"
            print(f"{title:44}{rates[name]:>10,.0f}  {ratio}")
    if "libmosquitto" not in rates:
        print("\nNOT MEASURED: libmosquitto's client. Install mosquitto_sub: apt-get install mosquitto-clients")


# Messages ----------------------------------------------------------------------------------------------------------------------


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


def batched(count: int, size: int) -> Iterator[Message]:
    """The same fixes, so many in a message; one alone is no array."""
    waiting: dict[str, list[dict[str, float]]] = {}
    for topic, fix in fixes(count):
        batch = waiting.setdefault(topic, [])
        batch.append(fix)
        if len(batch) == size:
            yield topic, msgspec.json.encode(batch if size > 1 else fix)
            batch.clear()
    yield from ((topic, msgspec.json.encode(batch)) for topic, batch in waiting.items() if batch)


def taken_of(messages: list[Message]) -> list[Evidence]:
    said = [report.said for topic, raw in messages for report in decode(topic, raw, time.time())]
    taken: list[Evidence] = [one for one in said if not isinstance(one, Reject)]
    assert len(taken) == len(said)
    return taken


# The broker --------------------------------------------------------------------------------------------------------------------


def race(port: int, name: str, messages: list[Message], drained: Callable[[], float | None]) -> float | None:
    """Queues the messages for one session, and lets it drain them."""
    with session(port, name, EVERYTHING):
        publish(port, messages)
        return drained()


@contextmanager
def session(port: int, name: str, topic: str) -> Iterator[None]:
    """An empty session of that name at the broker, which collects and is not connected; it is gone afterwards."""
    _visit(port, name, clean=True)
    _visit(port, name, clean=False, topic=topic)
    yield
    _visit(port, name, clean=True)


def _visit(port: int, name: str, *, clean: bool, topic: str | None = None) -> None:
    made, how = client(name, clean=clean, expiry_s=0 if topic is None else 3600)
    done = threading.Event()
    made.on_connect = lambda *_: done.set() if topic is None else made.subscribe(topic, 1) and None
    made.on_subscribe = lambda *_: done.set()
    made.connect("127.0.0.1", port, **how)  # type: ignore[arg-type]
    made.loop_start()
    assert done.wait(10)
    made.disconnect()
    made.loop_stop()


def client(name: str, *, clean: bool, expiry_s: int = 3600) -> tuple[Client, dict[str, object]]:
    made = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry_s
    properties.ReceiveMaximum = WINDOW
    return made, {"clean_start": clean, "properties": properties}


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


def mosquitto_sub(port: int, count: int) -> float | None:
    """What a client in C can do, from its start to the last message."""
    program = shutil.which("mosquitto_sub")
    if program is None:
        return None
    command = [program, "-p", str(port), "-V", "5", "-i", "bench-mosquitto", "-c", "-q", "1", "-t", EVERYTHING, "-C", str(count)]
    command += ["-D", "connect", "receive-maximum", str(WINDOW), "-F", "%l"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return count / (time.perf_counter() - started)


def subscribe_only(port: int, count: int) -> float:
    command = [sys.executable, "-c", SUBSCRIBE, str(port), str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


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


# Ours --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def program(database: str, mqtt: str, settings: Settings) -> Iterator[int]:
    """ingest, as the process that it is."""
    arguments = [msgspec.json.encode(settings).decode(), database, mqtt]
    process = subprocess.Popen([sys.executable, "-c", INGEST, *arguments], stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def ingest(house: House, messages: list[Message], count: int, ingestors: int) -> Run:
    """From the first message received to the last row committed."""
    database, port = house.database(), house.described.port
    names = [f"bench-ingest-{number}" for number in range(ingestors)]
    share = GROUP if ingestors > 1 else ""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(session(port, name, f"$share/{GROUP}/{EVERYTHING}" if share else EVERYTHING))
        publish(port, messages)
        settings = [Settings(client_id=name, share=share) for name in names]
        running = [stack.enter_context(program(database, house.described.url, one)) for one in settings]
        with psycopg.connect(database, autocommit=True) as connection:
            early_mib, done = 0.0, 0
            while done < count:
                time.sleep(0.02)
                [(done,)] = connection.execute("select coalesce(sum(through), 0)::int from sequences").fetchall()
                if done >= count / 4 and not early_mib:
                    early_mib = max(map(resident_mib, running))
            ended_at = time.time()
            [(began_at, rows)] = connection.execute(
                "select extract(epoch from min(received_at))::float8, count(*) from fixes"
            ).fetchall()
        assert rows == count
        return Run(count / (ended_at - began_at), early_mib, max(map(resident_mib, running)))


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0  # Only Linux tells it this way.
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")) / 1024


def write_alone(database: str, said: list[Evidence], write: Callable[[psycopg.Connection, list[Evidence]], object]) -> float:
    """Rows a second into the database with nothing else to do."""
    with psycopg.connect(database, autocommit=True) as connection:
        evidence.prepare(connection)
        started = time.perf_counter()
        for begin in range(0, len(said), ROWS_A_COMMIT):
            with connection.transaction():
                write(connection, said[begin : begin + ROWS_A_COMMIT])
        return len(said) / (time.perf_counter() - started)


def idle_latency(house: House, count: int = 200) -> list[float]:
    """Milliseconds from publishing a lonely fix to its receipt, sorted."""
    got = threading.Event()
    made = Client(CallbackAPIVersion.VERSION2, client_id="bench-phone")
    made.on_message = lambda *_: got.set()
    made.connect("127.0.0.1", house.described.port)
    made.subscribe(f"{PREFIX}/workers/w-1/receipt", 1)
    made.loop_start()
    waits = []
    settings = Settings(client_id="bench-idle")
    with (
        session(house.described.port, settings.client_id, EVERYTHING),
        program(house.database(), house.described.url, settings),
    ):
        for seq in range(1, count + 11):
            started = time.perf_counter()
            payload = msgspec.json.encode({"at": time.time(), "lon": 1, "lat": 1, "seq": seq})
            made.publish(f"{PREFIX}/workers/w-1/position", payload, qos=1)
            assert got.wait(20)
            got.clear()
            waits.append(1000 * (time.perf_counter() - started))
            time.sleep(0.03)
    made.loop_stop()
    return sorted(waits[10:])


if __name__ == "__main__":
    main()
