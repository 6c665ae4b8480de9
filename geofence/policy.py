"""Policy: every number that the engine decides with, flat, with its unit in its name, its reason and where it came from.

Rules kept here:

- A policy belongs to a service and has a version; an outcome names the version that judged it.
- `Policy()` is complete: a service states only what it does differently.
- A wrong value is a `ValueError` that names the field and the bound. Unknown fields are refused by msgspec.

Sources: [design] is the project's own definition; [formats] the collected public facts; [fitted] on simulated days of both worlds
with seeds 1 to 99, `python -m bench.accuracy --seeds 1-5 --policy P.json`, to the shares of intervals that hold the truth and to
the errors of duration; the rest names its own.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import fields

Rounding = Literal["nearest", "down", "up", "exact"]
ChecksExpected = Literal["always", "when_used", "never"]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the visits of one service are judged."""

    service: str = "default"
    version: int = 0
    """0 is the built-in default; stored policies count from 1."""

    # What is promised, and when it counts as kept -------------------------------------------------------------------------------
    early_s: float = 1800.0
    """Presence this long before the plan still belongs to the visit [design: 30 min]."""
    late_s: float = 1800.0
    """Presence this long after the plan still belongs to the visit [design: 30 min]."""
    coverage_target: float = 0.95
    """Share of the expected seconds that must be monitored before anything is verified or contradicted [design]."""
    on_site_best_share: float = 0.95
    """Verified needs the best on-site seconds to reach this share of the planned ones [design]."""
    on_site_lower_share: float = 0.90
    """Verified needs the lower bound to reach this share of the planned seconds [design]."""
    proven_min_s: float = 600.0
    """At least this much lower bound is a part of a service; an upper bound below it is none at all [design: 10 min]."""
    punctuality_s: float = 600.0
    """Arrival, departure or duration off by more than this is a finding [design: 10 min]."""
    grace_s: float = 420.0
    """An absence below this does not split a visit: rubbish, parking the car. Five minutes, and what noticing both crossings
    costs.
    """
    checks_expected: ChecksExpected = "when_used"
    """Whether a visit without check-in or check-out is a finding. `when_used`: one of the two was made, so the other was forgotten.
    A phone that only tracks (OwnTracks) can make neither, and would otherwise complain at every visit."""

    # When an answer is final ----------------------------------------------------------------------------------------------------
    late_wait_s: float = 300.0
    """How long after the end late evidence is waited for before `pending` ends: a phone's outbox empties within minutes."""
    live_every_s: float = 20.0
    """A visit whose window is open is looked at again at most this often, however much comes in: so old may be what a desk sees of
    an arrival.
    """
    open_every_s: float = 300.0
    """And, while it runs, at least this often, also when nothing new is heard: so old may be its seconds so far. Every look costs a
    judgement, and thousands of visits run at a time.
    """
    final_after_s: float = 604_800.0
    """After this a changed policy no longer re-judges a visit; evidence still does [design: late data up to 7 days]."""

    # Coverage -------------------------------------------------------------------------------------------------------------------
    horizon_moving_s: float = 120.0
    """How long a fix of a moving phone stays informative [design]."""
    horizon_still_s: float = 300.0
    """How long a fix of a still phone stays informative [design]."""
    horizon_home_s: float = 600.0
    """How long home-side presence, or a check made at the home, stays informative [design]."""
    horizon_significant_s: float = 1200.0
    """A phone in a significant-change mode is silent while it is still, and speaks at most every 900 s on Android [formats], and a
    third more for delivery."""
    moving_mps: float = 0.7
    """From this speed on a phone is moving: half of a walking pace."""
    accuracy_max_m: float = 150.0
    """A fix worse than this cannot tell on from off and covers nothing. Wi-Fi indoors is 20 to 75 m, cell-only 300 m and more
    [formats: Zandbergen 2009]."""

    # What a fix says ------------------------------------------------------------------------------------------------------------
    accuracy_default_m: float = 50.0
    """Taken when the phone names none: what Android says of Wi-Fi positions [formats]."""
    sigma_floor_m: float = 5.0
    """Error per axis that no phone is believed to beat on the move, under the open sky [formats: iPhone 6, 7 to 13 m]."""
    sigma_floor_still_m: float = 10.0
    """The same for a phone that lies still, which is mostly indoors, where walls shield and radii are understated."""
    sigma_inflation: float = 1.3
    """Reported radii are too small more often than too large; half-way to the factor two of phones that lie."""
    vague_sigma_m: float = 100.0
    """Beyond this error a fix fades out as a witness for on site: it would have looked the same a street away."""
    away_share_per_efold: float = 0.2
    """Prior of being away at a distance between r and e·r, the same at every scale r: four orders from a porch to across the
    city.
    """
    passing_share_per_efold: float = 0.2
    """The same for a single fix in the chain: most fixes away are of somebody who passes, and few of somebody who dwells near
    by.
    """
    llr_on_max: float = 4.0
    """Most that one independent fix can say for on site, in log-odds: one in fifty is wrong in a way no model here foresees."""
    llr_off_max: float = 4.6
    """Most that one independent fix can say against it: one in a hundred is a gross error (multipath, stale cell)."""
    correlation_s: float = 20.0
    """Fixes closer together than this are not independent witnesses of a change and count for their share of it."""
    error_lasts_s: float = 120.0
    """For how long a fix's error lasts indoors, where a stay has too few fixes to show it itself: GPS errors forget themselves in
    one to two minutes.
    """
    crossing_temper: float = 0.7
    """How much of its likelihood the model of a crossing is believed: ways bend, doors have porches [fitted]."""
    crossing_blur_s: float = 4.0
    """What no fix knows of a crossing: a fence is drawn to a few metres, and a phone's filter lags behind by a few seconds
    [fitted].
    """
    linger_mean_s: float = 60.0
    """Who waits within sight of the fence goes in, or away, within about this [fitted: shorter ones take rooms for streets, longer
    ones streets for rooms].
    """
    stay_correlation_s: float = 180.0
    """GPS error indoors forgets itself in about 90 s; the mean of such errors converges as if one in twice that time were
    independent.
    """
    bias_m: float = 8.0
    """The part of the error, per axis, that stays the same for a whole stay indoors: no number of fixes removes it."""
    flagged_weight: float = 0.02
    """What a fix that is not credible still counts: it is down-weighted, never deleted [design]."""

    # What the plan makes likely: a weak prior, never evidence -------------------------------------------------------------------
    prior_on: float = 0.05
    """Probability of being there already when the widened window opens: half an hour early is rare."""
    arrive_mean_s: float = 1800.0
    """Mean time until an absent worker arrives, while the visit is planned."""
    stay_mean_s: float = 10_800.0
    """Mean time that a worker stays, while the visit is planned: few leave a visit of an hour or two before its end."""
    off_plan_stay_mean_s: float = 900.0
    """Mean time that a worker stays outside the planned interval: unheard of, she is gone a few minutes after the plan's end."""
    off_plan_arrive_mean_s: float = 28_800.0
    """Mean time until an absent worker arrives long before the plan's start, that is by more than `punctuality_s`; within that she
    may come at any time, as during the plan.
    """
    after_plan_arrive_mean_s: float = 86_400.0
    """The same after the plan's end: then nobody comes any more."""
    nowhere_prior: float = 0.05
    """Probability that a stay that fits the plan's place was at a place that nobody told us of."""
    neighbour_prior: float = 0.3
    """Probability that it was at a known neighbour whose ground is its own: there the positions must decide, next door is a
    known trick.
    """
    same_ground_prior: float = 0.03
    """Probability that it was at one of the sites on the same ground (flats in a house): positions cannot tell, so the plan
    does.
    """

    rival_plan_odds: float = 10.0
    """Of two places that look alike, one that is planned for her within the tolerances is so many times likelier."""
    switch_mean_s: float = 120.0
    """Mean time until she has gone unseen from one of her places to the next door, once only the other is planned [fitted]."""
    between_mean_s: float = 400.0
    """The same while neither is, between the two plans [fitted]."""

    # What other evidence says, in log-odds of being on site at that moment ------------------------------------------------------
    llr_check_home: float = 6.0
    """A code, tag, beacon or PIN that is at the home (qr, nfc, ble, pin)."""
    llr_check_phone: float = 3.0
    """A call from the home's telephone."""
    llr_check_app: float = 0.5
    """A button in an app, which can be pressed anywhere; its own coordinates are weighed as a fix."""
    llr_check_edge: float = 1.5
    """Against being there a moment before a check-in or after a check-out: people check when they come and when they go."""
    check_edge_s: float = 120.0
    """That moment: how long before or after the check."""
    door_edge_s: float = 60.0
    """The same for a lock, which is at the door."""
    llr_credential: float = 6.0
    """A lock that was worked with the worker's own credential."""
    llr_credential_edge: float = 3.0
    """The same for a check at the home, and for unlocking and locking with her own credential: those happen at the door."""
    llr_door: float = 1.5
    """A door of the home that moved when a stay there began or ended; against it, if that door works and moved at neither."""
    llr_home_activity: float = 0.4
    """Motion, a door, a plug: residents do that too. Counts only beside evidence of the worker herself."""

    # Credibility ----------------------------------------------------------------------------------------------------------------
    teleport_mps: float = 55.0
    """Faster than 200 km/h is not how anybody travels between homes (Traccar and skmob filter at up to 500 km/h [formats])."""
    teleport_lone_s: float = 120.0
    """A jump there and back within this is a lone outlier; the rest of the track stays credible."""
    frozen_m: float = 0.5
    """Coordinates that move by no more than this from fix to fix are frozen: an honest phone indoors wanders by 2 m rms and more
    [GeoLife; bench/accuracy], and who makes positions up lets them tremble by centimetres.
    """
    frozen_fixes: int = 5
    """So many frozen fixes in a row are no coincidence, if they last."""
    frozen_s: float = 600.0
    """And only over this time: some phones repeat their last answer for minutes while they are still."""
    clock_ahead_max_s: float = 120.0
    """A report from further in the future than this comes from a wrong clock: networks delay, they do not foresee. Below it the
    error is that of a missed synchronisation, and shifts an arrival less than a sparse phone does."""
    accuracy_min_m: float = 0.5
    """No phone measures better than this; smaller claims are made up."""

    # Billing --------------------------------------------------------------------------------------------------------------------
    billing_unit_s: float = 900.0
    """Nearest 15 min is the commonest unit [formats: EVV]."""
    billing_rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            low, high = _bounds(field.name)
            if not low <= value <= high:
                raise ValueError(f"{field.name} must be between {low:g} and {high:g}, but is {value:g}")
        if self.on_site_lower_share > self.on_site_best_share:
            raise ValueError("on_site_lower_share must not exceed on_site_best_share: a lower bound is below the best value")
        if self.horizon_moving_s > self.horizon_still_s:
            raise ValueError("horizon_moving_s must not exceed horizon_still_s: a moving phone's fix ages faster")
        if not self.service:
            raise ValueError("service must not be empty")


