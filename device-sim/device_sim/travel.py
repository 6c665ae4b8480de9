"""Travel: from one door to another along the streets, at the speeds of people, with the stops that streets have.

A way is corners with times; between two corners speed is constant. Nobody is faster than the vehicle's speed in `SPEEDS_MPS`.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct

from device_sim.homes import Home
from device_sim.town import Point, Town, route

Vehicle = Literal["walk", "e-bike", "metro", "car"]
Setting = Literal[0, 1, 2, 3]
STREET, CANYON, INDOORS, METRO = 0, 1, 2, 3

SPEEDS_MPS = {"walk": 1.35, "e-bike": 4.8, "car": 8.0, "metro": 11.0}
STOP_SHARE = {"walk": 0.12, "e-bike": 0.28, "car": 0.4, "metro": 0.0}
"""Share of crossings at which one waits."""
RIDE_LEAST_M = 350.0
"""Below this everybody walks."""
METRO_LEAST_M = 2200.0
"""Below this the metro is not worth its stairs: the worker takes a shared bike."""
STATION_WALK_M = 280.0


class Door(Struct, frozen=True):
    """A place as travel sees it: where one stands inside, where its path meets the street, and the street's two crossings."""

    inside: Point
    street: Point
    edge: tuple[int, int]

    @classmethod
    def of(cls, home: Home) -> "Door":
        return cls((home.rooms.x, home.rooms.y), home.street, home.edge)

    @classmethod
    def crossing(cls, town: Town, node: int) -> "Door":
        spot = (float(town.nodes[node, 0]), float(town.nodes[node, 1]))
        return cls(spot, spot, (node, node))


class Leg(Struct, frozen=True):
    """One stretch of a way: to (x, y) in `seconds`, through surroundings of that setting."""

    x: float
    y: float
    seconds: float
    setting: int


def corners(town: Town, start: Door, goal: Door) -> list[Point]:
    """From the street before one door along the streets to the street before the other."""
    if start.edge == goal.edge:
        return [start.street, goal.street]
    ends = [(a, b) for a in start.edge for b in goal.edge]
    nodes = town.nodes
    a, b = min(
        ends,
        key=lambda pair: (
            math.dist(start.street, nodes[pair[0]])
            + math.dist(nodes[pair[0]], nodes[pair[1]])
            + math.dist(nodes[pair[1]], goal.street)
        ),
    )
    between = [(float(nodes[k, 0]), float(nodes[k, 1])) for k in _way(_Town(town), a, b)]
    return [start.street, *between, goal.street]


def estimate_s(town: Town, start: Door, goal: Door, vehicle: Vehicle) -> float:
    """Seconds that a planner would allow for: the way at 80 % of the speed, and the paths at both ends."""
    way = corners(town, start, goal)
    length_m = sum(math.dist(p, q) for p, q in pairwise(way))
    used, extra_s = _means(vehicle, length_m)
    paths_m = math.dist(start.inside, start.street) + math.dist(goal.inside, goal.street)
    return length_m / (0.8 * SPEEDS_MPS[used]) + extra_s + paths_m / 1.0


def legs(rng: np.random.Generator, town: Town, start: Door, goal: Door, vehicle: Vehicle, downtown_m: float) -> list[Leg]:
    """The way in pieces: out of the door, along the streets with waits at crossings, and in. The last leg ends inside."""
    way = corners(town, start, goal)
    length_m = sum(math.dist(p, q) for p, q in pairwise(way))
    used, _ = _means(vehicle, length_m)
    made = [Leg(*start.street, math.dist(start.inside, start.street) / rng.uniform(0.9, 1.3) + 1, STREET)]
    if used == "metro":
        made += _by_metro(rng, way, length_m)
    else:
        pace = SPEEDS_MPS[used] * float(rng.uniform(0.8, 0.97))
        for p, q in pairwise(way):
            if math.dist(p, q) < 0.5:
                continue
            setting = CANYON if math.hypot(*q) < downtown_m else STREET
            made.append(Leg(*q, math.dist(p, q) / (pace * float(rng.uniform(0.85, 1.0))), setting))
            if rng.random() < STOP_SHARE[used]:
                made.append(Leg(*q, float(rng.uniform(5, 40)), setting))
    made.append(Leg(*goal.inside, math.dist(goal.street, goal.inside) / rng.uniform(0.8, 1.2) + 1, STREET))
    return made


def _means(vehicle: Vehicle, length_m: float) -> tuple[Vehicle, float]:
    """What is really used for that distance, and the seconds it costs beside the ride."""
    if length_m < RIDE_LEAST_M:
        return "walk", 0.0
    if vehicle == "metro":
        return ("metro", 2 * STATION_WALK_M / 1.1 + 240.0) if length_m >= METRO_LEAST_M else ("e-bike", 30.0)
    return vehicle, 30.0


def _by_metro(rng: np.random.Generator, way: list[Point], length_m: float) -> list[Leg]:
    """On foot to the station, a wait, underground without GPS, and on foot again."""
    made, gone_m, riding, here = [], 0.0, False, way[0]
    for p, q in pairwise(way):
        piece_m = math.dist(p, q)
        for mark_m in (STATION_WALK_M, length_m - STATION_WALK_M):
            if gone_m < mark_m <= gone_m + piece_m:
                share = (mark_m - gone_m) / piece_m
                station = (p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share)
                made.append(_metro_leg(rng, here, station, riding))
                made.append(Leg(*station, float(rng.uniform(60, 150)), METRO))
                here, riding = station, not riding
        made.append(_metro_leg(rng, here, q, riding))
        gone_m, here = gone_m + piece_m, q
    return made


def _metro_leg(rng: np.random.Generator, p: Point, q: Point, riding: bool) -> Leg:
    speed = SPEEDS_MPS["metro"] * rng.uniform(0.8, 0.95) if riding else SPEEDS_MPS["walk"] * rng.uniform(0.85, 0.97)
    return Leg(*q, math.dist(p, q) / float(speed) + 0.1, METRO if riding else STREET)


class _Town:
    """A town as a cache key: by identity, for a town never changes."""

    def __init__(self, town: Town) -> None:
        self.town = town

    def __hash__(self) -> int:
        return id(self.town)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Town) and other.town is self.town


@lru_cache(maxsize=50_000)
def _way(town: _Town, a: int, b: int) -> list[int]:
    return route(town.town, a, b)
