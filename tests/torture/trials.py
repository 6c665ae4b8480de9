"""Trials: one trouble each, in isolation, with the numbers that belong to it.

Each builds a house of its own, lets phones talk through the trouble, heals it, and has the ledger judge. A trial returns a `Trial`:
lines for people, and what was wrong.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
from msgspec import Struct, field

from tests.torture import judge
from tests.torture.house import House, until
from tests.torture.judge import Blackout
from tests.torture.phones import Fleet, Manner, Talker
from tests.torture.script import DAY_S, PREFIX, Report, Script, plans

HEAL_S = 120.0
PATIENT = Manner(window=10**9, patience_s=1e9, patience_most_s=1e9, unruly=False)
"""A phone that trusts and waits: what is queued for ingest is then what was said, and nothing twice."""
INGEST_ONLY = ("broker", "database", "ingest-1")


class Trial(Struct):
    """What a trial came to."""

    name: str
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.wrong

    def text(self) -> str:
        said = [*self.lines, *(f"WRONG: {one}" for one in self.wrong)]
        return "\n  ".join([f"{self.name}: {'GOOD' if self.good else 'NOT GOOD'}", *said])


class Rig:
    """A house with one ingestor and a fleet in front of it."""

    def __init__(self, house: House, fleet: Fleet) -> None:
        self.house, self.fleet = house, fleet
        self.connection: psycopg.Connection | None = None

    def rows(self) -> int:
        """Rows of evidence now; -1 where the database is away."""
        try:
            with psycopg.connect(self.house.database, autocommit=True, connect_timeout=2) as connection:
                return judge.rows(connection)
        except psycopg.OperationalError:
            return -1

    async def heal(self, trial: Trial, seconds: float = HEAL_S) -> float:
        """Waits until everything that counts is receipted; returns how long it took."""
        began = time.monotonic()
        self.fleet.talk(0)
        try:
            await until(lambda: self.fleet.outstanding == 0, "reports have no receipt", seconds)
        except TimeoutError as error:
            trial.wrong.append(f"{error}: {self.fleet.outstanding} of them")
        stored = -1
        while stored != (stored := self.rows()):  # noqa: ASYNC110 - nobody could tell us.
            await asyncio.sleep(0.5)
        return time.monotonic() - began

    def judge(self, trial: Trial, *blackouts: Blackout) -> judge.Findings:
        with psycopg.connect(self.house.database, autocommit=True) as connection:
            findings = judge.judge(connection, self.fleet, blackouts)
        said = findings.lines()
        trial.lines += said[:2]
        trial.wrong += said[2:]
        return findings


@contextlib.asynccontextmanager
async def rig(
    folder: Path,
    seed: int,
    *,
    phones: int = 8,
    manner: Manner | None = None,
    parts: tuple[str, ...] = INGEST_ONLY,
    database: Path | None = None,
    plain: bool = False,
    poison: int = 10,
    **environment: str,
) -> AsyncIterator[Rig]:
    """Everything up and connected, nobody saying anything yet."""
    settings = {f"SITEWATCH_INGEST__{name.upper()}": value for name, value in environment.items()}
    house = House(folder, ingestors=1, environment=settings, database=database)
    day = float(int(time.time()) // 3600 * 3600 - 86_400 - DAY_S)
    scripts = [
        Script(seed=seed, worker=f"t-{k}", number=k, day=day, step_s=0.25, plain=plain, poison=poison) for k in range(phones)
    ]
    fleet = Fleet(house.port, scripts, 2, _unasked, manner)
    try:
        await house.begin(plans(2, phones, day), parts)
        await fleet.begin()
        await until(lambda: all(talker.up for talker in (*fleet.phones, fleet.crowd)), "the phones are not connected")
        yield Rig(house, fleet)
        await fleet.end()
    finally:
        house.end()


# The answer to COMMIT ------------------------------------------------------------------------------------------------------------


async def lost_commits(folder: Path, seed: int, count: int) -> Trial:
    """So many COMMITs reach the database and their answers do not reach ingest."""
    trial = Trial(f"{count} lost COMMIT answers")
    draw = random.Random(seed)
    # Plain, because looking for a bad row takes many COMMITs in a row, of which hardly ever all are answered.
    async with rig(folder, seed, plain=True, retry_max_s="0.02") as it:
        proxy = it.house.to_database
        it.fleet.talk(400)
        await until(lambda: it.rows() > 0, "nothing is stored")
        began = time.monotonic()
        proxy.swallow_answer_to = lambda content: b"COMMIT" in content and proxy.swallowed < count and draw.random() < 0.5
        await until(lambda: proxy.swallowed >= count, "COMMITs go through", 60 + 2 * count)
        took_s = time.monotonic() - began
        await it.heal(trial)
        it.house.stop("ingest-1")
        with psycopg.connect(it.house.database) as connection:
            [(duplicate,)] = connection.execute("select (state ->> 'duplicate_total')::int from programs").fetchall()
        trial.lines.append(
            f"{proxy.swallowed} answers lost in {took_s:.0f} s; {duplicate} reports were committed again and recognised"
        )
        if not duplicate:
            trial.wrong.append("no COMMIT had got through before its answer was lost, so this proves nothing")
        it.judge(trial)
    return trial


# The database away ---------------------------------------------------------------------------------------------------------------


async def away(folder: Path, seed: int, seconds: float, rate: int, poison: int) -> Trial:
    """The database is killed and stays away while the phones talk on; it comes back, and the backlog drains."""
    trial = Trial(f"database away for {seconds:g} s at {rate} reports/s, {poison} of 10,000 refused by the database alone")
    async with rig(folder, seed, phones=16, manner=PATIENT, poison=poison, retry_max_s="5.0") as it:
        it.fleet.talk(rate)
        await asyncio.sleep(4.0)
        before_mb, stored = _resident_mb(it.house.pid("ingest-1")), it.rows()
        it.house.kill("database")
        most_mb, until_s = before_mb, time.monotonic() + seconds
        while time.monotonic() < until_s:
            await asyncio.sleep(min(1.0, seconds / 10))
            most_mb = max(most_mb, _resident_mb(it.house.pid("ingest-1")))
        it.house.start("database")
        await until(lambda: it.house.answers("database"), "the database is not back")
        back = time.monotonic()
        await until(lambda: it.rows() > stored, "nothing is committed")
        first_s, draining = time.monotonic() - back, time.monotonic()
        backlog = it.fleet.reports_total - stored
        # Drained: what is stored follows what is said by no more than half a second's worth; some two in a hundred are rejects.
        said = it.fleet.reports_total
        await until(lambda: it.rows() > it.fleet.reports_total * 0.97 - 0.5 * rate, "the backlog does not drain", HEAL_S + seconds)
        drained_s = time.monotonic() - draining
        arrived = it.fleet.reports_total - said
        most_mb = max(most_mb, _resident_mb(it.house.pid("ingest-1")))
        talked = it.fleet.reports_total / it.fleet.talking_s
        await it.heal(trial)
        drain = (backlog + arrived) / max(drained_s, 1e-9)
        trial.lines += [
            f"ingest grew from {before_mb:.0f} to at most {most_mb:.0f} MB (+{most_mb - before_mb:.0f}; target +100)",
            f"first commit {first_s:.1f} s after the database answered again (target 10 s)",
            f"backlog of {backlog:,} drained in {drained_s:.1f} s while {arrived:,} more came:"
            f" {drain:,.0f} reports/s, {drain / talked:.1f} × the arrival rate of {talked:,.0f}/s (target 3 ×)",
        ]
        it.judge(trial)
    return trial


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# The disk full -------------------------------------------------------------------------------------------------------------------


async def disk_full(folder: Path, seed: int, megabytes: int = 256) -> Trial | None:
    """The database's disk fills up while phones talk; then there is room again. None where we may not mount a small disk."""
    trial = Trial("disk full")
    with _small_disk(folder, megabytes) as disk:
        if disk is None:
            return None
        async with rig(folder, seed, database=disk / "postgres", retry_max_s="0.5") as it:
            it.fleet.talk(400)
            await until(lambda: it.rows() > 200, "nothing is stored")
            ballast = disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as output:
                while True:
                    output.write(bytes(2**20))
            full_at = it.rows()
            await _no_more(it)
            died = not it.house.alive("database")
            stuck, owed = it.rows(), it.fleet.outstanding
            await asyncio.sleep(2.0)
            if not it.house.alive("ingest-1"):
                trial.wrong.append("ingest did not live through it")
            ballast.unlink()
            if not it.house.alive("database"):
                it.house.start("database")
            took_s = await it.heal(trial)
            trial.lines.append(
                f"full at {full_at} rows, the last of {stuck if stuck >= 0 else 'an unknown number'} went in; PostgreSQL"
                f" {'ended itself and was started again' if died else 'lived on'}; {owed} reports were owed;"
                f" healed {took_s:.1f} s after there was room"
            )
            if not owed:
                trial.wrong.append("nothing was owed while the disk was full, so this proves nothing")
            it.judge(trial)
    return trial


