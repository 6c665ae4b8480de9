"""`python -m tests.fuzz`: millions of cases against everything that reads bytes from outside.

    python -m tests.fuzz                         # a minute, shared by all targets and engines
    python -m tests.fuzz --seconds 1800          # millions of cases
    python -m tests.fuzz --target decode --engine random --cases 1000000 --seed 7
    python -m tests.fuzz --target bodies --case /tmp/sitewatch-fuzz-bodies

The exit code is 0 when every law held and no case took longer than 100 ms of CPU time, the garbage
collector's share not counted.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

from rich.console import Console
from rich.table import Table

from sitewatch import postgres
from store import migrate
from tests.fuzz import engines, targets
from tests.fuzz.commits import Commits
from tests.fuzz.engines import Budget, Seen
from tests.fuzz.meter import LIMIT_S, metering

ENGINES = ("random", "hypothesis", "atheris")
UNGUIDED = ("commit", "packets")
"""Targets that coverage cannot guide: a database is too slow for it, and packets are read by compiled code that it does not see."""
TARGETS = (*targets.IN_PROCESS, "commit")
console = Console(highlight=False)


def main() -> int:
    asked = _arguments()
    seed = SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    wanted = asked.target or list(TARGETS)
    if asked.case:
        return _one(wanted[0], Path(asked.case).read_bytes())
    ways = asked.engine or ENGINES
    chosen = [(name, one) for name in wanted for one in ways if one != "atheris" or name not in UNGUIDED]
    console.print(f"seed {seed}, {asked.seconds:g} s for {len(chosen)} pairs of target and engine")
    budget = Budget(asked.seconds / len(chosen), asked.cases)
    found = [seen for seen in _run(chosen, budget, seed) if seen is not None]
    _print_table(found)
    bad = sum(map(_tell, found))
    return 1 if bad or len(found) < len(chosen) else 0


def _run(chosen: list[tuple[str, str]], budget: Budget, seed: int) -> Iterator[Seen | None]:
    for name, engine in chosen:
        try:
            yield run(name, engine, budget, seed)
        except FileNotFoundError as error:
            console.print(f"[red bold]NOT DONE[/] {name}: {error}")
            yield None


def run(name: str, engine: str, budget: Budget, seed: int, database: str | None = None) -> Seen:
    """One target by one engine. `database` is an empty, migrated one for the target `commit`; without it, one is made."""
    if engine == "atheris":
        return engines.atheris(name, budget, seed)
    think = engines.random if engine == "random" else engines.guess
    if name != "commit":
        return think(name, targets.IN_PROCESS[name], budget, seed)
    with contextlib.ExitStack() as stack:
        commits = stack.enter_context(Commits(database or stack.enter_context(_database())))
        seen = think(name, commits.target(), budget, seed)
        assert seen.why or (commits.stored and commits.rejected), "nothing was stored or nothing was rejected: this proves nothing"
        return seen


@contextlib.contextmanager
def _database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sitewatch-fuzz-") as folder:
        settings = postgres.Settings(timescaledb="none")
        with postgres.running(postgres.prepare(Path(folder) / "postgres", settings, durable=False)) as cluster:
            url = postgres.create_database(cluster, "fuzz")
            migrate.apply(url)
            yield url


def _one(name: str, data: bytes) -> int:
    """One case again."""
    with metering() as meter:
        if name == "commit":
            with _database() as url, Commits(url) as commits:
                commits.check([data])
            why = ""
        else:
            why = engines.try_one(targets.IN_PROCESS[name], data, meter)
    console.print(why or f"every law holds; {meter.slowest_s * 1000:.1f} ms", markup=False)
    return 1 if why or meter.slowest_s > LIMIT_S else 0


def _print_table(found: list[Seen]) -> None:
    table = Table("target", "engine", "cases", "a second", "slowest, ms", "", box=None, header_style="bold")
    for seen in found:
        bad = "BROKEN" if seen.why else "SLOW" if seen.slowest_s > LIMIT_S else "ok"
        rate = f"{seen.cases / max(seen.took_s, 1e-9):,.0f}"
        table.add_row(seen.target, seen.engine, f"{seen.cases:,}", rate, f"{seen.slowest_s * 1000:.1f}", bad)
    console.print(table)
    console.print(f"{sum(seen.cases for seen in found):,} cases")


def _tell(seen: Seen) -> bool:
    """Keeps the case that broke something, or took too long, and says how to repeat it."""
    if not seen.why and seen.slowest_s <= LIMIT_S:
        return False
    data = seen.broken if seen.broken is not None else seen.slowest
    place = Path(tempfile.gettempdir()) / f"sitewatch-fuzz-{seen.target}"
    place.write_bytes(data)
    console.print(f"\n{seen.target}, {seen.engine}: {seen.why or 'too slow'}\n{data[:300]!r}", markup=False)
    console.print(f"again: python -m tests.fuzz --target {seen.target} --case {place}", markup=False)
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets and engines together [60]")
    parser.add_argument("--cases", type=int, help="at most so many for each target and engine")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be said several times [all]")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be said several times [all]")
    parser.add_argument("--seed", type=int, help="the same seed gives the same cases [drawn, and printed]")
    parser.add_argument("--case", help="file with one case: tries it alone; with --target")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
