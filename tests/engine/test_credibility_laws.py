"""Laws: evidence that is not credible decides nothing alone, whatever is wrong with it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import judge
from geofence.datum import mistakes
from geofence.evidence import Fixes, Observed
from geofence.outcome import Outcome
from geofence.plan import Scene
from geofence.policy import Policy
from geofence.witness import hear_all
from tests.engine.worlds import LAT, LON, START, bounded, circle, day, days, scene, take

POLICY = Policy()
SPOILT: dict[str, Callable[[Fixes], Fixes]] = {
    "mock": lambda of: replace(of, mock=np.ones(len(of.at), dtype=bool)),
    "stale_ping": lambda of: replace(of, ping=np.ones(len(of.at), dtype=bool)),
    "impossible_accuracy": lambda of: replace(of, accuracy_m=np.full(len(of.at), 0.1)),
    "clock_ahead": lambda of: replace(of, received_at=of.at - 3600.0),
    "clock_behind": lambda of: replace(of, received_at=of.at + 5400.0),
    "frozen": lambda of: replace(
        of, lon=np.full(len(of.at), LON), lat=np.full(len(of.at), LAT), accuracy_m=np.full(len(of.at), 9.0)
    ),
}


def settled(of: Fixes, where: Scene) -> Outcome:
    return judge(where, Observed(fixes=of), POLICY, where.visit.ends_at + 90_000.0)


@bounded
@given(days(), st.sampled_from(sorted(SPOILT)))
def test_what_is_not_credible_neither_verifies_nor_contradicts(made: tuple[Scene, Fixes], how: str) -> None:
    where, of = made
    outcome = settled(SPOILT[how](of), where)
    assert sum(outcome.evidence.flags.values()) >= 0.9 * len(of.at)
    assert outcome.verdict not in ("verified", "contradicted"), how


@bounded
@given(days())
def test_a_verified_visit_is_not_verified_by_its_flagged_evidence(made: tuple[Scene, Fixes]) -> None:
    where, of = made
    if settled(of, where).verdict == "verified":
        window = (START - 6000.0, START + 10_000.0)
        flagged = hear_all([(where, Observed(fixes=of), window)], POLICY)[0].mask != 0
        assert settled(take(of, flagged), where).verdict != "verified"


@pytest.mark.parametrize("shift", mistakes(LON, LAT), ids=lambda shift: shift.mistake)
@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
@pytest.mark.parametrize("came", [-300.0, 60.0, 1800.0, 5400.0])
def test_who_served_is_not_contradicted_by_the_datum_of_her_phone(shift, every_s: float, came: float) -> None:  # type: ignore[no-untyped-def]
    of = day(every_s=every_s, came=came)
    told = settled(replace(of, lon=of.lon + shift.lon, lat=of.lat + shift.lat), scene(circle(0, 0, 40.0)))
    assert told.verdict == "unknown"
    assert told.evidence.flags["datum"] > 0.9 * told.evidence.fixes


def test_without_the_flag_she_would_be_contradicted() -> None:
    """The law above is about something: who really was half a kilometre away is contradicted, in whatever direction."""
    shift = mistakes(LON, LAT)[0]
    of = day(every_s=60.0)
    elsewhere = replace(of, lon=of.lon - shift.lat, lat=of.lat + shift.lon)
    assert settled(elsewhere, scene(circle(0, 0, 40.0))).verdict == "contradicted"
