"""The page that people build phones by: each of its examples becomes what it says it does."""

import re
from pathlib import Path

import pytest

from geofence.evidence import Check, DeviceEvent, Fix, Status
from ingest.topics import locate
from ingest.wire import decode
from store.rejects import Reason, Reject

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
NOW = 1_795_316_600.0
EXAMPLE = re.compile(r"^`(?P<topic>[^`]+)` → (?P<becomes>[^\n]+)\n```json\n(?P<payload>.*?)\n```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [(found["topic"], found["becomes"], found["payload"]) for found in EXAMPLE.finditer(PAGE)]
NAMES = {Fix: "fix", Check: "check", DeviceEvent: "event", Status: "status"}


def test_every_json_block_of_the_page_is_an_example_that_is_decoded_here() -> None:
    assert len(EXAMPLES) == PAGE.count("```json") >= 20


@pytest.mark.parametrize(("topic", "becomes", "payload"), EXAMPLES)
def test_an_example_becomes_what_the_page_says(topic: str, becomes: str, payload: str) -> None:
    said = [report.said for report in decode(topic, payload.encode(), NOW)]
    names = [f"reject {one.reason}" if isinstance(one, Reject) else NAMES[type(one)] for one in said]
    assert (", ".join(names) or "nothing") == becomes


def test_the_page_has_an_example_for_every_topic_that_carries_evidence() -> None:
    kinds = {getattr(locate(topic, "sitewatch/v1", "owntracks"), "kind", None) for topic, _, _ in EXAMPLES}
    assert kinds >= {"position", "check", "phone_status", "event", "device_status", "owntracks"}


def test_the_page_names_every_reason() -> None:
    table = PAGE[PAGE.index("## Reasons for a reject") :]
    assert [reason for reason in Reason if f"`{reason}`" not in table] == []
