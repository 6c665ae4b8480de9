"""A recording of 2008 meets the real api's word on how long evidence is kept."""

from pathlib import Path

import httpx
import psycopg
import pytest

from api.settings import Settings
from store import migrate
from tests.api.conftest import serving
from tests.importing.test_importing import command

DAY_S = 86_400.0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "anna" / "a.csv"
    path.parent.mkdir()
    path.write_text("at,lon,lat\n1224741185,24.9,60.1\n")
    return path


def told(url: str) -> object:
    return httpx.get(f"{url}/v1/settings").json()["retention_days"]


def test_what_is_kept_for_ever_may_be_as_old_as_it_likes(each_database: str, recording: Path) -> None:
    with serving(Settings(), each_database) as url:
        assert told(url) is None
        taken = command(recording.parent, str(recording), "--http", url, "--dry-run")
    assert taken.returncode == 0, taken.stderr


def test_a_recording_that_retention_would_drop_is_refused(timescale_database: str, recording: Path) -> None:
    migrate.retain(timescale_database, 30 * DAY_S)
    with serving(Settings(api_key="k"), timescale_database) as url:
        assert told(url) == 30
        refused = command(recording.parent, str(recording), "--http", url, "--dry-run")
        assert (refused.returncode, "keeps evidence for 30 days" in refused.stderr) == (2, True), refused.stderr
        with psycopg.connect(timescale_database, autocommit=True) as connection:
            connection.execute("select remove_retention_policy('checks')")
            connection.execute("select add_retention_policy('checks', interval '7 days')")
            assert told(url) == 7, "the table that drops first decides"
            connection.execute("select alter_job(job_id, scheduled => false) from timescaledb_information.jobs")
        assert told(url) is None, "a paused job drops nothing"


def test_an_api_that_lost_its_database_does_not_promise_anything(recording: Path) -> None:
    with serving(Settings(), "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1") as url:
        assert httpx.get(f"{url}/v1/settings", timeout=20).status_code == 503
        refused = command(recording.parent, str(recording), "--http", url, "--dry-run")
    assert (refused.returncode, "--retention-days" in refused.stderr) == (2, True), refused.stderr
