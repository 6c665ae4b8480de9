"""Stays over HTTP: where workers stayed, planned or not, as GeoJSON Points."""

from datetime import datetime
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api import paging
from api.database import Database
from api.fields import Cursor, From, Id, Limit, Reporter, Said, Text, To
from api.positions import Point
from api.problem import listed
from api.reply import GeoJson, rfc3339
from store import views

router = APIRouter(prefix="/v1", tags=["stays"])

Told = Literal["planned", "unscheduled", "ambiguous", "unknown_place"]
"""The kinds that anybody is told of."""


EXAMPLE = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "w-17:1795269600000",
            "geometry": {"type": "Point", "coordinates": [116.3974, 39.9093]},
            "properties": {
                "worker": "w-17",
                "kind": "unscheduled",
                "start_at": "2026-11-21T14:00:00.000Z",
                "end_at": "2026-11-21T15:02:30.000Z",
                "duration_s": 3750.0,
                "ongoing": False,
                "site": "s-12",
                "sites": ["s-12"],
                "visit": "v-1",
                "instead_of": None,
                "error_m": 9.4,
                "fixes": 371,
            },
        }
    ],
    "next": None,
}


class StayProperties(TypedDict):
    """What is known of a stay."""

    worker: str
    kind: Annotated[
        Told,
        Field(
            description="planned: at a site in the window of a visit of hers there; unscheduled: at a known site without one; "
            "ambiguous: at one of several sites that look alike; unknown_place: at no known site, in working time"
        ),
    ]
    start_at: Annotated[Said, Field(description="the first fix of it; she may have come since the fix before")]
    end_at: Annotated[Said, Field(description="the last fix of it, so far")]
    duration_s: float
    ongoing: Annotated[bool, Field(description="nothing says yet that she left")]
    site: str | None
    sites: Annotated[list[str], Field(description="all that it may have been at")]
    visit: Annotated[str | None, Field(description="the planned visit; or her visit there at another time of that day")]
    instead_of: Annotated[str | None, Field(description="her visit elsewhere that was planned for this time")]
    error_m: Annotated[float, Field(description="one σ of the position, per axis")]
    fixes: int


class StayFeature(TypedDict):
    """One stay."""

    type: Literal["Feature"]
    id: str
    geometry: Point
    properties: StayProperties


class Stays(TypedDict):
    """A page of stays."""

    type: Literal["FeatureCollection"]
    features: list[StayFeature]
    next: str | None


class _Place(paging.Key, frozen=True):
    start_at: datetime
    worker: str


def read(row: views.StayRow) -> StayFeature:
    """A stay as GeoJSON."""
    properties = StayProperties(
        worker=row.worker,
        kind=row.kind,  # type: ignore[typeddict-item]  # the engine writes no other words
        start_at=rfc3339(row.start_at),
        end_at=rfc3339(row.end_at),
        duration_s=round((row.end_at - row.start_at).total_seconds(), 3),
        ongoing=row.ongoing,
        site=row.site,
        sites=row.sites,
        visit=row.visit,
        instead_of=row.instead_of,
        error_m=round(row.error_m, 1),
        fixes=row.fixes,
    )
    point = Point(type="Point", coordinates=[row.lon, row.lat])
    name = f"{row.worker}:{round(row.start_at.timestamp() * 1000)}"
    return StayFeature(type="Feature", id=name, geometry=point, properties=properties)


@router.get(
    "/stays",
    response_model=Stays,
    response_class=GeoJson,
    responses={200: {"content": {"application/geo+json": {"example": EXAMPLE}}}},
)
async def list_stays(
    request: Request,
    database: Database,
    start: From = None,
    end: To = None,
    worker: Annotated[list[Reporter], Query(description="of any of these workers")] = [],  # noqa: B006
    site: Annotated[list[Id], Query(description="that may have been at any of these sites")] = [],  # noqa: B006
    kind: Annotated[list[Text], Query(description=f"any of these, several or with commas: {' '.join(get_args(Told))}")] = [],  # noqa: B006
    limit: Limit = 500,
    cursor: Cursor = None,
) -> Response:
    """Stays of five minutes and more in the order of their start, which is what `from` and `to` compare with. Where a worker was
    outside working time at no known site is told to nobody. New ones show some ten minutes after their time."""
    after = paging.decode(cursor, _Place)
    kinds = listed("kind", kind, get_args(Told), "no kind of stay")
    wanted = views.StayFilter(starts_from=start, starts_before=end, workers=worker, sites=site, kinds=kinds)
    rows = await views.stays(database, wanted, (after.start_at, after.worker) if after else None, limit + 1)
    page, last = paging.cut(rows, limit)
    behind = paging.url(request, _Place(last.start_at, last.worker)) if last else None
    return GeoJson(Stays(type="FeatureCollection", features=[read(row) for row in page], next=behind))
