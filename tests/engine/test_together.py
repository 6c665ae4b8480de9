"""Many at once: what a visit or a chain comes to must not depend on the company it is judged in."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import Asked, engine, judge, judge_all
from geofence.chain import Chain, smoothed
from geofence.evidence import Floats
from geofence.plan import Visit
from geofence.policy import Policy
from geofence.replayed import sketch
from tests.engine.worlds import START, bounded, circle, day, nothing, scene, seen, square, together

POLICY, SLOW = Policy(), Policy(service="slow", correlation_s=60.0, sigma_inflation=2.0, early_s=600.0)
NEXT_DOOR = Visit(id="v-2", worker="w-1", site="s-2", service="default", starts_at=START + 5400.0, ends_at=START + 7200.0)


def made(seed: int) -> Chain:
    """A chain of some length, with steps of all sizes."""
    rng = np.random.default_rng(seed)
    states, length = int(rng.integers(2, 4)), int(rng.choice([1, 2, 15, 16, 17, 33, 60, 256, 257, 300]))
    moves = rng.dirichlet(np.full(states, 0.3), (states, length)).transpose(0, 2, 1)
    return Chain(rng.dirichlet(np.ones(states)), moves * np.exp(rng.uniform(-9.0, 9.0, (1, states, length))))


def asked(seed: int) -> Asked:
    """A visit of some kind: at one home or beside another, with few reports or many, over or running or not begun, and one or the
    other a track of yesterday.
    """
    rng = np.random.default_rng(seed)
    other = {"neighbours": (circle(60, 0, 25, "s-2"),), "others": (NEXT_DOOR,)} if rng.random() < 0.5 else {}
    site = circle(0, 0, 40) if rng.random() < 0.5 else square(0, 0, 20)
    every_s, planned_s = float(rng.choice([20.0, 60.0, 290.0])), float(rng.choice([1800.0, 4500.0]))
    of = day(seed, every_s, float(rng.integers(-300, 900)), float(rng.integers(1200, 5000)), planned_s=planned_s)
    at = float(rng.choice([-9000.0, 600.0, 2000.0, 9e4]))
    policy = SLOW if rng.random() < 0.3 else POLICY
    observed = seen(nothing() if seed % 9 == 0 else of)
    if rng.random() < 0.3:
        observed = replace(observed, earlier=together(sketch(replace(of, at=of.at - 86_400.0), site)))
    return Asked(scene(site, planned_s, **other), observed, policy, START + at)


def step_by_step(chain: Chain) -> list[Floats]:
    """The probability of each state at each node by the textbook: forward, backward, multiplied, each made to sum to one."""
    x, known = chain.prior, []
    for step in np.moveaxis(chain.steps, 2, 0):
        x = x @ step
        x = x / x.sum()
        known.append(x)
    z, later = np.ones(len(chain.prior)), []
    for step in np.moveaxis(chain.steps, 2, 0)[::-1]:
        later.append(z)
        z = step @ z
        z = z / z.sum()
    return [x * z / (x * z).sum() for x, z in zip(known, later[::-1], strict=True)]


@bounded
@given(st.lists(st.integers(0, 9999), min_size=1, max_size=30))
def test_a_chain_comes_to_what_it_comes_to_step_by_step_and_to_the_same_bits_in_any_company(seeds: list[int]) -> None:
    chains = [made(seed) for seed in seeds]
    for one, told in zip(chains, smoothed(chains), strict=True):
        assert np.allclose(told.T, step_by_step(one), rtol=0.0, atol=1e-9)
        assert np.array_equal(told, smoothed([one])[0])


def test_a_long_chain_of_the_strongest_observations_stays_within_numbers() -> None:
    same = np.repeat(np.array([[0.999, 0.001], [0.001, 0.999]])[:, :, None], 5000, axis=2)
    gain = np.exp(np.concatenate((np.full(2500, 20.0), np.full(2500, -20.0))))
    one = Chain(np.array([0.05, 0.95]), same * np.array([gain, np.ones(5000)]))
    for told in (*smoothed([one]), *smoothed([one] * 40)):
        assert told[0, [0, 2499]] == pytest.approx(1.0, abs=1e-6)
        assert told[0, [2500, 4999]] == pytest.approx(0.0, abs=1e-6)


@settings(bounded, max_examples=6)
@given(st.permutations(range(60)), st.integers(1, 60))
def test_a_visit_is_judged_to_the_same_bytes_in_any_company(seeds: list[int], count: int) -> None:
    some = [CASES[seed] for seed in seeds[:count]]
    for seed, outcome in zip(seeds, judge_all(some), strict=False):
        assert msgspec.json.encode(outcome) == ALONE[seed]


def test_dense_visits_are_judged_a_few_at_a_time_and_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TOGETHER_MAX", 1000)
    assert [msgspec.json.encode(outcome) for outcome in judge_all(CASES)] == ALONE
    assert judge_all([]) == []


CASES = [asked(seed) for seed in range(60)]
ALONE = [msgspec.json.encode(judge(one.scene, one.observed, one.policy, one.now)) for one in CASES]


def test_the_visits_here_are_of_every_kind() -> None:
    """Else the laws above say less than they seem to."""
    states = {len(visit.prepared.chain.prior) for visit in engine._heard(CASES) if visit.prepared is not None}
    assert states == {2, 3}
    assert any(visit.prepared is None for visit in engine._heard(CASES))
    verdicts = {msgspec.json.decode(outcome)["verdict"] for outcome in ALONE}
    assert {"pending", "verified", "unknown"} <= verdicts
