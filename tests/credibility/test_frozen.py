"""The same position to the last digit, by a phone that reports as rarely as it may."""

import numpy as np
import pytest

from geofence.credibility import FROZEN, masks
from geofence.policy import Policy
from tests.engine.worlds import errors, fixes


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
