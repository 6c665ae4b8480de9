"""Engines: who thinks cases up. Each takes a target and a budget, and says what it saw.

- `random`: a seed, and the makers of `cases`; millions of cases in minutes.
- `hypothesis`: the same makers; slower, but a case that breaks something is made small.
- `atheris`: bytes guided by which lines of ours they reach (libFuzzer), from the examples as a beginning; in a process of its own,
  because it ends the one that it is in.
"""

import subprocess
import sys
import tempfile
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from random import Random

import hypothesis
import msgspec
from hypothesis import strategies as st

from tests.fuzz import cases
from tests.fuzz.meter import Meter, metering
from tests.fuzz.targets import Target

LARGE_EVERY = 400
"""Of so many cases one is large: it takes as long as hundreds of others."""
ROUND_EXAMPLES = 200
CASES_MIN = 100
"""Fewer prove nothing."""


class Seen(msgspec.Struct, kw_only=True):
    """What an engine saw of a target. `broken` is the case that broke it, `why` what happened then."""

    target: str
    engine: str
    cases: int = 0
    took_s: float = 0.0
    slowest_s: float = 0.0
    slowest: bytes = b""
    broken: bytes | None = None
    why: str = ""


class Budget(msgspec.Struct, frozen=True):
    """How long to go on: until either is used up, but for `CASES_MIN` also on the slowest machine."""

    seconds: float
    cases: int | None = None

    def left(self, began: float, done: int) -> bool:
        few = done < CASES_MIN
        return (few or time.monotonic() - began < self.seconds) and (self.cases is None or done < self.cases)


def random(name: str, target: Target, budget: Budget, seed: int) -> Seen:
    """Cases by a seed. The case that breaks something is the answer as it is."""
    drawn, maker = Random(seed), cases.MAKERS[name]
    seen, began = Seen(target=name, engine="random"), time.monotonic()
    with metering() as meter:
        while budget.left(began, meter.cases):
            data = cases.large(drawn) if name != "commit" and meter.cases % LARGE_EVERY == LARGE_EVERY - 1 else maker(drawn)
            seen.why = try_one(target, data, meter)
            if seen.why:
                seen.broken = data
                break
    return _measured(seen, meter, began)


def guess(name: str, target: Target, budget: Budget, seed: int) -> Seen:
    """Hypothesis, round after round, until the time is over."""
    strategy = st.randoms(use_true_random=False).map(cases.MAKERS[name])
    seen, began = Seen(target=name, engine="hypothesis"), time.monotonic()
    last = b""
    with metering() as meter:

        @hypothesis.settings(
            max_examples=ROUND_EXAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(strategy)
        def once(data: bytes) -> None:
            nonlocal last
            last = data
            why = try_one(target, data, meter)
            assert not why, why

        rounds = 0
        while budget.left(began, meter.cases):
            try:
                hypothesis.seed(seed + rounds)(once)()
            except AssertionError as broken:
                # The last that it tried is the smallest.
                seen.broken, seen.why = last, str(broken)
                break
            rounds += 1
    return _measured(seen, meter, began)


def atheris(name: str, budget: Budget, seed: int) -> Seen:
    """Coverage-guided, in a process of its own. Raises FileNotFoundError where atheris is not installed."""
    if find_spec("atheris") is None:
        raise FileNotFoundError("atheris is not installed, so nothing was guided by coverage: uv sync on Linux brings it")
    seen, began = Seen(target=name, engine="atheris"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sitewatch-fuzz-") as place:
        folder = Path(place)
        corpus = folder / "corpus"
        corpus.mkdir()
        drawn = Random(seed)
        for number in range(300):
            (corpus / str(number)).write_bytes(cases.MAKERS[name](drawn))
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(folder / "seen.json"), str(corpus)]
        command += [f"-max_total_time={max(1, round(budget.seconds))}", f"-runs={budget.cases or -1}", f"-seed={seed % 2**31 or 1}"]
        command += [f"-artifact_prefix={folder}/", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=20", "-verbosity=0"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=budget.seconds + 120)
        if (folder / "seen.json").exists():
            counted = msgspec.json.decode((folder / "seen.json").read_bytes(), type=Seen)
            seen.cases, seen.slowest_s, seen.slowest = counted.cases, counted.slowest_s, counted.slowest
            seen.broken, seen.why = counted.broken, counted.why
        if ended.returncode and not seen.why:
            crashed = sorted(folder.glob("crash-*")) + sorted(folder.glob("timeout-*")) + sorted(folder.glob("oom-*"))
            seen.broken, seen.why = crashed[0].read_bytes() if crashed else b"", ended.stderr[-2000:] or "it ended without a word"
    seen.took_s = time.monotonic() - began
    return seen


def try_one(target: Target, data: bytes, meter: Meter) -> str:
    """What is wrong with this case; nothing when all laws hold."""
    # Whatever escapes is what is looked for; it is told and not swallowed.
    try:
        with meter.case(data):
            result = target.run(data)
        target.law(data, result)
    except Exception:  # noqa: BLE001
        return traceback.format_exc(limit=-6)
    return ""


def _measured(seen: Seen, meter: Meter, began: float) -> Seen:
    seen.cases, seen.slowest_s, seen.slowest = meter.cases, meter.slowest_s, meter.slowest
    seen.took_s = time.monotonic() - began
    return seen