_DAY_S = 86_400.0
_BOUNDS: dict[str, tuple[float, float]] = {
    "version": (0, 2**31 - 1),
    "prior_on": (0.001, 0.5),  # at most even odds: the plan must never vouch for the worker
    "nowhere_prior": (0.001, 0.5),
    "neighbour_prior": (0.001, 0.5),
    "same_ground_prior": (0.001, 0.5),
    "flagged_weight": (0.0, 0.5),
    "crossing_temper": (0.05, 1.0),
    "coverage_target": (0.5, 1.0),  # the law that lost evidence never turns a verdict over rests on a majority
    "away_share_per_efold": (0.01, 1.0),
    "passing_share_per_efold": (0.01, 1.0),
    "sigma_inflation": (1.0, 5.0),
    "rival_plan_odds": (1.0, 1000.0),
    "frozen_fixes": (3, 10_000),
    "llr_on_max": (0.5, 10.0),
    "llr_off_max": (0.5, 10.0),
    "final_after_s": (0.0, 366 * _DAY_S),
    "late_wait_s": (0.0, 7 * _DAY_S),
    "live_every_s": (1.0, 3600.0),
    "open_every_s": (1.0, 3600.0),
    "billing_unit_s": (1.0, _DAY_S),
    "teleport_mps": (10.0, 1000.0),
    "moving_mps": (0.1, 10.0),
    "grace_s": (0.0, 7200.0),
}
_BY_SUFFIX: tuple[tuple[str, tuple[float, float]], ...] = (
    ("_mean_s", (10.0, 7 * _DAY_S)),
    ("correlation_s", (1.0, 3600.0)),
    ("_share", (0.0, 1.0)),
    ("_s", (0.0, _DAY_S)),
    ("_m", (0.01, 100_000.0)),
)


def _bounds(name: str) -> tuple[float, float]:
    if name in _BOUNDS:
        return _BOUNDS[name]
    for suffix, bounds in _BY_SUFFIX:
        if name.endswith(suffix):
            return bounds
    return (0.0, 10.0)  # the log-odds, llr_*
