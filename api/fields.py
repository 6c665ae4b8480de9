"""Fields that many calls share: ids, texts and instants, each with what it accepts and how it says no.

An instant is RFC 3339 with a zone, always: a time without one means a different moment to everybody who reads it.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.problem import FieldError, invalid

ID_PATTERN = r"^(?!\*$)[^/+#\x00-\x1f\x7f-\x9f]+$"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
PLAN_EARLIEST, PLAN_LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _id(value: str) -> str:
    # The characters that MQTT topics and paths need for themselves; and `*` is everybody in the journal.
    if not value or len(value) > 128 or re.search(ID_PATTERN, value) is None:
        raise PydanticCustomError("id", "an id has 1 to 128 characters, none of them / + # or a control character, and is not *")
    return value


def _reporter(value: str) -> str:
    return "/".join(_id(level) for level in value.split("/"))


def instant(value: object) -> datetime:
    """Reads RFC 3339; raises ValueError that says the mend."""
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time in quotes, such as 2026-11-22T01:02:03Z")
    if RFC3339.fullmatch(value) is None:
        raise ValueError(f"'{value[:40]}' {_why_no_instant(value)}, write it like 2026-11-22T01:02:03Z")
    try:
        found = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"'{value[:40]}' is no moment of the calendar") from None
    if not EARLIEST <= found < LATEST:
        raise ValueError(f"'{value[:40]}' is outside the years 1970 to 2199")
    return found


def _why_no_instant(value: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return "is a day and not a moment: add the time and the zone"
    if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)? \d\d:?\d\d", value):
        return "has lost the + of its zone on the way: write %2B in an address, or use Z"
    if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?", value):
        return "has no time zone: end it with Z or +08:00"
    return "is no RFC 3339 time"


def _planned(value: datetime) -> datetime:
    if not PLAN_EARLIEST <= value < PLAN_LATEST:
        raise ValueError("is outside the years 2000 to 2099")
    return value


def _plain(value: str) -> str:
    if any(ord(character) < 32 for character in value):
        raise ValueError("holds a control character: leave it out")
    return value


_INSTANT_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-22T01:02:03.450Z"]})
_ID_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 128, "pattern": ID_PATTERN})

Id = Annotated[str, AfterValidator(_id), _ID_SCHEMA]
Reporter = Annotated[str, AfterValidator(_reporter), WithJsonSchema({"type": "string", "minLength": 1, "examples": ["w-17"]})]
"""A worker's id, or the address of a phone that nobody planned, such as `owntracks:anna/phone`."""
Instant = Annotated[datetime, PlainValidator(instant), _INSTANT_SCHEMA]
PlannedInstant = Annotated[datetime, PlainValidator(instant), AfterValidator(_planned), _INSTANT_SCHEMA]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_plain)]
Said = Annotated[str, _INSTANT_SCHEMA]
"""An instant in an answer."""

PathId = Annotated[
    Id, Path(alias="id", description="1 to 128 characters, none of them `/ + #` or a control character, and not `*`")
]
From = Annotated[Instant | None, Query(alias="from", description="not before this moment")]
To = Annotated[Instant | None, Query(alias="to", description="before this moment")]
Limit = Annotated[int, Query(ge=1, le=500, description="how many at most on one page")]
Cursor = Annotated[str | None, Query(max_length=2000, description="from `next` of the page before; opaque")]


def address(dialect: str, value: str) -> str:
    """An address by which a phone or a device reports: a topic of its own and no pattern of topics. Raises ValueError."""
    if any(character in "+#" for character in value):
        raise ValueError(f"{dialect} '{value}' holds + or #, by which MQTT means several topics: name one address")
    if value == "*":
        raise ValueError(f"{dialect} '*' is no address: name one")
    return value


def same_id(path: str, body: str | None) -> None:
    """Raises a problem when a body names another id than its path."""
    if body is not None and body != path:
        detail = f"is '{body}' and the path says '{path}': make them equal, or leave it out of the body"
        raise invalid([FieldError(field="id", at="body", detail=detail)])


def extras(given: Mapping[str, Any] | None, known: Iterable[str], answered: Iterable[str] = ()) -> dict[str, Any]:
    """What a caller sent beside the known fields, which is kept as it is.

    A name that is nearly a known one is a slip and not an extra: raises ValueError that names the known one. Names in `answered`
    are what an answer of ours adds; they are dropped, so that an answer can be changed and sent back.
    """
    known, dropped = set(known), set(answered)
    kept = {name: value for name, value in (given or {}).items() if name not in dropped}
    for name in kept:
        near = [] if name.endswith("_id") else get_close_matches(name.lower(), known, n=1, cutoff=0.8)
        if near:
            raise ValueError(f"unknown field '{name[:40]}': did you mean '{near[0]}'?")
    return kept
