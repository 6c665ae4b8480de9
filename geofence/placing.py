"""Placing: put each arrival and departure that the chain found where the fixes around it say that it was (see `crossing`).

The chain decides that there was a crossing; between the nodes that are beyond doubt on either side of it, its curve is replaced by
the distribution function of the moment. Left as they are: a crossing within a long silence, where only the plan speaks, and one
from or to another of her places next door, where the plan and the places as wholes tell more than the way between them.
"""

import numpy as np
from msgspec.structs import replace

from geofence import crossing
from geofence.curve import Curve, Run, above
from geofence.likelihood import RAYLEIGH_68
from geofence.policy import Policy
from geofence.presence import Observations
from geofence.witness import Witness

BRIDGE_S = 900.0
"""Geometry tells when a fence was crossed between fixes at most this far apart; beyond it nobody knows what happened between."""
REACH_S = 900.0
"""Fixes further from a crossing than this do not bear on it."""
SIDE_FIXES = 30
"""About so many are looked at, whatever the interval: thinned evenly, if there are more."""
PAD_S = 40.0
"""So far the crossing may lie beyond what the chain thinks beyond doubt."""
SETTLED_S = 60.0
"""The first and last minute of a stay say little about where in the home it was."""
BEYOND_DOUBT = 0.02
PORCH_MPS = 2.0
"""As deep as she stays over this is how long she takes from the fence to the door: half-way in, at a metre a second."""
NEXT_DOOR = 0.3
"""From this probability of being at another of her places on, a crossing is left to the chain."""


def placed(curve: Curve, beside: Curve, witness: Witness, seen: Observations, policy: Policy) -> Curve:
    """The curve with each of its crossings placed. `beside` is the probability of being at another of her places near by."""
    fixes = witness.fixes
    hints = {arrives: _hints(witness, seen, arrives, policy) for arrives in (True, False)}
    track = crossing.Track(
        at=fixes.at,
        east_m=witness.east,
        north_m=witness.north,
        distance_m=witness.distance,
        sigma_m=np.maximum(witness.radius / RAYLEIGH_68, crossing.LEAST_M),
        weight=np.where(witness.precise, witness.weight, 0.0),
    )
    edges = [float(curve.at[0]), *(edge for run in above(curve, 0.5) for edge in run), float(curve.at[-1])]
    usual = _usual(witness, policy)
    for k in range(1, len(edges) - 1):
        before, edge, after = edges[k - 1 : k + 2]
        if before < edge < after:
            arrives = k % 2 == 1
            sure = _between(curve, (before, edge, after), arrives)
            if not _next_door(beside, edge, sure, arrives):
                curve = _one(curve, track, hints[arrives], (before, edge, after), sure, arrives, usual, policy)
    return curve


def _usual(witness: Witness, policy: Policy) -> crossing.Habit:
    fence = witness.fence
    return crossing.Habit(
        east_m=fence.east_m,
        north_m=fence.north_m,
        depth_m=-fence.thickness_m / 4.0,
        scatter_m=policy.sigma_floor_still_m,
        scale=crossing.RADIUS_USUAL,
        lasts_s=policy.error_lasts_s,
    )


def _between(curve: Curve, edges: tuple[float, float, float], arrives: bool) -> Run:
    """From the last node before a crossing that is beyond doubt on its side to the first after it, no further than half of the
    way to the crossings next to it.
    """
    before, edge, after = edges
    low, high = max((before + edge) / 2.0, edge - REACH_S), min((edge + after) / 2.0, edge + REACH_S)
    first, middle = curve.at.searchsorted((low, edge)).tolist()
    beyond, last = curve.at.searchsorted((edge, high), side="right").tolist()
    left, right = curve.on[first:middle], curve.on[beyond:last]
    sure = (left < BEYOND_DOUBT, right > 1.0 - BEYOND_DOUBT) if arrives else (left > 1.0 - BEYOND_DOUBT, right < BEYOND_DOUBT)
    before_it, after_it = (some.nonzero()[0] for some in sure)
    return (
        float(curve.at[first + before_it[-1]]) if len(before_it) else low,
        float(curve.at[beyond + after_it[0]]) if len(after_it) else high,
    )


def _next_door(beside: Curve, edge: float, sure: Run, arrives: bool) -> bool:
    off = sure[0] if arrives else sure[1]
    return bool((beside.value(np.array([off, (off + edge) / 2.0])) > NEXT_DOOR).any())


