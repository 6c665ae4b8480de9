"""Tortures the way in, and says what it could not break: `python -m tests.torture`."""
# ruff: noqa: T201 - a command prints.

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sitewatch import broker
from tests.torture import storm, trials
from tests.torture.plan import Options
from tests.torture.report import Book, Entry
from tests.torture.trials import Trial

HELP = """
Real mosquitto, real PostgreSQL, the real programs, and simulated phones that keep an outbox and a ledger. Everything is killed, cut
and stalled while they talk; in the end the ledger is compared with the database, report by report. What will go wrong is drawn from
the seed and printed first; a run that finds something prints the command that repeats it, and keeps its folder.

  python -m tests.torture                                 the storm, in its short form: half a minute
  python -m tests.torture --rounds 10 --book storms.jsonl --rate 2500 --phones 60 --patience 5 --pause 3 \\
      --kills-ingest 20 --kills-database 5 --kills-broker 5 --kills-verify 2 --cuts 10 --forgets 0
                                                          ten storms, each in a world of its own, written down one by one;
                                                          said again, it goes on where it was ended
  python -m tests.torture commits --lost-commits 1000     answers to COMMIT that never arrive
  python -m tests.torture away --database-away 30m --rate 300 --poison 0   memory, first commit, drain rate
  python -m tests.torture disk                            the database's disk is full (root: a small disk is mounted)
  python -m tests.torture half-open                       connections that are open and dead
  python -m tests.torture broker                          the broker comes back, with and without its sessions
  python -m tests.torture frozen                          a database that lives and does nothing
  python -m tests.torture flood --flood 5000              one phone says as much a second; what the others feel
  python -m tests.torture.bugs                            bugs, planted one by one: does anything notice?

Exit code 0: nothing was found. What is promised, and what is not: docs/reliability.md.
"""

Run = Callable[[Path], Awaitable[Trial | None]]


def main() -> None:
    options = _parser().parse_args()
    if broker.find_mosquitto() is None:
        sys.exit("mosquitto was not found: install it (apt-get install mosquitto, brew install mosquitto)")
    folder = Path(tempfile.mkdtemp(prefix="sitewatch-torture-"))
    good = asyncio.run(_storms(options, folder) if options.trial == "storm" else _trials(options, folder))
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs and data: {folder}")
    sys.exit(0 if good else 1)


async def _storms(options: argparse.Namespace, folder: Path) -> bool:
    """One storm a seed, from the one that was given; those that the book has are not played again, good or bad."""
    book = Book(options.book)
    for seed in range(options.seed, options.seed + options.rounds):
        drawn = Options(**{name: getattr(options, name) for name in Options.__struct_fields__ if name != "seed"}, seed=seed)
        if book.has(drawn):
            continue
        began = datetime.now(UTC).isoformat(timespec="seconds")
        report = await storm.run(drawn, folder / str(seed), _say)
        print("\n".join(report.lines()), flush=True)
        book.add(Entry.of(report, began))
        if report.good:
            shutil.rmtree(folder / str(seed))
    if options.rounds > 1 or len(book.entries) > 1:
        print(book.table())
    return book.good


def _say(line: str) -> None:
    print(line, flush=True)


async def _trials(options: argparse.Namespace, folder: Path) -> bool:
    seed = options.seed
    chosen: dict[str, list[Run]] = {
        "commits": [lambda where: trials.lost_commits(where, seed, options.lost_commits)],
        "away": [lambda where: trials.away(where, seed, options.database_away, options.rate, options.poison)],
        "disk": [lambda where: trials.disk_full(where, seed)],
        "half-open": [
            lambda where: trials.half_open(where, seed, "broker"),
            lambda where: trials.half_open(where, seed, "database"),
        ],
        "broker": [
            lambda where: trials.broker_restarts(where, seed, forgets=False),
            lambda where: trials.broker_restarts(where, seed, forgets=True),
        ],
        "frozen": [lambda where: trials.frozen_database(where, seed)],
        "flood": [lambda where: trials.flood(where, seed, options.flood)],
    }
    good = True
    for number, run in enumerate(chosen[options.trial]):
        trial = await run(folder / str(number))
        print(trial.text() if trial is not None else f"{options.trial}: SKIPPED, it needs root and the right to mount")
        good = good and (trial is None or trial.good)
    return good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("storm", "commits", "away", "disk", "half-open", "broker", "frozen", "flood")
    parser.add_argument("trial", nargs="?", default="storm", choices=names, help="what to do to the house (storm)")
    for field in msgspec.structs.fields(Options):
        name = field.name.replace("_", "-")
        parser.add_argument(
            f"--{name}", type=field.type, default=field.default, metavar="N", help=f"{HINTS[field.name]} ({field.default})"
        )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="storms, with seeds that follow each other (1)")
    parser.add_argument(
        "--book", type=Path, metavar="FILE", help="where each storm is written down, and added up with what is there"
    )
    parser.add_argument("--database-away", type=_seconds, default=5.0, metavar="30m", help="how long, for `away`: s, m or h (5s)")
    parser.add_argument(
        "--flood", type=float, default=5_000.0, metavar="N", help="reports a second of one phone, for `flood` (5000)"
    )
    return parser


HINTS = {
    "seed": "the same seed draws the same faults and the same reports",
    "minutes": "the storm lasts at least so long",
    "minutes_most": "after so long no further fault strikes, and what is left of the plan is not done",
    "pause": "seconds between two faults, at most",
    "phones": "phones that count",
    "judged": "of them with a home and visits, which are judged",
    "rate": "new reports a second",
    "patience": "seconds after which a phone without a receipt says a report again; then twice as long each, eight times at most",
    "poison": "of ten thousand reports, so many are refused by nothing but the database",
    "ingestors": "share the load",
    "kills_ingest": "kill -9 of an ingest",
    "kills_verify": "kill -9 of verify",
    "kills_api": "kill -9 of the api",
    "kills_broker": "kill -9 of mosquitto",
    "kills_database": "kill -9 of PostgreSQL, all its processes",
    "forgets": "mosquitto killed, and its files taken away",
    "cuts": "connections cut: the phones', ingest's to the broker, everybody's to the database, in turn",
    "stalls": "nothing comes through for a while, to the broker or to the database",
    "slices": "everything comes in pieces of 1 to 97 bytes for a while",
    "lost_commits": "the answer to a COMMIT is swallowed and the connection cut",
}


def _seconds(text: str) -> float:
    """`90`, `90s`, `30m` or `1h`."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    return float(text[:-1]) * unit if unit else float(text)


if __name__ == "__main__":
    main()
