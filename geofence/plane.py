"""Plane: the metres around one site, and signed distances to fences in it.

- One equirectangular projection per site, about the centre of its fence: within 0.3 % of the truth up to 60 degrees of latitude
  and some kilometres, where a fence is decided; web mercator would read 131 m for 100 m in Beijing.
- A signed distance is negative inside the fence and positive outside, in metres.
- Arrays in, arrays out, and plain arithmetic: a building has so few edges that all points against all of them take less time than
  making a geometry of each point.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import cos, pi, radians, sqrt

import numpy as np
import shapely
from msgspec import Struct
from shapely.geometry.base import BaseGeometry

from geofence.evidence import Bools, Floats, Ints
from geofence.plan import Site

EARTH_M = 6_371_008.8
"""Mean radius of the earth (IUGG)."""

POINTS_TIMES_EDGES_MAX = 16_000
"""Points are taken in portions of this many comparisons: what is compared stays in the processor's cache, however many edges a
fence has.
"""


class Plane(Struct, frozen=True):
    """A tangent plane: metres east and north of `lon`, `lat`."""

    lon: float
    lat: float

    def east_north(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Degrees to metres. Longitudes are taken the short way round, so a site may lie at the date line."""
        east_m, north_m = self.metres
        return turned(lon - self.lon) * east_m, (lat - self.lat) * north_m

    @property
    def metres(self) -> tuple[float, float]:
        """Of a degree of longitude, and of latitude."""
        metres = radians(1.0) * EARTH_M
        return metres * cos(radians(self.lat)), metres


class Extent(Struct, frozen=True, eq=False):
    """What a likelihood asks of a fence, of each of many."""

    thickness_m: Floats
    width_m: Floats
    area_m2: Floats


class Fence(Struct, frozen=True, eq=False):
    """A site's outline in a plane, and the two numbers that an error model needs of it: how thick and how wide it is."""

    shape: BaseGeometry
    """A polygon in metres, or the centre point of a circle."""
    radius_m: float
    """0 for a polygon."""
    edges: Floats
    """Of a polygon: a row for each edge of all its rings. Where it begins, `east, north`, how far north it ends, how far it goes,
    `east, north`, its squared length, and how far it goes east for each metre north.
    """
    area_m2: float
    thickness_m: float
    """Extent across: the diameter of a circle, the short side of the narrowest rectangle around a polygon."""
    width_m: float
    """Extent along, so that thickness times width is the area."""
    east_m: float
    north_m: float
    box: tuple[float, float, float, float]
    """West, south, east and north of it."""

    @property
    def reach_m(self) -> float:
        """How far the fence reaches from its centre, about."""
        return self.radius_m or float(np.hypot(self.thickness_m, self.width_m)) / 2.0

    def distance(self, east: Floats, north: Floats) -> Floats:
        """Signed distance of each point to the outline, metres."""
        if self.radius_m:
            return away(east - self.east_m, north - self.north_m) - self.radius_m
        return _signed_distance(self.edges, east, north)

    def shares_ground(self, other: "Fence") -> bool:
        """Whether two fences overlap by more than drawing errors: a tenth of the smaller one."""
        west, south, east, north = self.box
        if other.box[0] >= east or other.box[2] <= west or other.box[1] >= north or other.box[3] <= south:
            return False
        return _common_m2(self, other) > 0.1 * min(self.area_m2, other.area_m2)


class Fences(Struct, frozen=True, eq=False):
    """Many fences in one plane as columns, for one point against all of them."""

    radius_m: Floats
    area_m2: Floats
    thickness_m: Floats
    width_m: Floats
    east_m: Floats
    north_m: Floats
    polygons: Ints
    """Which of them are polygons."""
    edges: Floats
    """Those of all the polygons, one after the other."""
    first: Ints
    """Where the edges of each polygon begin."""

    def distances(self, east: float, north: float) -> Floats:
        """Signed distance of a point to each outline, metres."""
        out: Floats = away(east - self.east_m, north - self.north_m) - self.radius_m
        if len(self.polygons):
            away2, crosses = _to_edges(self.edges.T, np.array([east]), np.array([north]))
            odd = np.logical_xor.reduceat(crosses, self.first)
            metres = np.sqrt(np.minimum.reduceat(away2, self.first))
            out[self.polygons] = np.where(odd, -metres, metres)
        return out


def distances(fences: Sequence[Fence], counts: Sequence[int], east: Floats, north: Floats) -> Floats:
    """Signed distance of each point to a fence of its own, metres; so many points of each fence lie together."""
    x, y, radius = (np.repeat([getattr(fence, name) for fence in fences], counts) for name in ("east_m", "north_m", "radius_m"))
    out: Floats = away(east - x, north - y) - radius
    end = 0
    for fence, count in zip(fences, counts, strict=True):
        end += count
        if not fence.radius_m:
            out[end - count : end] = fence.distance(east[end - count : end], north[end - count : end])
    return out


def turned(lon: Floats) -> Floats:
    """Differences of longitudes, the short way round."""
    far = np.abs(lon) > 180.0
    if far.any():
        lon[far] = (lon[far] + 180.0) % 360.0 - 180.0
    return lon


