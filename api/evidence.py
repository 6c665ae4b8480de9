"""The evidence around a visit over HTTP: checks, device events and statuses; fixes are in the worker's track."""

from datetime import UTC, datetime
from typing import Any, NotRequired

from fastapi import APIRouter, Response
from msgspec.structs import asdict
from psycopg import AsyncConnection
from typing_extensions import TypedDict

from api.database import Database
from api.fields import PathId, Said
from api.problem import unknown
from api.reply import Json, rfc3339, rfc3339_epoch
from geofence import window
from geofence.plan import Visit
from geofence.policy import Policy
from store import observations, policies, views

router = APIRouter(prefix="/v1", tags=["visits"])

ROWS_MAX = 5_000
"""Of each kind: a motion sensor that flutters must not make a page that nobody can load."""


class CheckRead(TypedDict):
    """A check-in or check-out."""

    source: str
    at: Said
    received_at: Said
    kind: str
    method: str
    visit: NotRequired[str]
    lon: NotRequired[float]
    lat: NotRequired[float]
    accuracy_m: NotRequired[float]


class DeviceEventRead(TypedDict):
    """Something that a device at the site noticed."""

    device: str
    at: Said
    received_at: Said
    kind: str
    value: NotRequired[float]
    worker: NotRequired[str]
    credential: NotRequired[str]


class StatusRead(TypedDict):
    """What a phone or device said of itself."""

    source: str
    at: Said
    received_at: Said
    state: str
    permission: NotRequired[str]
    power_save: NotRequired[bool]
    battery: NotRequired[float]


Window = TypedDict("Window", {"from": str, "to": str})


class EvidenceList(TypedDict):
    """All that bears on a visit beside fixes, each in the order of `at`; what was not sent is left out."""

    window: Window
    checks: list[CheckRead]
    device_events: list[DeviceEventRead]
    statuses: list[StatusRead]


@router.get("/visits/{id}/evidence", response_model=EvidenceList, response_class=Json)
async def get_evidence(visit: PathId, database: Database) -> Response:
    """Checks, device events and statuses in the visit's window, which its service's policy sets. Fixes: the worker's track with the
    window's `from` and `to`, and with `visit`, so that they are flagged as its verdict saw them.
    """
    rows = await views.visits_by_id(database, [visit])
    if not rows:
        raise unknown("visit", visit)
    row = rows[0]
    opens, closes = window(planned(row), await judged_by(database, row))
    span = (_moment(opens), _moment(closes))
    checks = await observations.checks(database, row.worker, *span, ROWS_MAX)
    device_events = await observations.device_events(database, row.site, *span, ROWS_MAX)
    statuses = await observations.statuses(database, row.worker, row.site, *span, ROWS_MAX)
    found = EvidenceList(
        window={"from": rfc3339_epoch(opens), "to": rfc3339_epoch(closes)},
        checks=[_read(check) for check in checks],
        device_events=[_read(event) for event in device_events],
        statuses=[_read(status) for status in statuses],
    )
    return Json(found)


def _read(row: observations.CheckRow | observations.DeviceEventRow | observations.StatusRow) -> Any:
    sent = {name: value for name, value in asdict(row).items() if value is not None}
    return {**sent, "at": rfc3339(row.at), "received_at": rfc3339(row.received_at)}


async def judged_by(database: AsyncConnection, row: views.VisitRow) -> Policy:
    """The policy that a visit is judged by."""
    known = await policies.fetch(database)
    return known.of(row.service, max(row.ends_at, row.updated_at).timestamp())


def planned(row: views.VisitRow) -> Visit:
    """A stored visit as the engine takes it."""
    return Visit(
        id=row.id,
        worker=row.worker,
        site=row.site,
        service=row.service,
        starts_at=row.starts_at.timestamp(),
        ends_at=row.ends_at.timestamp(),
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
