"""Bad input gets a problem that names the field and the mend; nothing dies, nothing is stored."""

import json
from typing import Any

import httpx
import psycopg
import pytest

from api import database
from api.settings import Settings
from tests.api import world
from tests.api.conftest import Serve


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem, after looking that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:sitewatch:problem:")
    assert found["title"]
    assert found["detail"]
    return found


def geometry(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    """A site of this shape."""
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


BOW_TIE = [[[24.0, 60.0], [24.001, 60.001], [24.001, 60.0], [24.0, 60.001], [24.0, 60.0]]]


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        (geometry("Point", [24.9, 60.1]), "properties.radius_m", "properties.radius_m is missing"),
        (geometry("Point", [24.9, 60.1], radius_m=0), "properties.radius_m", "greater than or equal to 1"),
        (geometry("Point", [24.9, 60.1], radius_m="40"), "properties.radius_m", None),
        (geometry("Point", [39.9, 116.4], radius_m=40), "geometry", "lat 116.4 is outside -90..90: lon and lat look swapped"),
        (geometry("Point", [200, 10], radius_m=40), "geometry", "lon 200 is outside"),
        (geometry("Point", [24.9], radius_m=40), "geometry", "coordinates must be a position [lon, lat]"),
        (geometry("Point", ["24.9", 60.1], radius_m=40), "geometry", "must hold numbers"),
        (geometry("Point", [24.9, 60.1], radius=40), "properties", "did you mean 'radius_m'?"),
        (geometry("Polygon", BOW_TIE), "geometry", "crosses itself at lon, lat 24.0005, 60.0005"),
        (geometry("Polygon", [world.SQUARE[0][:-1]]), "geometry", "coordinates[0] is not closed"),
        (geometry("Polygon", []), "geometry", "not empty"),
        (geometry("Polygon", [[[24.0, 60.0]] * 4]), "geometry", None),
        (geometry("Polygon", [[[0, 0], [10, 0], [10, 10], [0, 0]]]), "geometry", "at most 20 km"),
        (geometry("Polygon", world.SQUARE, radius_m=10), "properties.radius_m", "belongs to a Point"),
        (geometry("LineString", [[24.0, 60.0], [24.1, 60.1]]), "geometry", "use Polygon, MultiPolygon, or Point"),
        (geometry("Polygon", world.SQUARE, timezone="Beijing"), "properties.timezone", "IANA"),
        (geometry("Polygon", world.SQUARE, name="a\u0001b"), "properties.name", "control character"),
        (geometry("Polygon", world.SQUARE, note="a\u0000b"), "properties.note", "NUL"),
        ({**world.POLYGON, "geometry": None}, "geometry", "GeoJSON geometry"),
        ({**world.POLYGON, "id": "other"}, "id", "make them equal"),
        ({"type": "Feature"}, "geometry", "is required"),
        ([], "", None),
    ],
)
def test_a_wrong_site_is_named_with_its_mend(asked: httpx.Client, body: Any, field: str, mend: str | None) -> None:
    found = problem(asked.put("/v1/sites/s-2", json=body), 422)
    assert found["errors"][0]["field"] == field
    assert mend is None or mend in found["detail"], found["detail"]
    assert asked.get("/v1/sites/s-2").status_code == 404


@pytest.mark.parametrize(
    ("changed", "field", "mend"),
    [
        ({"ends_at": "2026-11-20T08:00:00Z"}, "ends_at", "ends_at must be after starts_at"),
        ({"ends_at": "2026-11-23T08:00:00Z"}, "ends_at", "48 hours"),
        ({"starts_at": "2026-11-20T08:00:00"}, "starts_at", "no time zone"),
        ({"starts_at": "2026-11-20"}, "starts_at", "is a day"),
        ({"starts_at": 1_700_000_000}, "starts_at", "RFC 3339"),
        ({"starts_at": "1999-12-31T08:00:00Z"}, "starts_at", "years 2000"),
        ({"ends_at": "2100-01-01T00:00:00Z"}, "ends_at", "years 2000"),
        ({"ends_at": "2026-02-30T00:00:00Z"}, "ends_at", "calendar"),
        ({"ends_at": "9999-12-31T23:59:59-23:59"}, "ends_at", "calendar"),
        ({"worker": "w-9"}, "worker", "PUT /v1/workers/w-9 first"),
        ({"site": "s-9"}, "site", "PUT /v1/sites/s-9 first"),
        ({"site": "a/b"}, "site", "none of them"),
        ({"worker": ""}, "worker", "1 to 128"),
        ({"service": "x" * 129}, "service", "1 to 128"),
        ({"services": "cleaning"}, "", "did you mean 'service'?"),
    ],
)
def test_a_wrong_visit_is_named_with_its_mend(asked: httpx.Client, changed: dict[str, Any], field: str, mend: str) -> None:
    found = problem(asked.put("/v1/visits/v-2", json={**world.VISIT, **changed}), 422)
    assert found["errors"][0]["field"] == field
    assert mend in found["detail"], found["detail"]
    assert asked.get("/v1/visits/v-2").status_code == 404


