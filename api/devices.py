"""Devices over HTTP: what is installed at a site, and what it reported last."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from api import fields, paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, Id, Limit, PathId, Said, Text, extras, same_id
from api.problem import unknown
from api.reply import Json, rfc3339, rfc3339_epoch
from api.workers import Dialect
from store import plans, views

router = APIRouter(prefix="/v1", tags=["devices"], route_class=StrictRoute)

EXAMPLE: JsonDict = {"site": "s-12", "kind": "lock", "dialect": "zigbee2mqtt", "address": "front_lock", "name": "Front door"}
ANSWERED = ("source", "state", "updated_at")


class DeviceBody(BaseModel):
    """A device at a site. What else is sent is kept and given back."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="must be the id in the path, where there is one")
    site: Id
    kind: Text = Field(description="lock, contact, motion, plug, sos, gateway or another word of yours")
    dialect: Dialect = Field(
        "native", description="whose topics it speaks on: native, zigbee2mqtt, tasmota, shelly, homeassistant, homie"
    )
    address: Text | None = Field(None, description="its name in that dialect; the id when left out")
    name: Text | None = None

    @model_validator(mode="after")
    def _no_slips(self) -> "DeviceBody":
        extras(self.model_extra, DeviceBody.model_fields, ANSWERED)
        if self.address is not None:
            fields.address(self.dialect, self.address)
        return self


class Report(TypedDict, total=False):
    """The newest event of one kind; `state` only of the kind `status`."""

    at: Said
    received_at: Said
    value: float
    worker: str
    credential: str
    state: str
    battery: float


class DeviceState(TypedDict):
    """What a device reported last; `reported` holds the newest event of each kind, and its `status`."""

    at: Said
    received_at: Said
    online: bool | None
    battery: float | None
    reported: dict[str, Report]


class DeviceRead(TypedDict):
    """A stored device. `state` is null while it never reported."""

    id: str
    site: str
    kind: str
    dialect: str
    address: str | None
    name: str | None
    source: Annotated[str, Field(description="the address that its evidence is kept under")]
    state: DeviceState | None
    updated_at: Said


class DeviceList(TypedDict):
    """A page of devices."""

    items: list[DeviceRead]
    next: str | None


def plan(device: str, body: DeviceBody) -> plans.DevicePlan:
    """What the store keeps of a body."""
    return plans.DevicePlan(
        id=device,
        site=body.site,
        kind=body.kind,
        dialect=body.dialect,
        address=body.address,
        name=body.name,
        properties=extras(body.model_extra, (), ANSWERED),
    )


def read(row: views.DeviceRow) -> DeviceRead:
    """A stored device as JSON."""
    known = DeviceRead(
        id=row.id,
        site=row.site,
        kind=row.kind,
        dialect=row.dialect,
        address=row.address,
        name=row.name,
        source=row.source,
        state=_state(row),
        updated_at=rfc3339(row.updated_at),
    )
    merged: Any = {**row.properties, **known}
    return merged  # type: ignore[no-any-return]


def _state(row: views.DeviceRow) -> DeviceState | None:
    if row.reported_at is None or row.received_at is None:
        return None
    return DeviceState(
        at=rfc3339(row.reported_at),
        received_at=rfc3339(row.received_at),
        online=row.online,
        battery=row.battery,
        reported={kind: _report(said) for kind, said in (row.state or {}).items()},
    )


def _report(stored: dict[str, Any]) -> Report:
    """The store keeps an event's times as epoch seconds."""
    times = {name: rfc3339_epoch(stored[name]) for name in ("at", "received_at") if name in stored}
    return cast(Report, {**stored, **times})


@router.put("/devices/{id}", response_model=DeviceRead, response_class=Json, responses={201: {"model": DeviceRead}})
async def put_device(device: PathId, body: DeviceBody, database: Database) -> Response:
    """Creates or replaces a device. Visits at the site it is at, and at the one it left, are judged again."""
    same_id(device, body.id)
    async with database.transaction():
        written = await plans.put(database, plans.Plans(devices=[plan(device, body)]))
        rows = await views.devices_by_id(database, [device])
    return Json(read(rows[0]), 201 if written.devices.created else 200)


@router.get("/devices/{id}", response_model=DeviceRead, response_class=Json)
async def get_device(device: PathId, database: Database) -> Response:
    """One device with its last reported state."""
    rows = await views.devices_by_id(database, [device])
    if not rows:
        raise unknown("device", device)
    return Json(read(rows[0]))


@router.get("/devices", response_model=DeviceList, response_class=Json)
async def list_devices(
    request: Request,
    database: Database,
    site: Annotated[Id | None, Query(description="only those at this site")] = None,
    limit: Limit = 500,
    cursor: Cursor = None,
) -> Response:
    """All devices in the order of their ids."""
    after = paging.decode(cursor, str) or ""
    page, last = paging.cut(await views.devices(database, site, after, limit + 1), limit)
    return Json(DeviceList(items=[read(row) for row in page], next=paging.url(request, last.id) if last else None))


@router.delete("/devices/{id}", status_code=204)
async def delete_device(device: PathId, database: Database) -> Response:
    """Deletes a device. What it sent stays, and counts for the site no more."""
    async with database.transaction():
        if not await plans.delete_device(database, device):
            raise unknown("device", device)
    return Response(status_code=204)
