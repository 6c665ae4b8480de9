"""What comes out: outcomes named as the contract names them, positions, tracks, coverage, alerts, rejects."""

from datetime import datetime, timedelta
from urllib.parse import quote

import httpx
import psycopg
import pytest

from api.reply import rfc3339, rfc3339_epoch
from tests.api import world
from tests.api.world import STARTS_AT


def test_a_visit_that_nobody_judged_is_pending(planned: httpx.Client) -> None:
    found = planned.get("/v1/visits/v-1").json()["outcome"]
    assert (found["verdict"], found["version"], found["findings"], found["coverage"]) == ("pending", 0, [], None)
    assert [visit["id"] for visit in planned.get("/v1/visits?verdict=pending").json()["items"]] == ["v-1"]


def test_an_outcome_reads_as_the_contract_says(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.judge(connection, "v-1", world.outcome(), revision=3)
    found = planned.get("/v1/visits/v-1").json()
    assert (found["starts_at"], found["ends_at"]) == ("2026-11-20T08:00:00.000Z", "2026-11-20T10:00:00.000Z")
    assert found["outcome"] == {
        "verdict": "verified",
        "findings": ["late_arrival"],
        "arrived_at": {
            "best": "2026-11-20T08:11:40.450Z",
            "earliest": "2026-11-20T08:10:50.000Z",
            "latest": "2026-11-20T08:12:00.000Z",
        },
        "left_at": {
            "best": "2026-11-20T10:00:00.000Z",
            "earliest": "2026-11-20T09:58:20.000Z",
            "latest": "2026-11-20T10:01:40.000Z",
        },
        "on_site_s": {"best": 6500.0, "lower": 6400.0, "upper": 6600.0},
        "coverage": 0.96,
        "monitored_s": 6912.0,
        "expected_s": 7200.0,
        "gaps": [{"start": "2026-11-20T08:00:00.000Z", "end": "2026-11-20T08:04:48.000Z", "cause": "phone_offline"}],
        "presence": [
            {"start": "2026-11-20T08:00:00.000Z", "end": "2026-11-20T08:11:40.000Z", "state": "off"},
            {"start": "2026-11-20T08:11:40.000Z", "end": "2026-11-20T10:00:00.000Z", "state": "on"},
        ],
        "evidence": {"fixes": 700, "checks": 2, "device_events": 3, "statuses": 1, "flags": {"mock": 1}},
        "explanation": {"en": "She was there.", "zh": "她在场。"},
        "version": 3,
        "engine": "1",
        "policy": 0,
    }


def test_every_millisecond_reads_as_it_was_sent() -> None:
    for millisecond in range(1000):
        said = f"2026-11-20T08:00:00.{millisecond:03}Z"
        at = datetime.fromisoformat(said)
        assert rfc3339_epoch(at.timestamp()) == rfc3339(at) == said
    almost = STARTS_AT - timedelta(microseconds=400)
    assert rfc3339_epoch(almost.timestamp()) == rfc3339(almost) == "2026-11-20T08:00:00.000Z"


@pytest.fixture(scope="module")
def many(asked: httpx.Client, asked_database: str) -> httpx.Client:
    """Nine more visits, an hour apart, every third one verified and one contradicted; two workers take turns."""
    visits = []
    for number in range(2, 11):
        start = STARTS_AT + timedelta(hours=number)
        times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=1)).isoformat()}
        visits.append({"id": f"v-{number:02}", **world.VISIT, **times, "worker": f"w-{1 + number % 2}"})
    assert asked.post("/v1/plans", json={"workers": [{"id": "w-2"}], "visits": visits}).status_code == 200
    with psycopg.connect(asked_database) as connection:
        for visit in ("v-03", "v-06", "v-09"):
            world.judge(connection, visit, world.outcome())
        world.judge(connection, "v-10", world.outcome("contradicted", coverage=0.5, monitored_s=1800.0, expected_s=3600.0))
    return asked


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from=2026-11-20T10:00:00Z&to=2026-11-20T12:00:00Z", ["v-02", "v-03"]),
        ("from=2026-11-20T18:00:00%2B08:00&to=2026-11-20T12:00:00Z", ["v-02", "v-03"]),
        ("worker=w-2&to=2026-11-20T14:00:00Z", ["v-03", "v-05"]),
        ("verdict=verified", ["v-03", "v-06", "v-09"]),
        ("verdict=verified,contradicted&worker=w-1", ["v-06", "v-10"]),
        ("verdict=verified&verdict=contradicted", ["v-03", "v-06", "v-09", "v-10"]),
        ("verdict=pending&from=2026-11-20T15:00:00Z", ["v-07", "v-08"]),
        ("site=s-9", []),
    ],
)
def test_visits_are_found_by_what_the_contract_names(many: httpx.Client, query: str, expected: list[str]) -> None:
    seen, page = [], f"/v1/visits?{query}&limit=2"
    while page:
        answer = many.get(page).json()
        seen += [visit["id"] for visit in answer["items"]]
        page = answer["next"]
    assert seen == expected