@pytest.mark.parametrize(
    ("number", "field"), [(b"NaN", "late_s"), (b"1e400", "late_s"), (b'[1, {"deep": -Infinity}]', "late_s[1].deep")]
)
def test_a_number_that_none_can_be_is_named_with_its_field(asked: httpx.Client, number: bytes, field: str) -> None:
    found = problem(asked.put("/v1/policies/cleaning", content=b'{"early_s": 60, "late_s": ' + number + b"}"), 400)
    assert [wrong["field"] for wrong in found["errors"]] == [field]
    assert "finite number" in found["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b'{"worker": NaN}', 400),
        (b'{"worker": 1e400}', 400),
        (b'{"worker": -Infinity}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"worker": "\\ud800"}', 400),
        (b'{"worker": "\xff"}', 400),
        (b'{"worker": "w\\u0000"}', 422),
        (b'{"\\u0000": 1}', 422),
        (b"1" * 5000, 400),
        (b"null", 422),
        (b'"text"', 422),
        (b"\x00\x01", 400),
        (json.dumps({**world.VISIT, "note": 10**300}).encode(), 200),
        (json.dumps({**world.VISIT, "note": [[[[[[[[]]]]]]]]}).encode(), 200),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/visits/v-3"), ("POST", "/v1/plans")])
def test_no_bytes_break_a_call(asked: httpx.Client, method: str, path: str, body: bytes, status: int) -> None:
    answer = asked.request(method, path, content=body, headers={"content-type": "application/json"})
    if path == "/v1/plans":
        status = 400 if body == b"" else {200: 422}.get(status, status)
    if status == 200:
        assert answer.status_code in (200, 201), answer.text
    else:
        problem(answer, status)


@pytest.mark.parametrize(
    ("path", "status", "mend"),
    [
        ("/v1/visits?from=2026-11-20T08:00:00", 422, "no time zone"),
        ("/v1/visits?from=2026-11-20T08:00:00+08:00", 422, "%2B"),
        ("/v1/visits?limit=0", 422, "limit"),
        ("/v1/visits?limit=501", 422, "limit"),
        ("/v1/workers/w-1/track?limit=10001", 422, "limit"),
        ("/v1/workers/w-1/track?from=2026-11-20T08:00:00Z&to=2026-11-20T08:00:00Z", 422, "to: must be after from"),
        ("/v1/visits?verdict=verifed", 422, "did you mean 'verified'?"),
        ("/v1/visits?cursor=x", 422, "not a cursor"),
        ("/v1/visits?cursor=WzEsMl0", 422, "not a cursor"),
        ("/v1/sites?cursor=IgAi", 422, "not a cursor"),
        ("/v1/visits?worker=%00", 422, "control character"),
        ("/v1/rejects?topic=%00", 422, "control character"),
        ("/v1/rejects?reason=no_keys", 422, "Input should be 'unknown_topic'"),
        ("/v1/rejects/99999999999999999999", 422, "id"),
        ("/v1/coverage?by=week", 422, "day, worker, site, service"),
        ("/v1/coverage?by=,", 422, "is empty"),
        ("/v1/coverage?from=2026-11-20T08:00:00Z&to=2026-11-19T08:00:00Z", 422, "after from"),
        ("/v1/sites/a%00b", 422, "none of them"),
        ("/v1/visits?form=2026-11-20T08:00:00Z", 422, "form: is no parameter of this call: did you mean 'from'?"),
        ("/v1/positions?limit=5&wrokers=w-1", 422, "query wrokers: is no parameter of this call: did you mean 'worker'?"),
        ("/v1/policies?page=2", 422, "it takes cursor, limit"),
        ("/v1/workers/w-1?fields=name", 422, "it takes none"),
        ("/v1/live?kind=visit", 422, "did you mean 'kinds'?"),
        ("/v1/nothing", 404, "/docs"),
        ("/nothing", 404, "/docs"),
        ("/static/nothing.js", 404, "/static/nothing.js"),
        ("/v1/sites/s-9", 404, "no site 's-9'"),
        ("/v1/visits/v-9/history", 404, "no visit"),
        ("/v1/visits/v-9/evidence", 404, "no visit"),
    ],
)
def test_a_wrong_question_is_a_problem_that_says_the_mend(asked: httpx.Client, path: str, status: int, mend: str) -> None:
    assert mend in problem(asked.get(path), status)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "most"),
    [
        ("POST", "/v1/plans", b'{"sites":[' + b"1," * 50_000 + b"{}]}", 100),
        ("PUT", "/v1/workers/w-9", b'{"aliases":{"owntracks":[' + b"1," * 50_000 + b"1]}}", 300),
        ("PUT", "/v1/sites/s-9", b'{"geometry":{"type":"Polygon","coordinates":[[' + b"[1,2]," * 50_000 + b"[1,2]]]}}", 5),
    ],
    ids=["plans", "aliases", "positions"],
)
def test_a_body_of_thousands_of_mistakes_gets_a_short_answer(
    asked: httpx.Client, method: str, path: str, body: bytes, most: int
) -> None:
    found = problem(asked.request(method, path, content=body, headers={"content-type": "application/json"}), 422)
    assert 1 <= len(found["errors"]) <= most


