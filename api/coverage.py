"""Coverage over HTTP: how much of the service was seen, against the target, and why the rest was not."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, NotRequired, cast, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api import paging
from api.database import Database
from api.fields import Cursor, From, Limit, Text, To
from api.outcome import Share
from api.problem import FieldError, invalid, listed
from api.reply import Json, rfc3339
from geofence.outcome import Cause
from geofence.policy import Policy
from store import figures

router = APIRouter(prefix="/v1", tags=["coverage"])

SPAN = timedelta(days=7)
"""What is reported when nobody says what."""
SPAN_MAX = timedelta(days=3660)
TARGET = Policy().coverage_target


class CoverageFigures(TypedDict):
    """Sums over judged visits; pending ones are not counted yet."""

    visits: Annotated[int, Field(description="judged visits that began in the span")]
    covered_visits: Annotated[int, Field(description="those of them whose own coverage reaches the target")]
    visit_coverage: Annotated[Share | None, Field(description="covered_visits / visits; null without visits")]
    monitored_s: float
    expected_s: float
    time_coverage: Annotated[Share | None, Field(description="monitored_s / expected_s; null when nothing was expected")]
    gaps: Annotated[dict[str, float], Field(description=f"unmonitored seconds by cause: {' '.join(get_args(Cause))}")]


class CoverageItem(CoverageFigures):
    """One group; it has the keys that `by` asked for."""

    day: NotRequired[Annotated[str, Field(description="the site's own calendar day", examples=["2026-11-22"])]]
    worker: NotRequired[str]
    site: NotRequired[str]
    service: NotRequired[str]


Span = TypedDict("Span", {"from": str, "to": str})


class CoverageRead(TypedDict):
    """Both coverages against the target, in total and by group."""

    target: Share
    span: Span
    total: CoverageFigures
    items: list[CoverageItem]
    next: str | None


@router.get("/coverage", response_model=CoverageRead, response_class=Json)
async def get_coverage(
    request: Request,
    database: Database,
    start: From = None,
    end: To = None,
    by: Annotated[list[Text], Query(description="`day worker site service`, one or several, with commas or repeated")] = ["day"],  # noqa: B006
    limit: Limit = 500,
    cursor: Cursor = None,
) -> Response:
    """Time coverage and visit coverage of the visits that began in `[from, to)`; of the last seven days unless these are given."""
    end = end or (start + SPAN if start else datetime.now(UTC))
    start = start or end - SPAN
    if not timedelta(0) < end - start <= SPAN_MAX:
        raise invalid([FieldError(field="to", at="query", detail="must be after from, and at most ten years")])
    offset = paging.decode(cursor, int) or 0
    groups = await figures.coverage(database, start, end, TARGET, _dimensions(by), max(0, offset), limit + 1)
    page, last = paging.cut(groups, limit)
    span = Span({"from": rfc3339(start), "to": rfc3339(end)})
    report = CoverageRead(
        target=TARGET,
        span=span,
        total=_sums(await figures.coverage_total(database, start, end, TARGET)),
        items=[_item(row) for row in page],
        next=paging.url(request, offset + limit, **span) if last else None,
    )
    return Json(report)


def _dimensions(by: list[str]) -> list[figures.Dimension]:
    known = get_args(figures.Dimension)
    found = listed("by", by, known, "nothing to group by")
    if not found:
        raise invalid([FieldError(field="by", at="query", detail=f"is empty: name one of {', '.join(known)}")])
    return found  # type: ignore[return-value]  # each is known


def _item(row: figures.CoverageRow) -> CoverageItem:
    day = row.day.isoformat() if row.day else None
    keys = {"day": day, "worker": row.worker, "site": row.site, "service": row.service}
    asked = {name: value for name, value in keys.items() if value is not None}
    return cast(CoverageItem, {**asked, **_sums(row)})


def _sums(row: figures.CoverageRow) -> CoverageFigures:
    # Rounded up, a share could reach a target that it misses.
    time_coverage = min(1.0, row.monitored_s / row.expected_s) if row.expected_s > 0 else None
    return CoverageFigures(
        visits=row.visits,
        covered_visits=row.covered_visits,
        visit_coverage=row.covered_visits / row.visits if row.visits else None,
        monitored_s=round(row.monitored_s, 3),
        expected_s=round(row.expected_s, 3),
        time_coverage=time_coverage,
        gaps={cause: round(getattr(row, cause), 3) for cause in get_args(Cause)},
    )
