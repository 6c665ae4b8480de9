"""The truth against a second, slow definition that walks through every second and every report."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from shapely.geometry import Point, Polygon

from device_sim.feed import Report
from device_sim.simulate import Day
from device_sim.spans import Span
from device_sim.travel import INDOORS
from device_sim.truth import Truth


def test_monitored_and_gaps_are_all_that_was_expected(helsinki: Day) -> None:
    for told in helsinki.truth:
        missing = sum(gap.end - gap.start for gap in told.gaps)
        assert told.monitored_s + missing == pytest.approx(told.expected_s, abs=0.05)
        assert all(a.end <= b.start for a, b in pairwise(told.gaps))
        assert told.expected_s >= told.ends_at - told.starts_at - 0.01
        assert 0 <= told.coverage <= 1


def test_presence_is_where_the_trail_is_inside_the_fence(helsinki: Day) -> None:
    """Second by second with shapely, where the simulator uses its own arithmetic."""
    homes = {home.id: (k, home) for k, home in enumerate(helsinki.world.homes)}
    trails = {worker.id: trail for worker, trail in zip(helsinki.world.workers, helsinki.trails, strict=True)}
    for told in helsinki.truth[::37]:
        k, home = homes[told.site]
        fence = Polygon(home.fence.corners()) if home.fence else Point(home.rooms.x, home.rooms.y).buffer(home.radius_m or 0, 256)
        trail, wrong = trails[told.worker], 0
        for second in range(int(told.starts_at), int(told.ends_at), 3):
            x, y = (float(np.interp(second, trail.t, column)) for column in (trail.x, trail.y))
            place = trail.stay[int(trail.stretch(np.array([float(second)]))[0])]
            inside = fence.contains(Point(x, y)) and place in (-1, k)
            wrong += inside != any(start <= second < end for start, end in told.on_site)
        assert wrong <= 1 + len(told.on_site)


def _phone_spans(day: Day, told: Truth) -> list[Span]:
    """What each delivered report of the worker's phone covers, from its payload and the words of the definition."""
    feed = next(feed for feed in day.feeds if feed.owner == told.worker)
    trail = day.trails[[worker.id for worker in day.world.workers].index(told.worker)]
    skew = sum(fault.value for fault in day.trouble.faults if fault.source == told.worker and fault.kind == "clock_skew")
    spans = []
    for report in feed.reports():
        payload: dict[str, Any] = report.payload
        if payload.get("method", "app") != "app":
            spans.append((report.at, report.at + 600))
        elif payload.get("accuracy_m", payload.get("acc", math.inf)) <= 150:
            k = int(trail.stretch(np.array([report.at - skew]))[0])
            after = min(k + 1, len(trail.t) - 1)
            way = math.hypot(trail.x[after] - trail.x[k], trail.y[after] - trail.y[k])
            still = way / max(trail.t[after] - trail.t[k], 1e-3) <= 0.3 or trail.setting[k] == INDOORS or "kind" in payload
            significant = feed.mode == "significant" and "kind" not in payload
            spans.append((report.at, report.at + (1200 if significant else 300 if still else 120)))
    return spans


def _home_spans(day: Day, told: Truth, reports: list[Report]) -> list[Span]:
    """What homes say of this worker: her credential, or motion and power in a home without residents while she is inside."""
    trail = day.trails[[worker.id for worker in day.world.workers].index(told.worker)]
    homes = {home.id.removeprefix("site-"): (k, home) for k, home in enumerate(day.world.homes)}
    spans = []
    for report in reports:
        if told.starts_at - 3600 < report.at < told.ends_at + 3600:
            k, home = homes[report.source.partition("-")[2]]
            inside = trail.stay[int(trail.stretch(np.array([report.at]))[0])] == k and trail.t[0] <= report.at < trail.t[-1]
            stirred = report.payload.get("kind") in ("motion", "power") and inside and not home.residents
            if report.payload.get("worker") == told.worker or stirred:
                spans.append((report.at, report.at + 600))
    return spans


def test_coverage_agrees_with_the_slow_definition(helsinki: Day) -> None:
    """Every second of a visit is looked up in every delivered report. Spoofed time has its own test."""
    spoofers = {told.worker for told in helsinki.truth if told.behaviour == "spoofer"}
    plain = [told for told in helsinki.truth if told.worker not in spoofers]
    gappy, whole = [told for told in plain if told.gaps][:16], [told for told in plain if not told.gaps][:6]
    assert len(gappy) == 16
    reports = [report for feed in helsinki.feeds if feed.owner is None for report in feed.reports()]
    for told in [*gappy, *whole]:
        stay = (told.on_site[0][0], told.on_site[-1][1]) if told.on_site else (told.starts_at, told.ends_at)
        begin, end = min(told.starts_at, stay[0]), max(told.ends_at, stay[1])
        spans = [
            span
            for span in _phone_spans(helsinki, told) + _home_spans(helsinki, told, reports)
            if span[0] < end and span[1] > begin
        ]
        either = ((told.starts_at, told.ends_at), stay)
        moments = [second for second in np.arange(begin, end, 1.0) if any(start <= second < stop for start, stop in either)]
        seen = sum(any(start <= second < stop for start, stop in spans) for second in moments)
        assert len(moments) == pytest.approx(told.expected_s, abs=2.5)
        assert seen == pytest.approx(told.monitored_s, abs=2 + 2 * len(told.gaps))


def test_a_visit_that_was_only_spoofed_is_not_monitored(helsinki: Day) -> None:
    lasting = {feed.owner for feed in helsinki.feeds if feed.mode == "significant"}  # Their fix from before still holds.
    plain = [told for told in helsinki.truth if told.worker not in lasting and set(told.faults) <= {"duplicates"}]
    spoofed = [told for told in plain if told.behaviour == "spoofer"]
    assert len(spoofed) >= 5
    assert not any(start < told.ends_at and end > told.starts_at for told in spoofed for start, end in told.on_site)
    suspect = [sum(gap.end - gap.start for gap in told.gaps if gap.cause == "suspect") for told in spoofed]
    planned = [told.ends_at - told.starts_at for told in spoofed]
    # The first minutes are still held by the last true fix, and who is delayed elsewhere begins to pretend later.
    assert np.mean([gap > 0.3 * whole for gap, whole in zip(suspect, planned, strict=True)]) > 0.85


def test_each_cause_of_a_gap_is_there_and_belongs_to_its_fault(helsinki: Day) -> None:
    belongs = {"permission_off": "permission_off", "phone_offline": "battery_death", "power_save": "power_save"}
    found: Counter[str] = Counter()
    for told in helsinki.truth:
        for gap in told.gaps:
            found[gap.cause] += 1
            if gap.cause in belongs:
                assert belongs[gap.cause] in told.faults or gap.end > told.ends_at or gap.start < told.starts_at
    assert set(found) == {"permission_off", "phone_offline", "power_save", "poor_accuracy", "suspect", "silent"}


def test_a_dead_zone_leaves_no_gap_once_the_outbox_is_empty(helsinki: Day) -> None:
    dead = [told for told in helsinki.truth if told.faults == ("dead_zone",) and told.behaviour == "on_time"]
    assert len(dead) >= 10
    assert np.mean([told.coverage for told in dead]) > 0.99
