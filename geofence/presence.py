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

- `smooth` is forward-backward (Rabiner 1989; a chain with irregular times) over the whole window, for a visit that is judged. Its
  forward half alone is what `live` folds for many workers at once.
- `smooth_beside` is the same with a third state, for a worker who has other places near by.
- An observation with llr 0 changes nothing, so that nodes may be put wherever the curve is wanted.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from geofence.evidence import Bools, Floats
from geofence.plan import Visit
from geofence.policy import Policy


class State(Struct, frozen=True):
    """P(on site) as of a moment."""

    at: float
    on: float


class Observations(Struct, frozen=True, eq=False):
    """What was observed, in the order of time: log-likelihood ratios, untempered, and which of them are fixes."""

    at: Floats
    llr: Floats
    fix: NDArray[np.bool_]


def start(visit: Visit, at: float, policy: Policy) -> State:
    """The state before anything was observed."""
    return State(at=at, on=policy.prior_on)


def temper(observations: Observations, policy: Policy) -> Floats:
    """The log-likelihood ratios with each fix weighed by the time since the fix before it."""
    llr = observations.llr.copy()
    since = np.diff(observations.at[observations.fix], prepend=-np.inf)
    llr[observations.fix] *= np.minimum(1.0, since / policy.correlation_s)
    return llr


def forward(state: State, at: Floats, llr: Floats, visit: Visit, policy: Policy) -> Floats:
    """P(on site) after each node, given all up to it. No interval between nodes may contain the plan's start or end."""
    stay, come = _transitions(np.concatenate(([state.at], at)), visit, policy)
    on, known = state.on, []
    for s, c, gain in zip(stay.tolist(), come.tolist(), np.exp(llr).tolist(), strict=True):
        on = on * s + (1.0 - on) * c
        up = on * gain
        on = up / (up + 1.0 - on)
        known.append(on)
    return np.array(known)


def smooth(state: State, at: Floats, llr: Floats, visit: Visit, policy: Policy) -> Floats:
    """P(on site) at each node given everything, before and after it: the forward pass times the backward one."""
    before = forward(state, at, llr, visit, policy)
    stay, come = _transitions(at, visit, policy)
    later, after = 0.5, [0.5]
    for s, c, gain in zip(stay[::-1].tolist(), come[::-1].tolist(), np.exp(llr[:0:-1]).tolist(), strict=True):
        up, down = gain * later, 1.0 - later
        if_on, if_off = s * up + (1.0 - s) * down, c * up + (1.0 - c) * down
        later = if_on / (if_on + if_off)
        after.append(later)
    beta = np.array(after[::-1])
    both = before * beta
    smoothed: Floats = both / (both + (1.0 - before) * (1.0 - beta))
    return smoothed


def _transitions(at: Floats, visit: Visit, policy: Policy) -> tuple[Floats, Floats]:
    """P(on | on) and P(on | away) over each interval between nodes."""
    dt = np.diff(at)
    middle = at[:-1] + dt / 2
    planned, due = _planned(middle, (visit,)), _planned(middle + policy.punctuality_s, (visit,))
    come, leave = _rates(planned | due, planned, middle >= visit.ends_at, policy)
    level = come / (come + leave)
    fade = np.exp(-(come + leave) * dt)
    return level + (1.0 - level) * fade, level * (1.0 - fade)


def smooth_beside(
    state: State, at: Floats, llr: tuple[Floats, Floats], visit: Visit, rivals: tuple[Visit, ...], policy: Policy
) -> tuple[Floats, Floats]:
    """As `smooth`, with a third state: at another of her places near by, where `rivals` are planned. `llr` are those of being here
    and of being there, each against being at neither. Answers P(here) and P(there) at each node given everything.

    From one to the other she may go unseen, through a staircase or over a garden fence: soon, once only the other is planned.
    """
    moves = _moves(state.at, at, visit, rivals, policy)
    gain, gain_r = np.exp(llr[0]).tolist(), np.exp(llr[1]).tolist()
    h = r = state.on
    a, known = 1.0 - h - r, []
    for (hh, hr, ha, rr, rh, ra, aa, ah, ar), up, up_r in zip(moves, gain, gain_r, strict=True):
        h, r, a = (h * hh + r * rh + a * ah) * up, (h * hr + r * rr + a * ar) * up_r, h * ha + r * ra + a * aa
        total = h + r + a
        h, r, a = h / total, r / total, a / total
        known.append((h, r, a))
    later_h = later_r = later_a = 1.0
    here, there = [], []
    for (h, r, a), (hh, hr, ha, rr, rh, ra, aa, ah, ar), up, up_r in zip(
        known[::-1], moves[::-1], gain[::-1], gain_r[::-1], strict=True
    ):
        h, r, a = h * later_h, r * later_r, a * later_a
        here.append(h / (h + r + a))
        there.append(r / (h + r + a))
        on, off = later_h * up, later_r * up_r
        later_h, later_r, later_a = (
            hh * on + hr * off + ha * later_a,
            rh * on + rr * off + ra * later_a,
            ah * on + ar * off + aa * later_a,
        )
        total = later_h + later_r + later_a
        later_h, later_r, later_a = later_h / total, later_r / total, later_a / total
    return np.array(here[::-1]), np.array(there[::-1])


def _moves(since: float, at: Floats, visit: Visit, rivals: tuple[Visit, ...], policy: Policy) -> list[list[float]]:
    """The nine transition probabilities of each interval: from here, from there and from neither."""
    dt = np.diff(at, prepend=since)
    middle = at - dt / 2.0
    mine, theirs = _planned(middle, (visit,)), _planned(middle, rivals)
    due = mine | _planned(middle + policy.punctuality_s, (visit,))
    due_r = theirs | _planned(middle + policy.punctuality_s, rivals)
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
    columns = (
        (1.0 - goes) * (1.0 - changes),
        (1.0 - goes) * changes,
        goes,
        (1.0 - goes_r) * (1.0 - changes_r),
        (1.0 - goes_r) * changes_r,
        goes_r,
        1.0 - comes,
        comes * share,
        comes * (1.0 - share),
    )
    out: list[list[float]] = np.column_stack(columns).tolist()
    return out


def _planned(at: Floats, visits: tuple[Visit, ...]) -> Bools:
    planned = np.zeros(len(at), dtype=bool)
    for visit in visits:
        planned |= (at >= visit.starts_at) & (at < visit.ends_at)
    return planned


def _rates(due: Bools, planned: Bools, over: Bools, policy: Policy) -> tuple[Floats, Floats]:
    """Of coming and of leaving, per second."""
    idle = np.where(over, 1.0 / policy.after_plan_arrive_mean_s, 1.0 / policy.off_plan_arrive_mean_s)
    come = np.where(due, 1.0 / policy.arrive_mean_s, idle)
    return come, np.where(planned, 1.0 / policy.stay_mean_s, 1.0 / policy.off_plan_stay_mean_s)
