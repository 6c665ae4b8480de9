"""How fast is the way in, against the limits of its parts, measured in one run on one machine: `python -m bench.ingest`.

Messages are first queued in the broker, for a session of everybody who will drain them: clients that do nothing else (those of
libmosquitto and paho), and ingest, which decodes, validates, commits, acknowledges and sends receipts. So nobody waits for a
publisher. The database alone is measured with the same reports, decoded beforehand. Rates differ by 30 % from run to run and from
machine to machine; the ratios are what is worth keeping, so the limits and ours take turns, and the median of each counts.
mosquitto keeps its queue in memory here: writing it to the disk each second, as `sitewatch up` lets it, would be measured with all.
"""

import argparse
import os
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

from geofence.evidence import Evidence, Fix
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
    cpu_us: float
    """Of all ingestors, for one of the other three quarters."""


class Figures(Struct):
    """What was measured, by name, a value a round."""

    rates: dict[str, list[float]] = {}
    runs: list[Run] = []

    def note(self, name: str, rate: float | None) -> None:
        if rate is not None:
            self.rates.setdefault(name, []).append(rate)

    def add(self, name: str, run: Run) -> None:
        self.runs.append(run)
        self.note(name, run.fixes_per_s)
        self.note(f"cpu of {name}", run.cpu_us)


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
    parser.add_argument("--fixes", type=int, default=50_000, help="of each drain of single fixes; batches carry four times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", default="auto", help="mosquitto, iotcore, or auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        described = broker.prepare(root / "broker", options.broker)
        if described.kind == "mosquitto":
            configuration = described.folder / "mosquitto.conf"
            configuration.write_text(configuration.read_text().replace("persistence true", "persistence false"))
        cluster = postgres.prepare(root / "postgres", postgres.Settings(timescaledb="none"))
        with broker.running(described), postgres.running(cluster):
            count, rounds = options.fixes, options.rounds
            print(f"broker {described.kind}, {count} single fixes, {4 * count} in batches, {rounds} rounds\n")
            house = House(described, cluster)
            singles = list(batched(count, 1))
            batches = {size: list(batched(4 * count, size)) for size in (10, 100)}
            figures = Figures()
            for _ in range(rounds):
                measure(house, singles, batches, figures)
            show({name: statistics.median(rates) for name, rates in figures.rates.items()})
            show_latency(house, figures)
            worst = max(figures.runs, key=lambda run: run.late_mib - run.early_mib)
            print(f"memory of an ingestor, after a quarter of a drain and at its end, the worst of {len(figures.runs)}: ", end="")
            print(f"{worst.early_mib:.0f} and {worst.late_mib:.0f} MiB")


def measure(house: House, singles: list[Message], batches: dict[int, list[Message]], figures: Figures) -> None:
    """One round: everything once."""
    port, count = house.described.port, len(singles)
    # The wheel's broker dies of shared subscriptions that are kept.
    groups = [["alone"], ["one", "two"]] if house.described.kind == "mosquitto" else [["alone"]]
    with queued(port, singles, ["bench-mosquitto", "bench-paho"], groups):
        figures.note("libmosquitto", mosquitto_sub(port, count))
        figures.note("paho", subscribe_only(port, count))
        for group in groups:
            figures.add(f"single, {len(group)}", ingest(house, group, count))
    for size, messages in batches.items():
        with queued(port, messages, [], groups):
            for group in groups:
                figures.add(f"{size}, {len(group)}", ingest(house, group, 4 * count))
    said = taken_of(singles)
    for name, write in (("copy", copy_alone), ("quick", evidence.copy), ("careful", evidence.write)):
        figures.note(name, write_alone(house.database(), said, write))


def show(rates: dict[str, float]) -> None:
    rows = [
        ("libmosquitto, subscribe only", "libmosquitto", None),
        ("paho, subscribe only", "paho", None),
        ("ingest, single fixes", "single, 1", "paho"),
        ("  two ingestors", "single, 2", "paho"),
        ("COPY into the table, nothing else", "copy", None),
        ("  in order, without repeats, journaled", "quick", "copy"),
        ("  by way of staging, repeats skipped", "careful", "copy"),
        ("ingest, batches of 10", "10, 1", "copy"),
        ("  two ingestors", "10, 2", "copy"),
        ("ingest, batches of 100", "100, 1", "copy"),
        ("  two ingestors", "100, 2", "copy"),
    ]
    print(f"{'':44}{'fixes/s':>10}  {'ratio':16}CPU of ingest, µs a fix")
    for title, name, beside in rows:
        if name in rates:
            ratio = "" if beside is None else f"{rates[name] / rates[beside]:.2f} of {beside}"
            cpu = f"{rates[f'cpu of {name}']:.1f}" if f"cpu of {name}" in rates else ""
            print(f"{title:44}{rates[name]:>10,.0f}  {ratio:16}{cpu}")
    if "libmosquitto" not in rates:
        print("\nNOT MEASURED: libmosquitto's client. Install mosquitto_sub: apt-get install mosquitto-clients")


def show_latency(house: House, figures: Figures) -> None:
    """A lonely phone, first with nobody else there, then beside one that floods at half of what one ingestor takes."""
    flood_per_s = round(statistics.median(figures.rates["single, 1"]) / 2)
    for title, rate in (("idle", 0), (f"beside {flood_per_s:,} fixes/s of another phone", flood_per_s)):
        waits = latency(house, rate)
        print(f"{title}, publish to receipt: p50 {waits[len(waits) // 2]:.0f} ms, p99 {waits[int(len(waits) * 0.99) - 1]:.0f} ms")


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


@contextmanager
def queued(port: int, messages: list[Message], clients: list[str], groups: list[list[str]]) -> Iterator[None]:
    """All the messages wait for each of the clients, and for each group of ingestors; what is left is gone afterwards."""
    waiting = dict.fromkeys(clients, EVERYTHING)
    for group in groups:
        share = f"$share/{GROUP}/" if len(group) > 1 else ""
        waiting |= {f"bench-{name}": share + EVERYTHING for name in group}
    for name, topic in waiting.items():
        visit(port, name, clean=True)
        visit(port, name, clean=False, topic=topic)
    publish(port, messages)
    yield
    for name in waiting:
        visit(port, name, clean=True)


def visit(port: int, name: str, *, clean: bool, topic: str | None = None) -> None:
    """Connects once under this name, to leave a session that is subscribed, or none."""
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


def ingest(house: House, group: list[str], count: int) -> Run:
    """From the first message received to the last row committed."""
    database = house.database()
    share = GROUP if len(group) > 1 else ""
    with ExitStack() as stack:
        settings = [Settings(client_id=f"bench-{name}", share=share) for name in group]
        running = [stack.enter_context(program(database, house.described.url, one)) for one in settings]
        with psycopg.connect(database, autocommit=True) as connection:
            early_mib, early_s, done, early = 0.0, 0.0, 0, 0
            while done < count:
                time.sleep(0.02)
                [(done,)] = connection.execute("select coalesce(sum(through), 0)::int from sequences").fetchall()
                if done >= count / 4 and not early_mib:
                    early, early_mib, early_s = done, max(map(resident_mib, running)), sum(map(cpu_s, running))
            ended_at = time.time()
            cpu_us = 1e6 * (sum(map(cpu_s, running)) - early_s) / max(1, done - early)
            [(began_at, rows)] = connection.execute(
                "select extract(epoch from min(received_at))::float8, count(*) from fixes"
            ).fetchall()
        assert rows == count
        return Run(count / (ended_at - began_at), early_mib, max(map(resident_mib, running)), cpu_us)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0  # Only Linux tells it this way.
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")) / 1024


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def copy_alone(connection: psycopg.Connection, said: list[Evidence]) -> None:
    """The least that has to be done."""
    table = evidence.TABLES[Fix]
    with connection.cursor() as cursor, cursor.copy(table.copy) as rows:
        rows.set_types(table.types)
        for one in said:
            rows.write_row(table.row(one))


def write_alone(database: str, said: list[Evidence], write: Callable[[psycopg.Connection, list[Evidence]], object]) -> float:
    """Rows a second into the database with nothing else to do."""
    with psycopg.connect(database, autocommit=True) as connection:
        evidence.prepare(connection)
        started = time.perf_counter()
        for begin in range(0, len(said), ROWS_A_COMMIT):
            with connection.transaction():
                write(connection, said[begin : begin + ROWS_A_COMMIT])
        return len(said) / (time.perf_counter() - started)


def latency(house: House, flood_per_s: int, count: int = 200) -> list[float]:
    """Milliseconds from publishing a lonely fix to its receipt, sorted."""
    got = threading.Event()
    made = Client(CallbackAPIVersion.VERSION2, client_id="bench-phone")
    made.on_message = lambda *_: got.set()
    made.connect("127.0.0.1", house.described.port)
    made.subscribe(f"{PREFIX}/workers/lonely/receipt", 1)
    made.loop_start()
    settings = Settings(client_id="bench-alone")
    waits = []
    with (
        queued(house.described.port, [], [], [["alone"]]),
        program(house.database(), house.described.url, settings),
        flood(house.described.port, flood_per_s),
    ):
        for seq in range(1, count + 11):
            started = time.perf_counter()
            payload = msgspec.json.encode({"at": time.time(), "lon": 1, "lat": 1, "seq": seq})
            made.publish(f"{PREFIX}/workers/lonely/position", payload, qos=1)
            assert got.wait(20)
            got.clear()
            waits.append(1000 * (time.perf_counter() - started))
            time.sleep(0.03)
    made.loop_stop()
    return sorted(waits[10:])


@contextmanager
def flood(port: int, per_s: int) -> Iterator[None]:
    """Another phone says so much, by a client in C; nothing where there is none."""
    program = shutil.which("mosquitto_pub")
    if program is None or per_s == 0:
        yield
        return
    command = [program, "-p", str(port), "-q", "1", "-M", "1000", "-l", "-t", f"{PREFIX}/workers/loud/position"]
    over = threading.Event()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:

        def say() -> None:
            assert process.stdin is not None
            began, said = time.monotonic(), 0
            while not over.wait(0.01):
                for _ in range(round((time.monotonic() - began) * per_s) - said):
                    said += 1
                    process.stdin.write(b'{"at":%f,"lon":1,"lat":1,"seq":%d}\n' % (time.time(), said))
                process.stdin.flush()
            process.stdin.close()

        saying = threading.Thread(target=say)
        saying.start()
        time.sleep(1.0)
        yield
        over.set()
        saying.join()
        process.terminate()


if __name__ == "__main__":
    main()
