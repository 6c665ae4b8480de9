"""Some of the planted bugs, and that all of them can still be planted. The whole table: `python -m tests.torture.bugs`."""

import ast
from pathlib import Path

import pytest

from tests.torture import bugs

CHOSEN = ("acknowledged before the commit", "pending acknowledgements kept over a reconnect")
"""Those that would cost the most, and whose tests are quick."""


def test_every_bug_can_still_be_planted() -> None:
    for bug in bugs.BUGS:
        ast.parse(bug.planted((bugs.HOUSE / bug.file).read_text()), bug.file)


def test_every_bug_has_a_test_that_is_there() -> None:
    for bug in bugs.BUGS:
        for test in bug.caught_by:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (bugs.HOUSE / file).read_text(), bug.name


def test_the_worst_bugs_are_caught(tmp_path: Path) -> None:
    bugs.copy(tmp_path)
    chosen = [bug for bug in bugs.BUGS if bug.name in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    for bug in chosen:
        outcome = bugs.hunt(bug, tmp_path)
        assert outcome.caught, f"{bug.name}: {outcome.said}"


def test_a_bug_that_no_longer_applies_is_named() -> None:
    bug = bugs.Bug(name="a bug of long ago", file="ingest/main.py", was="no such text", becomes="")
    with pytest.raises(ValueError, match="a bug of long ago"):
        bug.planted("something else")
