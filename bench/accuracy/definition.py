"""Definition: the coverage of a visit, from the definition in words.md and what is really true of each report.

- A fix that is credible and has a radius of at most 150 m covers 120 s when the phone moved, 300 s when it was still, 1,200 s when
  its phone speaks only of significant changes; so does an app's check with such a fix (300 s). A check or credential at the home,
  and motion or power in a home where nobody lives by day while she is in it, covers 600 s.
- Each other expected second has the first cause that applies. What was never delivered is no evidence.

It is written with sets of seconds and knows no part of the engine.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from bench.accuracy.case import PASSING_S, Missing, Truth
from device_sim.spans import Span, common, seconds, union, without
from geofence.evidence import Bools, Floats

MOVING_S, STILL_S, SIGNIFICANT_S, HOME_SIDE_S = 120.0, 300.0, 1200.0, 600.0
ACCURACY_MAX_M = 150.0


class Seen(Struct, frozen=True, kw_only=True, eq=False):
    """What is true of the fixes that were delivered, and the other moments that show the worker, with how long each lasts."""

    at: Floats
    accuracy_m: Floats
    credible: Bools
    moving: Bools
    significant: bool
    others: Sequence[Span]
    permission_off: Sequence[Span]
    offline: Sequence[Span]
    power_save: Sequence[Span]


def presence(inside: Bools, first_s: float, planned: Span) -> tuple[Span, ...]:
    """When she was on site, from whether she was inside at each second from `first_s` on; without passing by."""
    edges = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0))
    spans = [(first_s + float(a), first_s + float(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    joined = [(start, end - 2.0) for start, end in union((start, end + 2.0) for start, end in spans)]
    return tuple(s for s in joined if s[1] - s[0] >= PASSING_S or (s[0] < planned[1] and s[1] > planned[0]))


def truth(on_site: tuple[Span, ...], planned: Span, seen: Seen) -> Truth:
    """The truth of one visit."""
    hull = [(on_site[0][0], on_site[-1][1])] if on_site else []
    expected = union([planned, *hull])
    horizon = np.where(seen.moving, MOVING_S, STILL_S)
    if seen.significant:
        horizon = np.full(len(seen.at), SIGNIFICANT_S)
    precise = seen.accuracy_m <= ACCURACY_MAX_M
    covered = union([*_reach(seen, seen.credible & precise, horizon), *seen.others])
    reasons = (
        ("permission_off", seen.permission_off),
        ("phone_offline", seen.offline),
        ("power_save", seen.power_save),
        ("poor_accuracy", _reach(seen, seen.credible & ~precise, horizon)),
        ("suspect", _reach(seen, ~seen.credible, horizon)),
        ("silent", expected),
    )
    left = without(expected, covered)
    missing = []
    for cause, spans in reasons:
        hit = common(left, union(spans))
        missing += [Missing(start, end, cause) for start, end in hit]
        left = without(left, hit)
    return Truth(
        on_site=on_site,
        seen_s=seconds(common(expected, covered)),
        expected_s=seconds(expected),
        missing=tuple(sorted(missing, key=lambda gap: gap.start)),
    )


def _reach(seen: Seen, rows: Bools, horizon: Floats) -> Iterable[Span]:
    return union(zip(seen.at[rows].tolist(), (seen.at + horizon)[rows].tolist(), strict=True))
