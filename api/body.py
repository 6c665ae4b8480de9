"""Bodies: JSON, read strictly, before anything looks inside.

Rules kept here:

- JSON as RFC 8259 has it: no NaN, no numbers beyond a float's range, no lone surrogates, UTF-8 only. Nesting is bounded by the
  reader. A text with NUL is refused here, because PostgreSQL cannot keep it.
- A body must be declared as JSON, or it is 415 and not a riddle of missing fields. Being strict has a second use: a foreign
  web page can make a browser send undeclared bodies and forms to an api on its own machine, but not JSON.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.problem import FieldError, Problem


class StrictRoute(APIRoute):
    """A route whose body is read by `parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            refuse_other_media(request)
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse(await self.body())


def parse(body: bytes) -> Any:
    """The value that a body means; raises a 400 problem when it means none."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    except ValueError as error:  # msgspec's errors and Unicode's are both ValueErrors
        raise Problem(400, f"The body is not valid JSON: {error}") from None
    if b"\\u0000" in body:
        _refuse_nul(value)
    return value


def refuse_other_media(request: Request) -> None:
    """Raises 415 for a body that is not declared as JSON."""
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if empty or request.method not in ("PUT", "POST"):
        return
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    main, _, sub = declared.partition("/")
    if main != "application" or not (sub == "json" or sub.endswith("+json")):
        said = f"as {declared[:80]}" if declared else "as nothing"
        raise Problem(415, f"The body is declared {said}: send JSON with Content-Type: application/json.")


def _refuse_nul(value: Any) -> None:
    """Walks without recursion: what was read may be as deep as the reader allows."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, found = waiting.pop()
        match found:
            case str() if "\0" in found:
                detail = "holds the character NUL, which cannot be stored: leave it out"
                raise Problem(422, f"body {path}: {detail}", [FieldError(field=path, at="body", detail=detail)])
            case dict():
                waiting += ((f"{path}.{key}".lstrip("."), key) for key in found)
                waiting += ((f"{path}.{key}".lstrip("."), inner) for key, inner in found.items())
            case list():
                waiting += ((f"{path}[{index}]", inner) for index, inner in enumerate(found))
            case _:
                pass
