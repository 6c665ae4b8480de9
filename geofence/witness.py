"""Witness: what each piece of evidence says about one visit, before time and plan are taken into account.

The steps, in order: put the evidence into one canonical order (so that its order of arrival cannot matter), keep what lies in the
visit's window, measure each fix against the fence, flag what is not credible, and turn checks and device events into anchors:
moments with a log-likelihood ratio of their own. What residents may have caused as well (home activity) is kept apart.
"""

from math import log
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from geofence import credibility, likelihood
from geofence.evidence import Bools, Check, DeviceEvent, Fixes, Floats, Ints, Observed, Status
from geofence.plan import Scene, Visit
from geofence.plane import Fence, Plane, fence_of, plane_of
from geofence.policy import Policy

HOME_METHODS = frozenset({"qr", "nfc", "ble", "pin"})
"""Check methods whose counterpart is fixed at the home."""
ACTIVITY = frozenset({"motion", "occupied", "open", "close", "power", "lock", "unlock"})
"""Device events that somebody inside causes."""
DOOR = frozenset({"open", "close", "lock", "unlock"})
"""Those that a door makes."""
STANDBY_W = 5.0
"""A plug below this power feeds nobody's work."""
SIGNIFICANT_MODES = frozenset({"significant", "quiet", "manual"})
"""Reporting modes in which a phone is silent while it is still."""

COMPETING_M = 100.0
"""Sites further apart than this do not compete for one fix."""
BOTH_95 = 1.62
"""A two-dimensional error is within this many of its 68 % radii with 95 %."""
AWHILE_S = 30.0
"""Who walks is further away after this than a phone errs in a street."""
WITHIN_MIN = 10
"""From so many fixes within the fence on, it is known how vague the phone is there."""
LEAN_MAX = 4.0
"""Most that one independent fix can say for one of two neighbours."""
CLEAR_SIGMAS = 3.0
"""A fix this many σ outside the fence is a clear no by itself: one in ninety errs so far (Rayleigh), and σ is inflated already."""

Report = TypeVar("Report", Check, DeviceEvent, Status)


class Anchor(Struct, frozen=True):
    """A moment at which a check or a device event speaks for itself. `covers_s` is how long it stays informative."""

    at: float
    llr: float
    covers_s: float
    strong: bool
    """Made by something that is fixed at the home, and so no claim of the phone alone."""


class Witness(Struct, frozen=True, eq=False):
    """The evidence of one window, each fix with what it says taken alone."""

    observed: Observed
    plane: Plane
    fence: Fence
    fixes: Fixes
    east: Floats
    north: Floats
    distance: Floats
    sigma: Floats
    llr: Floats
    """Of each fix taken alone, flags aside."""
    pull: Floats
    """Of each fix, what it does to the chain."""
    pull_there: Floats
    """The same for the likeliest of her other places near by, if `rivals`."""
    lean: Floats
    """Of each fix, what it says for here against there, if `rivals`."""
    rivals: tuple[Visit, ...]
    """Her visits at places that compete for the fixes."""
    mask: Ints
    credible: Bools
    precise: Bools
    """Good enough to tell on from off."""
    disputed: Bools
    """Contradicted by another phone of the same worker at about the same time."""
    quiet: Bools
    """Made in a reporting mode in which a still phone is silent."""
    horizon: Floats
    """How long each fix stays informative, seconds."""
    anchors: tuple[Anchor, ...]
    edges: tuple[Anchor, ...]
    """Moments just before a check-in or after a check-out: hints, and no reports of their own."""
    activity: Floats
    """Moments of home activity that no other known visit explains."""
    doors: Floats
    """Those of them in which a door of the home moved."""


