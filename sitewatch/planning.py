"""`sitewatch plans put`: plans from files into the system, thousands at a time, each file whole or not at all."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sitewatch import plan_files
from sitewatch.system import Endpoints, RefusedError, UnreachableError, put_plans

app = typer.Typer(add_completion=False, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
console = Console(stderr=True)


@app.callback()
def plans() -> None:
    """Plans: sites, workers, devices, visits."""


@app.command()
def put(
    files: Annotated[list[Path], typer.Argument(help="JSON as POST /v1/plans takes it, GeoJSON sites, or CSV visits.")],
    http: Annotated[str, typer.Option(envvar="SITEWATCH_HTTP", help="The HTTP API.")] = "http://127.0.0.1:8080",
    token: Annotated[str | None, typer.Option(envvar="SITEWATCH_API_KEY", help="The API's key, where it wants one.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Take both from the ready file of `sitewatch up`.")] = None,
) -> None:
    """Create or replace plans from files, in the order given: sites and workers before the visits that name them.

    sitewatch plans put sites.geojson workers.json visits.csv
    """
    try:
        endpoints = Endpoints.of_ready_file(ready_file) if ready_file else Endpoints(http=http, mqtt="", token=token)
        for file, body in [(file, plan_files.read(file)) for file in files]:
            console.print(f"{file}: {put_plans(endpoints, body)}", highlight=False)
    except (plan_files.PlanFileError, RefusedError, UnreachableError) as error:
        console.print(f"[red]Not put.[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