def test_the_history_says_what_people_were_told(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.judge(connection, "v-1", world.outcome("unknown"), revision=1)
    world.judge(connection, "v-1", world.outcome(), revision=2)
    items = planned.get("/v1/visits/v-1/history").json()["items"]
    assert [(item["outcome"]["version"], item["outcome"]["verdict"]) for item in items] == [(2, "verified"), (1, "unknown")]
    assert {"what": "verdict", "before": "unknown", "after": "verified"} in items[0]["changed"]
    assert (items[1]["changed"], items[1]["why"]) == ([], "first")
    page = planned.get("/v1/visits/v-1/history?limit=1").json()
    assert page["items"] == items[:1], "what has changed is known from a version that is not on the page"
    rest = planned.get(page["next"]).json()
    assert (rest["items"], rest["next"]) == (items[1:], None)


def test_positions_are_features_also_of_workers_nobody_planned(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.locate(connection, "w-1")
    world.locate(connection, "stranger")
    answer = planned.get("/v1/positions")
    assert answer.headers["content-type"] == "application/geo+json"
    found = answer.json()
    assert (found["type"], found["next"]) == ("FeatureCollection", None)
    stranger, known = found["features"]
    assert (stranger["id"], stranger["properties"]["name"]) == ("stranger", None)
    assert known["geometry"] == {"type": "Point", "coordinates": [24.9414, 60.1719]}
    assert known["properties"].items() >= {"worker": "w-1", "name": "Wang Fang", "flags": ["mock"], "presence": "on"}.items()
    assert known["properties"]["at"] == "2026-11-20T08:00:00.000Z"


TRACK = "/v1/workers/w-1/track?from=2026-11-20T08:00:00Z&to=2026-11-20T09:00:00Z"


def test_a_track_is_every_fix_of_every_phone_in_order(planned: httpx.Client, connection: psycopg.Connection) -> None:
    for second in range(0, 60, 10):
        world.fix(connection, "w-1", second)
        world.fix(connection, "owntracks:wang.fang/phone", second + 5, epoch=None, seq=None, battery=0.5)
        world.fix(connection, "w-2", second)
    world.fix(connection, "w-1", 3600)
    seen, page, pages = [], f"{TRACK}&limit=5", 0
    while page:
        answer = planned.get(page).json()
        seen += answer["features"]
        page, pages = answer["next"], pages + 1
    assert pages == 3
    assert [feature["properties"]["at"][14:19] for feature in seen] == [f"00:{second:02}" for second in range(0, 60, 5)]
    assert seen[1]["properties"] == {
        "worker": "w-1",
        "source": "owntracks:wang.fang/phone",
        "at": "2026-11-20T08:00:05.000Z",
        "received_at": "2026-11-20T08:00:05.000Z",
        "accuracy_m": 10.0,
        "flags": [],
        "battery": 0.5,
    }


def test_a_track_shows_what_is_not_believed_and_what_was_converted(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.fix(connection, "w-1", 1, mock=True)
    world.fix(connection, "w-1", 2, crs="gcj02", raw_lon=24.95, raw_lat=60.18, trigger="ping")
    first, second = planned.get(TRACK).json()["features"]
    assert (first["properties"]["mock"], "mock" in first["properties"]["flags"]) == (True, True)
    assert second["properties"].items() >= {"crs": "gcj02", "raw_lon": 24.95, "trigger": "ping"}.items()
    assert "stale_ping" in second["properties"]["flags"]


def test_the_flags_of_a_fix_do_not_depend_on_the_page(planned: httpx.Client, connection: psycopg.Connection) -> None:
    for second in range(0, 1200, 20):
        world.fix(connection, "w-1", second, lon=24.9414)
    whole = [feature["properties"]["flags"] for feature in planned.get(TRACK).json()["features"]]
    seen, page = [], f"{TRACK}&limit=7"
    while page:
        answer = planned.get(page).json()
        seen += [feature["properties"]["flags"] for feature in answer["features"]]
        page = answer["next"]
    assert seen == whole == [["frozen"]] * 60


def test_a_track_of_a_visit_is_flagged_by_what_judges_the_visit(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.fix(connection, "w-1", 10, accuracy_m=12.5)
    assert planned.put("/v1/policies/cleaning", json={"accuracy_min_m": 20.0}).is_success

    def told(**more: str) -> list[list[str]]:
        answer = planned.get(TRACK, params={"from": "2026-11-20T08:00:00Z", "to": "2026-11-20T09:00:00Z", **more})
        return [feature["properties"]["flags"] for feature in answer.json()["features"]]

    assert told() == [[]]
    assert told(visit="v-1") == [["impossible_accuracy"]]
    assert planned.get("/v1/workers/w-1/track", params={"visit": "v-9"}).status_code == 404
    early_s = planned.get("/v1/visits/v-1/evidence").json()["window"]["from"]
    assert planned.put("/v1/policies/cleaning", json={"early_s": 3600.0}).is_success
    assert planned.get("/v1/visits/v-1/evidence").json()["window"]["from"] < early_s


def test_a_track_of_nobody_is_not_found_and_of_a_quiet_worker_empty(planned: httpx.Client) -> None:
    assert planned.get("/v1/workers/w-1/track").json() == {"type": "FeatureCollection", "features": [], "next": None}
    assert planned.get("/v1/workers/nobody/track").status_code == 404


def test_a_track_without_an_end_goes_to_the_newest_fix(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.fix(connection, "w-1", 0)
    world.fix(connection, "w-1", 90_000)
    for start in ("2026-11-20T08:00:00Z", "2026-11-01T00:00:00Z"):
        answer = planned.get(f"/v1/workers/w-1/track?from={start}&limit=1").json()
        more = planned.get(answer["next"]).json()
        assert [feature["properties"]["seq"] for feature in answer["features"] + more["features"]] == [1, 90_001]
    late = planned.get("/v1/workers/w-1/track?to=2026-11-20T09:00:00Z").json()
    assert [feature["properties"]["seq"] for feature in late["features"]] == [1]
    assert planned.get("/v1/workers/w-1/track?from=2030-01-01T00:00:00Z").json()["features"] == []


def test_a_phone_nobody_planned_has_a_track_under_the_address_of_its_position(
    planned: httpx.Client, connection: psycopg.Connection
) -> None:
    phone = "owntracks:nobody/phone"
    world.fix(connection, phone, 0, epoch=None, seq=None)
    world.locate(connection, phone)
    (position,) = planned.get("/v1/positions", params={"worker": phone}).json()["features"]
    for named in (position["properties"]["worker"], quote(position["properties"]["worker"], safe="")):
        answer = planned.get(f"/v1/workers/{named}/track?from=2026-11-20T08:00:00Z")
        assert [feature["properties"]["source"] for feature in answer.json()["features"]] == [phone]
    assert planned.get("/v1/workers/nobody/else/track").status_code == 404


def test_the_evidence_of_a_visit_is_that_of_its_worker_and_its_site(planned: httpx.Client, connection: psycopg.Connection) -> None:
    at = STARTS_AT + timedelta(minutes=1)
    for source in ("w-1", "w-2"):
        connection.execute(
            "insert into checks (source, at, identity, received_at, kind, method) values (%s, %s, 1, %s, 'in', 'qr')",
            [source, at, at],
        )
    for source in ("lock-1", "lock-2"):
        connection.execute(
            "insert into device_events (source, at, identity, received_at, kind, worker) values (%s, %s, 1, %s, 'unlock', 'w-1')",
            [source, at, at],
        )
    found = planned.get("/v1/visits/v-1/evidence").json()
    time = "2026-11-20T08:01:00.000Z"
    assert found["checks"] == [{"source": "w-1", "at": time, "received_at": time, "kind": "in", "method": "qr"}]
    assert found["device_events"] == [{"device": "lock-1", "at": time, "received_at": time, "kind": "unlock", "worker": "w-1"}]
    assert (found["statuses"], found["window"]["from"] < "2026-11-20T07:30:00.001Z") == ([], True)


def test_a_device_shows_what_it_reported_last(planned: httpx.Client, connection: psycopg.Connection) -> None:
    assert planned.get("/v1/devices/lock-1").json()["state"] is None
    connection.execute(
        """
        insert into device_states (source, at, received_at, online, battery, state)
        values ('lock-1', %(at)s, %(at)s, true, 0.75, '{"unlock": {"at": 1763625600.25, "worker": "w-1"}}')
        """,
        {"at": STARTS_AT},
    )
    state = planned.get("/v1/devices?site=s-1").json()["items"][0]["state"]
    time = "2026-11-20T08:00:00.000Z"
    unlocked = {"at": "2025-11-20T08:00:00.250Z", "worker": "w-1"}
    assert state == {"at": time, "received_at": time, "online": True, "battery": 0.75, "reported": {"unlock": unlocked}}


def test_coverage_adds_seconds_and_counts_visits(many: httpx.Client) -> None:
    found = many.get("/v1/coverage?from=2026-11-20T00:00:00Z&to=2026-11-22T00:00:00Z&by=worker").json()
    assert (found["target"], found["next"]) == (0.95, None)
    total = found["total"]
    assert (total["visits"], total["covered_visits"], total["visit_coverage"]) == (4, 3, 0.75)
    assert (total["monitored_s"], total["expected_s"]) == (3 * 6912.0 + 1800.0, 3 * 7200.0 + 3600.0)
    assert total["time_coverage"] == pytest.approx((3 * 6912 + 1800) / (3 * 7200 + 3600))
    assert total["gaps"]["phone_offline"] == pytest.approx(total["expected_s"] - total["monitored_s"])
    assert [(item["worker"], item["visits"]) for item in found["items"]] == [("w-1", 2), ("w-2", 2)]


def test_coverage_counts_days_where_the_site_is(many: httpx.Client) -> None:
    span = "from=2026-11-20T00:00:00Z&to=2026-11-22T00:00:00Z"
    # Nothing that another test asks is about days.
    many.put("/v1/sites/s-1", json={**world.SITE, "properties": {**world.SITE["properties"], "timezone": "Asia/Tokyo"}})
    found = many.get(f"/v1/coverage?{span}").json()
    assert [(item["day"], item["visits"]) for item in found["items"]] == [("2026-11-20", 2), ("2026-11-21", 2)]
    both = many.get(f"/v1/coverage?{span}&by=day,worker&limit=2").json()
    assert [(item["day"], item["worker"]) for item in both["items"]] == [("2026-11-20", "w-1"), ("2026-11-20", "w-2")]
    rest = many.get(both["next"]).json()
    assert [(item["day"], item["worker"]) for item in rest["items"]] == [("2026-11-21", "w-1"), ("2026-11-21", "w-2")]


def test_coverage_of_nothing_is_null_and_not_perfect(client: httpx.Client) -> None:
    total = client.get("/v1/coverage").json()["total"]
    assert (total["time_coverage"], total["visit_coverage"], total["visits"]) == (None, None, 0)


@pytest.fixture
def alerted(planned: httpx.Client, connection: psycopg.Connection) -> httpx.Client:
    """Three alerts, the newest one cleared."""
    for number in range(3):
        connection.execute(
            "insert into alerts (id, kind, severity, at, visit, cleared) values (%s, 'no_show', 'high', %s, 'v-1', %s)",
            [f"no_show:v/{number}", STARTS_AT + timedelta(minutes=number), number == 2],
        )
    return planned


def test_alerts_are_newest_first_and_can_be_acknowledged_once(alerted: httpx.Client, connection: psycopg.Connection) -> None:
    connection.execute("listen sitewatch_journal")
    assert [alert["id"] for alert in alerted.get("/v1/alerts").json()["items"]] == [f"no_show:v/{number}" for number in (2, 1, 0)]
    first = alerted.post("/v1/alerts/no_show:v%2F1/acknowledge", json={"by": "Chen", "note": "on the way"}).json()
    assert (first["acknowledged"]["by"], first["acknowledged"]["note"]) == ("Chen", "on the way")
    assert alerted.post("/v1/alerts/no_show:v%2F1/acknowledge").json() == first == alerted.get("/v1/alerts/no_show:v%2F1").json()
    assert [alert["id"] for alert in alerted.get("/v1/alerts?open=true").json()["items"]] == ["no_show:v/0"]
    assert alerted.post("/v1/alerts/nothing/acknowledge").status_code == 404
    assert connection.execute("select alerts from journal where alerts <> '{}'").fetchall() == [(["no_show:v/1"],)]
    assert len(list(connection.notifies(timeout=0.1))) == 1, "verify is woken, and passes it on to the other desks"


def test_alerts_page_through_everything_once(alerted: httpx.Client) -> None:
    page = alerted.get("/v1/alerts?limit=2").json()
    assert len(page["items"]) == 2
    assert [alert["id"] for alert in alerted.get(page["next"]).json()["items"]] == ["no_show:v/0"]


def test_rejects_show_their_bytes(client: httpx.Client, connection: psycopg.Connection) -> None:
    for payload in (b'{"at": "caf\xc3\xa9"}', b"\xff\x00", b"x" * 20_000):
        connection.execute(
            "insert into rejects (received_at, topic, payload, reason) values (%s, 't', %s, 'malformed')", [STARTS_AT, payload]
        )
    large, binary, text = client.get("/v1/rejects?reason=malformed").json()["items"]
    assert (text["payload"], text["encoding"]) == ('{"at": "café"}', "utf-8")
    assert (binary["payload"], binary["encoding"]) == ("/wA=", "base64")
    assert (len(large["payload"]), large["truncated"]) == (4096, True)
    assert len(client.get(f"/v1/rejects/{large['id']}").json()["payload"]) == 20_000
    assert client.get("/v1/rejects?reason=no_key").json()["items"] == []


def test_a_policy_states_what_differs_and_gets_a_version(client: httpx.Client, connection: psycopg.Connection) -> None:
    assert client.get("/v1/policies/cleaning").json()["version"] == 0
    first = client.put("/v1/policies/cleaning", json={"late_s": 900}).json()
    assert (first["version"], first["stated"], first["values"]["late_s"], first["values"]["early_s"]) == (
        1,
        {"late_s": 900},
        900,
        1800,
    )
    assert client.put("/v1/policies/cleaning", json={"late_s": 900.0}).json() == first
    assert client.put("/v1/policies/cleaning", json={}).json()["version"] == 2
    assert [row[0] for row in connection.execute("select services from journal")] == [["cleaning"], ["cleaning"]]


def test_a_policys_own_answer_can_be_changed_and_sent_back(client: httpx.Client) -> None:
    first = client.put("/v1/policies/cleaning", json={"late_s": 900}).json()
    assert client.put("/v1/policies/cleaning", json=first).json() == first
    changed = client.put("/v1/policies/cleaning", json={**first, "values": {**first["values"], "grace_s": 60.0}}).json()
    assert changed["version"] == 2
    assert changed["stated"] == {"late_s": 900.0, "grace_s": 60.0}
    refused = client.put("/v1/policies/care", json=first)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "service"


def test_the_default_policy_judges_what_has_none_of_its_own(client: httpx.Client) -> None:
    client.put("/v1/policies/default", json={"grace_s": 60})
    client.put("/v1/policies/care", json={"late_s": 60})
    found = {item["service"]: item for item in client.get("/v1/policies").json()["items"]}
    assert list(found) == ["care", "default"]
    assert found["care"]["values"]["grace_s"] != 60
    inherited = client.get("/v1/policies/cleaning").json()
    assert (inherited["stated_by"], inherited["values"]["grace_s"]) == ("default", 60)


def test_policies_come_in_pages(client: httpx.Client) -> None:
    for service in ("care", "yard", "cleaning"):
        client.put(f"/v1/policies/{service}", json={"late_s": 60})
    url, seen = "/v1/policies?limit=3", []
    while url:
        page = client.get(url).json()
        seen.append([item["service"] for item in page["items"]])
        url = page["next"]
    assert seen == [["care", "cleaning", "default"], ["yard"]]
