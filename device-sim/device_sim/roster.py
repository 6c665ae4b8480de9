"""Roster: who works, with which phone, and which visits a day plans for whom.

Two kinds of days. A *round* is a chain of short calls (welfare checks, medication, meals: 15 to 25 minutes); the others stay for
hours (cleaning, child care, personal care). Shifts overlap from eleven to half past three. The plan leaves enough time to travel,
because travel times are taken from the streets, and starts and ends fall on whole minutes, spread over the hour.
"""

import math
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from device_sim.cities import City
from device_sim.homes import Home
from device_sim.options import Options
from device_sim.town import Floats, Town
from device_sim.travel import Door, Vehicle, estimate_s

Mode = Literal["10s", "60s", "significant"]


class Phone(Struct, frozen=True):
    """A worker's phone and its habits. `interval_s` is the time between fixes; `significant` phones send when they have moved."""

    mode: Mode
    interval_s: float
    owntracks: str | None
    """`user/device` when the phone speaks OwnTracks."""
    quality: float
    """Factor on the GPS error: a good antenna below 1, an old phone above."""
    claim: float
    """Reported accuracy over true accuracy: 1 is honest."""


class Worker(Struct, frozen=True):
    id: str
    name: str
    vehicle: Vehicle
    lives: int
    """The crossing where the worker's way begins and ends."""
    rounds: bool
    shift: tuple[float, float]
    homes: tuple[int, ...]
    """Indices of the homes that the worker looks after."""
    phone: Phone


class Visit(Struct, frozen=True):
    """A planned visit. `home` is an index into the homes."""

    id: str
    worker: str
    home: int
    service: str
    starts_at: float
    ends_at: float


def homes_needed(workers: int) -> int:
    return max(4, round(workers * 6.0))


def hire(rng: np.random.Generator, city: City, town: Town, homes: tuple[Home, ...], options: Options) -> tuple[Worker, ...]:
    """The fleet. Each worker gets a neighbourhood of homes; a seventh of the workers travel farther by metro or car."""
    spots = np.array([(home.rooms.x, home.rooms.y) for home in homes])
    free = np.ones(len(homes), dtype=bool)
    midnight = local_midnight(city, options.day)
    names = _names(rng, city, options.workers)
    workers = []
    for k in range(options.workers):
        rounds = bool(k % 10 < 8)
        vehicle = _vehicle(rng, rounds)
        wanted = int(rng.integers(6, 10)) if rounds else int(rng.integers(2, 4))
        own = _neighbourhood(rng, spots, free, wanted, far=vehicle in ("metro", "car"))
        centre = spots[list(own)].mean(axis=0)
        lives = int(np.argmin(np.hypot(*(town.nodes - centre - rng.normal(0, 700, 2)).T)))
        shown, slug = names[k]
        workers.append(
            Worker(
                id=f"w-{city.code}-{k + 1:04d}",
                name=shown,
                vehicle=vehicle,
                lives=lives,
                rounds=rounds,
                shift=_shift(rng, k, midnight),
                homes=own,
                phone=_phone(rng, k, slug, options),
            )
        )
    return tuple(workers)


def plan(rng: np.random.Generator, worker: Worker, homes: tuple[Home, ...], town: Town, day: str) -> tuple[Visit, ...]:
    """The visits of one worker's day, feasible by the streets, with a pause after four hours."""
    starts, ends = worker.shift
    tour = _tour(homes, worker)
    here = Door.crossing(town, worker.lives)
    clock, paused = starts, False
    visits: list[Visit] = []
    while True:
        home = tour[len(visits) % len(tour)]
        there = Door.of(homes[home])
        if not paused and clock - starts > 4 * 3600:
            clock, paused = clock + float(rng.uniform(30, 45)) * 60, True
        ready = clock + 1.25 * estimate_s(town, here, there, worker.vehicle) + float(rng.uniform(90, 270))
        begin = math.ceil(ready / 60) * 60.0
        service, minutes = _service(rng, worker)
        if begin + minutes * 60 > ends:
            return tuple(visits)
        visit_id = f"v-{worker.id[2:]}-{day.replace('-', '')}-{len(visits) + 1:02d}"
        visits.append(Visit(visit_id, worker.id, home, service, begin, begin + minutes * 60))
        clock, here = begin + minutes * 60, there


