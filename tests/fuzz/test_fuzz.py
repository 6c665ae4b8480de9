"""The short form of `python -m tests.fuzz`: every target by every engine, for as long as SITEWATCH_FUZZ_S says.

Without it that is a minute where CI=true, else ten seconds. How long a case took is told by the command and asserted there alone.
"""

import os
from random import Random

import pytest

from store.rejects import Reason
from tests import missing
from tests.fuzz import __main__ as fuzz
from tests.fuzz import cases, targets
from tests.fuzz.engines import CASES_MIN, Budget, try_one
from tests.fuzz.meter import Meter

SECONDS = float(os.environ.get("SITEWATCH_FUZZ_S") or (60 if os.environ.get("CI") == "true" else 10))
PAIRS = [(name, engine) for name in fuzz.TARGETS for engine in fuzz.ENGINES if engine != "atheris" or name not in fuzz.UNGUIDED]
SEED = 20261122


# mqtt5 says by a panic that a topic is not UTF-8, and Python then of an exception that nobody raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "engine"), PAIRS)
def test_no_bytes_break_what_reads_them(name: str, engine: str, database: str) -> None:
    try:
        seen = fuzz.run(name, engine, Budget(SECONDS / len(PAIRS)), SEED, database)
    except FileNotFoundError as error:
        missing.skip("atheris", str(error), promised_in_ci=False)
    assert not seen.why, f"{seen.why}\n{seen.broken!r}"
    assert seen.cases >= CASES_MIN, "so few cases prove nothing"


@pytest.mark.parametrize("name", cases.MAKERS)
def test_a_seed_makes_the_same_cases_again(name: str) -> None:
    first, second = (Random(7) for _ in range(2))
    assert [cases.MAKERS[name](first) for _ in range(50)] == [cases.MAKERS[name](second) for _ in range(50)]


def test_the_cases_reach_both_evidence_and_every_reason_that_bytes_can_have() -> None:
    """Else a fuzzer that only ever sends garbage would be content with itself."""
    drawn, found = Random(7), set()
    for _ in range(6_000):
        for report in targets.decode(cases.message(drawn)):
            found.add(getattr(report.said, "reason", type(report.said).__name__))
    not_by_bytes = {"refused_by_database", "too_many", "too_deep", "undecipherable"}
    assert {reason.value for reason in Reason} - found <= not_by_bytes
    assert {"Fix", "Check", "DeviceEvent", "Status"} <= found


def test_what_escapes_and_what_breaks_a_law_are_both_told() -> None:
    def escapes(_: bytes) -> None:
        raise KeyError("lost")

    def law(_: bytes, __: object) -> None:
        raise AssertionError("a law")

    assert "KeyError" in try_one(targets.Target(escapes, law), b"", Meter())
    assert "a law" in try_one(targets.Target(bytes, law), b"", Meter())
    assert try_one(targets.Target(bytes, lambda _, __: None), b"", Meter()) == ""
