"""Pages: a list with a limit, and a URL for what comes next.

A cursor is the key of the last row that was seen, so that inserts never shift a page.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from fastapi import Request

from api.problem import FieldError, invalid

T = TypeVar("T")


class Key(msgspec.Struct, frozen=True, array_like=True):
    """The key of a list whose order takes more than one column."""


def decode(cursor: str | None, key: type[T]) -> T | None:
    """The key in a cursor, or null without one; raises a problem when it is not one of ours."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=key)
    except (binascii.Error, ValueError):
        detail = "is not a cursor of this list: take it from `next` of the page before, or leave it out"
        raise invalid([FieldError(field="cursor", at="query", detail=detail)]) from None


def url(request: Request, key: object, **said: str) -> str:
    """Where the page behind this key is: the same call with another cursor, and with what it left to us said aloud."""
    cursor = base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")
    return str(request.url.include_query_params(cursor=cursor, **said))


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Of up to `limit + 1` rows: the page, and its last row when there are more behind it."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1]
