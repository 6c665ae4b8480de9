"""What the whole house costs, and how fast it is, as its user runs it: `python -m bench.house`.

Three figures, each beside a limit that is taken in the same run, because machines here are shared and noisy:

- from `sitewatch up` to a ready file, beside importing the programs' modules once, which nobody can do without;
- the share of one core that a live fleet costs in ingest, verify, api, broker and database, with the simulator left out, beside
  the same house with no fleet;
- from a publish to the event in the live stream, beside a publish to another subscriber of the same broker.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
READY_TIMEOUT_S = 120.0
BACKLOG_TIMEOUT_S = 600.0
"""How long the simulated morning may take to go in before the fleet counts as live."""
PROBES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two fixes of one phone")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long costs are counted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        imports_s = _imports()
        with _up(Path(folder)):
            pass
        with _up(Path(folder)) as (process, ready, ready_s):
            print(f"ready after {ready_s:.1f} s, {ready_s / imports_s:.1f} × importing once ({imports_s:.2f} s)")
            idle = _share(process.pid, options.seconds / 2)
            _latency(ready, "idle")
            with _fleet(ready, options):
                print(f"the simulated morning is in and judged after {_backlog(ready):.0f} s")
                shares = _share(process.pid, options.seconds)
                _latency(ready, "with the fleet")
        print(f"\n| part | {options.workers} workers, % of a core | no fleet |\n|---|---|---|")
        for part, share in sorted(shares.items()):
            print(f"| {part} | {100 * share:.1f} | {100 * idle.get(part, 0):.1f} |")
        print(f"| all | {100 * sum(shares.values()):.1f} | {100 * sum(idle.values()):.1f} |")


def _imports() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import api.app, ingest.main, sitewatch.verify"], check=True)
    return time.monotonic() - began


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str], float]]:
    ready_file = folder / "ready.json"
    command = [sys.executable, "-m", "sitewatch", "up", "--data", str(folder / "data"), "--ready-file", str(ready_file)]
    began = time.monotonic()
    with (folder / "console.txt").open("ab") as console:
        process = subprocess.Popen([*command, "--http-port", "0", "--mqtt-port", "0"], stdout=console, stderr=console)
    try:
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() - began > READY_TIMEOUT_S:
                raise SystemExit((folder / "console.txt").read_text())
            time.sleep(0.02)
        yield process, json.loads(ready_file.read_text()), time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextlib.contextmanager
def _fleet(ready: dict[str, str], options: argparse.Namespace) -> Iterator[None]:
    command = [sys.executable, "-m", "device_sim", "--workers", str(options.workers), "--interval", str(options.interval)]
    process = subprocess.Popen([*command, "--http", ready["http"], "--mqtt", ready["mqtt"]], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _backlog(ready: dict[str, str]) -> float:
    """Waits until next to nothing waits to be judged, for a while."""
    began, quiet = time.monotonic(), 0
    while quiet < 3 and time.monotonic() - began < BACKLOG_TIMEOUT_S:
        time.sleep(5.0)
        with psycopg.connect(ready["database"]) as connection:
            counts = "select (select count(*) from positions), (select count(*) from due where at <= now())"
            [(fixes, due)] = connection.execute(counts).fetchall()
        quiet = quiet + 1 if fixes and due < 10 else 0
    return time.monotonic() - began


# Costs -----------------------------------------------------------------------------------------------------------------------


def _share(parent: int, seconds: float) -> dict[str, float]:
    """The share of one core by part, over so many seconds."""
    before, began = _spent(parent), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    after = _spent(parent)
    return {part: (after[part] - before.get(part, 0.0)) / took for part in after}


def _spent(parent: int) -> dict[str, float]:
    """Seconds of processor time by part, of the process and all below it, ended children included."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    spent: dict[str, float] = {"up": 0.0}
    waiting = [(parent, "up")]
    while waiting:
        pid, part = waiting.pop()
        with contextlib.suppress(OSError):
            spent[part] = spent.get(part, 0.0) + sum(int(ticks) for ticks in _stat(pid)[11:15]) / TICKS_A_SECOND
        waiting += [(child, part if part != "up" else _part(child)) for child in children.get(pid, [])]
    return spent


def _stat(pid: int) -> list[str]:
    """What /proc says behind the name: state, parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _part(pid: int) -> str:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for part in ("postgres", "mosquitto", "iotcore", "ingest", "verify", "api"):
            if part in command:
                return part
    return "other"


# Latency ---------------------------------------------------------------------------------------------------------------------


def _latency(ready: dict[str, str], when: str) -> None:
    """A phone of our own publishes fix after fix; two listeners note when they see each."""
    streamed: dict[float, float] = {}
    heard: dict[float, float] = {}
    where = urlsplit(ready["mqtt"])
    topic = "sitewatch/v1/workers/bench-probe/position"
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, message: heard.setdefault(json.loads(message.payload)["at"], time.monotonic())
    client.connect(str(where.hostname), where.port or 1883)
    client.subscribe(topic, qos=1)
    client.loop_start()
    stopping = threading.Event()
    listener = threading.Thread(target=_listen, args=(ready["http"], streamed, stopping))
    listener.start()
    time.sleep(2.0)
    sent: dict[float, float] = {}
    for number in range(PROBES):
        at = round(time.time(), 3)
        sent[at] = time.monotonic()
        client.publish(topic, json.dumps({"at": at, "lon": 116.4 + number * 1e-5, "lat": 39.9, "accuracy_m": 8}), qos=1)
        # Not in step with anybody's timer.
        time.sleep(0.25 + 0.1 * (number * 0.618 % 1))
    time.sleep(3.0)
    stopping.set()
    listener.join()
    client.disconnect()
    client.loop_stop()
    through = sorted(streamed[at] - sent[at] for at in sent if at in streamed)
    bare = sorted(heard[at] - sent[at] for at in sent if at in heard)
    ratio = statistics.median(through) / statistics.median(bare)
    print(f"publish to stream, {when}: {_shown(through)}, {len(through)} of {len(sent)} seen one by one;")
    print(f"  publish to another subscriber: {_shown(bare)}; ratio of medians {ratio:.0f}")


def _listen(url: str, streamed: dict[float, float], stopping: threading.Event) -> None:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
    connection.request("GET", "/v1/live?kinds=position")
    answer = connection.getresponse()
    while not stopping.is_set():
        line = answer.readline()
        if line.startswith(b"data:") and b"bench-probe" in line:
            streamed.setdefault(_at(json.loads(line[5:])), time.monotonic())
    connection.close()


def _at(event: dict[str, Any]) -> float:
    said = event.get("properties", event)["at"]
    return round(datetime.fromisoformat(said.replace("Z", "+00:00")).timestamp(), 3)


def _shown(seconds: list[float]) -> str:
    return f"median {1000 * statistics.median(seconds):.1f} ms, p99 {1000 * _p99(seconds):.1f} ms"


def _p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


if __name__ == "__main__":
    main()
