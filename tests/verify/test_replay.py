"""Live and replayed agree to the byte, in whatever order and however brokenly the evidence came."""

import random

import pytest

from geofence.evidence import Evidence
from sitewatch import replay
from sitewatch.replay import digest, rebuild
from store.rebuilding import Scope
from tests.verify.world import DAY, NINE, TEN, World, check, event, served, status, stay

LATER = TEN + 7200
SEEDS = range(4)


def a_day(seed: int) -> list[Evidence]:
    """Evidence of three workers and two homes, with gaps, drawn by the seed."""
    draw = random.Random(seed)
    reports = [*served("anna", 0), *served("bert", 70), *stay("owntracks:cleo/phone", 5000, NINE - 3000, TEN + 3000)]
    reports += [check("anna", "in", NINE + 5), check("anna", "out", TEN - 5), check("bert", "in", NINE, method="qr")]
    reports += [event("lock-1", "unlock", NINE - 30, worker="anna"), event("lock-1", "lock", TEN + 30, worker="anna")]
    reports += [event("motion-2", "motion", NINE + 60 * n) for n in range(30)] + [event("sos-2", "sos", NINE + 600)]
    reports += [status("anna", "online", DAY), status("anna", "offline", DAY, received_at=NINE + 1800, permission="denied")]
    reports += [status("lock-1", "online", DAY), status("lock-1", "offline", DAY, received_at=TEN)]
    return [report for report in reports if draw.random() > 0.3]


def plan(world: World) -> None:
    for worker in ("anna", "bert", "cleo"):
        world.worker(worker)
    world.site(0), world.site(70), world.site(5000)
    world.device("lock-1", "s0"), world.device("motion-2", "s70"), world.device("sos-2", "s70")
    world.visit("v1", "anna", "s0"), world.visit("v2", "bert", "s70"), world.visit("v3", "cleo", "s0")
    world.visit("v4", "anna", "s5000", TEN + 3600, TEN + 5400), world.visit("v5", "bert", "s0", LATER - 600, LATER + 600)
    world.visit("v6", "cleo", "s0", LATER + 86400, LATER + 90000)


def deliver(world: World, reports: list[Evidence], draw: random.Random) -> None:
    """Stores reports in the given order, in batches of any size, with plan changes and verify running in between."""
    reports = list(reports)
    changes = [
        lambda: world.worker("cleo", owntracks="cleo/phone"),
        lambda: world.place("s70", 80),
        lambda: world.visit("v3", "cleo", "s5000"),
        lambda: world.policy("clean", late_wait_s=600.0),
        lambda: world.device("lock-1", "s70"),
    ]
    now = LATER - 8000
    while reports or changes:
        if changes and (not reports or draw.random() < 0.2):
            changes.pop(0)()
        batch = draw.randint(1, 120)
        world.send(reports[:batch])
        del reports[:batch]
        if draw.random() < 0.7:
            now += (LATER - 60 - now) * draw.random()
            world.verify(now)
    world.verify_all(LATER)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_gives_what_verify_gave(world: World, seed: int) -> None:
    plan(world)
    deliver(world, a_day(seed), random.Random(seed))
    live = contents(world)
    assert world.one("select count(distinct verdict) from outcomes") > 1, "a run in which nothing differs proves nothing"
    rebuild(world.verifier, LATER)
    assert contents(world) == live


def test_the_order_of_arrival_does_not_matter(world: World) -> None:
    reports = a_day(7)
    draw = random.Random(7)
    plan(world)
    deliver(world, reports, random.Random(1))
    in_order = contents(world)
    for table in ("fixes", "checks", "device_events", "statuses", "sightings", "policies"):
        world.connection.execute(f"delete from {table}")
    world.worker("cleo")
    plan(world), world.place("s70", 70), world.device("lock-1", "s0")
    rebuild(world.verifier, LATER)
    assert contents(world) != in_order
    draw.shuffle(reports)
    deliver(world, reports + reports[:100], random.Random(2))
    assert contents(world) == in_order


def test_a_replay_mends_what_somebody_broke_and_keeps_what_people_were_told(world: World) -> None:
    plan(world)
    deliver(world, a_day(3), random.Random(3))
    live, hash_before = contents(world), digest(world.verifier)
    told = world.rows("select visit, revision, outcome, why from outcome_history order by 1, 2")
    revisions = world.rows("select visit, revision from outcomes order by 1")
    for statement in (
        "update outcomes set verdict = 'verified', outcome = jsonb_set(outcome, '{on_site_s,best}', '1') where visit = 'v3'",
        "delete from gaps", "update presence set state = 'on'", "delete from coverage where visit = 'v1'", "delete from sightings",
        "insert into gaps values ('never was', now(), now(), 'silent')", "delete from positions where worker = 'anna'",
        "update device_states set online = true, state = '{}'", "delete from neighbours", "delete from haunts",
        "delete from sketches where visit = 'v1'", "update sketches set positions = ''",
        "update stays set kind = 'planned', fixes = 1", "update searches set until = until - interval '1 hour'",
    ):  # fmt: skip
        world.connection.execute(statement)
    assert digest(world.verifier) != hash_before
    rebuild(world.verifier, LATER)
    assert contents(world) == live
    assert digest(world.verifier) == hash_before
    after = world.rows("select visit, revision, outcome, why from outcome_history order by 1, 2")
    assert [row for row in after if row in told] == told
    assert [row for row in world.rows("select visit, revision from outcomes order by 1") if row[0] != "v3"] == [
        row for row in revisions if row[0] != "v3"
    ]


def test_dropping_every_derived_row_loses_nothing(world: World) -> None:
    plan(world)
    deliver(world, a_day(5), random.Random(5))
    live = contents(world)
    world.connection.execute(
        "truncate outcomes, gaps, presence, coverage, haunts, sketches, alerts, positions, device_states, sightings, neighbours,"
        " due, stays, searches"
    )
    rebuild(world.verifier, LATER)
    assert contents(world) == live


def test_a_replay_of_one_worker_leaves_the_others_alone(world: World) -> None:
    plan(world)
    deliver(world, a_day(2), random.Random(2))
    world.connection.execute("update outcomes set verdict = 'broken'")
    done = rebuild(world.verifier, LATER, Scope(worker="anna"))
    assert done.visits == 2
    assert {row[0] for row in world.rows("select worker from outcomes where verdict <> 'broken'")} == {"anna"}
    done = rebuild(world.verifier, LATER, Scope(start=LATER))
    assert world.rows("select visit from outcomes where verdict <> 'broken' and worker <> 'anna'") == [("v6",)]
    assert done.visits == 1


def test_a_killed_replay_leaves_the_rest_to_verify(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(world)
    deliver(world, a_day(4), random.Random(4))
    live = contents(world)
    world.connection.execute("update outcomes set verdict = 'broken', outcome = jsonb_set(outcome, '{monitored_s}', '1')")
    monkeypatch.setattr(replay, "CHUNK", 2)

    def killed(part: str, done: int, total: int) -> None:
        if part == "visits":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(world.verifier, LATER, report=killed)
    assert world.one("select count(*) from outcomes where verdict = 'broken'") == 4
    assert world.one("select count(*) from due") == 4
    world.connection.execute("update due set at = to_timestamp(%s)", [LATER])
    world.verify(LATER)
    assert contents(world) == live


def contents(world: World) -> dict[str, list[str]]:
    from store import rebuilding

    return {table: list(rows) for table, rows in rebuilding.contents(world.verifier)}
