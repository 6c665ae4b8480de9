"""Plans in bulk: all sites, workers, devices and visits of a day or a week in one request and one transaction."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from api import body, devices, sites, visits, workers
from api.database import Database
from api.devices import DeviceBody
from api.problem import FieldError, field_errors, invalid
from api.reply import Json
from api.sites import SiteBody
from api.visits import VisitBody
from api.workers import WorkerBody
from store import plans

T = TypeVar("T")

router = APIRouter(prefix="/v1", tags=["plans"])

SCHEMA = {"$ref": "#/components/schemas/PlansBody"}

ERRORS_MAX = 100
"""How many wrong fields one answer lists: enough to see the pattern."""


class PlansBody(BaseModel):
    """Every item carries its id. Order does not matter: sites and workers are written before what names them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "sites": [{**sites.EXAMPLE, "id": "s-12"}],
                    "workers": [{**workers.EXAMPLE, "id": "w-17"}],
                    "devices": [{**devices.EXAMPLE, "id": "lock-3"}],
                    "visits": [{**visits.EXAMPLE, "id": "v-2026-11-22-w-17-1"}],
                }
            ]
        },
    )

    sites: list[SiteBody] = []
    workers: list[WorkerBody] = []
    devices: list[DeviceBody] = []
    visits: list[VisitBody] = []


ITEMS: dict[str, TypeAdapter[Any]] = {
    "sites": TypeAdapter(SiteBody),
    "workers": TypeAdapter(WorkerBody),
    "devices": TypeAdapter(DeviceBody),
    "visits": TypeAdapter(VisitBody),
}


class CountsRead(TypedDict):
    """What became of the items of one kind."""

    created: int
    changed: int
    unchanged: int


class PlansRead(TypedDict):
    """What became of everything."""

    sites: CountsRead
    workers: CountsRead
    devices: CountsRead
    visits: CountsRead


@router.post(
    "/plans",
    response_model=PlansRead,
    response_class=Json,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}}},
)
async def post_plans(request: Request, database: Database) -> Response:
    """Creates or replaces many plans in one transaction: all of them, or none and a problem that names the item and its field."""
    body.refuse_unasked(request)
    # A large body is read beside the event loop: nobody else's live stream stops for it.
    wanted = await run_in_threadpool(_read, await request.body())
    async with database.transaction():
        written = await plans.put(database, wanted)
    return Json(written)


def _read(raw: bytes) -> plans.Plans:
    sent = body.parse(raw)
    found = _checked(sent)
    return plans.Plans(
        sites=_planned("sites", found.sites, sites.plan),
        workers=_planned("workers", found.workers, workers.plan),
        devices=_planned("devices", found.devices, devices.plan),
        visits=_planned("visits", found.visits, visits.plan),
        owntracks_keys=workers.keys({worker.id: worker for worker in found.workers if worker.id is not None}),
    )


def _checked(sent: Any) -> PlansBody:
    """Item by item, and no further than the errors that are told: a million wrong items must not cost a million errors."""
    errors: list[FieldError] = []
    found: dict[str, list[Any]] = {}
    shell = {kind: [] if isinstance(items, list) else items for kind, items in sent.items()} if isinstance(sent, dict) else sent
    try:
        PlansBody.model_validate(shell)
    except ValidationError as error:
        errors = field_errors(error.errors(include_url=False)[:ERRORS_MAX], "body")
    for kind, item in ITEMS.items():
        for index, one in enumerate(sent.get(kind, ()) if not errors else ()):
            try:
                found.setdefault(kind, []).append(item.validate_python(one))
            except ValidationError as error:
                named = [{**wrong, "loc": (kind, index, *wrong["loc"])} for wrong in error.errors(include_url=False)]
                errors += [_with_id(wrong, sent) for wrong in field_errors(named, "body")]
                if len(errors) >= ERRORS_MAX:
                    raise invalid(errors[:ERRORS_MAX]) from None
    if errors:
        raise invalid(errors)
    return PlansBody.model_construct(None, **found)


def _planned(kind: str, items: Iterable[Any], plan: Callable[[str, Any], T]) -> list[T]:
    planned: dict[str, T] = {}
    for index, item in enumerate(items):
        place = f"{kind}[{index}].id"
        if item.id is None:
            raise invalid([FieldError(field=place, at="body", detail="is required here, where no path names it")])
        if item.id in planned:
            raise invalid([FieldError(field=place, at="body", detail=f"'{item.id}' comes twice: send each item once")])
        planned[item.id] = plan(item.id, item)
    return list(planned.values())


def _with_id(error: FieldError, sent: Any) -> FieldError:
    """Adds the item's id, which says more than its number to whoever made the list."""
    kind, bracket, rest = error["field"].partition("[")
    number = rest.partition("]")[0]
    if bracket and number.isdigit() and isinstance(sent, dict) and isinstance(sent.get(kind), list):
        item = sent[kind][int(number)]
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            return FieldError(field=error["field"], at="body", detail=f"(id '{item['id'][:128]}') {error['detail']}")
    return error
