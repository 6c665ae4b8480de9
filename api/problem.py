"""Problems: every answer that is not what was asked for, as RFC 9457 `application/problem+json`.

Rules kept here:

- A problem says what is wrong in a sentence, names the field, and says the mend. `errors` lists all fields that are wrong at once.
- Nothing leaves this program as a bare 500: what nobody expected is logged with its trace and answered as a problem without it.
- A database that is away is 503 and worth a retry; a value that a database refuses is the caller's 422.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

import msgspec
import psycopg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from typing_extensions import TypedDict

from store.refusals import InUse, Refused, Taken, UnknownReference

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger()


class FieldError(TypedDict):
    """One field that is wrong, where it stands, and the mend."""

    field: Annotated[str, Field(examples=["properties.radius_m"])]
    at: Annotated[str, Field(examples=["body"], description="Which part of the request: `body`, `query`, `path` or `header`.")]
    detail: Annotated[str, Field(examples=["is required"])]


class ProblemReply(TypedDict):
    """An RFC 9457 problem."""

    type: Annotated[str, Field(examples=["urn:sitewatch:problem:invalid"])]
    title: Annotated[str, Field(examples=["The request is not valid"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["body properties.radius_m: a Point needs radius_m, the fence's radius in metres"])]
    instance: NotRequired[Annotated[str, Field(examples=["/v1/sites/s-1"])]]
    errors: NotRequired[list[FieldError]]


TITLES = {
    "malformed": "The body is not JSON that can be read",
    "unauthorized": "An API key is needed",
    "not-found": "There is no such thing",
    "method-not-allowed": "This address does not do that",
    "conflict": "That would contradict what is stored",
    "too-large": "The body is too large",
    "media-type": "The body is not declared as JSON",
    "invalid": "The request is not valid",
    "unavailable": "The database cannot answer now",
    "internal": "Something went wrong on our side",
}
SLUGS = {
    400: "malformed",
    401: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "media-type",
    422: "invalid",
    503: "unavailable",
}


class Problem(HTTPException):
    """Raise it anywhere in a route; it becomes the answer."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = list(errors)


def invalid(errors: Iterable[FieldError]) -> Problem:
    """422 that names every wrong field; the first one is its sentence."""
    found = list(errors)
    first = found[0]
    return Problem(422, f"{first['at']} {first['field']}: {first['detail']}".strip(), found)


def unknown(kind: str, name: str) -> Problem:
    """404 for an id in the path."""
    return Problem(404, f"There is no {kind} '{name}'.")


def reply(status: int, detail: str, instance: str, errors: Sequence[FieldError] = ()) -> bytes:
    """The bytes of a problem."""
    slug = SLUGS.get(status, "internal" if status >= 500 else "invalid")
    title = TITLES[slug] if status in SLUGS or status == 500 else HTTPStatus(status).phrase
    document = ProblemReply(type=f"urn:sitewatch:problem:{slug}", title=title, status=status, detail=detail, instance=instance)
    if errors:
        document["errors"] = list(errors)
    return msgspec.json.encode(document)


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(psycopg.errors.ForeignKeyViolation, _overtaken)
    app.add_exception_handler(psycopg.errors.UniqueViolation, _overtaken)
    app.add_exception_handler(psycopg.DataError, _refused_by_the_database)
    for away in (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests):
        app.add_exception_handler(away, _database_away)
    app.add_exception_handler(Exception, _our_mistake)


def field_errors(found: Iterable[Mapping[str, Any]], at: str = "") -> list[FieldError]:
    """Pydantic's errors in our words. `at` is given where their places do not begin with a part of the request."""
    return [_field_error(error, at) for error in found]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean '{near[0]}'?" if near else ""


def not_among(name: str, what: str, known: Iterable[str]) -> str:
    """`'…' is no …. There are …`, with a suggestion when a known name is near."""
    names = list(known)
    return f"'{name}' is {what}{did_you_mean(name, names) or '.'} There are {', '.join(names)}."


def listed(field: str, given: Iterable[str], known: Sequence[str], what: str) -> list[str]:
    """The names of a query parameter that takes some of the known ones, repeated or with commas, each once. Raises a problem for a
    name that is `what`, as in "no verdict".
    """
    found = list(dict.fromkeys(name for text in given for name in text.split(",") if name))
    for name in found:
        if name not in known:
            raise invalid([FieldError(field=field, at="query", detail=not_among(name[:40], what, known))])
    return found


def _field_error(error: Mapping[str, Any], at: str) -> FieldError:
    place = list(error["loc"])
    if not at:
        at = str(place.pop(0))
    kind, said = error["type"], str(error["msg"])
    if kind == "missing":
        said = "is required"
    elif kind == "json_invalid":
        place, said = [], f"is not JSON: {error.get('ctx', {}).get('error', said)}"
    else:
        said = said.removeprefix("Value error, ")
        # What is found by comparing fields says itself which one is to be mended.
        place += error.get("ctx", {}).get("field", ())
    return FieldError(field=_path(place), at=at, detail=said)


def _path(place: Sequence[str | int]) -> str:
    path = ""
    for step in place:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def _answer(
    request: Request, status: int, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    body = reply(status, detail, request.url.path, errors)
    return Response(body, status, headers, media_type=MEDIA_TYPE)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: f"There is nothing at {request.url.path}: see /docs for what there is.",
        405: f"{request.url.path} does not take {request.method}.",
        413: "The body is larger than this call takes: send fewer items at a time.",
    }
    if isinstance(error, Problem):
        return _answer(request, error.status_code, error.detail, error.errors, error.headers)
    if error.status_code == 405:
        error.headers = {"Allow": _allowed(request) or (error.headers or {}).get("Allow", "")}
    return _answer(request, error.status_code, details.get(error.status_code, str(error.detail)), (), error.headers)


def _allowed(request: Request) -> str:
    """Every method that the address takes; the router knows only those of the first route that fits."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    fitting = (calls for path, calls in paths.items() if compile_path(path)[0].fullmatch(request.url.path))
    return ", ".join(sorted(method.upper() for calls in fitting for method in calls))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _http_error(request, invalid(field_errors(error.errors())))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    status = {UnknownReference: 422, Taken: 409, InUse: 409}[type(error)]
    field = FieldError(field=error.field, at="path" if isinstance(error, InUse) else "body", detail=error.mend)
    return _answer(request, status, f"{error.kind} '{error.item}': {error.mend}", [field])


async def _overtaken(request: Request, _error: Exception) -> Response:
    return _answer(request, 409, "Somebody else changed what this names at the same moment: look, and send it again.")


async def _refused_by_the_database(request: Request, error: Exception) -> Response:
    log.warning("the database refused a value", path=request.url.path, error=str(error))
    return _answer(request, 422, "A value of the request cannot be stored: look for control characters and for huge numbers.")


async def _database_away(request: Request, error: Exception) -> Response:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return _answer(request, 503, "The query took too long: ask for a shorter time or a smaller page.", (), {"Retry-After": "1"})
    log.error("the database is away", path=request.url.path, error=str(error))
    return _answer(request, 503, "The database does not answer: try again in a few seconds.", (), {"Retry-After": "5"})


async def _our_mistake(request: Request, error: Exception) -> Response:
    log.error("a call failed", method=request.method, path=request.url.path, exc_info=error)
    return _answer(request, 500, "This is a defect of sitewatch and has been logged: the request may be right.")
