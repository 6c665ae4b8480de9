"""Keeps programs running: starts them, starts them again when they end, and stops them in order.

A part is a child process with its own log file. Its states:

    starting ──answers──▶ running ──ends──▶ waiting (backoff, jittered, capped) ──▶ starting
        │ ends three times before its first answer
        ▼
    StartError, with the end of its log

The rules:

- A child's signals are its own: it has its own process group, so that Ctrl-C in a terminal reaches `up` alone, which then
  stops the parts in the right order.
- Every child gets a pipe as standard input, see `lifeline`. PostgreSQL and the broker do not read it; they end with us
  through `dependent`.
- What happens to a part is said in one line, with the name of the log that says why.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sitewatch import lifeline

START_TIMEOUT_S = 60.0
TRIES_BEFORE_FIRST_ANSWER = 3
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
# A part that ran this long was well: its next end is a new story and waits the first delay again.
WELL_AFTER_S = 30.0
# Asking whether a part answers costs it something too, a login for some: soon at first, then less often.
POLL_FIRST_S = 0.05
POLL_MAX_S = 0.4
POLL_GROWTH = 1.2
CHECK_EVERY_S = 5.0
CHECKS_FAILED_MAX = 3
# At each start a longer log is put aside, and the one put aside before is gone.
LOG_BYTES_MAX = 20_000_000


class StartError(Exception):
    """A part does not start; the message says which one and shows the end of its log."""


@dataclass(frozen=True)
class Part:
    """One program to keep: how it is started, how one knows that it answers, how it is asked to stop."""

    name: str
    command: Callable[[], list[str]]
    # Given the time of the start, so that the heartbeat of an earlier run is not taken for this one's.
    answers: Callable[[datetime], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    # A process that lives but no longer answers is ended and started again.
    checked: bool = False


class Keeper:
    """Keeps one part running from `start` to `stop`."""

    def __init__(self, part: Part, log: Path, say: Callable[[str], None]) -> None:
        self.part = part
        self.log = log
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._may_go = asyncio.Event()
        # Set when the part answers, and when it is given up.
        self._settled = asyncio.Event()
        self._failure: str | None = None
        self._answered_once = False
        self._random = random.Random()  # noqa: S311 jitter

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Begins to keep the part; it waits inside until `go`, when it is one that waits."""
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def go(self) -> None:
        """Lets the part work, now and at every later start; returns when it answers. Raises StartError."""
        self._may_go.set()
        self._release()
        await self._settled.wait()
        if self._failure is not None:
            raise StartError(self._failure)

    async def stop(self, grace_s: float) -> None:
        """Asks the part to end and returns when it has, by force after `grace_s`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(self.part.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            self._say(f"{self.part.name} did not stop within {grace_s:.1f} s and was ended by force")
            # PostgreSQL's children belong to it: SIGQUIT ends them too, and the next start recovers.
            self._signal(signal.SIGQUIT if self.part.stop_signal == signal.SIGINT else signal.SIGKILL)
            await process.wait()

    async def _keep(self) -> None:
        delay_s = BACKOFF_FIRST_S
        early_ends = 0
        while True:
            began, began_at = time.monotonic(), datetime.now(UTC)
            process = await self._spawn()
            follow = asyncio.create_task(self._follow(began_at, again=self._answered_once), name=f"follow {self.part.name}")
            try:
                code = await process.wait()
            finally:
                follow.cancel()
            self._settled.clear()
            early_ends += not self._answered_once
            if early_ends >= TRIES_BEFORE_FIRST_ANSWER:
                self._fail(f"{self.part.name} does not start ({describe(code)}); the end of {self.log}:\n{tail(self.log)}")
                return
            if time.monotonic() - began > WELL_AFTER_S:
                delay_s = BACKOFF_FIRST_S
            pause_s = delay_s * self._random.uniform(0.5, 1.5)
            self._say(f"{self.part.name} ended ({describe(code)}), is started again in {pause_s:.1f} s; see {self.log}")
            await asyncio.sleep(pause_s)
            delay_s = min(delay_s * 2, BACKOFF_MAX_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        # Preparing may wait for what a killed server left; the child itself must come from this thread, which lives on.
        command = await asyncio.to_thread(self.part.command)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.part.environment, lifeline.VARIABLE: "1"},
                process_group=0,
            )
        if self._may_go.is_set():
            self._release()
        return self._process

    def _release(self) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._process.stdin.write(lifeline.GO)

    async def _follow(self, began_at: datetime, *, again: bool) -> None:
        """Notices the first answer of a start, and a part that answers no more."""
        await self._may_go.wait()
        deadline = time.monotonic() + START_TIMEOUT_S
        pause_s = POLL_FIRST_S
        while not await asyncio.to_thread(self.part.answers, began_at):
            if time.monotonic() > deadline and not again:
                self._fail(f"{self.part.name} does not answer; the end of {self.log}:\n{tail(self.log)}")
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * POLL_GROWTH, POLL_MAX_S)
        self._answered_once = True
        self._settled.set()
        if again:
            self._say(f"{self.part.name} is back")
        failed = 0
        while self.part.checked:
            await asyncio.sleep(CHECK_EVERY_S)
            failed = 0 if await asyncio.to_thread(self.part.answers, began_at) else failed + 1
            if failed >= CHECKS_FAILED_MAX:
                self._say(f"{self.part.name} lives but does not answer: ended")
                self._signal(signal.SIGKILL)
                return

    def _fail(self, message: str) -> None:
        self._failure = message
        self._settled.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not its send_signal, which looks for the end of the process first and takes it from the thread that waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def describe(code: int) -> str:
    """An exit code for people."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
