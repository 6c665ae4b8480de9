"""Credibility: which fixes are not to be believed, and all the reasons why.

A flag is a question for a person and never a proof: flagged fixes are kept, count for little, cover nothing, and cannot verify a
visit alone. All reasons that apply are collected, as bits of one integer per fix:

| flag | the fix |
|---|---|
| mock | was marked by the phone as coming from a mock provider |
| teleport | lies on a stretch of track that nobody could have travelled to or from |
| frozen | repeats its neighbours' coordinates to the decimetre for many fixes and minutes; receivers are noisy, files are not |
| stale_ping | says by itself that it repeats an old position with a new time |
| clock_skew | comes from the future of the moment we got it |
| impossible_accuracy | claims a radius no phone reaches |

Teleports: impossible steps cut a phone's track into stretches. A short stretch whose neighbours fit each other is a lone outlier
and alone is flagged. Of long stretches that contradict each other, the one between two that fit each other is flagged. Of two,
those are flagged that never went anywhere: who was carried to a place by a jump has no way there, and who walked has.
"""

import numpy as np

from geofence.evidence import Bools, Fixes, Floats, Ints
from geofence.likelihood import RAYLEIGH_68
from geofence.plane import EARTH_M
from geofence.policy import Policy

NAMES = ("mock", "teleport", "frozen", "stale_ping", "clock_skew", "impossible_accuracy")
MOCK, TELEPORT, FROZEN, STALE_PING, CLOCK_SKEW, IMPOSSIBLE_ACCURACY = (1 << bit for bit in range(len(NAMES)))
TRAVEL_M = 250.0
"""A stretch of track that extends this far shows a way, and not only the noise about one place."""
SPOOF = MOCK | TELEPORT | FROZEN
"""The flags that look like intent."""


def flags(fixes: Fixes, policy: Policy) -> tuple[tuple[str, ...], ...]:
    """The names of the flags of each fix, in the order of `NAMES`. Fixes are in the order of (at, source, identity)."""
    return tuple(names(int(mask)) for mask in masks(fixes, policy))


def names(mask: int) -> tuple[str, ...]:
    """The names of the bits of one mask."""
    return tuple(name for bit, name in enumerate(NAMES) if mask >> bit & 1)


def masks(fixes: Fixes, policy: Policy) -> Ints:
    """The flags of each fix as bits."""
    mask = np.zeros(len(fixes.at), dtype=np.int64)
    if not len(mask):
        return mask
    mask[fixes.mock] |= MOCK
    mask[fixes.ping] |= STALE_PING
    mask[fixes.at > fixes.received_at + policy.clock_ahead_max_s] |= CLOCK_SKEW
    mask[fixes.accuracy_m < policy.accuracy_min_m] |= IMPOSSIBLE_ACCURACY
    for source in range(len(fixes.sources)):
        # A ping repeats coordinates by design: it must neither freeze a track nor hide that it moved. What is flagged as mock or
        # frozen already is no reproach to real positions, however far it lies from them.
        own = np.flatnonzero((fixes.source == source) & ~fixes.ping & ~fixes.mock)
        if len(own) > 1:
            east, north = _metres(fixes, own)
            # A cell's position is the tower's, and the same each time: only what claims to be precise can be too still to be true.
            frozen = _frozen(fixes.at[own], east, north, policy) & ~(fixes.accuracy_m[own] > policy.accuracy_max_m)
            mask[own[frozen]] |= FROZEN
            real, east, north = own[~frozen], east[~frozen], north[~frozen]
            if len(real) > 1:
                mask[real[_teleported(fixes.at[real], east, north, fixes.accuracy_m[real], policy)]] |= TELEPORT
    return mask


def _metres(fixes: Fixes, own: Ints) -> tuple[Floats, Floats]:
    """Metres about the first fix: only differences are used."""
    lon, lat = fixes.lon[own], fixes.lat[own]
    metres = np.radians(1.0) * EARTH_M
    turn = (lon - lon[0] + 180.0) % 360.0 - 180.0
    return turn * metres * np.cos(np.radians(lat)), (lat - lat[0]) * metres


def _frozen(at: Floats, east: Floats, north: Floats, policy: Policy) -> Bools:
    moved = np.hypot(np.diff(east), np.diff(north)) > policy.frozen_m
    run = np.concatenate(([0], np.cumsum(moved)))
    first = np.searchsorted(run, run, side="left")
    last = np.searchsorted(run, run, side="right") - 1
    return (last - first + 1 >= policy.frozen_fixes) & (at[last] - at[first] >= policy.frozen_s)


def _teleported(at: Floats, east: Floats, north: Floats, accuracy_m: Floats, policy: Policy) -> Bools:
    error = np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m) * (2.0 / RAYLEIGH_68)

    def possible(a: Ints, b: Ints) -> Bools:
        """Whether somebody gets from fix a to fix b in time, with two σ for either error and a second for the clocks."""
        way = np.hypot(east[b] - east[a], north[b] - north[a]) - error[a] - error[b]
        reachable: Bools = way <= policy.teleport_mps * (at[b] - at[a] + 1.0)
        return reachable

    told = np.zeros(len(at), dtype=bool)
    index = np.arange(len(at))
    jumps = np.flatnonzero(~possible(index[:-1], index[1:]))
    if not len(jumps):
        return told
    first = np.concatenate(([0], jumps + 1))
    last = np.concatenate((jumps, [len(at) - 1]))

    def fit(a: int, b: int) -> bool:
        """Whether stretch b can follow stretch a; a stretch that does not exist fits everything."""
        return a < 0 or b >= len(stretches) or bool(possible(last[stretches[a]], first[stretches[b]]))

    stretches = list(range(len(first)))
    k = 0
    while k < len(stretches):  # Lone outliers go first, since what remains must be judged without them.
        lone = at[last[stretches[k]]] - at[first[stretches[k]]] <= policy.teleport_lone_s
        if lone and len(stretches) > 1 and fit(k - 1, k + 1):
            told[first[stretches[k]] : last[stretches[k]] + 1] = True
            del stretches[k]
            k = max(k - 1, 0)
        else:
            k += 1
    for k, stretch in enumerate(stretches):
        rows = slice(first[stretch], last[stretch] + 1)
        before = not fit(k - 1, k) and not (k >= 2 and fit(k - 2, k))
        after = not fit(k, k + 1) and not (k + 2 < len(stretches) and fit(k, k + 2))
        between = not fit(k - 1, k) and not fit(k, k + 1)
        travelled = max(float(np.ptp(east[rows])), float(np.ptp(north[rows]))) >= TRAVEL_M
        if between or ((before or after) and not travelled):
            told[rows] = True
    return told
