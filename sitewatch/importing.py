"""`sitewatch import`: recorded traces through MQTT, as if their phones sent them now; and their plans by HTTP.

The order of things, each of which can say no before anything is sent: find and survey the recordings, move them in time, ask the
system how long it keeps evidence, put the plans, deliver (see `delivery`). Exit status: 0 everything is kept, 1 not everything
(the same command goes on where it was), 2 refused.
"""

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sitewatch import delivery, plan_files, recordings
from sitewatch.recordings import CannotImportError, Change, Crs, Lane, Recording, Report, Whose, day
from sitewatch.system import Endpoints, RefusedError, UnreachableError, put_plans, retention_days

DAY_S = 86_400.0

FUTURE_MAX_S = DAY_S
"""Ingest refuses what is dated more than this after its receipt."""

PAST_MIN_AT = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
"""Ingest refuses what is dated before this."""

BAD_LINES_SHOWN = 20

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
console = Console(stderr=True)


class Options(Struct, frozen=True, kw_only=True):
    """What the person asked for, beside the recordings themselves."""

    shift: str | None
    crs: Crs
    retention_days: float | None
    even_if_expired: bool
    plans: tuple[Path, ...]
    progress: Path | None
    afresh: bool
    dry_run: bool


@app.command("import")
def import_command(
    paths: Annotated[list[Path], typer.Argument(help="Recordings (.plt .gpx .csv .rec), or folders of them.")],
    mqtt: Annotated[str, typer.Option(envvar="SITEWATCH_MQTT", help="The broker.")] = "mqtt://127.0.0.1:1883",
    http: Annotated[str, typer.Option(envvar="SITEWATCH_HTTP", help="The HTTP API.")] = "http://127.0.0.1:8080",
    token: Annotated[str | None, typer.Option(envvar="SITEWATCH_API_KEY", help="The API's key, where it wants one.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Take these three from the ready file of `sitewatch up`.")] = None,
    prefix: Annotated[str, typer.Option(help="The native topics' prefix.")] = "sitewatch/v1",
    worker: Annotated[str | None, typer.Option(help="Whose the recordings are. Else: the worker column, the folder.")] = None,
    owntracks: Annotated[str | None, typer.Option(metavar="USER/DEVICE", help="Whose a .rec is that does not say it.")] = None,
    crs: Annotated[str, typer.Option(help="The datum of the recording: wgs84, gcj02 or bd09.")] = "wgs84",
    shift: Annotated[
        str | None, typer.Option(help="Move in time: `today`, a date for the last day (2026-11-20), or a duration (6600d, -8h30m).")
    ] = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="Times real time. Else: as fast as receipts come.")] = None,
    plans: Annotated[list[Path] | None, typer.Option(help="Put these plans first (JSON, GeoJSON, CSV). Repeatable.")] = None,
    retention: Annotated[
        float | None, typer.Option("--retention-days", help="How long the system keeps evidence, when it cannot be asked.")
    ] = None,
    even_if_expired: Annotated[bool, typer.Option("--even-if-expired", help="Send what retention will soon delete.")] = False,
    progress: Annotated[Path | None, typer.Option(help="The progress file. Default: one in .sitewatch, by what is sent.")] = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="Begin at the beginning, whatever the progress file says.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Survey and check, but send nothing.")] = False,
) -> None:
    """Send recorded traces through MQTT: GeoLife .plt, GPX, CSV, and OwnTracks recordings.

    sitewatch import geolife/ --shift today --plans visits.json

    An interrupted import goes on where it was when the same command is given again.
    """
    try:
        endpoints = Endpoints.of_ready_file(ready_file) if ready_file else Endpoints(http=http, mqtt=mqtt, token=token)
        settings = delivery.Settings(mqtt=endpoints.mqtt, prefix=prefix, speed=speed)
        options = Options(
            shift=shift,
            crs=_crs(crs),
            retention_days=retention,
            even_if_expired=even_if_expired,
            plans=tuple(plans or ()),
            progress=progress,
            afresh=afresh,
            dry_run=dry_run,
        )
        run(paths, Whose(worker=worker, owntracks=owntracks), endpoints, settings, options)
    except (CannotImportError, plan_files.PlanFileError, RefusedError, UnreachableError) as error:
        console.print(f"[red]Nothing was sent.[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    except delivery.UndeliveredError as error:
        console.print(f"[red]Not everything arrived:[/] {error}. Give the same command again to go on.", soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("Interrupted. Give the same command again to go on.")
        raise typer.Exit(1) from error


def run(paths: list[Path], whose: Whose, endpoints: Endpoints, settings: delivery.Settings, options: Options) -> None:
    """Everything, in the order in which it can be refused. `CannotImportError` and its like mean that nothing was sent."""
    now = time.time()
    bodies = [plan_files.read(path) for path in options.plans]
    found = [_surveyed(path, whose) for path in _counted(recordings.find(paths))]
    _show_bad_lines(found)
    found = [recording for recording in found if recording.reports]
    if not found:
        raise CannotImportError("The recordings hold nothing that can be used.")
    shift_s = shift_seconds(options.shift, max(recording.last_at for recording in found), now)
    change = Change(shift_s=shift_s, crs=options.crs)
    _show_survey(found, shift_s)
    check_times(found, shift_s, now)
    if not options.even_if_expired:
        days = options.retention_days if options.retention_days is not None else retention_days(endpoints)
        check_retention(found, shift_s, days, now)
    if options.dry_run:
        return
    for body in bodies:
        console.print(put_plans(endpoints, plan_files.moved(body, shift_s)), highlight=False)
    asyncio.run(_deliver(found, change, settings, options))


# In time -------------------------------------------------------------------------------------------------------------------------


def shift_seconds(shift: str | None, last_at: float, now: float) -> float:
    """Seconds to add to every time. `today` and a date move by whole days and keep the time of day.

    `today` brings the recording's end as near to now as whole days can without passing it: its last day is then today, or
    yesterday when that hour of today is still to come.
    """
    if not shift:
        return 0.0
    if shift == "today":
        return (now - last_at) // DAY_S * DAY_S
    if re.fullmatch(r"\d{4}-\d\d-\d\d", shift):
        try:
            wanted_at = datetime.fromisoformat(shift).replace(tzinfo=UTC).timestamp()
        except ValueError as error:
            raise CannotImportError(f"--shift {shift} is not a date: {error}.") from error
        return wanted_at - last_at // DAY_S * DAY_S
    parts = re.fullmatch(r"([+-]?)(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", shift)
    if parts is None:
        raise CannotImportError(f"--shift {shift} is none of: today, a date like 2026-11-20, a duration like 6600d or -8h30m.")
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups()[1:])
    return (-1 if parts[1] == "-" else 1) * (days * DAY_S + hours * 3600.0 + minutes * 60.0 + seconds)


def check_times(found: list[Recording], shift_s: float, now: float) -> None:
    """Raises CannotImportError for times that ingest would reject one by one."""
    for recording in found:
        if recording.oldest_at + shift_s < PAST_MIN_AT:
            raise CannotImportError(
                f"{recording.path} begins on {day(recording.oldest_at + shift_s)}: before 2000 nothing is taken."
            )
        if recording.last_at + shift_s > now + FUTURE_MAX_S:
            raise CannotImportError(
                f"{recording.path} would end on {day(recording.last_at + shift_s)}, in the future: nothing is taken that is dated"
                " more than a day ahead. `--shift today` moves by whole days and never passes now."
            )


def check_retention(found: list[Recording], shift_s: float, days: float | None, now: float) -> None:
    """Raises CannotImportError when the system would delete soon what it is sent. `days` None: it keeps for ever."""
    if days is None:
        return
    expired = [recording for recording in found if recording.oldest_at + shift_s < now - days * DAY_S]
    if not expired:
        return
    oldest = min(expired, key=lambda recording: recording.oldest_at)
    age_days = (now - oldest.oldest_at - shift_s) / DAY_S
    raise CannotImportError(
        f"{oldest.path} begins on {day(oldest.oldest_at + shift_s)}, {age_days:,.0f} days ago, and the system keeps evidence for"
        f" {days:g} days: it would be deleted soon after it came ({len(expired)} of {len(found)} files). Three ways out:\n"
        "  --shift today       move the recording, by whole days, so that it ends today or yesterday\n"
        f"  raise the retention of the system to more than {age_days:,.0f} days (docs/configuration.md), then import\n"
        "  --even-if-expired   send it all the same: verdicts are made, and the evidence behind them goes when retention runs"
    )


# Delivery ------------------------------------------------------------------------------------------------------------------------


async def _deliver(found: list[Recording], change: Change, settings: delivery.Settings, options: Options) -> None:
    lanes = recordings.lanes(found, change)
    ledger = delivery.Ledger(options.progress or _progress_file(list(lanes.values()), settings), lanes.values())
    if not options.afresh:
        ledger.restore()
    in_order = recordings.in_order_of_time if settings.speed else recordings.in_order_of_files

    def again() -> Iterator[Report]:
        return in_order(found, lanes, change)

    total, before = sum(lane.total for lane in lanes.values()), sum(lane.through for lane in lanes.values())
    if before:
        console.print(f"Going on after {before:,} of {total:,}.", highlight=False)
    began = time.monotonic()
    with _bar() as bar:
        task = bar.add_task("kept", total=total, completed=before)
        await delivery.Delivery(
            lanes.values(),
            again,
            ledger,
            settings,
            tell=lambda text: bar.console.print(text, highlight=False),
            progressed=lambda delivered: bar.update(task, completed=delivered),
        ).run()
    took_s = max(time.monotonic() - began, 0.001)
    console.print(f"{total:,} reports are kept, {total - before:,} of them now, in {took_s:.1f} s.", highlight=False)


def _progress_file(lanes: list[Lane], settings: delivery.Settings) -> Path:
    """The same recordings, moved alike, to the same broker: the same file."""
    address = settings.mqtt.rpartition("@")[2]  # Not the password.
    told = "\n".join([address, settings.prefix, *sorted(lane.key for lane in lanes)])
    return Path(".sitewatch") / f"import-{hashlib.blake2b(told.encode(), digest_size=5).hexdigest()}.json"


# What the person sees ----------------------------------------------------------------------------------------------------------


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console)


