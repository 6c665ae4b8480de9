"""Plane: the metres around one site, and signed distances to fences in it.

- One equirectangular projection per site, about the centre of its fence: within 0.3 % of the truth up to 60 degrees of latitude
  and some kilometres, where a fence is decided; web mercator would read 131 m for 100 m in Beijing.
- A signed distance is negative inside the fence and positive outside, in metres.
- Arrays in, arrays out: a circle is arithmetic, a polygon goes through shapely once for all points.
"""

from math import cos, pi, radians, sqrt

import numpy as np
import shapely
from msgspec import Struct
from shapely.geometry.base import BaseGeometry

from geofence.evidence import Floats
from geofence.plan import Site

EARTH_M = 6_371_008.8
"""Mean radius of the earth (IUGG)."""


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
    area_m2: float
    thickness_m: float
    """Extent across: the diameter of a circle, the short side of the narrowest rectangle around a polygon."""
    width_m: float
    """Extent along, so that thickness times width is the area."""
    east_m: float
    north_m: float

    def distance(self, east: Floats, north: Floats) -> Floats:
        """Signed distance of each point to the outline, metres."""
        if self.radius_m:
            return np.hypot(east - self.east_m, north - self.north_m) - self.radius_m
        points = shapely.points(east, north)
        away: Floats = shapely.distance(self.shape, points)
        inside = away == 0.0
        if inside.any():
            away[inside] = -shapely.distance(self.shape.boundary, points[inside])
        return away

    def shares_ground(self, other: "Fence") -> bool:
        """Whether two fences overlap by more than drawing errors: a tenth of the smaller one."""
        mine, theirs = (f.shape.buffer(f.radius_m) if f.radius_m else f.shape for f in (self, other))
        common: float = mine.intersection(theirs).area
        return common > 0.1 * min(self.area_m2, other.area_m2)


def plane_of(site: Site) -> Plane:
    """The plane about the centre of a site's bounding box."""
    west, south, east, north = site.geometry.bounds
    return Plane(lon=(west + east) / 2, lat=(south + north) / 2)


def fence_of(site: Site, plane: Plane) -> Fence:
    """A site's fence in a plane. A point without a radius is not a fence: the border refuses it, so here it is our mistake."""
    if site.geometry.geom_type == "Point":
        assert site.radius_m is not None, site.id
        x, y = plane.east_north(np.array([site.geometry.x]), np.array([site.geometry.y]))
        area = pi * site.radius_m**2
        return Fence(
            shape=shapely.Point(x[0], y[0]),
            radius_m=site.radius_m,
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
    shapely.prepare(shape)
    centre = shape.centroid
    return Fence(
        shape=shape,
        radius_m=0.0,
        area_m2=area,
        thickness_m=thickness,
        width_m=area / thickness,
        east_m=centre.x,
        north_m=centre.y,
    )
