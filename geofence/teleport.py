"""Teleport: which fixes of one phone lie where nobody could have come from, or gone on from, in the time.

Impossible steps cut a track into stretches, each of which fits itself. Then, in this order:

1. A fault among honest fixes: some brief stretches between two that fit each other go, and those two become one. The fewest first,
   and among as many those between the longest neighbours, so that what is honest between two faults stays: one wild fix costs one.
2. A brief stretch at the beginning or the end of the track goes: there is a fix to be wrong, and nothing that it explains.
3. Long stretches that contradict each other: the one between two that fit each other goes. Of two, those go that never went
   anywhere: who was carried to a place by a jump has no way there, and who walked has. Both, if neither has: nobody knows which was
   true.

Apart from that, leaps: she stands at a place, and came there in a step in which nobody gets so far, from door to door or as she was
on her way; and left it in another. Or the two are one step there and back again, with no fix on the way either time. One such step
alone may be a fault of a receiver, or of a clock. A place that was leapt to and from goes, however honest it looks otherwise: so
does who switches to a made-up position for the time of a visit.

A track that jumps more than `STRETCHES_MAX` times is no track: none of its brief stretches is believed.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from geofence.evidence import Bools, Floats, Ints
from geofence.likelihood import RAYLEIGH_68
from geofence.policy import Policy

TRAVEL_M = 250.0
"""A stretch of track that extends this far shows a way, and not only the noise about one place."""
LEAP_M = 100.0
LEAP_MPS = 8.0
"""From door to door nobody gets further than this, and this for every second: a bicycle at full speed, a car that must be unlocked,
started and parked."""
LEAP_HASTE = 1.5
LEAP_STEPS = 3
"""On the road she gets as far as her haste of a few steps before says, and half as much again: who arrives slows down."""
MIRROR_M = 150.0
MIRROR_MPS = 5.0
"""A step there and the same step back, each without a fix on the way, is made up from here on [bench/accuracy: it is the mark of a
position that is switched on and off]."""
LEAP_S = 300.0
"""In a longer step there is time for a fast road."""
STILL_M = 60.0
"""A step shorter than this and than its errors is that of somebody who stands still."""
FAULTS_MAX = 4
"""So many brief stretches in a row may be faults that have nothing to do with each other."""
STRETCHES_MAX = 60
"""Beyond it one phone reports for two, or a file is played: no fix says which of the places was true."""

Stretch = tuple[int, int]
"""The first and the last of its fixes, both included; what was found to be a fault may lie between."""


def teleported(at: Floats, east: Floats, north: Floats, accuracy_m: Floats, policy: Policy) -> Bools:
    """Which fixes of one phone, in the order of time and in metres about any place, are where nobody could have been."""
    error = np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m) * (2.0 / RAYLEIGH_68)
    step, took, blur = np.hypot(np.diff(east), np.diff(north)), np.diff(at), error[:-1] + error[1:]
    jumps = np.flatnonzero(step - blur > policy.teleport_mps * (took + 1.0))
    faults = _impossible(jumps, at, east, north, error, policy) if len(jumps) else np.zeros(len(at), dtype=bool)
    return faults | _leapt(step, took, blur, east, north, faults)


def _leapt(step: Floats, took: Floats, blur: Floats, east: Floats, north: Floats, faults: Bools) -> Bools:
    """The places that were leapt to and from: she stands there behind one step that nobody could have made, and before another."""
    told = np.zeros(len(step) + 1, dtype=bool)
    far = np.flatnonzero((step - blur > MIRROR_M) & (step - blur > MIRROR_MPS * took) & (took <= LEAP_S))
    if len(far) < 2:
        return told
    stood = (step <= np.minimum(blur, STILL_M)) & (took <= LEAP_S)
    pace = step / np.maximum(took, 1.0)

    def leap(k: int, before: slice) -> bool:
        """Whether she went no such way in the time, as fast as she was on the way before it (or behind it)."""
        usual = LEAP_HASTE * float(pace[before].max(initial=0.0))
        return bool(step[k] - blur[k] > LEAP_M + max(LEAP_MPS, usual) * took[k])

    def mirrored(one: int, two: int) -> bool:
        """Whether one step is the other back again, and neither is one of many on a way."""
        apart = float(np.hypot(east[two + 1] - east[one], north[two + 1] - north[one]))
        longest = max(float(step[one]), float(step[two]))
        around = np.concatenate((step[max(one - LEAP_STEPS, 0) : one], step[two + 1 : two + 1 + LEAP_STEPS]))
        alone = len(around) > 0 and min(float(step[one]), float(step[two])) >= 3.0 * float(np.median(around))
        return alone and apart <= max(TRAVEL_M, 0.3 * longest)

    for one, two in pairwise(far.tolist()):
        inside = slice(one + 1, two + 1)
        stands = two > one + 1 and stood[one + 1] and stood[two - 1]
        stays = max(np.ptp(east[inside]), np.ptp(north[inside])) < TRAVEL_M
        # Who comes back from a wild fix, and goes to another, never left.
        if not (stands and stays) or faults[one] or faults[two + 1]:
            continue
        came, went = slice(max(one - LEAP_STEPS, 0), one), slice(two + 1, two + 1 + LEAP_STEPS)
        if mirrored(one, two) or (leap(one, came) and leap(two, went)):
            told[inside] = True
    return told


def _impossible(jumps: Ints, at: Floats, east: Floats, north: Floats, error: Floats, policy: Policy) -> Bools:
    """Of the stretches between impossible steps, those that are not to be believed."""
    told = np.zeros(len(at), dtype=bool)
    first, last = [0, *(jumps + 1).tolist()], [*jumps.tolist(), len(at) - 1]
    stretches: list[Stretch] = list(zip(first, last, strict=True))

    def fits(one: Stretch, two: Stretch) -> bool:
        """Whether somebody gets from the end of one to the beginning of two in time, with two σ for either error and a second for
        the clocks."""
        a, b = one[1], two[0]
        far = float(np.hypot(east[b] - east[a], north[b] - north[a]) - error[a] - error[b])
        return far <= policy.teleport_mps * float(at[b] - at[a] + 1.0)

    def brief(stretch: Stretch) -> bool:
        return float(at[stretch[1]] - at[stretch[0]]) <= policy.teleport_lone_s

    def flag(stretch: Stretch) -> None:
        told[stretch[0] : stretch[1] + 1] = True

    if len(stretches) > STRETCHES_MAX:
        for stretch in stretches:
            if brief(stretch):
                flag(stretch)
        return told
    while (found := _fault(stretches, fits, brief)) is not None:
        begin, end = found
        for stretch in stretches[begin:end]:
            flag(stretch)
        stretches[begin - 1 : end + 1] = [(stretches[begin - 1][0], stretches[end][1])]
    for edge in (0, -1):
        if len(stretches) > 1 and brief(stretches[edge]):
            flag(stretches.pop(edge))
    for stretch in _contradicting(stretches, fits, east, north, told):
        flag(stretch)
    return told


def _fault(
    stretches: list[Stretch], fits: Callable[[Stretch, Stretch], bool], brief: Callable[[Stretch], bool]
) -> tuple[int, int] | None:
    """The likeliest fault: brief stretches `[begin, end)` between two that fit each other."""
    for count in range(1, FAULTS_MAX + 1):
        found = []
        for begin in range(1, len(stretches) - count):
            end = begin + count
            if all(brief(stretch) for stretch in stretches[begin:end]) and fits(stretches[begin - 1], stretches[end]):
                around = sum(last - first + 1 for first, last in (stretches[begin - 1], stretches[end]))
                found.append((around, -begin))
        if found:
            begin = -max(found)[1]
            return begin, begin + count
    return None


def _contradicting(
    stretches: list[Stretch], fits: Callable[[Stretch, Stretch], bool], east: Floats, north: Floats, told: Bools
) -> list[Stretch]:
    """Of long stretches, those that are not to be believed."""

    def fit(a: int, b: int) -> bool:
        """A stretch that does not exist fits everything."""
        return a < 0 or b >= len(stretches) or fits(stretches[a], stretches[b])

    found = []
    for k, (first, last) in enumerate(stretches):
        rows = np.arange(first, last + 1)[~told[first : last + 1]]
        before = not fit(k - 1, k) and not (k >= 2 and fit(k - 2, k))
        after = not fit(k, k + 1) and not (k + 2 < len(stretches) and fit(k, k + 2))
        between = not fit(k - 1, k) and not fit(k, k + 1)
        travelled = max(float(np.ptp(east[rows])), float(np.ptp(north[rows]))) >= TRAVEL_M
        if between or ((before or after) and not travelled):
            found.append((first, last))
    return found
