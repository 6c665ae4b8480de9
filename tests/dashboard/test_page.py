"""The page in a real browser, against an invented fleet: what an operations desk does all day."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.dashboard.conftest import OpenPage
from tests.dashboard.fake_desk import Desk, Fleet

ROUTES = ["live", "visits", "visits/v-w-0007-1", "coverage", "alerts", "devices", "sites/site-004", "live/worker/w-0003"]
DRAWN = """(layers) => import("/static/js/map.js").then(({maps}) => {
    const [map] = maps;
    const found = map?.isStyleLoaded() ? map.queryRenderedFeatures({layers}) : [];
    return found.map(({geometry, properties}) => ({...properties, at: geometry.coordinates}));
})"""


def drawn(page: Page, *layers: str) -> list[dict[str, Any]]:
    """What the map really shows, in the layers of these names."""
    found: list[dict[str, Any]] = page.evaluate(DRAWN, list(layers))
    return found


def soon(condition: Any, what: str, seconds: float = 15) -> Any:
    """Waits until it holds; returns what it then was. A map that is taking in something draws nothing for a moment: ask by this."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_every_view_opens_by_its_link_and_logs_no_error(desk: Desk, open_page: OpenPage, route: str) -> None:
    page = open_page(f"{desk.url}/#/{route}")
    expect(page.locator("#bar nav a[aria-current]")).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)
    expect(page.locator(".error")).to_have_count(0)
    expect(page.locator(".stream")).to_have_attribute("data-state", "live")


def test_an_address_that_no_view_has_says_so(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/nowhere")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_the_list_counts_states_and_the_counts_filter_it(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live")
    counts = page.locator(".filter .n")
    expect(counts.first).to_have_text("40")
    total, *parts = [int(text) for text in counts.all_inner_texts()]
    assert sum(parts) == total
    page.locator(".filter[data-state=silent]").click()
    expect(page.locator(".worker")).to_have_count(parts[3])
    expect(page.locator(".worker").first).to_have_attribute("data-state", "silent")


