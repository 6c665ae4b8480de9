"""Homes of the drift world: a building, a fence askew about it, neighbours, and the other places of the worker's day.

Metres are local, x to the east and y to the north of the visit's own building. Home 0 is the visit's own.
"""

import math

import numpy as np
import shapely
from msgspec import Struct

from bench.accuracy.case import Surroundings
from geofence.evidence import Bools, Floats
from geofence.plan import Device, Site

SURROUNDINGS: tuple[Surroundings, ...] = ("open", "canyon", "house", "flats")
KINDS = ("lock", "contact", "motion")


class Plane(Struct, frozen=True):
    """Where on earth the metres are."""

    lon: float
    lat: float

    def degrees(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        per_degree = math.radians(1.0) * 6_371_008.8
        return self.lon + x / (per_degree * math.cos(math.radians(self.lat))), self.lat + y / per_degree


class Building(Struct, frozen=True):
    """A rectangle: centre, turn in radians, half length and half width."""

    x: float
    y: float
    turn: float
    half_l: float
    half_w: float

    def at(self, along: Floats | float, across: Floats | float) -> tuple[Floats, Floats]:
        c, s = math.cos(self.turn), math.sin(self.turn)
        return self.x + c * np.asarray(along) - s * np.asarray(across), self.y + s * np.asarray(along) + c * np.asarray(across)

    @property
    def door(self) -> tuple[float, float]:
        """A step before the middle of a long side."""
        x, y = self.at(0.0, -self.half_w - 1.5)
        return float(x), float(y)


class Fence(Struct, frozen=True, eq=False):
    """What the operator drew: corners of a polygon, or a centre and a radius."""

    corners: Floats
    radius_m: float | None

    def contains(self, x: Floats, y: Floats) -> Bools:
        if self.radius_m is not None:
            return np.asarray(np.hypot(x - self.corners[0, 0], y - self.corners[0, 1]) <= self.radius_m)
        return np.asarray(shapely.contains_xy(shapely.Polygon(self.corners), x, y))

    @property
    def reach_m(self) -> float:
        return self.radius_m or float(np.hypot(*(self.corners - self.corners.mean(axis=0)).T).max())


class Home(Struct, frozen=True, eq=False):
    """`known` is whether the operator has it as a site, `near` whether it is close enough to the visit's own to be mistaken."""

    id: str
    building: Building
    fence: Fence
    known: bool
    near: bool
    residents: bool
    equipped: bool

    def site(self, plane: Plane) -> Site:
        lon, lat = plane.degrees(self.fence.corners[:, 0], self.fence.corners[:, 1])
        if self.fence.radius_m is not None:
            return Site(id=self.id, geometry=shapely.Point(float(lon[0]), float(lat[0])), radius_m=self.fence.radius_m)
        return Site(id=self.id, geometry=shapely.Polygon(np.column_stack((lon, lat))))

    @property
    def devices(self) -> tuple[Device, ...]:
        if not (self.equipped and self.known):
            return ()
        return tuple(Device(id=f"{kind}-{self.id}", site=self.id, kind=kind, source=f"{kind}-{self.id}") for kind in KINDS)


class Ground(Struct, frozen=True, eq=False):
    """All places of one visit. Indices into `homes`: 0 the visit's own, then its neighbour, the wrong one, before, after, and in
    flats another home of the building.
    """

    plane: Plane
    surroundings: Surroundings
    homes: tuple[Home, ...]
    café: tuple[float, float]


OWN, NEIGHBOUR, WRONG, BEFORE, AFTER = range(5)


def ground(rng: np.random.Generator) -> Ground:
    """A place with everything around it."""
    surroundings = SURROUNDINGS[int(rng.choice(4, p=(0.2, 0.2, 0.35, 0.25)))]
    plane = Plane(float(rng.uniform(-170, 170)), float(rng.uniform(-45, 62)))
    turn = float(rng.uniform(0, math.pi))
    own = _building(rng, surroundings, (0.0, 0.0), turn)
    fence = _fence(rng, own)
    homes = [_home(rng, 0, own, fence, known=True, near=True)]
    beside = _beside(rng, surroundings, own, fence, turn)
    homes.append(_home(rng, 1, beside, _fence(rng, beside), known=bool(rng.random() < 0.5), near=True))
    for k in (WRONG, BEFORE, AFTER):
        away_m, angle = math.exp(float(rng.uniform(math.log(260), math.log(4000)))), float(rng.uniform(0, 2 * math.pi))
        spot = away_m * math.cos(angle), away_m * math.sin(angle)
        far = _building(rng, surroundings, spot, float(rng.uniform(0, math.pi)))
        homes.append(_home(rng, k, far, _fence(rng, far), known=k == WRONG or bool(rng.random() < 0.6), near=False))
    if surroundings == "flats" and rng.random() < 0.5:
        homes.append(_home(rng, len(homes), own, _fence(rng, own), known=True, near=True))
    angle, away_m = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(400, 2500))
    return Ground(plane, surroundings, tuple(homes), (away_m * math.cos(angle), away_m * math.sin(angle)))


