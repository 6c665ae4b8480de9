"""Fences: the geometry of a site, checked so that the engine may trust it, with an error that says where and how to mend it.

A fence is a GeoJSON Polygon, MultiPolygon, or a Point that has a radius. It is a place of service: a home, a building, a yard. What
is larger than a small town is a mistake, most often a coordinate with its numbers swapped.
"""

import math
import sys
from typing import Any

import shapely
from msgspec import Struct
from shapely.geometry import shape

SPAN_M_MAX = 20_000.0
"""The longest side of a fence's box."""
RADIUS_M_MIN, RADIUS_M_MAX = 1.0, 10_000.0
POSITIONS_MAX = 5_000
METRES_PER_DEGREE = 111_320.0
"""Of latitude, and of longitude at the equator: the mean of WGS-84, good to 0.6 %."""

SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "title": "Point",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"const": "Point"},
                "coordinates": {"$ref": "#/components/schemas/Position"},
            },
        },
        {
            "type": "object",
            "title": "Polygon",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"const": "Polygon"},
                "coordinates": {"$ref": "#/components/schemas/Rings"},
            },
        },
        {
            "type": "object",
            "title": "MultiPolygon",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"const": "MultiPolygon"},
                "coordinates": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Rings"}},
            },
        },
    ]
}
COMPONENTS: dict[str, Any] = {
    "Position": {
        "type": "array",
        "title": "Position",
        "description": "WGS-84 `lon, lat`, and an altitude that is not used",
        "prefixItems": [{"type": "number", "minimum": -180, "maximum": 180}, {"type": "number", "minimum": -90, "maximum": 90}],
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 3,
        "examples": [[116.3974, 39.9093]],
    },
    "Rings": {
        "type": "array",
        "title": "Rings",
        "description": "The outer ring, then its holes; each ring ends at the position where it began",
        "minItems": 1,
        "items": {"type": "array", "minItems": 4, "items": {"$ref": "#/components/schemas/Position"}},
    },
}


class Box(Struct, frozen=True, kw_only=True):
    """What a fence fits into, in degrees, with its radius."""

    min_lon: float
    min_lat: float
    max_lon: float
    max_lat: float


def check(geometry: object) -> dict[str, Any]:
    """The geometry as it is, or ValueError with the place and the mend."""
    if not isinstance(geometry, dict):
        raise ValueError("must be a GeoJSON geometry: a Polygon, a MultiPolygon, or a Point with radius_m")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    # First, because looking at each of a million positions takes longer than reading them.
    if _count(coordinates) > POSITIONS_MAX:
        raise ValueError(f"has more than {POSITIONS_MAX} positions: simplify it")
    match kind:
        case "Point":
            _position(coordinates, "coordinates")
        case "Polygon":
            _rings(coordinates, "coordinates")
        case "MultiPolygon":
            for index, rings in enumerate(_filled(coordinates, "coordinates")):
                _rings(rings, f"coordinates[{index}]")
        case _:
            raise ValueError(f"type {str(kind)[:40]!r} is no fence: use Polygon, MultiPolygon, or Point with radius_m")
    if kind != "Point":
        _refuse_crossing(geometry)
        _refuse_large(geometry)
    return {"type": kind, "coordinates": coordinates}


def box(geometry: dict[str, Any], radius_m: float | None) -> Box:
    """The box of a checked geometry."""
    min_lon, min_lat, max_lon, max_lat = shape(geometry).bounds
    lat_margin = (radius_m or 0.0) / METRES_PER_DEGREE
    # Near a pole a radius may reach around the world; a box is only ever asked for neighbours, so it may be too large.
    shrink = math.cos(math.radians(min(89.0, max(abs(min_lat), abs(max_lat)))))
    lon_margin = min(180.0, lat_margin / shrink)
    return Box(
        min_lon=max(-180.0, min_lon - lon_margin),
        min_lat=max(-90.0, min_lat - lat_margin),
        max_lon=min(180.0, max_lon + lon_margin),
        max_lat=min(90.0, max_lat + lat_margin),
    )


def _count(coordinates: object) -> int:
    """How many positions are in a Polygon or a MultiPolygon, as far as it is one."""
    rings = [ring for ring in coordinates if isinstance(ring, list)] if isinstance(coordinates, list) else []
    inner = [part for ring in rings for part in ring if isinstance(part, list) and part and isinstance(part[0], list)]
    return sum(map(len, inner or rings))


def _filled(value: object, place: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place} must be a list that is not empty")
    return value


def _rings(rings: object, place: str) -> None:
    for index, ring in enumerate(_filled(rings, place)):
        where = f"{place}[{index}]"
        positions = _filled(ring, where)
        for number, position in enumerate(positions):
            _position(position, f"{where}[{number}]")
        if positions[0] != positions[-1]:
            raise ValueError(f"{where} is not closed: repeat its first position {positions[0]} at the end")
        if len(positions) < 4:
            raise ValueError(f"{where} has {len(positions)} positions: a ring needs at least 4, the last one equal to the first")


def _position(position: object, place: str) -> None:
    if not isinstance(position, list) or not 2 <= len(position) <= 3:
        raise ValueError(f"{place} must be a position [lon, lat]")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in position):
        raise ValueError(f"{place} must hold numbers")
    if not all(-sys.float_info.max <= number <= sys.float_info.max for number in position):
        # A whole number in JSON may be longer than any float.
        raise ValueError(f"{place} holds a number that is too large: it is outside of what a float holds")
    lon, lat = position[0], position[1]
    if not -90 <= lat <= 90:
        hint = ": lon and lat look swapped" if -90 <= lon <= 90 and -180 <= lat <= 180 else ""
        raise ValueError(f"{place}: lat {lat:g} is outside -90..90{hint}")
    if not -180 <= lon <= 180:
        raise ValueError(f"{place}: lon {lon:g} is outside -180..180")


def _refuse_crossing(geometry: dict[str, Any]) -> None:
    found = shape(geometry)
    if not found.is_valid:
        raise ValueError(f"is not a valid area: {_why_invalid(shapely.is_valid_reason(found))}")
    if found.area == 0:
        raise ValueError("has no area")


def _why_invalid(reason: str) -> str:
    """GEOS says `Self-intersection[116.4 39.9]`."""
    what, _, where = reason.partition("[")
    place = f" at lon, lat {where.rstrip(']').replace(' ', ', ')}" if where else ""
    if what == "Self-intersection":
        return f"its outline crosses itself{place}: put its corners in the order in which one would walk around it"
    return f"{what.lower()}{place}"


def _refuse_large(geometry: dict[str, Any]) -> None:
    min_lon, min_lat, max_lon, max_lat = shape(geometry).bounds
    width = (max_lon - min_lon) * METRES_PER_DEGREE * math.cos(math.radians((min_lat + max_lat) / 2))
    height = (max_lat - min_lat) * METRES_PER_DEGREE
    if max(width, height) > SPAN_M_MAX:
        size = f"{width / 1000:.0f} km by {height / 1000:.0f} km"
        raise ValueError(f"is {size}, and a fence is at most {SPAN_M_MAX / 1000:.0f} km long: look for a wrong coordinate")
