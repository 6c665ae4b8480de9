"""Crew: processes that work off chunks, each through a database session of its own.

    chunks ──▶ whoever is free ──▶ work(connection, chunk) ──▶ what came of it, in the order in which they finish

Rules kept here:

- A process is given its next chunk once it told what became of the last one. Nothing waits in between, so memory stays bounded,
  and a chunk that takes long holds up nobody.
- A crew ends with its parent, however that ended: whose pipe is closed finishes the chunk at hand and ends. Ctrl-C, which a
  terminal sends to all of them, is the parent's to hear.
- A database that fails one of them is raised in the parent as what it was. A mistake of ours ends the process, and the crew.
- Whoever loses a race for a row to another of the crew tries again, since each chunk is a transaction of its own.
"""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection as pipes
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

import psycopg
from psycopg import Connection, errors

from sitewatch import logs
from sitewatch.config import Log
from sitewatch.verify import prepared

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

TRIES_MAX = 10
"""Two that meet in one row part at the next try; after so many it is no race."""
PAUSE_S = 0.05
STOP_TIMEOUT_S = 30.0
"""A chunk takes a second or so. What takes this long hangs, and is ended by force: its transaction is undone."""

GONE = (EOFError, BrokenPipeError)
"""What a pipe says whose other end is closed."""


class Hands(Protocol):
    """Does `work` on every chunk, in no promised order, and yields what came of each."""

    def __call__(self, work: Callable[[Connection, Chunk], Result], chunks: Iterable[Chunk]) -> Iterator[Result]: ...


def alone(connection: Connection) -> Hands:
    """This process, on a connection that it has."""

    def each(work: Callable[[Connection, Chunk], Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
        return (_tried(connection, work, chunk) for chunk in chunks)

    return each


@contextlib.contextmanager
def together(database: str, processes: int, log: Log) -> Iterator[Hands]:
    """So many processes. `work` is then a function that a new process can import by its name."""
    # Spawned and not forked: a copy of this process would share its sockets.
    context = get_context("spawn")
    crew: dict[Pipe, BaseProcess] = {}
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            crew[ours] = context.Process(target=_work_off, args=(database, log, theirs), daemon=True)
            crew[ours].start()
            theirs.close()
        yield lambda work, chunks: _hand_out(list(crew), work, chunks)
    finally:
        for pipe in crew:
            pipe.close()
        for process in crew.values():
            process.join(STOP_TIMEOUT_S)
            process.terminate()


def _hand_out(idle: list[Pipe], work: Callable[[Connection, Chunk], Result], chunks: Iterable[Chunk]) -> Iterator[Result]:
    busy: list[Pipe] = []
    waiting = iter(chunks)
    while True:
        while idle and (chunk := next(waiting, None)) is not None:
            pipe = idle.pop()
            pipe.send((work, chunk))
            busy.append(pipe)
        if not busy:
            return
        for done in pipes.wait(busy):
            assert isinstance(done, Pipe)
            busy.remove(done)
            idle.append(done)
            yield _received(done)


def _received(pipe: Pipe) -> Result:  # type: ignore[type-var]
    try:
        told = pipe.recv()
    except EOFError:
        raise ChildProcessError("a process of the crew has ended before its work was done") from None
    if isinstance(told, psycopg.Error):
        raise told
    result: Result = told
    return result


def _work_off(database: str, log: Log, pipe: Pipe) -> None:
    """What a process of the crew does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(log)
    try:
        with prepared(psycopg.connect(database, application_name="sitewatch replay")) as connection, contextlib.suppress(*GONE):
            while True:
                work, chunk = pipe.recv()
                pipe.send(_tried(connection, work, chunk))
    except psycopg.Error as error:
        with contextlib.suppress(*GONE):
            pipe.send(error)


def _tried(connection: Connection, work: Callable[[Connection, Chunk], Result], chunk: Chunk) -> Result:
    for n in range(1, TRIES_MAX):
        try:
            return work(connection, chunk)
        except (errors.SerializationFailure, errors.DeadlockDetected):
            time.sleep(PAUSE_S * n * random.uniform(0.5, 1.0))  # noqa: S311 (spreads tries, hides nothing)
    return work(connection, chunk)
