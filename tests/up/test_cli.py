"""The command line teaches: every command says what it does, with an example, and at once."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from sitewatch import given

COMMANDS = ["up", "migrate", "retain", "replay", "ingest", "verify", "api", "sim", "import", "plans put"]
COMMANDS += ["rejects list", "rejects show", "rejects replay"]
# What takes long to import and nobody needs who asks for help.
HEAVY = ("fastapi", "psycopg", "numpy", "shapely", "structlog", "paho", "yoyo")


def sitewatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "sitewatch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"COLUMNS": "120", "PATH": "/usr/bin:/bin"},
    )


def test_without_a_command_it_says_what_there_is_and_where_to_start() -> None:
    told = sitewatch().stdout
    assert "sitewatch up --sim" in told
    for command in COMMANDS:
        assert command.split()[0] in told


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    done = sitewatch(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    _, _, rest = done.stdout.partition("Usage:")[2].partition("\n")
    assert f"sitewatch {command}" in rest, done.stdout


@pytest.mark.parametrize("command", ["sim", "import", "plans put", "rejects list"])
def test_a_short_h_asks_for_help_too(command: str) -> None:
    assert f"Usage: sitewatch {command}" in sitewatch(*command.split(), "-h").stdout


def test_help_imports_nothing_heavy() -> None:
    look = f"import sys; from sitewatch import cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("program", ["ingest", "verify", "api", "migrate", "replay"])
def test_a_program_without_a_database_says_how_to_name_one(program: str) -> None:
    done = sitewatch(program)
    assert done.returncode == 2
    assert "--database" in done.stderr
    assert "SITEWATCH_DATABASE" in done.stderr


def test_a_broken_configuration_is_said_in_a_line_and_not_in_a_traceback() -> None:
    done = sitewatch("up", "--config", "/nonexistent/sitewatch.toml")
    assert done.returncode == 2
    assert "no configuration file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["ingest", "verify", "api", "migrate", "replay"])
def test_what_is_no_database_url_is_said_at_once_and_without_the_password_in_it(program: str) -> None:
    done = sitewatch(program, "--database", "mysql://anna:sesame@host/name")
    assert done.returncode == 2
    assert "--database" in done.stderr
    assert "postgresql://" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr


@pytest.mark.parametrize("url", ["http://host", "host:1883", "mqtt://host:port"])
def test_what_is_no_broker_url_is_said_at_once(url: str) -> None:
    done = sitewatch("ingest", "--database", "postgresql://host/name", "--mqtt", url)
    assert done.returncode == 2
    assert "--mqtt" in done.stderr
    assert "mqtt://user:password@host:1883" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["migrate"], ["replay"], ["retain", "--days", "30"]])
def test_a_database_that_does_not_answer_is_said_in_a_line(command: list[str]) -> None:
    done = sitewatch(*command, "--database", "postgresql://anna:sesame@127.0.0.1:1/name")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr


@pytest.mark.parametrize("option", ["--data", "--ready-file"])
def test_a_place_that_cannot_be_written_is_said_with_its_option(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = {"--data": str(tmp_path / "file"), "--ready-file": str(tmp_path)}
    places = {"--data": str(tmp_path / "data"), option: wrong[option]}
    done = sitewatch("up", "--http-port", "0", "--mqtt-port", "0", *(text for place in places.items() for text in place))
    assert done.returncode == 1
    assert wrong[option] in done.stdout
    assert option in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_time_with_a_zone_is_that_moment_and_one_without_is_utc() -> None:
    east = datetime(2026, 11, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    bare = datetime(2026, 11, 1)  # noqa: DTZ001 - a person types one like this.
    assert given.moment(east) == given.moment(bare) == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
