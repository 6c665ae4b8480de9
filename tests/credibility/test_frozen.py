"""Positions that stand still: made up, or a network's, or rounded."""

import numpy as np
import pytest
from msgspec.structs import replace

from geofence import judge
from geofence.credibility import FROZEN, masks
from geofence.evidence import Fixes, Observed
from geofence.policy import Policy
from tests.engine.worlds import START, circle, errors, fixes, scene


@pytest.mark.parametrize(("early_s", "told"), [(0.0, True), (2.0, True), (90.0, False)])
def test_three_the_same_are_frozen_also_if_they_come_a_little_early(early_s: float, told: bool) -> None:
    at = np.array([0.0, 300.0, 600.0 - early_s])
    assert ((masks(fixes(at, np.zeros(3), np.zeros(3), 5.0), Policy()) & FROZEN) != 0).tolist() == [told] * 3


def test_two_the_same_are_enough_if_they_are_as_far_apart() -> None:
    """A phone in significant mode sends no more in a short visit; one that is asked twice in five minutes may repeat itself."""
    for apart_s, told in ((900.0, True), (300.0, False)):
        of = fixes(np.array([-apart_s, 0.0, apart_s]), np.array([900.0, 0.0, 0.0]), np.zeros(3), 5.0)
        assert ((masks(of, Policy()) & FROZEN) != 0).tolist() == [False, told, told]


def test_a_receiver_that_is_still_is_not_frozen() -> None:
    at = np.arange(0.0, 3600.0, 299.0)
    rng = np.random.default_rng(4)
    assert not (masks(fixes(at, errors(rng, at, 3.0), errors(rng, at, 3.0), 5.0), Policy()) & FROZEN).any()


def held(points: list[tuple[float, float]], held_s: float, every_s: float, accuracy_m: float) -> Fixes:
    """A stay that is told by the positions of a network, each held for a while, between two ways of ten minutes."""
    rng = np.random.default_rng(7)
    at = np.arange(0.0, 600.0 + held_s * len(points) + 600.0, every_s)
    nth = np.clip((at - 600.0) // held_s, 0, len(points) - 1).astype(int)
    walks = (at < 600.0) | (at >= 600.0 + held_s * len(points))
    off = np.where(at < 600.0, 600.0 - at, at - 600.0 - held_s * len(points)) * 1.3
    east, north = (np.array([point[axis] for point in points])[nth] for axis in (0, 1))
    east = np.where(walks, off + errors(rng, at, 4.0), east)
    north = np.where(walks, errors(rng, at, 4.0), north)
    return fixes(at, east, north, np.where(walks, 8.0, accuracy_m))


def frozen(of: Fixes) -> int:
    return int(((masks(of, Policy()) & FROZEN) != 0).sum())


@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
def test_the_points_of_a_network_that_take_turns_are_honest(every_s: float) -> None:
    points = [(12.0, -5.0), (-8.0, 14.0), (12.0, -5.0)]
    assert frozen(held(points, 1500.0, every_s, 25.0)) == 0
    assert frozen(held(points, 1500.0, every_s, 6.0)) > 10, "no network is as exact as that"


@pytest.mark.parametrize("every_s", [10.0, 60.0, 300.0])
def test_one_point_for_nearly_a_whole_stay_is_frozen_whatever_its_radius(every_s: float) -> None:
    assert frozen(held([(12.0, -5.0)], 3600.0, every_s, 25.0)) >= 3600.0 / every_s - 1
    assert frozen(held([(12.0, -5.0), (-8.0, 14.0)], 3600.0, every_s, 25.0)) == 0
    assert frozen(held([(12.0, -5.0), (900.0, 14.0)], 3600.0, every_s, 25.0)) >= 7200.0 / every_s - 2, "two stays"


def test_a_phone_that_only_stood_still_is_not_said_to_make_positions_up() -> None:
    of = replace(held([(12.0, -5.0)], 3600.0, 60.0, 25.0))
    told = judge(scene(circle(0.0, 0.0, 60.0), 3600.0), Observed(fixes=replace(of, at=of.at - 600.0)), Policy(), START + 90_000.0)
    assert "spoof_suspected" in told.findings
    assert "stood still" in told.explanation.en
    assert "made up" not in told.explanation.en
    assert "纹丝不动" in told.explanation.zh


def test_a_phone_that_rounds_all_it_says_is_not_frozen_by_that() -> None:
    at = np.arange(0.0, 5400.0, 10.0)
    rng = np.random.default_rng(8)
    off = np.maximum(np.abs(at - 2700.0) - 2000.0, 0.0) * 1.3
    of = fixes(at, off + errors(rng, at, 2.0, 600.0), errors(rng, at, 2.0, 600.0), 6.0)
    rough = replace(of, lon=np.round(of.lon, 4), lat=np.round(of.lat, 4))
    assert frozen(rough) == 0
    typed = np.abs(at - 2700.0) < 2000.0
    mixed = replace(of, lon=np.where(typed, 116.4, of.lon), lat=np.where(typed, 39.9, of.lat))
    assert frozen(mixed) == typed.sum(), "a position that was typed in has few digits, and the way there has not"
