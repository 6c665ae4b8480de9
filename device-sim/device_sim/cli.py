"""The command line: `sitewatch sim`, or `python -m device_sim`."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from device_sim import files, post
from device_sim.fleet import Summary
from device_sim.options import Options
from device_sim.play import Show, describe, opening, resolve, run
from device_sim.simulate import day as day_of

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_HELP = """Simulate a fleet: workers who travel and serve, their phones, the homes, what goes wrong; and know the truth.

Plans go to the API by HTTP, evidence to the broker by MQTT, exactly as real phones and homes would send it. Without other options a
fleet of 40 works today in a city where it is the middle of the day: its morning is sent at once, the rest in real time.

[bold]Examples[/bold]

  sitewatch sim                                       against a system on this machine

  sitewatch sim --workers 200 --seed 3 --city beijing

  sitewatch sim --day 2026-11-20 --at-once --truth truth.jsonl
                                                      a finished day at once; exits when every phone has its receipts

  sitewatch sim --speed 60                            from this morning on, sixty times as fast, until it has caught up

  sitewatch sim --out day/                            plans, trouble, reports and truth as files, no network
"""


@app.callback(invoke_without_command=True, help=_HELP)
def sim(
    workers: Annotated[int, typer.Option(min=1, max=20_000, help="Size of the fleet.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and options give the same day, byte for byte.")] = 7,
    day: Annotated[str | None, typer.Option(help="Local day, YYYY-MM-DD. Default: today in the city.")] = None,
    city: Annotated[str, typer.Option(help="A city, or auto: one where it is the middle of the working day.")] = "auto",
    interval: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Seconds between fixes. Default: a mix of phones.")
    ] = None,
    faults: Annotated[
        float, typer.Option(min=0, max=1, help="How much goes wrong: the share of visits not served as planned.")
    ] = 0.15,
    honest: Annotated[bool, typer.Option("--honest", help="Nothing goes wrong; the same as --faults 0.")] = False,
    owntracks: Annotated[float, typer.Option(min=0, max=1, help="Share of phones that speak OwnTracks.")] = 0.1,
    at_once: Annotated[bool, typer.Option("--at-once", help="Send the whole day at once and exit when it is receipted.")] = False,
    speed: Annotated[float, typer.Option(min=0.1, help="Faster than life, from the day's beginning until it has caught up.")] = 1.0,
    count: Annotated[
        int | None, typer.Option("--days", min=1, help="Days to play. Default: live without end, at once one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Write the day into this folder instead of playing it.")] = None,
    truth: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the truth, one visit a line, into this file.")] = None,
    http: Annotated[
        str, typer.Option(envvar="SITEWATCH_HTTP", help="The API. An empty text: send no plans.")
    ] = "http://127.0.0.1:8080",
    mqtt: Annotated[str, typer.Option(envvar="SITEWATCH_MQTT", help="The broker.")] = "mqtt://127.0.0.1:1883",
    token: Annotated[str | None, typer.Option(envvar="SITEWATCH_API_KEY", help="The API's key, where it wants one.")] = None,
    prefix: Annotated[str, typer.Option(help="Where the native topics begin.")] = "sitewatch/v1",
    connections: Annotated[int, typer.Option(min=1, max=200, help="Connections that carry the fleet.")] = 4,
    own_connections: Annotated[
        int, typer.Option(min=0, max=200, help="Live: phones with a connection and last will of their own.")
    ] = 2,
    receipts: Annotated[bool, typer.Option(help="Send again until receipted; --no-receipts trusts the broker's word.")] = True,
    give_up: Annotated[float, typer.Option(min=1, help="At once: seconds to wait for the last receipts.")] = 600.0,
) -> None:
    try:
        base = Options(workers=workers, interval_s=interval, trouble=0.0 if honest else faults, owntracks=owntracks, prefix=prefix)
        options = resolve(base, city=city, local_day=day, now=time.time())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(opening(seed, options), err=True)
    if out is not None:
        made = day_of(seed, options)
        typer.echo(describe(made), err=True)
        typer.echo(f"{files.write(made, out)} reports written to {out}", err=True)
        return
    show = Show(
        at_once=at_once,
        speed=speed,
        days=count,
        connections=connections,
        own_connections=own_connections,
        receipts=receipts,
        give_up_s=give_up,
        truth=truth,
    )
    raise typer.Exit(_play(seed, options, show, http or None, mqtt, token))


def _play(seed: int, options: Options, show: Show, http: str | None, mqtt: str, token: str | None) -> int:
    """Until it ends or somebody ends it: 0 when everything was confirmed or it was stopped, 1 when not, 2 when it was refused."""

    async def main() -> Summary:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run(
            http=http, mqtt=mqtt, token=token, seed=seed, options=options, show=show, say=lambda line: typer.echo(line, err=True)
        )

    try:
        summary = asyncio.run(main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except (post.RefusedError, ValueError, OSError) as error:
        typer.echo(f"sim: {error}", err=True)
        return 2
    return 1 if summary.unconfirmed else 0
