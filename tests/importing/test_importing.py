"""The command: what it refuses before anything is sent, how it moves recordings in time, and how it puts plans."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitewatch import plan_files
from sitewatch.importing import check_retention, check_times, shift_seconds
from sitewatch.recordings import CannotImportError, Change, Lane, Recording, Whose, find, survey
from tests.fix_broker import RunningBroker
from tests.importing.fix_receipts import Receipts

DAY_S = 86_400.0
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC).timestamp()


def recording(first_at: float, last_at: float) -> Recording:
    return Recording(
        path=Path("2008.plt"),
        digest=b"1",
        owner="w",
        reports={"w": 2},
        first_at=first_at,
        last_at=last_at,
        oldest_at=first_at,
        bad=(),
    )


# In time


@given(st.floats(0, NOW))
def test_today_moves_by_whole_days_to_just_before_now(last_at: float) -> None:
    shift_s = shift_seconds("today", last_at, NOW)
    assert shift_s % DAY_S == 0
    assert NOW - DAY_S < last_at + shift_s <= NOW


@pytest.mark.parametrize(
    ("shift", "seconds"),
    [("6600d", 6600 * DAY_S), ("-8h30m", -30_600.0), ("+1d1s", DAY_S + 1), ("90m", 5_400.0), (None, 0.0)],
)
def test_a_duration_is_added(shift: str | None, seconds: float) -> None:
    assert shift_seconds(shift, NOW, NOW) == seconds


def test_a_date_is_where_the_last_day_goes() -> None:
    last_at = datetime(2008, 10, 28, 23, 59, tzinfo=UTC).timestamp()
    shift_s = shift_seconds("2026-11-20", last_at, NOW)
    assert datetime.fromtimestamp(last_at + shift_s, UTC) == datetime(2026, 11, 20, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize("shift", ["tomorrow", "12", "d", "+", "2026-13-01", "5d 3h"])
def test_what_is_no_shift_is_refused_with_examples(shift: str) -> None:
    with pytest.raises(CannotImportError, match="--shift"):
        shift_seconds(shift, NOW, NOW)


def test_an_old_recording_is_refused_with_three_ways_out() -> None:
    old = recording(NOW - 6_600 * DAY_S, NOW - 6_599 * DAY_S)
    with pytest.raises(CannotImportError, match="keeps evidence for 90 days") as refused:
        check_retention([old], 0, 90, NOW)
    for way in ("--shift today", "raise the retention", "--even-if-expired"):
        assert way in str(refused.value)


def test_what_is_inside_the_retention_or_kept_for_ever_is_not_refused() -> None:
    old = recording(NOW - 6_600 * DAY_S, NOW - 6_599 * DAY_S)
    check_retention([old], 0, None, NOW)
    check_retention([old], 6_590 * DAY_S, 90, NOW)
    with pytest.raises(CannotImportError):
        check_retention([recording(NOW - 91 * DAY_S, NOW)], 0, 90, NOW)


def test_times_that_ingest_would_reject_are_refused_at_once() -> None:
    with pytest.raises(CannotImportError, match="before 2000"):
        check_times([recording(0, NOW)], 0, NOW)
    with pytest.raises(CannotImportError, match="in the future"):
        check_times([recording(NOW - 10, NOW)], 2 * DAY_S, NOW)


# Whose


def test_a_folder_says_whose_its_recordings_are(tmp_path: Path) -> None:
    row = "at,lon,lat\n1767225600,24.9,60.1\n"
    for path in ("anna/a.csv", "Data/007/Trajectory/b.plt", "004/c.plt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(row if path.endswith("csv") else "h\n" * 6 + "39.9,116.3,0,1,1,2008-10-23,05:53:05\n")
    found = {path.name: list(survey(path, Whose()).reports) for path in find([tmp_path])}
    assert found == {"a.csv": ["anna"], "b.plt": ["geolife-007"], "c.plt": ["geolife-004"]}
    assert list(survey(tmp_path / "004" / "c.plt", Whose(worker="w-9")).reports) == ["w-9"]


def test_the_worker_column_counts_for_more_than_the_option(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,lon,lat,worker\n1767225600,24.9,60.1,bo/1\n1767225600,24.9,60.1,\n")
    assert survey(tmp_path / "a.csv", Whose(worker="w-9")).reports == {"bo-1": 1, "w-9": 1}


def test_an_owntracks_recording_without_a_phone_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_text('2026-01-01T08:00:00Z\t*\t{"tst":1767254400}\n')
    with pytest.raises(CannotImportError, match="--owntracks USER/DEVICE"):
        survey(tmp_path / "a.rec", Whose(worker="anna"))
    assert survey(tmp_path / "a.rec", Whose(owntracks="anna/phone")).reports == {"anna/phone": 1}


def test_a_lane_has_its_own_epoch_for_each_content_worker_and_change() -> None:
    one = recording(0, 1)
    other = Recording(path=one.path, digest=b"2", owner="w", reports={"w": 2}, first_at=0, last_at=1, oldest_at=0, bad=())
    epochs = {Lane(one, "w", Change()).epoch, Lane(other, "w", Change()).epoch, Lane(one, "w", Change(shift_s=DAY_S)).epoch}
    epochs.add(Lane(one, "w", Change(crs="gcj02")).epoch)
    assert len(epochs) == 4
    assert Lane(one, "w", Change()).epoch in epochs
    assert all(0 < epoch < 2**53 for epoch in epochs), "JSON numbers are exact up to there"


# Plans


def test_visits_from_csv_have_an_id_and_move_with_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("worker,site,starts_at,ends_at,service\nw,s,2008-10-23T08:00:00+08:00,2008-10-23T09:00:00+08:00,care\n")
    (visit,) = plan_files.moved(plan_files.read(path), DAY_S).visits
    assert visit == {
        "id": "w-s-2008-10-23T08:00:00+08:00",
        "worker": "w",
        "site": "s",
        "service": "care",
        "starts_at": "2008-10-24T00:00:00Z",
        "ends_at": "2008-10-24T01:00:00Z",
    }


def test_every_fault_of_a_plan_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("worker,site,starts_at,ends_at\n,s,2026-01-01T08:00:00,soon\nw,s,2026-01-01T08:00:00Z,2026-01-01T09:00:00Z\n")
    with pytest.raises(plan_files.PlanFileError) as refused:
        plan_files.read(path)
    faults = str(refused.value).splitlines()
    assert [fault.split(":")[1] for fault in faults] == ["2", "2", "2"]
    assert "write 2026-01-01T08:00:00Z" in faults[1]


def test_a_geojson_file_is_sites_and_a_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sites.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "id": "s"}]}))
    assert plan_files.read(path).sites == [{"type": "Feature", "id": "s"}]
    path.write_text("[1]")
    with pytest.raises(plan_files.PlanFileError, match="sites, workers, devices and visits"):
        plan_files.read(path)


def test_thousands_of_visits_go_in_several_calls_and_none_is_lost() -> None:
    plans = plan_files.Plans(workers=[{"id": "w"}], visits=[{"id": str(number)} for number in range(25_000)])
    calls = plan_files.calls(plans)
    assert [len(call.visits) for call in calls] == [10_000, 10_000, 5_000]
    assert calls[0].workers == [{"id": "w"}]
    assert not calls[1].workers
    assert [visit for call in calls for visit in call.visits] == plans.visits


# The whole command


class Api(HTTPServer):
    """As much of the HTTP contract as the import asks for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.settings: dict[str, Any] = {}
        self.posted: list[dict[str, Any]] = []
        self.answer = 200


