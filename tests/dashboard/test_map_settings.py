"""The map with a tile server or a style of one's own, which are configuration: our layers are drawn over them all the same."""

import base64
import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard.conftest import OpenPage
from tests.dashboard.fake_desk import Desk
from tests.dashboard.test_page import drawn, soon

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
STYLE = {
    "version": 8,
    "sources": {},
    "layers": [{"id": "their-sea", "type": "background", "paint": {"background-color": "#204060"}}],
}
LAYERS = """() => import("/static/js/map.js").then(({maps}) => [...maps][0]?.getStyle()?.layers.map(({id}) => id) ?? [])"""


def configured(page: Page, desk: Desk, **settings: str) -> list[str]:
    """Opens the live view with these settings; answers the tiles that were asked for, as they come."""
    asked: list[str] = []

    def tell(route: Route) -> None:
        route.fulfill(body=json.dumps({"coverage_target": 0.95, "map_style": None, "tile_url": None, **settings}))

    def tile(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=PIXEL, content_type="image/png")

    page.route("**/v1/settings", tell)
    page.route("**/style.json", lambda route: route.fulfill(body=json.dumps(STYLE)))
    page.route("**/tiles/**", tile)
    page.goto(f"{desk.url}/#/live")
    page.reload()
    return asked


@pytest.fixture
def page(desk: Desk, open_page: OpenPage) -> Page:
    return open_page(f"{desk.url}/#/alerts")


def test_without_configuration_nothing_is_asked_of_any_other_server(desk: Desk, page: Page) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(re.sub(r"^(blob:)?(\w+://[^/]+).*", r"\2", request.url)))
    page.goto(f"{desk.url}/#/live")
    soon(lambda: len(drawn(page, "workers-dot")) > 20, "markers")
    soon(lambda: len(drawn(page, "graticule")) > 2, "the graticule")
    assert hosts - {"data"} <= {desk.url}


def test_tiles_are_drawn_under_the_fleet_and_their_owner_is_named(desk: Desk, page: Page) -> None:
    asked = configured(page, desk, tile_url=f"{desk.url}/tiles/{{z}}/{{x}}/{{y}}.png", tile_attribution="Map data by somebody")
    found = soon(lambda: len(found := drawn(page, "workers-dot", "graticule")) > 20 and found, "markers")
    assert all("worker" in one for one in found), "the graticule is drawn too"
    expect(page.get_by_text("Map data by somebody")).to_be_attached()
    assert re.search(r"/tiles/\d+/\d+/\d+\.png$", asked[0])


def test_a_style_is_taken_and_survives_a_change_of_theme(desk: Desk, page: Page) -> None:
    configured(page, desk, map_style=f"{desk.url}/style.json")
    soon(lambda: len(drawn(page, "workers-dot")) > 20, "markers")
    assert page.evaluate(LAYERS)[0] == "their-sea"
    page.locator("button.icon").first.click()
    soon(lambda: len(drawn(page, "workers-dot")) > 20, "markers in the other theme")
    assert page.evaluate(LAYERS)[0] == "their-sea"


def test_without_the_files_of_the_map_everything_else_works_and_says_how_to_build_them(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/alerts", expected="the browser logs the missing files")
    page.route("**/static/vendor/**", lambda route: route.fulfill(status=404))
    page.goto(f"{desk.url}/#/live")
    page.reload()
    expect(page.get_by_text("uv sync --reinstall-package sitewatch")).to_be_visible()
    expect(page.locator(".worker").first).to_be_visible()
    page.goto(f"{desk.url}/#/coverage")
    expect(page.locator("tbody tr").first).to_be_visible()