def test_search_finds_a_worker_by_name_and_clicking_selects_her_on_the_map(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live")
    page.keyboard.press("/")
    page.keyboard.type("mikael korhonen 12")
    expect(page.locator(".worker")).to_have_count(1)
    page.locator(".worker").click()
    expect(page).to_have_url(re.compile(r"#/live/worker/w-0012$"))
    expect(page.locator(".card h2")).to_have_text("Mikael Korhonen 12")
    soon(lambda: [one["worker"] for one in drawn(page, "chosen-dot")] == ["w-0012"], "the selected worker on the map")


def test_clicking_a_marker_selects_the_worker_in_the_list(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live")
    soon(lambda: len(drawn(page, "workers-dot")) > 20, "markers")
    # Somebody whom no other thing covers, so that the click can mean nobody else.
    x, y, worker = page.evaluate("""() => import("/static/js/map.js").then(({maps}) => {
        const [map] = maps;
        const dots = map.queryRenderedFeatures({layers: ["workers-dot", "places-dot"]});
        const spots = dots.map((dot) => ({...map.project(dot.geometry.coordinates), worker: dot.properties.worker}));
        const inside = ({x, y}) => x > 60 && y > 80 && x < 700 && y < 600;
        const alone = (spot) => spots.every((other) => other === spot || Math.hypot(other.x - spot.x, other.y - spot.y) > 25);
        const spot = spots.find((one) => one.worker && inside(one) && alone(one));
        const box = map.getCanvas().getBoundingClientRect();
        return [box.x + spot.x, box.y + spot.y, spot.worker];
    })""")
    page.mouse.click(x, y)
    expect(page.locator(f".worker[data-id='{worker}']")).to_have_attribute("aria-current", "true")


def test_markers_move_when_the_stream_says_so(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live")
    expect(page.locator(".stream")).to_have_attribute("data-state", "live")
    markers = soon(lambda: len(found := drawn(page, "workers-dot")) > 20 and found, "markers")
    before = {one["worker"]: one["at"] for one in markers}
    desk.fleet.move()
    soon(lambda: sum(one["at"] != before.get(one["worker"], one["at"]) for one in drawn(page, "workers-dot")) > 20, "movement")


def test_a_worker_who_was_planned_later_gets_her_name(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live")
    expect(page.locator(".stream")).to_have_attribute("data-state", "live")
    expect(page.locator(".filter .n").first).to_have_text("40")
    worker = desk.fleet.hire()
    page.goto(f"{desk.url}/#/live/worker/{worker}")
    expect(page.locator(".card h2")).to_have_text(desk.fleet.name(worker), timeout=15_000)


def test_a_visit_turns_verified_before_the_readers_eyes(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits/v-w-0007-2")
    expect(page.locator(".headline .badge")).to_have_attribute("data-verdict", "pending")
    expect(page.locator(".stream")).to_have_attribute("data-state", "live")
    desk.fleet.settle("v-w-0007-2")
    expect(page.locator(".headline .badge")).to_have_attribute("data-verdict", "verified")


def test_a_visits_history_says_what_changed_and_why(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits/v-w-0007-1")
    expect(page.locator("tr", has_text="3 late fixes")).to_contain_text("Verdict")
    expect(page.locator("tr", has_text="First verdict")).to_have_count(1)


def test_where_somebody_was_beside_the_plan_stands_on_her_card_and_under_the_day(desk: Desk, open_page: OpenPage) -> None:
    worker = desk.fleet.workers[0]
    page = open_page(f"{desk.url}/#/live/worker/{worker}")
    expect(page.locator(".card .stay")).to_have_count(2)
    expect(page.locator(".card .stay").first).to_contain_text("Unscheduled")
    page.goto(f"{desk.url}/#/live/worker/{desk.fleet.workers[1]}")
    expect(page.locator(".card .stay").first).not_to_be_visible()
    page.goto(f"{desk.url}/#/visits")
    expect(page.locator(".beside .stay")).to_have_count(2)
    expect(page.locator(".beside .stay").first).to_contain_text(desk.fleet.name(worker))


def test_the_strip_shows_plan_presence_evidence_and_the_gap_with_its_cause(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits/v-w-0007-1")
    strip = page.locator(".strip svg")
    expect(strip.locator("rect[data-presence=on]")).to_have_count(1)
    expect(strip.locator(".whisker")).to_have_count(2)
    expect(strip.locator(".fix").nth(100)).to_be_attached()
    expect(strip.locator(".mark")).to_have_count(2)
    gap = strip.locator("rect[data-cause=power_save]")
    expect(gap).to_be_visible()
    # Asked of the document at once: the strip is drawn anew with every change, and a detached one has no width.
    planned, hole = page.evaluate(
        "['.plan', '[data-cause]'].map((name) => document.querySelector(`.strip svg ${name}`).getBoundingClientRect().toJSON())"
    )
    # The invented visit was unseen for 8 % of its time, from 42 % on.
    assert hole["width"] / planned["width"] == pytest.approx(0.08, abs=0.005)
    assert (hole["x"] - planned["x"]) / planned["width"] == pytest.approx(0.42, abs=0.005)
    gap.hover()
    expect(page.locator(".strip .tip")).to_contain_text("Power saving")
    expect(page.locator(".strip .tip")).to_contain_text("On site")


def test_language_and_theme_are_chosen_and_remembered(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("工单")
    page.locator("button.icon").click()
    page.locator("button.icon").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    expect(page.locator("h1")).to_have_text("工单")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_a_chinese_browser_is_greeted_in_chinese(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits/v-w-0007-1", language="zh-CN", theme="dark")
    expect(page.locator(".explanation")).to_contain_text("在场 1 小时 22 分")
    expect(page.locator(".headline .badge")).to_have_text("已核实")


def test_a_cut_stream_comes_back_behind_the_last_event_and_misses_nothing(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits/v-w-0007-2")
    stream = page.locator(".stream")
    expect(stream).to_have_attribute("data-state", "live")
    desk.fleet.move()
    last = "import('/static/js/fleet.js').then(({fleet}) => fleet.tails.get('w-0040')?.length ?? 0)"
    soon(lambda: page.evaluate(last) > 1, "the step of the last worker")
    seen = len(desk.fleet.events)
    # Half a second of waiting is easily missed by somebody who asks now and then: the page notes it down itself.
    page.evaluate("""() => {
        const stream = document.querySelector(".stream");
        window.states = [];
        new MutationObserver(() => window.states.push(stream.dataset.state)).observe(stream, {attributes: true});
    }""")
    desk.cut_streams()
    soon(lambda: "waiting" in page.evaluate("window.states"), "the header's word for it")
    desk.fleet.settle("v-w-0007-2")
    expect(stream).to_have_attribute("data-state", "live")
    expect(page.locator(".headline .badge")).to_have_attribute("data-verdict", "verified")
    assert desk.resumed[-1] == str(seen)


def test_an_answer_that_was_long_on_its_way_does_not_undo_what_the_stream_said(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/alerts")

    def answer_late(route: Route) -> None:
        old = route.fetch()
        desk.fleet.settle("v-w-0007-2")
        time.sleep(1)
        route.fulfill(response=old)

    page.route("**/v1/visits?**", answer_late)
    page.reload()
    known = "import('/static/js/fleet.js').then(({fleet}) => fleet.visits.get('v-w-0007-2')?.outcome.verdict ?? null)"
    soon(lambda: page.evaluate(known) is not None, "the visits")
    soon(lambda: page.evaluate(known) == "verified", "the newer verdict", seconds=3)


def test_a_key_is_asked_for_refused_and_kept(open_page: OpenPage) -> None:
    desk = Desk(Fleet(5), key="open sesame")
    page = open_page(f"{desk.url}/#/live", expected="the refused calls are logged by the browser")
    page.locator("dialog input").fill("guess")
    page.locator("dialog button").click()
    expect(page.get_by_text("The server refused that key")).to_be_visible()
    page.locator("dialog input").fill("open sesame")
    page.locator("dialog button").click()
    expect(page.locator(".worker")).to_have_count(5)
    page.reload()
    expect(page.locator(".worker")).to_have_count(5)
    expect(page.locator("dialog")).to_have_count(0)
    desk.shutdown()


def test_an_alert_appears_counts_and_is_acknowledged(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/alerts")
    expect(page.locator("tbody tr")).to_have_count(4)
    first = next(iter(desk.fleet.alerts.values()))
    desk.fleet.alarm({**first, "id": "a-new", "kind": "wrong_site"})
    expect(page.locator(".count")).to_have_text("5")
    page.locator("tr", has_text="Wrong site").get_by_role("button").click()
    expect(page.locator(".count")).to_have_text("4")
    page.get_by_role("button", name="Acknowledged").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_thousand_workers_are_a_short_list_in_the_page_and_clusters_on_the_map(open_page: OpenPage) -> None:
    desk = Desk(Fleet(1000))
    page = open_page(f"{desk.url}/#/live")
    expect(page.locator(".filter .n").first).to_have_text("1,000")
    assert page.locator(".worker").count() < 60
    soon(lambda: len(drawn(page, "clusters")) > 3, "clusters")
    page.locator(".workers").evaluate("(list) => (list.scrollTop = list.scrollHeight)")
    expect(page.locator(".worker").last).to_be_visible()
    assert page.locator(".worker").count() < 60
    desk.shutdown()


def test_an_empty_house_says_what_to_do_next(open_page: OpenPage) -> None:
    desk = Desk(Fleet(0))
    page = open_page(f"{desk.url}/#/live")
    for route, hint in (
        ("live", "sitewatch up --sim"),
        ("visits", "POST /v1/plans"),
        ("devices", "PUT /v1/devices"),
        ("alerts", "no-show"),
    ):
        page.goto(f"{desk.url}/#/{route}")
        expect(page.locator(".empty").first).to_contain_text(hint)
    desk.shutdown()


def test_a_name_is_text_and_never_markup(desk: Desk, open_page: OpenPage) -> None:
    attack = "<img src=x onerror=document.title='taken'>"
    desk.fleet.sites[0]["properties"]["name"] = attack
    page = open_page(f"{desk.url}/#/sites/{desk.fleet.sites[0]['id']}")
    expect(page.locator("h1")).to_have_text(attack)
    assert page.title() == "sitewatch"


def test_a_server_that_is_away_is_said_and_tried_again(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/live", expected="the failed calls are logged by the browser")
    expect(page.locator(".worker").first).to_be_visible()
    page.route("**/v1/coverage*", lambda route: route.abort())
    page.goto(f"{desk.url}/#/coverage")
    expect(page.get_by_role("alert")).to_be_visible()
    page.unroute("**/v1/coverage*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".chart canvas")).to_have_count(2)


def test_visits_are_found_by_name_and_the_search_is_part_of_the_link(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits")
    rows = page.locator("tbody tr")
    expect(rows.nth(30)).to_be_attached()
    page.keyboard.press("/")
    page.keyboard.type("korhonen 12")
    expect(page).to_have_url(re.compile(r"q=korhonen\+12"))
    expect(rows.nth(5)).not_to_be_attached()
    assert set(rows.locator("td:nth-child(2)").all_inner_texts()) == {"Mikael Korhonen 12"}
    expect(page.locator("input[type=search]")).to_be_focused()
    page.reload()
    expect(rows.nth(5)).not_to_be_attached()
    expect(rows.first).to_contain_text("Mikael Korhonen 12")


def test_a_verdict_chosen_above_the_table_is_all_that_it_shows(desk: Desk, open_page: OpenPage) -> None:
    page = open_page(f"{desk.url}/#/visits")
    page.locator(".segments button", has_text="Contradicted").click()
    expect(page).to_have_url(re.compile("verdict=contradicted"))
    expect(page.locator("tbody .badge[data-verdict=verified]")).to_have_count(0)
    expect(page.locator("tbody .badge[data-verdict=contradicted]").first).to_be_visible()


def test_an_arrival_before_all_that_was_looked_at_has_no_earliest(desk: Desk, open_page: OpenPage) -> None:
    outcome = desk.fleet.visits["v-w-0007-1"]["outcome"]
    outcome["arrived_at"]["earliest"] = None
    outcome["left_at"]["latest"] = None
    page = open_page(f"{desk.url}/#/visits/v-w-0007-1")
    expect(page.locator(".figures")).to_contain_text("There already when the time looked at began")
    expect(page.locator(".figures")).to_contain_text("Still there when the time looked at ended")
    expect(page.locator(".figures")).to_contain_text(re.compile(r"≤ \d\d:\d\d.*≥ \d\d:\d\d", re.DOTALL))
    expect(page.locator(".strip svg .whisker")).to_have_count(2)
    whiskers = page.evaluate("[...document.querySelectorAll('.strip svg .whisker')].map((one) => one.getAttribute('d'))")
    assert [path.count("v8") for path in whiskers] == [1, 1], "an open end has a cap"
    assert not any("NaN" in path for path in whiskers)
    page.goto(f"{desk.url}/#/visits")
    expect(page.get_by_text("≤").first).to_be_visible()


def test_a_narrow_screen_shows_the_tab_that_is_open_and_the_verdicts(desk: Desk, open_page: OpenPage) -> None:
    page = open_page("about:blank")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{desk.url}/#/system")
    inside = """(name) => {
        const box = document.querySelector(name).getBoundingClientRect();
        const frame = (document.querySelector(name).closest("nav") ?? document.body).getBoundingClientRect();
        return box.left >= frame.left && box.right <= frame.right;
    }"""
    expect(page.locator("#bar nav a[aria-current]")).to_have_text("System")
    assert page.evaluate(inside, "#bar nav a[aria-current]")
    for view, told in (("visits", ".badge[data-verdict]"), ("alerts", "button"), ("devices", ".cell-online")):
        page.goto(f"{desk.url}/#/{view}")
        expect(page.locator(f"tbody tr {told}").first).to_be_visible()
        assert page.evaluate(inside, f"tbody tr {told}"), view
