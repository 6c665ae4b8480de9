"""What a person gave on the command line, read: the configuration, a time, and the URLs, each refused in a line that says the mend.

Nothing heavy is imported before it is needed: `--help` answers at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console

from sitewatch import config


def settings(file: Path | None) -> config.Settings:
    try:
        return config.load(file)
    except config.ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="configuration") from error


def program_settings(file: Path | None) -> config.Settings:
    """The same, for a program that logs."""
    from sitewatch import logs

    found = settings(file)
    logs.configure(found.log)
    return found


def moment(time: datetime | None) -> float | None:
    # Without a zone it is UTC, as the help says; with one it is that moment.
    return None if time is None else (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


@contextmanager
def answering() -> Iterator[None]:
    """For commands that a person waits for: a database that does not answer is said in a line, and not tried again."""
    import psycopg

    try:
        yield
    except psycopg.OperationalError as error:
        Console(stderr=True).print(f"The database cannot be used: {error}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def database(url: str | None, configured: config.Settings) -> str:
    url = url or configured.database
    if not url:
        raise typer.BadParameter(
            "say which one: postgresql://user:password@host/name; or set SITEWATCH_DATABASE", param_hint="--database"
        )
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except ProgrammingError as error:
        # Not the text itself, nor libpq's words, which repeat it: a password may stand in it.
        raise typer.BadParameter(
            "cannot be read as one: it looks like postgresql://user:password@host:5432/name", param_hint="--database"
        ) from error
    return url


def mqtt(url: str | None, configured: config.Settings) -> str:
    url = url or configured.mqtt
    if not url:
        raise typer.BadParameter("say which one: mqtt://host:1883; or set SITEWATCH_MQTT", param_hint="--mqtt")
    from ingest import broker

    try:
        broker.parse(url)
    except ValueError as error:
        raise typer.BadParameter(
            "cannot be read as one: it looks like mqtt://user:password@host:1883", param_hint="--mqtt"
        ) from error
    return url
