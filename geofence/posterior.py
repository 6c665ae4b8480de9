"""Posterior: from what each piece of evidence says to P(on site) over the visit's window.

1. All observations go through the chain of `presence`, forward and backward. Flagged fixes count for little. Home activity
   counts only in a window in which something of the worker herself was seen: residents move too.
   Where others of her visits are planned so near that fixes may be mistaken, those places are a third state of the chain.
2. Each crossing that comes out of this is placed by the positions around it as a whole (`placing`, `crossing`).
3. Each stay that comes out of this is looked at as a whole. Its fixes, taken together, have a mean position; its error is
   s² = σ² / n + bias², with n the independent fixes and a bias that no number of fixes removes, so evidence near a fence saturates.
   That position, with the check-ins and credentials of the stay, decides how surely the stay was here and not at a neighbour or
   at a place that nobody told us of; P is multiplied by it. The plan's prior enters here once, and not once a fix.
4. A stay in which no evidence speaks for on site is the plan's own shadow, and is capped at "don't know". Where only evidence that
   is not credible speaks for on site, P is capped below what counts as sure: possible, and not proven.
5. Where two phones of one worker contradict each other, neither counts: she carries at most one of them.
"""

from functools import lru_cache
from math import exp, log, log1p

import numpy as np
import shapely
from msgspec import Struct

from geofence import likelihood, presence
from geofence.chain import Chain
from geofence.curve import Curve, Run, above
from geofence.evidence import Bools, Floats, Ints, since
from geofence.placing import placed
from geofence.plan import Scene, Site, Visit
from geofence.plane import Fences, Plane, fence_of, fences_of
from geofence.policy import Policy
from geofence.witness import Witness

NODE_S = 60.0
"""Silences are filled with nodes this far apart, so that the curve shows how certainty decays within them."""
DOUBTFUL = 0.5
"""Most that evidence which is not credible can bring P to: possible, and not even likely."""
DOOR_S = 120.0
"""What happens at the door, at either end of a stay, happens within this."""
BESIDE = 2.5
"""From so many errors outside the fence on, the middle of a stay was in another place, whatever was planned."""
STIR_S = 300.0
"""Home activity closer together than this is one and the same activity."""
CALM_S, STIRRING_MAX = 600.0, 2.0
"""For so long a home must be still without her before its stirring says twice as much, and the most that one can say."""


class Posterior(Struct, frozen=True, eq=False):
    """P(on site) over the window."""

    curve: Curve
    likely: Curve
    """P(on site) given that the stays which are likelier than not to have been here were here: their ends, and the best seconds,
    are read off this one.
    """


class Prepared(Struct, frozen=True, eq=False):
    """What a visit's chain is made of, and the chain, before anything is known of its nodes."""

    seen: presence.Observations
    at: Floats
    """Of the nodes."""
    chain: Chain


def prepare(scene: Scene, witness: Witness, window: Run, policy: Policy) -> Prepared:
    """The chain of a visit over a window, from all the evidence in it."""
    seen, index = observations(scene.visit, witness, policy)
    at, llr, fix_index = _nodes(scene, seen, index, window, policy)
    if witness.rivals:
        both = _beside(at, llr, fix_index, witness, policy)
        chain = presence.beside(window[0], at, both, scene.visit, witness.rivals, policy)
    else:
        chain = presence.alone(window[0], at, llr, scene.visit, policy)
    return Prepared(seen, at, chain)


def believe(scene: Scene, witness: Witness, prepared: Prepared, told: Floats, own: Run, policy: Policy) -> Posterior:
    """P(on site) over the window. `told` is what the chain comes to: the probability of each state at each node. `own` is the part
    of the window that belongs to this visit.
    """
    at = prepared.at
    there = told[1] if witness.rivals else np.zeros(len(at))
    curve = placed(Curve(at, told[0]), Curve(at, there), witness, prepared.seen, policy)
    stays = above(curve, 0.5)
    sureness = [_sureness(scene, witness, stay, _core(stay, scene.visit, own, witness, policy), policy) for stay in stays]
    on, likely = curve.on.copy(), curve.on.copy()
    for (start, end), (proven, planned) in zip(stays, sureness, strict=True):
        inside = slice(curve.at.searchsorted(start), curve.at.searchsorted(end, side="right"))
        on[inside] *= proven
        likely[inside] *= 1.0 if planned > 0.5 else planned
    if not witness.credible.all():
        doubtful = _doubtful(curve.at, witness, policy)
        on, likely = (np.where(doubtful, np.minimum(p, DOUBTFUL), p) for p in (on, likely))
    return Posterior(curve=Curve(curve.at, on), likely=Curve(curve.at, likely))


