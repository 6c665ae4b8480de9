"""Datum: by how much the map datums used in China lie beside WGS-84 at a place.

Chinese map SDKs answer in GCJ-02 (300 to 700 m off) or BD-09 (about a kilometre off), and a phone that passes that on as WGS-84 is
off by the same vector all day. The shift changes by less than a percent over its own length, so near a site it is one vector, and
undoing a mistake is a subtraction.

GCJ-02 is not published by who makes it. The formula is the one that has been public since 2010 (as in the Java of "EvilTransform"
and in every library since), on the ellipsoid of Krasovsky; BD-09 as Baidu's SDK applies it to GCJ-02. It holds in a rectangle about
China; outside of it nothing is shifted.
"""

from functools import lru_cache
from math import atan2, cos, pi, radians, sin, sqrt

from msgspec import Struct

_AXIS_M = 6_378_245.0
_ECCENTRICITY2 = 0.00669342162296594323
_WEST, _SOUTH, _EAST, _NORTH = 72.004, 0.8293, 137.8347, 55.8271
_BAIDU = pi * 3000.0 / 180.0


class Shift(Struct, frozen=True):
    """A mistake of datums: who is at a place is reported so many degrees beside it."""

    mistake: str
    lon: float
    lat: float


@lru_cache(maxsize=20_000)
def mistakes(lon: float, lat: float) -> tuple[Shift, ...]:
    """Every way of confusing two datums at a place, with where it puts who is there. None outside China."""
    if not (_WEST <= lon <= _EAST and _SOUTH <= lat <= _NORTH):
        return ()
    gcj_lon, gcj_lat = gcj02(lon, lat)
    bd_lon, bd_lat = bd09(lon, lat)
    taken = (
        ("gcj02 taken for wgs84", gcj_lon - lon, gcj_lat - lat),
        ("bd09 taken for wgs84", bd_lon - lon, bd_lat - lat),
        ("bd09 taken for gcj02", bd_lon - gcj_lon, bd_lat - gcj_lat),
    )
    back = {"gcj02 taken for wgs84": "wgs84 taken for gcj02", "bd09 taken for wgs84": "wgs84 taken for bd09"}
    return tuple(
        [Shift(mistake, east, north) for mistake, east, north in taken]
        + [Shift(back.get(mistake, "gcj02 taken for bd09"), -east, -north) for mistake, east, north in taken]
    )


def gcj02(lon: float, lat: float) -> tuple[float, float]:
    """WGS-84 degrees in GCJ-02."""
    x, y = lon - 105.0, lat - 35.0
    waves = 20.0 * sin(6.0 * pi * x) + 20.0 * sin(2.0 * pi * x)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x))
    north += 2.0 / 3.0 * (waves + 20.0 * sin(pi * y) + 40.0 * sin(pi * y / 3.0))
    north += 2.0 / 3.0 * (160.0 * sin(pi * y / 12.0) + 320.0 * sin(pi * y / 30.0))
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x))
    east += 2.0 / 3.0 * (waves + 20.0 * sin(pi * x) + 40.0 * sin(pi * x / 3.0))
    east += 2.0 / 3.0 * (150.0 * sin(pi * x / 12.0) + 300.0 * sin(pi * x / 30.0))
    bent = 1.0 - _ECCENTRICITY2 * sin(radians(lat)) ** 2
    meridian = _AXIS_M * (1.0 - _ECCENTRICITY2) / bent**1.5
    parallel = _AXIS_M / sqrt(bent) * cos(radians(lat))
    return lon + east / (parallel * pi) * 180.0, lat + north / (meridian * pi) * 180.0


def bd09(lon: float, lat: float) -> tuple[float, float]:
    """WGS-84 degrees in BD-09."""
    x, y = gcj02(lon, lat)
    radius = sqrt(x * x + y * y) + 0.00002 * sin(y * _BAIDU)
    angle = atan2(y, x) + 0.000003 * cos(x * _BAIDU)
    return radius * cos(angle) + 0.0065, radius * sin(angle) + 0.006
