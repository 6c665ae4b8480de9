"""Sites over HTTP: GeoJSON Features in and out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api import fence, paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, Id, Limit, PathId, Said, Text, extras, same_id
from api.problem import unknown
from api.reply import GeoJson, rfc3339
from store import plans, views

router = APIRouter(prefix="/v1", tags=["sites"], route_class=StrictRoute)

EXAMPLE: JsonDict = {
    "type": "Feature",
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[116.3971, 39.9091], [116.3977, 39.9091], [116.3977, 39.9095], [116.3971, 39.9095], [116.3971, 39.9091]]],
    },
    "properties": {"name": "Courtyard 12", "customer": "Li Na", "timezone": "Asia/Shanghai"},
}
POINT_EXAMPLE: JsonDict = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [24.9414, 60.1719]},
    "properties": {"name": "Mannerheimintie 5 A 12", "customer": "Aino Virtanen", "timezone": "Europe/Helsinki", "radius_m": 40},
}

Geometry = Annotated[dict[str, Any], PlainValidator(fence.check), WithJsonSchema(fence.SCHEMA)]
Radius = Annotated[float, Field(strict=True, ge=fence.RADIUS_M_MIN, le=fence.RADIUS_M_MAX, allow_inf_nan=False)]


class SiteProperties(BaseModel):
    """Of a site. What else is sent here is kept and given back."""

    model_config = ConfigDict(extra="allow")

    name: Text | None = Field(default=None, description="the id when left out")
    customer: Text | None = None
    timezone: Text = Field(default="UTC", description="IANA name; days of reports are counted in it")
    radius_m: Radius | None = Field(default=None, description="of a Point, and only there")
    crs: Literal["wgs84"] | None = Field(default=None, description="fences are WGS-84; convert others before you send them")

    @model_validator(mode="after")
    def _no_slips(self) -> "SiteProperties":
        extras(self.model_extra, SiteProperties.model_fields)
        return self


RADIUS = ["properties", "radius_m"]


class SiteBody(BaseModel):
    """A fence: Polygon, MultiPolygon, or Point with `radius_m`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE, POINT_EXAMPLE]})

    type: Literal["Feature"]
    id: Id | None = Field(None, description="must be the id in the path, where there is one")
    geometry: Geometry
    properties: SiteProperties | None = Field(None, description="GeoJSON allows null")

    @model_validator(mode="after")
    def _radius_of_a_point(self) -> "SiteBody":
        point, radius = self.geometry["type"] == "Point", self.said.radius_m
        if point and radius is None:
            raise PydanticCustomError(
                "radius", "properties.radius_m is missing: a Point needs its radius in metres", {"field": RADIUS}
            )
        if not point and radius is not None:
            raise PydanticCustomError(
                "radius", "properties.radius_m belongs to a Point: an area has its own outline", {"field": RADIUS}
            )
        return self

    @property
    def said(self) -> SiteProperties:
        """The properties, and the defaults where there are none."""
        return self.properties or SiteProperties()


class SiteRead(TypedDict):
    """Properties of a stored site."""

    name: str
    customer: str | None
    timezone: str
    radius_m: float | None
    updated_at: Said


class SiteFeature(TypedDict):
    """A stored site."""

    type: Literal["Feature"]
    id: str
    geometry: Annotated[dict[str, Any], WithJsonSchema(fence.SCHEMA)]
    properties: SiteRead


class SiteCollection(TypedDict):
    """A page of sites."""

    type: Literal["FeatureCollection"]
    features: list[SiteFeature]
    next: str | None


def plan(site: str, body: SiteBody) -> plans.SitePlan:
    """What the store keeps of a body."""
    properties = body.said
    corners = fence.box(body.geometry, properties.radius_m)
    return plans.SitePlan(
        id=site,
        name=properties.name or site,
        customer=properties.customer,
        timezone=properties.timezone,
        geometry=body.geometry,
        radius_m=properties.radius_m,
        properties={name: value for name, value in (properties.model_extra or {}).items() if name != "updated_at"},
        min_lon=corners.min_lon,
        min_lat=corners.min_lat,
        max_lon=corners.max_lon,
        max_lat=corners.max_lat,
    )


def feature(row: views.SiteRow) -> SiteFeature:
    """A stored site as GeoJSON."""
    properties = SiteRead(
        name=row.name,
        customer=row.customer,
        timezone=row.timezone,
        radius_m=row.radius_m,
        updated_at=rfc3339(row.updated_at),
    )
    known: Any = {**row.properties, **properties}
    return SiteFeature(type="Feature", id=row.id, geometry=row.geometry, properties=known)


@router.put(
    "/sites/{id}", response_model=SiteFeature, response_class=GeoJson, status_code=200, responses={201: {"model": SiteFeature}}
)
async def put_site(site: PathId, body: SiteBody, database: Database) -> Response:
    """Creates or replaces a site. A redrawn fence has its visits judged again."""
    same_id(site, body.id)
    async with database.transaction():
        written = await plans.put(database, plans.Plans(sites=[plan(site, body)]))
        row = await views.site(database, site)
    assert row is not None, "it was written in this transaction"
    return GeoJson(feature(row), 201 if written.sites.created else 200)


@router.get("/sites/{id}", response_model=SiteFeature, response_class=GeoJson)
async def get_site(site: PathId, database: Database) -> Response:
    """One site."""
    row = await views.site(database, site)
    if row is None:
        raise unknown("site", site)
    return GeoJson(feature(row))


@router.get("/sites", response_model=SiteCollection, response_class=GeoJson)
async def list_sites(request: Request, database: Database, limit: Limit = 500, cursor: Cursor = None) -> Response:
    """All sites in the order of their ids."""
    after = paging.decode(cursor, str) or ""
    page, last = paging.cut(await views.sites(database, after, limit + 1), limit)
    behind = paging.url(request, last.id) if last else None
    return GeoJson(SiteCollection(type="FeatureCollection", features=[feature(row) for row in page], next=behind))


@router.delete("/sites/{id}", status_code=204)
async def delete_site(site: PathId, database: Database) -> Response:
    """Deletes a site that no device and no visit names."""
    async with database.transaction():
        if not await plans.delete_site(database, site):
            raise unknown("site", site)
    return Response(status_code=204)
