"""Whatever changes, what it bears on is judged again, and nothing is left as it was before."""

import pytest

from sitewatch.replay import rebuild
from sitewatch.verify_settings import Settings
from store import calm, touched
from tests.verify.world import DAY, NINE, TEN, World, check, event, served, status, stay

LATER = TEN + 7200


def test_late_evidence_heals_the_gap_and_changes_the_verdict(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    reports = served("anna", 0)
    early = [report for report in reports if not NINE + 600 <= report.at < TEN - 600]
    world.send(early)
    world.verify(LATER)
    before = world.outcome("v1")
    assert before.verdict != "verified"
    assert before.gaps
    world.send(reports)
    world.verify(LATER + 60)
    after = world.outcome("v1")
    assert after.verdict == "verified"
    assert not after.gaps
    assert world.one("select count(*) from gaps") == 0
    late = len(reports) - len(early)
    assert [why for (why,) in world.rows("select why from outcome_history order by revision")] == [
        "first",
        f"{late} late fixes of anna",
    ]
    assert world.rows("select reasons from outcome_history order by revision") == [
        ([{"what": "first"}],),
        ([{"what": "late_evidence", "of": "fixes", "count": late, "worker": "anna"}],),
    ]


def test_a_visit_that_moves_to_another_site_is_judged_there(world: World) -> None:
    world.worker("anna")
    world.visit("v1", "anna", world.site(5000))
    world.send(served("anna", 0))
    world.verify(LATER)
    assert world.verdict("v1") != "verified"
    world.visit("v1", "anna", world.site(0))
    world.verify(LATER)
    assert world.verdict("v1") == "verified"
    assert world.rows("select site from coverage") == [("s0",)]
    assert world.rows("select distinct site from presence") == [("s0",)]
    assert world.one("select why from outcome_history order by revision desc limit 1") == "visit changed: site s5000 → s0"


def test_a_redrawn_site_recomputes_its_visits_and_those_of_its_old_neighbours(world: World) -> None:
    world.worker("anna"), world.worker("bert")
    world.place("home", 0), world.place("next", 70)
    world.visit("v1", "anna", "home"), world.visit("v2", "bert", "next")
    world.send(served("anna", 0)), world.send(served("bert", 70))
    world.verify(LATER)
    assert world.rows("select site, neighbour from neighbours order by 1") == [("home", "next"), ("next", "home")]
    world.place("home", 4000)
    assert world.verify(LATER) == 2
    assert world.rows("select * from neighbours") == []
    assert world.verdict("v1") != "verified"
    assert world.verdict("v2") == "verified"


def test_an_adopted_source_brings_its_past_with_it(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(served("owntracks:anna/phone", 0))
    world.verify(LATER)
    assert world.verdict("v1") != "verified"
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"no_device"}
    assert world.rows("select worker from positions") == [("owntracks:anna/phone",)]
    world.worker("anna", owntracks="anna/phone")
    world.verify(LATER)
    assert world.verdict("v1") == "verified"
    assert world.rows("select worker, source from positions") == [("anna", "owntracks:anna/phone")]
    world.worker("anna")
    world.verify(LATER)
    assert world.verdict("v1") != "verified"
    assert world.rows("select worker from positions") == [("owntracks:anna/phone",)]


def test_a_worker_whose_name_alone_changed_is_not_judged_again(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(served("anna", 0))
    world.verify(LATER)
    world.connection.execute("update workers set name = 'Anna B.' where id = 'anna'")
    world.connection.execute("insert into journal (workers) values ('{anna}')")
    assert world.verify(LATER) == 0


def test_the_first_report_ever_ends_no_device_for_later_visits_too(world: World) -> None:
    world.worker("anna")
    world.visit("v1", "anna", world.site(0))
    world.verify(LATER)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"no_device"}
    world.send(stay("anna", 9000, DAY - 30 * 86400, DAY - 30 * 86400 + 60))
    world.verify(LATER)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"silent"}


