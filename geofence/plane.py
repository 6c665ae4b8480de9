"""Plane: the metres around one site, and signed distances to fences in it.

- One equirectangular projection per site, about the centre of its fence: within 0.3 % of the truth up to 60 degrees of latitude
  and some kilometres, where a fence is decided; web mercator would read 131 m for 100 m in Beijing.
- A signed distance is negative inside the fence and positive outside, in metres.
- Arrays in, arrays out, and plain arithmetic: a building has so few edges that all points against all of them take less time than
  making a geometry of each point.
"""

from functools import lru_cache
from math import cos, pi, radians, sqrt

import numpy as np
import shapely
from msgspec import Struct
from shapely.geometry.base import BaseGeometry

from geofence.evidence import Floats
from geofence.plan import Site

EARTH_M = 6_371_008.8
"""Mean radius of the earth (IUGG)."""

POINTS_TIMES_EDGES_MAX = 200_000
"""Points are taken in portions of this many comparisons, so that memory stays bounded whatever a fence looks like."""


class Plane(Struct, frozen=True):
    """A tangent plane: metres east and north of `lon`, `lat`."""

    lon: float
    lat: float

    def east_north(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Degrees to metres. Longitudes are taken the short way round, so a site may lie at the date line."""
        metres = radians(1.0) * EARTH_M
        turn = (lon - self.lon + 180.0) % 360.0 - 180.0
        return turn * (metres * cos(radians(self.lat))), (lat - self.lat) * metres


class Fence(Struct, frozen=True, eq=False):
    """A site's outline in a plane, and the two numbers that an error model needs of it: how thick and how wide it is."""

    shape: BaseGeometry
    """A polygon in metres, or the centre point of a circle."""
    radius_m: float
    """0 for a polygon."""
    edges: Floats
    """Of a polygon: a row `east, north, east, north` for each edge of all its rings."""
    area_m2: float
    thickness_m: float
    """Extent across: the diameter of a circle, the short side of the narrowest rectangle around a polygon."""
    width_m: float
    """Extent along, so that thickness times width is the area."""
    east_m: float
    north_m: float

    @property
    def reach_m(self) -> float:
        """How far the fence reaches from its centre, about."""
        return self.radius_m or float(np.hypot(self.thickness_m, self.width_m)) / 2.0

    def distance(self, east: Floats, north: Floats) -> Floats:
        """Signed distance of each point to the outline, metres."""
        if self.radius_m:
            return np.hypot(east - self.east_m, north - self.north_m) - self.radius_m
        return _signed_distance(self.edges, east, north)

    def shares_ground(self, other: "Fence") -> bool:
        """Whether two fences overlap by more than drawing errors: a tenth of the smaller one."""
        mine, theirs = (f.shape.buffer(f.radius_m) if f.radius_m else f.shape for f in (self, other))
        common: float = mine.intersection(theirs).area
        return common > 0.1 * min(self.area_m2, other.area_m2)


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
            edges=np.empty((0, 4)),
            area_m2=area,
            thickness_m=2 * site.radius_m,
            width_m=area / (2 * site.radius_m),
            east_m=float(x[0]),
            north_m=float(y[0]),
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
    )


def _edges(shape: BaseGeometry) -> Floats:
    """All edges of all rings, outer ones and holes, as rows of two points."""
    coordinates: Floats = shapely.get_coordinates(shape.boundary)
    ring: list[int] = []
    for number, line in enumerate(shapely.get_parts(shape.boundary)):
        ring.extend([number] * shapely.get_num_coordinates(line))
    same = np.diff(np.array(ring)) == 0
    rows: Floats = np.column_stack((coordinates[:-1], coordinates[1:]))[same]
    return rows


def _signed_distance(edges: Floats, east: Floats, north: Floats) -> Floats:
    """Distance of points to the nearest edge, negative where an odd number of edges lies east of the point."""
    out = np.empty(len(east))
    rows = max(1, POINTS_TIMES_EDGES_MAX // len(edges))
    x0, y0, x1, y1 = edges.T
    dx, dy = x1 - x0, y1 - y0
    length2 = np.maximum(dx * dx + dy * dy, 1e-12)
    for first in range(0, len(east), rows):
        x, y = east[first : first + rows, None], north[first : first + rows, None]
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / length2, 0.0, 1.0)
        away = np.sqrt(((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2).min(axis=1))
        crosses = (y0 > y) != (y1 > y)
        slope = dx / np.where(dy == 0.0, 1.0, dy)
        odd = (crosses & (x < x0 + (y - y0) * slope)).sum(axis=1) % 2 == 1
        out[first : first + rows] = np.where(odd, -away, away)
    return out
