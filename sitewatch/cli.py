"""The command line. Each command reads the configuration, imports the one program it is, and runs it.

Programs are imported inside their command: `--help` answers at once, and `up` starts each with what it needs alone.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sitewatch import given, lifeline

app = typer.Typer(
    name="sitewatch",
    help="Was the worker on site, for how long, and how much of it did we actually see?\n\nStart here:  sitewatch up --sim",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What the commands take that have commands of their own, and their --help, is theirs.
FORWARD = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="SITEWATCH_CONFIG", help="TOML file; without it ./sitewatch.toml, if there is one."),
]
Database = Annotated[str | None, typer.Option("--database", help="PostgreSQL URL. Also SITEWATCH_DATABASE.", show_default=False)]
Mqtt = Annotated[str | None, typer.Option("--mqtt", help="Broker URL, mqtt://user:password@host:port. Also SITEWATCH_MQTT.")]


def main() -> None:
    """Runs the command that was given."""
    app()


@app.command(rich_help_panel="Everything on one machine")
def up(
    data: Annotated[Path | None, typer.Option("--data", help="Folder that keeps everything between runs. [.sitewatch]")] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", min=0, max=65535, help="Dashboard and API; 0: any free. [8080]")
    ] = None,
    mqtt_port: Annotated[int | None, typer.Option("--mqtt-port", min=0, max=65535, help="Broker; 0: any free. [1883]")] = None,
    sim: Annotated[bool, typer.Option("--sim", help="Also start a simulated fleet.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Size of the simulated fleet.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same simulated day.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Written when everything answers: the URLs and the key, as JSON.")
    ] = None,
    config_file: Config = None,
) -> None:
    """Start everything: PostgreSQL, an MQTT broker, ingest, verify, api, and with --sim a fleet. Ctrl-C stops it.

    Nothing has to be installed: the database comes with the package, and the broker too where mosquitto is not installed.

      sitewatch up --sim
      sitewatch up --data /srv/sitewatch
      sitewatch up --http-port 0 --mqtt-port 0 --ready-file ready.json

    The last one is for scripts: any free ports, told by a file that appears when everything answers.
    """
    from sitewatch import up as house

    settings = given.settings(config_file)
    fleet = [*(["--workers", str(workers)] if workers else []), *(["--seed", str(seed)] if seed is not None else [])]
    options = house.Options(
        data=data or Path(settings.up.data),
        http_port=settings.up.http_port if http_port is None else http_port,
        mqtt_port=settings.up.mqtt_port if mqtt_port is None else mqtt_port,
        sim=tuple(fleet) if sim else None,
        ready_file=ready_file,
        config_file=config_file,
    )
    raise typer.Exit(house.run(options, settings, Console()))


@app.command(rich_help_panel="What is stored")
def migrate(database: Database = None, config_file: Config = None) -> None:
    """Create or update the tables. Programs refuse to run on a schema that is too old.

    sitewatch migrate --database postgresql://sitewatch:secret@db/sitewatch
    """
    from store import migrate as migrations

    where = given.database(database, given.settings(config_file))
    with given.answering():
        applied = migrations.apply(where)
    Console().print(f"applied {', '.join(applied)}" if applied else "nothing to do: the schema is current")


@app.command(rich_help_panel="What is stored")
def retain(
    days: Annotated[float | None, typer.Option("--days", min=1, help="Drop evidence that is older.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Keep everything. This is the default of a new database.")] = False,
    drop_stored: Annotated[bool, typer.Option("--drop-stored", help="Even where that drops what is stored already.")] = False,
    database: Database = None,
    config_file: Config = None,
) -> None:
    """Say how long evidence is kept. Needs TimescaleDB, which does the dropping.

    Refused where it would drop evidence that is there already, so that an old recording does not vanish unnoticed.

      sitewatch retain --days 400
    """
    from store import migrate as migrations

    if (days is None) != forever:
        raise typer.BadParameter("say either --days N or --forever")
    keep_s = None if days is None else days * 86_400
    where = given.database(database, given.settings(config_file))
    try:
        with given.answering():
            migrations.retain(where, keep_s, drop_stored=drop_stored)
    except (migrations.WouldDropError, ValueError) as error:
        Console(stderr=True).print(f"Nothing changed: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    told = "evidence is kept for ever" if days is None else f"evidence older than {days:g} days is dropped from now on"
    Console().print(told, highlight=False)


@app.command(rich_help_panel="What is stored")
def replay(
    start: Annotated[datetime | None, typer.Option("--from", help="Visits that start at this time (UTC) or later.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="Visits that start before this time (UTC).")] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="The visits of one worker.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, help="How many work at it. [all cores]")] = None,
    database: Database = None,
    config_file: Config = None,
) -> None:
    """Make everything that is derived anew from the evidence, the plans and the policies. May run beside verify.

    sitewatch replay --from 2026-11-01 --to 2026-12-01
    """
    from sitewatch import replay as program

    settings = given.program_settings(config_file)
    where = given.database(database, settings)
    with given.answering():
        done = program.run(where, given.moment(start), given.moment(end), worker, processes, settings.log)
    told = f"{done.visits} visits judged in {done.took_s:.1f} s; {done.changed} came out different"
    Console().print(told if not done.failed else f"{told}; {done.failed} could not be judged, see above", highlight=False)
    raise typer.Exit(1 if done.failed else 0)


@app.command(rich_help_panel="The programs, one by one")
def ingest(
    database: Database = None,
    mqtt: Mqtt = None,
    share: Annotated[str | None, typer.Option(help="Divide the load with the others that name the same group.")] = None,
    client_id: Annotated[str | None, typer.Option(help="Of this ingestor alone, and the same after a restart.")] = None,
    config_file: Config = None,
) -> None:
    """Receive evidence over MQTT and store it; acknowledge after the commit.

      sitewatch ingest --database postgresql://… --mqtt mqtt://broker:1883

    Any number share the load on a broker with shared subscriptions (mosquitto; not the embedded one):

      sitewatch ingest --share fleet --client-id ingest-1 …
      sitewatch ingest --share fleet --client-id ingest-2 …
    """
    import msgspec

    from ingest import main as program

    settings = given.program_settings(config_file)
    where = given.database(database, settings), given.mqtt(mqtt, settings)
    said = {name: value for name, value in (("share", share), ("client_id", client_id)) if value is not None}
    lifeline.hold()
    program.run(msgspec.structs.replace(settings.ingest, **said), *where)


@app.command(rich_help_panel="The programs, one by one")
def verify(database: Database = None, config_file: Config = None) -> None:
    """Follow what was stored and judge it: presence, durations, coverage, verdicts, alerts.

    One works a database; a second one waits until the first is gone.

      sitewatch verify --database postgresql://…
    """
    from sitewatch import verify as program

    settings = given.program_settings(config_file)
    where = given.database(database, settings)
    lifeline.hold()
    program.run(where, settings.verify)


@app.command(rich_help_panel="The programs, one by one")
def api(
    database: Database = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
    config_file: Config = None,
) -> None:
    """Serve the HTTP API, the live stream and the dashboard.

    SITEWATCH_API_KEY=… sitewatch api --database postgresql://… --host 0.0.0.0
    """
    from api import main as program

    settings = given.program_settings(config_file)
    where = given.database(database, settings)
    lifeline.hold()
    program.run(settings.api, where, host=host, port=port)


@app.command(rich_help_panel="What is stored", context_settings=FORWARD)
def rejects(context: typer.Context) -> None:
    """List what could not be taken as evidence, see why, and have it read again after a mend.

    sitewatch rejects list --since 2d
    """
    from sitewatch import rejecting as program

    program.app(context.args, prog_name="sitewatch rejects")


@app.command(rich_help_panel="Plans and evidence", context_settings=FORWARD)
def sim(context: typer.Context) -> None:
    """Simulate a fleet with its phones and homes, and know the truth about it.

    sitewatch sim --workers 200 --seed 3
    """
    from device_sim import cli as program

    lifeline.hold()
    program.app(context.args, prog_name="sitewatch sim")


@app.command("import", rich_help_panel="Plans and evidence", context_settings=FORWARD)
def import_(context: typer.Context) -> None:
    """Send recorded traces through MQTT: GeoLife .plt, GPX, CSV, OwnTracks recordings.

    sitewatch import geolife/ --shift today --plans visits.json
    """
    from sitewatch import importing as program

    program.app(context.args, prog_name="sitewatch import")


@app.command(rich_help_panel="Plans and evidence", context_settings=FORWARD)
def plans(context: typer.Context) -> None:
    """Put plans from files: sites, workers, devices and visits, thousands at a time.

    sitewatch plans put sites.geojson workers.json visits.csv
    """
    from sitewatch import planning as program

    program.app(context.args, prog_name="sitewatch plans")
