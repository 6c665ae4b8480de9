"""Alerts over HTTP: exceptions that want a person, and what the person said."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api import paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, From, Id, Limit, Said, Text, To
from api.problem import unknown
from api.reply import Json, rfc3339
from store import figures

router = APIRouter(prefix="/v1", tags=["alerts"], route_class=StrictRoute)

AlertId = Annotated[str, Path(alias="id", min_length=1, max_length=600)]


class Acknowledgement(TypedDict):
    """Who saw an alert, and what they said of it."""

    at: Said
    by: str | None
    note: str | None


class AlertRead(TypedDict):
    """An exception. `cleared`: its reason is gone."""

    id: str
    kind: str
    severity: str
    at: Said
    visit: str | None
    worker: str | None
    site: str | None
    device: str | None
    detail: dict[str, Any]
    cleared: bool
    acknowledged: Acknowledgement | None


class AlertList(TypedDict):
    """A page of alerts."""

    items: list[AlertRead]
    next: str | None


class AcknowledgeBody(BaseModel):
    """Both may be left out."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"by": "Chen", "note": "Called her, she is on the way."}]}
    )

    by: Text | None = None
    note: Annotated[str, Field(max_length=2000)] | None = None


class _Place(paging.Key, frozen=True):
    at: datetime
    id: str


def read(row: figures.AlertRow) -> AlertRead:
    """An alert as JSON."""
    said = None
    if row.acknowledged_at is not None:
        said = Acknowledgement(at=rfc3339(row.acknowledged_at), by=row.acknowledged_by, note=row.note)
    return AlertRead(
        id=row.id,
        kind=row.kind,
        severity=row.severity,
        at=rfc3339(row.at),
        visit=row.visit,
        worker=row.worker,
        site=row.site,
        device=row.device,
        detail=row.detail,
        cleared=row.cleared,
        acknowledged=said,
    )


@router.get("/alerts", response_model=AlertList, response_class=Json)
async def list_alerts(
    request: Request,
    database: Database,
    is_open: Annotated[bool | None, Query(alias="open", description="true: neither cleared nor acknowledged")] = None,
    start: From = None,
    end: To = None,
    kind: Text | None = None,
    worker: Id | None = None,
    site: Id | None = None,
    visit: Id | None = None,
    limit: Limit = 500,
    cursor: Cursor = None,
) -> Response:
    """Alerts, newest first."""
    before = paging.decode(cursor, _Place)
    wanted = figures.AlertFilter(open=is_open, since=start, until=end, kind=kind, worker=worker, site=site, visit=visit)
    rows = await figures.alerts(database, wanted, (before.at, before.id) if before else None, limit + 1)
    page, last = paging.cut(rows, limit)
    behind = paging.url(request, _Place(last.at, last.id)) if last else None
    return Json(AlertList(items=[read(row) for row in page], next=behind))


@router.get("/alerts/{id:path}", response_model=AlertRead, response_class=Json)
async def get_alert(alert: AlertId, database: Database) -> Response:
    """One alert."""
    rows = await figures.alerts_by_id(database, [alert])
    if not rows:
        raise unknown("alert", alert)
    return Json(read(rows[0]))


@router.post("/alerts/{id:path}/acknowledge", response_model=AlertRead, response_class=Json)
async def acknowledge(alert: AlertId, database: Database, body: AcknowledgeBody | None = None) -> Response:
    """Says that a person has seen the alert. Who says so first stands; saying it again changes nothing."""
    said = body or AcknowledgeBody()
    async with database.transaction():
        if not await figures.acknowledge(database, alert, said.by, said.note):
            raise unknown("alert", alert)
        rows = await figures.alerts_by_id(database, [alert])
    return Json(read(rows[0]))
