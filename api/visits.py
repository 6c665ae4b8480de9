"""Visits over HTTP: the plan, and with it what was made of it."""

from datetime import datetime, timedelta
from typing import Annotated, Any, NotRequired, get_args

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api import outcome, paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, From, Id, Limit, PathId, PlannedInstant, Said, Text, To, extras, same_id
from api.problem import listed, unknown
from api.reply import Json, rfc3339, rfc3339_epoch
from geofence.outcome import Verdict
from store import plans, views

router = APIRouter(prefix="/v1", tags=["visits"], route_class=StrictRoute)

LENGTH_MAX = timedelta(hours=48)
EXAMPLE: JsonDict = {
    "worker": "w-17",
    "site": "s-12",
    "service": "cleaning",
    "starts_at": "2026-11-22T01:00:00Z",
    "ends_at": "2026-11-22T03:00:00Z",
}
ANSWERED = ("outcome", "updated_at")


class VisitBody(BaseModel):
    """A planned service. What else is sent is kept and given back."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="must be the id in the path, where there is one")
    worker: Id
    site: Id
    service: Id = Field("default", description="whose policy judges it")
    starts_at: PlannedInstant
    ends_at: PlannedInstant

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "VisitBody":
        if self.ends_at <= self.starts_at:
            raise PydanticCustomError("span", "ends_at must be after starts_at", {"field": ["ends_at"]})
        if self.ends_at - self.starts_at > LENGTH_MAX:
            raise PydanticCustomError(
                "span",
                "ends_at must be at most 48 hours after starts_at: plan a longer service as several visits",
                {"field": ["ends_at"]},
            )
        extras(self.model_extra, VisitBody.model_fields, ANSWERED)
        return self


class VisitRead(TypedDict):
    """A stored visit with its outcome."""

    id: str
    worker: str
    site: str
    service: str
    starts_at: Said
    ends_at: Said
    updated_at: Said
    outcome: outcome.OutcomeRead


class VisitList(TypedDict):
    """A page of visits."""

    items: list[VisitRead]
    next: str | None


class Reason(TypedDict):
    """`what`: first, late_evidence, more_evidence, less_evidence, evidence_around, earlier_track, visit_changed,
    surroundings_changed, policy_changed, engine_changed, outage_recorded, time_passed or replay. `of` is a kind of evidence, or a
    field of the plan.
    """

    what: str
    of: NotRequired[str]
    count: NotRequired[int]
    worker: NotRequired[str]
    before: NotRequired[Any]
    after: NotRequired[Any]


class Change(TypedDict):
    """A figure of the outcome, as it was told before and as it is told since."""

    what: Annotated[str, Field(examples=["verdict", "arrived_at", "coverage"])]
    before: Any
    after: Any


class Version(TypedDict):
    """An outcome that people were told, and why it differs from the one before."""

    why: Annotated[str, Field(description="the reasons in English", examples=["3 late fixes of w-17; policy 4 → 5"])]
    reasons: Annotated[list[Reason], Field(description="the reasons as values")]
    changed: Annotated[list[Change], Field(description="what is told differently than in the version before")]
    recorded_at: Said
    outcome: outcome.OutcomeRead


class History(TypedDict):
    """The versions of an outcome, newest first."""

    items: list[Version]
    next: str | None


class _Version(paging.Key, frozen=True):
    revision: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Place(paging.Key, frozen=True):
    starts_at: datetime
    id: str


def plan(visit: str, body: VisitBody) -> plans.VisitPlan:
    """What the store keeps of a body."""
    return plans.VisitPlan(
        id=visit,
        worker=body.worker,
        site=body.site,
        service=body.service,
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        properties=extras(body.model_extra, (), ANSWERED),
    )


def read(row: views.VisitRow) -> VisitRead:
    """A stored visit as JSON."""
    known = VisitRead(
        id=row.id,
        worker=row.worker,
        site=row.site,
        service=row.service,
        starts_at=rfc3339(row.starts_at),
        ends_at=rfc3339(row.ends_at),
        updated_at=rfc3339(row.updated_at),
        outcome=outcome.read(row.outcome, row.revision),
    )
    merged: Any = {**row.properties, **known}
    return merged  # type: ignore[no-any-return]


@router.put("/visits/{id}", response_model=VisitRead, response_class=Json, responses={201: {"model": VisitRead}})
async def put_visit(visit: PathId, body: VisitBody, database: Database) -> Response:
    """Creates or replaces a visit. A moved one is judged again; its site and its worker must have been put before."""
    same_id(visit, body.id)
    async with database.transaction():
        written = await plans.put(database, plans.Plans(visits=[plan(visit, body)]))
        rows = await views.visits_by_id(database, [visit])
    return Json(read(rows[0]), 201 if written.visits.created else 200)


@router.get("/visits/{id}", response_model=VisitRead, response_class=Json)
async def get_visit(visit: PathId, database: Database) -> Response:
    """One visit with its outcome. While it runs, the outcome is what is known by now."""
    rows = await views.visits_by_id(database, [visit])
    if not rows:
        raise unknown("visit", visit)
    return Json(read(rows[0]))


@router.get("/visits/{id}/history", response_model=History, response_class=Json)
async def get_history(request: Request, visit: PathId, database: Database, limit: Limit = 500, cursor: Cursor = None) -> Response:
    """What people were told of this visit, newest first, and why it changed."""
    place = paging.decode(cursor, _Version)
    # One more than is shown: what has changed is told by the version before.
    rows = await views.history(database, visit, place.revision if place else None, limit + 1)
    if not rows and not await views.visits_by_id(database, [visit]):
        raise unknown("visit", visit)
    told = [outcome.read(row.outcome, row.revision) for row in rows]
    items = [
        Version(
            why=row.why,
            reasons=[_reason(reason) for reason in row.reasons],
            changed=_changes(before, after),
            recorded_at=rfc3339(row.recorded_at),
            outcome=after,
        )
        for row, after, before in zip(rows, told, [*told[1:], None], strict=False)
    ]
    page, last = paging.cut(items, limit)
    behind = paging.url(request, _Version(rows[limit - 1].revision)) if last else None
    return Json(History(items=list(page), next=behind))


@router.get("/visits", response_model=VisitList, response_class=Json)
async def list_visits(
    request: Request,
    database: Database,
    start: From = None,
    end: To = None,
    worker: Annotated[list[Id], Query(description="of any of these workers")] = [],  # noqa: B006
    site: Annotated[list[Id], Query(description="at any of these sites")] = [],  # noqa: B006
    service: Annotated[list[Id], Query(description="of any of these services")] = [],  # noqa: B006
    verdict: Annotated[list[Text], Query(description=f"any of these, several or with commas: {' '.join(get_args(Verdict))}")] = [],  # noqa: B006
    limit: Limit = 500,
    cursor: Cursor = None,
) -> Response:
    """Visits in the order of `starts_at`, which is what `from` and `to` compare with."""
    after = paging.decode(cursor, _Place)
    wanted = views.VisitFilter(
        starts_from=start,
        starts_before=end,
        workers=worker,
        sites=site,
        services=service,
        verdicts=listed("verdict", verdict, get_args(Verdict), "no verdict"),
    )
    rows = await views.visits(database, wanted, (after.starts_at, after.id) if after else None, limit + 1)
    page, last = paging.cut(rows, limit)
    behind = paging.url(request, _Place(last.starts_at, last.id)) if last else None
    return Json(VisitList(items=[read(row) for row in page], next=behind))


@router.delete("/visits/{id}", status_code=204)
async def delete_visit(visit: PathId, database: Database) -> Response:
    """Deletes a visit, and with it its outcome. The evidence stays."""
    async with database.transaction():
        if not await plans.delete_visit(database, visit):
            raise unknown("visit", visit)
    return Response(status_code=204)


def _changes(before: outcome.OutcomeRead | None, after: outcome.OutcomeRead) -> list[Change]:
    """What differs between two versions; of a moment and of a duration, its best value."""
    if before is None:
        return []
    found = []
    for what in ("verdict", "findings", "arrived_at", "left_at", "on_site_s", "coverage", "policy", "engine"):
        was, now = _best(before[what]), _best(after[what])
        if was != now:
            found.append(Change(what=what, before=was, after=now))
    return found


def _best(told: Any) -> Any:
    return told["best"] if isinstance(told, dict) else told


def _reason(stored: dict[str, Any]) -> Any:
    if stored.get("of") in ("starts_at", "ends_at"):
        return {**stored, "before": rfc3339_epoch(stored["before"]), "after": rfc3339_epoch(stored["after"])}
    return stored
