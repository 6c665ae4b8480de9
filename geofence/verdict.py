"""Verdict: the answer for one visit and its findings, from presence, duration and coverage.

    not over, or late data may still come                                        pending
    covered, on site long enough by best and lower bound, on credible evidence   verified
    covered, seen away without conflict, upper bound below the least service     contradicted
    lower bound at least the least service                                       partial
    everything else                                                              unknown

Losing evidence may make a verdict unknown; it must never turn `verified` into `contradicted` or back. That holds by
construction, and not by luck: let C_on be the planned seconds covered by any report that taken alone speaks for on site (flags
aside), and C_off those covered by any report that taken alone speaks clearly against. Both can only
shrink when evidence is lost. `verified` requires C_on ≥ half the plan and C_off < half; `contradicted` requires C_off ≥ half and
C_on < half. So from verified, C_off stays below half: no contradiction; to verified, C_on was at least half before: it was no
contradiction. Beyond the law it must also be sure that she was there for half of the plan: to serve somebody else next door, and
then to stay here, is not this service.
"""

import numpy as np
from msgspec import Struct

from geofence import credibility, likelihood
from geofence.coverage import Coverage
from geofence.evidence import Bools, Floats, Ints, since
from geofence.intervals import covered, intersect, length, ms
from geofence.outcome import Finding, Moment, Seconds, Verdict
from geofence.plan import Scene
from geofence.plane import fence_of
from geofence.policy import Policy
from geofence.witness import Witness, is_ours

CLEAR_SHARE = 0.5
"""Half of the plan: see the law above."""
NEAR_M = 200.0
"""No position further from a home than this speaks for it, however vague."""
CAME_S = 60.0
"""Who was here for a minute came, and may have been here too briefly."""
SPOOF_SHARE = 0.05
"""Share of flagged fixes from which a person should look: a lone outlier is an outlier."""


class Reading(Struct, frozen=True):
    """What presence, duration and coverage came to."""

    arrived_at: Moment | None
    left_at: Moment | None
    on_site: Seconds
    planned_on_s: float
    """Of the planned time, how long she was surely on site."""
    coverage: Coverage
    decided_departure: bool
    """The worker was seen to be gone, and not only not seen."""


def decide(scene: Scene, witness: Witness, reading: Reading, policy: Policy, now: float) -> Verdict:
    """The verdict."""
    visit = scene.visit
    settled = now >= visit.ends_at + policy.late_wait_s
    verdict = _settled(scene, witness, reading, policy)
    if settled:
        return verdict
    complete = reading.coverage.monitored_ms == reading.coverage.expected_ms
    if now >= visit.ends_at and verdict == "verified" and reading.decided_departure and complete:
        return verdict
    return "pending"


def _settled(scene: Scene, witness: Witness, reading: Reading, policy: Policy) -> Verdict:
    planned_s = scene.visit.ends_at - scene.visit.starts_at
    enough = reading.coverage.monitored_ms >= policy.coverage_target * reading.coverage.expected_ms
    speaks_on, speaks_off = clear_shares(scene, witness, policy)
    on_site = reading.on_site
    if (
        enough
        and on_site.best >= policy.on_site_best_share * planned_s
        and on_site.lower >= policy.on_site_lower_share * planned_s
        and speaks_on >= CLEAR_SHARE > speaks_off
        and reading.planned_on_s >= CLEAR_SHARE * planned_s
    ):
        return "verified"
    seen_away = enough and on_site.upper < policy.proven_min_s and speaks_off >= CLEAR_SHARE > speaks_on
    if seen_away and not _conflicts(scene, witness, policy):
        return "contradicted"
    return "partial" if on_site.lower >= policy.proven_min_s else "unknown"


