"""Worlds: sites, workers' ways and phones' errors in metres about one place, from which the engine's tests make evidence.

The worlds are simple on purpose and share no code with the simulator or the engine: straight ways, autocorrelated errors, one town.
"""

from math import cos, pi, radians

import numpy as np
import shapely
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence.evidence import NO_SKETCHES, Fixes, Floats, Observed, Sketch, Sketches
from geofence.plan import Scene, Site, Visit

bounded = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
"""How the engine's tests use Hypothesis: the same examples on every machine, and all of them in less than a minute."""

LON, LAT = 116.4, 39.9
METRES = 6_371_008.8 * pi / 180.0
START = 1_790_000_000.0
"""The visit's planned start, in September 2026."""
COLUMNS = ("source", "at", "received_at", "lon", "lat", "accuracy_m", "altitude_m", "speed_mps", "heading_deg", "mock", "ping")


def lonlat(east: Floats | float, north: Floats | float) -> tuple[Floats, Floats]:
    """Metres about the town's centre to degrees."""
    return LON + np.asarray(east) / (METRES * cos(radians(LAT))), LAT + np.asarray(north) / METRES


def circle(east: float, north: float, radius_m: float, name: str = "s-1") -> Site:
    lon, lat = lonlat(east, north)
    return Site(id=name, geometry=shapely.Point(float(lon), float(lat)), radius_m=radius_m)


def square(east: float, north: float, side_m: float, name: str = "s-1") -> Site:
    half = side_m / 2
    lon, lat = lonlat(
        np.array([east - half, east + half, east + half, east - half]), np.array([north - half] * 2 + [north + half] * 2)
    )
    return Site(id=name, geometry=shapely.Polygon(np.column_stack((lon, lat))))


def visit(planned_s: float = 7200.0) -> Visit:
    return Visit(id="v-1", worker="w-1", site="s-1", service="default", starts_at=START, ends_at=START + planned_s)


def scene(site: Site, planned_s: float = 7200.0, **more: object) -> Scene:
    return replace(Scene(visit=visit(planned_s), site=site, phones=("w-1",)), **more)


def fixes(at: Floats, east: Floats, north: Floats, accuracy_m: float | Floats = 12.0, **more: object) -> Fixes:
    """Fixes of one phone at seconds after the planned start, received a second later."""
    at = START + np.asarray(at, dtype=np.float64)
    count = len(at)
    lon, lat = lonlat(np.broadcast_to(east, (count,)), np.broadcast_to(north, (count,)))
    unknown = np.full(count, np.nan)
    made = Fixes(
        sources=("w-1",),
        source=np.zeros(count, dtype=np.int64),
        at=at,
        received_at=at + 1.0,
        lon=lon,
        lat=lat,
        accuracy_m=np.array(np.broadcast_to(accuracy_m, (count,)), dtype=np.float64),
        altitude_m=unknown,
        speed_mps=unknown,
        heading_deg=unknown,
        mock=np.zeros(count, dtype=bool),
        ping=np.zeros(count, dtype=bool),
    )
    return replace(made, **more)


def nothing() -> Fixes:
    return fixes(np.empty(0), np.empty(0), np.empty(0))


def take(of: Fixes, rows: object) -> Fixes:
    """Some of the fixes, in any order, as often as wanted."""
    return replace(of, **{name: getattr(of, name)[rows] for name in COLUMNS})


def joined(*parts: Fixes) -> Fixes:
    """The fixes of one phone, or of several that are named in the same order, by their time."""
    everything = replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})
    return take(everything, np.lexsort((everything.source, everything.at)))


def errors(rng: np.random.Generator, at: Floats, sigma_m: float, forgets_s: float = 60.0) -> Floats:
    """An error of one axis that forgets itself in about `forgets_s`."""
    out = np.empty(len(at))
    value = rng.normal()
    for i in range(len(at)):
        if i:
            keep = np.exp(-(at[i] - at[i - 1]) / forgets_s)
            value = keep * value + np.sqrt(1.0 - keep * keep) * rng.normal()
        out[i] = value * sigma_m
    return out


def way(at: Floats, came: float, went: float, place: tuple[float, float] = (0.0, 0.0), speed: float = 1.4) -> tuple[Floats, Floats]:
    """Where a worker is who comes from the east, is at a place from `came` to `went`, and leaves to the north."""
    before = np.minimum(np.maximum(came - at, 0.0) * speed, 2000.0)
    after = np.minimum(np.maximum(at - went, 0.0) * speed, 2000.0)
    return place[0] + before, place[1] + after


def day(
    seed: int = 1,
    every_s: float = 10.0,
    came: float = 60.0,
    went: float = 7260.0,
    place: tuple[float, float] = (0.0, 0.0),
    sigma_m: float = 8.0,
    accuracy_m: float = 12.0,
    planned_s: float = 7200.0,
    **more: object,
) -> Fixes:
    """A worker's day around one visit, from half an hour before it to half an hour after."""
    rng = np.random.default_rng(seed)
    at = np.arange(-1800.0, planned_s + 1800.0, every_s)
    east, north = way(at, came, went, place)
    return fixes(at, east + errors(rng, at, sigma_m), north + errors(rng, at, sigma_m), accuracy_m, **more)


def seen(of: Fixes, **more: object) -> Observed:
    return replace(Observed(fixes=of), **more)


def together(*sketches: Sketch) -> Sketches:
    """Those of earlier visits as the engine takes them."""
    if not sketches:
        return NO_SKETCHES
    columns = (np.concatenate([one.prints for one in sketches]), np.concatenate([one.at for one in sketches]))
    return Sketches(*columns, np.cumsum([len(one.prints) for one in sketches]))


@st.composite
def days(draw: st.DrawFn) -> tuple[Scene, Fixes]:
    """A short visit at some home, with a worker who serves it, or does not, and a phone of some quality."""
    site = draw(st.sampled_from([circle(0, 0, 30.0), circle(0, 0, 100.0), square(0, 0, 15.0), square(0, 0, 40.0)]))
    every = draw(st.sampled_from([20.0, 60.0, 150.0, 290.0]))
    came = draw(st.integers(-1200, 2400))
    stayed = draw(st.integers(0, 4000))
    place = (draw(st.sampled_from([0.0, 0.0, 0.0, 12.0, 30.0, 80.0, 1500.0])), 0.0)
    sigma = draw(st.sampled_from([3.0, 8.0, 20.0, 40.0]))
    accuracy = sigma * 1.5 * draw(st.sampled_from([0.5, 1.0, 2.0]))
    made = day(draw(st.integers(0, 99)), every, came, came + stayed, place, sigma, accuracy, planned_s=2400.0)
    mock = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    flagged = np.random.default_rng(draw(st.integers(0, 9))).random(len(made.at)) < mock
    return scene(site, 2400.0), replace(made, mock=flagged)
