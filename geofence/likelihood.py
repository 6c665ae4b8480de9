"""Likelihood: how much more likely one position report is if the worker is on site than if she is away, in log-odds.

The formula, and why. A report lies at signed distance d from the fence (negative inside); its error per axis is σ. Errors have a
logistic distribution, G(x) = 1 / (1 + e^(-1.702 x)): within 0.01 of the Gaussian in the middle and with an exponential tail, since
phones err far more often than a Gaussian allows.

1. σ² = floor² + (inflation · accuracy / 1.515)²: the reported radius holds 68 % of a two-dimensional error, which is 1.515 σ
   (Rayleigh distribution); phones understate it, and no phone beats the floor.
2. The share of the error that lies over the fence, a box of thickness t across and width w along:
   overlap = [G((d + t) / σ) - G(d / σ)] · [2 G(w / 2σ) - 1].
   With a flat prior of the true position this is the probability of being inside (Play Services decides by it alone).
3. A flat prior is wrong for people: who is away is away at any scale alike, as far as people go in a day, so the density of her
   position at distance δ, max(d, 0) and at most that, is κ / 2π(δ² + σ²) per square metre (a share κ for each factor e of
   distance), and not as flat as a field. Hence the bonus for small fences, without which a house smaller than the error could never
   be believed:
   llr = logit(overlap) + log(1 + 2π(δ² + σ²) / (κ · area)).
   At the outline of a fence much larger than the error both terms vanish: a precise report decides exactly there.
4. Worse accuracy must never make "on site" easier. For a given point the part of llr above zero may only shrink as σ grows:
   it is held below what the best phone would say there, and fades as 1 / (1 + (σ / vague)²). A report that a perfect phone would
   call off can at most say nothing.
5. Both ends are cut: no single report is better than the rate of gross errors.
"""

import numpy as np

from geofence.evidence import Bools, Floats
from geofence.plane import Extent, Fence, Fences
from geofence.policy import Policy

HOME_SIGMA_M = 15.0
"""How far from the centre of a circle people are, per axis, when they are at home."""
FAR_M = 50_000.0
"""Further away, nothing grows likelier by being further still: else a phone on another continent would speak for on site."""
LATELY, LATELY_S = 5, 75.0
"""So many fixes in a row, no further apart than this, tell what a phone names in one place."""
RAYLEIGH_68 = 1.515
"""sqrt(-2 ln 0.317): the radius that holds 68.3 % of a two-dimensional Gaussian, in σ of one axis."""


def floor(moving: Bools, policy: Policy) -> Floats:
    """Error per axis that a phone cannot beat: outdoors, where one moves, or indoors, where one stays."""
    return np.where(moving, policy.sigma_floor_m, policy.sigma_floor_still_m)


def sigma(accuracy_m: Floats, floor_m: Floats, policy: Policy) -> Floats:
    """Error per axis that a reported 68 % radius stands for, metres; a missing radius is the policy's default."""
    radius = np.where(np.isnan(accuracy_m), policy.accuracy_default_m, accuracy_m)
    told = np.maximum(radius, 0.0) * (policy.sigma_inflation / RAYLEIGH_68)
    return np.sqrt(floor_m * floor_m + told * told)


def lately(at: Floats, named: Floats) -> Floats:
    """What a phone mostly named around each fix, radii or errors, nothing being more than any: one by itself is noise. In a track
    whose fixes are mostly minutes apart they stand for themselves.
    """
    if len(at) <= LATELY or at[-1] - at[0] > LATELY_S * (len(at) - 1):
        return named
    known = np.where(np.isnan(named), np.inf, named)
    beyond = LATELY // 2
    around = np.concatenate((known[:1].repeat(beyond), known, known[-1:].repeat(beyond)))
    a, b, c, d, e = (around[n : n + len(known)] for n in range(LATELY))
    # The median of five without sorting: neither the least nor the most of either pair is in the middle of all.
    high, low = np.maximum(np.minimum(a, b), np.minimum(d, e)), np.minimum(np.maximum(a, b), np.maximum(d, e))
    middle: Floats = np.maximum(np.minimum(high, low), np.minimum(np.maximum(high, low), c))
    return middle


def overlap(fence: Fence | Fences | Extent, distance_m: Floats, sigma_m: Floats) -> Floats:
    """Share of the error of each report that lies over the fence."""
    across = _logistic((distance_m + fence.thickness_m) / sigma_m) - _logistic(distance_m / sigma_m)
    along = 2.0 * _logistic(fence.width_m / (2.0 * sigma_m)) - 1.0
    return np.minimum(np.maximum(across * along, 1e-12), 1.0 - 1e-12)


def llr(fence: Fence, distance_m: Floats, sigma_m: Floats, floor_m: Floats, policy: Policy) -> Floats:
    """Log-likelihood ratio, on site against away, of each report taken alone."""
    raw = ratio(fence, distance_m, sigma_m, policy.away_share_per_efold)
    best = ratio(fence, distance_m, floor_m, policy.away_share_per_efold)
    return _cut(np.minimum(raw, np.maximum(best, 0.0)), sigma_m, policy)


