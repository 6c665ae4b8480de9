"""Noise: which fixes tremble less than any receiver.

Two signs of a position that was made up. *Frozen*: it stays where it is, to half a metre, for ten minutes. *Smooth*: it moves on a
line and at a speed, without a sway, for twenty.

But not all that stands still was made up. Indoors a phone that lies on a table often has its position from the network: the same
numbers again and again, for as long as the same access points are heard best, and then those of another few. So where a radius is
one of the network's (`NETWORK_M` or more), a point is frozen only if it is nearly all that was told of the stay around it. And a
phone that rounds all it says, on the street too, stands still by rounding.
"""

import numpy as np
from msgspec import Struct

from geofence.evidence import Bools, Floats
from geofence.plane import away
from geofence.policy import Policy
from geofence.tracks import Tracks, edges

SAME_M, SAME_FIXES, SAME_ACCURACY_M = 0.12, 2, 20.0
"""The same position to the last of six digits, again and again, by a phone that claims to be better than Wi-Fi: fewer will do."""
SAME_SHARE = 0.9
"""And of the time a little less, which three reports every five minutes, or two of a phone that moves seldom, miss by a second."""
FROZEN_SPREAD = 3.0
"""A run of frozen fixes extends no further than so many times what one may tremble, or it crept somewhere."""
SMOOTH_M = 0.1
"""Off the line between its neighbours by less than this: the noise of any receiver that moves is tens of times larger."""
SMOOTH_FIXES = 10
SMOOTH_S = 1200.0
"""So many fixes and for so long: a few minutes of it may be a motorway, or a phone that fills a gap with a line."""
NETWORK_M = 10.0
"""A radius from here on may be that of Wi-Fi. [Android's positions of a phone at rest indoors: 10 to 40 m.]"""
POINTS_M = 60.0
"""Points of one stay are no further apart than this, or than two radii: a home hears the same networks from all of its rooms."""
MOST_OF_IT = 0.8
"""With two points or more in a stay, none makes up more of it than this; who made a point up has but that one."""
STRAYS = 3
"""So many fixes in a row elsewhere end a stay."""
ROUGH_DIGITS, ROUGH_PLACES = 4, 5
"""A phone whose coordinates all have so few decimals (11 m), at so many different places, rounds them."""
EXACT_DEG = 1e-9
"""What arithmetic may have added to a rounded coordinate on its way."""


class Laid(Struct, frozen=True, eq=False):
    """The fixes of tracks as columns, in their order. `step` is the way from each to the next, NaN from one track to another."""

    of: Tracks
    at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    east: Floats
    north: Floats
    step: Floats


def frozen(fixes: Laid, policy: Policy) -> Bools:
    """Fixes that hardly tremble, neither from one to the next nor all together, and ought to."""
    still = fixes.step <= policy.frozen_m
    told = _long_runs(fixes.at, still, policy.frozen_fixes, policy.frozen_s)
    claims = fixes.accuracy_m < SAME_ACCURACY_M
    told |= _long_runs(fixes.at, (fixes.step <= SAME_M) & claims[1:] & claims[:-1], SAME_FIXES, SAME_SHARE * policy.frozen_s)
    for run in _runs(still) if told.any() else []:
        if told[run].any():
            crept = max(np.ptp(fixes.east[run]), np.ptp(fixes.north[run])) > FROZEN_SPREAD * policy.frozen_m
            if crept or _one_of_several(run, fixes, policy) or _rounded(run, fixes):
                told[run] = False
    return told


def smooth(fixes: Laid, policy: Policy) -> Bools:
    """Fixes on a line at one speed: each lies where its neighbours say that it must, and they go somewhere."""
    at, east, north = fixes.at, fixes.east, fixes.north
    if len(at) < 3:
        return np.zeros(len(at), dtype=bool)
    share = np.diff(at)[:-1] / np.maximum(at[2:] - at[:-2], 1e-9)
    off = np.hypot(
        east[1:-1] - east[:-2] - share * (east[2:] - east[:-2]), north[1:-1] - north[:-2] - share * (north[2:] - north[:-2])
    )
    moves = fixes.step > policy.frozen_m
    between = (off <= SMOOTH_M) & moves[:-1] & moves[1:]
    # A step belongs to the line if the fix at either of its ends lies on it.
    steps = np.concatenate((between, [False])) | np.concatenate(([False], between))
    return _long_runs(at, steps, SMOOTH_FIXES, SMOOTH_S)


def _one_of_several(run: slice, fixes: Laid, policy: Policy) -> bool:
    """Whether a point is the network's, and one of several of a stay."""
    radius = fixes.accuracy_m[run]
    radius = np.sort(radius[~np.isnan(radius)])
    if not len(radius) or radius[len(radius) // 2] < NETWORK_M:
        return False
    first, end = int(fixes.of.first[run.start]), int(fixes.of.last[run.start]) + 1
    reach = max(POINTS_M, 2.0 * float(radius[len(radius) // 2]))
    off = away(fixes.east[first:end] - fixes.east[run.start], fixes.north[first:end] - fixes.north[run.start])
    # Nobody is known to be there before the track begins, or after it ends.
    beyond = np.pad(off > reach, STRAYS, constant_values=True)
    for_good = np.flatnonzero(np.convolve(beyond, np.ones(STRAYS), mode="valid") == STRAYS) + first - STRAYS
    came, went = for_good[for_good < run.start][-1] + STRAYS, for_good[for_good >= run.stop][0]
    # All fixes at that point, and not the run alone: a file that is played may stray once in a while.
    return bool(np.mean(off[came - first : went - first] <= FROZEN_SPREAD * policy.frozen_m) < MOST_OF_IT)


def _rounded(run: slice, fixes: Laid) -> bool:
    """Whether a phone rounds all of its coordinates, wherever it is."""
    track = slice(int(fixes.of.first[run.start]), int(fixes.of.last[run.start]) + 1)
    lon, lat = fixes.lon[track], fixes.lat[track]
    if any((np.abs(np.round(degrees, ROUGH_DIGITS) - degrees) > EXACT_DEG).any() for degrees in (lon, lat)):
        return False
    return len(set(zip(lon.tolist(), lat.tolist(), strict=True))) >= ROUGH_PLACES


def _long_runs(at: Floats, joined: Bools, fixes_min: int, span_s: float) -> Bools:
    """The fixes in runs of joined steps that are long enough, in fixes and in time, to be no coincidence."""
    told = np.zeros(len(at), dtype=bool)
    if np.count_nonzero(joined) >= fixes_min - 1:
        first, last = edges(joined)
        long = (last - first + 1 >= fixes_min) & (at[last] - at[first] >= span_s)
        for a, b in zip(first[long].tolist(), last[long].tolist(), strict=True):
            told[a : b + 1] = True
    return told


def _runs(joined: Bools) -> list[slice]:
    """The fixes of each run of joined steps."""
    return [slice(a, b + 1) for a, b in zip(*(ends.tolist() for ends in edges(joined)), strict=True)]
