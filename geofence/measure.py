"""Measure: where each fix of many visits lies to the fence of its visit, how far it errs, for how long it tells anything, and what
it says of being there.

Each fix is measured alone, or beside its neighbours of the same phone; so the fixes of many visits are laid end to end, and every
step is one pass over all of them. numpy takes longer to be asked than to do what is asked for the few hundred fixes of one visit.

- What a fix comes to does not depend, to the last bit, on the visits beside it: every step is done element by element.
- A *track* is the fixes of one phone in one visit. Which way a phone went between two fixes is asked within its track only.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from geofence import likelihood
from geofence.evidence import Bools, Fixes, Floats, Ints
from geofence.plane import Extent, Fence, Plane, distances, turned
from geofence.policy import Policy

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


class _Tracks(Struct, frozen=True, eq=False):
    """The fixes of many visits in the order of their tracks, and of each there the first and the last of its track."""

    order: Ints | slice
    first: Ints
    last: Ints


def measure(seen: Sequence[Seen], policy: Policy) -> list[Measured]:
    """What is measured of each fix, visit by visit."""
    counts = [len(one.fixes.at) for one in seen]
    at, accuracy_m, speed_mps = (_laid(seen, name) for name in ("at", "accuracy_m", "speed_mps"))
    quiet = np.concatenate([_quiet(one.fixes) for one in seen])
    east, north = _east_north(seen, counts)
    distance = distances([one.fence for one in seen], counts, east, north)
    radius = np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m)
    tracks = _tracks(seen, counts)
    moving = _moving(tracks, at, east, north, radius, speed_mps) >= policy.moving_mps
    floor = likelihood.floor(moving, policy)
    sigma = likelihood.sigma(radius, floor, policy)
    resting = _resting(tracks, at, east, north, radius, policy)
    llr, pull = likelihood.both(extent([one.fence for one in seen], counts), distance, sigma, floor, policy)
    horizon = _horizons(quiet, moving & ~resting, policy)
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


def _laid(seen: Sequence[Seen], name: str) -> Floats:
    """A column of the fixes of all visits, end to end."""
    column: Floats = np.concatenate([getattr(one.fixes, name) for one in seen])
    return column


def _quiet(fixes: Fixes) -> Bools:
    if SIGNIFICANT_MODES.isdisjoint(fixes.mode):
        return np.zeros(len(fixes.at), dtype=bool)
    return np.array([mode in SIGNIFICANT_MODES for mode in fixes.mode])


def _east_north(seen: Sequence[Seen], counts: Sequence[int]) -> tuple[Floats, Floats]:
    """Each fix on the plane of its visit."""
    lon, lat = (np.repeat([getattr(one.plane, name) for one in seen], counts) for name in ("lon", "lat"))
    metres = np.repeat([one.plane.metres for one in seen], counts, axis=0).T
    return turned(_laid(seen, "lon") - lon) * metres[0], (_laid(seen, "lat") - lat) * metres[1]


def _tracks(seen: Sequence[Seen], counts: Sequence[int]) -> _Tracks:
    most = max(len(one.fixes.sources) for one in seen)
    track = np.repeat(np.arange(len(seen)), counts)
    order: Ints | slice = slice(None)
    if most > 1:
        track = track * most + np.concatenate([one.fixes.source for one in seen])
        order = np.argsort(track, kind="stable")
        track = track[order]
    begins = np.concatenate(([True], track[1:] != track[:-1])).nonzero()[0]
    lengths = np.diff(begins, append=len(track))
    return _Tracks(order, np.repeat(begins, lengths), np.repeat(begins + lengths - 1, lengths))


def _moving(tracks: _Tracks, at: Floats, east: Floats, north: Floats, radius: Floats, speed_mps: Floats) -> Floats:
    """How fast a phone was when it made each fix: by the speed that it reports, else by its way to the fixes around.

    That is the way to either neighbour, less what the errors alone explain; the slower of the two, since who has just come in has
    come a long way and stays.
    """
    unnamed = np.isnan(speed_mps)
    if not unnamed.any():
        return speed_mps
    at, x, y, error = (column[tracks.order] for column in (at, east, north, radius))
    x, y = x[1:] - x[:-1], y[1:] - y[:-1]
    way = np.sqrt(x * x + y * y) - (error[1:] + error[:-1])
    pace = np.maximum(way, 0.0) / np.maximum(at[1:] - at[:-1], 1.0)
    pace[tracks.first[1:] > np.arange(len(pace))] = np.inf
    slower = np.concatenate((pace, [np.inf]))
    np.minimum(slower[1:], pace, out=slower[1:])
    slower[np.isinf(slower)] = 0.0
    travelled = np.empty(len(at))
    travelled[tracks.order] = slower
    return np.where(unnamed, travelled, speed_mps)


def _resting(tracks: _Tracks, at: Floats, east: Floats, north: Floats, radius: Floats, policy: Policy) -> Bools:
    """Whether a phone was, half a minute and more before and after each fix, at the same place as far as its errors tell: then a
    single speed that it names is noise.
    """
    at, x, y, radius = (column[tracks.order] for column in (at, east, north, radius))
    here, (before, after) = np.arange(len(at)), _awhile(tracks, at)
    radius2 = BOTH_95**2 * (radius * radius)
    stayed = tracks.last - tracks.first >= 2
    for other in (before, after):
        east_m, north_m = x - x[other], y - y[other]
        stayed &= east_m * east_m + north_m * north_m <= radius2 + radius2[other]
        stayed &= np.abs(at[other] - at) <= 2.0 * policy.horizon_still_s
        stayed &= other != here
    resting = np.empty(len(at), dtype=bool)
    resting[tracks.order] = stayed
    return resting


def _awhile(tracks: _Tracks, at: Floats) -> tuple[Ints, Ints]:
    """The last fix of the track a while before each fix, and the first a while after it; else its neighbours."""
    # One clock for all tracks, with more than a while between them. Times are multiples of what a float of today can tell, so that
    # no sum here is rounded.
    begins = tracks.first[1:] != tracks.first[:-1]
    step = at[1:] - at[:-1]
    step[begins] = 4.0 * AWHILE_S
    clock = np.zeros(len(at))
    np.cumsum(step, out=clock[1:])
    here = np.arange(len(at))
    before = np.minimum(clock.searchsorted(clock - AWHILE_S, side="right") - 1, here - 1)
    after = np.maximum(clock.searchsorted(clock + AWHILE_S), here + 1)
    return np.maximum(before, tracks.first), np.minimum(after, tracks.last)


def _horizons(quiet: Bools, moving: Bools, policy: Policy) -> Floats:
    """By the mode of the phone, else by whether it was moving."""
    horizon = np.where(moving, policy.horizon_moving_s, policy.horizon_still_s)
    horizon[quiet] = policy.horizon_significant_s
    return horizon
