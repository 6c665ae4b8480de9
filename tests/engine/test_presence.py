"""The chain: against the sum over all paths, and as a fold that may be cut anywhere."""

from itertools import pairwise, product
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence import engine, posterior, presence, witness
from geofence.evidence import Floats
from geofence.plan import Scene, Visit
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, days, scene, seen, visit

POLICY = Policy()
moments = st.lists(st.integers(-3000, 10_000), min_size=1, max_size=8, unique=True).map(sorted)


def path_by_path(at: list[float], llr: list[float], plan: Visit) -> list[float]:
    """P(on) at each node as a sum over all 2^n paths, each with its own product of rates: slow, and obviously right."""
    total, on = 0.0, [0.0] * len(at)
    for path in product((0, 1), repeat=len(at)):
        weight = 1.0
        for k, (state, gain) in enumerate(zip(path, llr, strict=True)):
            before = at[k - 1] if k else at[0]
            inside = plan.starts_at <= (before + at[k]) / 2 < plan.ends_at
            over = (before + at[k]) / 2 >= plan.ends_at
            come = 1 / (
                POLICY.arrive_mean_s if inside else POLICY.after_plan_arrive_mean_s if over else POLICY.off_plan_arrive_mean_s
            )
            leave = 1 / (POLICY.stay_mean_s if inside else POLICY.off_plan_stay_mean_s)
            fade = exp(-(come + leave) * (at[k] - before))
            share = come / (come + leave)
            up = [share * (1 - fade), share + (1 - share) * fade]
            chance = POLICY.prior_on if k == 0 else up[path[k - 1]]
            weight *= (chance if state else 1 - chance) * (exp(gain) if state else 1.0)
        total += weight
        for k, state in enumerate(path):
            on[k] += weight * state
    return [value / total for value in on]


@bounded
@given(moments, st.data())
def test_the_smoothed_chain_is_the_sum_over_all_paths(offsets: list[int], data: st.DataObject) -> None:
    plan = visit(6000.0)
    offsets = sorted({*offsets, 0, 6000})  # nodes where the rates change, as the engine puts them
    at = [START + offset for offset in offsets]
    llr = data.draw(st.lists(st.floats(-5.0, 5.0), min_size=len(at), max_size=len(at)))
    state = presence.start(plan, at[0], POLICY)
    fast = presence.smooth(state, np.array(at), np.array(llr), plan, POLICY)
    assert fast == pytest.approx(path_by_path(at, llr, plan), abs=1e-9)


def observed(values: list[tuple[int, float, bool]]) -> presence.Observations:
    values = sorted(values)
    return presence.Observations(
        at=np.array([START + at for at, _, _ in values]),
        llr=np.array([llr for _, llr, _ in values]),
        fix=np.array([fix for _, _, fix in values]),
    )


def part(of: presence.Observations, rows: slice) -> presence.Observations:
    return presence.Observations(at=of.at[rows], llr=of.llr[rows], fix=of.fix[rows])


@bounded
@given(
    st.lists(
        st.tuples(st.integers(-1800, 9000), st.floats(-5, 5), st.booleans()), min_size=1, max_size=40, unique_by=lambda v: v[0]
    ),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_folding_in_any_split_equals_folding_at_once(values: list[tuple[int, float, bool]], cuts: list[int]) -> None:
    everything = observed(values)
    first = presence.start(visit(), START - 3000.0, POLICY)
    at_once = presence.step(first, everything, visit(), POLICY)
    state = first
    for start, end in pairwise([0, *sorted(cuts), len(values)]):
        state = presence.step(state, part(everything, slice(start, end)), visit(), POLICY)
    assert state.on == pytest.approx(at_once.on, abs=1e-12)
    assert (state.at, state.fix_at) == (at_once.at, at_once.fix_at)


@bounded
@given(days())
def test_the_live_fold_is_the_forward_pass_of_the_judged_visit(case: tuple[Scene, object]) -> None:
    """After the last observation there is nothing to smooth with: the live answer and the judged one are the same number."""
    where, fixes = case
    span = engine.window(where.visit, POLICY)
    heard = witness.hear(where, seen(fixes), span, POLICY)
    told, _ = posterior.observations(heard, POLICY)
    live = presence.step(presence.start(where.visit, span[0], POLICY), told, where.visit, POLICY)
    at: Floats = np.unique(np.concatenate((told.at, [where.visit.starts_at, where.visit.ends_at])))
    at = at[at <= told.at[-1]]
    llr = np.zeros(len(at))
    llr[np.searchsorted(at, told.at)] = presence.temper(told, -np.inf, POLICY)
    smoothed = presence.smooth(presence.start(where.visit, span[0], POLICY), at, llr, where.visit, POLICY)
    first_gap = presence.until(presence.start(where.visit, span[0], POLICY), float(at[0]), where.visit, POLICY)
    smoothed_from_start = presence.smooth(first_gap, at, llr, where.visit, POLICY)
    assert live.on == pytest.approx(smoothed_from_start[-1], abs=1e-9)
    assert 0.0 <= smoothed[-1] <= 1.0


def test_silence_makes_uncertain_and_never_certain() -> None:
    state = presence.State(at=START + 600.0, on=0.99)
    later = [presence.until(state, START + 600.0 + after, visit(), POLICY).on for after in (60, 600, 3000)]
    assert 0.99 > later[0] > later[1] > later[2] > 0.5


def test_fixes_a_second_apart_are_not_independent() -> None:
    first = presence.start(visit(), START, POLICY)
    slow = presence.step(first, observed([(at, 1.0, True) for at in range(20, 80, 20)]), visit(), POLICY)
    fast = presence.step(first, observed([(at, 1.0, True) for at in range(20, 61, 1)]), visit(), POLICY)
    assert fast.on == pytest.approx(slow.on, abs=0.01)


def test_an_observation_that_says_nothing_changes_nothing() -> None:
    told = [(100, 2.0, True), (400, -1.0, True), (900, 3.0, False)]
    first = presence.start(visit(), START, POLICY)
    with_nodes = presence.step(first, observed([*told, (250, 0.0, False), (700, 0.0, False)]), visit(), POLICY)
    assert with_nodes.on == pytest.approx(presence.step(first, observed(told), visit(), POLICY).on, abs=1e-12)


def test_a_day_is_told_as_off_then_on_then_off() -> None:
    outcome = engine.judge(scene(circle(0, 0, 60)), seen(day()), POLICY, START + 9e4)
    assert [span.state for span in outcome.presence if span.state != "unknown"] == ["off", "on", "off"]
