"""Tracks: the fixes of many visits laid end to end, and in them those of one phone in one visit, which is a track.

numpy takes longer to be asked than to do what is asked for the few hundred fixes of one visit. What is done fix by fix, or between
a fix and its neighbours in its track, is done for all visits in one pass, and comes to the same, to the last bit, in any company.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from geofence.evidence import Bools, Fixes, Floats, Ints


class Tracks(Struct, frozen=True, eq=False):
    """Fixes of many visits in the order of their tracks, and within those of time."""

    order: Ints
    """Which of the fixes, laid end to end, each of them is."""
    first: Ints
    """Of each, the first of its track,"""
    last: Ints
    """and the last."""


def laid(many: Sequence[Fixes], name: str) -> Floats:
    """A column of the fixes of all visits, end to end."""
    column: Floats = np.concatenate([getattr(fixes, name) for fixes in many])
    return column


def tracks(many: Sequence[Fixes], chosen: Bools) -> Tracks:
    """The tracks of the chosen ones of their fixes."""
    most = max(len(fixes.sources) for fixes in many)
    track = np.repeat(np.arange(len(many)) * most, [len(fixes.at) for fixes in many])
    order = np.flatnonzero(chosen)
    if most > 1:
        track += np.concatenate([fixes.source for fixes in many])
        order = order[np.argsort(track[order], kind="stable")]
    track = track[order]
    begins = np.flatnonzero(np.concatenate(([True], track[1:] != track[:-1])))
    lengths = np.diff(begins, append=len(track))
    return Tracks(order, np.repeat(begins, lengths), np.repeat(begins + lengths - 1, lengths))


def edges(joined: Bools) -> tuple[Ints, Ints]:
    """The first and the last fix of each run of joined steps; of a run of fixes, the first and the one behind the last."""
    at = np.flatnonzero(np.diff(joined, prepend=False, append=False))
    return at[::2], at[1::2]
