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
        return [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", "--tb=line", *self.caught_by]

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
    """A command in the copy: its exit code, what it said, and how long it took."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder / 'device-sim'}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return 124, "it hung", time.monotonic() - began
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


PROMISES = "tests/torture/test_promises.py::"
STORE = (
    "        committed = self._commit_at_last(taken)\n"
    "        self._committing = None\n"
    "        if committed is None:\n"
    "            return\n"
)
ACKNOWLEDGE = (
    "        for session, deliveries in groupby(taken.deliveries, _session):\n"
    "            session.acknowledge([one.mid for one in deliveries if one.qos])\n"
)
TOOK = "        seconds = time.monotonic() - started\n"
EVERY_PROMISE = PROMISES + "test_nothing_is_acknowledged_or_receipted_before_the_commit_and_everything_after_it"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="acknowledged before the commit",
        file="ingest/main.py",
        was=STORE + TOOK + ACKNOWLEDGE,
        becomes=ACKNOWLEDGE + STORE + TOOK,
        caught_by=(EVERY_PROMISE,),
    ),
    Bug(
        name="receipted before the commit",
        file="ingest/main.py",
        was=STORE,
        becomes="        from ingest.commit import counted\n"
        "        numbers = counted([report.said for _, report in taken.reports])\n"
        "        self._send([Receipt(source=source, epoch=epoch, through=seq) for source, epoch, seq in numbers])\n" + STORE,
        caught_by=(EVERY_PROMISE,),
    ),
    Bug(
        name="an error of the commit swallowed",
        file="ingest/main.py",
        was="                self._counts.retries += 1\n                self.hang_up()\n",
        becomes="                self._counts.retries += 1\n                self.hang_up()\n"
        "                from collections import Counter\n"
        "                return Committed(stored=0, duplicate=0, rejected=Counter(), receipts=[])\n",
        caught_by=(PROMISES + "test_a_commit_that_failed_is_not_acknowledged_and_is_tried_again",),
    ),
    Bug(
        name="a stopping ingest acknowledges what it could not commit",
        file="ingest/main.py",
        was=STORE,
        becomes="        committed = self._commit_at_last(taken)\n"
        "        self._committing = None\n"
        "        if committed is None:\n"
        "            for late, given in groupby(taken.deliveries, _session):\n"
        "                late.acknowledge([one.mid for one in given if one.qos])\n"
        "            return\n",
        caught_by=(PROMISES + "test_told_to_stop_while_the_database_is_away_it_acknowledges_nothing",),
    ),
    Bug(
        name="a reject not acknowledged",
        file="ingest/main.py",
        was="session.acknowledge([one.mid for one in deliveries if one.qos])",
        becomes="session.acknowledge([one.mid for one in deliveries if one.qos and one.payload[:1] in b'[{'])",
        caught_by=(EVERY_PROMISE,),
    ),
    Bug(
        name="the last message of a batch not acknowledged",
        file="ingest/main.py",
        was="session.acknowledge([one.mid for one in deliveries if one.qos])",
        becomes="mids = [one.mid for one in deliveries if one.qos]\n            session.acknowledge(mids[: max(1, len(mids) - 1)])",
        caught_by=(EVERY_PROMISE,),
    ),
    Bug(
        name="pending acknowledgements kept over a reconnect",
        file="ingest/main.py",
        was="            session.acknowledge([one.mid for",
        becomes="            (self._link.session or session).acknowledge([one.mid for",
        caught_by=(PROMISES + "test_after_a_reconnect_nothing_of_the_old_connection_is_acknowledged",),
    ),
    Bug(
        name="a clean start: the broker forgets what waited",
        file="ingest/session.py",
        was="clean_start=False",
        becomes="clean_start=True",
        caught_by=(PROMISES + "test_the_broker_is_asked_to_keep_what_we_have_not_acknowledged",),
    ),
    Bug(
        name="what is before a bad row lost with it",
        file="store/evidence.py",
        was="            size = bad or max(1, len(piece) // STEP)\n",
        becomes="            at, size = at + (bad or 0), max(1, len(piece) // STEP)\n",
        caught_by=(PROMISES + "test_what_the_database_refuses_costs_itself_alone_however_large_the_batch",),
    ),
    Bug(
        name="half of a batch that takes too long lost",
        file="ingest/main.py",
        was="waiting.extendleft(reversed(waiting.popleft().halves()))",
        becomes="waiting.extendleft(waiting.popleft().halves()[:1])",
        caught_by=("tests/ingest/test_ingestor.py::test_a_batch_that_takes_too_long_is_tried_again_in_halves",),
    ),
    Bug(
        name="what is stored in blocks not counted",
        file="ingest/commit.py",
        was="packed.ranges if packed else ())",
        becomes="())",
        caught_by=("tests/ingest/test_block.py::test_either_road_ends_in_the_same_tables",),
    ),
    Bug(
        name="a row that the database refuses is tried for ever",
        file="store/faults.py",
        was='_DATA_CLASSES = ("22", "23", "44", "54")',
        becomes='_DATA_CLASSES = ("22", "44", "54")',
        caught_by=(PROMISES + "test_what_the_database_refuses_costs_itself_alone_however_large_the_batch",),
    ),
    Bug(
        name="a full disk makes rejects",
        file="store/faults.py",
        was="            return error.sqlstate[:2] in _DATA_CLASSES or error.sqlstate == _RAISED",
        becomes='            return error.sqlstate[:2] not in ("08", "57")',
        caught_by=(PROMISES + "test_a_full_disk_is_nobodys_fault_and_makes_no_reject",),
    ),
    Bug(
        name="no two reports are the same",
        file="ingest/limits.py",
        was='    return digest(b"%d:%d" % (epoch, seq))',
        becomes='    import os\n\n    return digest(b"%d:%d:%d" % (epoch, seq, os.getpid()))',
        caught_by=(PROMISES + "test_two_that_store_the_same_report_at_once_store_it_once",),
    ),
    Bug(
        name="a repeat is taken for a bad row",
        file="store/evidence.py",
        was="                on conflict do nothing\n",
        becomes="",
        caught_by=(PROMISES + "test_two_that_store_the_same_report_at_once_store_it_once",),
    ),
    Bug(
        name="the journal row of a single source forgotten",
        file="store/evidence.py",
        was="    if merged:\n",
        becomes="    if len(merged) > 1:\n",
        caught_by=(PROMISES + "test_whatever_is_stored_is_journaled_by_the_same_transaction",),
    ),
    Bug(
        name="a reject that counts loses its number",
        file="ingest/wire.py",
        was="        counter = _counter.decode(raw) if source is not None else None",
        becomes="        counter = None",
        caught_by=(EVERY_PROMISE,),
    ),
    Bug(
        name="a receipt over a hole",
        file="store/sequences.py",
        was="(select upper(part) - 1 from unnest(kept.seen + excluded.seen) as part where lower(part) = 1)",
        becomes="upper(range_merge(kept.seen + excluded.seen)) - 1",
        caught_by=(PROMISES + "test_a_receipt_counts_what_another_ingestor_stored_and_what_was_stored_before_a_restart",),
    ),
    Bug(
        name="receipts out of the memory of one process",
        file="store/sequences.py",
        was="    rows = connection.execute(EXTEND, parameters)\n",
        becomes="    connection.execute(EXTEND, parameters)\n"
        "    rows, memory = [], globals().setdefault('MEMORY', {})\n"
        "    for (source, epoch), seqs in numbers.items():\n"
        "        known = memory.setdefault((source, epoch), set())\n"
        "        known |= seqs\n"
        "        rows.append((source, epoch, next(n for n in range(10**9) if n + 1 not in known)))\n",
        caught_by=(PROMISES + "test_a_receipt_counts_what_another_ingestor_stored_and_what_was_stored_before_a_restart",),
    ),
    Bug(
        name="a commit that a crash takes back",
        file="ingest/main.py",
        was="-c synchronous_commit=on",
        becomes="-c synchronous_commit=off",
        caught_by=(PROMISES + "test_what_was_acknowledged_survives_kill_9_of_the_database",),
    ),
    Bug(
        name="the order of ids instead of the order of commits",
        file="store/journal.py",
        was="not pg_visible_in_snapshot(xid, %(before)s::pg_snapshot)",
        becomes="xid >= pg_snapshot_xmax(%(before)s::pg_snapshot)",
        caught_by=("tests/store/test_journal.py::test_a_transaction_that_begins_first_and_commits_last_is_seen",),
    ),
    Bug(
        name="the cursor saved outside the transaction",
        file="sitewatch/verify.py",
        was="            journal.advance(connection, NAME, bite.cursor)\n",
        becomes="            login = {**connection.info.get_parameters(), 'password': connection.info.password}\n"
        "            with psycopg.connect(autocommit=True, **login) as apart:\n"
        "                journal.advance(apart, NAME, bite.cursor)\n",
        caught_by=("tests/verify/test_kill.py::test_dying_before_any_statement_changes_nothing_in_the_end",),
    ),
)


if __name__ == "__main__":
    main()
