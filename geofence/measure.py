"""Measure: where each fix of many visits lies to the fence of its visit, how far it errs, for how long it tells anything, and what
it says of being there.

Each fix is measured alone, or beside its neighbours of the same phone, those of many visits in one pass (`tracks`).
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from geofence import likelihood
from geofence.evidence import Bools, Fixes, Floats, Ints
from geofence.plane import Extent, Fence, Plane, away, distances, turned
from geofence.policy import Policy
from geofence.tracks import Tracks, laid, tracks

SIGNIFICANT_MODES = frozenset({"significant", "quiet", "manual"})
"""Reporting modes in which a phone is silent while it is still."""
BOTH_95 = 1.62
"""A two-dimensional error is within this many of its 68 % radii with 95 %."""
AWHILE_S = 30.0
"""Who walks is further away after this than a phone errs in a street."""


class Seen(Struct, frozen=True, eq=False):
    """The fixes of one visit, in canonical order, and the ground that they are measured on."""

    fixes: Fixes
    plane: Plane
    fence: Fence


class Measured(Struct, frozen=True, eq=False):
    """What was measured of each fix of one visit."""

    east: Floats
    north: Floats
    distance: Floats
    """To the fence, negative within it."""
    radius: Floats
    """The reported one, or what is taken for it."""
    floor: Floats
    sigma: Floats
    horizon: Floats
    """How long the fix stays informative, seconds."""
    llr: Floats
    pull: Floats
    quiet: Bools
    """Made in a reporting mode in which a still phone is silent."""


def measure(seen: Sequence[Seen], policy: Policy) -> list[Measured]:
    """What is measured of each fix, visit by visit."""
    counts = [len(one.fixes.at) for one in seen]
    many = [one.fixes for one in seen]
    at, accuracy_m, speed_mps = (laid(many, name) for name in ("at", "accuracy_m", "speed_mps"))
    quiet = np.concatenate([_quiet(fixes) for fixes in many])
    east, north = _east_north(seen, counts)
    distance = distances([one.fence for one in seen], counts, east, north)
    of = tracks(many, np.ones(len(at), dtype=bool))
    radius = np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m)
    moving = _moving(of, at, east, north, radius, speed_mps) >= policy.moving_mps
    floor = likelihood.floor(moving, policy)
    sigma = likelihood.sigma(radius, floor, policy)
    llr, pull = likelihood.both(extent([one.fence for one in seen], counts), distance, sigma, floor, policy)
    moving[of.order] &= ~_resting(of, moving, at, east, north, radius, policy)
    horizon = _horizons(quiet, moving, policy)
    spans = [slice(end - n, end) for n, end in zip(counts, np.cumsum(counts).tolist(), strict=True)]
    return [
        Measured(
            east=east[span],
            north=north[span],
            distance=distance[span],
            radius=radius[span],
            floor=floor[span],
            sigma=sigma[span],
            horizon=horizon[span],
            llr=llr[span],
            pull=pull[span],
            quiet=quiet[span],
        )
        for span in spans
    ]


def extent(fences: Sequence[Fence], counts: Sequence[int]) -> Extent:
    """Of each fix the extent of its fence; so many fixes of each lie together."""
    return Extent(*(np.repeat([getattr(fence, name) for fence in fences], counts) for name in Extent.__struct_fields__))


def _quiet(fixes: Fixes) -> Bools:
    if SIGNIFICANT_MODES.isdisjoint(fixes.mode):
        return np.zeros(len(fixes.at), dtype=bool)
    return np.array([mode in SIGNIFICANT_MODES for mode in fixes.mode])


def _east_north(seen: Sequence[Seen], counts: Sequence[int]) -> tuple[Floats, Floats]:
    """Each fix on the plane of its visit."""
    fixes, planes = [one.fixes for one in seen], [one.plane for one in seen]
    turn = turned(laid(fixes, "lon") - np.repeat([plane.lon for plane in planes], counts))
    rise = laid(fixes, "lat") - np.repeat([plane.lat for plane in planes], counts)
    east_m, north_m = (np.repeat(metres, counts) for metres in zip(*(plane.metres for plane in planes), strict=True))
    return turn * east_m, rise * north_m


def _moving(of: Tracks, at: Floats, east: Floats, north: Floats, radius: Floats, speed_mps: Floats) -> Floats:
    """How fast a phone was when it made each fix: by the speed that it reports, else by its way to the fixes around.

    That is the way to either neighbour, less what the errors alone explain; the slower of the two, since who has just come in has
    come a long way and stays.
    """
    unnamed = np.isnan(speed_mps)
    if not unnamed.any():
        return speed_mps
    at, x, y, error = (column[of.order] for column in (at, east, north, radius))
    way = away(x[1:] - x[:-1], y[1:] - y[:-1]) - (error[1:] + error[:-1])
    pace = np.maximum(way, 0.0) / np.maximum(at[1:] - at[:-1], 1.0)
    pace[of.first[1:] > np.arange(len(pace))] = np.inf
    slower = np.concatenate((pace, [np.inf]))
    np.minimum(slower[1:], pace, out=slower[1:])
    slower[np.isinf(slower)] = 0.0
    travelled = np.empty(len(at))
    travelled[of.order] = slower
    return np.where(unnamed, travelled, speed_mps)


def _resting(of: Tracks, moving: Bools, at: Floats, east: Floats, north: Floats, radius: Floats, policy: Policy) -> Bools:
    """Whether a phone that was moving was nevertheless, half a minute and more before and after a fix, at the same place as far as
    its errors tell: then a single speed that it names is noise. Of each fix, in the order of tracks.
    """
    at, x, y, radius = (column[of.order] for column in (at, east, north, radius))
    here = np.flatnonzero(moving[of.order] & (of.last - of.first >= 2))
    stayed = np.ones(len(here), dtype=bool)
    for other in _awhile(of, at, here):
        east_m, north_m = x[here] - x[other], y[here] - y[other]
        stayed &= east_m * east_m + north_m * north_m <= BOTH_95**2 * (radius[here] ** 2 + radius[other] ** 2)
        stayed &= np.abs(at[other] - at[here]) <= 2.0 * policy.horizon_still_s
        stayed &= other != here
    resting = np.zeros(len(at), dtype=bool)
    resting[here] = stayed
    return resting


def _awhile(of: Tracks, at: Floats, here: Ints) -> tuple[Ints, Ints]:
    """The last fix of the track a while before each of some fixes, and the first a while after it; else its neighbours."""
    # One clock for all tracks, with more than a while between them. Times are multiples of what a float of today can tell, so that
    # no sum here is rounded.
    begins = of.first[1:] != of.first[:-1]
    step = at[1:] - at[:-1]
    step[begins] = 4.0 * AWHILE_S
    clock = np.zeros(len(at))
    np.cumsum(step, out=clock[1:])
    before = np.minimum(clock.searchsorted(clock[here] - AWHILE_S, side="right") - 1, here - 1)
    after = np.maximum(clock.searchsorted(clock[here] + AWHILE_S), here + 1)
    return np.maximum(before, of.first[here]), np.minimum(after, of.last[here])


def _horizons(quiet: Bools, moving: Bools, policy: Policy) -> Floats:
    """By the mode of the phone, else by whether it was moving."""
    horizon = np.where(moving, policy.horizon_moving_s, policy.horizon_still_s)
    horizon[quiet] = policy.horizon_significant_s
    return horizon
