"""Prometheus' rules and Grafana's dashboards ask for what there is: the api's own metrics, and the real tables."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from api import metrics
from api.stream import Hub
from ingest.counts import Counts as IngestCounts
from ingest.link import History
from sitewatch.verify import Counts as VerifyCounts
from store.figures import ProgramRow
from store.touched import Backlog
from tests import missing
from tests.deploy.house import HOUSE

RULES = HOUSE / "deploy/prometheus/rules.yml"
DASHBOARDS = sorted((HOUSE / "deploy/grafana/dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """The names of all series that the api shows when all programs live, from the programs' own counts."""
    ingest = IngestCounts()
    ingest.rejected["bad_json"] = 1
    ingest.last_message_at = time.time()
    verify = VerifyCounts(time.time())
    states = {
        "ingest:ingest-1": ingest.state(
            now=time.time(), connected=True, queue_depth=0, oldest_at=None, history=History(connected_at=time.time())
        ),
        "verify": verify.state(Backlog(entries=0, visits=0, age_s=0.0)),
    }
    now = datetime.now(UTC)
    rows = [ProgramRow(name=name, beat_at=now, started_at=now, silent_s=0.0, state=state) for name, state in states.items()]
    measured = metrics.Metrics()
    measured.latency.labels("GET", "/v1/visits", "200").observe(0.1)
    text = metrics.expose(measured, Hub("nobody connects", 1, 1), rows, {"no_key": 1}).decode()
    return {re.match(r"[a-z0-9_]+", line)[0] for line in text.splitlines() if line and line[0] != "#"}  # type: ignore[index]


def series(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\bsitewatch_[a-z0-9_]+", bare))


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield from ((panel["title"], target["expr"]) for target in panel["targets"] if "expr" in target)


def test_every_series_that_is_asked_for_is_shown(shown: set[str]) -> None:
    asked = {name: where for where, expression in expressions() for name in series(expression)}
    assert len(asked) > 15
    unknown = {name: where for name, where in asked.items() if name not in shown}
    assert not unknown, f"not among {sorted(shown)}"


def test_every_alert_has_its_section_in_the_runbook() -> None:
    book = (HOUSE / "docs/operations.md").read_text()
    for rule in rules():
        assert re.search(rf"(?m)^### {rule['alert']}$", book), rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
    written = set(re.findall(r"(?m)^### (\w+)$", book))
    assert written == {rule["alert"] for rule in rules()}, "a section without its alert"


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing.skip("promtool", "apt-get install prometheus")
    checked = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    settings = RULES.parent / "prometheus.yml"
    text = settings.read_text().replace("/etc/prometheus", str(RULES.parent))
    checked = subprocess.run(
        [promtool, "check", "config", "--syntax-only", "/dev/stdin"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_ring_when_they_should_and_not_before() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing.skip("promtool", "apt-get install prometheus")
    cases = RULES.parent / "rules_test.yml"
    checked = subprocess.run([promtool, "test", "rules", str(cases)], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_a_case_in_which_it_rings_and_all_series_one_in_which_none_does() -> None:
    well, *bad = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())["tests"]
    assert [told["exp_samples"] for told in well["promql_expr_test"]] == [[]]
    given = {name for told in well["input_series"] for name in series(told["series"])}
    assert {name for rule in rules() for name in series(rule["expr"])} <= given, "nobody says when these do not ring"
    expected = [sample["labels"] for case in bad for told in case["promql_expr_test"] for sample in told["exp_samples"]]
    assert expected == [f'{{alertname="{rule["alert"]}"}}' for rule in rules()]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_hangs_together(path: Path) -> None:
    board = json.loads(path.read_text())
    provisioned = yaml.safe_load((HOUSE / "deploy/grafana/provisioning/datasources/sitewatch.yml").read_text())
    sources = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["title"]
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert sources[source["uid"]] == source["type"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_there_are_two_dashboards() -> None:
    assert [path.stem for path in DASHBOARDS] == ["coverage", "operations"]


def test_the_coverage_dashboards_queries_run_with_grafanas_rights(database: str) -> None:
    grants = (HOUSE / "deploy/database/grants.sql").read_text()
    listed = re.search(r"grant select on ([^;]+) to grafana;", grants)
    assert listed is not None
    queries = [
        target["rawSql"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
        if "rawSql" in target
    ]
    assert len(queries) >= 9
    with psycopg.connect(database) as connection:
        # The role lives for this transaction alone: roles belong to the whole server, which other tests share.
        connection.execute("create role grafana_tested")
        connection.execute(
            f"grant usage on schema public to grafana_tested; grant select on {listed[1]} to grafana_tested".encode()
        )
        connection.execute(
            """insert into coverage (visit, worker, site, service, starts_at, monitored_s, expected_s, share, silent)
               values ('v', 'w', 's', 'default', now(), 900, 1000, 0.9, 100)"""
        )
        connection.execute("set local role grafana_tested")
        for query in queries:
            rows = connection.execute(_filled_in(query).encode()).fetchall()
            assert rows or "from outages" in query or "from gaps" in query, query
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from source_keys")
        connection.rollback()


def _filled_in(query: str) -> str:
    """As Grafana fills its macros in."""
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 between now() - interval '7 days' and now()", query)
    return query.replace("$__timeFrom()", "now() - interval '7 days'").replace("$__timeTo()", "now()").replace("%", "%%")
