"""The command line teaches: every command says what it does, with an example, and at once."""

import subprocess
import sys

import pytest

COMMANDS = ["up", "migrate", "retain", "replay", "ingest", "verify", "api", "sim", "import", "plans put"]
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
