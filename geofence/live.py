"""Live: P(on site) of very many running visits at once, forward in time, as a few numbers each.

It answers one question: *is it worth judging this visit now?* Nobody is ever told what stands here; what people see comes from
`judge`, on all stored evidence. So a lost state costs a look and never an answer.

The chain is that of `presence`, with the same rates. For each visit a row of `ROW` is kept: where and when it is planned, how large
its site is, and what the fold remembers. A step takes one fix of each of many visits:

      P = P · stay + (1 - P) · come              over the time since the step before, cut where the plan begins and ends
      P = P · e^w·llr / (P · e^w·llr + 1 - P)    llr of the fix taken alone, w = min(1, time since the last fix / correlation)

What was said of the visit (`told`: on, unknown, off) and what the fold believes differ when they lie on opposite sides of even
odds, or when the fold is sure of what was called unknown:

      told off ──P > ½──▶ look      told on ──P < ½──▶ look      told unknown ──P > sure or P < 1 - sure──▶ look

Rules kept here:

- Arrays in, arrays out; geometry in bulk; no Python per fix.
- `step` is a fold: any split of the same fixes gives the same state.
- Time comes as an argument, and silence is a step without a fix.
- While fold and judgement disagree the looks grow rarer: half of the time that the disagreement has lasted, between the policy's
  two bounds. Some disagreements are for good, as that about a house next door.
"""

from typing import Any

import numpy as np
import shapely
from msgspec import Struct
from numpy.typing import NDArray

from geofence import likelihood
from geofence.evidence import Bools, Floats, Ints
from geofence.outcome import Outcome, Presence
from geofence.plan import Visit
from geofence.plane import EARTH_M, Extent, Fence, Plane
from geofence.policy import Policy

SURE = 0.95
TOLD: dict[Presence, int] = {"off": -1, "unknown": 0, "on": 1}
TO_BEGIN_WITH = {-1: 0.03, 0: 0.5, 1: 0.97}
"""P(on site) behind what was told: the middle of what it can mean."""

ROW = np.dtype(
    [
        ("starts_at", "f8"),
        ("ends_at", "f8"),
        ("lon", "f8"),  # of the plane's origin
        ("lat", "f8"),
        ("east_m", "f4"),  # of the fence's centre in it
        ("north_m", "f4"),
        ("radius_m", "f4"),  # 0: a polygon
        ("thickness_m", "f4"),
        ("width_m", "f4"),
        ("area_m2", "f4"),
        ("policy", "i4"),  # which of the policies that the keeper of the rows knows
        ("at", "f8"),
        ("on", "f8"),
        ("fix_at", "f8"),
        ("looked_at", "f8"),
        ("differs_at", "f8"),  # since when the fold disagrees with what was told; NaN: it does not
        ("told", "i1"),
        ("hushed", "?"),  # silent for longer than a fix says anything, and looked at because of it
        ("used", "?"),
    ]
)
"""What is kept of a visit: about a hundred bytes."""

Rows = NDArray[np.void]


class Fixes(Struct, frozen=True, eq=False):
    """One fix for each of many rows."""

    at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats


def row(visit: Visit, plane: Plane, fence: Fence, policy: int) -> Rows:
    """The row of a visit of which nothing was heard yet."""
    made = np.zeros(1, dtype=ROW)
    made["starts_at"], made["ends_at"] = visit.starts_at, visit.ends_at
    made["lon"], made["lat"] = plane.lon, plane.lat
    made["east_m"], made["north_m"], made["radius_m"] = fence.east_m, fence.north_m, fence.radius_m
    made["thickness_m"], made["width_m"], made["area_m2"] = fence.thickness_m, fence.width_m, fence.area_m2
    made["policy"], made["used"] = policy, True
    made["at"] = made["fix_at"] = made["looked_at"] = -np.inf
    made["differs_at"] = np.nan
    return made


def resumed(made: Rows, before: Rows) -> Rows:
    """A row made anew, as when the plan may have changed, with what the fold remembers."""
    for name in ("at", "on", "fix_at", "differs_at", "hushed"):
        made[name] = before[name]
    return made


def told(made: Rows, outcome: Outcome, fix_at: float, now: float) -> Rows:
    """A row after its visit was judged. What was told is taken for believed only where nothing was believed so far."""
    state = TOLD[outcome.presence[-1].state] if outcome.presence else 0
    if not np.isfinite(made["at"][0]):
        made["on"], made["at"], made["fix_at"] = TO_BEGIN_WITH[state], now if np.isinf(fix_at) else fix_at, fix_at
        made["hushed"] = bool(np.isinf(fix_at))
    made["told"], made["looked_at"] = state, now
    return made