def test_a_deleted_visit_leaves_nothing_but_its_history(world: World) -> None:
    world.worker("anna"), world.site(5000)
    world.visit("v1", "anna", world.site(0))
    world.send(stay("anna", 5000, NINE - 5400, TEN + 5400))
    world.verify(LATER)
    assert world.one("select count(*) from alerts where not cleared") > 0
    world.delete_visit("v1")
    world.verify(LATER)
    for table in ("outcomes", "gaps", "presence", "coverage", "alerts where visit is not null", "due", "haunts"):
        assert world.one(f"select count(*) from {table}") == 0, table
    assert world.one("select count(*) from outcome_history") == 1


def test_a_deleted_visit_frees_its_neighbours_in_time(world: World) -> None:
    world.worker("anna"), world.worker("bert")
    site = world.site(0)
    world.visit("v1", "anna", site), world.visit("v2", "bert", site)
    world.verify(LATER)
    world.delete_visit("v2")
    assert world.verify(LATER) == 1, "v1 has lost its rival"


def test_a_worker_at_another_known_site_is_found_there_also_when_it_becomes_known_later(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send(stay("anna", 5000, NINE - 5400, TEN + 5400))
    world.verify(LATER)
    assert "wrong_site" not in world.outcome("v1").findings
    world.place("elsewhere", 5010)
    world.verify(LATER)
    assert "wrong_site" in world.outcome("v1").findings
    assert world.rows("select kind from alerts where kind = 'wrong_site' and not cleared") == [("wrong_site",)]
    world.place("elsewhere", 9000)
    world.verify(LATER)
    assert "wrong_site" not in world.outcome("v1").findings
    assert world.rows("select kind from alerts where kind = 'wrong_site' and not cleared") == []


def test_a_policy_reaches_visits_that_are_not_final_and_no_others(world: World) -> None:
    week_s = 7 * 86400
    world.worker("anna"), world.site(0)
    world.visit("old", "anna", "s0", NINE - 2 * week_s, TEN - 2 * week_s)
    world.visit("new", "anna", "s0")
    world.connection.execute("update visits set updated_at = starts_at")
    world.connection.execute("update journal set visits = '{old,new}' where visits <> '{}'")
    world.send(served("anna", 0)), world.send(served("anna", 0, NINE - 2 * week_s, TEN - 2 * week_s))
    world.verify(LATER)
    world.policy("clean", on_site_best_share=1.0, on_site_lower_share=1.0, coverage_target=1.0)
    world.connection.execute("update policies set created_at = to_timestamp(%s)", [LATER])
    world.verify(LATER)
    assert (world.outcome("new").policy, world.outcome("old").policy) == (1, 0)
    assert world.verdict("old") == "verified"
    assert world.one("select why from outcome_history where visit = 'new' order by revision desc limit 1") == "policy 0 → 1"
    # Evidence still reaches a final visit, and is judged by the policy of its time.
    world.send(stay("anna", 0, TEN - 2 * week_s, TEN - 2 * week_s + 10, every_s=1.0))
    assert world.verify(LATER) >= 1
    assert world.outcome("old").policy == 0


def test_the_default_policy_reaches_services_without_their_own(world: World) -> None:
    world.worker("anna"), world.site(0)
    world.visit("v1", "anna", "s0", service="clean")
    world.visit("v2", "anna", "s0", TEN, TEN + 3600, service="care")
    world.policy("care", late_s=1200.0)
    world.verify(LATER)
    world.policy("default", late_s=900.0)
    world.verify(LATER)
    assert world.rows("select visit, (outcome ->> 'policy')::int from outcomes order by visit") == [("v1", 1), ("v2", 1)]
    assert world.one("select count(*) from due") == 0


def test_an_outage_of_ours_becomes_the_cause_of_gaps_that_were_judged_before(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send([report for report in served("anna", 0) if not NINE + 600 <= report.at < TEN - 600])
    world.verify(LATER)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"silent"}
    outage = "insert into outages (start_at, end_at) values (to_timestamp(%s), to_timestamp(%s))"
    world.connection.execute(outage, [NINE, TEN])
    world.verify(LATER, Settings(coalesce_s=60.0))
    assert world.rows("select why from due") == [(touched.OUTAGE_RECORDED,)]
    world.verify(LATER + 61)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"ingest_outage"}


