"""Presence: P(on site) over time for one worker and one site, as a two-state chain that evidence pulls and time relaxes.

States and rates (per second; the plan makes them likelier or less, and is no evidence):

                 come(t)                           inside the plan      outside it
      away  ───────────────▶  on          come     1 / arrive_mean_s    1 / off_plan_arrive_mean_s, after it hardly
            ◀───────────────              leave    1 / stay_mean_s      1 / off_plan_stay_mean_s
                 leave(t)

Over a time dt with constant rates, π = come / (come + leave) and f = e^(-(come + leave) dt):

      P(on | on)   = π + (1 - π) f           P(on | away) = π (1 - f)

An observation multiplies the odds of "on" by e^llr. Fixes closer together than the correlation time of the error count for their
share of it: weight = min(1, dt / correlation_s).

Rules kept here:

- `step` is a fold: any split of the same observations gives the same state (to rounding), and that state is the forward pass of
  `smooth`. It needs three numbers of memory a worker and site, and serves the live view.
- `smooth` is forward-backward (Rabiner 1989; a chain with irregular times) over the whole window, for a visit that is judged.
- An observation with llr 0 changes nothing, so that nodes may be put wherever the curve is wanted.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from geofence.evidence import Floats
from geofence.plan import Visit
from geofence.policy import Policy


class State(Struct, frozen=True):
    """What the fold remembers: P(on site) as of `at`, and when the last fix was, for the tempering of the next."""

    at: float
    on: float
    fix_at: float = -np.inf


class Observations(Struct, frozen=True, eq=False):
    """What was observed, in the order of time: log-likelihood ratios, untempered, and which of them are fixes."""

    at: Floats
    llr: Floats
    fix: NDArray[np.bool_]


def start(visit: Visit, at: float, policy: Policy) -> State:
    """The state before anything was observed."""
    return State(at=at, on=policy.prior_on)


def step(state: State, observations: Observations, visit: Visit, policy: Policy) -> State:
    """Fold a batch of observations, none of them older than the state."""
    if not len(observations.at):
        return state
    at, llr = _with_plan_nodes(state.at, observations.at, temper(observations, state.fix_at, policy), visit)
    on = forward(state, at, llr, visit, policy)
    fixes = observations.at[observations.fix]
    return State(at=float(at[-1]), on=float(on[-1]), fix_at=float(fixes[-1]) if len(fixes) else state.fix_at)


def until(state: State, at: float, visit: Visit, policy: Policy) -> State:
    """The state at a later moment at which nothing was observed: a tick of silence."""
    silence = Observations(at=np.array([at]), llr=np.zeros(1), fix=np.zeros(1, dtype=bool))
    return step(state, silence, visit, policy)


def temper(observations: Observations, last_fix_at: float, policy: Policy) -> Floats:
    """The log-likelihood ratios with each fix weighed by the time since the fix before it."""
    llr = observations.llr.copy()
    fix_at = observations.at[observations.fix]
    since = np.diff(fix_at, prepend=last_fix_at)
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


def _with_plan_nodes(since: float, at: Floats, llr: Floats, visit: Visit) -> tuple[Floats, Floats]:
    """Put empty nodes where the rates change, so that they are constant between nodes."""
    edges = np.array([edge for edge in (visit.starts_at, visit.ends_at) if since < edge < at[-1]])
    place = np.searchsorted(at, edges)
    return np.insert(at, place, edges), np.insert(llr, place, 0.0)


def _transitions(at: Floats, visit: Visit, policy: Policy) -> tuple[Floats, Floats]:
    """P(on | on) and P(on | away) over each interval between nodes."""
    dt = np.diff(at)
    middle = at[:-1] + dt / 2
    planned = (middle >= visit.starts_at) & (middle < visit.ends_at)
    over = middle >= visit.ends_at
    idle = np.where(over, 1.0 / policy.after_plan_arrive_mean_s, 1.0 / policy.off_plan_arrive_mean_s)
    come = np.where(planned, 1.0 / policy.arrive_mean_s, idle)
    leave = np.where(planned, 1.0 / policy.stay_mean_s, 1.0 / policy.off_plan_stay_mean_s)
    level = come / (come + leave)
    fade = np.exp(-(come + leave) * dt)
    return level + (1.0 - level) * fade, level * (1.0 - fade)