def step(rows: Rows, shapes: NDArray[np.object_], fixes: Fixes, policy: Policy) -> Rows:
    """The rows after one fix each, none older than its row. `shapes` holds the outlines, in metres, of those that are polygons."""
    after = rows.copy()
    weight = np.clip((fixes.at - rows["fix_at"]) / policy.correlation_s, 0.0, 1.0)
    gain = np.exp(weight * _llr(rows, shapes, fixes, policy))
    up = believed(rows, fixes.at, policy) * gain
    after["on"] = up / (up + 1.0 - up / gain)
    after["at"] = np.maximum(fixes.at, rows["at"])
    after["fix_at"] = np.maximum(fixes.at, rows["fix_at"])
    return after


def believed(rows: Rows, at: Floats, policy: Policy) -> Floats:
    """P(on site) of each row at a later moment, when nothing was observed since."""
    on: Floats = rows["on"].copy()
    start, end = rows["starts_at"], rows["ends_at"]
    early = start - policy.punctuality_s
    for low, high, arrive_s, stay_s in (
        (-np.inf, early, policy.off_plan_arrive_mean_s, policy.off_plan_stay_mean_s),
        (early, start, policy.arrive_mean_s, policy.off_plan_stay_mean_s),
        (start, end, policy.arrive_mean_s, policy.stay_mean_s),
        (end, np.inf, policy.after_plan_arrive_mean_s, policy.off_plan_stay_mean_s),
    ):
        since = np.clip(np.minimum(at, high) - np.maximum(rows["at"], low), 0.0, 1e9)
        come, leave = 1.0 / arrive_s, 1.0 / stay_s
        level = come / (come + leave)
        on = level + (on - level) * np.exp(-(come + leave) * since)
    return on


def differing(rows: Rows, on: Floats) -> Bools:
    """Whether what is believed and what was told are too far apart."""
    told = rows["told"]
    unlike: Bools = np.where(told > 0, on < 0.5, np.where(told < 0, on > 0.5, (on > SURE) | (on < 1.0 - SURE)))
    return unlike


def wanting(rows: Rows, now: float, policy: Policy) -> Ints:
    """Which rows want to be judged now. Notes in the rows since when belief and what was told differ, and who fell silent."""
    on = believed(rows, np.full(len(rows), now), policy)
    unlike = differing(rows, on)
    rows["differs_at"] = np.where(unlike, np.where(np.isnan(rows["differs_at"]), now, rows["differs_at"]), np.nan)
    pause_s = np.clip((now - rows["differs_at"]) / 2.0, policy.live_every_s, max(policy.open_every_s, policy.live_every_s))
    silent = now - rows["fix_at"] > policy.horizon_still_s
    turned = silent != rows["hushed"]
    wants = (unlike & (now >= rows["looked_at"] + pause_s)) | (turned & (now >= rows["looked_at"] + policy.live_every_s))
    rows["hushed"] = np.where(wants, silent, rows["hushed"])
    return np.flatnonzero(wants & rows["used"])


def _llr(rows: Rows, shapes: NDArray[np.object_], fixes: Fixes, policy: Policy) -> Floats:
    """What each fix does to the chain of its row, in log-odds. All phones count as still: that asks for the most evidence."""
    metres = np.radians(1.0) * EARTH_M
    turn = (fixes.lon - rows["lon"] + 180.0) % 360.0 - 180.0
    east, north = turn * metres * np.cos(np.radians(rows["lat"])), (fixes.lat - rows["lat"]) * metres
    distance = np.hypot(east - rows["east_m"], north - rows["north_m"]) - rows["radius_m"]
    drawn = np.flatnonzero(rows["radius_m"] == 0.0)
    if len(drawn):
        distance[drawn] = _signed(shapes[drawn], east[drawn], north[drawn])
    floor = likelihood.floor(np.zeros(len(rows), dtype=bool), policy)
    sigma = likelihood.sigma(fixes.accuracy_m, floor, policy)
    extent = Extent(*(rows[name].astype(np.float64) for name in ("thickness_m", "width_m", "area_m2")))
    return likelihood.pull(extent, distance, sigma, floor, policy)


def _signed(shapes: NDArray[np.object_], east: Floats, north: Floats) -> Floats:
    """Signed distance of each point to its own polygon, negative inside."""
    points: Any = shapely.points(east, north)
    distance: Floats = shapely.distance(shapes, points)
    inside = np.flatnonzero(distance == 0.0)
    distance[inside] = -shapely.distance(shapely.boundary(shapes[inside]), points[inside])
    return distance
