"""Rejects over HTTP: payloads that could not be taken, with the reason and the bytes, and the wish to have them read again.

Only ingest knows how to read a payload, and this program does not know ingest. So a wish is a mark on the row, on which ingest acts
within seconds; the answer says how to see what became of it.
"""

import base64
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from api import paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, From, Limit, Said, Text, To
from api.problem import unknown
from api.reply import Json, rfc3339, rfc3339_or_null
from store import rejects
from store.rejects import Outcome, Reason, StoredReject

router = APIRouter(prefix="/v1", tags=["rejects"], route_class=StrictRoute)

SHOWN_BYTES = 4_096
"""Of a payload in a list; one reject alone is shown whole."""
NEWEST = 2**63 - 1


class CloseBody(BaseModel, extra="forbid"):
    """Why nothing can be made of it; kept with the reject."""

    why: Annotated[Text, Field(examples=["a test phone, its key is gone"])]


class ReplayRead(TypedDict):
    """What became of the wish to have a reject read again."""

    wanted_at: Annotated[Said | None, Field(description="somebody wants it read again, and ingest has not done so yet")]
    read_at: Annotated[Said | None, Field(description="when it was last read again")]
    outcome: Annotated[
        Outcome | None,
        Field(description="what it was then; `rejected` leaves it open, with the reason and the detail of that reading"),
    ]


class RejectRead(TypedDict):
    """A payload that could not be taken. The same bytes on the same topic are one reject, however often they came."""

    id: int
    received_at: Said
    last_at: Annotated[Said, Field(description="when the same bytes came last")]
    times: Annotated[int, Field(description="how often they came; a redelivery counts")]
    topic: str
    reason: str
    detail: str
    payload: Annotated[str, Field(description="as text where it is UTF-8, else base64: see `encoding`")]
    encoding: Literal["utf-8", "base64"]
    truncated: Annotated[bool, Field(description="there is more of the payload; GET this reject alone to see it")]
    replayed_at: Annotated[
        Said | None, Field(description="since when it is not open any more, replayed or closed; null: it is open")
    ]
    closed_why: Annotated[str | None, Field(description="why a person closed it, who could make nothing of it")]
    replay: ReplayRead


class RejectList(TypedDict):
    """A page of rejects."""

    items: list[RejectRead]
    next: str | None


class ReplayList(TypedDict):
    """How many rejects a wish covers."""

    wanted: Annotated[int, Field(description="open rejects that ingest will read again within seconds or minutes")]
    more: Annotated[bool, Field(description="there were too many for one wish: say it again when these are done")]


class CloseList(TypedDict):
    """How many rejects were closed."""

    closed: int
    more: Annotated[bool, Field(description="there were too many for one call: say it again")]


class _Place(paging.Key, frozen=True):
    received_at: datetime
    id: int


Number = Annotated[int, Path(alias="id", ge=0, le=NEWEST)]
OfReason = Annotated[Reason | None, Query(description="only those with this reason")]
OfTopic = Annotated[Text | None, Query(description="only those on this topic; MQTT's wildcards + and # may stand in it")]


