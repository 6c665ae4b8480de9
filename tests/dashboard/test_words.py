"""The page's words and its reading of the wire, checked in the browser's own engine against the contract's types."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.sync_api import Page

from api.probes import State
from api.stays import Told
from geofence.credibility import NAMES as FLAGS
from geofence.evidence import DeviceEventKind
from geofence.outcome import Cause, Finding, Presence, Verdict
from sitewatch import exceptions
from store.alerts import Severity
from store.rejects import Outcome, Reason
from store.versions import EVIDENCE, PLAN, What
from tests.dashboard.conftest import OpenPage
from tests.dashboard.fake_desk import STATIC, Desk, Fleet

CONTRACT = {"verdict": get_args(Verdict), "finding": get_args(Finding), "cause": get_args(Cause), "presence": get_args(Presence)}
EVENTS = get_args(DeviceEventKind)
ALARMS = ("sos", "leak", "smoke", "tamper", "device_offline")
WORDS = {**CONTRACT, "flag": FLAGS, "event": EVENTS, "severity": get_args(Severity), "alert": (*ALARMS, *exceptions.KINDS)}
WORDS |= {"stay": get_args(Told)}
WORDS |= {"why": get_args(What), "reported": (*EVIDENCE, *PLAN)}
REASONS = [reason.value for reason in Reason]
WORDS |= {"reason": REASONS, "reasonHint": REASONS, "outcome": [outcome.value for outcome in Outcome]}
WORDS |= {"part": ("database", "broker", "ingest", "verify"), "partState": get_args(State)}
BY_NAME = ("common", "live", "visits", "visit", "coverage", "alerts", "devices", "site", "key", "stays", "system", "rejects")
NAMED = re.compile(r"""\bt\(\s*["'`]([a-z][A-Za-z_.0-9]+)["'`]""")
TEXT_KEY = re.compile(
    r"""["'`]((?:app|common|key|live|visits|visit|strip|coverage|alerts|devices|site|stays|system|rejects|fence|unit|stream|theme)"""
    r"""\.[A-Za-z]\w*)["'`]"""
)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page(f"{Desk(Fleet(1)).url}/#/alerts")


def leaves(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, node in tree.items():
        found |= leaves(node, f"{path}{name}.") if isinstance(node, dict) else {path + name: node}
    return found


def texts(page: Page) -> tuple[dict[str, str], dict[str, str]]:
    both = page.evaluate("import('/static/js/i18n.js').then(({TEXTS}) => TEXTS)")
    return leaves(both["en"]), leaves(both["zh"])


def test_both_languages_say_the_same_things_with_the_same_numbers_in_them(page: Page) -> None:
    english, chinese = texts(page)
    assert english.keys() == chinese.keys()
    holes = {key: (set(re.findall(r"\{\w+\}", text)), set(re.findall(r"\{\w+\}", chinese[key]))) for key, text in english.items()}
    assert {key: pair for key, pair in holes.items() if pair[0] != pair[1]} == {}


def test_every_word_of_the_contract_has_a_text(page: Page) -> None:
    english, _ = texts(page)
    assert [f"{group}.{word}" for group, words in WORDS.items() for word in words if f"{group}.{word}" not in english] == []


def test_every_text_that_a_module_asks_for_exists(page: Page) -> None:
    english, _ = texts(page)
    asked = {key for file in modules() for pattern in (NAMED, TEXT_KEY) for key in pattern.findall(file.read_text())}
    assert len(asked) > 100, "the pattern no longer finds what modules ask for"
    assert sorted(asked - english.keys()) == []


def test_every_text_is_asked_for_by_a_module(page: Page) -> None:
    """Groups whose keys are words of the wire are asked for with a variable; the others by name."""
    english, _ = texts(page)
    source = "\n".join(file.read_text() for file in modules())
    by_name = [key for key in english if key.split(".")[0] in BY_NAME]
    assert [key for key in by_name if key not in source and key.split(".")[1].removesuffix("Hint") not in source] == []


def modules() -> list[Path]:
    return [file for file in sorted((STATIC / "js").rglob("*.js")) if file.name != "i18n.js"]


def test_causes_are_drawn_in_colours_that_the_style_sheet_has() -> None:
    style = (STATIC / "css" / "base.css").read_text()
    assert [cause for cause in get_args(Cause) if f"--cause-{cause}:" not in style] == []


STREAM = (
    'retry: 2000\n: hello\n\nevent: position\ndata: {"a": 1}\nid: 7\n\n: ping\n\n'
    'id: 8\r\nevent: visit\r\ndata: {"b":\r\ndata: 2}\r\n\r\nevent: reset\ndata: {}\nid: 9\n\n'
)
PARSE = """([text, cuts]) => import("/static/js/live.js").then(({parser}) => {
    const read = (...pieces) => {
        const seen = [];
        pieces.forEach(parser((event) => seen.push(event)));
        return seen;
    };
    return cuts.map((cut) => read(text.slice(0, cut), text.slice(cut)));
})"""


def test_events_are_the_same_however_the_network_cuts_them(page: Page) -> None:
    expected = [
        {"kind": "position", "id": "7", "data": {"a": 1}},
        {"kind": "visit", "id": "8", "data": {"b": 2}},
        {"kind": "reset", "id": "9", "data": {}},
    ]
    readings = page.evaluate(PARSE, [STREAM, list(range(len(STREAM) + 1))])
    assert [cut for cut, reading in enumerate(readings) if reading != expected] == []


FORMAT = """(calls) => import("/static/js/format.js").then((format) => calls.map(([name, ...values]) => format[name](...values)))"""


def test_numbers_and_times_read_as_people_write_them(page: Page) -> None:
    expected = {
        ("percent", 0.9499): "94.9 %",  # Cut, not rounded: it misses the target.
        ("percent", 0.95): "95.0 %",
        ("percent", 1): "100.0 %",
        ("wholePercent", 0.95): "95 %",
        ("duration", 59.4): "59 s",
        ("duration", 3599): "1 h 00 min",
        ("duration", 3900): "1 h 05 min",
        ("age", 59.9): "59 s",
        ("metres", 1250): "1.3 km",
        # The days on which Helsinki changes its clock, and a zone with half an hour.
        ("startOfDate", "2026-03-29", "Europe/Helsinki"): 1774735200000,
        ("startOfDate", "2026-03-30", "Europe/Helsinki"): 1774818000000,
        ("startOfDate", "2026-10-25", "Europe/Helsinki"): 1792875600000,
        ("startOfDate", "2026-10-26", "Europe/Helsinki"): 1792965600000,
        ("startOfDate", "2026-11-22", "Asia/Kolkata"): 1795285800000,
        ("dateField", 1795285800000, "Asia/Kolkata"): "2026-11-22",
        ("dateField", 1795285799999, "Asia/Kolkata"): "2026-11-21",
    }
    assert dict(zip(expected, page.evaluate(FORMAT, [list(call) for call in expected]), strict=True)) == expected