def test_a_device_event_reaches_visits_at_its_site_and_next_door(world: World) -> None:
    world.worker("anna"), world.worker("bert"), world.worker("cleo")
    (
        world.visit("here", "anna", world.site(0)),
        world.visit("next", "bert", world.site(70)),
        world.visit("far", "cleo", world.site(5000)),
    )
    world.device("lock-1", "s0")
    world.verify(LATER)
    world.send([event("lock-1", "unlock", NINE + 60, worker="anna")])
    assert world.verify(LATER) == 2
    assert world.outcome("here").evidence.device_events == 1
    assert world.outcome("far").evidence.device_events == 0


def test_motion_after_the_plan_brings_the_next_look_forward_and_queues_nothing(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.device("motion-1", "s0", "motion")
    world.verify(TEN + 600)
    look_at = "select extract(epoch from look_at)::float8 from outcomes"
    assert world.one(look_at) > TEN + 602 + calm.SOON_S
    world.send([event("motion-1", "motion", TEN + 600)])
    assert world.verify(TEN + 602) == 0
    assert world.one(look_at) == TEN + 602 + calm.SOON_S
    world.send([event("motion-1", "unlock", TEN + 602)])
    assert world.verify(TEN + 630) == 1, "and what is more than motion does not wait"


def test_a_status_lasts_beyond_its_own_time(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send([check("anna", "in", DAY - 86400)])
    world.verify(LATER)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"silent"}
    world.send([status("anna", "online", DAY - 20 * 3600, permission="denied")])
    world.verify(LATER)
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"permission_off"}


def test_an_offline_notice_reaches_the_visit_in_which_it_came(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.send([status("anna", "online", DAY)])
    world.verify(LATER)
    world.send([status("anna", "offline", DAY, received_at=NINE + 60)])
    assert world.verify(LATER) == 1
    assert {gap.cause for gap in world.outcome("v1").gaps} == {"phone_offline"}


@pytest.mark.parametrize("gathered_s", [0.0, 30.0])
def test_late_evidence_is_gathered_before_it_is_judged(world: World, gathered_s: float) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    world.verify(LATER)
    patient = Settings(coalesce_s=gathered_s)
    for n in range(5):
        world.send(stay("anna", 0, NINE + 600 * n, NINE + 600 * n + 600))
        world.verify(LATER + n, patient)
    looks = 5 if gathered_s == 0 else 0
    assert world.one("select revision from outcomes") == 1 + looks
    world.verify(LATER + 60, patient)
    assert world.one("select revision from outcomes") == (1 + looks if looks else 2)


def test_a_running_visit_is_judged_at_a_bounded_rate(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    judged = 0
    for now in range(int(NINE), int(NINE) + 60):
        world.send(stay("anna", 0, now, now + 1, every_s=1.0))
        judged += world.verify(float(now))
    assert 1 <= judged <= 4, "once every 20 s at most, and not once a second"


def test_who_remembers_nothing_asks_for_open_visits_however_wide_their_window(world: World) -> None:
    world.policy("clean", early_s=86_400.0, late_s=86_400.0)
    world.visit("v1", world.worker("anna"), world.site(0))
    world.verify(TEN + 7200)
    assert world.one("select look_at > to_timestamp(%s) from outcomes", [TEN + 7200 + 3600])
    assert touched.queue_open(world.connection, TEN + 7201) == 1


def test_a_replay_leaves_in_the_queue_what_waits_for_verify(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0)), world.visit("v2", "anna", "s0", TEN, TEN + 3600)
    world.verify(LATER)
    touched.later(world.connection, ["v1"], LATER)
    rebuild(world.verifier, LATER)
    assert world.rows("select visit from due") == [("v1",)]


def test_a_visit_that_waits_for_its_plan_goes_on_waiting_for_that(world: World) -> None:
    world.visit("v1", world.worker("anna"), world.site(0))
    assert touched.queue_unjudged(world.connection, LATER) == 1
    touched.later(world.connection, ["v1"], LATER + 60)
    assert world.rows("select why, extract(epoch from at)::float8 from due") == [(touched.PLAN_CHANGED, LATER)]
