"""Probes: does the process live, is everything there that an answer needs, does evidence flow, and the figures for Prometheus."""

from typing import Annotated, Any, Literal

import msgspec
import psycopg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from psycopg_pool import PoolTimeout
from pydantic import Field
from typing_extensions import TypedDict

from api import metrics
from api.database import Pool
from api.fields import Said
from api.reply import Json, rfc3339, rfc3339_epoch
from store import figures, rejects

router = APIRouter(tags=["probes"])

SILENT_S_MAX = 20.0
"""A program that has not beaten for so long is taken for dead; they beat every few seconds."""
PART_OF = {"ingest": "ingest", "verify": "verify"}
State = Literal["ok", "silent", "missing", "away", "unknown"]


class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


class Part(TypedDict):
    """One part, and in words what is wrong with it."""

    state: State
    detail: Annotated[str, Field(examples=["beat 1.2 s ago"])]


class ProgramRead(TypedDict):
    """One running program as it counted itself last. What a program does not count is null."""

    name: Annotated[str, Field(examples=["ingest:ingest-1"])]
    state: Literal["ok", "silent"]
    beat_at: Said
    started_at: Said
    connected: Annotated[bool | None, Field(description="whether its connection to the broker is subscribed")]
    connected_at: Said | None
    last_message_at: Annotated[Said | None, Field(description="when the newest message came over its connection")]
    received_per_s: Annotated[float | None, Field(description="reports a second, since the beat before")]
    lag_s: Annotated[
        float | None,
        Field(
            description="ingest: age of the oldest message that is not committed; verify: from the commit of evidence to its effect"
        ),
    ]
    queue_depth: Annotated[
        int | None, Field(description="ingest: messages that wait for a commit; verify: visits that wait for a judge")
    ]
    rejected: Annotated[dict[str, int], Field(description="rejects since its start, by reason")]


class Readiness(TypedDict):
    """Whether the whole can do its work, part by part; and how evidence flows through it."""

    ready: bool
    parts: dict[str, Part]
    programs: list[ProgramRead]
    rejects_open: Annotated[
        dict[str, int], Field(description=f"rejects that nobody has mended, by reason; counted up to {rejects.COUNTED_MAX} each")
    ]


class Seen(msgspec.Struct, frozen=True):
    """What the database says about the programs."""

    programs: list[figures.ProgramRow]
    rejects_open: dict[str, int]


@router.get("/healthz", response_model=Health, response_class=Json)
async def healthz() -> Response:
    """Answers as long as the process does; asks nobody else."""
    return Json(Health(status="ok"))


@router.get("/readyz", response_model=Readiness, response_class=Json, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """The state of each part: database, broker, ingest, verify. 503 while one is not there.

    And how evidence flows: rates, lag, queues, the last message over each connection to the broker, and the rejects that are open.
    """
    seen = await _look(request)
    if seen is None:
        parts = {"database": Part(state="away", detail="does not answer")}
        parts |= {name: Part(state="unknown", detail="cannot be known without the database") for name in ("broker", *PART_OF)}
        return Json(Readiness(ready=False, parts=parts, programs=[], rejects_open={}), 503)
    rows = seen.programs
    parts = {"database": Part(state="ok", detail="answers"), "broker": _broker(rows)}
    parts |= {name: _part(rows, prefix) for name, prefix in PART_OF.items()}
    ready = all(part["state"] == "ok" for part in parts.values())
    programs = [_program(row) for row in rows]
    return Json(Readiness(ready=ready, parts=parts, programs=programs, rejects_open=seen.rejects_open), 200 if ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def prometheus(request: Request) -> Response:
    """Prometheus text: this program's own figures, and those that ingest and verify left with their heartbeats."""
    seen = await _look(request)
    programs, rejects_open = (None, {}) if seen is None else (seen.programs, seen.rejects_open)
    text = metrics.expose(request.app.state.metrics, request.app.state.hub, programs, rejects_open)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _look(request: Request) -> Seen | None:
    pool: Pool = request.app.state.pool
    try:
        async with pool.connection(timeout=2.0) as connection:
            return Seen(await figures.programs(connection), await rejects.count_open(connection))
    except (psycopg.OperationalError, PoolTimeout):
        return None


def _of(rows: list[figures.ProgramRow], prefix: str) -> list[figures.ProgramRow]:
    """A part may run several times over: `ingest`, `ingest-2`."""
    return [row for row in rows if row.name.startswith(prefix)]


def _part(rows: list[figures.ProgramRow], prefix: str) -> Part:
    newest = min(_of(rows, prefix), key=lambda row: row.silent_s, default=None)
    if newest is None:
        return Part(state="missing", detail="has never run on this database")
    if newest.silent_s > SILENT_S_MAX:
        return Part(state="silent", detail=f"last beat at {rfc3339(newest.beat_at)}")
    return Part(state="ok", detail=f"beat {max(0.0, newest.silent_s):.1f} s ago")


def _broker(rows: list[figures.ProgramRow]) -> Part:
    beating: list[dict[str, Any]] = [row.state for row in _of(rows, "ingest") if row.silent_s <= SILENT_S_MAX]
    if not beating:
        return Part(state="missing", detail="nobody who talks to it is there")
    if not any(state.get("connected") for state in beating):
        return Part(state="away", detail="ingest is not connected to it")
    return Part(state="ok", detail="ingest is connected to it")


def _program(row: figures.ProgramRow) -> ProgramRead:
    said = row.state
    rejected = said.get("rejected_total")
    connected_at, last_message_at = _number(said, "connected_at"), _number(said, "last_message_at")
    depth, connected = _number(said, "queue_depth"), said.get("connected")
    return ProgramRead(
        name=row.name,
        state="silent" if row.silent_s > SILENT_S_MAX else "ok",
        beat_at=rfc3339(row.beat_at),
        started_at=rfc3339(row.started_at),
        connected=connected if isinstance(connected, bool) else None,
        connected_at=None if connected_at is None else rfc3339_epoch(connected_at),
        last_message_at=None if last_message_at is None else rfc3339_epoch(last_message_at),
        received_per_s=_number(said, "received_per_s"),
        lag_s=_number(said, "lag_s"),
        queue_depth=None if depth is None else int(depth),
        rejected={reason: int(count) for reason, count in rejected.items()} if isinstance(rejected, dict) else {},
    )


def _number(said: dict[str, Any], name: str) -> float | None:
    found = said.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
