"""Probes, metrics, and the page: what machines and browsers ask first."""

from pathlib import Path

import httpx
import psycopg
import pytest

from api import pages
from api.settings import Settings
from tests.api import world
from tests.api.conftest import Serve


def test_the_process_lives_before_anything_else_does(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    states = {name: part["state"] for name, part in answer.json()["parts"].items()}
    assert states == {"database": "ok", "broker": "missing", "ingest": "missing", "verify": "missing"}


def test_it_is_ready_when_every_part_beats(client: httpx.Client, connection: psycopg.Connection) -> None:
    world.beat(connection)
    assert client.get("/readyz").status_code == 200
    world.beat(connection, {"ingest": {"connected": False}})
    assert client.get("/readyz").json()["parts"]["broker"]["state"] == "away"
    world.beat(connection, ago_s=60)
    states = {name: part["state"] for name, part in client.get("/readyz").json()["parts"].items()}
    assert states == {"database": "ok", "broker": "missing", "ingest": "silent", "verify": "silent"}
    world.beat(connection, {"ingest:two": {"connected": True}})
    connection.execute("update programs set beat_at = now() - interval '60 s' where name = 'ingest'")
    assert client.get("/readyz").status_code == 200, "another ingestor does the work"


def test_metrics_show_what_the_other_programs_counted(planned: httpx.Client, connection: psycopg.Connection) -> None:
    world.beat(connection, {"ingest:two": {"received_total": 5, "rejected_total": {}, "note": "x", "lag_s": {"p99": 0.5}}})
    lines = planned.get("/metrics").text.splitlines()
    for line in (
        'sitewatch_ingest_received_total{program="ingest"} 7.0',
        'sitewatch_ingest_received_total{program="ingest:two"} 5.0',
        'sitewatch_ingest_rejected_total{program="ingest",reason="malformed"} 2.0',
        'sitewatch_ingest_lag_s{program="ingest:two",quantile="p99"} 0.5',
        'sitewatch_ingest_connected{program="ingest"} 1.0',
        'sitewatch_verify_lag_s{program="verify"} 0.25',
        "# TYPE sitewatch_ingest_received_total counter",
        "# TYPE sitewatch_verify_lag_s gauge",
        "sitewatch_database_up 1.0",
        'sitewatch_api_request_seconds_count{method="PUT",route="/v1/sites/{id}",status="201"} 1.0',
    ):
        assert line in lines, line


def test_a_series_is_a_route_and_not_an_id(client: httpx.Client) -> None:
    for number in range(5):
        client.get(f"/v1/sites/s-{number}")
        client.get(f"/nothing/{number}")
    text = client.get("/metrics").text
    assert 'route="/v1/sites/{id}",status="404"} 5.0' in text
    assert 'route="other",status="404"} 5.0' in text
    assert "s-3" not in text


def test_a_large_answer_is_compressed_where_the_client_can(planned: httpx.Client, connection: psycopg.Connection) -> None:
    for number in range(50):
        world.locate(connection, f"w-{number}")
    assert planned.get("/v1/positions").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in planned.get("/v1/positions", headers={"Accept-Encoding": "identity"}).headers


def test_the_page_is_served_with_its_files_or_says_how_to_build_them(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    missing = client.get("/")
    assert (missing.status_code, "uv sync" in missing.text) == (503, True)
    (tmp_path / "index.html").write_text("<p>sitewatch</p>")
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert answer.headers["content-type"].startswith("text/html")


def test_the_page_learns_what_it_must_know_first(serve: Serve) -> None:
    url = serve(Settings(tile_url="https://tiles.example/{z}/{x}/{y}.png", api_key="k"))
    found = httpx.get(f"{url}/v1/settings").json()
    assert (found["tile_url"], found["auth_required"], found["map_style"]) == ("https://tiles.example/{z}/{x}/{y}.png", True, None)
    assert found["coverage_target"] == 0.95