def observations(visit: Visit, witness: Witness, policy: Policy) -> tuple[presence.Observations, Ints]:
    """All observations in the order of time; with each, the index of its fix or -1."""
    llr = witness.pull * witness.weight
    told = bool((llr > 0.0).any() or any(anchor.llr > 0.0 for anchor in witness.anchors))
    anchors = witness.anchors + witness.edges
    stirred = witness.activity if told else witness.activity[:0]
    said = _stirring(stirred, visit, witness, policy) * _fresh(stirred) if len(stirred) else stirred
    at = np.concatenate((witness.fixes.at, [anchor.at for anchor in anchors], stirred))
    value = np.concatenate((llr, [anchor.llr for anchor in anchors], said))
    index = np.full(len(at), -1, dtype=np.int64)
    index[: len(llr)] = np.arange(len(llr))
    order = np.argsort(at, kind="stable")
    return presence.Observations(at=at[order], llr=value[order], fix=index[order] >= 0), index[order]


def _fresh(stirred: Floats) -> Floats:
    """The share of each stirring of the home that is news: what goes on is one and the same."""
    return np.minimum(1.0, since(stirred) / STIR_S)


def _stirring(stirred: Floats, visit: Visit, witness: Witness, policy: Policy) -> Floats:
    """Log-odds of being on site for each moment in which the home stirs. What others do in a home they do as well without her. So
    in planned time it says the more, the longer she was seen elsewhere while the home was still, and the less, the oftener it
    stirred then. Before and after, those who live there come home.
    """
    at, far = witness.fixes.at, witness.credible & witness.off
    away = far[:-1] & far[1:]
    start, end = at[:-1][away], np.minimum(at[1:], (at + witness.horizon)[:-1])[away]
    rooms = witness.rooms
    without_her = start.searchsorted(rooms, side="right") > end.searchsorted(rooms, side="right")
    calm = log1p(float((end - start).sum()) / CALM_S) - log1p(2.0 * float(_fresh(rooms)[without_her].sum()))
    planned = (stirred >= visit.starts_at) & (stirred < visit.ends_at)
    return np.where(planned, min(max(policy.llr_home_activity + calm, 0.0), STIRRING_MAX), policy.llr_home_activity)


def _beside(at: Floats, llr: Floats, fix_index: Ints, witness: Witness, policy: Policy) -> tuple[Floats, Floats]:
    """The log-odds of being here, and of being at another of her places near by, at each node.

    A fix tells either from being away as soon as errors allow, and one from the other far more slowly: what draws it towards the
    wrong one of two neighbours lasts as long as its error.
    """
    nodes = np.flatnonzero(fix_index >= 0)
    fixes = fix_index[nodes]
    gap = since(at[nodes])
    weight = witness.weight[fixes]
    either = np.maximum(witness.pull, witness.pull_there)[fixes] * weight * np.minimum(1.0, gap / policy.correlation_s)
    lean = witness.lean[fixes] * weight * np.minimum(1.0, gap / policy.error_lasts_s)
    here, there = llr.copy(), np.zeros(len(at))
    here[nodes] = either + np.minimum(lean, 0.0)
    there[nodes] = either - np.maximum(lean, 0.0)
    return here, there


def _nodes(
    scene: Scene, seen: presence.Observations, index: Ints, window: tuple[float, float], policy: Policy
) -> tuple[Floats, Floats, Ints]:
    """Observations, and empty nodes at the plan's edges, the window's edges and within silences."""
    llr = presence.temper(seen, policy)
    visit = scene.visit
    edges = [window[0], visit.starts_at - policy.punctuality_s, visit.starts_at, visit.ends_at, window[1]]
    known = np.concatenate((seen.at, [edge for edge in edges if window[0] <= edge <= window[1]]))
    order = np.argsort(known, kind="stable")
    at = known[order]
    silence = np.diff(at)
    parts = (silence / NODE_S).astype(np.int64)
    inner = np.where(silence > 2 * NODE_S, parts - 1, 0)
    within = np.repeat(np.arange(len(silence)), inner)
    nth = 1 + np.arange(len(within)) - np.repeat(np.cumsum(inner) - inner, inner)
    fill = at[within] + nth * (silence[within] / parts[within])
    everything = np.concatenate((known, fill))
    order = np.argsort(everything, kind="stable")
    padding = len(everything) - len(seen.at)
    return (
        everything[order],
        np.concatenate((llr, np.zeros(padding)))[order],
        np.concatenate((index, np.full(padding, -1, dtype=np.int64)))[order],
    )


