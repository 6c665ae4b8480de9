"""Intervals: sets of half-open stretches `[start, end)` of whole milliseconds, so that sums are exact.

A set is a list of stretches that are not empty, do not touch, and are in order.
"""

from collections.abc import Iterable

import numpy as np

from geofence.evidence import Floats

Stretch = tuple[int, int]
Stretches = list[Stretch]


def ms(seconds: float) -> int:
    """Seconds to whole milliseconds."""
    return round(seconds * 1000.0)


def union(stretches: Iterable[Stretch]) -> Stretches:
    """The set that any stretches cover together."""
    out: Stretches = []
    for start, end in sorted(s for s in stretches if s[0] < s[1]):
        if out and start <= out[-1][1]:
            if end > out[-1][1]:
                out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def covered(start_s: Floats, length_s: Floats) -> Stretches:
    """The set that many stretches cover, from columns in seconds, in any order."""
    if not len(start_s):
        return []
    order = np.argsort(start_s, kind="stable")
    start = np.rint(start_s[order] * 1000.0).astype(np.int64)
    reach = np.maximum.accumulate(start + np.rint(length_s[order] * 1000.0).astype(np.int64))
    breaks = np.flatnonzero(start[1:] > reach[:-1])
    first = np.concatenate(([0], breaks + 1))
    last = np.concatenate((breaks, [len(start) - 1]))
    return [(a, b) for a, b in zip(start[first].tolist(), reach[last].tolist(), strict=True) if a < b]


def intersect(a: Stretches, b: Stretches) -> Stretches:
    """What is in both sets."""
    out: Stretches = []
    i = j = 0
    while i < len(a) and j < len(b):
        start, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < end:
            out.append((start, end))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return out


def subtract(a: Stretches, b: Stretches) -> Stretches:
    """What is in the first set and not in the second."""
    out: Stretches = []
    j = 0
    for start, end in a:
        while j < len(b) and b[j][1] <= start:
            j += 1
        k = j
        while k < len(b) and b[k][0] < end:
            if start < b[k][0]:
                out.append((start, b[k][0]))
            start = b[k][1]
            k += 1
        if start < end:
            out.append((start, end))
    return out


def length(stretches: Stretches) -> int:
    """Milliseconds in a set."""
    return sum(end - start for start, end in stretches)
