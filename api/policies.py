"""Policies over HTTP: how the visits of a service are judged.

A service states only what it does differently from the built-in values; one without a policy of its own is judged by that of the
service `default`. The fields are those of `geofence.policy.Policy`, with its bounds: there is no second list of them here.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Request, Response
from msgspec.structs import fields
from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from api import paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, Limit, PathId, Said
from api.problem import FieldError, did_you_mean, invalid
from api.reply import Json, rfc3339_or_null
from geofence.policy import Policy
from store import plans, views

router = APIRouter(prefix="/v1", tags=["policies"], route_class=StrictRoute)

DEFAULT = "default"
SET_BY_US = ("service", "version")
_SCHEMA: dict[str, Any] = msgspec.json.schema_components([Policy], ref_template="#/components/schemas/{name}")[1]["Policy"]
NUMBERS: dict[str, Any] = {name: found for name, found in _SCHEMA["properties"].items() if name not in SET_BY_US}

Overrides = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "properties": NUMBERS, "additionalProperties": False}),
    Body(examples=[{"late_s": 900, "coverage_target": 0.9}]),
]
Values = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "properties": NUMBERS, "required": list(NUMBERS)})]


class PolicyRead(TypedDict):
    """What judges a service's visits."""

    service: str
    version: Annotated[int, WithJsonSchema({"type": "integer", "description": "0: nobody ever put one; the built-in values hold"})]
    stated_by: Annotated[str | None, WithJsonSchema({"type": ["string", "null"], "description": "whose policy this is"})]
    stated: dict[str, Any]
    values: Values
    since: Said | None


class PolicyList(TypedDict):
    """The policies of all services that have one, and that of `default`."""

    items: list[PolicyRead]
    next: str | None


@router.get("/policies", response_model=PolicyList, response_class=Json)
async def list_policies(request: Request, database: Database, limit: Limit = 500, cursor: Cursor = None) -> Response:
    """The policies that hold, by service: of each that has one of its own, and of `default`, which judges the rest."""
    after = paging.decode(cursor, str) or ""
    stored = await views.policies(database)
    services = sorted(service for service in {DEFAULT} | {row.service for row in stored} if service > after)
    page, last = paging.cut(services[: limit + 1], limit)
    behind = paging.url(request, last) if last else None
    return Json(PolicyList(items=[read(service, stored) for service in page], next=behind))


@router.get("/policies/{id}", response_model=PolicyRead, response_class=Json)
async def get_policy(service: PathId, database: Database) -> Response:
    """What judges the visits of a service, whether or not it has a policy of its own."""
    return Json(read(service, await views.policies(database)))


@router.put("/policies/{id}", response_model=PolicyRead, response_class=Json)
async def put_policy(service: PathId, body: Overrides, database: Database) -> Response:
    """States what a service does differently. A change makes a new version and re-judges what is not yet final."""
    async with database.transaction():
        await plans.hold_policy(database, service)
        stated = check(service, sent_back(service, body, read(service, await views.policies(database))))
        await plans.put_policy(database, service, stated)
        stored = await views.policies(database)
    return Json(read(service, stored))


def read(service: str, stored: Sequence[views.PolicyRow]) -> PolicyRead:
    """What holds for a service, given the newest version of every policy."""
    by_service = {row.service: row for row in stored}
    row = by_service.get(service) or by_service.get(DEFAULT)
    body, version = (row.body, row.version) if row else ({}, 0)
    policy = msgspec.convert({**body, "service": service, "version": version}, Policy)
    return PolicyRead(
        service=service,
        version=version,
        stated_by=row.service if row else None,
        stated=body,
        values={name: getattr(policy, name) for name in NUMBERS},
        since=rfc3339_or_null(row.created_at if row else None),
    )


def sent_back(service: str, body: dict[str, Any], now: PolicyRead) -> dict[str, Any]:
    """The overrides in a body that is our own answer, changed or not, sent back; any other body as it is."""
    if not {"stated", "values"} & body.keys():
        return body
    if body.get("service", service) != service:
        raise _wrong("service", f"is '{str(body['service'])[:80]}', and the path says '{service}': send it there")
    parts = [body.get(name, {}) for name in ("stated", "values")]
    for name, part in zip(("stated", "values"), parts, strict=True):
        if not isinstance(part, dict):
            raise _wrong(name, "is not an object of fields")
    changed = {name: value for name, value in parts[1].items() if now["values"].get(name) != value}
    ours = {*PolicyRead.__annotations__}
    return {**parts[0], **changed, **{name: value for name, value in body.items() if name not in ours}}


def check(service: str, body: dict[str, Any]) -> dict[str, Any]:
    """The overrides, with numbers as the policy keeps them; raises a problem that names the field and its bounds."""
    known = [field.name for field in fields(Policy) if field.name not in SET_BY_US]
    for name in body:
        if name in SET_BY_US:
            raise _wrong(name, "is set by us: the service is in the path, and versions count themselves")
        if name not in known:
            raise _wrong(name[:80], f"is no field of a policy{did_you_mean(name[:80], known)}")
    try:
        policy = msgspec.convert({**body, "service": service}, Policy)
    except msgspec.ValidationError as error:
        detail, _, place = str(error).partition(" - at `$.")
        named = place.rstrip("`") or next((name for name in known if detail.startswith(name)), "")
        raise _wrong(named, detail.removeprefix(named).strip()) from None
    return {name: getattr(policy, name) for name in known if name in body}


def _wrong(field: str, detail: str) -> Exception:
    return invalid([FieldError(field=field, at="body", detail=detail)])
