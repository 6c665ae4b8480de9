"""Presence: P(on site) over time for one worker and one site, as a two-state chain that evidence pulls and time relaxes.

States and rates (per second; the plan makes them likelier or less, and is no evidence):

                 come(t)                           inside the plan      outside it
      away  ───────────────▶  on          come     1 / arrive_mean_s    1 / off_plan_arrive_mean_s, after it hardly; as inside it
            ◀───────────────                                            just before it (punctuality_s), for people come early
                 leave(t)                 leave    1 / stay_mean_s      1 / off_plan_stay_mean_s

Over a time dt with constant rates, π = come / (come + leave) and f = e^(-(come + leave) dt):

      P(on | on)   = π + (1 - π) f           P(on | away) = π (1 - f)

An observation multiplies the odds of "on" by e^llr. Fixes closer together than the correlation time of the error count for their
share of it: weight = min(1, dt / correlation_s).

Rules kept here:

- `alone` is the chain of a visit over its whole window; `beside` has a third state, for a worker who has other places near by. What
  is known of each node from all that was observed before and after it, `chain.smoothed` says, for many visits side by side. Its
  forward half alone is what `live` folds for many workers at once.
- An observation with llr 0 changes nothing, so that nodes may be put wherever the curve is wanted.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from geofence.chain import Chain
from geofence.evidence import Bools, Floats, since
from geofence.plan import Visit
from geofence.policy import Policy


class Observations(Struct, frozen=True, eq=False):
    """What was observed, in the order of time: log-likelihood ratios, untempered, and which of them are fixes."""

    at: Floats
    llr: Floats
    fix: NDArray[np.bool_]


def temper(observations: Observations, policy: Policy) -> Floats:
    """The log-likelihood ratios with each fix weighed by the time since the fix before it."""
    llr = observations.llr.copy()
    llr[observations.fix] *= np.minimum(1.0, since(observations.at[observations.fix]) / policy.correlation_s)
    return llr


def alone(begin: float, at: Floats, llr: Floats, visit: Visit, policy: Policy) -> Chain:
    """The chain of being on site, or away. No interval between nodes may contain the plan's start or end."""
    dt = since(at, at[0] - begin)
    middle = at - dt / 2.0
    mine = planned(middle, (visit,))
    come, leave = _rates(mine | planned(middle + policy.punctuality_s, (visit,)), mine, middle >= visit.ends_at, policy)
    level = come / (come + leave)
    fade = np.exp(-(come + leave) * dt)
    stay, arrive = level + (1.0 - level) * fade, level * (1.0 - fade)
    gain = np.exp(llr)
    steps = np.array((stay * gain, 1.0 - stay, arrive * gain, 1.0 - arrive))
    return Chain(np.array([policy.prior_on, 1.0 - policy.prior_on]), steps.reshape(2, 2, -1))


def beside(begin: float, at: Floats, llr: tuple[Floats, Floats], visit: Visit, rivals: tuple[Visit, ...], policy: Policy) -> Chain:
    """As `alone`, with a third state: at another of her places near by, where `rivals` are planned: here, there, and at neither.
    `llr` are the log-odds of being here and of being there, each against being at neither.

    From one to the other she may go unseen, through a staircase or over a garden fence: soon, once only the other is planned.
    """
    dt = since(at, at[0] - begin)
    middle = at - dt / 2.0
    mine, theirs = planned(middle, (visit,)), planned(middle, rivals)
    due = mine | planned(middle + policy.punctuality_s, (visit,))
    due_r = theirs | planned(middle + policy.punctuality_s, rivals)
    over, over_r = middle >= visit.ends_at, middle >= max(rival.ends_at for rival in rivals)
    come, leave = _rates(due, mine, over, policy)
    come_r, leave_r = _rates(due_r, theirs, over_r, policy)
    to_r = np.where(theirs & ~mine, policy.switch_mean_s, np.where(over & ~over_r, policy.between_mean_s, policy.stay_mean_s))
    to_h = np.where(
        mine & ~theirs, policy.switch_mean_s, np.where(~theirs & ~mine & ~over, policy.between_mean_s, policy.stay_mean_s)
    )
    goes, goes_r, comes = (1.0 - np.exp(-rate * dt) for rate in (leave, leave_r, come + come_r))
    changes, changes_r = 1.0 - np.exp(-dt / to_r), 1.0 - np.exp(-dt / to_h)
    share = come / (come + come_r)
    up, up_r = np.exp(llr[0]), np.exp(llr[1])
    steps = np.array(
        (
            *((1.0 - goes) * (1.0 - changes) * up, (1.0 - goes) * changes * up_r, goes),
            *((1.0 - goes_r) * changes_r * up, (1.0 - goes_r) * (1.0 - changes_r) * up_r, goes_r),
            *(comes * share * up, comes * (1.0 - share) * up_r, 1.0 - comes),
        )
    )
    here = policy.prior_on
    return Chain(np.array([here, here, 1.0 - here - here]), steps.reshape(3, 3, -1))


def planned(at: Floats, visits: tuple[Visit, ...], early_s: float = 0.0, late_s: float = 0.0) -> Bools:
    """Of moments in order: whether any of the visits is planned for them, or so near that she may be so early or late for it."""
    told = np.zeros(len(at), dtype=bool)
    for visit in visits:
        first, end = at.searchsorted((visit.starts_at - early_s, visit.ends_at + late_s)).tolist()
        told[first:end] = True
    return told


def _rates(due: Bools, planned: Bools, over: Bools, policy: Policy) -> tuple[Floats, Floats]:
    """Of coming and of leaving, per second."""
    idle = np.where(over, 1.0 / policy.after_plan_arrive_mean_s, 1.0 / policy.off_plan_arrive_mean_s)
    come = np.where(due, 1.0 / policy.arrive_mean_s, idle)
    return come, np.where(planned, 1.0 / policy.stay_mean_s, 1.0 / policy.off_plan_stay_mean_s)