@router.get("/rejects", response_model=RejectList, response_class=Json)
async def list_rejects(
    request: Request,
    database: Database,
    reason: OfReason = None,
    topic: OfTopic = None,
    start: From = None,
    end: To = None,
    is_open: Annotated[bool | None, Query(alias="open", description="true: those that were neither replayed nor closed")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Rejects, newest first."""
    place = paging.decode(cursor, _Place)
    before = rejects.Place(received_at=place.received_at, id=place.id) if place else None
    wanted = rejects.Filter(reason=reason, topic=topic, start=start, end=end, is_open=is_open)
    page, last = paging.cut(await rejects.page(database, wanted, before, limit + 1), limit)
    behind = paging.url(request, _Place(last.received_at, last.id)) if last else None
    return Json(RejectList(items=[_read(row, SHOWN_BYTES) for row in page], next=behind))


@router.get("/rejects/{id}", response_model=RejectRead, response_class=Json)
async def get_reject(number: Number, database: Database) -> Response:
    """One reject with its whole payload."""
    rows = await rejects.page(database, rejects.Filter(ids=[number]), None, 1)
    if not rows:
        raise unknown("reject", str(number))
    return Json(_read(rows[0], len(rows[0].payload)))


# Before the one of a single reject, whose path it would fit; and not at /rejects/replay, which is where a reject would be.
@router.post("/rejects/all/replay", response_model=ReplayList, response_class=Json, status_code=202)
async def replay_rejects(
    database: Database, reason: OfReason = None, topic: OfTopic = None, start: From = None, end: To = None
) -> Response:
    """Has all open rejects that fit read again, the oldest first; without a filter that is every one."""
    wanted = rejects.Filter(reason=reason, topic=topic, start=start, end=end)
    marked = await rejects.want_soon(database, wanted)
    return Json(ReplayList(wanted=marked, more=marked >= rejects.WANT_MAX), 202)


@router.post("/rejects/{id}/replay", response_model=RejectRead, response_class=Json, responses={202: {"model": RejectRead}})
async def replay_reject(number: Number, database: Database) -> Response:
    """Has one reject read again by ingest as it is now, also a closed one. 202: it will be, ask for it again; 200: it was."""
    wanted = rejects.Filter(ids=[number])
    async with database.transaction():
        marked = await rejects.want_soon(database, wanted)
        rows = await rejects.page(database, wanted, None, 1)
    if not rows:
        raise unknown("reject", str(number))
    return Json(_read(rows[0], SHOWN_BYTES), 202 if marked else 200)


@router.post("/rejects/all/close", response_model=CloseList, response_class=Json)
async def close_rejects(
    body: CloseBody, database: Database, reason: OfReason = None, topic: OfTopic = None, start: From = None, end: To = None
) -> Response:
    """Closes all open rejects that fit, the oldest first. Their bytes and their reasons stay."""
    wanted = rejects.Filter(reason=reason, topic=topic, start=start, end=end)
    closed = await rejects.close_soon(database, wanted, body.why)
    return Json(CloseList(closed=closed, more=closed >= rejects.WANT_MAX))


@router.post("/rejects/{id}/close", response_model=RejectRead, response_class=Json)
async def close_reject(number: Number, body: CloseBody, database: Database) -> Response:
    """Closes a reject that nobody can mend. One that is not open stays as it is: who closed it first has said why."""
    wanted = rejects.Filter(ids=[number])
    async with database.transaction():
        await rejects.close_soon(database, wanted, body.why)
        rows = await rejects.page(database, wanted, None, 1)
    if not rows:
        raise unknown("reject", str(number))
    return Json(_read(rows[0], SHOWN_BYTES))


def _read(row: StoredReject, shown: int) -> RejectRead:
    payload, encoding = _text(row.payload, shown)
    return RejectRead(
        id=row.id,
        received_at=rfc3339(row.received_at),
        last_at=rfc3339(row.last_at),
        times=row.times,
        topic=row.topic,
        reason=row.reason,
        detail=row.detail,
        payload=payload,
        encoding=encoding,
        truncated=len(row.payload) > shown,
        replayed_at=rfc3339_or_null(row.replayed_at),
        closed_why=row.closed_why,
        replay=ReplayRead(
            wanted_at=rfc3339_or_null(row.wanted_at),
            read_at=rfc3339_or_null(row.read_at),
            outcome=None if row.outcome is None else Outcome(row.outcome),
        ),
    )


def _text(payload: bytes, shown: int) -> tuple[str, Literal["utf-8", "base64"]]:
    try:
        whole = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload[:shown]).decode(), "base64"
    # Cutting bytes could cut a character; cutting characters shows at most what was asked for.
    return (whole if len(payload) <= shown else payload[:shown].decode(errors="ignore")), "utf-8"
