"""`python -m tests.api.reference`: schemathesis asks the api everything that its reference allows, and much that it forbids.

    python -m tests.api.reference                     # every phase, 100 examples of each call
    python -m tests.api.reference --examples 1000 --seed 7

The live stream is left out, because it never ends; `test_live` is about it. A site must not cross itself, a visit must name what
exists: no schema can say that, so data that fit the schema may be refused with 404, 409 or 422.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import httpx
import psycopg

from api.settings import Settings
from sitewatch import postgres
from store import migrate
from tests.api import world
from tests.api.conftest import serving

PHASES = "examples,coverage,fuzzing,stateful"
LEFT_OUT = ("/v1/live",)
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
"""


def compare(
    url: str, folder: Path, *, phases: str, examples: int, seed: int, left_out: Sequence[str] = LEFT_OUT
) -> subprocess.CompletedProcess[str]:
    """Runs schemathesis against the api at `url`; its exit code is 0 when the reference is true."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    # Its plugin for pytest does not work with pytest 9, its command line does.
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", str(config)]
    command += ["run", f"{url.rstrip('/')}/openapi.json", "--checks", "all", "--phases", phases]
    command += [part for path in left_out for part in ("--exclude-path", path)]
    command += ["--max-examples", str(examples), "--seed", str(seed)]
    command += ["--generation-database", "none", "--no-color", "--continue-on-failure"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.api.reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="of each call, in each phase that draws [100]")
    parser.add_argument("--phases", default=PHASES, help=f"[{PHASES}]")
    parser.add_argument("--seed", type=int, help="the same seed gives the same questions [drawn, and printed]")
    asked = parser.parse_args()
    seed = SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    sys.stdout.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory(prefix="sitewatch-reference-") as name:
        folder = Path(name)
        settings = postgres.Settings(timescaledb="none")
        with postgres.running(postgres.prepare(folder / "postgres", settings, durable=False)) as cluster:
            database = postgres.create_database(cluster, "reference")
            migrate.apply(database)
            with psycopg.connect(database) as connection:
                # From the future: a heartbeat does not stay fresh for as long as this may take.
                world.beat(connection, ago_s=-86_400)
            with serving(Settings(), database) as url:
                httpx.post(f"{url}/v1/plans", json=world.BULK).raise_for_status()
                run = compare(url, folder, phases=asked.phases, examples=asked.examples, seed=seed)
    sys.stdout.write(run.stdout + run.stderr)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
