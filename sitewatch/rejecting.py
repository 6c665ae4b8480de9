"""`sitewatch rejects list|show|replay|close|forget`: what could not be taken, why, and another try after a mend.

Rules kept here:

- What a sender wrote is printed as plain text, without markup and without control characters: a payload must not paint a terminal.
- `replay` reads rejects itself, by the decoder, the keys and the prefixes of this installation; an ingest that runs may do some of
  them first, which comes to the same.
"""

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest import reread
from sitewatch import config, given
from sitewatch.system import Endpoints, UnreachableError
from store import evidence, keys, rejects
from store.rejects import Filter, Outcome, Reason, StoredReject

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

PAGE_ROWS = 500
QUERY_TIMEOUT = "60s"
CONNECT_TIMEOUT_S = 10
"""A person waits, and a database that hangs must not make her wait for ever."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def instant(typed: str) -> datetime:
    """`2h`, `3d`, or a time such as 2026-11-22T08:00, which is UTC unless it says otherwise."""
    if typed[-1:] in UNITS_S and typed[:-1].replace(".", "", 1).isdecimal():
        try:
            return datetime.now(UTC) - timedelta(seconds=float(typed[:-1]) * UNITS_S[typed[-1]])
        except OverflowError:
            raise typer.BadParameter(f"'{typed}' is longer ago than there are dates") from None
    try:
        found = datetime.fromisoformat(typed)
    except ValueError:
        raise typer.BadParameter(f"'{typed}' is no time: write 2h, 3d, or 2026-11-22T08:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Numbers = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Which ones; or say it by the options.")]
OfReason = Annotated[Reason | None, typer.Option("--reason", help="Only those with this reason.", show_choices=False)]
OfTopic = Annotated[
    str | None, typer.Option("--topic", help="Only those on this topic; MQTT's + and # may stand in it.", show_default=False)
]
FromTime = Annotated[
    datetime | None,
    typer.Option(
        "--since", parser=instant, metavar="2h|3d|TIME", help="Only those that first came since then.", show_default=False
    ),
]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL. Also SITEWATCH_DATABASE.", show_default=False)]
ReadyFile = Annotated[
    Path | None, typer.Option("--ready-file", help="Take the database from the ready file of `sitewatch up`.", show_default=False)
]
Config = Annotated[Path | None, typer.Option("--config", envvar="SITEWATCH_CONFIG", help="TOML file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON object a line.")]


@app.callback()
def about() -> None:
    """Payloads that could not be taken as evidence: they are kept, with the reason, until somebody mends it."""


@app.command("list")
def list_(
    reason: OfReason = None,
    topic: OfTopic = None,
    since: FromTime = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed or closed.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE_ROWS, help="How many at most, newest first.")] = 50,
    as_json: AsJson = False,
    database: Database = None,
    ready_file: ReadyFile = None,
    config_file: Config = None,
) -> None:
    """List rejects that are still open, newest first.

    sitewatch rejects list
    sitewatch rejects list --reason no_key --topic 'owntracks/anna/#' --since 2d --json
    """
    wanted = Filter(reason=reason, topic=topic, start=since, is_open=None if everything else True)
    with _connected(database, ready_file, given.settings(config_file)) as connection:
        found = rejects.newest(connection, wanted, limit=limit + 1)
    shown = found[:limit]
    if as_json:
        _print_json(shown)
        return
    if not shown:
        console.print("No rejects." if everything else "No open rejects.")
        return
    table = Table("id", "first came", "times", "reason", "topic, what is wrong, and the mend", box=None, header_style="bold")
    table.columns[0].justify = table.columns[2].justify = "right"
    for column in table.columns[:4]:
        column.no_wrap = True
    for one in shown:
        state = "" if one.replayed_at is None else f" → {one.outcome}"
        said = Text(plain(one.topic), style="bold", overflow="fold").append(f"\n{plain(one.detail)}", style="not bold")
        table.add_row(str(one.id), _when(one.received_at), str(one.times), one.reason + state, said)
    console.print(table)
    if len(found) > limit:
        console.print(f"There are more than {limit}: narrow it down, or raise --limit.")


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="As `sitewatch rejects list` names it.", min=0)],
    as_json: AsJson = False,
    database: Database = None,
    ready_file: ReadyFile = None,
    config_file: Config = None,
) -> None:
    """Show one reject whole: what came, when, why it could not be taken, and what became of it.

    sitewatch rejects show 17
    """
    with _connected(database, ready_file, given.settings(config_file)) as connection:
        found = rejects.newest(connection, Filter(ids=[number]))
    if not found:
        errors.print(f"There is no reject {number}.")
        raise typer.Exit(1)
    if as_json:
        _print_json(found)
        return
    table = Table(box=None, show_header=False)
    for name, said in _lines(found[0]):
        table.add_row(Text(name, style="bold"), Text(said))
    console.print(table)


@app.command()
def replay(
    numbers: Numbers = None,
    reason: OfReason = None,
    topic: OfTopic = None,
    since: FromTime = None,
    everything: Annotated[bool, typer.Option("--all", help="Every open reject.")] = False,
    as_json: AsJson = False,
    database: Database = None,
    ready_file: ReadyFile = None,
    config_file: Config = None,
) -> None:
    """Read open rejects again, after a key was added or a newer version has learnt to read them.

    What can be taken now becomes evidence as of its first receipt, and the visits that it touches are judged again.

    What cannot stays, with the reason of this reading; the exit code is 1 then. Doing it twice changes nothing.

      sitewatch rejects replay 17 18
      sitewatch rejects replay --reason no_key --topic 'owntracks/anna/#'
    """
    wanted = Filter(ids=numbers or None, reason=reason, topic=topic, start=since)
    if wanted == Filter() and not everything:
        raise typer.BadParameter("say which: ids, --reason, --topic, --since, or --all")
    settings = given.settings(config_file)
    with _connected(database, ready_file, settings) as connection:
        read = list(_read_again(connection, wanted, settings))
    if as_json:
        _print_json(read)
    else:
        _print_outcomes(read)
    raise typer.Exit(1 if any(one.replayed_at is None for one in read) else 0)


@app.command()
def close(
    why: Annotated[str, typer.Option("--why", help="Why nothing can be made of them; kept with each.", show_default=False)],
    numbers: Numbers = None,
    reason: OfReason = None,
    topic: OfTopic = None,
    since: FromTime = None,
    database: Database = None,
    ready_file: ReadyFile = None,
    config_file: Config = None,
) -> None:
    """Close open rejects that nobody can mend, so that no alarm rings for them any more.

    Their bytes and their reasons stay; `list --all` shows them, and `replay ID` opens one again.

      sitewatch rejects close 17 --why 'a test phone, its key is gone'
      sitewatch rejects close --reason no_key --topic 'owntracks/anna/#' --why 'not one of ours'
    """
    wanted = Filter(ids=numbers or None, reason=reason, topic=topic, start=since)
    if wanted == Filter():
        raise typer.BadParameter("say which: ids, --reason, --topic, or --since")
    if not why.strip():
        raise typer.BadParameter("say why: whoever looks later asks", param_hint="--why")
    closed = 0
    with _connected(database, ready_file, given.settings(config_file)) as connection:
        while ids := rejects.close(connection, wanted, why.strip()):
            closed += len(ids)
    console.print(f"{closed} closed.")
    raise typer.Exit(0 if closed or not numbers else 1)


@app.command()
def forget(
    before: Annotated[
        datetime,
        typer.Option("--done-before", parser=instant, metavar="90d|TIME", help="Not open since before then.", show_default=False),
    ],
    database: Database = None,
    ready_file: ReadyFile = None,
    config_file: Config = None,
) -> None:
    """Delete rejects that are long done: replayed, or closed. One that is open is never deleted, and nothing is by itself.

    sitewatch rejects forget --done-before 90d
    """
    with _connected(database, ready_file, given.settings(config_file)) as connection:
        console.print(f"{rejects.forget(connection, before)} forgotten.")


@contextmanager
def _connected(url: str | None, ready_file: Path | None, settings: config.Settings) -> Iterator[psycopg.Connection]:
    """A connection to the database that was named; what is wrong with it is said in a line."""
    try:
        where = given.database(Endpoints.of_ready_file(ready_file).database if ready_file else url, settings)
    except UnreachableError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    connecting = {"autocommit": True, "application_name": "sitewatch rejects", "connect_timeout": CONNECT_TIMEOUT_S}
    with given.answering(), psycopg.connect(where, **connecting) as connection:  # type: ignore[arg-type]
        connection.execute("select set_config('statement_timeout', %s, false)", [QUERY_TIMEOUT])
        yield connection


def _read_again(connection: psycopg.Connection, wanted: Filter, settings: config.Settings) -> Iterator[StoredReject]:
    """Every reject that was wanted, as it is after the reading. One that stays is read once, however many there are."""
    evidence.prepare(connection)
    prefix, owntracks_prefix = settings.ingest.prefix, settings.ingest.owntracks_prefix
    began: datetime = connection.execute("select clock_timestamp()").fetchone()[0]  # type: ignore[index]
    # One that stays is not wanted a second time.
    unread = msgspec.structs.replace(wanted, unread_since=began)
    done: list[int] = []
    while ids := rejects.want(connection, unread):
        # Only now: a key that was put before the wish opens what was wished for.
        secrets = keys.read(connection)
        while reread.bite(connection, prefix=prefix, owntracks_prefix=owntracks_prefix, keys=secrets):
            pass
        done += ids
    ordered = sorted(done)
    for start in range(0, len(ordered), PAGE_ROWS):
        yield from rejects.newest(connection, Filter(ids=ordered[start : start + PAGE_ROWS]), limit=PAGE_ROWS)


def _print_outcomes(read: list[StoredReject]) -> None:
    taken = [one for one in read if one.outcome == Outcome.EVIDENCE]
    still = [one for one in read if one.replayed_at is None]
    nothing = len(read) - len(taken) - len(still)
    console.print(f"{len(read)} read again: {len(taken)} are evidence now, {nothing} say nothing, {len(still)} stay.")
    for one in still[:20]:
        console.print(Text(f"  {one.id}  {one.reason}: {plain(one.detail)}"))
    if len(still) > 20:
        console.print(f"  … and {len(still) - 20} more: sitewatch rejects list")


def _lines(one: StoredReject) -> Iterator[tuple[str, str]]:
    yield "id", str(one.id)
    yield "topic", plain(one.topic)
    yield "reason", one.reason
    yield "detail", plain(one.detail)
    yield "first came", _when(one.received_at)
    yield "last came", f"{_when(one.last_at)}, {one.times} times in all" if one.times > 1 else _when(one.last_at)
    if one.read_at is not None:
        yield "read again", f"{_when(one.read_at)}: {one.outcome}"
    if one.wanted_at is not None:
        yield "wanted again", f"{_when(one.wanted_at)}, and not read yet"
    yield "state", _state(one)
    payload, encoding = _payload(one.payload)
    yield f"payload, {encoding}", plain(payload)


def _state(one: StoredReject) -> str:
    if one.replayed_at is None:
        return "open"
    if one.closed_why is not None:
        return f"closed {_when(one.replayed_at)}: {plain(one.closed_why)}"
    return f"replayed {_when(one.replayed_at)}"


def _print_json(found: list[StoredReject]) -> None:
    for one in found:
        payload, encoding = _payload(one.payload)
        fields: dict[str, Any] = {name: getattr(one, name) for name in one.__struct_fields__}
        told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
        sys.stdout.write(json.dumps(told | {"payload": payload, "encoding": encoding}) + "\n")


def _payload(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"


def plain(text: str) -> str:
    """What a terminal may be given: control characters as their escapes."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def _when(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
