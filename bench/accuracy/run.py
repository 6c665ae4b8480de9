"""Run: worlds, seeds and samplings as tasks, spread over processes; the rows of all of them come back in one fixed order."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import msgspec
from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.accuracy import baselines, drift, town
from bench.accuracy.answer import Answer, engine
from bench.accuracy.case import AWAY, Case, Sampling, Truth, World
from bench.accuracy.drift_phone import PLAIN, Bend
from bench.accuracy.score import Row, row
from geofence.policy import Policy

LIBRARY_VISITS = 12
"""Of each task, so many visits are put before the libraries: they take a hundred times as long as the rest together."""


class Task(Struct, frozen=True, kw_only=True):
    """One world on one day, seen with one sampling. `size` is workers in the town and visits in the drift world."""

    world: World
    seed: int
    sampling: Sampling
    size: int
    policy: Policy
    methods: tuple[str, ...]
    keep: bool = False
    """Whether truths and answers are wanted beside the rows."""
    cheats: bool = False
    """Whether only those visits are wanted in which she was not there, as far as the world can be asked for them."""
    bend: Bend = PLAIN
    """Of the drift world."""


class Kept(Struct, frozen=True):
    """A row with what it was made of, for study."""

    row: Row
    truth: Truth
    answer: Answer


_encode = msgspec.json.Encoder(enc_hook=float).encode
"""Numbers of numpy are numbers too."""


def cases(task: Task) -> list[Case]:
    """The visits of one task."""
    if task.world == "drift":
        behaviours = tuple(sorted(AWAY)) if task.cheats else tuple(drift.BEHAVIOURS)
        return list(drift.cases(task.seed, task.sampling, task.size, behaviours, task.bend))
    return list(town.cases(task.seed, task.sampling, task.size, 1.0 if task.cheats else town.TROUBLE))


def work(task: Task) -> tuple[list[Row], bytes]:
    """Every method's row of every visit; and those with truth and answer as lines of JSON, where wanted."""
    rows, lines = [], []
    answers: dict[str, Callable[[Case], Answer]] = {name: baselines.method(name) for name in task.methods}
    answers = {"engine": lambda case: engine(case, task.policy), **answers}
    found = cases(task)
    step = max(len(found) // LIBRARY_VISITS, 1)
    for k, case in enumerate(found):
        for name, ask in answers.items():
            if name in baselines.LIBRARIES and k % step:
                continue
            answer = ask(case)
            rows.append(row(case, name, answer))
            if task.keep:
                lines.append(_encode(Kept(rows[-1], case.truth, answer)) + b"\n")
    return rows, b"".join(lines)


def run(tasks: Sequence[Task], processes: int, keep: Callable[[bytes], Any]) -> list[Row]:
    """All rows, with a bar on the terminal."""
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("days", total=len(tasks))
        for found, lines in _spread(tasks, processes):
            rows += found
            keep(lines)
            progress.advance(bar)
    return rows


def _spread(tasks: Sequence[Task], processes: int) -> Any:
    if processes == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(work, tasks)
