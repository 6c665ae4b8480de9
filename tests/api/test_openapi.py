"""The reference is true: schemathesis sends what it allows and what it forbids, and looks at every answer.

The live stream is left out, because it never ends; `test_live` is about it. A site must not cross itself, a visit must name what
exists: no schema can say that, so data that fit the schema may be refused with 404, 409 or 422.
"""

import subprocess
import sys
from pathlib import Path

import httpx

EXAMPLES = 4
"""For each call, beside the systematic cases of schemathesis's coverage phase."""
PHASES = "examples,coverage,fuzzing,stateful"
SEED = 20261122
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]
"""


def test_every_call_does_what_the_reference_says(asked: httpx.Client, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    # Its plugin for pytest does not work with pytest 9, its command line does.
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", str(config)]
    command += ["run", f"{str(asked.base_url).rstrip('/')}/openapi.json", "--exclude-path", "/v1/live", "--checks", "all"]
    command += ["--phases", PHASES, "--max-examples", str(EXAMPLES), "--seed", str(SEED)]
    command += ["--generation-database", "none", "--no-color", "--continue-on-failure"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout[-12_000:] + run.stderr[-2_000:]


def test_every_call_has_a_sentence_and_its_problems(asked: httpx.Client) -> None:
    document = asked.get("/openapi.json").json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert call.get("description"), f"{method} {path} does not say what it does"
            assert "4XX" in call["responses"]


def test_every_body_has_an_example_that_is_taken(asked: httpx.Client) -> None:
    schemas = asked.get("/openapi.json").json()["components"]["schemas"]
    bulk = schemas["PlansBody"]["examples"][0]
    assert asked.post("/v1/plans", json=bulk).status_code == 200
    for name, path in (("SiteBody", "sites"), ("WorkerBody", "workers"), ("DeviceBody", "devices"), ("VisitBody", "visits")):
        for number, example in enumerate(schemas[name]["examples"]):
            asked.post("/v1/plans", json={**bulk, "workers": [{"id": "w-17"}], "devices": []})
            answer = asked.put(f"/v1/{path}/example-{number}", json=example)
            # The bulk example has given the same address to another device or worker.
            assert answer.status_code in (200, 201) or (answer.status_code == 409 and name == "DeviceBody"), answer.text
