"""Rivals: others of her places that were planned so near that they compete for her fixes, and what each fix says of being there."""

from collections.abc import Sequence
from math import hypot, log

import numpy as np

from geofence import likelihood
from geofence.evidence import Floats
from geofence.measure import Measured, Seen, extent
from geofence.plan import Scene, Visit
from geofence.plane import Fence, Plane, distances, fence_of
from geofence.policy import Policy
from geofence.presence import planned

COMPETING_M = 100.0
"""Sites further apart than this do not compete for one fix."""
LEAN_MAX = 4.0
"""Most that one independent fix can say for one of two neighbours."""

Rival = tuple[Fence, tuple[Visit, ...]]
"""Another of her places, and her visits there."""


def rivals(scene: Scene, plane: Plane, fence: Fence) -> list[Rival]:
    """The worker's other places that were planned so near that they compete for her fixes, each with her visits there."""
    planned = {other.site for other in scene.others if other.site != scene.visit.site}
    if not planned:
        return []
    sites = {site.id: site for site in scene.neighbours if site.id in planned}
    out = []
    for name in sorted(sites):
        theirs = fence_of(sites[name], plane)
        if hypot(theirs.east_m - fence.east_m, theirs.north_m - fence.north_m) - fence.reach_m - theirs.reach_m <= COMPETING_M:
            out.append((theirs, tuple(other for other in scene.others if other.site == name)))
    return out


def there(
    places: Sequence[list[Rival]], seen: Sequence[Seen], measured: Sequence[Measured], policy: Policy
) -> list[tuple[Floats, Floats]]:
    """What each fix says for being at the likeliest of those places against being at none, and for being here and not there.

    Here or there is told by the nearer of the two middles: by the fences themselves a small one would win within a large one, fix
    after fix, though nobody is spread evenly over what an operator drew. A place that is not planned near that time is unlikely.
    """
    pairs = [(n, *rival) for n, each in enumerate(places) for rival in each]
    told = [(np.full(len(of.east), -np.inf), np.full(len(of.east), np.inf)) for of in measured]
    if not pairs:
        return told
    counts = [len(measured[n].east) for n, _, _ in pairs]
    east, north, sigma, floor = (
        np.concatenate([getattr(measured[n], name) for n, _, _ in pairs]) for name in ("east", "north", "sigma", "floor")
    )
    fences = [theirs for _, theirs, _ in pairs]
    pull = likelihood.pull(extent(fences, counts), distances(fences, counts, east, north), sigma, floor, policy)
    ours2, theirs2 = (
        (east - np.repeat([fence.east_m for fence in of], counts)) ** 2
        + (north - np.repeat([fence.north_m for fence in of], counts)) ** 2
        for of in ([seen[n].fence for n, _, _ in pairs], fences)
    )
    rooms2 = np.repeat([min(seen[n].fence.area_m2, theirs.area_m2) / 12.0 for n, theirs, _ in pairs], counts)
    error2 = sigma * sigma + policy.bias_m**2
    tells = np.minimum(np.maximum((theirs2 - ours2) / (2.0 * (error2 + rooms2)), -LEAN_MAX), LEAN_MAX)
    for (n, _, visits), count, end in zip(pairs, counts, np.cumsum(counts).tolist(), strict=True):
        likeliest, lean = told[n]
        near = planned(seen[n].fixes.at, visits, policy.early_s, policy.late_s)
        here_or_there = tells[end - count : end] + log(policy.rival_plan_odds) * ~near
        np.maximum(likeliest, pull[end - count : end], out=likeliest)
        np.minimum(lean, here_or_there, out=lean)
    return told
