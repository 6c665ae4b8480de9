"""Bodies: JSON, read strictly, before anything looks inside.

Rules kept here:

- JSON as RFC 8259 has it: no NaN, no numbers beyond a float's range, no lone surrogates, UTF-8 only. Nesting is bounded by the
  reader. A text with NUL is refused here, because PostgreSQL cannot keep it.
- What a body is declared as does not matter, it is read as JSON; with one exception. A foreign web page can make a browser POST a
  form, a text or an undeclared body to an api on its own machine, and no api is asked first. So a POST that is declared as one of
  these types is 415, and one that is not declared must not come from another origin. A PUT is never sent unasked.
"""

import json
import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope

from api.problem import FieldError, Problem

UNASKED = frozenset({"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"})
"""Types that a page may send to another origin without asking: https://fetch.spec.whatwg.org/#cors-safelisted-request-header."""

NAMED_BYTES_MAX = 100_000
"""Of a larger body the wrong field is not looked for: that would take longer than reading it, and nobody wrote it by hand."""
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of NUL, and not a backslash before u0000."""


class StrictRoute(APIRoute):
    """A route whose body is read by `parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            refuse_unasked(request)
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    """A request whose body is JSON, whatever it says."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        # FastAPI reads JSON where nothing is declared, and leaves bytes as they are where something else is.
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        super().__init__({**scope, "headers": headers}, receive)

    async def json(self) -> Any:
        return parse(await self.body())


def parse(body: bytes) -> Any:
    """The value that a body means; raises a 400 problem when it means none."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    except ValueError as error:  # msgspec's errors and Unicode's are both ValueErrors
        raise _unreadable(body, error) from None
    if NUL.search(body):
        raise _holds_nul(body, value)
    return value


def refuse_unasked(request: Request) -> None:
    """Raises 415 for a POST with a body that a foreign page could have sent."""
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if empty or request.method != "POST":
        return
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared in UNASKED or (not declared and _is_foreign(request)):
        said = f"as {declared}" if declared else "as nothing"
        raise Problem(415, f"The body is declared {said}: send JSON with Content-Type: application/json.")


def _is_foreign(request: Request) -> bool:
    """Whether a page of another origin sent this. A browser says so with every POST, and programs say nothing."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()


def _unreadable(body: bytes, error: ValueError) -> Problem:
    """Why a body is no JSON. Python's own reader takes NaN and 1e400, so that the field of such a number can be named."""
    unnamed = Problem(400, f"The body is not valid JSON: {error}")
    if len(body) > NAMED_BYTES_MAX:
        return unnamed
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return unnamed
    limit = sys.float_info.max
    for place, found in _leaves(value):
        if isinstance(found, (int, float)) and not -limit <= found <= limit:
            detail = "is NaN, infinite or beyond what a number can be: send a finite number, or leave it out"
            return _wrong(400, place, detail)
    return unnamed


def _holds_nul(body: bytes, value: Any) -> Problem:
    detail = "holds the character NUL, which cannot be stored: leave it out"
    if len(body) <= NAMED_BYTES_MAX:
        for place, found in _leaves(value):
            if isinstance(found, str) and "\0" in found:
                return _wrong(422, place, detail)
    return Problem(422, f"A text of the body {detail}")


def _wrong(status: int, place: "Place", detail: str) -> Problem:
    path = _path(place)
    return Problem(status, f"body {path}: {detail}", [FieldError(field=path, at="body", detail=detail)])


Place = tuple[Any, str | int] | None
"""The place around, and the step from there. It becomes a text only where one is wrong: a body may hold half a million of them."""


def _leaves(value: Any) -> Iterator[tuple[Place, Any]]:
    """Every text, number and key with its place. Without recursion: what was read may be as deep as the reader allows."""
    waiting: list[tuple[Place, Any]] = [(None, value)]
    while waiting:
        place, found = waiting.pop()
        if isinstance(found, dict):
            waiting += [((place, key), key) for key in found]
            waiting += [((place, key), inner) for key, inner in found.items()]
        elif isinstance(found, list):
            waiting += [((place, index), inner) for index, inner in enumerate(found)]
        else:
            yield place, found


def _path(place: Place) -> str:
    steps: list[str | int] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in reversed(steps)).lstrip(".")
