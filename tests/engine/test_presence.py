"""The chain: against the sum over all paths."""

from itertools import product
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence import engine, presence
from geofence.chain import smoothed
from geofence.plan import Visit
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, scene, seen, visit

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
            due = plan.starts_at - POLICY.punctuality_s <= (before + at[k]) / 2 < plan.ends_at
            over = (before + at[k]) / 2 >= plan.ends_at
            come = 1 / (POLICY.arrive_mean_s if due else POLICY.after_plan_arrive_mean_s if over else POLICY.off_plan_arrive_mean_s)
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
    offsets = sorted({*offsets, -600, 0, 6000})  # nodes where the rates change, as the engine puts them
    at = [START + offset for offset in offsets]
    llr = data.draw(st.lists(st.floats(-5.0, 5.0), min_size=len(at), max_size=len(at)))
    (fast, _), *_ = smoothed([presence.alone(at[0], np.array(at), np.array(llr), plan, POLICY)])
    assert fast == pytest.approx(path_by_path(at, llr, plan), abs=1e-9)


def three_ways(at: list[float], here: list[float], there: list[float], plan: Visit, other: Visit) -> list[tuple[float, float]]:
    """P(here) and P(there) at each node as a sum over all 3^n paths, from the rates as the policy words them."""

    def rates(t: float, of: Visit) -> tuple[float, float]:
        within, due = of.starts_at <= t < of.ends_at, of.starts_at - POLICY.punctuality_s <= t < of.ends_at
        idle = POLICY.after_plan_arrive_mean_s if t >= of.ends_at else POLICY.off_plan_arrive_mean_s
        return 1 / (POLICY.arrive_mean_s if due else idle), 1 / (POLICY.stay_mean_s if within else POLICY.off_plan_stay_mean_s)

    def switch(t: float, of: Visit, to: Visit) -> float:
        if to.starts_at <= t < to.ends_at and not of.starts_at <= t < of.ends_at:
            return POLICY.switch_mean_s
        if to.starts_at <= t < to.ends_at or of.starts_at <= t < of.ends_at or t >= to.ends_at:
            return POLICY.stay_mean_s
        # Between the plans: from what is over to what is to come, and to the visit that is judged, as long as it is to come.
        return POLICY.between_mean_s if to is plan or t >= plan.ends_at else POLICY.stay_mean_s

    total, told = 0.0, [[0.0, 0.0] for _ in at]
    for path in product((0, 1, 2), repeat=len(at)):  # here, there, neither
        weight = 1.0
        for k, state in enumerate(path):
            before = at[k - 1] if k else at[0]
            dt, t = at[k] - before, (before + at[k]) / 2
            if k == 0:
                weight *= (POLICY.prior_on, POLICY.prior_on, 1 - 2 * POLICY.prior_on)[state]
            else:
                (come, leave), (come_there, leave_there) = rates(t, plan), rates(t, other)
                stay, stay_there = exp(-leave * dt), exp(-leave_there * dt)
                change, change_there = 1 - exp(-dt / switch(t, plan, other)), 1 - exp(-dt / switch(t, other, plan))
                into = 1 - exp(-(come + come_there) * dt)
                share = come / (come + come_there)
                weight *= (
                    (stay * (1 - change), stay * change, 1 - stay),
                    (stay_there * change_there, stay_there * (1 - change_there), 1 - stay_there),
                    (into * share, into * (1 - share), 1 - into),
                )[path[k - 1]][state]
            weight *= (exp(here[k]), exp(there[k]), 1.0)[state]
        total += weight
        for k, state in enumerate(path):
            if state < 2:
                told[k][state] += weight
    return [(on / total, beside / total) for on, beside in told]


@bounded
@given(st.lists(st.integers(-3000, 9000), min_size=1, max_size=6, unique=True), st.sampled_from([-4000, -2000, 3000]), st.data())
def test_the_chain_of_three_is_the_sum_over_all_paths(offsets: list[int], other_from: int, data: st.DataObject) -> None:
    plan = visit(2400.0)
    starts = START + other_from
    other = Visit(id="v-2", worker="w-1", site="s-2", service="default", starts_at=starts, ends_at=starts + 1500.0)
    at = [START + offset for offset in sorted(offsets)]
    values = st.lists(st.floats(-5.0, 5.0), min_size=len(at), max_size=len(at))
    here, there = data.draw(values), data.draw(values)
    fast, *_ = smoothed([presence.beside(at[0], np.array(at), (np.array(here), np.array(there)), plan, (other,), POLICY)])
    assert list(zip(*fast[:2], strict=True)) == [pytest.approx(pair, abs=1e-9) for pair in three_ways(at, here, there, plan, other)]


def on_after(told: list[tuple[int, float, bool]]) -> float:
    """P(on) after observations at seconds after the plan's start: log-odds, and whether it is a fix."""
    told = sorted(told)
    at, llr, fix = (np.array(column) for column in zip(*told, strict=True))
    seen = presence.Observations(at=START + at, llr=llr.astype(float), fix=fix.astype(bool))
    smooth, *_ = smoothed([presence.alone(START, seen.at, presence.temper(seen, POLICY), visit(), POLICY)])
    return float(smooth[0, -1])


def test_silence_makes_uncertain_and_never_certain() -> None:
    certain = [(600, 8.0, True)]
    later = [on_after([*certain, (600 + after, 0.0, False)]) for after in (1, 60, 600, 3000)]
    assert 1.0 > later[0] > later[1] > later[2] > later[3] > 0.5


def test_fixes_a_second_apart_are_not_independent() -> None:
    slow = on_after([(at, 1.0, True) for at in range(20, 80, 20)])
    fast = on_after([(at, 1.0, True) for at in range(20, 61, 1)])
    assert fast == pytest.approx(slow, abs=0.02)


def test_an_observation_that_says_nothing_changes_nothing() -> None:
    told = [(100, 2.0, True), (400, -1.0, True), (900, 3.0, False)]
    assert on_after([*told, (250, 0.0, False), (700, 0.0, False)]) == pytest.approx(on_after(told), abs=1e-12)


def test_a_day_is_told_as_off_then_on_then_off() -> None:
    outcome = engine.judge(scene(circle(0, 0, 60)), seen(day()), POLICY, START + 9e4)
    assert [span.state for span in outcome.presence if span.state != "unknown"] == ["off", "on", "off"]