def clear_shares(scene: Scene, witness: Witness, policy: Policy) -> tuple[float, float]:
    """Shares of the plan that are covered by reports which, each taken alone, speak for on site, and clearly against it."""
    visit = scene.visit
    plan = [(ms(visit.starts_at), ms(visit.ends_at))]
    anchors_at = np.array([anchor.at for anchor in witness.anchors])
    anchors_llr = np.array([anchor.llr for anchor in witness.anchors])
    # That a button was pressed places nobody; the coordinates that came with it may.
    least_llr = np.array([0.0 if anchor.strong else policy.llr_check_app for anchor in witness.anchors])
    strong = any(anchor.strong and anchor.llr > 0.0 for anchor in witness.anchors)
    stirred = witness.activity if strong else witness.activity[:0]
    at = np.concatenate((witness.fixes.at, anchors_at, stirred))
    on = np.concatenate((witness.llr > 0.0, anchors_llr > least_llr, np.ones(len(stirred), dtype=bool)))
    off = np.concatenate((witness.off, anchors_llr < 0.0, np.zeros(len(stirred), dtype=bool)))
    # A stretch around each report, of the report itself and not of its neighbours. What speaks against is taken narrowly, also of
    # a phone that is silent while still: it spoke because it moved, and soon after she may have been on site.
    fixes = len(witness.fixes.at)
    near = np.full(len(at), policy.horizon_home_s)
    near[:fixes] = policy.horizon_still_s
    wide = near.copy()
    wide[:fixes][witness.quiet] = policy.horizon_significant_s

    def share(chosen: Bools, width: Floats) -> float:
        return length(intersect(plan, covered(at[chosen] - width[chosen] / 2.0, width[chosen]))) / length(plan)

    return share(on, wide), share(off, near)


def longest_horizon_s(policy: Policy) -> float:
    """The longest that any evidence stays informative."""
    return max(policy.horizon_moving_s, policy.horizon_still_s, policy.horizon_home_s, policy.horizon_significant_s)


def find(scene: Scene, witness: Witness, reading: Reading, verdict: Verdict, policy: Policy, now: float) -> tuple[Finding, ...]:
    """All findings that apply, in the order of the contract."""
    visit = scene.visit
    planned_s = visit.ends_at - visit.starts_at
    over = now >= visit.ends_at
    settled = verdict != "pending"
    arrived, left, on_site = reading.arrived_at, reading.left_at, reading.on_site
    found: list[Finding] = []
    if (
        arrived
        and arrived.earliest
        and arrived.earliest > visit.starts_at
        and arrived.best > visit.starts_at + policy.punctuality_s
    ):
        found.append("late_arrival")
    left_early = left and left.latest and left.latest < visit.ends_at and left.best < visit.ends_at - policy.punctuality_s
    if over and reading.decided_departure and left_early:
        found.append("early_departure")
    if settled and arrived and on_site.upper < policy.on_site_best_share * planned_s:
        found.append("short_service")
    if on_site.lower > planned_s and on_site.best > planned_s + policy.punctuality_s:
        found.append("over_service")
    if verdict == "contradicted" and on_site.best < CAME_S:
        found.append("no_show")
    if over and on_site.best < policy.on_site_best_share * planned_s and _elsewhere(scene, witness, policy):
        found.append("wrong_site")
    if settled and verdict in ("contradicted", "unknown") and witness.observed.elsewhen:
        found.append("unscheduled")
    found.extend(_missing_checks(scene, witness, settled, policy))
    if settled and reading.coverage.monitored_ms < policy.coverage_target * reading.coverage.expected_ms:
        found.append("low_coverage")
    during = _during(scene, witness, reading)
    if _spoofed(witness.mask[during]):
        found.append("spoof_suspected")
    if (witness.mask[during] & credibility.CLOCK_SKEW).any():
        found.append("clock_skew")
    if _conflicts(scene, witness, policy):
        found.append("conflicting_evidence")
    return tuple(found)


