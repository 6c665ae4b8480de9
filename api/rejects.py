"""Rejects over HTTP: payloads that could not be taken, with the reason and the bytes."""

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api import paging
from api.database import Database
from api.fields import Cursor, Limit, Said, Text
from api.problem import unknown
from api.reply import Json, rfc3339, rfc3339_or_null
from store import observations

router = APIRouter(prefix="/v1", tags=["rejects"])

SHOWN_BYTES = 4_096
"""Of a payload in a list; one reject alone is shown whole."""
NEWEST = 2**63 - 1


class RejectRead(TypedDict):
    """A payload that could not be taken."""

    id: int
    received_at: Said
    topic: str
    reason: str
    detail: str
    payload: Annotated[str, Field(description="as text where it is UTF-8, else base64: see `encoding`")]
    encoding: Literal["utf-8", "base64"]
    truncated: Annotated[bool, Field(description="there is more of the payload; GET this reject alone to see it")]
    replayed_at: Said | None


class RejectList(TypedDict):
    """A page of rejects."""

    items: list[RejectRead]
    next: str | None


@router.get("/rejects", response_model=RejectList, response_class=Json)
async def list_rejects(
    request: Request,
    database: Database,
    reason: Annotated[Text | None, Query(description="only those with this reason")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Rejects, newest first."""
    before = paging.decode(cursor, int) or NEWEST
    page, last = paging.cut(await observations.rejects(database, reason, before, limit + 1), limit)
    behind = paging.url(request, last.id) if last else None
    return Json(RejectList(items=[_read(row, SHOWN_BYTES) for row in page], next=behind))


@router.get("/rejects/{id}", response_model=RejectRead, response_class=Json)
async def get_reject(number: Annotated[int, Path(alias="id", ge=0, le=NEWEST)], database: Database) -> Response:
    """One reject with its whole payload."""
    row = await observations.reject(database, number)
    if row is None:
        raise unknown("reject", str(number))
    return Json(_read(row, len(row.payload)))


def _read(row: observations.RejectRow, shown: int) -> RejectRead:
    payload, encoding = _text(row.payload, shown)
    return RejectRead(
        id=row.id,
        received_at=rfc3339(row.received_at),
        topic=row.topic,
        reason=row.reason,
        detail=row.detail,
        payload=payload,
        encoding=encoding,
        truncated=len(row.payload) > shown,
        replayed_at=rfc3339_or_null(row.replayed_at),
    )


def _text(payload: bytes, shown: int) -> tuple[str, Literal["utf-8", "base64"]]:
    try:
        whole = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload[:shown]).decode(), "base64"
    # Cutting bytes could cut a character; cutting characters shows at most what was asked for.
    return (whole if len(payload) <= shown else payload[:shown].decode(errors="ignore")), "utf-8"
