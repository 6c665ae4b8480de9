"""The page about the system itself: whether it runs, how evidence flows, what could not be taken, and another try at it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import OpenPage
from tests.dashboard.fake_desk import Desk, Fleet


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A fleet of two: a map has nothing to do here."""
    desk = Desk(Fleet(2))
    yield desk
    desk.shutdown()


def rows(page: Page) -> list[str]:
    return page.locator("table.rejects tbody tr").all_inner_texts()


def test_it_says_what_runs_and_how_evidence_flows(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system")
    expect(page.locator(".parts li")).to_have_count(4)
    expect(page.get_by_text("Everything answers")).to_be_visible()
    ingest = page.locator("table.programs tbody tr").first
    # How long ago grows while the page is opened.
    for said in ("ingest:one", "1,235", "0.0 s", re.compile(r"\b\d+ s ago"), "42"):
        expect(ingest).to_contain_text(said)


def test_a_part_that_is_away_is_named(desk: Desk, open_page: OpenPage) -> None:
    desk.fleet.ready = False
    page = open_page(f"{desk.url}/#/system", expected="the browser logs the 503 of readyz")
    expect(page.get_by_text("Not ready: Broker")).to_be_visible()
    expect(page.locator(".parts li[data-state=off]")).to_contain_text("Away")
    expect(page.locator("table.programs")).to_contain_text("Not connected")


def test_rejects_are_explained_and_chosen_by_reason(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system")
    expect(page.locator("table.rejects tbody tr")).to_have_count(3)
    expect(page.locator("table.rejects")).to_contain_text("40 times")
    page.get_by_role("button", name="No key 2").click()
    expect(page.locator("table.rejects tbody tr")).to_have_count(2)
    expect(page.locator(".hint")).to_contain_text("put owntracks_key with its worker")
    assert page.url.endswith("#/system?reason=no_key")
    page.get_by_role("button", name="中文").click()
    expect(page.locator(".hint")).to_contain_text("owntracks_key")
    expect(page.locator("table.rejects")).to_contain_text("没有密钥")


def test_what_a_sender_wrote_is_shown_as_text(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system?reason=malformed")
    page.locator("table.rejects summary").click()
    expect(page.locator("table.rejects pre")).to_have_text('<img src=x onerror="document.title=1">')
    expect(page.locator("table.rejects")).to_contain_text("<b>what is wrong</b>")
    assert page.title() == "sitewatch"


def test_one_that_is_read_again_and_taken_leaves_the_list(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system?reason=no_key")
    page.get_by_role("button", name="Read again", exact=True).first.click()
    expect(page.get_by_text("Waits to be read")).to_have_count(1)
    desk.fleet.read_again()
    expect(page.locator("table.rejects tbody tr")).to_have_count(1, timeout=10_000)
    page.get_by_role("button", name="Done").click()
    expect(page.locator("table.rejects")).to_contain_text("Is evidence now")


def test_all_of_a_reason_are_read_again_and_what_stays_says_so(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system?reason=malformed")
    page.get_by_role("button", name="Read all of these again").click()
    expect(page.locator("#toasts")).to_contain_text("1 will be read again")
    desk.fleet.read_again()
    expect(page.locator("table.rejects")).to_contain_text("still rejected", timeout=10_000)
    assert [one["replay"]["outcome"] for one in desk.fleet.rejects] == [None, None, "rejected"]


def test_one_that_nobody_can_mend_is_closed_with_a_reason(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/system?reason=malformed")
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert desk.fleet.rejects[2]["closed_why"] is None, "who changed her mind has closed nothing"
    page.get_by_role("button", name="Close").click()
    page.get_by_label("Why nothing can be made of it").fill("a browser's test")
    page.keyboard.press("Enter")
    expect(page.locator("table.rejects")).to_have_count(0)
    page.get_by_role("button", name="Done").click()
    expect(page.locator("table.rejects")).to_contain_text("a browser's test")
