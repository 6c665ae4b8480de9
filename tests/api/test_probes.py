"""Probes, metrics, and the page: what machines and browsers ask first."""

from pathlib import Path

import httpx
import psycopg
import pytest

from api import pages
from api.settings import Settings
from store import rejects
from store.rejects import Reason, Reject
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
        'sitewatch_api_request_seconds_count{method="POST",route="/v1/plans",status="200"} 1.0',
    ):
        assert line in lines, line


def test_readiness_tells_how_evidence_flows(client: httpx.Client, connection: psycopg.Connection) -> None:
    at = 1_795_312_800.25
    figures = {"connected_at": at - 60, "last_message_at": at, "received_per_s": 12.5, "lag_s": 0.1, "queue_depth": 3}
    world.beat(connection, {"ingest:old": {"connected": True}}, ago_s=60)
    world.beat(connection, {"ingest": {"connected": True, "rejected_total": {"no_key": 2}, **figures}})
    for number in range(3):
        rejects.write(
            connection, [Reject(received_at=at, topic=f"t/{number}", payload=b"x", reason=Reason.NO_KEY, detail="no key")]
        )
    connection.execute("update rejects set replayed_at = now() where topic = 't/1'")
    told = client.get("/readyz").json()
    ingest, old, verify = told["programs"]
    assert (ingest["name"], ingest["state"], ingest["connected"], ingest["rejected"]) == ("ingest", "ok", True, {"no_key": 2})
    assert (ingest["connected_at"], ingest["last_message_at"]) == ("2026-11-22T01:59:00.250Z", "2026-11-22T02:00:00.250Z")
    assert (ingest["received_per_s"], ingest["lag_s"], ingest["queue_depth"]) == (12.5, 0.1, 3)
    assert (old["state"], old["last_message_at"], old["rejected"]) == ("silent", None, {})
    assert (verify["lag_s"], verify["connected"]) == (0.25, None)
    assert told["rejects_open"] == {"no_key": 2}
    assert 'sitewatch_rejects_open{reason="no_key"} 2.0' in client.get("/metrics").text


def test_open_rejects_are_counted_only_as_far_as_anybody_cares(client: httpx.Client, connection: psycopg.Connection) -> None:
    connection.execute(
        """insert into rejects (received_at, topic, payload, reason)
           select now(), n::text, '', 'malformed' from generate_series(1, %s) n""",
        [rejects.COUNTED_MAX + 5],
    )
    assert client.get("/readyz").json()["rejects_open"] == {"malformed": rejects.COUNTED_MAX}


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