def test_a_backslash_before_u0000_is_no_nul(asked: httpx.Client) -> None:
    answer = asked.put("/v1/workers/w-8", content=rb'{"name": "a\\u0000b"}')
    assert (answer.status_code, answer.json()["name"]) == (201, r"a\u0000b")
    assert "NUL" in problem(asked.put("/v1/workers/w-8", content=rb'{"name": "a\\\u0000b"}'), 422)["detail"]


@pytest.mark.parametrize("position", [[10**400, 39.9], [116.4, -(10**400)], [116.4, 39.9, 10**400]])
def test_a_coordinate_that_no_float_holds_is_a_problem_of_the_caller(asked: httpx.Client, position: list[float]) -> None:
    site = {**world.SITE, "geometry": {"type": "Point", "coordinates": position}}
    assert "is outside" in problem(asked.put("/v1/sites/s-9", json=site), 422)["detail"]


def test_every_unknown_parameter_is_named(asked: httpx.Client) -> None:
    found = problem(asked.get("/v1/visits?form=x&limit=1&too=y&form=z"), 422)
    assert [error["field"] for error in found["errors"]] == ["form", "too"]


def test_a_probe_does_not_mind_what_else_it_is_asked(asked: httpx.Client) -> None:
    assert asked.get("/healthz?probe=1").status_code == 200


@pytest.mark.parametrize("name", ["*", "a%2Fb", "a+b", "%2B", "%23", "w%00"])
@pytest.mark.parametrize("kind", ["workers", "sites", "devices", "visits", "policies"])
def test_an_id_that_means_several_to_somebody_is_refused(asked: httpx.Client, kind: str, name: str) -> None:
    bodies = {"workers": {}, "sites": world.SITE, "devices": {"site": "s-1", "kind": "lock"}, "visits": world.VISIT, "policies": {}}
    answer = asked.put(f"/v1/{kind}/{name}", json=bodies[kind])
    # A slash in an id is another address.
    assert answer.status_code == (404 if name == "a%2Fb" else 422), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("workers/w-9", {"aliases": {"owntracks": "+/phone"}}),
        ("workers/w-9", {"aliases": {"owntracks": ["anna/phone", "anna/#"]}}),
        ("workers/w-9", {"aliases": {"native": "*"}}),
        ("devices/d-9", {"site": "s-1", "kind": "lock", "dialect": "tasmota", "address": "house/+/lock"}),
        ("devices/d-9", {"site": "s-1", "kind": "lock", "address": "*"}),
    ],
)
def test_an_address_that_is_a_pattern_is_refused(asked: httpx.Client, path: str, body: dict[str, Any]) -> None:
    assert "name one" in problem(asked.put(f"/v1/{path}", json=body), 422)["detail"]


def test_a_wrong_method_is_a_problem(asked: httpx.Client) -> None:
    assert "PATCH" in problem(asked.patch("/v1/sites/s-1"), 405)["detail"]


@pytest.mark.parametrize("declared", [None, "text/plain", "application/x-www-form-urlencoded", "application/geo+json", "image/png"])
def test_a_put_is_json_whatever_it_is_declared_as(asked: httpx.Client, declared: str | None) -> None:
    headers = {} if declared is None else {"content-type": declared}
    assert asked.put("/v1/sites/s-1", content=json.dumps(world.SITE), headers=headers).status_code == 200
    problem(asked.put("/v1/sites/s-1", content="name=Yard", headers=headers), 400)


FOREIGN = {"origin": "https://elsewhere.example"}