@contextlib.contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A disk of so many megabytes, or None."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


async def _no_more(it: Rig, seconds: float = 60.0) -> None:
    """Until no receipt has come for two seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = sum(phone.receipted_total for phone in it.fleet.phones)
        await asyncio.sleep(2.0)
        if before == sum(phone.receipted_total for phone in it.fleet.phones):
            return
    raise TimeoutError("reports are receipted on a full disk")


# Half-open connections and a stalled subscription --------------------------------------------------------------------------------


async def half_open(folder: Path, seed: int, what: str, seconds: float = 60.0) -> Trial:
    """A connection over which nothing comes any more, in neither direction, and which nobody closes. New ones work."""
    trial = Trial(f"half-open connection to the {what}")
    async with rig(folder, seed, keepalive_s="3", attempt_max_s="3") as it:
        proxy = it.house.to_broker if what == "broker" else it.house.to_database
        it.fleet.talk(200)
        await until(lambda: it.rows() > 100, "nothing is stored")
        proxy.freeze()
        began, stored = time.monotonic(), it.rows()
        # What was under way may still arrive.
        await asyncio.sleep(0.5)
        stored = it.rows()
        try:
            await until(lambda: it.rows() > stored + 50, "ingest did not notice", seconds)
            trial.lines.append(f"noticed, and went on over a new connection after {time.monotonic() - began:.1f} s")
        except TimeoutError as error:
            trial.wrong.append(str(error))
            proxy.cut()
        await it.heal(trial)
        it.judge(trial)
    return trial


# The broker, with and without what it knew ---------------------------------------------------------------------------------------


async def broker_restarts(folder: Path, seed: int, *, forgets: bool) -> Trial:
    """Ingest is stopped, phones talk, the broker is killed and comes back: with its sessions, or without them."""
    trial = Trial(f"broker restarted {'without' if forgets else 'with'} its sessions")
    async with rig(folder, seed, manner=Manner(unruly=False)) as it:
        it.fleet.talk(300)
        await until(lambda: it.rows() > 100, "nothing is stored")
        it.house.stop("ingest-1")
        stored = it.rows()
        await asyncio.sleep(3.0)
        it.fleet.talk(0)
        # What does not count has the broker's word alone, and the broker saves once a second.
        await asyncio.sleep(3.0)
        owed = it.fleet.outstanding
        if forgets:
            it.house.forget()
        else:
            it.house.kill("broker")
        killed_at = time.time()
        it.house.start("broker")
        await until(lambda: it.house.answers("broker"), "the broker is not back")
        it.house.start("ingest-1")
        await until(lambda: it.house.answers("ingest-1"), "ingest is not back")
        took_s = await it.heal(trial)
        trial.lines.append(f"{owed} reports had no receipt; {it.rows() - stored} rows came afterwards, within {took_s:.1f} s")
        blackouts = [Blackout(killed_at - 60, killed_at + 5)] if forgets else []
        findings = it.judge(trial, *blackouts)
        if forgets and not findings.loose_lost_by_broker:
            trial.wrong.append("the broker forgot nothing, so this proves nothing")
    return trial


# A flood -------------------------------------------------------------------------------------------------------------------------


class Tapper(Talker):
    """A quiet phone that says one thing at a time and measures how long its receipt takes."""

    def __init__(self, port: int, number: int, day: float) -> None:
        worker = f"q-{number}"
        super().__init__(port, worker, (f"{PREFIX}/workers/{worker}/receipt",), random.Random(number))
        self.waits_s: list[float] = []
        self._script = Script(seed=0, worker=worker, number=number, day=day, step_s=0.25, plain=True)
        self._n = 0
        self._got = asyncio.Event()

    async def tap(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.1, 0.4))
            self._n += 1
            report = self._script.report(self._n)
            self._got.clear()
            began = time.monotonic()
            self.publish(report.topic, report.payload)
            await self._got.wait()
            self.waits_s.append(time.monotonic() - began)

    def heard(self, topic: str, payload: bytes) -> None:
        self._got.set()


POUR = "import sys; from tests.torture import trials; trials.pour(int(sys.argv[1]), float(sys.argv[2]))"


def pour(port: int, rate: float) -> None:
    """A phone that says so much a second, until killed: for a process of its own, so that only the way in is shared."""

    async def run() -> None:
        day = float(int(time.time())) - 2 * DAY_S
        script = Script(seed=0, worker="flood", number=0, day=day, step_s=0.001, plain=True)
        manner = Manner(window=10**9, unruly=False, patience_s=1e9, patience_most_s=1e9)
        fleet = Fleet(port, [script], 1, _unasked, manner)
        await fleet.begin()
        fleet.talk(rate)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextlib.contextmanager
def _poured(port: int, rate: float) -> Iterator[None]:
    flooder = subprocess.Popen([sys.executable, "-P", "-c", POUR, str(port), str(rate)])
    try:
        yield
    finally:
        flooder.kill()
        flooder.wait()


async def flood(folder: Path, seed: int, rate: float, seconds: float = 10.0) -> Trial:
    """One phone says as much as it is told to; ten others want their receipts as before."""
    trial = Trial(f"flood of {rate:g} reports/s from one phone")
    async with rig(folder, seed, phones=1) as it:
        tappers = [Tapper(it.house.port, k, it.fleet.phones[0].script.day) for k in range(10)]
        tasks = [asyncio.create_task(tapper.keep()) for tapper in tappers]
        await until(lambda: all(tapper.up for tapper in tappers), "the quiet phones are not connected")
        tasks += [asyncio.create_task(tapper.tap()) for tapper in tappers]
        await asyncio.sleep(2.0)
        quiet = await _listen(tappers, seconds)
        stored = it.rows()
        with _poured(it.house.port, rate):
            await until(lambda: it.rows() > stored + rate / 2, "the flood does not begin")
            stored, began = it.rows(), time.monotonic()
            flooded = await _listen(tappers, seconds)
            came = (it.rows() - stored) / (time.monotonic() - began)
        for task in tasks:
            task.cancel()
        ratios = [flooded[k] / quiet[k] for k in range(2)]
        trial.lines += [
            f"{came:,.0f} rows a second were stored meanwhile; the others' receipts took"
            f" {1000 * quiet[0]:.0f} ms (p50) and {1000 * quiet[1]:.0f} ms (p95) before,"
            f" {1000 * flooded[0]:.0f} ms and {1000 * flooded[1]:.0f} ms during the flood:"
            f" {ratios[0]:.1f} × and {ratios[1]:.1f} × (target 2 ×)"
        ]
    return trial


async def _listen(tappers: list[Tapper], seconds: float) -> tuple[float, float]:
    """Median and 95th percentile of the waits that end within the next seconds."""
    for tapper in tappers:
        tapper.waits_s.clear()
    await asyncio.sleep(seconds)
    waits = sorted(wait for tapper in tappers for wait in tapper.waits_s)
    return waits[len(waits) // 2], waits[int(len(waits) * 0.95)]


# A database that hangs -----------------------------------------------------------------------------------------------------------


async def frozen_database(folder: Path, seed: int, seconds: float = 3.0) -> Trial:
    """The database lives, holds its connections, and does nothing (SIGSTOP). Nobody may be promised anything meanwhile."""
    trial = Trial(f"database frozen for {seconds:g} s")
    async with rig(folder, seed) as it:
        it.fleet.talk(300)
        await until(lambda: it.rows() > 100, "nothing is stored")
        pids = it.house.pids("database")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        promised = sum(phone.receipted_total for phone in it.fleet.phones)
        await asyncio.sleep(seconds)
        if promised != sum(phone.receipted_total for phone in it.fleet.phones):
            trial.wrong.append("receipts came while nothing could be stored")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # A worker that came for a moment.
                os.kill(pid, signal.SIGCONT)
        trial.lines.append(f"healed in {await it.heal(trial):.1f} s")
        it.judge(trial)
    return trial


def _unasked(report: Report) -> None:
    """Receipts are not looked up in a trial: the ledger judges in the end."""
