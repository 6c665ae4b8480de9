"""The application: every call, in the order in which the reference shows them, and what lies around all of them.

request ─▶ timing ─▶ key ─▶ size ─▶ compression ─▶ route: parse, one query, reply ─▶ (problem)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.middleware.gzip import GZipMiddleware

from api import (
    alerts,
    coverage,
    database,
    devices,
    evidence,
    live,
    openapi,
    pages,
    plans,
    policies,
    positions,
    probes,
    problem,
    query,
    rejects,
    sites,
    stays,
    visits,
    workers,
)
from api.auth import KeyRequired
from api.limit import BodyLimit
from api.metrics import Metrics, Timing
from api.settings import Settings
from api.stream import Hub

PARTS = (
    sites,
    workers,
    devices,
    visits,
    evidence,
    stays,
    plans,
    policies,
    positions,
    coverage,
    alerts,
    rejects,
    live,
    probes,
    pages,
)
COMPRESS_BYTES_MIN = 2_000


def create(settings: Settings, url: str) -> FastAPI:
    """The application on the database at `url`. It serves while the database is away, and says so."""
    app = FastAPI(
        title="sitewatch",
        version=version("sitewatch"),
        summary="Was the worker on site, for how long, and how much of it did we see?",
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=_lifespan,
        strict_content_type=False,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.settings = settings
    app.state.pool = database.pool(url, settings)
    app.state.hub = Hub(url, settings.stream_bytes_max, settings.stream_resume_rows_max)
    app.state.metrics = Metrics()
    for part in PARTS:
        app.include_router(part.router, dependencies=[Depends(query.refuse_unknown)])
    app.mount("/static", pages.Files(directory=pages.FOLDER, check_dir=False), name="static")
    problem.install(app)
    openapi.install(app, key_required=settings.api_key is not None)
    # The last one added is the outermost.
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESS_BYTES_MIN, compresslevel=4)
    app.add_middleware(BodyLimit, settings=settings)
    if settings.api_key is not None:
        app.add_middleware(KeyRequired, key=settings.api_key)
    app.add_middleware(Timing, metrics=app.state.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    pool: database.Pool = app.state.pool
    hub: Hub = app.state.hub
    # Not waited for: the process is up before its database is, and says so at /readyz.
    await pool.open(wait=False)
    following = asyncio.create_task(hub.follow(), name="live stream")
    try:
        yield
    finally:
        hub.close()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await pool.close(timeout=1.0)