def _one(
    curve: Curve,
    track: crossing.Track,
    hints: crossing.Hints,
    edges: tuple[float, float, float],
    sure: Run,
    arrives: bool,
    usual: crossing.Habit,
    policy: Policy,
) -> Curve:
    """The curve with one crossing placed."""
    before, edge, after = edges
    low, high = max((before + edge) / 2.0, edge - REACH_S), min((edge + after) / 2.0, edge + REACH_S)
    first, middle, last = track.at.searchsorted((low, edge, high)).tolist()
    if first == middle or middle == last or track.at[middle] - track.at[middle - 1] > BRIDGE_S:
        return curve
    pad = max(PAD_S, float(track.at[middle] - track.at[middle - 1]))
    span = max(sure[0] - pad, low), min(sure[1] + pad, high)
    settled, begun = track.at.searchsorted((span[0] - SETTLED_S, span[1] + SETTLED_S)).tolist()
    first, last = max(first, min(settled, middle - 4)), min(last, max(begun, middle + 4))
    rows = np.arange(first, last, max((last - first) // SIDE_FIXES, 1))
    near = track.rows(rows[track.weight[rows] > 0.5])
    if len(near.at) < 2:
        return curve
    stay = _inner(track, (edge, after) if arrives else (before, edge))
    stayed = crossing.habit(stay, usual)
    if arrives:
        at, share = crossing.arrival(near, _at_the_fence(hints.within(low, high), stayed), span, stayed, policy)
    else:
        told = _at_the_fence(hints.within(-high, -low), stayed)
        at, share = crossing.arrival(near.turned(), told, (-span[1], -span[0]), stayed, policy)
        at, share = -at[::-1], share[::-1]
    # The blur reaches further than what was asked, and times that are out of order are no curve.
    at = np.minimum(np.maximum(at, span[0]), span[1])
    since, from_edge, start = curve.at.searchsorted((low, edge, span[0])).tolist()
    to_edge, until, end = curve.at.searchsorted((edge, high, span[1]), side="right").tolist()
    before_it, after_it = curve.on[since:to_edge], curve.on[from_edge:until]
    there, gone = (after_it, before_it) if arrives else (before_it, after_it)
    most, least = float(there.max(initial=0.5)), float(gone.min(initial=0.5))
    return Curve(
        np.concatenate((curve.at[:start], at, curve.at[end:])),
        np.concatenate((curve.on[:start], least + (most - least) * share, curve.on[end:])),
    )


def _hints(witness: Witness, seen: Observations, arrives: bool, policy: Policy) -> crossing.Hints:
    """What other evidence than fixes says of arrivals, or of departures with time turned round. Of a button in an app only that it
    was pressed: what an app says of its position is what the phone's fixes say, and often as old as the last of them. Of a lock
    that she worked on her way when she stood at the door, and not that she was within the fence: it may stand in the doorway.
    """
    weak = [anchor.at for anchor in witness.anchors if not anchor.strong]
    worked = "unlock" if arrives else "lock"
    doors = [anchor.at for anchor in witness.anchors if anchor.worked == worked]
    at, llr = seen.at[~seen.fix], seen.llr[~seen.fix]
    if weak:
        pressed = np.array([moment in weak for moment in at.tolist()])
        llr = np.where(pressed, np.clip(llr, -policy.llr_check_app, policy.llr_check_app), llr)
    if doors:
        llr = np.where([moment in doors for moment in at.tolist()], np.minimum(llr, 0.0), llr)
    turn = 1.0 if arrives else -1.0
    return crossing.Hints(turn * at, llr, turn * np.array(doors, dtype=np.float64))


def _at_the_fence(hints: crossing.Hints, stayed: crossing.Habit) -> crossing.Hints:
    """What speaks against being on site just before a door or a check, moved to before the fence: the door lies within it."""
    porch_s = max(-stayed.depth_m, 0.0) / PORCH_MPS
    return replace(hints, at=np.where(hints.llr < 0.0, hints.at - porch_s, hints.at))


def _inner(track: crossing.Track, stay: Run) -> crossing.Track:
    """The credible fixes of a stay, without its first and last minute if enough are left."""
    begin, end = track.at.searchsorted(stay).tolist()
    counted = track.weight[begin:end] > 0.5
    first = int(track.at.searchsorted(stay[0] + SETTLED_S, side="right")) - begin
    last = max(int(track.at.searchsorted(stay[1] - SETTLED_S)) - begin, first)
    if np.count_nonzero(counted[first:last]) >= 5:
        begin, end, counted = begin + first, begin + last, counted[first:last]
    return track.rows(slice(begin, end) if counted.all() else begin + counted.nonzero()[0])
