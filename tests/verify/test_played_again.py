"""A track that is sent once more for a later visit: known again whichever came first, and forgotten with the visit it was of."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from geofence.evidence import Evidence
from sitewatch.replay import digest, rebuild
from store.rebuilding import Scope
from tests.verify.test_replay import contents
from tests.verify.world import NINE, TEN, World, served, stay

FIVE = 8 * 3600.0
"""As much later her second visit begins."""
OVER = TEN + FIVE + 2 * 86_400


def played(reports: Iterable[Evidence], source: str = "anna") -> list[Evidence]:
    return [
        replace(one, source=source, at=one.at + FIVE, received_at=one.received_at + FIVE, identity=one.identity + 1)
        for one in reports
    ]


@pytest.fixture
def planned(world: World) -> World:
    world.worker("anna"), world.worker("bert"), world.site(0)
    world.visit("morning", "anna", "s0")
    world.visit("evening", "anna", "s0", NINE + FIVE, TEN + FIVE)
    return world


def test_who_sends_her_morning_again_in_the_evening_is_not_verified(planned: World) -> None:
    morning = served("anna", 0)
    planned.send(morning)
    planned.verify(TEN + 4 * 3600)
    planned.send(played(morning))
    planned.verify(OVER)
    evening = planned.outcome("evening")
    assert planned.verdict("morning") == "verified"
    assert evening.verdict == "unknown"
    assert "spoof_suspected" in evening.findings
    assert "known from an earlier visit" in evening.explanation.en
    live = contents(planned)
    rebuild(planned.verifier, OVER)
    assert contents(planned) == live


def test_an_honest_evening_is_verified(planned: World) -> None:
    planned.send([*served("anna", 0), *served("anna", 0, NINE + FIVE, TEN + FIVE)])
    planned.verify(OVER)
    assert (planned.verdict("morning"), planned.verdict("evening")) == ("verified", "verified")


def test_a_track_that_comes_after_its_copy_takes_the_verdict_back_and_tells_why(planned: World) -> None:
    morning = served("anna", 0)
    planned.send(played(morning))
    planned.verify(OVER)
    assert planned.verdict("evening") == "verified"
    planned.send(morning)
    planned.verify(OVER + 3600)
    assert planned.verdict("evening") == "unknown"
    told = planned.rows("select outcome ->> 'verdict', why from outcome_history where visit = 'evening' order by revision")
    assert [verdict for verdict, _ in told] == ["verified", "unknown"]
    assert told[1][1] == "earlier track"
    live = contents(planned)
    planned.connection.execute("truncate sketches, outcomes, gaps, presence, coverage, haunts, due")
    rebuild(planned.verifier, OVER + 3600)
    assert contents(planned) == live


def test_the_track_of_a_colleague_is_known_again_as_well(planned: World) -> None:
    morning = served("anna", 0)
    planned.visit("hers", "bert", "s0", NINE + FIVE, TEN + FIVE)
    planned.send([*morning, *played(morning, "bert")])
    planned.verify(OVER)
    assert "spoof_suspected" in planned.outcome("hers").findings


def test_a_visit_that_moves_or_goes_takes_its_track_along(planned: World) -> None:
    morning = served("anna", 0)
    planned.send([*morning, *played(morning)])
    planned.verify(OVER)
    assert planned.verdict("evening") == "unknown"
    planned.site(5000)
    planned.visit("morning", "anna", "s5000")
    planned.verify(OVER)
    assert planned.verdict("evening") == "verified", "nobody planned a visit whose track it would repeat"
    planned.visit("morning", "anna", "s0")
    planned.verify(OVER)
    assert planned.verdict("evening") == "unknown"
    planned.delete_visit("morning")
    planned.verify(OVER)
    assert planned.verdict("evening") == "verified"
    assert planned.rows("select visit from sketches") == [("evening",)]


def test_a_copy_among_many_more_positions_is_found_whichever_came_first(world: World) -> None:
    """Its sketch is full of others."""
    world.worker("anna"), world.worker("bert"), world.site(0)
    world.visit("morning", "anna", "s0")
    world.visit("evening", "bert", "s0", NINE + FIVE, TEN + FIVE + 4 * 3600)
    morning = served("anna", 0)
    evening = [*played(morning, "bert"), *stay("bert", 0, TEN + FIVE + 1800, TEN + FIVE + 4 * 3600, every_s=1.0)]
    world.send(evening)
    world.verify(OVER)
    world.send(morning)
    world.verify(OVER + 3600)
    assert world.outcome("evening").evidence.flags.get("replayed", 0) > 50
    live = contents(world)
    rebuild(world.verifier, OVER + 3600)
    assert contents(world) == live


def test_a_first_replay_keeps_all_tracks_before_it_judges_and_leaves_nothing_to_verify(planned: World) -> None:
    planned.send([*served("anna", 0), *served("anna", 0, NINE + FIVE, TEN + FIVE)])
    planned.visit("noon", "anna", "s0", TEN + 600, TEN + 4200)
    planned.verify(OVER)
    planned.connection.execute("update sketches set made = 0")
    rebuild(planned.verifier, OVER)
    assert planned.rows("select distinct made from sketches") == [(1,)]
    assert planned.rows("select visit, why from due") == []


def test_a_replay_of_a_part_leaves_the_rest_to_verify(planned: World) -> None:
    morning = served("anna", 0)
    planned.send([*morning, *played(morning)])
    planned.verify(OVER)
    before = digest(planned.verifier)
    planned.connection.execute("delete from sketches where visit = 'morning'")
    rebuild(planned.verifier, OVER, Scope(end=NINE + 60))
    assert planned.rows("select visit from due") == [("evening",)]
    planned.verify(OVER)
    assert digest(planned.verifier) == before


def test_nothing_is_kept_of_a_visit_whose_window_is_open(planned: World) -> None:
    planned.send(served("anna", 0))
    planned.verify_all(TEN)
    assert planned.rows("select visit from sketches") == []
    planned.verify(OVER)
    assert planned.rows("select visit, length(positions) > 0 from sketches order by 1") == [("evening", False), ("morning", True)]
