"""Witness: what each piece of evidence says about one visit, before time and plan are taken into account.

The steps, in order: put the evidence into one canonical order (so that its order of arrival cannot matter), keep what lies in the
visit's window, measure each fix against the fence, flag what is not credible, and turn checks and device events into anchors:
moments with a log-likelihood ratio of their own. What residents may have caused as well (home activity) is kept apart.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from geofence import credibility, likelihood
from geofence.evidence import Bools, Check, DeviceEvent, Fixes, Floats, Ints, Observed, Status
from geofence.measure import Measured, Seen, extent, measure
from geofence.plan import Scene, Visit
from geofence.plane import Fence, Plane, fence_of, plane_of
from geofence.policy import Policy
from geofence.rivals import Rival, rivals, there

HOME_METHODS = frozenset({"qr", "nfc", "ble", "pin"})
"""Check methods whose counterpart is fixed at the home."""
ACTIVITY = frozenset({"motion", "occupied", "open", "close", "power", "lock", "unlock"})
"""Device events that somebody inside causes."""
DOOR = frozenset({"open", "close", "lock", "unlock"})
"""Those that a door makes."""
STANDBY_W = 5.0
"""A plug below this power feeds nobody's work."""

WITHIN_MIN = 10
"""From so many fixes within the fence on, it is known how vague the phone is there."""
FINER, LATELY_FINER = 0.5, 0.75
"""Of what it names within, a phone in the open names no more than this, by one fix and by a few in a row."""
CLEAR_SIGMAS = 3.0
"""A fix this many σ outside the fence is a clear no by itself: one in ninety errs so far (Rayleigh), and σ is inflated already."""

Report = TypeVar("Report", Check, DeviceEvent, Status)
Run = tuple[float, float]


class Anchor(Struct, frozen=True):
    """A moment at which a check or a device event speaks for itself. `covers_s` is how long it stays informative."""

    at: float
    llr: float
    covers_s: float
    strong: bool
    """Made by something that is fixed at the home, and so no claim of the phone alone."""
    worked: Literal["unlock", "lock"] | None = None
    """How a lock of the home was worked: one unlocks on the way in and locks on the way out, at the door."""


class Witness(Struct, frozen=True, eq=False):
    """The evidence of one window, each fix with what it says taken alone."""

    observed: Observed
    plane: Plane
    fence: Fence
    fixes: Fixes
    east: Floats
    north: Floats
    distance: Floats
    radius: Floats
    """The reported error, or what is taken for it."""
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
    weight: Floats
    """How much each fix counts."""
    off: Bools
    """Clearly elsewhere, by itself."""
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
    rooms: Floats
    """Those in which none did, each once."""


def hear_all(asked: Sequence[tuple[Scene, Observed, Run]], policy: Policy) -> list[Witness]:
    """Weigh all the evidence in the windows of many visits, each visit as if it were alone."""
    scenes = [scene for scene, _, _ in asked]
    heard = [canonical(observed, window) for _, observed, window in asked]
    planes = [plane_of(scene.site) for scene in scenes]
    seen = [Seen(of.fixes, plane, fence_of(scene.site, plane)) for of, plane, scene in zip(heard, planes, scenes, strict=True)]
    measured = measure(seen, policy)
    plans = [credibility.expected(scene) for scene in scenes]
    masks = credibility.masks_all([of.fixes for of in heard], plans, [of.earlier for of in heard], policy)
    pulls = _in_the_open(seen, measured, masks, policy)
    places = [rivals(scene, one.plane, one.fence) for scene, one in zip(scenes, seen, strict=True)]
    theirs = there(places, seen, measured, policy)
    return [
        _witness(scene, heard[n], seen[n], measured[n], masks[n], pulls[n], places[n], theirs[n], policy)
        for n, scene in enumerate(scenes)
    ]


