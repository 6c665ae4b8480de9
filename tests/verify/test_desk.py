"""What the operations desk sees: newest positions, device states, alerts that come and go, and a log of what changed."""

import asyncio

import msgspec
import pytest
from psycopg import AsyncConnection

from sitewatch import judging
from store import figures
from tests.verify.world import DAY, NINE, TEN, World, event, served, status, stay

LATER = TEN + 7200


def open_alerts(world: World) -> list[str]:
    return [kind for (kind,) in world.rows("select kind from alerts where not cleared order by kind")]


def test_nobody_on_site_ten_minutes_after_the_start_is_an_alert_until_somebody_comes(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(stay("anna", 6000, NINE - 3600, NINE + 900))
    world.verify(NINE + 300)
    assert open_alerts(world) == []
    world.verify(NINE + 900)
    assert open_alerts(world) == ["late"]
    assert world.one("select id from alerts") == "late:v1"
    world.send(stay("anna", 0, NINE + 1100, TEN + 300))
    world.verify(NINE + 1800)
    assert open_alerts(world) == []
    assert world.one("select cleared from alerts where kind = 'late'")


def test_what_one_desk_acknowledged_is_told_to_the_others_once(world: World) -> None:
    world.device("sos-1", world.site(0))
    world.send([event("sos-1", "sos", NINE)])
    world.verify(NINE + 1)
    (alert,) = world.rows("select id from alerts")[0]

    async def acknowledge() -> bool:
        async with await AsyncConnection.connect(world.database) as connection:
            return await figures.acknowledge(connection, alert, "Chen", None)

    def told() -> list[list[str]]:
        return [alerts for (alerts,) in world.rows("select alerts from changes order by id")]

    before = told()
    assert asyncio.run(acknowledge())
    assert told() == before, "the api writes no changes: their ids would not come in the order of commits"
    world.verify(NINE + 2)
    assert asyncio.run(acknowledge()), "the alert is known, and it stays as it was"
    world.verify(NINE + 3)
    assert told() == [*before, [alert]]


def test_an_alarm_of_a_home_is_an_alert_at_once_and_ends_with_a_report_of_zero(world: World) -> None:
    world.device("sos-1", world.site(0)), world.device("leak-1", "s0")
    world.send([event("sos-1", "sos", NINE), event("leak-1", "leak", NINE, value=1.0), event("stranger", "smoke", NINE)])
    world.verify(NINE + 1)
    assert open_alerts(world) == ["leak", "smoke", "sos"]
    assert world.rows("select device, site from alerts order by kind") == [("leak-1", "s0"), ("stranger", None), ("sos-1", "s0")]
    world.send([event("leak-1", "leak", NINE + 60, value=0.0)])
    world.verify(NINE + 61)
    assert open_alerts(world) == ["smoke", "sos"]
    world.send([event("leak-1", "leak", NINE + 30, value=1.0)])
    world.verify(NINE + 62)
    assert open_alerts(world) == ["smoke", "sos"], "a late report of what is over raises nothing"
    world.device("stranger", "s0")
    world.verify(NINE + 70)
    assert world.one("select site from alerts where kind = 'smoke'") == "s0", "adopted with its past"


def test_a_device_that_goes_offline_is_an_alert_until_it_sends_anything(world: World) -> None:
    world.device("lock-1", world.site(0))
    world.send([status("lock-1", "online", DAY), event("lock-1", "lock", DAY + 60)])
    world.verify(DAY + 120)
    assert world.one("select online from device_states") is True
    world.send([status("lock-1", "offline", DAY, received_at=NINE)])
    world.verify(NINE + 1)
    assert world.one("select online from device_states") is False
    assert open_alerts(world) == ["device_offline"]
    world.send([event("lock-1", "unlock", NINE + 600)])
    world.verify(NINE + 601)
    assert world.one("select online from device_states") is True
    assert open_alerts(world) == []


def test_a_device_state_is_the_newest_by_the_devices_own_time(world: World) -> None:
    world.device("lock-1", world.site(0))
    for at, kind in ((NINE + 50, "lock"), (NINE, "lock"), (NINE + 20, "battery"), (NINE + 10, "battery")):
        world.send([event("lock-1", kind, at, value=(at - NINE) / 100)])
        world.verify(NINE + 100)
    state = world.one("select state from device_states")
    assert (state["lock"]["at"], state["battery"]["at"]) == (NINE + 50, NINE + 20)
    assert world.rows("select battery, extract(epoch from at)::float8 from device_states") == [(0.2, NINE + 50)]


def test_a_position_is_the_newest_by_the_phones_own_time(world: World) -> None:
    fixes = stay("anna", 0, NINE, NINE + 300)
    for n in (3, 9, 5, 0):
        world.send([fixes[n]])
        world.verify(NINE + 400)
    newest = world.rows("select worker, source, extract(epoch from at)::float8 from positions")
    assert newest == [("anna", "anna", fixes[9].at)]


def test_a_fix_from_an_outbox_or_an_older_one_of_another_phone_is_not_the_newest(world: World) -> None:
    world.worker("anna", owntracks="anna/phone")
    world.send([*stay("anna", 0, NINE + 270, NINE + 300), *stay("anna", 0, NINE, NINE + 60, late_s=900.0)])
    world.send([*stay("owntracks:anna/phone", 0, NINE + 120, NINE + 150), *stay("zoe", 0, NINE, NINE + 30)])
    world.verify(NINE + 1000)
    newest = "select source, extract(epoch from at)::float8 from positions where worker = 'anna'"
    assert world.rows(newest) == [("anna", NINE + 270)]
    world.send(stay("owntracks:anna/phone", 0, NINE + 280, NINE + 310))
    world.verify(NINE + 1001)
    assert world.rows(newest) == [("owntracks:anna/phone", NINE + 280)]


def test_a_position_says_where_she_should_be_and_whether_she_is(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(served("anna", 0)[:80])
    row = "select visit, site, presence, online from positions"
    world.verify(NINE - 400)
    assert world.rows(row) == [(None, None, "unknown", None)]
    world.verify(NINE + 1200)
    assert world.rows(row) == [("v1", "s0", "on", None)]
    world.send([status("anna", "offline", NINE, received_at=TEN)])
    world.verify(TEN + 1)
    assert world.rows(row) == [(None, None, "unknown", False)]


def test_a_mocked_position_is_shown_with_its_flag(world: World) -> None:
    world.send([msgspec.structs.replace(fix, mock=True) for fix in stay("anna", 0, NINE, NINE + 60)])
    world.verify(NINE + 61)
    assert world.one("select flags from positions") == ["mock"]


def test_changes_name_what_changed_and_nothing_else(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0)), world.visit("v2", world.worker("bert"), "s0", TEN + 9000, TEN + 9900)
    world.device("lock-1", "s0")
    world.verify(NINE - 4000)
    mark = world.one("select max(id) from changes")
    world.send([*stay("anna", 0, NINE, NINE + 60), event("lock-1", "unlock", NINE)])
    world.verify(NINE + 61)
    logged = "select workers, visits, alerts, devices from changes where id > %s"
    assert world.rows(logged, [mark]) == [(["anna"], ["v1"], [], ["lock-1"])]
    mark = world.one("select max(id) from changes")
    world.send(stay("anna", 0, NINE, NINE + 60))
    world.verify(NINE + 61.5)
    assert world.rows(logged, [mark]) == []


def test_a_program_that_reads_the_log_is_woken(world: World) -> None:
    world.connection.execute("listen sitewatch_changes")
    world.send(stay("anna", 0, NINE, NINE + 60))
    world.verify(NINE + 61)
    assert [note.channel for note in world.connection.notifies(timeout=2.0, stop_after=1)] == ["sitewatch_changes"]


def test_a_visit_that_cannot_be_judged_stops_nobody_else(world: World) -> None:
    world.worker("anna"), world.worker("bert"), world.site(0), world.site(5000)
    world.visit("bad", "anna", "s0"), world.visit("good", "bert", "s5000")
    honest = judging.judge_all

    def broken(asked):  # type: ignore[no-untyped-def]
        if any(one.scene.visit.id == "bad" for one in asked):
            raise ValueError("a mistake of ours")
        return honest(asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "judge_all", broken)
        world.verify(LATER)
    assert world.rows("select visit from outcomes") == [("good",)]
    assert world.rows("select visit, extract(epoch from at)::float8 from due") == [("bad", LATER + judging.FAILED_AGAIN_S)]
    world.send(served("anna", 0))
    world.verify(LATER + 1)
    assert world.verdict("bad") == "verified"