@lru_cache(maxsize=20_000)
def plane_of(site: Site) -> Plane:
    """The plane about the centre of a site's bounding box."""
    west, south, east, north = site.geometry.bounds
    return Plane(lon=(west + east) / 2, lat=(south + north) / 2)


@lru_cache(maxsize=20_000)
def fence_of(site: Site, plane: Plane) -> Fence:
    """A site's fence in a plane. A point without a radius is not a fence: the border refuses it, so here it is our mistake."""
    if site.geometry.geom_type == "Point":
        assert site.radius_m is not None, site.id
        x, y = plane.east_north(np.array([site.geometry.x]), np.array([site.geometry.y]))
        area = pi * site.radius_m**2
        return Fence(
            shape=shapely.Point(x[0], y[0]),
            radius_m=site.radius_m,
            edges=np.empty((0, 7)),
            area_m2=area,
            thickness_m=2 * site.radius_m,
            width_m=area / (2 * site.radius_m),
            east_m=float(x[0]),
            north_m=float(y[0]),
            box=(x[0] - site.radius_m, y[0] - site.radius_m, x[0] + site.radius_m, y[0] + site.radius_m),
        )
    shape = shapely.transform(site.geometry, lambda lonlat: np.column_stack(plane.east_north(lonlat[:, 0], lonlat[:, 1])))
    if site.radius_m:
        shape = shape.buffer(site.radius_m)
    area = max(shape.area, 1.0)
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
    sides = np.hypot(*np.diff(corners, axis=0).T)[:2] if len(corners) >= 3 else np.array([sqrt(area)])
    thickness = float(min(max(sides.min(), 1.0), sqrt(area)))
    centre = shape.centroid
    return Fence(
        shape=shape,
        radius_m=0.0,
        edges=_edges(shape),
        area_m2=area,
        thickness_m=thickness,
        width_m=area / thickness,
        east_m=centre.x,
        north_m=centre.y,
        box=shape.bounds,
    )


@lru_cache(maxsize=20_000)
def fences_of(fences: tuple[Fence, ...]) -> Fences:
    """Fences as columns."""
    polygons = [n for n, fence in enumerate(fences) if not fence.radius_m]
    counts = [len(fences[n].edges) for n in polygons]
    return Fences(
        radius_m=np.array([fence.radius_m for fence in fences]),
        area_m2=np.array([fence.area_m2 for fence in fences]),
        thickness_m=np.array([fence.thickness_m for fence in fences]),
        width_m=np.array([fence.width_m for fence in fences]),
        east_m=np.array([fence.east_m for fence in fences]),
        north_m=np.array([fence.north_m for fence in fences]),
        polygons=np.array(polygons, dtype=np.int64),
        edges=np.concatenate([np.empty((0, 7)), *(fences[n].edges for n in polygons)]),
        first=np.cumsum([0, *counts[:-1]]) if counts else np.empty(0, dtype=np.int64),
    )


@lru_cache(maxsize=20_000)
def _common_m2(one: Fence, other: Fence) -> float:
    a, b = (fence.shape.buffer(fence.radius_m) if fence.radius_m else fence.shape for fence in (one, other))
    common: float = a.intersection(b).area
    return common


def _edges(shape: BaseGeometry) -> Floats:
    """All edges of all rings, outer ones and holes."""
    coordinates: Floats = shapely.get_coordinates(shape.boundary)
    ring: list[int] = []
    for number, line in enumerate(shapely.get_parts(shape.boundary)):
        ring.extend([number] * shapely.get_num_coordinates(line))
    same = np.diff(np.array(ring)) == 0
    (x0, y0), (x1, y1) = coordinates[:-1][same].T, coordinates[1:][same].T
    dx, dy = x1 - x0, y1 - y0
    slope = dx / np.where(dy == 0.0, 1.0, dy)
    return np.column_stack((x0, y0, y1, dx, dy, np.maximum(dx * dx + dy * dy, 1e-12), slope))


def _signed_distance(edges: Floats, east: Floats, north: Floats) -> Floats:
    """Distance of points to the nearest edge, negative where an odd number of edges lies east of the point."""
    columns = edges.T[:, :, None]
    out = np.empty(len(east))
    rows = max(1, POINTS_TIMES_EDGES_MAX // len(edges))
    for first in range(0, len(east), rows):
        away2, crosses = _to_edges(columns, east[first : first + rows], north[first : first + rows])
        metres = np.sqrt(away2.min(axis=0))
        out[first : first + rows] = np.where(np.logical_xor.reduce(crosses, axis=0), -metres, metres)
    return out


def _to_edges(edges: Floats, x: Floats, y: Floats) -> tuple[Floats, Bools]:
    """Squared distance of each point to each edge, and whether the edge lies east of the point. `edges` are the columns."""
    x0, y0, y1, dx, dy, length2, slope = edges
    left, below = x - x0, y - y0
    along = (left * dx + below * dy) / length2
    along = np.minimum(np.maximum(along, 0.0), 1.0)
    away2 = (left - along * dx) ** 2 + (below - along * dy) ** 2
    crosses = ((y0 > y) != (y1 > y)) & (left < below * slope)
    return away2, crosses


def away(east: Floats, north: Floats) -> Floats:
    """numpy's own takes ten times as long, for lengths that are none of ours."""
    out: Floats = np.sqrt(east * east + north * north)
    return out