def _witness(
    scene: Scene,
    observed: Observed,
    seen: Seen,
    of: Measured,
    mask: Ints,
    pull: Floats,
    places: list[Rival],
    there: tuple[Floats, Floats],
    policy: Policy,
) -> Witness:
    fixes, plane, fence, credible = seen.fixes, seen.plane, seen.fence, mask == 0
    disputed = _disputed(fixes, of.distance, of.sigma, policy)
    weight = np.where(credible, 1.0, policy.flagged_weight)
    weight[disputed] = 0.0
    anchors, edges = _anchors(scene, observed, mask, plane, fence, policy)
    stirred = _stirred(scene, observed)
    doors = [event.at for event in stirred if event.kind in DOOR]
    return Witness(
        observed=observed,
        plane=plane,
        fence=fence,
        fixes=fixes,
        east=of.east,
        north=of.north,
        distance=of.distance,
        radius=of.radius,
        sigma=of.sigma,
        llr=of.llr,
        pull=pull,
        pull_there=there[0],
        lean=there[1],
        rivals=tuple(visit for _, visits in places for visit in visits),
        mask=mask,
        credible=credible,
        precise=of.radius <= policy.accuracy_max_m,
        disputed=disputed,
        weight=weight,
        off=of.distance >= CLEAR_SIGMAS * of.sigma,
        quiet=of.quiet,
        horizon=of.horizon,
        anchors=anchors,
        edges=edges,
        activity=np.array([event.at for event in stirred]),
        doors=np.array(doors),
        rooms=np.array(sorted({event.at for event in stirred}.difference(doors))),
    )


def canonical(observed: Observed, window: Run) -> Observed:
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


def _in_the_open(seen: Sequence[Seen], measured: Sequence[Measured], masks: Sequence[Ints], policy: Policy) -> list[Floats]:
    """What each fix does to the chain. One beside the fence, by a phone that is less vague than it mostly was within, was made in
    the open, where phones err less than in a home.
    """
    rows = [_finer(one.fixes, of.distance, mask) for one, of, mask in zip(seen, measured, masks, strict=True)]
    counts = [len(some) for some in rows]
    pulls = [of.pull for of in measured]
    if not any(counts):
        return pulls
    distance, radius = (
        np.concatenate([getattr(of, name)[some] for of, some in zip(measured, rows, strict=True)])
        for name in ("distance", "radius")
    )
    floor = likelihood.floor(np.ones(len(radius), dtype=bool), policy)
    sigma = likelihood.sigma(radius, floor, policy)
    outdoors = likelihood.pull(extent([one.fence for one in seen], counts), distance, sigma, floor, policy)
    for n, (some, end) in enumerate(zip(rows, np.cumsum(counts).tolist(), strict=True)):
        if counts[n]:
            pulls[n] = pulls[n].copy()
            pulls[n][some] = np.minimum(pulls[n][some], outdoors[end - counts[n] : end])
    return pulls


def _finer(fixes: Fixes, distance: Floats, mask: Ints) -> Ints:
    """The fixes outside that are half as vague as most of those within, or lately a good deal less, if those within are many."""
    radius = fixes.accuracy_m
    within = radius[(mask == 0) & (distance <= 0.0)]
    within = within[~np.isnan(within)]
    if len(within) < WITHIN_MIN:
        return np.empty(0, dtype=np.int64)
    within.sort()
    usual = within[len(within) // 2]
    finer = (radius < FINER * usual) | (likelihood.lately(fixes.at, radius) < LATELY_FINER * usual)
    return np.flatnonzero(finer & (distance > 0.0))


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
            worked = event.kind if here and event.kind in ("unlock", "lock") else None
            llr = policy.llr_credential * (1 if here else -1)
            anchors.append(Anchor(event.at, llr, policy.horizon_home_s, strong=True, worked=worked))
            if worked:
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


def _stirred(scene: Scene, observed: Observed) -> list[DeviceEvent]:
    """When the home stirred and neither another known worker nor a named person is the likelier reason."""
    ours = {device.source for device in scene.devices if device.site == scene.visit.site}
    return [
        event
        for event in observed.events
        if event.source in ours
        and event.kind in ACTIVITY
        and event.worker is None
        and not (event.kind == "power" and (event.value is None or event.value < STANDBY_W))
        and not any(rival.starts_at <= event.at < rival.ends_at for rival in scene.rivals)
    ]
