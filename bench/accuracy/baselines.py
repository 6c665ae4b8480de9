"""Baselines: what others do with the same fixes. Each takes what a user of it would have, and says when the worker was on site.

| name | rule |
|---|---|
| pip | point in polygon: on site from a fix inside until a fix outside, or until 300 s without any |
| dwell | the same after two minutes in a row inside, or more than 30 m outside: the usual way to calm the crossings |
| overlap | the rule of Google Play services: in when at least 85 % of the accuracy circle is in the fence, out at most 15 % |
| perfect | no method: is told at each fix whether she is on site, and takes the middle between two fixes that differ |
| movingpandas | stops of MovingPandas (100 m, 5 min) whose middle is in the fence |
| trackintel | staypoints of trackintel (100 m, 5 min) whose middle is in the fence |

The last two are libraries, asked for by name only: `uv sync --group bench`.
"""

from collections.abc import Callable

import numpy as np
import shapely

from bench.accuracy.answer import Answer, plain
from bench.accuracy.case import Case
from device_sim.spans import Span
from geofence.evidence import Bools, Floats
from geofence.plane import fence_of, plane_of

SILENCE_S = 300.0
"""So long a fix is taken to hold, as for the engine's coverage of a still phone; significant-change phones are quiet for longer."""
SIGNIFICANT_SILENCE_S = 1200.0
DWELL_S = 120.0
HYSTERESIS_M = 30.0
"""So far outside the fence a phone has left: about the error of a fix indoors."""
OVERLAP_IN, OVERLAP_OUT = 0.85, 0.15
ACCURACY_DEFAULT_M = 50.0

RULES = ("pip", "dwell", "overlap", "perfect")
LIBRARIES = ("movingpandas", "trackintel")


def method(name: str) -> Callable[[Case], Answer]:
    """The baseline of that name. Raises SystemExit with what to install where its library is missing."""
    rules: dict[str, Callable[[Case], Answer]] = {"pip": pip, "dwell": dwell, "overlap": overlap, "perfect": perfect}
    if name in rules:
        return rules[name]
    try:
        from bench.accuracy import stops
    except ImportError as missing:
        raise SystemExit(f"{name} needs {missing.name}: uv sync --group bench") from missing
    libraries: dict[str, Callable[[Case], Answer]] = {"movingpandas": stops.movingpandas, "trackintel": stops.trackintel_}
    return libraries[name]


def pip(case: Case) -> Answer:
    """Every fix is taken at its word."""
    at, distance = _distances(case)
    return plain(_runs(case, at, distance <= 0.0), case)


def dwell(case: Case) -> Answer:
    """A crossing counts once the other side has been kept for two minutes, and then counts from when it began; out is out only
    beyond a margin.
    """
    at, distance = _distances(case)
    told, state, pending = np.zeros(len(at), dtype=bool), False, 0
    for k, away_m in enumerate(distance.tolist()):
        told[k] = state
        if (away_m <= (HYSTERESIS_M if state else 0.0)) == state:
            pending = k + 1
        elif at[k] - at[pending] >= DWELL_S:
            state = not state
            told[pending : k + 1] = state
            pending = k + 1
    return plain(_runs(case, at, told), case)


def overlap(case: Case) -> Answer:
    """In and out by the share of the accuracy circle that the fence covers; in between nothing changes."""
    at, share = case.observed.fixes.at, _shares(case)
    told, state = np.zeros(len(at), dtype=bool), False
    for k, covered in enumerate(share.tolist()):
        state = covered >= OVERLAP_IN or (state and covered > OVERLAP_OUT)
        told[k] = state
    return plain(_runs(case, at, told), case)


def perfect(case: Case) -> Answer:
    """What the sampling alone leaves to know, with positions that have no error."""
    at = case.observed.fixes.at
    inside = np.zeros(len(at), dtype=bool)
    for start, end in case.truth.on_site:
        inside |= (at >= start) & (at < end)
    edges = np.concatenate((at[:1], (at[1:] + at[:-1]) / 2, at[-1:]))
    return plain(list(zip(edges[:-1][inside].tolist(), edges[1:][inside].tolist(), strict=True)), case)


def _distances(case: Case) -> tuple[Floats, Floats]:
    """When each fix was, and how far outside the fence, negative inside."""
    plane = plane_of(case.scene.site)
    fixes = case.observed.fixes
    return fixes.at, fence_of(case.scene.site, plane).distance(*plane.east_north(fixes.lon, fixes.lat))


def _shares(case: Case) -> Floats:
    """The share of each fix's accuracy circle that lies in the fence."""
    plane = plane_of(case.scene.site)
    fence, fixes = fence_of(case.scene.site, plane), case.observed.fixes
    radius = np.where(np.isnan(fixes.accuracy_m), ACCURACY_DEFAULT_M, np.maximum(fixes.accuracy_m, 1.0))
    east, north = plane.east_north(fixes.lon, fixes.lat)
    distance = fence.distance(east, north)
    share = (distance <= -radius).astype(np.float64)
    cut = np.flatnonzero(np.abs(distance) < radius)
    circles = shapely.buffer(shapely.points(east[cut], north[cut]), radius[cut], quad_segs=8)
    shape = fence.shape.buffer(fence.radius_m, quad_segs=32) if fence.radius_m else fence.shape
    share[cut] = shapely.area(shapely.intersection(circles, shape)) / shapely.area(circles)
    return share


def _runs(case: Case, at: Floats, inside: Bools) -> list[Span]:
    """From each fix inside to the next fix, or as long as one holds."""
    if not inside.any():
        return []
    holds_s = SIGNIFICANT_SILENCE_S if case.sampling == "significant" else SILENCE_S
    until = np.minimum(np.append(at[1:], at[-1] + holds_s), at + holds_s)
    return list(zip(at[inside].tolist(), until[inside].tolist(), strict=True))
