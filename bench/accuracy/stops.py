"""Stops: the stop detection of two libraries, as a baseline. Imported only when one of them is asked for.

Both find places where somebody dwelt for five minutes within 100 m, which are their documented examples' values; a stop whose
middle lies in the fence counts as being on site from its beginning to its end.
"""

import warnings
from datetime import UTC, datetime, timedelta

import geopandas
import movingpandas as mpd
import pandas
import shapely
import trackintel

from bench.accuracy.answer import Answer, plain
from bench.accuracy.case import Case
from device_sim.spans import Span
from geofence.plane import fence_of, plane_of

DIAMETER_M = 100.0
LEAST_S = 300.0


def movingpandas(case: Case) -> Answer:
    """`TrajectoryStopDetector`."""
    points = _points(case)
    if len(points) < 2:
        return plain([], case)
    found = mpd.TrajectoryStopDetector(mpd.Trajectory(points, 1)).get_stop_points(
        min_duration=timedelta(seconds=LEAST_S), max_diameter=DIAMETER_M
    )
    if not len(found):
        return plain([], case)
    spans = zip(found["start_time"], found["end_time"], found.geometry, strict=True)
    return plain([_span(start, end) for start, end, middle in spans if _within(case, middle)], case)


def trackintel_(case: Case) -> Answer:
    """`generate_staypoints` with the sliding window of its documentation."""
    points = _points(case)
    if len(points) < 2:
        return plain([], case)
    fixes = points.reset_index().rename(columns={"t": "tracked_at"}).rename_geometry("geom")
    fixes["user_id"] = 1
    fixes["tracked_at"] = fixes["tracked_at"].dt.tz_localize("UTC")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It says of every short track that it found no stay.
        _, found = trackintel.preprocessing.generate_staypoints(
            trackintel.Positionfixes(fixes), method="sliding", dist_threshold=DIAMETER_M, time_threshold=LEAST_S / 60.0
        )
    if not len(found):
        return plain([], case)
    spans = zip(found["started_at"], found["finished_at"], found.geometry, strict=True)
    return plain([_span(start, end) for start, end, middle in spans if _within(case, middle)], case)


def _points(case: Case) -> geopandas.GeoDataFrame:
    fixes = case.observed.fixes
    times = pandas.to_datetime(fixes.at, unit="s").astype("datetime64[ms]")
    frame = geopandas.GeoDataFrame({"t": times}, geometry=shapely.points(fixes.lon, fixes.lat), crs=4326)
    return frame.drop_duplicates("t").set_index("t")


def _within(case: Case, middle: shapely.Point) -> bool:
    plane = plane_of(case.scene.site)
    fence = fence_of(case.scene.site, plane)
    east, north = plane.east_north(shapely.get_x([middle]), shapely.get_y([middle]))
    return bool(fence.distance(east, north)[0] <= 0.0)


def _span(start: datetime, end: datetime) -> Span:
    """Times without a zone are UTC: MovingPandas knows no zones."""
    return start.replace(tzinfo=UTC).timestamp(), end.replace(tzinfo=UTC).timestamp()
