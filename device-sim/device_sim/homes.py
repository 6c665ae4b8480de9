"""Homes: where services happen. Buildings stand along the streets of a town, flats share buildings, houses stand next door.

A home knows two shapes: the rooms, where people really are, and the fence, which is what the operator drew. A fence is a polygon
around the rooms or the whole building, or a point and a radius; neighbours in one building may well share it.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from device_sim.cities import City
from device_sim.town import Floats, Frame, Point, Town

DEVICE_KINDS = ("lock", "contact", "motion", "plug", "sos", "gateway")


class Box(Struct, frozen=True):
    """A rectangle: centre, unit vector along its length, half length and half width in metres."""

    x: float
    y: float
    ux: float
    uy: float
    half_l: float
    half_w: float

    def at(self, along_m: float, across_m: float) -> Point:
        return self.x + self.ux * along_m - self.uy * across_m, self.y + self.uy * along_m + self.ux * across_m

    def corners(self) -> tuple[Point, ...]:
        l, w = self.half_l, self.half_w  # noqa: E741 - length and width
        return self.at(-l, -w), self.at(l, -w), self.at(l, w), self.at(-l, w)

    def contains(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        along = (x - self.x) * self.ux + (y - self.y) * self.uy
        across = (y - self.y) * self.ux - (x - self.x) * self.uy
        return (np.abs(along) <= self.half_l) & (np.abs(across) <= self.half_w)


class Home(Struct, frozen=True):
    """One site. Either `fence` or `radius_m` is given. `street` is where its path meets the street `edge`."""

    id: str
    name: str
    customer: str
    rooms: Box
    fence: Box | None
    radius_m: float | None
    edge: tuple[int, int]
    street: Point
    residents: bool
    """Somebody lives here who is at home while the service happens."""
    devices: tuple[tuple[str, str], ...]
    """(id, kind) of each; empty in a home without."""

    def inside(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Which points are within the fence."""
        if self.fence is not None:
            return self.fence.contains(x, y)
        assert self.radius_m is not None
        return np.hypot(x - self.rooms.x, y - self.rooms.y) <= self.radius_m


def build(rng: np.random.Generator, town: Town, city: City, count: int) -> tuple[Home, ...]:
    """`count` homes: a building at a time, one to four homes in each, until there are enough."""
    places = _plots(rng, town)
    made: list[Home] = []
    while len(made) < count:
        plot = next(places)
        homes = _flats(rng, town, plot) if rng.random() < 0.65 else _houses(rng, town, plot)
        street = city.culture.streets[hash_edge(plot[0], len(city.culture.streets))]
        number = int(rng.integers(1, 160))
        for rooms, building, street_point in homes[: count - len(made)]:
            made.append(_home(rng, city, len(made) + 1, rooms, building, plot[0], street_point, street, number))
            number += 0 if building is not None else 2
    return tuple(made)


def feature(home: Home, frame: Frame, zone: str) -> dict[str, object]:
    """The site as the GeoJSON Feature that the contract takes."""
    properties: dict[str, object] = {"name": home.name, "customer": home.customer, "timezone": zone}
    if home.fence is None:
        lon, lat = frame.lonlat(np.array([home.rooms.x]), np.array([home.rooms.y]))
        properties["radius_m"] = home.radius_m
        geometry: dict[str, object] = {"type": "Point", "coordinates": [round(float(lon[0]), 7), round(float(lat[0]), 7)]}
    else:
        ring = np.array(home.fence.corners() + home.fence.corners()[:1])
        lons, lats = frame.lonlat(ring[:, 0], ring[:, 1])
        pairs = [[round(float(lon), 7), round(float(lat), 7)] for lon, lat in zip(lons, lats, strict=True)]
        geometry = {"type": "Polygon", "coordinates": [pairs]}
    return {"type": "Feature", "id": home.id, "geometry": geometry, "properties": properties}


def hash_edge(edge: tuple[int, int], size: int) -> int:
    """A steady small number of an edge: Python's own hash of integers is steady too, but says so nowhere."""
    return (edge[0] * 7919 + edge[1] * 104_729) % size


Plot = tuple[tuple[int, int], int]
Placed = tuple[Box, Box | None, Point]


def _plots(rng: np.random.Generator, town: Town) -> "_Plots":
    return _Plots(rng, town)


class _Plots:
    """One side of one street after the other, at random, each given once; a town that is full starts again further inside."""

    def __init__(self, rng: np.random.Generator, town: Town) -> None:
        long_enough = [edge for edge in town.edges if math.hypot(*(town.nodes[edge[0]] - town.nodes[edge[1]])) > 120]
        self._left = [(edge, side) for edge in long_enough for side in (1, -1)]
        rng.shuffle(self._left)

    def __next__(self) -> Plot:
        assert self._left, "the town is too small for its homes: see world.half_m"
        edge, side = self._left.pop()
        return (int(edge[0]), int(edge[1])), int(side)


