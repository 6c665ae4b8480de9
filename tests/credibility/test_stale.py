"""Repeats of an old fix, by the slow definition: each jump compared with everything before it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import credibility
from geofence.credibility import REPEAT_M, STALE_PING
from geofence.evidence import Bools, Fixes, Ints
from geofence.policy import Policy
from tests.engine.worlds import bounded, fixes

PLACES = [(0.0, 0.0), (0.3, 0.0), (400.0, 0.0), (400.0, 300.0)]


def slowly(of: Fixes) -> Bools:
    numbers = [(of.lon[k], of.lat[k], of.accuracy_m[k], of.altitude_m[k]) for k in range(len(of.at))]
    stale = np.zeros(len(numbers), dtype=bool)
    for k in range(1, len(numbers)):
        east = (of.lon[k] - of.lon[k - 1]) * 85_300.0
        north = (of.lat[k] - of.lat[k - 1]) * 111_195.0
        if np.hypot(east, north) > REPEAT_M and not np.isnan(numbers[k]).any() and numbers[k] in numbers[:k]:
            end = k
            while end < len(numbers) and numbers[end] == numbers[k]:
                stale[end] = True
                end += 1
    return stale


@bounded
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([8.0, 9.0, np.nan]), st.sampled_from([1.0, np.nan])), max_size=40))
def test_a_jump_back_to_an_old_fix_is_a_repeat_by_the_slow_definition(rows: list[tuple[int, float, float]]) -> None:
    place = np.array([PLACES[k] for k, _, _ in rows]).reshape(-1, 2)
    # So slowly that no step is too far for anybody, and so rarely that nothing is frozen.
    at = 40.0 * np.arange(len(rows), dtype=np.float64)
    of = fixes(at, place[:, 0], place[:, 1], np.array([radius for _, radius, _ in rows], dtype=np.float64))
    of = replace(of, altitude_m=np.array([height for _, _, height in rows]))
    masks: Ints = credibility.masks(of, Policy(frozen_s=80_000.0))
    assert ((masks & STALE_PING) != 0).tolist() == slowly(of).tolist()