def _missing_checks(scene: Scene, witness: Witness, settled: bool, policy: Policy) -> list[Finding]:
    kinds = {check.kind for check in witness.observed.checks if is_ours(check, scene)}
    if policy.checks_expected == "never" or (policy.checks_expected == "when_used" and not kinds):
        return []
    found: list[Finding] = []
    if "in" not in kinds and (settled or "out" in kinds):
        found.append("missing_check_in")
    if "out" not in kinds and settled:
        found.append("missing_check_out")
    return found


def _elsewhere(scene: Scene, witness: Witness, policy: Policy) -> bool:
    """Whether the worker spent the least service at another known site, in planned time that no other visit of hers explains."""
    visit, fixes = scene.visit, witness.fixes
    use = witness.credible & witness.precise & (witness.llr <= 0.0) & (fixes.at >= visit.starts_at) & (fixes.at < visit.ends_at)
    # A fix there counts until the next, wherever that is: two strays are no stay.
    lasts = np.minimum(witness.horizon, np.append(since(fixes.at)[1:], np.inf))
    for site in scene.neighbours:
        if site.id == visit.site:
            continue
        fence = fence_of(site, witness.plane)
        west, south, east, north = fence.box
        free = use & (witness.east > west - NEAR_M) & (witness.east < east + NEAR_M)
        free &= (witness.north > south - NEAR_M) & (witness.north < north + NEAR_M)
        # On common ground a position tells one from the other only where it is clearly outside this one.
        if free.any() and witness.fence.shares_ground(fence):
            free &= witness.off
        for other in scene.others:
            if other.site == site.id:
                free &= ~((fixes.at >= other.starts_at - policy.punctuality_s) & (fixes.at < other.ends_at + policy.punctuality_s))
        if free.any():
            theirs = fence.distance(witness.east[free], witness.north[free])
            sigma = witness.sigma[free]
            there = (likelihood.llr(fence, theirs, sigma, np.full_like(sigma, policy.sigma_floor_still_m), policy) > 0.0) & (
                likelihood.rivalry(witness.fence, fence, witness.east[free], witness.north[free], sigma) < 0.0
            )
            seen = covered(fixes.at[free][there], lasts[free][there])
            if length(seen) >= ms(policy.proven_min_s):
                return True
    return False


def _during(scene: Scene, witness: Witness, reading: Reading) -> slice:
    """The fixes of the visit itself: before and after it, the worker may have been on another errand."""
    start, end = scene.visit.starts_at, scene.visit.ends_at
    if reading.arrived_at:
        start = min(start, reading.arrived_at.best)
    if reading.left_at:
        end = max(end, reading.left_at.best)
    first, last = witness.fixes.at.searchsorted((start, end)).tolist()
    return slice(first, last)


def _spoofed(mask: Ints) -> bool:
    """Whether more than a lone outlier looks like intent."""
    suspect = (mask & credibility.SPOOF) != 0
    return bool(suspect.sum() >= 3 and suspect.mean() >= SPOOF_SHARE)


def _conflicts(scene: Scene, witness: Witness, policy: Policy) -> bool:
    """Whether a strong sign at the home and credible, precise fixes around it, or two phones, say the opposite of each other.

    Only in planned time: around it, the worker has other doors to open.
    """
    at, visit = witness.fixes.at, scene.visit
    disputed = at[witness.disputed]
    disputed = disputed[(disputed >= visit.starts_at) & (disputed < visit.ends_at)]
    if length(covered(disputed, np.full(len(disputed), 60.0))) >= ms(policy.proven_min_s):
        return True
    use = witness.credible & witness.precise
    for anchor in witness.anchors:
        if anchor.strong and visit.starts_at <= anchor.at < visit.ends_at:
            first = int(at.searchsorted(anchor.at - policy.horizon_moving_s))
            near = slice(first, int(at.searchsorted(anchor.at + policy.horizon_moving_s, side="right")))
            against = (witness.off[near] if anchor.llr > 0 else witness.llr[near] > 0.0)[use[near]]
            if against.sum() > 0 and against.mean() > 0.5:
                return True
    return False
