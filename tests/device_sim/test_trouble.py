"""What was drawn did happen: a run in which nothing went wrong proves nothing."""

from collections import Counter, defaultdict

import numpy as np

from device_sim.feed import Feed, Report
from device_sim.simulate import Day
from device_sim.trouble import BEHAVIOURS, GATEWAY_FAULTS_A_DAY, PHONE_FAULTS, Fault


def _phones(day: Day) -> dict[str, Feed]:
    return {feed.owner: feed for feed in day.feeds if feed.owner}


def _faults(day: Day, kind: str) -> list[Fault]:
    return [fault for fault in day.trouble.faults if fault.kind == kind]


def _during(day: Day, fault: Fault) -> list[Report]:
    return [report for report in _phones(day)[fault.source].reports() if fault.start + 2 <= report.at < fault.end - 2]


def _quiet(day: Day, kind: str) -> list[Fault]:
    """Faults of this kind whose phone keeps true time and that no other fault of the phone touches."""
    busy: dict[str, list[Fault]] = defaultdict(list)
    for fault in day.trouble.faults:
        if fault.kind not in ("duplicates", "gateway_down"):
            busy[fault.source].append(fault)
    return [
        fault
        for fault in _faults(day, kind)
        if not any(other is not fault and other.start <= fault.end and other.end >= fault.start for other in busy[fault.source])
    ]


def test_every_kind_of_trouble_is_drawn(helsinki: Day) -> None:
    assert {conduct.behaviour for conduct in helsinki.trouble.conducts} == {"on_time", *BEHAVIOURS}
    assert {fault.kind for fault in helsinki.trouble.faults} == {*PHONE_FAULTS, "gateway_down"}
    assert GATEWAY_FAULTS_A_DAY > 0


def test_a_dead_zone_holds_reports_back_and_loses_none(helsinki: Day) -> None:
    landed = 0
    for fault in _quiet(helsinki, "dead_zone"):
        inside = [report for report in _during(helsinki, fault) if report.seq is not None]
        assert all(report.deliverable_at >= fault.end for report in inside)
        landed += len(inside)
    assert landed > 500


def test_a_dead_battery_says_nothing_and_leaves_a_will(helsinki: Day) -> None:
    faults = _quiet(helsinki, "battery_death")
    assert faults
    for fault in faults:
        assert _during(helsinki, fault) == []
        feed = _phones(helsinki)[fault.source]
        wills = [said for said in feed.said if said.after_s > 0 and said.made_at == fault.start]
        trail = helsinki.trails[[worker.id for worker in helsinki.world.workers].index(fault.source)]
        assert len(wills) == int(trail.t[0] < fault.start < trail.t[-1])


def test_without_permission_there_are_checks_but_no_places(helsinki: Day) -> None:
    faults = _quiet(helsinki, "permission_off")
    assert faults
    for fault in faults:
        assert not any("lon" in report.payload for report in _during(helsinki, fault))


def test_a_dozing_phone_speaks_a_few_times_an_hour(helsinki: Day) -> None:
    dozing = [_during(helsinki, fault) for fault in _quiet(helsinki, "power_save")]
    counted = [sum("lon" in report.payload and "kind" not in report.payload for report in reports) for reports in dozing]
    assert counted
    assert max(counted) <= 7


def test_cell_only_fixes_have_radii_of_hundreds_of_metres(helsinki: Day) -> None:
    landed = 0
    for fault in _quiet(helsinki, "cell_only"):
        radii = [
            r.payload.get("accuracy_m", r.payload.get("acc", 9e9)) for r in _during(helsinki, fault) if "kind" not in r.payload
        ]
        radii = [radius for radius in radii if radius < 9e9]
        assert all(radius >= 499 for radius in radii)
        landed += len(radii)
    assert landed > 50


def test_a_wrong_clock_is_wrong_by_what_was_drawn(helsinki: Day) -> None:
    skewed = [fault for fault in _faults(helsinki, "clock_skew") if not _phones(helsinki)[fault.source].owntracks]
    assert skewed
    for fault in skewed:
        track = _phones(helsinki)[fault.source].track
        total = sum(other.value for other in skewed if other.source == fault.source)
        assert np.allclose(track.at - track.made_at, total, atol=0.001)


def test_some_reports_are_said_twice_and_word_for_word(helsinki: Day) -> None:
    doubles = 0
    for source in {fault.source for fault in _faults(helsinki, "duplicates")}:
        feed = _phones(helsinki)[source]
        if feed.owntracks:
            continue
        by_number: dict[tuple[int | None, int | None], list[dict[str, object]]] = defaultdict(list)
        for report in feed.reports():
            if report.seq is not None:
                by_number[report.epoch, report.seq].append(report.payload)
        repeated = [same for same in by_number.values() if len(same) > 1]
        assert all(payload == same[0] for same in repeated for payload in same)
        doubles += len(repeated)
    assert doubles > 100


def test_a_phone_counts_from_one_without_a_gap_in_each_epoch(helsinki: Day) -> None:
    epochs: Counter[str] = Counter()
    for owner, feed in _phones(helsinki).items():
        numbers: dict[int, set[int]] = defaultdict(set)
        for report in feed.reports():
            if report.seq is not None and report.epoch is not None:
                numbers[report.epoch].add(report.seq)
        for seen in numbers.values():
            assert seen == set(range(1, len(seen) + 1)), "a receipt for the last one could never come"
        epochs[owner] = len(numbers)
    assert sum(count > 1 for count in epochs.values()) >= 3


def test_a_gateway_that_is_away_loses_what_its_home_noticed(helsinki: Day) -> None:
    landed = 0
    for fault in _faults(helsinki, "gateway_down"):
        tag = fault.source.removeprefix("gateway-")
        feeds = [feed for feed in helsinki.feeds if feed.owner is None and feed.source.endswith(tag)]
        assert len(feeds) >= 2
        for feed in feeds:
            assert not any(fault.start < said.at < fault.end and said.topic.endswith("event") for said in feed.said)
            landed += any(said.payload.get("state") == "offline" for said in feed.said)
    assert landed > 10


def test_honest_workers_are_most_of_them_by_default() -> None:
    from device_sim import Options, day

    made = day(7, Options(workers=40, city="helsinki"))
    shares = Counter(conduct.behaviour for conduct in made.trouble.conducts)
    assert 0.8 < shares["on_time"] / shares.total() < 0.9


def test_a_lock_knows_the_worker_and_a_motion_sensor_does_not(helsinki: Day) -> None:
    named = Counter(feed.source.partition("-")[0] for feed in helsinki.feeds for said in feed.said if "worker" in said.payload)
    assert set(named) == {"lock"}
    assert named["lock"] > 50
