"""Chinese map datums to WGS-84, by what the source declares and never by place.

GCJ-02 has no published inverse: the shift is found by iteration. The library's own loop does not end at the border of the area
where the shift applies, because there the shift jumps; this one is bounded, and ends within a millimetre everywhere else.
"""

from coord_convert.transform import bd2gcj, wgs2gcj

from geofence.evidence import Crs

ROUNDS_MAX = 20
"""The shift changes by at most a percent over its own length, so each round gains two digits; 6 suffice inside the area."""
CLOSE_DEG = 1e-9


def to_wgs84(lon: float, lat: float, crs: Crs) -> tuple[float, float]:
    """Degrees in the declared datum as WGS-84 degrees."""
    if crs == "wgs84":
        return lon, lat
    if crs == "bd09":
        lon, lat = bd2gcj(lon, lat)
    found_lon, found_lat = lon, lat
    for _ in range(ROUNDS_MAX):
        shifted_lon, shifted_lat = wgs2gcj(found_lon, found_lat)
        off_lon, off_lat = shifted_lon - lon, shifted_lat - lat
        found_lon, found_lat = found_lon - off_lon, found_lat - off_lat
        if abs(off_lon) < CLOSE_DEG and abs(off_lat) < CLOSE_DEG:
            break
    return found_lon, found_lat
