"""Stays over HTTP: every kind but what is nobody's business, found by time, worker, site and kind, page by page."""

from collections.abc import Sequence

import httpx
import psycopg
import pytest

ROWS = (
    ("w-1", "2026-11-20T08:00:00Z", "planned", "s-1", ["s-1"], "v-1", None),
    ("w-1", "2026-11-20T12:00:00Z", "unknown_place", None, [], None, None),
    ("w-1", "2026-11-20T18:00:00Z", "off_duty", None, [], None, None),
    ("w-2", "2026-11-20T12:00:00Z", "ambiguous", None, ["s-1", "s-2"], None, None),
    ("owntracks:anna/phone", "2026-11-21T09:00:00Z", "unscheduled", "s-2", ["s-2"], None, "v-2"),
)


@pytest.fixture(scope="module")
def client(asked: httpx.Client, asked_database: str) -> httpx.Client:
    with psycopg.connect(asked_database) as connection:
        _store(connection)
    return asked


def _store(connection: psycopg.Connection) -> None:
    for worker, start_at, *what in ROWS:
        connection.execute(
            """
            insert into stays (worker, start_at, end_at, lon, lat, error_m, fixes, cut_at, sure_at, kind, site, sites, visit,
                               instead_of)
            values (%(worker)s, %(at)s, %(at)s::timestamptz + interval '1 hour', 24.94, 60.17, 9.26, 61, %(at)s, %(at)s, %(kind)s,
                    %(site)s, %(sites)s, %(visit)s, %(instead_of)s)
            """,
            {"worker": worker, "at": start_at, **dict(zip(("kind", "site", "sites", "visit", "instead_of"), what, strict=True))},
        )


def kinds(answer: httpx.Response) -> Sequence[str]:
    assert answer.status_code == 200, answer.text
    return [feature["properties"]["kind"] for feature in answer.json()["features"]]


def test_a_stay_is_a_point_with_what_it_was(client: httpx.Client) -> None:
    answer = client.get("/v1/stays", params={"kind": "unscheduled"})
    assert answer.headers["content-type"] == "application/geo+json"
    (found,) = answer.json()["features"]
    assert found["geometry"] == {"type": "Point", "coordinates": [24.94, 60.17]}
    assert found["properties"] == {
        "worker": "owntracks:anna/phone", "kind": "unscheduled", "start_at": "2026-11-21T09:00:00.000Z",
        "end_at": "2026-11-21T10:00:00.000Z", "duration_s": 3600.0, "ongoing": False, "site": "s-2", "sites": ["s-2"],
        "visit": None, "instead_of": "v-2", "error_m": 9.3, "fixes": 61,
    }  # fmt: skip


def test_where_she_is_after_work_is_told_to_nobody(client: httpx.Client) -> None:
    assert kinds(client.get("/v1/stays", params={"worker": "w-1"})) == ["planned", "unknown_place"]
    refused = client.get("/v1/stays", params={"kind": "off_duty"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "kind")


def test_stays_are_found_by_time_worker_site_and_kind(client: httpx.Client) -> None:
    day = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}
    assert kinds(client.get("/v1/stays", params=day)) == ["planned", "unknown_place", "ambiguous"]
    assert kinds(client.get("/v1/stays", params={"site": "s-2"})) == ["ambiguous", "unscheduled"]
    assert kinds(client.get("/v1/stays", params={"worker": "owntracks:anna/phone"})) == ["unscheduled"]
    assert kinds(client.get("/v1/stays", params={"kind": "planned,ambiguous"})) == ["planned", "ambiguous"]


def test_pages_follow_each_other_also_where_two_stays_begin_together(client: httpx.Client) -> None:
    seen, page = [], "/v1/stays?limit=1"
    while page:
        answer = client.get(page).json()
        seen += [feature["id"] for feature in answer["features"]]
        page = answer["next"]
    assert len(seen) == len(set(seen)) == 4
