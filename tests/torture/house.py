"""The house under torture: real mosquitto, real PostgreSQL, the real programs as processes. Each can be killed.

    phones ──────────────▶ mosquitto ◀──proxy── ingest ×n ──┐
                                                            ├──proxy──▶ PostgreSQL ◀── api
                                                verify ─────┘

Broker and database are started as `sitewatch up` starts them: persistent, saved once a second, and durable. Everything is started
from the main thread, because it ends with the thread that started it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from sitewatch import broker, dependent, postgres
from store import migrate
from tests.ingest.program import through
from tests.ingest.proxy import Proxy
from tests.torture import script

PACE = {
    "SITEWATCH_INGEST__BEAT_EVERY_S": "0.5",
    "SITEWATCH_INGEST__RETRY_MAX_S": "1.0",
}
"""Only so that a storm of many faults does not spend its time waiting; nothing of this changes what may be acknowledged when."""
PATIENCE_S = 60.0
STOP_S = 15.0


class House:
    """Everything that runs. `parts` are the names that can be killed and started."""

    def __init__(
        self, folder: Path, ingestors: int = 2, environment: dict[str, str] | None = None, database: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The database runs as another user where we are root.
        folder.chmod(0o755)
        self.folder = folder
        self.ingestors = [f"ingest-{number}" for number in range(1, ingestors + 1)]
        self.parts = ("broker", "database", *self.ingestors, "verify", "api")
        self.started_at: dict[str, float] = {}
        self._environment = {**os.environ, **PACE, **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._broker = broker.prepare(folder / "broker", "mosquitto")
        self._cluster = postgres.prepare(database or folder / "postgres", postgres.Settings(timescaledb="none"))
        self._http_port = postgres.free_port()
        self.to_broker = Proxy(self._broker.port)
        self.to_database = Proxy(self._cluster.port)
        self.port = self._broker.port
        self.database = self._cluster.url()
        self.http = f"http://127.0.0.1:{self._http_port}"

    def pid(self, part: str) -> int:
        return self._processes[part].pid

    def pids(self, part: str) -> list[int]:
        """Of the part and its children."""
        return [self.pid(part), *_children(self.pid(part))]

    async def begin(self, plans: dict[str, Any], parts: tuple[str, ...] | None = None) -> None:
        """Starts the parts (all of them), with the schema, the constraint that poison breaks, and the plans."""
        parts = parts or self.parts
        for part in ("broker", "database"):
            self.start(part)
        await until(lambda: self.answers("database") and self.answers("broker"), "broker and database do not answer")
        self.create(self.database)
        for part in parts:
            if part not in ("broker", "database"):
                self.start(part)
        for part in parts:
            await until(lambda part=part: self.answers(part), f"{part} does not answer")  # type: ignore[misc]
        if "api" in parts:
            await asyncio.to_thread(self.ask, "POST", "/v1/plans", plans)

    def create(self, url: str) -> None:
        """An empty, migrated database under this URL."""
        postgres.create_database(self._cluster, url.rpartition("/")[2])
        migrate.apply(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(script.POISON)

    def url(self, name: str) -> str:
        return self._cluster.url(name)

    def start(self, part: str) -> None:
        with (self.folder / f"{part}.log").open("ab") as log:
            self._processes[part] = subprocess.Popen(
                self._command(part), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment
            )
        self.started_at[part] = time.time()

    def kill(self, part: str) -> None:
        """kill -9. Of the database with all its processes, as when the machine's memory runs out."""
        process = self._processes[part]
        if part == "database":
            os.kill(process.pid, signal.SIGSTOP)
            for child in _children(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()

    def forget(self) -> None:
        """Kills the broker and takes away what it had on its disk: sessions, subscriptions, queues."""
        self.kill("broker")
        for file in (self.folder / "broker").glob("mosquitto.db*"):
            file.unlink()

    def broker_saved_at(self) -> float:
        """When the broker had last saved what it knows, or else when it was started with nothing."""
        saved = self.folder / "broker" / "mosquitto.db"
        return saved.stat().st_mtime if saved.exists() else self.started_at["broker"]

    def stop(self, part: str) -> int:
        """SIGTERM, and the exit code."""
        process = self._processes[part]
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_S)

    def end(self) -> None:
        """Kills whatever is left."""
        for proxy in (self.to_broker, self.to_database):
            proxy.close()
        for part in [part for part in reversed(self.parts) if part in self._processes]:
            if self._processes[part].poll() is None:
                self.kill(part)

    def alive(self, part: str) -> bool:
        return part in self._processes and self._processes[part].poll() is None

    def answers(self, part: str) -> bool:
        """Whether the part does its work, as it says itself since it was started last."""
        if not self.alive(part):
            return False
        if part == "broker":
            return broker.answers(self._broker.port, timeout_s=1.0)
        if part == "database":
            return postgres.answers(self._cluster)
        if part == "api":
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                return bool(self.ask("GET", "/healthz") is not None)
            return False
        name = "verify" if part == "verify" else f"ingest:{part}"
        # A verify that stands by has no heart that beats; an ingestor's beats also where the broker is away.
        live = "name = 'verify' or coalesce((state ->> 'connected')::bool, false)"
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.database, connect_timeout=2) as connection:
            since = self.started_at[part]
            query = f"select {live} from programs where name = %s and beat_at > to_timestamp(%s) and started_at > to_timestamp(%s)"
            return connection.execute(query.encode(), [name, since, since]).fetchone() == (True,)
        return False

    def connected_at(self, part: str) -> float | None:
        """Since when an ingestor's connection to the broker lives, as it says itself; None where it has none, or nobody knows."""
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.database, connect_timeout=2) as connection:
            query = "select (state ->> 'connected_at')::float8 from programs where name = %s and (state ->> 'connected')::bool"
            row = connection.execute(query, [f"ingest:{part}"]).fetchone()
            return row[0] if row else None
        return None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the api says. Raises as urllib does."""
        request = urllib.request.Request(self.http + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content[:1] in (b"{", b"[") else content

    def _command(self, part: str) -> list[str]:
        if part == "broker":
            return self._broker.command()
        if part == "database":
            # Again each time: it clears away the lock file of a server that was killed.
            settings = postgres.Settings(timescaledb="none")
            return postgres.prepare(self._cluster.folder, settings, port=self._cluster.port).command()
        return dependent.command(self._program(part))

    def _program(self, part: str) -> list[str]:
        program = [sys.executable, "-P", "-m", "sitewatch", part.partition("-")[0]]
        if part == "api":
            return [*program, "--database", self.database, "--port", str(self._http_port)]
        program += ["--database", through(self.database, self.to_database.port)]
        if part == "verify":
            return program
        mqtt = f"mqtt://127.0.0.1:{self.to_broker.port}"
        share = ["--share", "torture"] if len(self.ingestors) > 1 else []
        return [*program, "--mqtt", mqtt, "--client-id", part, *share]


async def until(true: Callable[[], bool], why: str, seconds: float = PATIENCE_S) -> None:
    """Waits beside the event loop for something to become true. Raises TimeoutError with `why`."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(true):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still: {why}")
        await asyncio.sleep(0.1)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
