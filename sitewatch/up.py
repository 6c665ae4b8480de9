"""`sitewatch up`: everything on one machine, out of one folder, as children of one process.

    PostgreSQL ─┐
    broker ─────┼─ all start at once ─▶ migrate ─▶ ingest, verify, api ─▶ ready ─▶ sim (with --sim)
    programs ───┘  (they import while
                    the servers start)

The rules:

- One `up` a data folder: a lock that the kernel lets go of when we end, however that happens.
- Ready means that every part has answered: the database a query, the broker a PUBLISH, ingest and verify by a heartbeat in
  the database, the api over HTTP. Only then is the ready file written, in one piece.
- A port that is taken is an error that names the option; it is never quietly changed. Port 0 takes any free one.
- Stopping goes against the flow: the programs, then the broker, then PostgreSQL; 5 s in all.
"""

import asyncio
import contextlib
import errno
import fcntl
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console

from sitewatch import broker, config, dependent, postgres
from sitewatch.supervise import Keeper, Part, StartError

# Seconds after the word to stop at which each step is ended by force; killing any part loses nothing that was acknowledged.
STOP_BY_S = {"sim": 2.2, "ingest": 2.2, "verify": 2.2, "api": 2.2, "broker": 2.8, "PostgreSQL": 4.7}
# What ingest may use of that to commit what it holds.
DRAIN_S = 1.2
PORT_PATIENCE_S = 3.0
PROGRAMS = ("ingest", "verify", "api")


class RefusedError(Exception):
    """`up` does not start here and now; the message says what to do."""


class Options(msgspec.Struct, frozen=True):
    """What was asked for on the command line, over the settings."""

    data: Path
    http_port: int
    mqtt_port: int
    sim: tuple[str, ...] | None = None
    ready_file: Path | None = None
    config_file: Path | None = None


def run(options: Options, settings: config.Settings, console: Console) -> int:
    """Runs until it is told to stop, and returns the exit code."""
    try:
        with _lock(options.data) as unclean:
            house = _House(options, settings, console, patience_s=PORT_PATIENCE_S if unclean else 0.0)
            return asyncio.run(house.live())
    except (RefusedError, StartError, postgres.UnavailableError) as error:
        console.print(f"[bold red]sitewatch did not start:[/] {error}", highlight=False, soft_wrap=True)
        return 1


class _House:
    """All parts of one run."""

    def __init__(self, options: Options, settings: config.Settings, console: Console, *, patience_s: float) -> None:
        self._options = options
        self._settings = settings
        self._console = console
        self._patience_s = patience_s
        self._began = time.monotonic()
        self._keepers: dict[str, Keeper] = {}
        # Once it has answered.
        self._cluster: postgres.Cluster | None = None
        self._logs = options.data / "log"

    async def live(self) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        starting = asyncio.create_task(self._start(), name="start")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await stopping
            self._say("stopping")
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            if self._options.ready_file is not None:
                # Whatever is in the way of this, the parts are stopped.
                with contextlib.suppress(OSError):
                    self._options.ready_file.unlink(missing_ok=True)
            await self._stop()
        self._say("stopped")
        return 0

    async def _start(self) -> None:
        options = self._options
        self._logs.mkdir(parents=True, exist_ok=True)
        if options.ready_file is not None:
            # A run that was killed left it.
            try:
                options.ready_file.unlink(missing_ok=True)
            except OSError as error:
                raise RefusedError(
                    f"{options.ready_file} cannot be the ready file ({error.strerror}); choose another with --ready-file"
                ) from error
        http_port = await self._port(options.http_port, "--http-port")
        mqtt_port = await self._port(options.mqtt_port, "--mqtt-port")
        self._console.print(f"sitewatch starts in [bold]{options.data}[/]; Ctrl-C stops it", highlight=False)

        cluster = await asyncio.to_thread(postgres.prepare, options.data / "postgres", self._settings.postgres)
        served = broker.prepare(options.data / "broker", self._settings.broker.kind, port=mqtt_port)
        environment = self._environment(cluster, served)
        for part in (self._postgres(cluster), _broker(served), *_programs(cluster, http_port, environment)):
            self._add(part)
        await self._go("PostgreSQL", f"127.0.0.1:{cluster.port}")
        self._cluster = cluster
        await asyncio.to_thread(_migrate, cluster)
        await self._go("broker", f"{served.kind}, 127.0.0.1:{served.port}")
        await asyncio.gather(*(self._go(name) for name in PROGRAMS))

        http = f"http://127.0.0.1:{http_port}"
        ready = {"http": http, "mqtt": served.url, "database": cluster.url(), "token": self._settings.api.api_key}
        if options.ready_file is not None:
            try:
                write_whole(options.ready_file, json.dumps(ready))
            except OSError as error:
                raise StartError(f"{options.ready_file} cannot be written ({error.strerror}); see --ready-file") from error
        self._welcome(http, served.url)
        if options.sim is not None:
            self._add(_sim(http, served.url, options.sim, environment))
            await self._go("sim")

    def _environment(self, cluster: postgres.Cluster, served: broker.Broker) -> dict[str, str]:
        """What the programs are told; not on their command lines, which everybody on the machine can read."""
        file, key = self._options.config_file, self._settings.api.api_key
        return {
            "SITEWATCH_DATABASE": cluster.url(),
            "SITEWATCH_MQTT": served.url,
            "SITEWATCH_INGEST__DRAIN_S": str(min(DRAIN_S, self._settings.ingest.drain_s)),
            **({"SITEWATCH_API_KEY": key} if key else {}),
            **({"SITEWATCH_CONFIG": str(file.absolute())} if file else {}),
        }

    def _postgres(self, cluster: postgres.Cluster) -> Part:
        def command() -> list[str]:
            # Prepared anew at each start: a killed server leaves things to clear away.
            return postgres.prepare(cluster.folder, self._settings.postgres, port=cluster.port).command()

        return Part("PostgreSQL", command, lambda _: postgres.answers(cluster), stop_signal=signal.SIGINT)

    def _add(self, part: Part) -> None:
        keeper = Keeper(part, self._logs / f"{part.name.lower()}.log", self._say)
        self._keepers[part.name] = keeper
        keeper.start()

    async def _go(self, name: str, detail: str = "") -> None:
        await self._keepers[name].go()
        passed_s = time.monotonic() - self._began
        self._console.print(f"  [green]✓[/] {name:<12}[dim]{passed_s:5.1f} s  {detail}[/]", highlight=False)

    async def _port(self, wanted: int, option: str) -> int:
        """The port, once it is free. After an unclean end its last user may need a moment to go."""
        if wanted == 0:
            return postgres.free_port()
        deadline = time.monotonic() + self._patience_s
        while (reason := port_problem(wanted)) is not None:
            if time.monotonic() > deadline:
                raise RefusedError(f"port {wanted} {reason}; choose another with {option}, or {option} 0 for any free one")
            await asyncio.sleep(0.1)
        return wanted

    async def _stop(self) -> None:
        began = time.monotonic()
        if self._cluster is not None:
            # Meanwhile, so that little is left to write when PostgreSQL itself is told to stop.
            asyncio.get_running_loop().run_in_executor(None, postgres.checkpoint, self._cluster)
        for step in (("sim", *PROGRAMS), ("broker",), ("PostgreSQL",)):
            kept = [self._keepers[name] for name in step if name in self._keepers]
            await asyncio.gather(*(keeper.stop(began + STOP_BY_S[keeper.part.name] - time.monotonic()) for keeper in kept))

    def _welcome(self, http: str, mqtt: str) -> None:
        self._console.print(
            f"\n  [bold]Dashboard[/]  {http}/\n  MQTT       {mqtt}\n  Logs       {self._logs}\n", highlight=False, soft_wrap=True
        )

    def _say(self, sentence: str) -> None:
        self._console.print(f"[dim]{datetime.now().astimezone():%H:%M:%S}[/] {sentence}", highlight=False, soft_wrap=True)


