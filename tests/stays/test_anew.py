"""A replay of stays: who is told what changed, who is judged again by it, and what one broken worker costs."""

import pytest

from sitewatch import staying
from sitewatch.replay import rebuild
from store import rebuilding, sightings
from store.rebuilding import Scope
from tests.verify.test_stays import LATER, a_day
from tests.verify.world import NINE, TEN, World, check, event, served, status, stay


@pytest.fixture
def told(world: World) -> World:
    """Anna and Bert, each with a stay at site 5000 that nobody planned, and verify done with both."""
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("v1", "anna", "s0")
    world.send([*a_day("anna"), *a_day("bert")])
    world.verify(LATER)
    assert world.one("select count(*) from alerts where kind = 'unscheduled' and not cleared") >= 2
    world.connection.execute("delete from changes")
    return world


def derived(world: World) -> dict[str, list[str]]:
    return {table: list(rows) for table, rows in rebuilding.contents(world.verifier)}


def test_a_replay_that_finds_what_is_stored_tells_nobody(told: World) -> None:
    before = derived(told)
    rebuild(told.verifier, LATER, Scope(worker="anna"))
    assert derived(told) == before
    assert told.rows("select * from changes where alerts <> '{}'") == []


def test_a_replay_of_one_worker_tells_of_her_alerts_and_has_the_visits_judged_that_it_leaves_out(told: World) -> None:
    right = derived(told)
    alert = told.one("select id from alerts where kind = 'unscheduled' and worker = 'anna' and not cleared")
    told.connection.execute("update stays set fixes = 1, visit = 'v1' where worker = 'anna' and kind = 'unscheduled'")
    told.connection.execute("update alerts set cleared = true where id = %s", [alert])
    rebuild(told.verifier, LATER, Scope(worker="anna", start=LATER + 86_400.0))
    assert told.rows("select visit from due") == [("v1",)]
    assert derived(told)["stays"] == right["stays"]
    assert derived(told)["alerts"] == right["alerts"]
    assert alert in [one for (alerts,) in told.rows("select alerts from changes") for one in alerts]


def test_an_alert_that_no_stay_wants_is_cleared_by_a_replay(told: World) -> None:
    told.connection.execute(
        "insert into alerts (id, kind, severity, at, worker, site, detail) "
        "select 'unscheduled:anna:1', kind, severity, at, worker, site, detail from alerts where worker = 'anna' limit 1"
    )
    rebuild(told.verifier, LATER, Scope(worker="anna"))
    assert told.one("select cleared from alerts where id = 'unscheduled:anna:1'") is True


def test_a_worker_who_cannot_be_followed_keeps_her_stays_and_stops_nobody(told: World, monkeypatch: pytest.MonkeyPatch) -> None:
    right = derived(told)
    told.connection.execute("update stays set fixes = 1")
    whole = staying.anew

    def poisoned(connection, workers, now):  # type: ignore[no-untyped-def]
        found = whole(connection, workers, now)
        if "anna" in workers:
            raise ValueError("poison")
        return found

    monkeypatch.setattr(staying, "anew", poisoned)
    rebuild(told.verifier, LATER)
    assert told.rows("select distinct fixes = 1 from stays where worker = 'anna'") == [(True,)]
    assert told.rows("select distinct fixes = 1 from stays where worker = 'bert'") == [(False,)]
    monkeypatch.undo()
    rebuild(told.verifier, LATER)
    assert derived(told) == right


def test_the_first_times_of_sources_are_found_by_steps_as_by_reading_everything(world: World) -> None:
    world.worker("anna", owntracks="anna/phone"), world.site(0)
    world.send([*served("owntracks:anna/phone", 0), *stay("bert", 0, NINE, TEN), *stay("carl", 50, TEN, TEN + 600)])
    world.send([check("bert", "in", NINE - 50), status("dora", "online", NINE), event("lock-1", "unlock", NINE + 5)])
    slowly = world.rows(
        "select source, min(at) from (select source, at from fixes union all select source, at from checks union all "
        "select source, at from device_events union all select source, at from statuses) as every group by source order by 1"
    )
    with world.connection.transaction():
        sightings.rebuild(world.connection)
    assert len(slowly) == 5
    assert world.rows("select source, first_at from sightings where first_at is not null order by 1") == slowly
    assert world.rows("select worker from sightings where source = 'owntracks:anna/phone'") == [("anna",)]
