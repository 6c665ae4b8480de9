"""The reference at `/docs`: what FastAPI derives from the routes, and what it cannot know."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from api import fence
from api.plans import PlansBody
from api.problem import MEDIA_TYPE, ProblemReply

DESCRIPTION = """
Plans go in (sites, workers, devices, visits, policies); positions, outcomes, coverage and alerts come out.

* Times are RFC 3339 in UTC with milliseconds, durations seconds, shares 0 to 1, coordinates WGS-84 `lon, lat`.
* `PUT` creates or replaces, answers the thing, and may be repeated. A field that is not known is kept and given back.
* A list is `items` and `next`: the URL of the next page, or null. A list of geometry is a `FeatureCollection` with `next`.
* Every error is an RFC 9457 problem that names the field and the mend.
* Where a key is configured, send `Authorization: Bearer <key>`.
"""
TAGS = [
    {"name": "sites", "description": "Places of service: fences with a customer."},
    {"name": "workers", "description": "Who serves, and which phones report for them."},
    {"name": "devices", "description": "Smart-home devices at the sites."},
    {"name": "visits", "description": "Planned services, and what became of them."},
    {"name": "stays", "description": "Where workers stayed, planned or not."},
    {"name": "plans", "description": "All of these in bulk."},
    {"name": "policies", "description": "How a service's visits are judged."},
    {"name": "positions", "description": "Where workers are and were."},
    {"name": "coverage", "description": "How much was seen, against the target."},
    {"name": "alerts", "description": "Exceptions that want a person."},
    {"name": "rejects", "description": "Payloads that could not be taken."},
    {"name": "live", "description": "What changes, as it changes."},
    {"name": "probes", "description": "For machines that watch this one."},
    {"name": "dashboard", "description": "What the page at `/` asks first."},
]
REFERENCE = "#/components/schemas/{model}"


def install(app: FastAPI, *, key_required: bool) -> None:
    """Makes the app describe itself with our additions."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, key_required=key_required)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way of extending the schema


def _described(app: FastAPI, *, key_required: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= fence.COMPONENTS
    schemas |= models_json_schema([(PlansBody, "validation")], ref_template=REFERENCE)[1]["$defs"]
    problem = TypeAdapter(ProblemReply).json_schema(ref_template=REFERENCE)
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem
    for path, calls in document["paths"].items():
        for call in calls.values():
            _add_problems(call, guarded=path.startswith("/v1/") and path != "/v1/settings" and key_required)
    if key_required:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _add_problems(call: dict[str, Any], *, guarded: bool) -> None:
    content = {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    call["responses"].pop("422", None)
    call["responses"]["4XX"] = {"description": "A problem of the request: the field and the mend", "content": content}
    call["responses"]["5XX"] = {"description": "A problem of ours", "content": content}
    if guarded:
        call["security"] = [{"key": []}]
