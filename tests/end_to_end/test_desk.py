"""What somebody at the desk sees while a visit happens: real broker, real database, real engine, real browser.

A worker has been at a home for half an hour; while the page is open her visit ends and she walks away. The marker moves, the visit
turns from pending to verified, and nobody has touched the page.
"""

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import expect

from tests.dashboard.conftest import OpenPage
from tests.dashboard.test_page import drawn, soon
from tests.up.house import House

LON, LAT = 116.40, 39.90
HOME_RADIUS_M = 40.0
PLANNED_S = 1800.0
ENDS_IN_S = 5.0
"""A machine may be slower than that with opening the page: nothing says that she left before it is open."""
WALK_MPS = 8.0
SETTLES_S = 90.0


class Phone:
    """A worker's phone that says where it is: still at the home, then ever further east."""

    def __init__(self, mqtt: str, worker: str) -> None:
        where = urlsplit(mqtt)
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect(str(where.hostname), where.port or 1883)
        self._client.loop_start()
        self._topic = f"sitewatch/v1/workers/{worker}"

    def fix(self, at: float, metres_east: float = 0.0) -> dict[str, Any]:
        # A real phone at rest is never quite still: coordinates that repeat to the last digit look made up.
        wobble_m = 2.0 * math.sin(at / 7.0)
        lon = LON + (metres_east + wobble_m) / (111_320 * math.cos(math.radians(LAT)))
        return {"at": at, "lon": lon, "lat": LAT + 1.5 * math.cos(at / 11.0) / 111_320, "accuracy_m": 8.0}

    def say(self, what: str, payload: Any) -> None:
        self._client.publish(f"{self._topic}/{what}", json.dumps(payload), qos=1).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With whatever broker this machine has: where it is a bare one, the embedded broker is what is tested."""
    house = House(tmp_path_factory.mktemp("desk")).wait_ready()
    yield house
    house.stop()
    house.close()


def put(house: House, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{house.ready['http']}/v1/{path}", json.dumps(body).encode(), method="PUT")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 201)


def test_markers_move_and_a_visit_turns_verified_before_the_readers_eyes(house: House, open_page: OpenPage) -> None:
    home = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [LON, LAT]},
        "properties": {"name": "Home of Wang", "customer": "Wang", "timezone": "Asia/Shanghai", "radius_m": HOME_RADIUS_M},
    }
    put(house, "sites/home", home)
    put(house, "workers/anna", {"name": "Anna"})
    ends_at = round(time.time() + ENDS_IN_S, 3)
    starts_at = ends_at - PLANNED_S
    put(
        house,
        "visits/v-1",
        {"worker": "anna", "site": "home", "service": "cleaning", "starts_at": rfc(starts_at), "ends_at": rfc(ends_at)},
    )
    phone = Phone(str(house.ready["mqtt"]), "anna")
    arrived_at = starts_at - 60
    walked_up = [phone.fix(arrived_at - s, WALK_MPS * s) for s in range(100, 0, -10)]
    phone.say("position", walked_up + [phone.fix(arrived_at + s) for s in range(0, int(time.time() - arrived_at), 10)])
    phone.say("check", {"at": arrived_at + 20, "kind": "in", "visit": "v-1", "method": "nfc"})

    page = open_page(f"{house.ready['http']}/#/visits/v-1")
    verdict = page.locator(".headline .badge")
    expect(verdict).to_have_attribute("data-verdict", "pending")
    live = page.context.new_page()
    live.goto(f"{house.ready['http']}/#/live")
    [before] = soon(lambda: drawn(live, "workers-dot"), "her marker")
    assert before["worker"] == "anna"

    end = time.monotonic() + SETTLES_S
    checked_out = False
    while verdict.get_attribute("data-verdict") != "verified":
        assert time.monotonic() < end, verdict.get_attribute("data-verdict")
        now = time.time()
        if now > ends_at and not checked_out:
            phone.say("check", {"at": now, "kind": "out", "visit": "v-1", "method": "nfc"})
            checked_out = True
        phone.say("position", phone.fix(now, WALK_MPS * max(0.0, now - ends_at)))
        page.wait_for_timeout(1000)
    phone.close()
    soon(lambda: [one["at"] for one in drawn(live, "workers-dot")] not in ([], [before["at"]]), "her step")


def rfc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{round(at % 1 * 1000) % 1000:03d}Z"
