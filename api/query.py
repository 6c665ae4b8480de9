"""Query parameters that a call does not have are refused: a slip such as `?form=` must not silently answer for all of time."""

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from api.problem import FieldError, did_you_mean, invalid

GUARDED = "/v1/"
"""What is asked for here is data. Probes and pages get parameters from all kinds of programs, and answer the same without them."""


async def refuse_unknown(request: Request) -> None:
    """Raises a problem that names every parameter which this call does not know, and the one that was meant."""
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute) or not request.url.path.startswith(GUARDED):
        return
    known = _known(route)
    wrong = [name for name in dict.fromkeys(request.query_params.keys()) if name not in known]
    if wrong:
        raise invalid([FieldError(field=name[:80], at="query", detail=_mend(name[:80], known)) for name in wrong])


def _known(route: APIRoute) -> frozenset[str]:
    return frozenset(field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query))


def _mend(name: str, known: frozenset[str]) -> str:
    there_are = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
    return f"is no parameter of this call{did_you_mean(name, known) or f': {there_are}'}"
