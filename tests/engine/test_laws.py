"""Laws: what must hold of every outcome, whatever the evidence."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import judge, next_look, window
from geofence.evidence import Check, Fixes
from geofence.outcome import Outcome
from geofence.plan import Scene
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, days, fixes, scene, seen, square, take

POLICY = Policy()
SETTLED = START + 9e4
losses = st.lists(st.tuples(st.integers(0, 999), st.floats(0.02, 0.98), st.booleans()), min_size=4, max_size=4)


def checks(seed: int) -> tuple[Check, ...]:
    rng = np.random.default_rng(seed)
    made = []
    for k in range(rng.integers(0, 4)):
        at = START + float(rng.integers(-600, 3000))
        method = ("app", "qr", "nfc", "phone")[rng.integers(4)]
        kind = ("in", "out")[rng.integers(2)]
        made.append(Check(source="w-1", at=at, received_at=at, identity=k, kind=kind, method=method))  # type: ignore[arg-type]
    return tuple(sorted(made, key=lambda check: (check.at, check.identity)))


def encoded(outcome: Outcome) -> bytes:
    return msgspec.json.encode(outcome)


@bounded
@given(days(), st.integers(0, 99), st.integers(0, 9))
def test_any_order_of_arrival_and_any_repeat_give_the_same_bytes(case: tuple[Scene, Fixes], seed: int, told: int) -> None:
    where, of = case
    rng = np.random.default_rng(seed)
    rows = np.concatenate((np.arange(len(of.at)), rng.integers(0, len(of.at), 10)))
    rng.shuffle(rows)
    once = judge(where, seen(of, checks=checks(told)), POLICY, SETTLED)
    shuffled = judge(where, seen(take(of, rows), checks=checks(told)[::-1] * 2), POLICY, SETTLED)
    assert encoded(once) == encoded(shuffled)


@bounded
@given(days(), st.integers(0, 9), losses)
def test_losing_evidence_never_turns_verified_into_contradicted_or_back(
    case: tuple[Scene, Fixes], told: int, lost: list[tuple[int, float, bool]]
) -> None:
    where, of = case
    verdict = judge(where, seen(of, checks=checks(told)), POLICY, SETTLED).verdict
    opposite = {"verified": "contradicted", "contradicted": "verified"}.get(verdict)
    distance = np.hypot((of.lon - of.lon.mean()) * 85_000, (of.lat - of.lat.mean()) * 111_000)
    for seed, share, one_sided in lost:
        rng = np.random.default_rng(seed)
        # One-sided losses keep the fixes that lie furthest from, or nearest to, the middle: what a liar would keep.
        keep = (distance >= np.quantile(distance, share)) if one_sided else (rng.random(len(of.at)) < share)
        kept = checks(told) if seed % 2 else ()
        assert judge(where, seen(take(of, keep), checks=kept), POLICY, SETTLED).verdict != opposite


@bounded
@given(
    st.sampled_from([circle(0, 0, 40), square(0, 0, 15)]),
    st.floats(0, 200),
    st.floats(1, 400),
    st.floats(1, 400),
    st.sampled_from([20.0, 120.0]),
)
def test_worse_accuracy_never_proves_more(site: object, away: float, one: float, two: float, every: float) -> None:
    """A worker who stays at one point, a decimetre or two of noise aside, is never proven on site for longer by worse fixes."""
    better, worse = sorted((one, two))
    at = np.arange(-600.0, 3000.0, every)
    noise = np.where(np.arange(len(at)) % 2, 0.2, -0.2)
    where = scene(site, 2400.0)  # type: ignore[arg-type]
    told = [judge(where, seen(fixes(at, away + noise, noise, radius)), POLICY, SETTLED) for radius in (better, worse)]
    assert told[1].on_site_s.lower <= told[0].on_site_s.lower + 1.0
    assert not (told[1].verdict == "verified" and told[0].verdict != "verified")


@bounded
@given(days(), st.integers(-2400, 6000))
def test_an_outcome_of_now_does_not_know_the_future(case: tuple[Scene, Fixes], now: int) -> None:
    where, of = case
    past = take(of, of.at < START + now)
    assert encoded(judge(where, seen(of), POLICY, START + now)) == encoded(judge(where, seen(past), POLICY, START + now))


@bounded
@given(days(), st.integers(0, 9))
def test_bounds_are_in_order_and_spans_fill_the_window(case: tuple[Scene, Fixes], told: int) -> None:
    where, of = case
    outcome = judge(where, seen(of, checks=checks(told)), POLICY, SETTLED)
    assert 0.0 <= outcome.on_site_s.lower <= outcome.on_site_s.best + 1e-6 <= outcome.on_site_s.upper + 2e-6
    for moment in (outcome.arrived_at, outcome.left_at):
        assert moment is None or moment.earliest <= moment.best <= moment.latest
    assert all(a.end == b.start for a, b in zip(outcome.presence, outcome.presence[1:], strict=False))
    assert outcome.coverage is not None
    assert 0.0 <= outcome.coverage <= 1.0


@bounded
@given(days())
def test_what_lies_outside_the_window_bears_on_nothing(case: tuple[Scene, Fixes]) -> None:
    where, of = case
    low, high = window(where.visit, POLICY)
    far = day(3, 30.0, came=-9e9, went=9e9, planned_s=2400.0)
    before, after = replace(far, at=far.at - START + low - 9000.0), replace(far, at=far.at - START + high + 9000.0)
    together = {
        name: np.concatenate([getattr(part, name) for part in (before, of, after)])
        for name in (
            "source",
            "at",
            "received_at",
            "lon",
            "lat",
            "accuracy_m",
            "altitude_m",
            "speed_mps",
            "heading_deg",
            "mock",
            "ping",
        )
    }
    widened = replace(of, **together)
    assert encoded(judge(where, seen(of), POLICY, SETTLED)) == encoded(judge(where, seen(widened), POLICY, SETTLED))


@bounded
@given(days())
def test_flagged_evidence_alone_proves_nothing(case: tuple[Scene, Fixes]) -> None:
    where, of = case
    faked = replace(of, mock=np.ones(len(of.at), dtype=bool))
    outcome = judge(where, seen(faked), POLICY, SETTLED)
    assert outcome.verdict == "unknown"
    assert outcome.on_site_s.lower == 0.0
    assert outcome.monitored_s == 0.0


def test_time_alone_changes_nothing_once_no_look_is_due() -> None:
    where, of = scene(circle(0, 0, 60)), day()
    now, looks = START - 9000.0, 0
    while True:
        outcome = judge(where, seen(of), POLICY, now)
        look = next_look(where, outcome, POLICY, now)
        if look is None:
            break
        assert look > now
        now, looks = max(look, now + 300.0), looks + 1
    assert looks > 10
    assert encoded(judge(where, seen(of), POLICY, now + 7 * 86_400.0)) == encoded(outcome)