def _doubtful(at: Floats, witness: Witness, policy: Policy) -> Bools:
    """Whether the evidence for on site around each moment is all of the kind that is not credible."""
    for_on = witness.llr > 0.0
    flagged = witness.fixes.at[for_on & ~witness.credible]
    if not len(flagged):
        return np.zeros(len(at), dtype=bool)
    positive = [anchor.at for anchor in witness.anchors if anchor.llr > 0.0 and anchor.strong]
    credible = np.sort(np.concatenate((witness.fixes.at[for_on & witness.credible], positive)))
    return _near(at, flagged, policy.horizon_home_s) & ~_near(at, credible, policy.horizon_still_s)


def _near(at: Floats, marks: Floats, reach_s: float) -> Bools:
    """Whether any of the sorted marks lies within reach of each moment."""
    return marks.searchsorted(at + reach_s, side="right") > marks.searchsorted(at - reach_s)


def _doors(witness: Witness, stay: Run, policy: Policy) -> float:
    """What the doors of the home say about a stay: who comes and goes moves them, next door or not."""
    if not len(witness.doors):
        return 0.0
    moved = _near(np.array(stay), witness.doors, DOOR_S)
    return policy.llr_door * (float(moved.sum()) if moved.any() else -1.0)


def _core(stay: Run, visit: Visit, own: Run, witness: Witness, policy: Policy) -> Run:
    """The part of a stay that tells where it was: that in planned time, if it is not too short and anything was seen in it; before
    and after, she may have been next door on another visit. Without any, what belongs to this visit at all.
    """
    start, end = max(stay[0], visit.starts_at), min(stay[1], visit.ends_at)
    long_enough = end - start >= min(policy.proven_min_s, (visit.ends_at - visit.starts_at) / 2.0)
    if long_enough:
        at = witness.fixes.at
        if at.searchsorted(end, side="right") > at.searchsorted(start) or any(start <= a.at <= end for a in witness.anchors):
            return start, end
    start, end = max(stay[0], own[0]), min(stay[1], own[1])
    return (start, end) if start < end else stay


def _sureness(scene: Scene, witness: Witness, stay: Run, core: Run, policy: Policy) -> tuple[float, float]:
    """Probability that a stay was at this site and not at a place like it: as far as the evidence proves it, and with the plan's
    word for what the evidence leaves open.
    """
    start, end = core
    # What speaks against counts only well inside the stay: who comes from the next house unlocked it a moment ago.
    anchors = [
        anchor
        for anchor in witness.anchors
        if (start - DOOR_S <= anchor.at <= end + DOOR_S if anchor.llr > 0.0 else start + DOOR_S <= anchor.at <= end - DOOR_S)
    ]
    at = witness.fixes.at
    inside = slice(int(at.searchsorted(start)), int(at.searchsorted(end, side="right")))
    variances = witness.sigma[inside] ** 2
    weight = witness.weight[inside] / variances
    whole = float(weight.sum())
    spoke = bool((witness.llr[inside] > 0.0).any()) or any(anchor.llr > 0.0 for anchor in anchors)
    if not spoke or (len(weight) and whole <= 0.0):
        return 0.5, 0.5
    if not len(weight):
        return 1.0, 1.0
    independent = float(np.minimum(1.0, since(at[inside]) / policy.stay_correlation_s).sum())
    east, north, ours_m = _middle(scene, witness, inside, weight)
    power = float((variances * weight).sum()) / whole
    error_m = (power / independent + policy.bias_m**2) ** 0.5
    # What an app says of its position is what the phone's fixes say, and a button can be pressed next door.
    home = sum(anchor.llr for anchor in anchors if anchor.strong) + _doors(witness, stay, policy)
    support = likelihood.stay_llr(witness.fence, ours_m, error_m, policy.bias_m, policy)
    plan = log((1.0 - policy.nowhere_prior) / policy.nowhere_prior)
    # The plan proves only as far as the position does: nothing seen is nothing proven, and a stay whose middle lies outside was
    # as well next door, where the plan would speak the same.
    outside = ours_m / error_m
    vague = 1.0 + power / policy.vague_sigma_m**2
    proves = min(max(support, 0.0), 1.0) * min(max(1.0 - outside, 0.0), 1.0) / vague
    # The best guess takes its word further, but not for a place that the positions exclude: of three stays with a middle so far
    # outside, two were next door.
    guesses = min(max(BESIDE - outside, 0.0), 1.0)
    against = _against(scene, witness, core, (east, north, ours_m), error_m, home, policy)
    return _odds_to_p((support / vague if support > 0.0 else support) + plan * proves + home, against), _odds_to_p(
        support + plan * guesses + home, against
    )


