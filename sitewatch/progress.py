"""Progress: how far a long command is. A bar for each part on a terminal, and a plain line now and then anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""A line this often at most, so that a log of a night is still read."""

Report = Callable[[str, int, int], None]
"""Told now and then: which part is worked on, how much of it is done, and how much there is."""


def silent(part: str, done: int, total: int) -> None:
    """Tells nobody."""


@contextmanager
def shown() -> Iterator[Report]:
    """Shows on standard error what is reported."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield _bars(progress)
    else:
        yield lines(lambda line: print(line, file=sys.stderr, flush=True), time.monotonic)  # noqa: T201 (what this is for)


def lines(write: Callable[[str], None], clock: Callable[[], float]) -> Report:
    """A line when a part is done, and between as often as `LINE_EVERY_S` allows."""
    told_at = clock()

    def report(part: str, done: int, total: int) -> None:
        nonlocal told_at
        if done >= total or clock() - told_at >= LINE_EVERY_S:
            told_at = clock()
            write(f"{part}: {done} of {total}")

    return report


def _bars(progress: Progress) -> Report:
    tasks: dict[str, TaskID] = {}

    def report(part: str, done: int, total: int) -> None:
        if part not in tasks:
            tasks[part] = progress.add_task(part)
        progress.update(tasks[part], completed=done, total=total)

    return report
