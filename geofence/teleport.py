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

And stays that begin or end between two fixes, a good way off (`_made_up`). Such a stay goes if the step is one that nobody makes
from standing to standing, while the phone was reporting all along; or if all its fixes claim the very same radius, to the last
digit, and the other fixes of that phone do not. Sparse phones show no way either: without one of the two, nothing is said.

A track that jumps more than `STRETCHES_MAX` times is no track: none of its brief stretches is believed.
"""

from collections.abc import Callable, Iterator
from itertools import chain, pairwise

import numpy as np

from geofence.evidence import Bools, Floats, Ints
from geofence.likelihood import RAYLEIGH_68
from geofence.policy import Policy
from geofence.tracks import edges

TRAVEL_M = 250.0
"""A stretch of track that extends this far shows a way, and not only the noise about one place."""
LEAP_M = 100.0
LEAP_MPS = 8.0
"""From door to door nobody gets further than this, and this for every second: a bicycle at full speed, a car that must be unlocked,
started and parked."""
LEAP_DOOR_S = 60.0
RIDE_MPS = 14.0
"""So much of a longer step goes for the doors of a car, and the rest is a ride through a town without lights."""
LEAP_HASTE = 1.5
LEAP_STEPS = 3
"""On the road she gets as far as her haste of a few steps before says, and half as much again: who arrives slows down."""
MIRROR_M = 150.0
MIRROR_MPS = 5.0
"""A step there and the same step back, each without a fix on the way, is made up from here on [bench/accuracy: it is the mark of a
position that is switched on and off]."""
LEAP_S = 300.0
"""In a longer step there is time for a fast road."""
SPRING_M = 150.0
SPRING_MPS = 20.0
SPRING_S = 150.0
"""Within two minutes, and what a timer of two minutes is late by, from where she reported all along to where she then stands: no
ride begins, is made and ends at 72 km/h."""
STAY_S, STAY_FIXES = 600.0, 3
"""What is shorter, or has fewer fixes, is no stay that proves anything."""
RADIUS_MAX_M = 20.0
"""Above it, a radius is that of Wi-Fi or cells, and phones repeat those."""
RADIUS_CHANCE = 1e-3
"""By chance a phone names one radius for so long no oftener than this, as its other fixes have it."""
WHOLE_CHANCE = 0.3
"""Of two radii in whole metres so many are the same, of one indoors."""
MEMORY_FIXES, MEMORY_BLOCK, MEMORY_STEP_S = 60, 30, 20.0
"""Of so many fixes, so close together, is asked whether their errors last; elsewhere in portions, between which she may move."""
MEMORY_LEAST, MEMORY_USUAL = 0.25, 0.5
"""Of an error the next one keeps .7 to .95 at a fix every ten seconds [bench/accuracy], and nothing of dice. A phone that
forgets everywhere is simulated, or filters nothing: that is no reproach to one stay."""
SILENCE = 4.0
"""Who says nothing for so many of its intervals is silent."""
STILL_M = 60.0
"""A step shorter than this and than its errors is that of somebody who stands still."""
STRAYS_MAX, STRAYS_S = 3, 120.0
"""So many fixes in a row, and for so long, are astray before a receiver finds back."""
FAULTS_MAX = 4
"""So many brief stretches in a row may be faults that have nothing to do with each other."""
STRETCHES_MAX = 60
"""Beyond it one phone reports for two, or a file is played: no fix says which of the places was true."""

Stretch = tuple[int, int]
"""The first and the last of its fixes, both included; what was found to be a fault may lie between."""


def teleported(at: Floats, east: Floats, north: Floats, accuracy_m: Floats, policy: Policy) -> Bools:
    """Which fixes of one phone, in the order of time and in metres about any place, are where nobody could have been."""
    error = _error(accuracy_m, policy)
    step, took, blur = np.hypot(np.diff(east), np.diff(north)), np.diff(at), error[:-1] + error[1:]
    wild = step - blur > policy.teleport_mps * (took + 1.0)
    far_off = (step - blur > LEAP_M).any()
    if not (wild.any() or far_off):
        return np.zeros(len(at), dtype=bool)
    stray = _strays(at, east, north, step, blur) if far_off else np.zeros(len(at), dtype=bool)
    faults = _half_wild(stray, wild)
    fit = np.flatnonzero(~faults)
    told = faults.copy()
    wrong, doubted = _impossible(at[fit], east[fit], north[fit], error[fit], policy)
    faults[fit[wrong]] = True
    told[fit[wrong | doubted]] = True
    if not far_off:
        return told
    own = np.flatnonzero(~stray)
    leapt = _leapt(at[own], east[own], north[own], error[own], told[own])
    told[own] |= leapt
    # Who is vague for a while is nowhere in it, and comes back from nowhere. What is only doubted was nevertheless sprung to.
    own = own[~(leapt | faults[own] | (accuracy_m[own] > policy.accuracy_max_m))]
    if len(own) > STAY_FIXES:
        told[own] |= _made_up(at[own], east[own], north[own], accuracy_m[own], error[own])
    return told


def far(step: Floats, accuracy_m: Floats, policy: Policy) -> Bools:
    """Which steps are so long, beyond what their errors explain, that anything could be told here of a track that has them."""
    error = _error(accuracy_m, policy)
    beyond: Bools = step - (error[:-1] + error[1:]) > min(LEAP_M, policy.teleport_mps)
    return beyond


def _error(accuracy_m: Floats, policy: Policy) -> Floats:
    """How far a fix may be off: two standard deviations of an axis."""
    return np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m) * (2.0 / RAYLEIGH_68)


def _strays(at: Floats, east: Floats, north: Floats, step: Floats, blur: Floats) -> Bools:
    """Fixes that go off and come back, one alone or a few within moments: nobody leaps by them, and nobody made them up."""
    stray = np.zeros(len(at), dtype=bool)
    far = step - blur > LEAP_M
    for count in range(1, STRAYS_MAX + 1):
        gone = np.flatnonzero(far[: len(far) - count] & far[count:])
        back = gone + count + 1
        home = np.hypot(east[back] - east[gone], north[back] - north[gone]) <= np.minimum(blur[gone] + blur[back - 1], STILL_M)
        brief = (at[back] - at[gone] <= STRAYS_S) | (count == 1)
        for first in gone[home & brief].tolist():
            stray[first + 1 : first + 1 + count] = True
    return stray


def _leapt(at: Floats, east: Floats, north: Floats, error: Floats, faults: Bools) -> Bools:
    """The places that were leapt to and from: she stands there behind one step that nobody could have made, and before another."""
    told = np.zeros(len(at), dtype=bool)
    step, took, blur = np.hypot(np.diff(east), np.diff(north)), np.diff(at), error[:-1] + error[1:]
    far = np.flatnonzero((step - blur > MIRROR_M) & (step - blur > MIRROR_MPS * took) & (took <= LEAP_S))
    if len(far) < 2:
        return told
    stood = (step <= np.minimum(blur, STILL_M)) & (took <= LEAP_S)
    pace = step / np.maximum(took, 1.0)

    def leap(k: int, before: slice) -> bool:
        """Whether she went no such way in the time, as fast as she was on the way before it (or behind it)."""
        usual = LEAP_HASTE * float(pace[before].max(initial=0.0))
        ride_s = max(float(took[k]) - LEAP_DOOR_S, 0.0)
        far_m = LEAP_M + max(LEAP_MPS, usual) * float(took[k]) + max(RIDE_MPS - max(LEAP_MPS, usual), 0.0) * ride_s
        return bool(step[k] - blur[k] > far_m)

    def mirrored(one: int, two: int) -> bool:
        """Whether one step is the other back again, and neither is one of many on a way."""
        apart = float(np.hypot(east[two + 1] - east[one], north[two + 1] - north[one]))
        longest = max(float(step[one]), float(step[two]))
        sides = (step[max(one - LEAP_STEPS, 0) : one], step[two + 1 : two + 1 + LEAP_STEPS])
        around = np.concatenate(sides)
        alone = len(around) > 0 and min(float(step[one]), float(step[two])) >= 3.0 * float(np.median(around))
        # Who rode up to the door, and is driven off again, was as fast before the one or after the other.
        faster = [step[k] >= LEAP_HASTE * np.median(side) for k, side in zip((one, two), sides, strict=True) if len(side)]
        brief = max(float(took[one]), float(took[two])) <= SPRING_S
        return brief and alone and all(faster) and apart <= max(TRAVEL_M, 0.3 * longest)

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


def _made_up(at: Floats, east: Floats, north: Floats, accuracy_m: Floats, error: Floats) -> Bools:
    """Stays without a way to them that were sprung to or from, or whose fixes all claim one radius."""
    told = np.zeros(len(at), dtype=bool)
    far = np.hypot(np.diff(east), np.diff(north)) - error[:-1] - error[1:]
    if not (far > LEAP_M).any():
        return told

    def stays(first: int, last: int) -> bool:
        inside = slice(first, last + 1)
        long = last - first + 1 >= STAY_FIXES and at[last] - at[first] >= STAY_S
        return bool(long and max(np.ptp(east[inside]), np.ptp(north[inside])) < TRAVEL_M)

    made = chain(_sprung(at, east, north, far), _of_one_radius(accuracy_m, far), _without_memory(at, east, north, far))
    for first, last in made:
        if stays(first, last):
            told[first : last + 1] = True
    return told


def _sprung(at: Floats, east: Floats, north: Floats, far: Floats) -> Iterator[Stretch]:
    """Stretches without a far step that begin with a spring from where the phone reported all along, unless it came back by it;
    or that end with one, and nobody saw her come.
    """
    took = np.diff(at)
    springs = (far > SPRING_M + SPRING_MPS * took) & (took <= SPRING_S)
    edges = np.flatnonzero(far > LEAP_M) if springs.any() else np.zeros(0, dtype=np.int64)

    def sprung(step: int, around: slice) -> bool:
        """Whether a step was a spring beside steps of a phone that was awake, and by much faster than those."""
        if not (0 <= step < len(took) and springs[step] and len(took[around]) == LEAP_STEPS):
            return False
        usual = LEAP_HASTE * float((far[around] / np.maximum(took[around], 1.0)).max())
        return bool(took[around].max() <= SPRING_S and far[step] > usual * took[step])

    left = -1
    for first, last in _between(edges, len(at)):
        into = sprung(first - 1, slice(max(first - 1 - LEAP_STEPS, 0), max(first - 1, 0)))
        out_of = sprung(last, slice(last + 1, last + 1 + LEAP_STEPS))
        back = into and left >= 0 and float(np.hypot(east[first] - east[left], north[first] - north[left])) < TRAVEL_M
        seen_to_come = back or (first > 0 and took[first - 1] <= LEAP_S)
        if (into and not back) or (out_of and not seen_to_come):
            yield first, last
        left = first - 1 if into and not back else -1


def _of_one_radius(accuracy_m: Floats, far: Floats) -> Iterator[Stretch]:
    """Stays that claim one radius and were come to and left in a step, one of them a far one, by a phone that has no such habit:
    neither of this radius, the best that it can under an open sky, nor of repeating any, nor of whole numbers.
    """
    same = np.diff(accuracy_m) == 0.0
    fixes, repeats = len(accuracy_m), int(np.count_nonzero(same))
    least = WHOLE_CHANCE if (accuracy_m == np.round(accuracy_m)).all() else 0.0
    for first, last in _between(np.flatnonzero(~same | (far > LEAP_M)), fixes):
        count = last - first + 1
        if count < STAY_FIXES or not accuracy_m[first] < RADIUS_MAX_M:
            continue
        edges = [far[step] for step in (first - 1, last) if 0 <= step < len(far)]
        if min(edges, default=0.0) <= 0.0 or max(edges) <= LEAP_M:
            continue
        named = int(np.count_nonzero(accuracy_m == accuracy_m[first])) - count
        if named >= 2 and accuracy_m[first] == accuracy_m.min():
            continue
        chance = max((named + 1.0) / (fixes - count + 2.0), (repeats - count + 2.0) / (fixes - count + 2.0), least)
        if chance ** (count - 1) <= RADIUS_CHANCE:
            yield first, last


def _without_memory(at: Floats, east: Floats, north: Floats, far: Floats) -> Iterator[Stretch]:
    """Stretches to which and from which nobody saw a way, in which each error forgets the one before it, by a phone whose errors
    elsewhere last: a receiver that makes a fix every few seconds follows its last one, and dice do not.
    """
    stretches = list(_between(np.flatnonzero(far > LEAP_M), len(at)))
    doubted = []
    for first, last in stretches[1:-1]:
        rows = slice(first, last + 1)
        often = last - first + 1 >= MEMORY_FIXES and float(np.median(np.diff(at[rows]))) <= MEMORY_STEP_S
        if often and _echo([rows], east, north) < MEMORY_LEAST:
            doubted.append((first, last))
    if not doubted:
        return
    elsewhere = [
        slice(begin, begin + MEMORY_BLOCK)
        for first, last in stretches
        if (first, last) not in doubted
        for begin in range(first, last + 2 - MEMORY_BLOCK, MEMORY_BLOCK)
    ]
    still = [rows for rows in elsewhere if at[rows.stop - 1] - at[rows.start] <= MEMORY_STEP_S * MEMORY_BLOCK]
    still = [rows for rows in still if max(np.ptp(east[rows]), np.ptp(north[rows])) < TRAVEL_M]
    if len(still) * MEMORY_BLOCK >= MEMORY_FIXES and _echo(still, east, north) > MEMORY_USUAL:
        yield from doubted


def _echo(blocks: list[slice], east: Floats, north: Floats) -> float:
    """How much of an error the next one still has, of fixes in a row that stand; wild ones count no more than four σ."""
    power = shared = 0.0
    for rows in blocks:
        for axis in (east[rows], north[rows]):
            off = axis - np.median(axis)
            reach = 6.0 * float(np.median(np.abs(off))) + 1e-9
            off = np.clip(off, -reach, reach)
            power += float((off * off).mean()) * (len(off) - 1)
            shared += float((off[1:] * off[:-1]).sum())
    return shared / power if power > 0.0 else 1.0


def _between(edges: Ints, fixes: int) -> Iterator[Stretch]:
    """The stretches that such steps cut a track into."""
    yield from zip([0, *(edges + 1).tolist()], [*edges.tolist(), fixes - 1], strict=True)


def _half_wild(stray: Bools, wild: Bools) -> Bools:
    """Strays of which one step is impossible and the other, which took longer, is not. By the jump alone they would be the end of
    what was before it, and all that is honest behind it would be cut off.
    """
    told = np.zeros(len(stray), dtype=bool)
    for first, end in zip(*(ends.tolist() for ends in edges(stray)), strict=True):
        into, out_of = first > 0 and wild[first - 1], end <= len(wild) and wild[end - 1]
        told[first:end] = into != out_of
    return told


def _impossible(at: Floats, east: Floats, north: Floats, error: Floats, policy: Policy) -> tuple[Bools, Bools]:
    """Of the stretches between impossible steps, those that are faults, and those of which nobody knows which was true."""
    told = np.zeros(len(at), dtype=bool)
    hops = np.hypot(np.diff(east), np.diff(north)) - error[:-1] - error[1:]
    jumps = np.flatnonzero(hops > policy.teleport_mps * (np.diff(at) + 1.0))
    if not len(jumps):
        return told, told.copy()
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
        return told, np.zeros(len(at), dtype=bool)
    while (found := _fault(stretches, fits, brief)) is not None:
        begin, end = found
        for stretch in stretches[begin:end]:
            flag(stretch)
        stretches[begin - 1 : end + 1] = [(stretches[begin - 1][0], stretches[end][1])]
    for edge in (0, -1):
        if len(stretches) > 1 and brief(stretches[edge]):
            flag(stretches.pop(edge))
    doubted = np.zeros(len(at), dtype=bool)
    for stretch, fault in _contradicting(stretches, fits, at, east, north, told):
        if fault:
            flag(stretch)
        else:
            doubted[stretch[0] : stretch[1] + 1] = True
    return told, doubted & ~told


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
    stretches: list[Stretch], fits: Callable[[Stretch, Stretch], bool], at: Floats, east: Floats, north: Floats, told: Bools
) -> list[tuple[Stretch, bool]]:
    """Of long stretches, those that are not to be believed, and whether what is around them fits without them."""

    def fit(a: int, b: int) -> bool:
        """A stretch that does not exist fits everything."""
        return a < 0 or b >= len(stretches) or fits(stretches[a], stretches[b])

    found = []
    for k, (first, last) in enumerate(stretches):
        rows = np.arange(first, last + 1)[~told[first : last + 1]]
        before = not fit(k - 1, k) and not (k >= 2 and fit(k - 2, k))
        after = not fit(k, k + 1) and not (k + 2 < len(stretches) and fit(k, k + 2))
        between = not fit(k - 1, k) and not fit(k, k + 1)
        ways = _seen(rows, at, east, north)
        travelled = any(max(float(np.ptp(east[way])), float(np.ptp(north[way]))) >= TRAVEL_M for way in ways)
        if between or ((before or after) and not travelled):
            found.append(((first, last), 0 < k < len(stretches) - 1 and fits(stretches[k - 1], stretches[k + 1])))
    return found


def _seen(rows: Ints, at: Floats, east: Floats, north: Floats) -> list[Ints]:
    """Fixes of a stretch between the steps that were made in a silence, as that phone speaks: a leap in the dark is no way."""
    if len(rows) < 2:
        return [rows]
    took = np.diff(at[rows])
    far = np.hypot(np.diff(east[rows]), np.diff(north[rows])) > LEAP_M
    return np.split(rows, np.flatnonzero(far & (took > SILENCE * np.median(took))) + 1)
