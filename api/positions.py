"""Positions and tracks over HTTP: where workers are and were, as GeoJSON Points with everything that their phones said."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NotRequired

import msgspec
import numpy as np
import shapely
from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import Field
from typing_extensions import TypedDict

from api import paging
from api.database import Database
from api.evidence import judged_by, planned
from api.fields import Cursor, From, Id, Reporter, Said, To
from api.problem import FieldError, invalid, unknown
from api.reply import GeoJson, rfc3339
from geofence import flags
from geofence.credibility import Expected
from geofence.evidence import Fixes
from geofence.outcome import Presence
from geofence.plan import Site
from geofence.policy import Policy
from store import observations, views

router = APIRouter(prefix="/v1", tags=["positions"])

TRACK_S = timedelta(hours=24)
"""How much of a track is answered when nobody says how much."""
AHEAD = timedelta(hours=24)
"""How far ahead a phone's clock may be; so far goes a track that nobody ends."""
LEAD = timedelta(minutes=30)
"""How far around a page fixes are looked at so that those on the page get the flags that the whole track would give them."""
LEAD_FIXES_MAX = 500
LENGTH_MAX = 10_000

PointLimit = Annotated[int, Query(ge=1, le=LENGTH_MAX, description="how many at most on one page")]


class Point(TypedDict):
    """A GeoJSON Point, `lon, lat`."""

    type: Literal["Point"]
    coordinates: Annotated[list[float], Field(min_length=2, max_length=2, examples=[[116.3974, 39.9093]])]


class Reported(TypedDict):
    """What every fix says; what a phone left out is left out here too."""

    worker: str
    source: Annotated[str, Field(description="the address that reported it")]
    at: Said
    received_at: Said
    accuracy_m: float | None
    flags: Annotated[
        list[str], Field(description="why it is not quite believed, e.g. `mock teleport frozen stale_ping clock_skew`")
    ]
    altitude_m: NotRequired[float]
    speed_mps: NotRequired[float]
    heading_deg: NotRequired[float]
    battery: NotRequired[float]
    mode: NotRequired[str]


class FixProperties(Reported):
    """A fix of a track; `crs`, `raw_lon` and `raw_lat` when it came in another datum."""

    mock: NotRequired[bool]
    crs: NotRequired[str]
    raw_lon: NotRequired[float]
    raw_lat: NotRequired[float]
    trigger: NotRequired[str]
    epoch: NotRequired[int]
    seq: NotRequired[int]


class PositionProperties(Reported):
    """The newest fix of a worker, and how she stands to the visit that she should be at."""

    name: str | None
    visit: str | None
    site: str | None
    presence: Presence
    online: bool | None


class FixFeature(TypedDict):
    """One fix."""

    type: Literal["Feature"]
    geometry: Point
    properties: FixProperties


class PositionFeature(TypedDict):
    """The newest fix of one worker."""

    type: Literal["Feature"]
    id: str
    geometry: Point
    properties: PositionProperties


class Track(TypedDict):
    """A page of a track."""

    type: Literal["FeatureCollection"]
    features: list[FixFeature]
    next: str | None


class Positions(TypedDict):
    """A page of newest positions."""

    type: Literal["FeatureCollection"]
    features: list[PositionFeature]
    next: str | None


class _Place(paging.Key, frozen=True):
    at: datetime
    source: str
    identity: int


@router.get("/positions", response_model=Positions, response_class=GeoJson)
async def list_positions(
    request: Request,
    database: Database,
    worker: Annotated[list[Reporter], Query(description="only of these workers")] = [],  # noqa: B006
    limit: PointLimit = LENGTH_MAX,
    cursor: Cursor = None,
) -> Response:
    """The newest fix of each worker, in the order of their ids; also of workers whom nobody planned."""
    after = paging.decode(cursor, str) or ""
    rows = await observations.positions(database, worker, after, limit + 1)
    page, last = paging.cut(rows, limit)
    behind = paging.url(request, last.worker) if last else None
    return GeoJson(Positions(type="FeatureCollection", features=[position(row) for row in page], next=behind))


