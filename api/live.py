"""`GET /v1/live`: what changes, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse

from api.problem import listed
from api.stream import KINDS, Hub, Kind

router = APIRouter(prefix="/v1", tags=["live"])

EXAMPLE = (
    "event: position\n"
    'data: {"type":"Feature","id":"w-17","geometry":{"type":"Point","coordinates":[24.9414,60.1719]},"properties":{}}\n'
    "id: 4711\n\n"
)
CONTENT = {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}}
EventId = Annotated[int | None, Query(ge=0, le=2**63 - 1, description="the same as the header, for clients that cannot set it")]
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


# Not declared as FastAPI's stream of objects: every event is encoded once for all readers, so what goes out here is bytes.
@router.get("/live", responses={200: {"content": CONTENT}}, response_class=Response, response_model=None)
async def live(
    request: Request,
    kinds: Annotated[list[str], Query(description=f"`{' '.join(KINDS)}`; else all")] = [],  # noqa: B006
    last_event_id: EventId = None,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> EventSourceResponse:
    """A stream of states: `position` (a Feature as in `/positions`), `visit`, `alert` and `device` (as their own calls answer).

    Resumes behind `Last-Event-ID`; states that were sent may come again, none is left out. `reset` says that this is not possible
    any more, or that the reader was too slow: fetch everything anew. A comment comes every 15 s when nothing else does.
    """
    hub: Hub = request.app.state.hub
    resume = last_event_id if last_event_id_header is None else _resume(last_event_id_header)
    stream = hub.stream(_kinds(kinds), resume, request.app.state.pool.connection)
    return EventSourceResponse(stream, headers=HEADERS)


def _resume(header: str) -> int:
    # An id that is none of ours cannot be resumed from; -2 lies before everything, which says exactly that.
    return int(header) if header.isascii() and header.isdigit() and len(header) < 19 else -2


def _kinds(given: list[str]) -> frozenset[Kind]:
    found = listed("kinds", given, KINDS, "no kind of event")
    return frozenset(kind for kind in KINDS if kind in found) or frozenset(KINDS)
