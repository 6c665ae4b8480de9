"""verify on a real database: what was committed is judged, and what was judged is what was committed."""

from geofence.outcome import Outcome
from tests.verify.world import TEN, World, served

LATER = TEN + 7200


def test_a_served_visit_is_verified(each_world: World) -> None:
    world = each_world
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(served("anna", 0))
    world.verify(LATER)
    outcome = world.outcome("v1")
    assert isinstance(outcome, Outcome)
    assert outcome.verdict == "verified", outcome
    assert outcome.coverage is not None
    assert outcome.coverage > 0.95
    assert world.rows("select visit, verdict, revision from outcomes") == [("v1", "verified", 1)]
    assert world.rows("select visit, revision, why from outcome_history") == [("v1", 1, "first")]
    assert world.one("select share from coverage where visit = 'v1'") == outcome.coverage
    assert world.one("select count(*) from presence where visit = 'v1'") == len(outcome.presence)
    assert world.rows("select worker, visit, presence from positions") == [("anna", None, "unknown")]
    assert world.verify(LATER) == 0
