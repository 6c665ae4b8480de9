"""The reference is true: schemathesis sends what it allows and what it forbids, and looks at every answer.

This is the short form, which is systematic and draws little; `python -m tests.api.reference` is the long one.
"""

from pathlib import Path

import httpx

from tests.api import reference

PHASES = "examples,coverage,stateful"
EXAMPLES = 4
SEED = 20261122
LEFT_OUT = (*reference.LEFT_OUT, "/v1/plans")
"""In bulk there is what the single calls take, and a quarter of all cases would be about it."""


def test_every_call_does_what_the_reference_says(asked: httpx.Client, tmp_path: Path) -> None:
    run = reference.compare(str(asked.base_url), tmp_path, phases=PHASES, examples=EXAMPLES, seed=SEED, left_out=LEFT_OUT)
    assert run.returncode == 0, run.stdout[-12_000:] + run.stderr[-2_000:]


def test_every_call_has_a_sentence_and_its_problems(asked: httpx.Client) -> None:
    document = asked.get("/openapi.json").json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert call.get("description"), f"{method} {path} does not say what it does"
            assert "4XX" in call["responses"]


def test_every_body_has_an_example_that_is_taken(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    bulk = schemas["PlansBody"]["examples"][0]
    assert client.post("/v1/plans", json=bulk).status_code == 200
    for name, path in (("SiteBody", "sites"), ("WorkerBody", "workers"), ("DeviceBody", "devices"), ("VisitBody", "visits")):
        for number, example in enumerate(schemas[name]["examples"]):
            client.post("/v1/plans", json={**bulk, "workers": [{"id": "w-17"}], "devices": []})
            answer = client.put(f"/v1/{path}/example-{number}", json=example)
            # The bulk example has given the same address to another device or worker.
            assert answer.status_code in (200, 201) or (answer.status_code == 409 and name == "DeviceBody"), answer.text