def port_problem(port: int) -> str | None:
    """Why nothing can listen on this port of loopback now; None when it is free."""
    with socket.socket() as probe:
        # As servers do: a connection of the last run that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "is reserved for root"
        except OverflowError:
            return "is not between 0 and 65535"
        except OSError as error:
            return "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    return None


def write_whole(file: Path, text: str) -> None:
    """Writes a file that is either not there or complete, and that only its owner reads: it may hold a key."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
    partial.replace(file)


@contextlib.contextmanager
def _lock(data: Path) -> Iterator[bool]:
    """Holds the folder for this process; yields whether its last holder ended without saying so."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        opened = (data / "lock").open("a+")
    except OSError as error:
        raise RefusedError(
            f"{data} cannot be the folder of its data ({error.strerror}); choose another folder with --data"
        ) from error
    with opened as file:
        file.seek(0)
        holder = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = f"process {holder}" if holder else "another process"
            raise RefusedError(
                f"{data} is in use by sitewatch up ({other}); stop that one, or choose another folder with --data"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield bool(holder)
        finally:
            file.truncate(0)


def _migrate(cluster: postgres.Cluster) -> None:
    import psycopg

    from store import migrate  # Late: a fifth of a second that the start of the server hides.

    try:
        migrate.apply(postgres.create_database(cluster))
    except psycopg.Error as error:
        raise StartError(f"the tables could not be brought up to date: {error}") from error


def _broker(served: broker.Broker) -> Part:
    return Part("broker", served.command, lambda _: broker.answers(served.port), checked=True)


def _programs(cluster: postgres.Cluster, http_port: int, environment: dict[str, str]) -> list[Part]:
    def beats(name: str) -> Callable[[datetime], bool]:
        return lambda since: _beats(cluster, name, since)

    return [
        Part("ingest", lambda: _command("ingest"), beats("ingest"), environment),
        Part("verify", lambda: _command("verify"), beats("verify"), environment),
        Part("api", lambda: _command("api", "--port", str(http_port)), lambda _: _serves(http_port), environment),
    ]


def _sim(http: str, mqtt: str, arguments: tuple[str, ...], environment: dict[str, str]) -> Part:
    return Part("sim", lambda: _command("sim", "--http", http, "--mqtt", mqtt, *arguments), lambda _: True, environment)


def _command(*arguments: str) -> list[str]:
    # -P: a folder `api` or `store` where the user happens to be is not ours.
    return dependent.command([sys.executable, "-P", "-m", "sitewatch", *arguments])


def _beats(cluster: postgres.Cluster, program: str, since: datetime) -> bool:
    """Whether a program has said, since it was started, that it is at work."""
    import psycopg

    try:
        with psycopg.connect(cluster.url(), connect_timeout=2) as connection:
            # Ingest also says whether it is subscribed: what is sent before that would be lost on a new broker.
            query = """select 1 from programs
                where name like %s and started_at >= %s and (state ->> 'connected')::boolean is not false"""
            return connection.execute(query, (f"{program}%", since)).fetchone() is not None
    except psycopg.Error:
        return False


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
