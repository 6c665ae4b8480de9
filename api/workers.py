"""Workers over HTTP, with the addresses that report for them in other dialects.

The key of her OwnTracks phones can be given and taken away, but not asked for: whoever reads plans must not be able to read what
phones send.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from api import paging
from api.body import StrictRoute
from api.database import Database
from api.fields import Cursor, Id, Limit, PathId, Said, Text, address, extras, same_id
from api.problem import unknown
from api.reply import Json, rfc3339
from store import plans, views

router = APIRouter(prefix="/v1", tags=["workers"], route_class=StrictRoute)

Dialect = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,31}$")]
ADDRESSES_MAX = 100
"""Of a worker in one dialect."""
Addresses = Annotated[list[Text], Field(max_length=ADDRESSES_MAX)]
ANSWERED = ("updated_at", "has_owntracks_key")
KEY_BYTES_MAX = 32
"""Of libsodium's secretbox, which OwnTracks pads a shorter passphrase to."""
DIALECTS = ("owntracks", "zigbee2mqtt", "tasmota", "shelly", "homeassistant", "homie", "native")
EXAMPLE: JsonDict = {"name": "Wang Fang", "aliases": {"owntracks": "wang.fang/phone"}}


class WorkerBody(BaseModel):
    """A worker. What else is sent is kept and given back."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE]})

    id: Id | None = Field(None, description="must be the id in the path, where there is one")
    name: Text | None = Field(None, description="the id when left out")
    aliases: dict[Dialect, Text | Addresses] = Field(
        {},
        max_length=ADDRESSES_MAX,
        description="dialect to address, or to several: evidence from these addresses is the worker's, past and future",
    )

    owntracks_key: Annotated[str, Field(min_length=1, max_length=KEY_BYTES_MAX)] | None = Field(
        None,
        description="the passphrase with which her OwnTracks phones encrypt, at most 32 bytes in UTF-8; null takes it away, and "
        "left out she keeps the one she has. Never answered: has_owntracks_key says whether there is one",
        json_schema_extra={"writeOnly": True},
    )

    @model_validator(mode="after")
    def _no_slips(self) -> "WorkerBody":
        for dialect in DIALECTS:
            if dialect in (self.model_extra or {}):
                raise ValueError(f"'{dialect}' is an address: write it as aliases: {{'{dialect}': …}}")
        extras(self.model_extra, WorkerBody.model_fields, ANSWERED)
        return self

    @field_validator("aliases")
    @classmethod
    def _addresses(cls, aliases: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for said in _listed(aliases.get("owntracks", [])):
            user, slash, device = said.partition("/")
            if not user or not slash or not device or "/" in device:
                raise ValueError(f"owntracks '{said}' must be user/device, the two levels of its topic behind owntracks/")
        for dialect, found in aliases.items():
            for said in _listed(found):
                address(dialect, said)
        return aliases

    @model_validator(mode="after")
    def _key_opens_something(self) -> "WorkerBody":
        if self.owntracks_key is not None and not self.aliases.get("owntracks"):
            raise ValueError("owntracks_key has no phone to open: add her phone as aliases: {'owntracks': 'user/device'}")
        return self

    @field_validator("owntracks_key")
    @classmethod
    def _key_fits(cls, key: str | None) -> str | None:
        if key is not None and len(key.encode()) > KEY_BYTES_MAX:
            raise ValueError(f"is longer than {KEY_BYTES_MAX} bytes in UTF-8, which OwnTracks cannot use")
        return key


class WorkerRead(TypedDict):
    """A stored worker."""

    id: str
    name: str
    aliases: dict[str, str | list[str]]
    has_owntracks_key: bool
    updated_at: Said


class WorkerList(TypedDict):
    """A page of workers."""

    items: list[WorkerRead]
    next: str | None


def plan(worker: str, body: WorkerBody) -> plans.WorkerPlan:
    """What the store keeps of a body."""
    return plans.WorkerPlan(
        id=worker,
        name=body.name or worker,
        aliases={dialect: tuple(dict.fromkeys(_listed(found))) for dialect, found in body.aliases.items() if found},
        properties=extras(body.model_extra, (), ANSWERED),
    )


def keys(bodies: Mapping[str, WorkerBody]) -> dict[str, str | None]:
    """By worker the OwnTracks keys that were said, also those that were said to be none."""
    return {worker: body.owntracks_key for worker, body in bodies.items() if "owntracks_key" in body.model_fields_set}


def read(row: views.WorkerRow) -> WorkerRead:
    """A stored worker as JSON: one address as a text, several as a list."""
    aliases: dict[str, str | list[str]] = {
        dialect: found[0] if len(found) == 1 else list(found) for dialect, found in row.aliases.items()
    }
    known = WorkerRead(
        id=row.id,
        name=row.name,
        aliases=aliases,
        has_owntracks_key=row.has_owntracks_key,
        updated_at=rfc3339(row.updated_at),
    )
    return _with_extras(row.properties, known)


def _with_extras(properties: dict[str, Any], known: WorkerRead) -> WorkerRead:
    merged: Any = {**properties, **known}
    return merged  # type: ignore[no-any-return]


def _listed(addresses: str | list[str]) -> list[str]:
    return [addresses] if isinstance(addresses, str) else addresses


@router.put("/workers/{id}", response_model=WorkerRead, response_class=Json, responses={201: {"model": WorkerRead}})
async def put_worker(worker: PathId, body: WorkerBody, database: Database) -> Response:
    """Creates or replaces a worker. An alias brings the evidence that its address already sent."""
    same_id(worker, body.id)
    async with database.transaction():
        written = await plans.put(database, plans.Plans(workers=[plan(worker, body)], owntracks_keys=keys({worker: body})))
        row = await views.worker(database, worker)
    assert row is not None, "it was written in this transaction"
    return Json(read(row), 201 if written.workers.created else 200)


@router.get("/workers/{id}", response_model=WorkerRead, response_class=Json)
async def get_worker(worker: PathId, database: Database) -> Response:
    """One worker."""
    row = await views.worker(database, worker)
    if row is None:
        raise unknown("worker", worker)
    return Json(read(row))


@router.get("/workers", response_model=WorkerList, response_class=Json)
async def list_workers(request: Request, database: Database, limit: Limit = 500, cursor: Cursor = None) -> Response:
    """All workers in the order of their ids."""
    after = paging.decode(cursor, str) or ""
    page, last = paging.cut(await views.workers(database, after, limit + 1), limit)
    return Json(WorkerList(items=[read(row) for row in page], next=paging.url(request, last.id) if last else None))


@router.delete("/workers/{id}", status_code=204)
async def delete_worker(worker: PathId, database: Database) -> Response:
    """Deletes a worker whom no visit names. What her phones sent stays."""
    async with database.transaction():
        if not await plans.delete_worker(database, worker):
            raise unknown("worker", worker)
    return Response(status_code=204)
