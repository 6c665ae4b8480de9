"""The dashboard's files, the page of the reference, and the few things the dashboard must know before it can ask for data.

No page takes anything from another server: both work where there is no way out.
"""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import Field
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import TypedDict

from api.coverage import TARGET
from api.database import Database
from api.fields import Said
from api.outcome import Share
from api.reply import Json, rfc3339
from api.settings import Settings
from store import retention

router = APIRouter(tags=["dashboard"])

FOLDER = Path(__file__).parent / "static"
DAY_S = 86_400
NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sitewatch</title>
<body style="font: 15px/1.5 system-ui; max-width: 42rem; margin: 4rem auto; padding: 0 1rem">
<h1>This page is not built</h1>
<p>Its files are made when the package is installed: run <code>uv sync --reinstall-package sitewatch</code>
(or <code>pip install -e .</code>) in the folder of the project, and load this page again.</p>
<p>Everything else works: the HTTP reference <a href="openapi.json">for machines</a>,
the <a href="readyz">state of each part</a>.</p>
"""


class SettingsRead(TypedDict):
    """What the page must know before it can ask for data."""

    version: str
    auth_required: bool
    coverage_target: Share
    map_style: Annotated[str | None, Field(description="URL of a MapLibre style; null: draw a quiet background")]
    tile_url: Annotated[str | None, Field(description="URL template of raster tiles, used without a style")]
    tile_attribution: str | None
    retention_days: Annotated[float | None, Field(description="evidence that is older is dropped; null: it is kept for ever")]
    time: Annotated[Said, Field(description="the server's clock, against which ages are counted")]


class Files(StaticFiles):
    """Files with cache headers: what npm brought keeps for a day, our own is asked for again and mostly answered 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """As StaticFiles, with the header."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = f"public, max-age={DAY_S}" if path.startswith("vendor/") else "no-cache"
        return response


@router.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False)
async def dashboard() -> Response:
    """The page; what it shows is in the part of its address behind `#`."""
    index = FOLDER / "index.html"
    if not index.is_file():
        return HTMLResponse(NOT_BUILT, 503)
    return FileResponse(index, headers={"Cache-Control": "no-cache"})


@router.api_route("/docs", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False)
async def reference() -> Response:
    """The reference in a browser."""
    if not (FOLDER / "vendor" / "swagger-ui-bundle.js").is_file():
        return HTMLResponse(NOT_BUILT, 503)
    # Addresses are relative, so that a proxy may put all of it under a path of its own.
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="sitewatch: HTTP",
        swagger_js_url="static/vendor/swagger-ui-bundle.js",
        swagger_css_url="static/vendor/swagger-ui.css",
        swagger_favicon_url="static/icon.svg",
        # Else it would show a badge that sends the schema to somebody for checking.
        swagger_ui_parameters={"validatorUrl": None},
    )


@router.get("/v1/settings", response_model=SettingsRead, response_class=Json)
async def settings(request: Request, database: Database) -> Response:
    """Version, target, map configuration, how long evidence is kept, and whether a key is asked for. Needs no key."""
    told: Settings = request.app.state.settings
    kept_s = await retention.kept_s(database)
    return Json(
        SettingsRead(
            version=version("sitewatch"),
            auth_required=told.api_key is not None,
            coverage_target=TARGET,
            map_style=told.map_style,
            tile_url=told.tile_url,
            tile_attribution=told.tile_attribution,
            retention_days=None if kept_s is None else kept_s / DAY_S,
            time=rfc3339(datetime.now(UTC)),
        )
    )