def hear(scene: Scene, observed: Observed, window: tuple[float, float], policy: Policy) -> Witness:
    """Weigh all the evidence in a window, taken alone."""
    observed = canonical(observed, window)
    fixes = observed.fixes
    plane = plane_of(scene.site)
    fence = fence_of(scene.site, plane)
    east, north = plane.east_north(fixes.lon, fixes.lat)
    distance = fence.distance(east, north)
    radius = np.where(np.isnan(fixes.accuracy_m), policy.accuracy_default_m, fixes.accuracy_m)
    moving = _moving(fixes, east, north, radius, policy)
    floor = likelihood.floor(moving, policy)
    sigma = likelihood.sigma(fixes.accuracy_m, floor, policy)
    mask = credibility.masks(fixes, policy, credibility.expected(scene), observed.earlier)
    quiet = np.array([mode in SIGNIFICANT_MODES for mode in fixes.mode]) if fixes.mode else np.zeros(len(mask), dtype=bool)
    anchors, edges = _anchors(scene, observed, mask, plane, fence, policy)
    llr, pull = likelihood.both(fence, distance, sigma, floor, policy)
    pull = _in_the_open(pull, fixes.accuracy_m, mask == 0, fence, distance, policy)
    rivals = _rivals(scene, plane, fence)
    pull_there, lean = _there(rivals, fence, fixes.at, (east, north), (sigma, floor), policy)
    return Witness(
        observed=observed,
        plane=plane,
        fence=fence,
        fixes=fixes,
        east=east,
        north=north,
        distance=distance,
        sigma=sigma,
        llr=llr,
        pull=pull,
        pull_there=pull_there,
        lean=lean,
        rivals=tuple(visit for _, visits in rivals for visit in visits),
        mask=mask,
        credible=mask == 0,
        precise=radius <= policy.accuracy_max_m,
        disputed=_disputed(fixes, distance, sigma, policy),
        quiet=quiet,
        horizon=_horizons(quiet, moving & ~_resting(fixes, east, north, radius, policy), policy),
        anchors=anchors,
        edges=edges,
        activity=_activity(scene, observed, ACTIVITY),
        doors=_activity(scene, observed, DOOR),
    )


def canonical(observed: Observed, window: tuple[float, float]) -> Observed:
    """The evidence in a window in the order of (at, source, content), each report once. Statuses before it still hold within it."""
    low, high = window
    return Observed(
        fixes=_canonical_fixes(observed.fixes, low, high),
        checks=_canonical_reports(observed.checks, low, high),
        events=_canonical_reports(observed.events, low, high),
        statuses=_canonical_reports(observed.statuses, -np.inf, high),
        elsewhen=tuple(sorted(set(observed.elsewhen))),
        earlier=observed.earlier,
    )


def is_ours(check: Check, scene: Scene) -> bool:
    """Whether a check is about this visit: it names it, or names none and no other visit of the worker lies nearer to it."""
    if check.visit is not None:
        return check.visit == scene.visit.id

    def off(visit: Visit) -> float:
        return abs(check.at - (visit.starts_at if check.kind == "in" else visit.ends_at))

    return all(off(scene.visit) <= off(other) for other in scene.others)


def _canonical_reports(reports: tuple[Report, ...], low: float, high: float) -> tuple[Report, ...]:
    once = {(r.at, r.source, r.identity): r for r in reports if low <= r.at < high}
    return tuple(once[key] for key in sorted(once))


def _canonical_fixes(fixes: Fixes, low: float, high: float) -> Fixes:
    if (fixes.at[1:] > fixes.at[:-1]).all() and tuple(sorted(fixes.sources)) == fixes.sources:
        first, last = np.searchsorted(fixes.at, (low, high)).tolist()
        return fixes if last - first == len(fixes.at) else _rows(fixes, slice(first, last))
    sources = tuple(sorted(fixes.sources))
    rank = np.array([sources.index(source) for source in fixes.sources], dtype=np.int64)
    fixes = replace(fixes, sources=sources, source=rank[fixes.source])
    keep = np.flatnonzero((fixes.at >= low) & (fixes.at < high))
    columns = [column[keep] for column in (fixes.lat, fixes.lon, fixes.accuracy_m, fixes.received_at, fixes.source, fixes.at)]
    order = np.lexsort(columns)
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in (*columns[:3], *columns[4:]):
        a, b = column[order[1:]], column[order[:-1]]
        same &= (a == b) | ((a != a) & (b != b))
    # Sorted by receipt last, so that the first receipt of a repeated report stays.
    return _rows(fixes, keep[order[np.concatenate(([True], ~same))]] if len(order) else keep)


