"""Publish: docs/accuracy.md and its pictures, from the rows of one run. What people wrote below the last heading stays."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from bench.accuracy import page
from bench.accuracy.score import Row, key
from geofence import ENGINE

DOCS = Path(__file__).parents[2] / "docs"
KEPT = "## What this shows"
"""From here on the page is written by hand."""


class Run(Struct, frozen=True, kw_only=True):
    """How the rows came to be."""

    command: str
    seeds: range
    cheat_seeds: range
    elapsed_s: float
    worlds: tuple[str, ...]
    methods: tuple[str, ...]


def write(rows: Sequence[Row], cheats: Sequence[Row], bent: Mapping[str, Sequence[Row]], run: Run) -> None:
    """Draws and writes."""
    from bench.accuracy import plots  # matplotlib, which is wanted here only

    plots.draw(rows, run.worlds, run.methods, DOCS / "accuracy")
    file = DOCS / "accuracy.md"
    kept = file.read_text().partition(KEPT)[2] if file.exists() else "\n"
    file.write_text(_text(rows, cheats, bent, run) + KEPT + kept)


def _text(rows: Sequence[Row], cheats: Sequence[Row], bent: Mapping[str, Sequence[Row]], run: Run) -> str:
    worlds = run.worlds
    shared = _shared(rows, run.methods)
    confusions = "\n\n".join(page.verdicts(rows, world) for world in worlds)
    causes = "\n\n".join(page.why(rows, world) for world in worlds)
    manners = "\n\n".join(page.by_manner(cheats, world) for world in worlds)
    visits = len({key(r) for r in rows})
    return f"""# Accuracy: how right the engine is, measured

Made on {datetime.now(UTC):%Y-%m-%d} by

    {run.command}

with engine {ENGINE}, on {visits} visits of seeds {_span(run.seeds)} and {len(cheats)} of seeds
{_span(run.cheat_seeds)}, to which nothing was fitted, in {run.elapsed_s:.0f} s on {os.cpu_count()} cores that were
shared with other work ({platform.machine()}, Python {platform.python_version()}).

Two worlds, which share no code: *town* is the project's own simulator ([simulator](simulator.md)) with 45 % of its visits gone
wrong, *drift* is a second one, made to disagree with it (`bench/accuracy/drift.py`: other ways, other errors, phones that misstate
their accuracy by factors, biases that change at the door, reflections, dropouts, doze). The truth is where the worker really was.
*significant* is OwnTracks' significant mode. *flats* are homes whose ground another customer shares.

Accuracy is asked for on visits that were served (10 min or more), seen (coverage of 95 % or more in truth), reported by a phone
whose clock is right, and not contested (she was within the fence in the planned time of her next visit as well); the tables of
verdicts and of coverage are of all visits. Errors are `median / 95th percentile` of absolute errors. F1 is that of seconds within
the plan and half an hour to either side.

## Against the targets

{page.targets(rows, worlds)}

## By surroundings

{page.accuracy(rows, worlds)}

## By what the worker did

{page.scenarios(rows, worlds)}

## Beside what others do

The same visits for all, a few of each day since the libraries are slow. What each method does stands in
`bench/accuracy/baselines.py`; *perfect* is no method: it is told at each fix whether she is inside, and takes the middle between
two that differ, which is the best that can be done without a model of the way and without doors.
*passed* is the share of visits without the worker that it would pay (95 % of the plan on site), *denied* the share of served visits
that it would call absent (less than 10 min).

{page.beside(shared, worlds, run.methods)}

![F1 by sampling and method](accuracy/f1.svg)

![Errors of arrival](accuracy/arrival.svg)

## In a world that is bent

The drift world with other errors than those that anything was fitted to, one of its days: held are the shares of the 90 % intervals
of arrival, departure and seconds; spoofers are left out of *verified, not there*.

{page.bent(bent)}

## Error bars

Of the intervals that should hold the truth in 90 % of the cases, so many do, and so wide they are (medians: arrival, departure,
seconds).

{page.calibration(rows, worlds)}

![Intervals that hold the truth](accuracy/held.svg)

## Verdicts

{confusions}

Verified and not there, contradicted and there (10 min of the planned time), all visits:

{page.wrongs(rows, worlds)}

## Visits without the worker

{page.wrong_line(cheats)}

How a spoofer makes positions up stands in `bench/accuracy/drift_cheats.py`. What a phone says cannot tell these: a phone that lies
in the home while its owner is elsewhere, a colleague who carries it there, a position that walks in from where she really is and
has a receiver's noise, or one that leaps behind a silence, or no further than a ride of that time goes, with radii that vary. At a
fix every ten seconds dice are told by having no memory; at a fix a minute honest receivers have none either (*dice*). A
track that is played again (*replay*) is the one that her phone told a week before; one that nobody ever sent us could not be told.
Against those helps what is fixed at the home: a code, a beacon, a lock.

{manners}

## Coverage

Error of coverage in percentage points, against the definition in [words](words.md) computed from the truth about each report.

{page.coverage(rows, worlds)}

Seconds by true and told cause; `seen` where the other has a gap and this one has none:

{causes}

"""


def _shared(rows: Sequence[Row], methods: Sequence[str]) -> list[Row]:
    """The rows of the visits that every method answered."""
    answered: dict[tuple[str, str, str], int] = {}
    for r in rows:
        answered[key(r)] = answered.get(key(r), 0) + 1
    return [r for r in rows if answered[key(r)] == len(methods)]


def _span(seeds: range) -> str:
    return f"{seeds.start} to {seeds.stop - 1}"
