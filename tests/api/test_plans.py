"""Plans in: what is put comes back, a repeat changes nothing, and verify is told exactly what changed."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg

from tests.api import world


def journal(connection: psycopg.Connection) -> list[dict[str, list[str]]]:
    """What each transaction said it changed, without empty lists."""
    rows = connection.execute("select visits, sites, workers, devices, services from journal order by xid, id").fetchall()
    names = ("visits", "sites", "workers", "devices", "services")
    return [{name: found for name, found in zip(names, row, strict=True) if found} for row in rows]


def test_a_put_answers_201_then_200_and_the_same_thing(client: httpx.Client) -> None:
    for path, body in world.PLANS.items():
        first, second = client.put(path, json=body), client.put(path, json=body)
        assert (first.status_code, second.status_code) == (201, 200), first.text
        assert first.json() == second.json() == client.get(path).json()


def test_a_repeated_put_is_not_journaled(client: httpx.Client, connection: psycopg.Connection) -> None:
    for path, body in world.PLANS.items():
        assert client.put(path, json=body).status_code == 201
    before = journal(connection)
    for path, body in world.PLANS.items():
        assert client.put(path, json=body).status_code == 200
    assert journal(connection) == before == [{"sites": ["s-1"]}, {"workers": ["w-1"]}, {"devices": ["lock-1"]}, {"visits": ["v-1"]}]


def test_a_put_wakes_verify(planned: httpx.Client, connection: psycopg.Connection) -> None:
    connection.execute("listen sitewatch_journal")
    planned.put("/v1/visits/v-1", json={**world.VISIT, "ends_at": "2026-11-20T11:00:00Z"})
    assert [notify.channel for notify in connection.notifies(timeout=5, stop_after=1)] == ["sitewatch_journal"]
    assert journal(connection)[-1] == {"visits": ["v-1"]}


def test_a_site_is_a_feature_with_what_else_was_sent(client: httpx.Client) -> None:
    body = {**world.SITE, "properties": {**world.SITE["properties"], "floor": 3, "customer_id": "c-9"}}
    answer = client.put("/v1/sites/s-1", json=body)
    assert answer.headers["content-type"] == "application/geo+json"
    found = answer.json()
    assert (found["type"], found["id"], found["geometry"]) == ("Feature", "s-1", body["geometry"])
    assert found["properties"].items() >= body["properties"].items()


def test_what_was_answered_can_be_changed_and_sent_back(planned: httpx.Client) -> None:
    for path in world.PLANS:
        answered = planned.get(path).json()
        again = planned.put(path, json=answered)
        assert again.status_code == 200, again.text
        assert again.json() == answered


def test_lists_page_through_everything_once(client: httpx.Client) -> None:
    for number in range(7):
        client.put(f"/v1/sites/s-{number}", json=world.SITE)
    seen, next_page = [], "/v1/sites?limit=3"
    pages = 0
    while next_page:
        page = client.get(next_page).json()
        seen += [feature["id"] for feature in page["features"]]
        next_page, pages = page["next"], pages + 1
    assert (seen, pages) == ([f"s-{number}" for number in range(7)], 3)


def test_a_device_that_moves_names_the_home_it_left(planned: httpx.Client, connection: psycopg.Connection) -> None:
    planned.put("/v1/sites/s-2", json=world.POLYGON)
    planned.put("/v1/devices/lock-1", json={**world.DEVICE, "site": "s-2"})
    assert journal(connection)[-1] == {"sites": ["s-1"], "devices": ["lock-1"]}


def test_an_alias_maps_its_source_and_can_be_taken_away(planned: httpx.Client, connection: psycopg.Connection) -> None:
    mapped = "select source, worker from sources"
    assert connection.execute(mapped).fetchall() == [("owntracks:wang.fang/phone", "w-1")]
    planned.put("/v1/workers/w-1", json={"name": "Wang Fang", "aliases": {"owntracks": ["a/b", "c/d"], "native": "old-17"}})
    assert sorted(connection.execute(mapped).fetchall()) == [("old-17", "w-1"), ("owntracks:a/b", "w-1"), ("owntracks:c/d", "w-1")]
    planned.put("/v1/workers/w-1", json={"name": "Wang Fang"})
    assert connection.execute(mapped).fetchall() == []
    assert journal(connection)[-1] == {"workers": ["w-1"]}


def test_an_alias_belongs_to_one_worker(planned: httpx.Client) -> None:
    answer = planned.put("/v1/workers/w-2", json=world.WORKER)
    assert answer.status_code == 409
    assert "'w-1'" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "aliases"
    assert planned.get("/v1/workers/w-2").status_code == 404, "a refused put must leave nothing behind"


def test_a_worker_is_no_alias_of_another(planned: httpx.Client) -> None:
    assert planned.put("/v1/workers/w-2", json={"aliases": {"native": "w-1"}}).status_code == 409
    assert planned.put("/v1/workers/w-2", json={"aliases": {"native": "x-9"}}).status_code == 201
    assert planned.put("/v1/workers/x-9", json={}).status_code == 409


def test_an_address_belongs_to_one_device(planned: httpx.Client) -> None:
    planned.put("/v1/devices/a", json={**world.DEVICE, "dialect": "zigbee2mqtt", "address": "front"})
    answer = planned.put("/v1/devices/b", json={**world.DEVICE, "dialect": "zigbee2mqtt", "address": "front"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "address")


def test_what_is_named_elsewhere_cannot_be_deleted(planned: httpx.Client) -> None:
    for path, named in (("/v1/sites/s-1", ["lock-1", "v-1"]), ("/v1/workers/w-1", ["v-1"])):
        answer = planned.delete(path)
        assert answer.status_code == 409
        assert all(name in answer.json()["detail"] for name in named), answer.json()["detail"]


def test_a_deletion_is_journaled_and_a_second_one_finds_nothing(planned: httpx.Client, connection: psycopg.Connection) -> None:
    for path, said in (
        ("/v1/visits/v-1", {"visits": ["v-1"]}),
        ("/v1/devices/lock-1", {"devices": ["lock-1"], "sites": ["s-1"]}),
        ("/v1/workers/w-1", {"workers": ["w-1"]}),
        ("/v1/sites/s-1", {"sites": ["s-1"]}),
    ):
        assert planned.delete(path).status_code == 204
        assert journal(connection)[-1] == said
        assert planned.delete(path).status_code == planned.get(path).status_code == 404


def bulk(visits: int) -> dict[str, list[Any]]:
    """A request for a day: two sites and workers, and so many visits, listed before what they name."""
    return {
        "visits": [{**world.VISIT, "id": f"v-{number}", "worker": f"w-{number % 2}", "site": "s-0"} for number in range(visits)],
        "devices": [{**world.DEVICE, "id": "lock-1", "site": "s-1"}],
        "workers": [{"id": f"w-{number}", "name": str(number)} for number in range(2)],
        "sites": [{**world.SITE, "id": f"s-{number}"} for number in range(2)],
    }


def test_a_bulk_put_is_one_transaction_and_counts(client: httpx.Client, connection: psycopg.Connection) -> None:
    answer = client.post("/v1/plans", json=bulk(1500))
    assert answer.status_code == 200, answer.text
    assert answer.json()["visits"] == {"created": 1500, "changed": 0, "unchanged": 0}
    said = journal(connection)
    assert len(said) == 1
    assert (len(said[0]["visits"]), said[0]["sites"]) == (1500, ["s-0", "s-1"])
    moved = bulk(1500)
    moved["visits"][7]["ends_at"] = "2026-11-20T10:30:00Z"
    assert client.post("/v1/plans", json=moved).json()["visits"] == {"created": 0, "changed": 1, "unchanged": 1499}
    assert journal(connection)[1:] == [{"visits": ["v-7"]}]


def test_a_bulk_put_is_all_or_nothing_and_names_the_item(client: httpx.Client) -> None:
    wrong = bulk(20)
    wrong["visits"][13]["site"] = "nowhere"
    answer = client.post("/v1/plans", json=wrong)
    assert answer.status_code == 422
    assert "v-13" in answer.json()["detail"]
    assert "PUT /v1/sites/nowhere first" in answer.json()["detail"]
    assert client.get("/v1/sites").json()["features"] == []
    wrong = bulk(20)
    wrong["visits"][13]["ends_at"] = wrong["visits"][13]["starts_at"]
    first = client.post("/v1/plans", json=wrong).json()["errors"][0]
    assert (first["field"], "v-13" in first["detail"], "ends_at must be after starts_at" in first["detail"]) == (
        "visits[13].ends_at",
        True,
        True,
    )


def test_a_bulk_put_wants_every_id_once(client: httpx.Client) -> None:
    twice = bulk(2)
    twice["visits"][1]["id"] = "v-0"
    assert "comes twice" in client.post("/v1/plans", json=twice).json()["detail"]
    del twice["visits"][1]["id"]
    assert client.post("/v1/plans", json=twice).json()["errors"][0]["field"] == "visits[1].id"


def test_a_bulk_put_takes_more_than_another_call_but_not_everything(client: httpx.Client) -> None:
    padding = "x" * 2_000_000

    def pieces() -> Iterator[bytes]:
        yield from (b"x" * 1_000_000 for _ in range(60))

    declared = {"content-type": "application/json"}
    for answer in (
        client.put("/v1/sites/s-1", content=padding, headers=declared),
        client.post("/v1/plans", content=pieces(), headers=declared),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert client.post("/v1/plans", content=padding, headers=declared).status_code == 400
