"""The live fold: against the obvious one, visit by visit and second by second; and what makes it ask for a judgement."""

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence import likelihood, live
from geofence.evidence import Fixes
from geofence.plan import Scene
from geofence.plane import fence_of, plane_of
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, days, fixes, scene, square, take

POLICY = Policy()


def row(where: Scene, on: float = 0.1, at: float = START - 3000.0) -> live.Rows:
    plane = plane_of(where.site)
    made = live.row(where.visit, plane, fence_of(where.site, plane), 0)
    made["on"], made["at"] = on, at
    return made


def shape(where: Scene) -> object:
    fence = fence_of(where.site, plane_of(where.site))
    return None if fence.radius_m else fence.shape


def folded(cases: list[tuple[Scene, Fixes]]) -> list[float]:
    """P(on site) of each case after all its fixes, all cases side by side."""
    rows = np.concatenate([row(where) for where, _ in cases])
    shapes = np.array([None] * len(cases), dtype=object)
    for n, (where, _) in enumerate(cases):
        shapes[n] = shape(where)
    for k in range(max(len(of.at) for _, of in cases)):
        having = np.array([n for n, (_, of) in enumerate(cases) if k < len(of.at)])
        columns = (np.array([getattr(cases[n][1], name)[k] for n in having]) for name in ("at", "lon", "lat", "accuracy_m"))
        rows[having] = live.step(rows[having], shapes[having], live.Fixes(*columns), POLICY)
    return [float(on) for on in rows["on"]]


def second_by_second(where: Scene, of: Fixes) -> float:
    """The same, one visit, one fix and one second at a time."""
    visit, plane = where.visit, plane_of(where.site)
    fence = fence_of(where.site, plane)
    distance = fence.distance(*plane.east_north(of.lon, of.lat))
    floor = np.full(len(of.at), POLICY.sigma_floor_still_m)
    llr = likelihood.pull(fence, distance, likelihood.sigma(of.accuracy_m, floor, POLICY), floor, POLICY)
    on, now, last = 0.1, START - 3000.0, -np.inf
    for at, gain in zip(of.at.tolist(), llr.tolist(), strict=True):
        while now < at:
            planned = visit.starts_at <= now < visit.ends_at
            away_s = POLICY.off_plan_arrive_mean_s if now < visit.starts_at else POLICY.after_plan_arrive_mean_s
            arrive_s = POLICY.arrive_mean_s if planned or 0.0 < visit.starts_at - now <= POLICY.punctuality_s else away_s
            stay_s = POLICY.stay_mean_s if planned else POLICY.off_plan_stay_mean_s
            rate = 1 / arrive_s + 1 / stay_s
            level = 1 / arrive_s / rate
            on, now = level + (on - level) * exp(-rate), now + 1.0
        odds = on / (1.0 - on) * exp(min(1.0, (at - last) / POLICY.correlation_s) * gain)
        on, last = odds / (1.0 + odds), at
    return on


@bounded
@given(st.lists(days(), min_size=1, max_size=4), st.integers(1, 40))
def test_many_visits_side_by_side_are_folded_as_each_alone_and_slowly(cases: list[tuple[Scene, Fixes]], count: int) -> None:
    some = [(where, take(of, slice(len(of.at) // 3, len(of.at) // 3 + count))) for where, of in cases]
    assert folded(some) == pytest.approx([second_by_second(where, of) for where, of in some], abs=1e-4)


def test_silence_makes_uncertain_and_never_certain() -> None:
    rows = row(scene(circle(0, 0, 60)), on=0.99, at=START + 600.0)
    later = [float(live.believed(rows, np.array([START + 600.0 + after]), POLICY)[0]) for after in (60, 600, 3000)]
    assert 0.99 > later[0] > later[1] > later[2] > 0.5


def test_fixes_a_second_apart_are_not_independent() -> None:
    where = scene(square(0, 0, 20.0))
    once, often = np.arange(-100.0, -39.0, 20.0), np.arange(-100.0, -39.0, 1.0)
    slow, fast = (folded([(where, fixes(at, 0.0, 0.0, 30.0))])[0] for at in (once, often))
    assert fast == pytest.approx(slow, abs=0.02)


def test_a_site_is_where_its_outline_is_and_not_its_box() -> None:
    inside, beside = (
        folded([(scene(square(0, 0, 60.0)), fixes(np.arange(0.0, 200.0, 20.0), east, 0.0))])[0] for east in (20.0, 80.0)
    )
    assert inside > 0.95
    assert beside < 0.05


@pytest.mark.parametrize(
    ("told", "on", "wants"),
    [(-1, 0.6, True), (-1, 0.4, False), (1, 0.4, True), (1, 0.6, False), (0, 0.97, True), (0, 0.5, False), (0, 0.03, True)],
)
def test_a_visit_wants_to_be_judged_when_the_fold_turns_over_what_was_told(told: int, on: float, wants: bool) -> None:
    rows = row(scene(circle(0, 0, 60)), on=on, at=START + 600.0)
    rows["told"], rows["fix_at"] = told, START + 600.0
    assert list(live.wanting(rows, START + 600.0, POLICY)) == ([0] if wants else [])


def test_a_judgement_that_disagrees_is_asked_for_ever_more_rarely() -> None:
    rows = row(scene(circle(0, 0, 60)), on=0.99, at=START)
    rows["told"] = -1
    asked = []
    for now in np.arange(START, START + 3000.0):
        rows["at"] = rows["fix_at"] = now
        if len(live.wanting(rows, now, POLICY)):
            rows["looked_at"] = now
            asked.append(now - START)
    pauses = np.diff(asked)
    assert pauses[0] == POLICY.live_every_s
    assert pauses[-1] == POLICY.open_every_s
    assert (np.diff(pauses) >= 0).all()


def test_who_falls_silent_and_who_speaks_again_is_looked_at_once_each() -> None:
    rows = row(scene(circle(0, 0, 60)), on=0.97, at=START + 600.0)
    rows["told"], rows["fix_at"], rows["looked_at"] = 1, START + 600.0, START + 600.0
    asked = []
    for now in np.arange(START + 600.0, START + 1400.0):
        if now == START + 1200.0:
            rows["fix_at"] = rows["at"] = now
        if len(live.wanting(rows, now, POLICY)):
            rows["looked_at"] = now
            asked.append(now - START)
    assert asked == [600.0 + POLICY.horizon_still_s + 1.0, 1200.0]


def test_a_row_is_small() -> None:
    assert live.ROW.itemsize <= 128
    assert len(day().at) > 0