def _rows(fixes: Fixes, rows: slice | Ints) -> Fixes:
    return Fixes(
        sources=fixes.sources,
        source=fixes.source[rows],
        at=fixes.at[rows],
        received_at=fixes.received_at[rows],
        lon=fixes.lon[rows],
        lat=fixes.lat[rows],
        accuracy_m=fixes.accuracy_m[rows],
        altitude_m=fixes.altitude_m[rows],
        speed_mps=fixes.speed_mps[rows],
        heading_deg=fixes.heading_deg[rows],
        mock=fixes.mock[rows],
        ping=fixes.ping[rows],
        mode=_modes(fixes.mode, rows) if fixes.mode else (),
    )


def _modes(modes: tuple[str | None, ...], rows: slice | Ints) -> tuple[str | None, ...]:
    return modes[rows] if isinstance(rows, slice) else tuple(modes[n] for n in rows.tolist())


def _in_the_open(pull: Floats, radius: Floats, credible: Bools, fence: Fence, distance: Floats, policy: Policy) -> Floats:
    """What each fix does to the chain. One beside the fence, half as vague as the phone mostly was within it, was made in the open,
    where phones err less than in a home.
    """
    within = np.sort(radius[credible & (distance <= 0.0) & ~np.isnan(radius)])
    if len(within) < WITHIN_MIN:
        return pull
    rows = np.flatnonzero((distance > 0.0) & (radius < within[len(within) // 2] / 2.0))
    if len(rows):
        floor = likelihood.floor(np.ones(len(rows), dtype=bool), policy)
        there = likelihood.pull(fence, distance[rows], likelihood.sigma(radius[rows], floor, policy), floor, policy)
        pull = pull.copy()
        pull[rows] = np.minimum(pull[rows], there)
    return pull


def _phones(fixes: Fixes) -> list[slice | Ints]:
    """The rows of each phone."""
    if len(fixes.sources) == 1:
        return [slice(None)]
    return [np.flatnonzero(fixes.source == source) for source in range(len(fixes.sources))]


def _moving(fixes: Fixes, east: Floats, north: Floats, radius: Floats, policy: Policy) -> Bools:
    """Whether a phone was moving when it made each fix: by the speed that it reports, else by its way to the fixes around."""
    speed, unnamed = fixes.speed_mps, np.isnan(fixes.speed_mps)
    if not unnamed.any():
        return speed >= policy.moving_mps
    travelled = np.zeros(len(speed))
    for own in _phones(fixes):
        at, x, y, error = fixes.at[own], east[own], north[own], radius[own]
        if len(at) < 2:
            continue
        # The way to either neighbour, less what the errors alone explain; the slower of the two, since who has just come in has
        # come a long way and stays.
        way = np.hypot(x[1:] - x[:-1], y[1:] - y[:-1]) - (error[1:] + error[:-1])
        pace = np.maximum(way, 0.0) / np.maximum(at[1:] - at[:-1], 1.0)
        travelled[own] = np.minimum(np.concatenate((pace, pace[-1:])), np.concatenate((pace[:1], pace)))
    return np.where(unnamed, travelled, speed) >= policy.moving_mps


def _resting(fixes: Fixes, east: Floats, north: Floats, radius: Floats, policy: Policy) -> Bools:
    """Whether a phone was, half a minute and more before and after each fix, at the same place as far as its errors tell: then a
    single speed that it names is noise.
    """
    resting = np.zeros(len(fixes.at), dtype=bool)
    for own in _phones(fixes):
        at, x, y, radius2 = fixes.at[own], east[own], north[own], radius[own] ** 2
        if len(at) < 3:
            continue
        here = np.arange(len(at))
        before = np.maximum(np.minimum(np.searchsorted(at, at - AWHILE_S, side="right") - 1, here - 1), 0)
        after = np.minimum(np.maximum(np.searchsorted(at, at + AWHILE_S), here + 1), len(at) - 1)
        stayed = np.ones(len(at), dtype=bool)
        for other in (before, after):
            way2 = (x - x[other]) ** 2 + (y - y[other]) ** 2
            near = (way2 <= BOTH_95**2 * (radius2 + radius2[other])) & (np.abs(at[other] - at) <= 2.0 * policy.horizon_still_s)
            stayed &= near & (other != here)
        resting[own] = stayed
    return resting


def _horizons(quiet: Bools, moving: Bools, policy: Policy) -> Floats:
    """How long each fix stays informative: by its phone's mode, else by whether it was moving."""
    horizon = np.where(moving, policy.horizon_moving_s, policy.horizon_still_s)
    return np.where(quiet, policy.horizon_significant_s, horizon)


def _rivals(scene: Scene, plane: Plane, fence: Fence) -> list[tuple[Fence, tuple[Visit, ...]]]:
    """The worker's other places that were planned so near that they compete for her fixes, each with her visits there."""
    sites = {site.id: site for site in scene.neighbours}
    out = []
    for name in sorted({other.site for other in scene.others if other.site != scene.visit.site and other.site in sites}):
        theirs = fence_of(sites[name], plane)
        if np.hypot(theirs.east_m - fence.east_m, theirs.north_m - fence.north_m) - fence.reach_m - theirs.reach_m <= COMPETING_M:
            out.append((theirs, tuple(other for other in scene.others if other.site == name)))
    return out


def _there(
    rivals: list[tuple[Fence, tuple[Visit, ...]]],
    fence: Fence,
    at: Floats,
    point: tuple[Floats, Floats],
    error: tuple[Floats, Floats],
    policy: Policy,
) -> tuple[Floats, Floats]:
    """What each fix says for being at the likeliest of those places against being at none, and for being here and not there.

    Here or there is told by the nearer of the two middles: by the fences themselves a small one would win within a large one, fix
    after fix, though nobody is spread evenly over what an operator drew. A place that is not planned near that time is unlikely.
    """
    sigma, floor = error
    pull, lean = np.full(len(at), -np.inf), np.full(len(at), np.inf)
    if not rivals:
        return pull, lean
    ours2 = (point[0] - fence.east_m) ** 2 + (point[1] - fence.north_m) ** 2
    error2 = sigma**2 + policy.bias_m**2
    for theirs, visits in rivals:
        near = np.zeros(len(at), dtype=bool)
        for visit in visits:
            near |= (at >= visit.starts_at - policy.early_s) & (at < visit.ends_at + policy.late_s)
        theirs2 = (point[0] - theirs.east_m) ** 2 + (point[1] - theirs.north_m) ** 2
        rooms2 = min(fence.area_m2, theirs.area_m2) / 12.0
        tells = np.minimum(np.maximum((theirs2 - ours2) / (2.0 * (error2 + rooms2)), -LEAN_MAX), LEAN_MAX)
        pull = np.maximum(pull, likelihood.pull(theirs, theirs.distance(*point), sigma, floor, policy))
        lean = np.minimum(lean, np.where(near, tells, tells + log(policy.rival_plan_odds)))
    return pull, lean


def _disputed(fixes: Fixes, distance: Floats, sigma: Floats, policy: Policy) -> Bools:
    """Fixes whose nearest in time of another phone lies on the other side of the fence, and neither is near it."""
    disputed = np.zeros(len(fixes.at), dtype=bool)
    if len(fixes.sources) < 2:
        return disputed
    side = np.where(distance >= CLEAR_SIGMAS * sigma, 1, np.where(distance <= 0.0, -1, 0))
    for one in range(len(fixes.sources)):
        mine = np.flatnonzero(fixes.source == one)
        for two in range(len(fixes.sources)):
            theirs = np.flatnonzero(fixes.source == two)
            if one != two and len(mine) and len(theirs):
                spot = np.clip(np.searchsorted(fixes.at[theirs], fixes.at[mine]), 1, len(theirs)) - 1
                after = np.minimum(spot + 1, len(theirs) - 1)
                later = np.abs(fixes.at[theirs[after]] - fixes.at[mine]) < np.abs(fixes.at[theirs[spot]] - fixes.at[mine])
                nearest = theirs[np.where(later, after, spot)]
                close = np.abs(fixes.at[nearest] - fixes.at[mine]) <= policy.horizon_moving_s
                disputed[mine] |= close & (side[mine] * side[nearest] < 0)
    return disputed


def _anchors(
    scene: Scene, observed: Observed, mask: Ints, plane: Plane, fence: Fence, policy: Policy
) -> tuple[tuple[Anchor, ...], tuple[Anchor, ...]]:
    visit = scene.visit
    ours = {device.source for device in scene.devices if device.site == visit.site}
    anchors: list[Anchor] = []
    edges: list[Anchor] = []
    checks = [check for check in observed.checks if is_ours(check, scene) and not _mistimed(check, observed.fixes, mask, policy)]
    for check, (own, covers_s) in zip(checks, _check_fixes(checks, plane, fence, policy), strict=True):
        if check.method in HOME_METHODS or check.method == "phone":
            strong = policy.llr_check_home if check.method in HOME_METHODS else policy.llr_check_phone
            anchors.append(Anchor(check.at, strong, policy.horizon_home_s, strong=True))
        else:
            near = mask[np.abs(observed.fixes.at - check.at) <= policy.horizon_moving_s]
            # The coordinates of a check are no better than the positions that the same phone made around it.
            doubted = len(near) > 0 and bool((near != 0).all())
            own, covers_s = (0.0, 0.0) if doubted else (own, covers_s)
            anchors.append(Anchor(check.at, policy.llr_check_app + own, covers_s, strong=False))
        hint = policy.llr_credential_edge if check.method in HOME_METHODS else policy.llr_check_edge
        edges.append(_edge(check.at, check.kind == "in", hint, policy.check_edge_s))
    for event in observed.events:
        if event.worker == visit.worker or event.credential == visit.worker:
            here = event.source in ours
            anchors.append(Anchor(event.at, policy.llr_credential * (1 if here else -1), policy.horizon_home_s, strong=True))
            if here and event.kind in ("unlock", "lock"):
                edges.append(_edge(event.at, event.kind == "unlock", policy.llr_credential_edge, policy.door_edge_s))
    key = lambda anchor: (anchor.at, anchor.llr, anchor.covers_s)  # noqa: E731
    return tuple(sorted(anchors, key=key)), tuple(sorted(edges, key=key))


def _mistimed(check: Check, fixes: Fixes, mask: Ints, policy: Policy) -> bool:
    """Whether a check was made by a wrong clock: one that is ahead, or that of fixes around it which are late because it is behind.

    It may be true, but nobody knows of when.
    """
    late = check.received_at - check.at
    if late < -policy.clock_ahead_max_s:
        return True
    if late < credibility.CLOCK_BEHIND_S - credibility.CLOCK_JITTER_S or check.source not in fixes.sources:
        return False
    own = np.flatnonzero(fixes.source == fixes.sources.index(check.source))
    after = int(np.searchsorted(fixes.at[own], check.at))
    return bool((mask[own[max(after - 1, 0) : after + 1]] & credibility.CLOCK_SKEW).any())


def _edge(at: float, coming: bool, llr: float, off_s: float) -> Anchor:
    """The hint that she was not there just before coming, or just after going."""
    return Anchor(at + off_s * (-1 if coming else 1), -llr, 0.0, strong=False)


def _check_fixes(checks: list[Check], plane: Plane, fence: Fence, policy: Policy) -> list[tuple[float, float]]:
    """What the coordinates of each check say, and how long they stay informative; nothing of those that have none."""
    said = [(0.0, 0.0)] * len(checks)
    placed = [(n, check.lon, check.lat, check.accuracy_m) for n, check in enumerate(checks) if None not in (check.lon, check.lat)]
    if placed:
        _, lon, lat, accuracy = np.array(placed, dtype=np.float64).T
        floor = likelihood.floor(np.zeros(len(placed), dtype=bool), policy)
        sigma = likelihood.sigma(accuracy, floor, policy)
        llr = likelihood.llr(fence, fence.distance(*plane.east_north(lon, lat)), sigma, floor, policy)
        vague = np.where(np.isnan(accuracy), policy.accuracy_default_m, accuracy) > policy.accuracy_max_m
        for (n, *_), own, covers_s in zip(placed, llr.tolist(), np.where(vague, 0.0, policy.horizon_still_s).tolist(), strict=True):
            said[n] = (own, covers_s)
    return said


def _activity(scene: Scene, observed: Observed, kinds: frozenset[str]) -> Floats:
    """When the home stirred and neither another known worker nor a named person is the likelier reason."""
    ours = {device.source for device in scene.devices if device.site == scene.visit.site}
    stirred = [
        event.at
        for event in observed.events
        if event.source in ours
        and event.kind in kinds
        and event.worker is None
        and not (event.kind == "power" and (event.value is None or event.value < STANDBY_W))
        and not any(rival.starts_at <= event.at < rival.ends_at for rival in scene.rivals)
    ]
    return np.array(stirred, dtype=np.float64)