def _flats(rng: np.random.Generator, town: Town, plot: Plot) -> list[Placed]:
    """A block of three staircases; one to four of its flats are customers, sometimes above each other."""
    stair_l, depth = float(rng.uniform(14, 22)), float(rng.uniform(11, 16))
    building = _beside(town, plot, float(rng.uniform(0.4, 0.6)), 3 * stair_l / 2, depth / 2, float(rng.uniform(9, 20)))
    placed: list[Placed] = []
    for _ in range(int(rng.choice((1, 2, 3, 4), p=(0.78, 0.14, 0.05, 0.03)))):
        x, y = building.at(float(rng.choice((-1, 0, 1))) * stair_l, 0)
        rooms = Box(x, y, building.ux, building.uy, stair_l / 2, depth / 2)
        placed.append((rooms, building, _foot(town, plot[0], x, y)))
    return placed


def _houses(rng: np.random.Generator, town: Town, plot: Plot) -> list[Placed]:
    """One to three houses in a row, each with its own fence."""
    count = int(rng.choice((1, 2, 3), p=(0.78, 0.16, 0.06)))
    first = _beside(town, plot, 0.35, float(rng.uniform(5, 8)), float(rng.uniform(4.5, 6.5)), float(rng.uniform(7, 14)))
    step_m = 2 * first.half_l + float(rng.uniform(6, 14))
    placed: list[Placed] = []
    for k in range(count):
        x, y = first.at(k * step_m, 0)
        placed.append((Box(x, y, first.ux, first.uy, first.half_l, first.half_w), None, _foot(town, plot[0], x, y)))
    return placed


def _beside(town: Town, plot: Plot, share: float, half_l: float, half_w: float, setback_m: float) -> Box:
    """A box along the street, on the plot's side of it."""
    (a, b), side = plot
    start, end = town.nodes[a], town.nodes[b]
    length = math.hypot(*(end - start))
    ux, uy = (end - start) / length
    off = side * (6 + setback_m + half_w)
    x, y = start + (end - start) * share + np.array([-uy, ux]) * off
    return Box(float(x), float(y), float(ux), float(uy), half_l, half_w)


def _foot(town: Town, edge: tuple[int, int], x: float, y: float) -> Point:
    """The point of the street straight before the door."""
    start, end = town.nodes[edge[0]], town.nodes[edge[1]]
    along = end - start
    share = float(np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0.05, 0.95))
    return float(start[0] + along[0] * share), float(start[1] + along[1] * share)


def _home(
    rng: np.random.Generator,
    city: City,
    count: int,
    rooms: Box,
    building: Box | None,
    edge: tuple[int, int],
    street_point: Point,
    street: str,
    number: int,
) -> Home:
    tag = f"{city.code}-{count:04d}"
    fence, radius_m = _fence(rng, rooms, building)
    culture = city.culture
    family, given = (names[int(rng.integers(len(names)))][0] for names in (culture.family, culture.given))
    stair, floor = int(rng.integers(1, 5)), int(rng.integers(1, 13))
    address = (culture.flat if building is not None else culture.house).format(
        street=street, number=number, stair=stair, stair_letter="ABCD"[stair - 1], floor=floor, flat=floor * 100 + stair
    )
    return Home(
        id=f"site-{tag}",
        name=address,
        customer=culture.person.format(family=family, given=given),
        rooms=rooms,
        fence=fence,
        radius_m=radius_m,
        edge=edge,
        street=street_point,
        residents=bool(rng.random() < 0.6),
        devices=_devices(rng, tag),
    )


def _fence(rng: np.random.Generator, rooms: Box, building: Box | None) -> tuple[Box | None, float | None]:
    """What an operator draws: the footprint with a margin, or a pin with a radius that holds the home."""
    if rng.random() < 0.4:
        return None, float(rng.choice((30, 40, 50, 60, 80)))
    drawn = building if building is not None and rng.random() < 0.5 else rooms
    margin_m = float(rng.uniform(2, 6))
    return Box(drawn.x, drawn.y, drawn.ux, drawn.uy, drawn.half_l + margin_m, drawn.half_w + margin_m), None


def _devices(rng: np.random.Generator, tag: str) -> tuple[tuple[str, str], ...]:
    """Somewhat more than half of the homes have none; the others have a gateway and some of the kinds."""
    if rng.random() < 0.55:
        return ()
    shares = {"lock": 0.7, "contact": 0.6, "motion": 0.55, "plug": 0.3, "sos": 0.35}
    kinds = [kind for kind, share in shares.items() if rng.random() < share] or ["lock"]
    return tuple((f"{kind}-{tag}", kind) for kind in (*kinds, "gateway"))
