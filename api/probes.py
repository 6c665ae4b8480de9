"""Probes: does the process live, is everything there that an answer needs, and the figures for Prometheus."""

from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from psycopg_pool import PoolTimeout
from pydantic import Field
from typing_extensions import TypedDict

from api import metrics
from api.database import Pool
from api.reply import Json, rfc3339
from store import figures

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


class Readiness(TypedDict):
    """Whether the whole can do its work, part by part."""

    ready: bool
    parts: dict[str, Part]


@router.get("/healthz", response_model=Health, response_class=Json)
async def healthz() -> Response:
    """Answers as long as the process does; asks nobody else."""
    return Json(Health(status="ok"))


@router.get("/readyz", response_model=Readiness, response_class=Json, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """The state of each part: database, broker, ingest, verify. 503 while one is not there."""
    rows = await _programs(request)
    if rows is None:
        parts = {"database": Part(state="away", detail="does not answer")}
        parts |= {name: Part(state="unknown", detail="cannot be known without the database") for name in ("broker", *PART_OF)}
    else:
        parts = {"database": Part(state="ok", detail="answers"), "broker": _broker(rows)}
        parts |= {name: _program(rows, prefix) for name, prefix in PART_OF.items()}
    ready = all(part["state"] == "ok" for part in parts.values())
    return Json(Readiness(ready=ready, parts=parts), 200 if ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def prometheus(request: Request) -> Response:
    """Prometheus text: this program's own figures, and those that ingest and verify left with their heartbeats."""
    rows = await _programs(request)
    return Response(metrics.expose(request.app.state.metrics, request.app.state.hub, rows), media_type=CONTENT_TYPE_LATEST)


async def _programs(request: Request) -> list[figures.ProgramRow] | None:
    pool: Pool = request.app.state.pool
    try:
        async with pool.connection(timeout=2.0) as connection:
            return await figures.programs(connection)
    except (psycopg.OperationalError, PoolTimeout):
        return None


def _of(rows: list[figures.ProgramRow], prefix: str) -> list[figures.ProgramRow]:
    """A part may run several times over: `ingest`, `ingest-2`."""
    return [row for row in rows if row.name.startswith(prefix)]


def _program(rows: list[figures.ProgramRow], prefix: str) -> Part:
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
