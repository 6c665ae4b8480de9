"""Replies: JSON and GeoJSON, encoded once. Their shapes are TypedDicts, which OpenAPI shows and the type checker holds us to."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from fastapi.responses import JSONResponse

HALF_A_MILLISECOND = timedelta(microseconds=500)


class Json(JSONResponse):
    """A JSON document."""

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class GeoJson(Json):
    """A GeoJSON document."""

    media_type = "application/geo+json"


def rfc3339(at: datetime) -> str:
    """`2026-11-22T01:02:03.450Z`, to the nearest millisecond, like `rfc3339_epoch`."""
    return (at + HALF_A_MILLISECOND).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_null(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def rfc3339_epoch(at: float) -> str:
    """The same from epoch seconds, to the nearest millisecond."""
    milliseconds = round(at * 1000)
    whole = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