# A phone that nobody planned goes by its address, which may hold a slash: hence the path.
@router.get("/workers/{id:path}/track", response_model=Track, response_class=GeoJson)
async def get_track(
    request: Request,
    worker: Annotated[Reporter, Path(alias="id", description="a worker's id, or the `worker` of a position that nobody planned")],
    database: Database,
    start: From = None,
    end: To = None,
    visit: Annotated[
        Id | None, Query(description="flags as this visit's verdict saw them: by its policy, and by its place")
    ] = None,
    limit: PointLimit = LENGTH_MAX,
    cursor: Cursor = None,
) -> Response:
    """Every fix of a worker in the order of `at`: from `from`, else 24 hours before `to`, up to `to`, else up to the newest.

    Without `visit` fixes are flagged by the built-in policy and by no plan, as newest positions are.
    """
    start, end = _span(start, end, datetime.now(UTC))
    if end <= start:
        raise invalid([FieldError(field="to", at="query", detail="must be after from")])
    place = paging.decode(cursor, _Place)
    after = observations.Place(at=place.at, source=place.source, identity=place.identity) if place else None
    lead = await observations.track_before(database, worker, start if after is None else after.at, LEAD, LEAD_FIXES_MAX)
    rows = await observations.track(database, worker, start, end + LEAD, after, limit + LEAD_FIXES_MAX)
    inside = [row for row in rows if row.at < end]
    page, last = paging.cut(inside, limit)
    if not page and after is None and not await observations.has_reported(database, worker):
        raise unknown("worker", worker)
    policy, plan = (Policy(), ()) if visit is None else await _as_judged(database, visit)
    found = flags(columns([*lead, *rows]), policy, plan)[len(lead) :]
    features = [fix(worker, row, list(why)) for row, why in zip(page, found, strict=False)]
    said = {"from": start.isoformat(), "to": end.isoformat()}
    behind = paging.url(request, _Place(last.at, last.source, last.identity), **said) if last else None
    return GeoJson(Track(type="FeatureCollection", features=features, next=behind))


async def _as_judged(database: AsyncConnection, visit: str) -> tuple[Policy, tuple[Expected, ...]]:
    """By what the fixes of a visit are flagged: its policy, and where it has its worker."""
    rows = await views.visits_by_id(database, [visit])
    if not rows:
        raise unknown("visit", visit)
    policy, stored = await judged_by(database, rows[0]), await views.site(database, rows[0].site)
    if stored is None:
        # Both were deleted between the two questions: a site goes only after its visits.
        raise unknown("visit", visit)
    geometry = shapely.from_geojson(msgspec.json.encode(stored.geometry).decode())
    site = Site(id=stored.id, geometry=geometry, radius_m=stored.radius_m)
    plan = planned(rows[0])
    return policy, (Expected(site, plan.starts_at, plan.ends_at),)


def _span(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    if end is None:
        end = max(now, start or now) + AHEAD
        return start or now - TRACK_S, end
    return start or end - TRACK_S, end


def position(row: observations.PositionRow) -> PositionFeature:
    """The newest fix of a worker as GeoJSON."""
    properties = PositionProperties(
        worker=row.worker,
        name=row.name,
        source=row.source,
        at=rfc3339(row.at),
        received_at=rfc3339(row.received_at),
        accuracy_m=row.accuracy_m,
        flags=row.flags,
        visit=row.visit,
        site=row.site,
        presence=row.presence,  # type: ignore[typeddict-item]  # verify writes no other words
        online=row.online,
    )
    properties.update(_sent(row, ("altitude_m", "speed_mps", "heading_deg", "battery", "mode")))
    point = Point(type="Point", coordinates=[row.lon, row.lat])
    return PositionFeature(type="Feature", id=row.worker, geometry=point, properties=properties)


def fix(worker: str, row: observations.FixRow, why: list[str]) -> FixFeature:
    """One fix as GeoJSON."""
    sent = ["altitude_m", "speed_mps", "heading_deg", "battery", "mode", "trigger", "epoch", "seq"]
    if row.mock:
        sent.append("mock")
    if row.crs != "wgs84":
        sent += ["crs", "raw_lon", "raw_lat"]
    properties = FixProperties(
        worker=worker,
        source=row.source,
        at=rfc3339(row.at),
        received_at=rfc3339(row.received_at),
        accuracy_m=row.accuracy_m,
        flags=why,
    )
    properties.update(_sent(row, sent))
    return FixFeature(type="Feature", geometry=Point(type="Point", coordinates=[row.lon, row.lat]), properties=properties)


def columns(rows: Sequence[observations.FixRow]) -> Fixes:
    """Rows of a track as the engine takes them."""
    sources = tuple(sorted({row.source for row in rows}))
    numbers = {source: number for number, source in enumerate(sources)}
    return Fixes(
        sources=sources,
        source=np.array([numbers[row.source] for row in rows], dtype=np.int64),
        at=np.array([row.at.timestamp() for row in rows], dtype=np.float64),
        received_at=np.array([row.received_at.timestamp() for row in rows], dtype=np.float64),
        lon=_numbers([row.lon for row in rows]),
        lat=_numbers([row.lat for row in rows]),
        accuracy_m=_numbers([row.accuracy_m for row in rows]),
        altitude_m=_numbers([row.altitude_m for row in rows]),
        speed_mps=_numbers([row.speed_mps for row in rows]),
        heading_deg=_numbers([row.heading_deg for row in rows]),
        mock=np.array([row.mock for row in rows], dtype=np.bool_),
        ping=np.array([row.trigger == "ping" for row in rows], dtype=np.bool_),
    )


def _numbers(values: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _sent(row: observations.PositionRow | observations.FixRow, names: Sequence[str]) -> Any:
    values = ((name, getattr(row, name)) for name in names)
    return {name: value for name, value in values if value is not None}