def both(fence: Fence | Extent, distance_m: Floats, sigma_m: Floats, floor_m: Floats, policy: Policy) -> tuple[Floats, Floats]:
    """`llr` and `pull` of each report, which share nearly all of their arithmetic."""
    odds, best_odds = _logit(overlap(fence, distance_m, sigma_m)), _logit(overlap(fence, distance_m, floor_m))
    outside2 = _outside2(distance_m)
    spread, best_spread = outside2 + sigma_m**2, outside2 + floor_m**2

    def of(share_per_efold: float) -> tuple[Floats, Floats]:
        scale = 2.0 * np.pi / (share_per_efold * fence.area_m2)
        return odds + np.log1p(scale * spread), best_odds + np.log1p(scale * best_spread)

    raw, best = of(policy.away_share_per_efold)
    told = np.minimum(raw, np.maximum(best, 0.0))
    if policy.passing_share_per_efold != policy.away_share_per_efold:
        raw, best = of(policy.passing_share_per_efold)
    pulled = np.where(best > 0.0, np.minimum(raw, best), raw)
    return _cut(told, sigma_m, policy), _cut(pulled, sigma_m, policy)


def stay_llr(fence: Fence, distance_m: float, sigma_m: float, floor_m: float, policy: Policy) -> float:
    """As `llr`, for the mean position of a whole stay, without the cuts that stand for single gross errors."""
    raw, best = ratio(fence, np.array([distance_m]), np.array([sigma_m, floor_m]), policy.away_share_per_efold).tolist()
    held: float = min(raw, max(best, 0.0))
    return held / (1.0 + (sigma_m / policy.vague_sigma_m) ** 2) if held > 0.0 else held


def pull(fence: Fence | Extent, distance_m: Floats, sigma_m: Floats, floor_m: Floats, policy: Policy) -> Floats:
    """What each report does to the chain, in log-odds.

    As `llr`, but where a perfect phone would say "off" a vague one keeps its honest, small say: a house smaller than the error is
    missed by most of its own reports, which must not add up to an absence. Whether the stay that they form was here is decided by
    all of them together, lawfully, in `posterior`.
    """
    raw = ratio(fence, distance_m, sigma_m, policy.passing_share_per_efold)
    best = ratio(fence, distance_m, floor_m, policy.passing_share_per_efold)
    held = np.where(best > 0.0, np.minimum(raw, best), raw)
    return _cut(held, sigma_m, policy)


def rivalry(ours: Fence, theirs: Fence, east: Floats, north: Floats, sigma_m: Floats) -> Floats:
    """Log-likelihood ratio of each position, our site against a neighbouring one: which of two fences would draw it."""
    return np.log(_density(ours, east, north, sigma_m)) - np.log(_density(theirs, east, north, sigma_m))


def rivalries(ours: Fence, theirs: Fences, east: float, north: float, sigma_m: float) -> Floats:
    """As `rivalry`, for one position and many neighbouring sites."""
    x, y, sigma = np.array([east]), np.array([north]), np.array([sigma_m])
    return np.log(_density(ours, x, y, sigma)) - np.log(_densities(theirs, east, north, sigma))


def _densities(fences: Fences, east: float, north: float, sigma_m: Floats) -> Floats:
    spread = overlap(fences, fences.distances(east, north), sigma_m) / fences.area_m2
    variance = HOME_SIGMA_M**2 + sigma_m**2
    away2 = (east - fences.east_m) ** 2 + (north - fences.north_m) ** 2
    centred = 0.5 * spread + 0.5 * np.exp(-0.5 * away2 / variance) / (2.0 * np.pi * variance)
    return np.where(fences.radius_m > 0.0, centred, spread)


def _density(fence: Fence, east: Floats, north: Floats, sigma_m: Floats) -> Floats:
    """Density of reports from somebody on site: spread over the ground, for a circle half of it about its centre.

    A circle is drawn around a home with room to spare; a polygon is the home.
    """
    spread = overlap(fence, fence.distance(east, north), sigma_m) / fence.area_m2
    if not fence.radius_m:
        return spread
    variance = HOME_SIGMA_M**2 + sigma_m**2
    away2 = (east - fence.east_m) ** 2 + (north - fence.north_m) ** 2
    return 0.5 * spread + 0.5 * np.exp(-0.5 * away2 / variance) / (2.0 * np.pi * variance)


def ratio(fence: Fence | Extent, distance_m: Floats, sigma_m: Floats, share_per_efold: float) -> Floats:
    share = overlap(fence, distance_m, sigma_m)
    spread = _outside2(distance_m) + sigma_m**2
    bonus = np.log1p(2.0 * np.pi * spread / (share_per_efold * fence.area_m2))
    return _logit(share) + bonus


def _outside2(distance_m: Floats) -> Floats:
    away = np.minimum(np.maximum(distance_m, 0.0), FAR_M)
    return away * away


def _logit(share: Floats) -> Floats:
    return np.log(share / (1.0 - share))


def _cut(value: Floats, sigma_m: Floats, policy: Policy) -> Floats:
    faded = np.where(value > 0.0, value / (1.0 + (sigma_m / policy.vague_sigma_m) ** 2), value)
    return np.minimum(np.maximum(faded, -policy.llr_off_max), policy.llr_on_max)


def _logistic(x: Floats) -> Floats:
    return 0.5 + 0.5 * np.tanh(0.851 * x)
