"""Bugs, planted one by one into a copy of the code: does anything notice? `python -m tests.torture.bugs`

Rules kept here:

- A bug is a change of source text, as somebody in a hurry would write it. Nothing in the code itself knows of it.
- It is planted in a copy, in a folder of its own, and the tests named beside it are run there as processes. They must fail.
- The same tests must pass in the copy without a bug, or their failure would mean nothing.
- A change that no longer applies is a failure too: whoever rewrites the code moves the bug along.
"""
# ruff: noqa: T201 - a command prints.

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

HOUSE = Path(__file__).parents[2]
COPIED = ("sitewatch", "ingest", "geofence", "store", "api", "device-sim", "tests", "docs", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "vendor", "scenarios", "*.pyc")
TIMEOUT_S = 180.0
SHOWN = 1_500
"""Characters of the output of a test that did what it should not."""


class Bug(Struct, frozen=True, kw_only=True):
    """What is changed where, and who must notice: tests by their pytest ids, or, with `torture`, a run of it by its arguments."""

    name: str
    file: str
    was: str
    becomes: str
    caught_by: tuple[str, ...] = ()
    torture: str = ""

    def plant(self, folder: Path) -> None:
        """Changes the copy. Raises ValueError where the text is not there exactly once."""
        target = folder / self.file
        target.write_text(self.planted(target.read_text()))

    def planted(self, text: str) -> str:
        found = text.count(self.was)
        if found != 1:
            raise ValueError(f"{self.name}: its text is {found} times in {self.file}, and not once: write it anew")
        return text.replace(self.was, self.becomes)

    def command(self) -> list[str]:
        if self.torture:
            return [sys.executable, "-P", "-m", "tests.torture", *self.torture.split()]
        return [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", *self.caught_by]

    @property
    def by(self) -> str:
        return f"tests.torture {self.torture}" if self.torture else ", ".join(self.caught_by)


class Outcome(Struct, frozen=True):
    """What became of one bug."""

    bug: Bug
    caught: bool
    took_s: float
    said: str


def copy(folder: Path) -> None:
    """The code as it is now, without what only a browser needs."""
    for name in COPIED:
        source = HOUSE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=LEFT_OUT, dirs_exist_ok=True)
        else:
            shutil.copy(source, folder / name)


def hunt(bug: Bug, folder: Path) -> Outcome:
    """Plants the bug in a fresh copy of its file, runs what must notice it, and takes it out again. Raises ValueError."""
    target = folder / bug.file
    before = target.read_text()
    bug.plant(folder)
    try:
        code, said, took_s = run(bug.command(), folder)
    finally:
        target.write_text(before)
    # pytest: 1 is a test that failed; anything else is a mistake of the hunt, such as a test that is not there any more.
    return Outcome(bug, code == 1, took_s, said)


def run(command: list[str], folder: Path) -> tuple[int, str, float]:
    """A command in the copy: its exit code, what it said, and how long it took. What hangs counts as failed."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder / 'device-sim'}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return 1, "it hung", time.monotonic() - began
    return done.returncode, (done.stdout + done.stderr)[-SHOWN:], time.monotonic() - began


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="parts of the names of bugs; without any: all of them")
    options.add_argument("--unproven", action="store_true", help="do not first run the tests without a bug")
    given = options.parse_args()
    bugs = [bug for bug in BUGS if not given.names or any(name in bug.name for name in given.names)]
    with tempfile.TemporaryDirectory(prefix="sitewatch-bugs-") as root:
        folder = Path(root)
        folder.chmod(0o755)
        copy(folder)
        good = given.unproven or sound(bugs, folder)
        for bug in bugs:
            good = tell(bug, folder) and good
    sys.exit(0 if good else 1)


def sound(bugs: Iterable[Bug], folder: Path) -> bool:
    """Whether what must notice the bugs has nothing to say without them."""
    tests = sorted({test for bug in bugs for test in bug.caught_by})
    commands = [[*Bug(name="", file="", was="", becomes="", caught_by=tuple(tests)).command()]] if tests else []
    commands += [bug.command() for bug in bugs if bug.torture]
    for command in commands:
        code, said, took_s = run(command, folder)
        if code:
            print(f"FAILS WITHOUT A BUG: {' '.join(command[2:])}\n{said}")
            return False
        print(f"without a bug: good, {took_s:.0f} s")
    return True


def tell(bug: Bug, folder: Path) -> bool:
    try:
        outcome = hunt(bug, folder)
    except (ValueError, FileNotFoundError) as error:
        print(f"NO LONGER APPLIES  {error}")
        return False
    print(f"{'caught' if outcome.caught else 'NOT CAUGHT':11}{outcome.took_s:4.0f} s  {bug.name:52} {bug.by}", flush=True)
    if not outcome.caught:
        print(outcome.said)
    return outcome.caught


BUGS: tuple[Bug, ...] = ()


if __name__ == "__main__":
    main()