@pytest.mark.parametrize("path", ["/v1/plans", "/v1/alerts/no_show:v-1/acknowledge"])
def test_a_post_that_a_foreign_page_can_send_unasked_is_refused(asked: httpx.Client, path: str) -> None:
    for declared in (
        "text/plain",
        "Text/Plain; charset=utf-8",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        assert "application/json" in problem(asked.post(path, content="{}", headers={"content-type": declared}), 415)["detail"]
    problem(asked.post(path, content="{}", headers=FOREIGN), 415)
    problem(asked.post(path, content="{}", headers={"origin": "null"}), 415)
    own = {"origin": str(asked.base_url).rstrip("/")}
    for headers in ({}, own, *({**FOREIGN, "content-type": declared} for declared in ("application/json", "application/geo+json"))):
        assert asked.post(path, content="{}", headers=headers).status_code == (200 if path == "/v1/plans" else 404)


@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({"late": 1}, "late", "did you mean 'late_s'?"),
        ({"late_s": -1}, "late_s", "between 0 and 86400"),
        ({"late_s": "x"}, "late_s", "Expected `float`"),
        ({"coverage_target": 2}, "coverage_target", "between"),
        ({"billing_rounding": "sideways"}, "billing_rounding", "sideways"),
        ({"version": 3}, "version", "set by us"),
        ({"on_site_lower_share": 0.99}, "on_site_lower_share", "exceed"),
    ],
)
def test_a_wrong_policy_is_named_with_its_mend(asked: httpx.Client, body: dict[str, Any], field: str, mend: str) -> None:
    found = problem(asked.put("/v1/policies/cleaning", json=body), 422)
    assert (found["errors"][0]["field"], mend in found["detail"]) == (field, True), found
    assert asked.get("/v1/policies/cleaning").json()["version"] == 0


def test_an_alias_is_written_where_it_belongs(asked: httpx.Client) -> None:
    for body, mend in (
        ({"owntracks": "a/b"}, "write it as aliases"),
        ({"aliases": {"owntracks": "a"}}, "user/device"),
        ({"alias": {"owntracks": "a/b"}}, "did you mean 'aliases'?"),
    ):
        assert mend in problem(asked.put("/v1/workers/w-2", json=body), 422)["detail"]


def test_without_the_key_nothing_is_answered_and_nothing_read(serve: Serve) -> None:
    url = serve(Settings(api_key="secret"))
    with httpx.Client(base_url=url) as client:
        for path in ("/v1/sites", "/v1/live", "/v1/nothing", "/v1"):
            assert "Bearer" in problem(client.get(path), 401)["detail"]
            assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert client.get(path, headers={"Authorization": "Basic secret"}).status_code == 401
        answer = client.put("/v1/sites/s-1", content=b"{" * 900_000)
        assert problem(answer, 401)["detail"]
        assert "www-authenticate" in answer.headers
        key = {"Authorization": "Bearer secret"}
        assert client.put("/v1/sites/s-1", json=world.SITE, headers=key).status_code == 201
        assert client.get("/v1/sites", headers=key).status_code == 200
        for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/v1/settings"):
            assert client.get(path).status_code != 401, path
        assert client.get("/v1/settings").json()["auth_required"] is True


def test_a_database_that_is_away_is_a_problem_worth_a_retry(
    serve: Serve, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only waiting: how long is no matter here.
    monkeypatch.setattr(database, "WAIT_S", 1.0)
    planned = httpx.Client(base_url=serve(Settings()))
    name = connection.info.dbname
    with psycopg.connect(
        host=connection.info.host,
        port=connection.info.port,
        user=connection.info.user,
        password=connection.info.password,
        dbname="postgres",
        autocommit=True,
    ) as admin:
        admin.execute(f'alter database "{name}" allow_connections false')
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        answer = planned.get("/v1/sites", timeout=30)
        assert problem(answer, 503)["detail"].startswith("The database does not answer")
        assert answer.headers["retry-after"] == "5"
        assert planned.get("/healthz").status_code == 200
        states = {name: part["state"] for name, part in planned.get("/readyz").json()["parts"].items()}
        assert states == {"database": "away", "broker": "unknown", "ingest": "unknown", "verify": "unknown"}
        assert "sitewatch_database_up 0.0" in planned.get("/metrics").text
        admin.execute(f'alter database "{name}" allow_connections true')
        for _ in range(20):
            answer = planned.get("/v1/sites", timeout=30)
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


def test_a_query_that_takes_too_long_is_given_up(serve: Serve, connection: psycopg.Connection) -> None:
    url = serve(Settings(query_timeout_s=0.2))
    with connection.transaction():
        connection.execute("lock table sites in access exclusive mode")
        assert "took too long" in problem(httpx.get(f"{url}/v1/sites"), 503)["detail"]
