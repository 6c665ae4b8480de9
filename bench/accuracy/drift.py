"""Drift: a second world, made to disagree with the first: visits one by one, each at a place of its own.

What is different from `device_sim`, on purpose:

| | town | drift |
|---|---|---|
| ways | along streets, even speed | bent, wavering, parked a walk away, a wait at the door, the garden, the bins |
| error of a fix | a process of given size and memory | a bias of the stay, a process of the phone's, noise, reflections, blunders |
| reported radius | true size, one phone in four off by two | a factor of the phone's own between 0.4 and 2.5, another per fix |
| silence | faults of some kinds | those, and dropouts indoors, doze, jitter, lag of a filter |
| homes | buildings along streets | circles and bent polygons that sit askew about the building |

Rules kept here: a visit depends on its seed, its number and its sampling alone; the way and the errors of a phone do not depend on
what is asked of the evidence afterwards.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from bench.accuracy import drift_homes, drift_phone, drift_ways
from bench.accuracy.case import SAMPLINGS, Case, Sampling
from bench.accuracy.definition import presence, truth
from bench.accuracy.drift_cheats import MANNERS
from bench.accuracy.drift_homes import OWN, Ground, Home
from bench.accuracy.drift_phone import PLAIN, Bend
from bench.accuracy.drift_ways import OUTDOORS, Way
from geofence.plan import Scene, Visit

START = 1_794_900_000.0
BEHAVIOURS = {
    "on_time": 0.36,
    "late": 0.11,
    "early_leave": 0.11,
    "long_break": 0.1,
    "forgotten_check_out": 0.05,
    "no_show": 0.06,
    "next_door": 0.08,
    "wrong_site": 0.06,
    "spoofer": 0.07,
}
PLANNED_MIN = (20, 30, 45, 60, 90, 120, 180)
REACH_S = 3900.0
"""The world goes on for this long before and after the plan."""


class Drawn(Struct, frozen=True):
    """What is decided about a visit before anything moves."""

    behaviour: str
    manner: str
    ground: Ground
    planned_s: float


def cases(
    seed: int, sampling: Sampling, visits: int, behaviours: tuple[str, ...] = tuple(BEHAVIOURS), bend: Bend = PLAIN
) -> Iterator[Case]:
    """So many visits, of these behaviours in their shares."""
    shares = np.array([BEHAVIOURS[name] for name in behaviours])
    for n in range(visits):
        rng = np.random.default_rng([seed, n])
        behaviour = behaviours[int(rng.choice(len(behaviours), p=shares / shares.sum()))]
        manner = MANNERS[int(rng.integers(len(MANNERS)))] if behaviour == "spoofer" else ""
        ground, planned_s = drift_homes.ground(rng), 60.0 * float(rng.choice(PLANNED_MIN))
        if behaviour == "long_break":  # Nobody takes a long break out of a short visit.
            planned_s = max(planned_s, 3600.0)
        drawn = Drawn(behaviour, manner, ground, planned_s)
        yield _case(rng, np.random.default_rng([seed, n, SAMPLINGS.index(sampling)]), drawn, (seed, n, sampling), bend)


def _case(
    rng: np.random.Generator, phones: np.random.Generator, drawn: Drawn, which: tuple[int, int, Sampling], bend: Bend
) -> Case:
    seed, n, sampling = which
    start = START + 86_400.0 * (seed % 300) + 60.0 * float(rng.integers(600))
    visit = Visit(id=f"d-{seed}-{n}", worker="w-1", site="s-0", service="default", starts_at=start, ends_at=start + drawn.planned_s)
    way = drift_ways.walk(rng, drawn.ground, drawn.behaviour, drawn.planned_s, REACH_S)
    own = drawn.ground.homes[OWN]
    # In another building she is not on site, also where the fence covers that building too.
    inside = own.fence.contains(way.x, way.y) & ((way.place == OUTDOORS) | (way.place == OWN))
    on_site = presence(inside, start - REACH_S, (visit.starts_at, visit.ends_at))
    told = drift_phone.report(phones, drawn.ground, way, visit, sampling, (drawn.behaviour, drawn.manner), bend)
    here, others = _others(drawn.ground, way, visit)
    return Case(
        world="drift",
        seed=seed,
        sampling=sampling,
        surroundings=drawn.ground.surroundings,
        behaviour=drawn.behaviour,
        manner=drawn.manner,
        faults=told.faults,
        scene=Scene(
            visit=visit,
            site=own.site(drawn.ground.plane),
            neighbours=tuple(home.site(drawn.ground.plane) for home in here),
            devices=tuple(device for home in (own, *here) for device in home.devices),
            phones=("w-1",),
            others=others,
        ),
        observed=told.observed,
        truth=truth(on_site, (visit.starts_at, visit.ends_at), told.seen),
    )


def _others(ground: Ground, way: Way, visit: Visit) -> tuple[list[Home], tuple[Visit, ...]]:
    """The known homes that bear on the visit, and her other visits: where she was before and where she goes afterwards."""
    planned = [(ground.homes[k], plan) for k, plan in way.plans.items() if ground.homes[k].known]
    others = [
        Visit(
            id=f"{visit.id}-{home.id}",
            worker=visit.worker,
            site=home.id,
            service="default",
            starts_at=visit.starts_at + begins,
            ends_at=visit.starts_at + ends,
        )
        for home, (begins, ends) in planned
    ]
    stayed = set(np.unique(way.place[way.rows(np.arange(0.0, visit.ends_at - visit.starts_at, 30.0))]).tolist())
    bear = [home for k, home in enumerate(ground.homes) if k != OWN and home.known and (home.near or k in stayed or k in way.plans)]
    return bear, tuple(sorted(others, key=lambda other: other.starts_at))