class _Call(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._reply(200, cast(Api, self.server).settings)

    def do_POST(self) -> None:
        api = cast(Api, self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api.posted.append({"path": self.path, "key": self.headers["Authorization"], **body})
        problem = {"title": "Plan refused", "detail": "visits[0].site s-1 is not known: PUT it first"}
        self._reply(api.answer, problem if api.answer >= 400 else {})

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def command(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sitewatch.importing", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "a.csv").write_text("at,lon,lat\n1224741185,24.9,60.1\nnoon,24.9,60.1\n1224741190,24.9,60.1\n")
    path = tmp_path / "visits.csv"
    path.write_text("worker,site,starts_at,ends_at\nanna,s-1,2008-10-23T05:00:00Z,2008-10-23T07:00:00Z\n")
    return path


def test_the_command_puts_plans_sends_fixes_and_names_bad_lines(
    api: Api, mosquitto: RunningBroker, receipts: Receipts, visits: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps({"http": api.url, "mqtt": mosquitto.url, "database": "", "token": "k"}))
    api.settings = {"retention_days": 30}
    refused = command(tmp_path, "anna", "--plans", str(visits), "--ready-file", str(ready))
    assert refused.returncode == 2
    assert "keeps evidence for 30 days" in refused.stderr
    assert not api.posted
    assert not receipts.kept

    done = command(tmp_path, "anna", "--plans", str(visits), "--ready-file", str(ready), "--shift", "today")
    assert done.returncode == 0, done.stderr
    assert "anna/a.csv:3: time 'noon' is neither RFC 3339 nor epoch seconds" in done.stderr
    (fixes,) = receipts.kept.values()
    assert fixes == {1, 2}
    (posted,) = api.posted
    assert posted["path"] == "/v1/plans"
    assert posted["key"] == "Bearer k"
    (visit,) = posted["visits"]
    shift_s = next(iter(receipts.fixes.values()))["at"] - 1224741185
    moved_s = datetime.fromisoformat(visit["starts_at"]).timestamp() - datetime(2008, 10, 23, 5, tzinfo=UTC).timestamp()
    assert shift_s == moved_s > 0


def test_plans_that_the_api_refuses_stop_the_import_in_its_words(
    api: Api, mosquitto: RunningBroker, receipts: Receipts, visits: Path, tmp_path: Path
) -> None:
    api.answer = 422
    done = command(tmp_path, "anna", "--plans", str(visits), "--http", api.url, "--mqtt", mosquitto.url)
    assert done.returncode == 2
    assert "visits[0].site s-1 is not known: PUT it first" in done.stderr
    assert not receipts.kept


def test_a_system_that_cannot_be_asked_for_its_retention_gets_nothing(visits: Path, tmp_path: Path) -> None:
    done = command(tmp_path, "anna", "--http", "http://127.0.0.1:1", "--mqtt", "mqtt://127.0.0.1:1")
    assert done.returncode == 2
    assert "--retention-days" in done.stderr