def _building(rng: np.random.Generator, surroundings: Surroundings, spot: tuple[float, float], turn: float) -> Building:
    half_l, half_w = {
        "open": (rng.uniform(5, 9), rng.uniform(4, 7)),
        "house": (rng.uniform(4.5, 8), rng.uniform(4, 6)),
        "canyon": (rng.uniform(9, 16), rng.uniform(7, 11)),
        "flats": (rng.uniform(8, 14), rng.uniform(6, 9)),
    }[surroundings]
    return Building(spot[0], spot[1], turn, float(half_l), float(half_w))


def _fence(rng: np.random.Generator, building: Building) -> Fence:
    """A pin beside the middle with a radius that holds the building; or its outline with a margin, bent at the corners."""
    if rng.random() < 0.5:
        off = rng.normal(0, 4, 2)
        radius_m = max(
            float(rng.choice((25, 30, 40, 50, 75, 100))), math.hypot(building.half_l, building.half_w) + math.hypot(*off) + 2
        )
        return Fence(np.array([[building.x + off[0], building.y + off[1]]]), radius_m)
    margin = float(rng.uniform(1.5, 8.0))
    along = np.array([-1, 0, 1, 1, 0, -1]) * (building.half_l + margin)
    across = np.array([-1, -1.0, -1, 1, 1.0, 1]) * (building.half_w + margin)
    x, y = building.at(along + rng.normal(0, margin / 5, 6), across + rng.normal(0, margin / 5, 6))
    return Fence(np.column_stack((x, y)), None)


def _beside(rng: np.random.Generator, surroundings: Surroundings, own: Building, fence: Fence, turn: float) -> Building:
    """A neighbour whose walls begin 5 to 40 m outside the fence."""
    other = _building(rng, surroundings, (0.0, 0.0), turn)
    angle = turn + float(rng.choice((0, math.pi))) + float(rng.normal(0, 0.3))
    ahead = np.arange(0.0, 400.0, 1.0)
    x, y = ahead * math.cos(angle), ahead * math.sin(angle)
    edge_m = float(ahead[np.flatnonzero(fence.contains(x, y))[-1]]) if fence.contains(x, y).any() else own.half_l
    away_m = edge_m + math.hypot(other.half_l, other.half_w) + math.exp(float(rng.uniform(math.log(5), math.log(40))))
    return Building(away_m * math.cos(angle), away_m * math.sin(angle), turn, other.half_l, other.half_w)


def _home(rng: np.random.Generator, k: int, building: Building, fence: Fence, *, known: bool, near: bool) -> Home:
    return Home(f"s-{k}", building, fence, known, near, bool(rng.random() < 0.5), bool(rng.random() < 0.45))