def local_midnight(city: City, day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(city.zone)).timestamp()


def next_day(day: str) -> str:
    return (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()


def _names(rng: np.random.Generator, city: City, count: int) -> list[tuple[str, str]]:
    """Different people, as long as the names last; then a number keeps their addresses apart."""
    culture = city.culture
    pairs = [(family, given) for family in culture.family for given in culture.given]
    order = rng.permutation(len(pairs))
    named = []
    for k in range(count):
        (family, family_slug), (given, given_slug) = pairs[int(order[k % len(order)])]
        slug = f"{given_slug}.{family_slug}".replace("'", "") + (str(k // len(order) + 1) if k >= len(order) else "")
        named.append((culture.person.format(family=family, given=given), slug))
    return named


def _vehicle(rng: np.random.Generator, rounds: bool) -> Vehicle:
    if rounds:
        return ("walk", "e-bike", "e-bike", "e-bike", "car")[int(rng.integers(5))]
    return ("e-bike", "metro", "metro", "car")[int(rng.integers(4))]


def _neighbourhood(rng: np.random.Generator, spots: Floats, free: NDArray[np.bool_], wanted: int, *, far: bool) -> tuple[int, ...]:
    """The nearest free homes about a random one; who travels far takes them from all over. Frees all again when none is left."""
    if free.sum() < wanted:
        free[:] = True
    candidates = np.flatnonzero(free)
    anchor = spots[int(rng.choice(candidates))]
    distance_m = np.hypot(*(spots[candidates] - anchor).T)
    if far:
        distance_m = distance_m * rng.uniform(0.2, 1.8, len(distance_m))
    own = candidates[np.argsort(distance_m, kind="stable")[:wanted]]
    free[own] = False
    return tuple(int(k) for k in own)


def _tour(homes: tuple[Home, ...], worker: Worker) -> list[int]:
    """The homes in the order of the nearest next, so that a round is a round."""
    left = list(worker.homes)
    tour = [left.pop(0)]
    while left:
        here = homes[tour[-1]].rooms
        left.sort(key=lambda k: math.hypot(homes[k].rooms.x - here.x, homes[k].rooms.y - here.y))
        tour.append(left.pop(0))
    return tour


def _shift(rng: np.random.Generator, k: int, midnight: float) -> tuple[float, float]:
    """Early, day and late shifts, mixed evenly over the fleet; all of them work from eleven to half past three."""
    begin_h, end_h = ((6.5, 15.7), (8.5, 18.0), (8.0, 17.5), (6.5, 15.7), (10.0, 19.5), (9.0, 18.5), (10.2, 21.5))[k % 7]
    shake_h = float(rng.uniform(0, 0.5))
    return midnight + (begin_h + shake_h) * 3600, midnight + (end_h + shake_h) * 3600


def _service(rng: np.random.Generator, worker: Worker) -> tuple[str, int]:
    """What is done and how many minutes it takes."""
    if worker.rounds:
        return "elder_care", int(rng.choice((15, 15, 20, 20, 25)))
    service = ("cleaning", "cleaning", "child_care", "elder_care")[int(rng.integers(4))]
    minutes = {"cleaning": (90, 120, 180), "child_care": (120, 180), "elder_care": (60, 90)}[service]
    return service, int(rng.choice(minutes))


def _phone(rng: np.random.Generator, k: int, slug: str, options: Options) -> Phone:
    """Most phones are honest about their accuracy; one in six claims to be better than it is, one in ten to be worse."""
    draw, quality = float(rng.random()), float(rng.lognormal(0, 0.25))
    claim = 0.55 if draw < 0.16 else 1.8 if draw > 0.9 else float(rng.uniform(0.9, 1.15))
    mode: Mode = ("10s", "60s", "10s", "10s", "significant")[int(rng.choice(5, p=(0.4, 0.32, 0.1, 0.1, 0.08)))]
    interval_s = {"10s": 10.0, "60s": 60.0, "significant": 300.0}[mode]
    share = options.owntracks
    owntracks = None
    if share > 0 and int((k + 1) * share) > int(k * share):
        owntracks, mode, interval_s = f"{slug}/phone", "60s", 30.0
    elif options.interval_s is not None:
        mode, interval_s = "60s" if options.interval_s > 10 else "10s", options.interval_s
    return Phone(mode, interval_s, owntracks, quality, claim)
