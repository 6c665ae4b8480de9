"""`sitewatch up` as a stranger runs it: a process of its own, known by its ready file and its console."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

READY_TIMEOUT_S = 60.0
PATIENCE_S = 30.0
PARTS = {
    "PostgreSQL": "bin/postgres",
    "broker": "mosquitto.conf",
    "ingest": "sitewatch ingest",
    "verify": "sitewatch verify",
    "api": "sitewatch api",
}


class House:
    """One run of `up`. Options may be given again; ports are free ones unless they are given."""

    def __init__(
        self, folder: Path, *options: str, ports: tuple[int, int] = (0, 0), environment: dict[str, str] | None = None
    ) -> None:
        self.data = folder / "data"
        self.ready_file = folder / "ready.json"
        self._console = folder / "console.txt"
        command = [sys.executable, "-P", "-m", "sitewatch", "up", "--data", str(self.data), "--ready-file", str(self.ready_file)]
        command += ["--http-port", str(ports[0]), "--mqtt-port", str(ports[1]), *options]
        with self._console.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )

    @property
    def console(self) -> str:
        return self._console.read_text()

    @property
    def ready(self) -> dict[str, str | None]:
        found: dict[str, str | None] = json.loads(self.ready_file.read_text())
        return found

    def wait_ready(self) -> "House":
        until(lambda: self.ready_file.exists() or self.process.poll() is not None, READY_TIMEOUT_S, lambda: self.console)
        assert self.process.poll() is None, self.console
        return self

    def get(self, path: str) -> int:
        """The status of an HTTP answer; 0 when there is none."""
        return self._ask(path)[0]

    def read(self, path: str) -> str:
        """The body of an HTTP answer."""
        return self._ask(path)[1]

    def _ask(self, path: str) -> tuple[int, str]:
        where = urlsplit(str(self.ready["http"]))
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def children(self) -> dict[int, str]:
        return {pid: command for pid, command in processes().items() if parent_of(pid) == self.process.pid}

    def pid_of(self, part: str) -> int:
        """The process of a part; PARTS says how its command line is known."""
        found = [pid for pid, command in self.children().items() if PARTS[part] in command]
        return found[0] if len(found) == 1 else 0

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Tells it to stop and returns the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        return time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends whatever is left, for the end of a test."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def until(holds: Callable[[], bool], timeout_s: float = PATIENCE_S, why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def processes() -> dict[int, str]:
    """Every process that runs, with its command line. A zombie has none."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        return {int(pid): command for pid, command in (line.split(None, 1) for line in listed.splitlines())}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if command:
                found[int(folder.name)] = command
    return found


def parent_of(pid: int) -> int:
    if sys.platform != "linux":
        shown = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
        return int(shown) if shown else 0
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return 0