def _middle(scene: Scene, witness: Witness, inside: slice, weight: Floats) -> tuple[float, float, float]:
    """Where the fixes of a stay say that it was, and the signed distance from there to the fence: their mean. The mean of somebody
    who was all over a house with a court, or with two wings, lies in neither: if half of her fixes lie in the fence, the one at the
    lower third of their distances stands for them, for positions scatter outward.
    """

    def mean(column: Floats) -> float:
        return float((column[inside] * weight).sum() / weight.sum())

    east, north = mean(witness.east), mean(witness.north)
    ours_m = float(witness.fence.distance(np.array([east]), np.array([north]))[0])
    distance = witness.distance[inside]
    if ours_m <= 0.0 or 2 * np.count_nonzero(distance <= 0.0) <= len(distance):
        return east, north, ours_m
    if not shapely.contains_xy(scene.site.geometry.convex_hull, mean(witness.fixes.lon), mean(witness.fixes.lat)):
        return east, north, ours_m
    deep = inside.start + int(np.argsort(distance, kind="stable")[len(distance) // 3])
    return float(witness.east[deep]), float(witness.north[deep]), float(witness.distance[deep])


def _against(
    scene: Scene, witness: Witness, core: Run, place: tuple[float, float, float], error_m: float, home: float, policy: Policy
) -> float:
    """Odds, in sum, of the known neighbours against this site, for a stay at a place (east, north, signed distance to our fence);
    `home` is what speaks at this site.
    """
    rivals, together, shares = _around(scene.site, scene.neighbours, witness.plane)
    if not rivals:
        return 0.0
    east, north, ours = place
    theirs = likelihood.rivalries(witness.fence, together, east, north, error_m)
    # At the edge of this fence or beyond it, and deeper in theirs: a wide fence draws a position in it no less than a narrow one
    # draws it from outside, and on shared ground it is the positions then that speak, and not the plan.
    edge_m = min(error_m, witness.fence.thickness_m / 4.0) / 2.0
    deeper = (ours > -edge_m) & (together.distances(east, north) <= min(ours - error_m, 0.0))
    theirs = np.where(deeper, np.minimum(theirs, 0.0), theirs)
    prior = np.where(shares & ~deeper, policy.same_ground_prior / len(rivals), policy.neighbour_prior)
    planned = {other.site for other in scene.others if other.starts_at < core[1] and other.ends_at > core[0]}
    prior[[site.id in planned for site in rivals]] = 0.5
    against = np.minimum(np.maximum(theirs + home + np.log((1.0 - prior) / prior), -30.0), 30.0)
    return float(np.exp(-against).sum())


@lru_cache(maxsize=20_000)
def _around(site: Site, neighbours: tuple[Site, ...], plane: Plane) -> tuple[list[Site], Fences, Bools]:
    """The other sites near by, their fences, and which of them share the ground of this one."""
    rivals = [other for other in neighbours if other.id != site.id]
    fences = tuple(fence_of(other, plane) for other in rivals)
    ours = fence_of(site, plane)
    return rivals, fences_of(fences), np.array([ours.shares_ground(fence) for fence in fences], dtype=bool)


def _odds_to_p(odds: float, against: float) -> float:
    return 1.0 / (1.0 + exp(-min(max(odds, -30.0), 30.0)) + against)
