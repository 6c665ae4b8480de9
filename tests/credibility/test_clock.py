"""A clock that is behind, and reports that were kept back: by a phone without a network, or by us while we did not listen."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import judge
from geofence.credibility import CLOCK_SKEW, masks
from geofence.evidence import Bools, Check, CheckKind, Fixes, Floats
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, scene, seen, take

POLICY = Policy()
Heard = Callable[[Floats], Floats]
"""When we get what was sent at a moment, both in seconds after the planned start."""


def kept_back(begins: float, ends: float) -> Heard:
    """Nothing passes for a while; then everything at once."""
    return lambda sent: np.where((sent >= begins) & (sent < ends), ends, sent)


def trickling(sent: Floats) -> Floats:
    """Nothing passes for twenty minutes; then three times as fast as it was made."""
    return np.where((sent >= 1200.0) & (sent < 3000.0), np.maximum(2400.0 + (sent - 1200.0) / 3.0, sent), sent)


def twice(sent: Floats) -> Floats:
    return kept_back(3600.0, 4200.0)(kept_back(600.0, 1500.0)(sent))


OUTAGES: dict[str, Heard] = {
    "none": lambda sent: sent,
    "100 s": kept_back(1000.0, 1100.0),
    "an hour": kept_back(600.0, 4200.0),
    "trickling": trickling,
    "two": twice,
}


def clocked(behind: Floats | float, heard: Heard, every_s: float = 10.0) -> Fixes:
    """A day of a phone whose clock is behind by so much when it sends, in the order of its own times."""
    of = day(every_s=every_s)
    latency = np.random.default_rng(5).exponential(1.0, len(of.at))
    told = replace(of, at=of.at - behind, received_at=START + heard(of.at - START) + latency)
    return take(told, np.argsort(told.at, kind="stable"))


def skewed(of: Fixes) -> Bools:
    told: Bools = (masks(of, POLICY) & CLOCK_SKEW) != 0
    return told


@pytest.mark.parametrize("every_s", [10.0, 60.0])
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("behind_s", [330.0, 600.0, 5400.0])
def test_no_report_of_a_clock_that_is_behind_is_believed_because_it_was_kept_back(
    behind_s: float, outage: str, every_s: float
) -> None:
    assert skewed(clocked(behind_s, OUTAGES[outage], every_s)).all()


@pytest.mark.parametrize("every_s", [10.0, 60.0])
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_right_clock_loses_nothing_by_what_was_kept_back(outage: str, every_s: float) -> None:
    assert not skewed(clocked(0.0, OUTAGES[outage], every_s)).any()


@pytest.mark.parametrize("behind_s", [330.0, 900.0])
def test_what_is_kept_back_after_the_clock_was_set_right_is_believed(behind_s: float) -> None:
    """The delays of the outbox pass through that of the wrong clock; the neighbours in time say which clock it was."""
    real = day(every_s=10.0).at - START
    of = clocked(np.where(real < 0.0, behind_s, 0.0), kept_back(4000.0, 6000.0))
    assert skewed(of).tolist() == (of.at < START - behind_s).tolist()


def test_a_delay_that_comes_and_goes_is_a_network_and_no_clock() -> None:
    of = day(every_s=10.0)
    late = 700.0 + 300.0 * np.sin(2.0 * np.pi * (of.at - START) / 1200.0)
    assert not skewed(replace(of, received_at=of.at + late)).any()


@bounded
@given(st.integers(0, 1800), st.floats(0.0, 7000.0), st.floats(10.0, 2000.0), st.sampled_from([10.0, 60.0]))
def test_what_came_fresher_than_a_wrong_clock_can_be_is_never_flagged(
    behind_s: int, begins: float, lasts: float, every_s: float
) -> None:
    of = clocked(float(behind_s), kept_back(begins, begins + lasts), every_s)
    assert not skewed(of)[of.received_at - of.at < 270.0].any()


@pytest.mark.parametrize("outage", ["none", "100 s", "two"])
def test_a_wrong_clock_and_an_outage_of_ours_together_prove_nothing(outage: str) -> None:
    """Half of its fixes used to be believed, and her departure was wrong by the clock's error."""
    of = clocked(600.0, OUTAGES[outage])
    outcome = judge(scene(circle(0.0, 0.0, 40.0)), seen(of), POLICY, START + 9e4)
    assert outcome.verdict == "unknown"
    assert "clock_skew" in outcome.findings
    assert outcome.coverage == 0.0


def check(kind: CheckKind, at: float, received_at: float) -> Check:
    return Check(source="w-1", at=START + at, received_at=START + received_at, identity=round(at), kind=kind, method="qr")


@pytest.mark.parametrize("behind_s", [600.0, -600.0])
def test_a_code_at_the_home_that_a_wrong_clock_has_read_tells_no_time(behind_s: float) -> None:
    checks = (check("in", 60.0 - behind_s, 62.0), check("out", 7260.0 - behind_s, 7262.0))
    of = clocked(behind_s, OUTAGES["none"])
    outcome = judge(scene(circle(0.0, 0.0, 40.0)), seen(of, checks=checks), POLICY, START + 9e4)
    assert outcome.verdict == "unknown"
    assert outcome.coverage == 0.0


def test_a_code_that_a_right_clock_has_read_and_an_outbox_has_kept_tells_its_time() -> None:
    kept = kept_back(3000.0, 6000.0)
    of = clocked(0.0, kept)
    of = take(of, np.flatnonzero(np.abs(of.at - START - 4500.0) > 400.0))
    without, code = (seen(of, checks=checks) for checks in ((), (check("in", 4500.0, 6001.0),)))
    shares = [judge(scene(circle(0.0, 0.0, 40.0)), told, POLICY, START + 9e4).coverage for told in (without, code)]
    assert shares[0] is not None
    assert shares[1] is not None
    assert shares[1] > shares[0]
