"""Many visits end to end: what a fix comes to must not depend on the visits that are laid beside its own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from geofence.credibility import Expected, masks, masks_all, names
from geofence.evidence import NO_SKETCHES, Fixes
from geofence.measure import Measured, Seen, measure
from geofence.plan import Site, Visit
from geofence.plane import fence_of, plane_of
from geofence.policy import Policy
from geofence.teleport import far, teleported
from geofence.witness import Witness, hear_all
from tests.engine.worlds import START, bounded, circle, fixes, lonlat, scene, seen, square

POLICY = Policy()
CORNERS = lonlat(np.array([0, 40, 40, 10, 10, 0]), np.array([0, 0, 10, 10, 40, 40]))
WINGS = Site(id="s-1", geometry=Polygon(np.column_stack(CORNERS)))
SITES = (circle(0, 0, 40), square(0, 0, 20), WINGS)
NEXT_DOOR = Visit(id="v-2", worker="w-1", site="s-2", service="default", starts_at=START + 600.0, ends_at=START + 1200.0)


def window(seed: int) -> Fixes:
    """Fixes of one phone or two that stand still, creep, leap, repeat themselves, lie or are late, at the same few places as all
    others here: where one window ends and the next begins, they look like one track.
    """
    rng = np.random.default_rng(seed)
    count, sources = int(rng.integers(0, 20)), ("w-1", "w-2")[: int(rng.integers(1, 3))]
    at = START + float(rng.choice([0.0, 300.0])) + np.cumsum(rng.choice([1.0, 15.0, 200.0], count))
    lon, lat = plane_of(SITES[0]).lon, plane_of(SITES[0]).lat
    moves = rng.choice([0.0, 2e-6, 3e-5, 4e-3], p=[0.4, 0.2, 0.1, 0.3])
    return Fixes(
        sources=sources,
        source=rng.integers(0, len(sources), count),
        at=at,
        received_at=at + float(rng.choice([1.0, 900.0], p=[0.7, 0.3])),
        lon=lon + moves * rng.integers(0, 2, count),
        lat=lat + moves * rng.integers(0, 2, count),
        accuracy_m=rng.choice([5.0, 8.0, 30.0, 300.0, 0.2, np.nan], count, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]),
        altitude_m=np.full(count, 10.0),
        speed_mps=rng.choice([0.0, 1.5, np.nan], count, p=[0.2, 0.4, 0.4]),
        heading_deg=np.full(count, np.nan),
        mock=rng.random(count) < 0.05,
        ping=rng.random(count) < 0.05,
    )


def stay(seed: int) -> Fixes:
    """A vague phone within a house, and a precise one in front of it, before and after."""
    rng = np.random.default_rng(seed)
    inside = np.abs(np.arange(24) - 12) < 9
    east = np.where(inside, rng.normal(0.0, 4.0, 24), rng.uniform(15.0, 60.0, 24))
    return fixes(60.0 * np.arange(24), east, rng.normal(0.0, 4.0, 24), np.where(inside, rng.uniform(15.0, 40.0, 24), 4.0))


def columns(of: Measured | Witness) -> list[bytes]:
    return [value.tobytes() for value in map(of.__getattribute__, of.__struct_fields__) if isinstance(value, np.ndarray)]


def test_the_windows_here_are_flagged_in_many_ways() -> None:
    """Else the laws below say less than they seem to."""
    found = {name for seed in range(300) for mask in masks(window(seed), POLICY).tolist() for name in names(mask)}
    assert found >= {"mock", "teleport", "frozen", "stale_ping", "clock_skew", "impossible_accuracy"}


def test_a_fix_without_a_neighbour_or_a_speed_is_of_a_phone_that_lies_still() -> None:
    of, site = window(3), SITES[0]
    lone = Fixes(
        sources=("w-1",),
        mode=(),
        **{name: getattr(of, name)[:1] for name in Fixes.__struct_fields__ if name not in ("sources", "mode", "speed_mps")},
        speed_mps=np.array([np.nan]),
    )
    (told,) = measure([Seen(lone, plane_of(site), fence_of(site, plane_of(site)))], POLICY)
    assert told.horizon.tolist() == [POLICY.horizon_still_s]


@bounded
@given(st.lists(st.integers(0, 9999), min_size=1, max_size=12))
def test_a_fix_is_flagged_alike_in_any_company(seeds: list[int]) -> None:
    many = [window(seed) for seed in seeds]
    plans = [(Expected(SITES[seed % 3], START, START + 3600.0),) for seed in seeds]
    told = masks_all(many, plans, [NO_SKETCHES] * len(many), POLICY)
    assert [mask.tolist() for mask in told] == [masks(of, POLICY, plan).tolist() for of, plan in zip(many, plans, strict=True)]


@bounded
@given(st.lists(st.integers(0, 9999), min_size=1, max_size=12))
def test_a_fix_is_measured_alike_in_any_company_to_the_last_bit(seeds: list[int]) -> None:
    sites = [SITES[seed % 3] for seed in seeds]
    laid = [Seen(window(seed), plane_of(at), fence_of(at, plane_of(at))) for seed, at in zip(seeds, sites, strict=True)]
    assert [columns(of) for of in measure(laid, POLICY)] == [columns(measure([one], POLICY)[0]) for one in laid]


@bounded
@given(st.lists(st.integers(0, 99), min_size=2, max_size=6))
def test_a_fix_is_weighed_alike_in_any_company_to_the_last_bit(seeds: list[int]) -> None:
    """Beside the fence, and where another of her places competes for it."""
    others = {"neighbours": (square(45, 10, 15, "s-2"),), "others": (NEXT_DOOR,)}
    asked = [
        (scene(SITES[seed % 3], 1500.0, **(others if seed % 2 else {})), seen(stay(seed)), (START - 900.0, START + 3600.0))
        for seed in seeds
    ]
    together = [columns(witness) for witness in hear_all(asked, POLICY)]
    assert together == [columns(hear_all([one], POLICY)[0]) for one in asked]


@bounded
@given(st.integers(0, 99_999))
def test_a_track_without_a_far_step_is_that_of_nobody_who_leapt(seed: int) -> None:
    """Else a track that nobody looks closer at would have something to tell."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.choice([1.0, 5.0, 10.0, 60.0], 40))
    away_m = rng.choice([40.0, 70.0, 110.0, 140.0, 180.0, 260.0])
    east = rng.normal(0.0, 1.0, 40) + np.where(np.abs(np.arange(40) - 20) < 6, away_m, 0.0)
    accuracy_m, north = rng.choice([3.0, 5.0], 40), rng.normal(0.0, 1.0, 40)
    policy = Policy(teleport_mps=float(rng.choice([10.0, 55.0])))
    step = np.hypot(np.diff(east), np.diff(north))
    assert far(step, accuracy_m, policy).any() or not teleported(at, east, north, accuracy_m, policy).any()