def _counted(paths: list[Path]) -> Iterator[Path]:
    with Progress(TextColumn("reading"), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as bar:
        yield from bar.track(paths)


def _surveyed(path: Path, whose: Whose) -> Recording:
    try:
        return recordings.survey(path, whose)
    except OSError as error:
        raise CannotImportError(f"{path} cannot be read: {error}.") from error


def _show_survey(found: list[Recording], shift_s: float) -> None:
    table = Table("whose", "files", "reports", "from", "to", "left out", box=None, pad_edge=False)
    for owner in dict.fromkeys(owner for recording in found for owner in recording.reports):
        theirs = [recording for recording in found if owner in recording.reports]
        table.add_row(
            owner,
            f"{len(theirs):,}",
            f"{sum(recording.reports[owner] for recording in theirs):,}",
            day(min(recording.first_at for recording in theirs) + shift_s),
            day(max(recording.last_at for recording in theirs) + shift_s),
            f"{sum(len(recording.bad) for recording in theirs):,}",
        )
    console.print(table)
    if shift_s:
        console.print(f"Moved by {shift_s / DAY_S:+,.6g} days.", highlight=False)


def _show_bad_lines(found: list[Recording]) -> None:
    bad = [(recording.path, line) for recording in found for line in recording.bad]
    for path, line in bad[:BAD_LINES_SHOWN]:
        console.print(f"[yellow]left out[/] {path}:{line.line}: {line.reason}", highlight=False, soft_wrap=True)
    if len(bad) > BAD_LINES_SHOWN:
        by_file = Counter(path for path, _ in bad[BAD_LINES_SHOWN:])
        more = ", ".join(f"{path} {count:,}" for path, count in by_file.most_common(5))
        console.print(f"[yellow]left out[/] {len(bad) - BAD_LINES_SHOWN:,} lines more, most of them in: {more}", highlight=False)


def _crs(text: str) -> Crs:
    match text:
        case "wgs84" | "gcj02" | "bd09":
            return text
    raise CannotImportError(f"--crs {text} is none of: wgs84, gcj02, bd09.")


if __name__ == "__main__":
    app()
