"""Rejects: what came in and could not be taken as evidence, kept with its raw bytes, a reason and a mend.

Rules kept here:

- A reject is a value, never an exception. It is stored in the transaction of its batch and then acknowledged like evidence, so
  that bad input neither blocks the queue nor vanishes.
- `payload` is exactly what was sent, of the one array element that was bad, so that it can be decoded again after a mend.
"""

from enum import StrEnum

import psycopg
from msgspec import Struct

from store.evidence import micros

DETAIL_MAX = 500
"""Characters of an explanation that are kept: a sender decides how long the words in it are."""


class Reason(StrEnum):
    """Why something was not taken. The detail beside it names the field and the mend."""

    UNKNOWN_TOPIC = "unknown_topic"
    BAD_SOURCE = "bad_source"
    MALFORMED = "malformed"
    NOT_UTF8 = "not_utf8"
    TOO_DEEP = "too_deep"
    TOO_MANY = "too_many"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_VALUE = "unknown_value"
    UNKNOWN_TYPE = "unknown_type"
    BAD_TEXT = "bad_text"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    NO_KEY = "no_key"
    UNDECIPHERABLE = "undecipherable"
    REFUSED_BY_DATABASE = "refused_by_database"


class Reject(Struct, frozen=True, kw_only=True):
    """One report that was not taken. `source`, `epoch` and `seq` are known where they could be read: a receipt covers it."""

    received_at: float
    topic: str
    payload: bytes
    reason: Reason
    detail: str
    source: str | None = None
    epoch: int | None = None
    seq: int | None = None


class StoredReject(Struct, frozen=True, kw_only=True):
    """A reject as it lies in the database."""

    id: int
    received_at: float
    topic: str
    payload: bytes
    reason: str
    detail: str


COPY_REJECTS = "copy rejects (received_at, topic, payload, reason, detail) from stdin (format binary)"

# The newest first; the next page begins below the id of this one's last.
LIST_REJECTS = """
select id, extract(epoch from received_at)::float8, topic, payload, reason, detail
from rejects
where (%(reason)s::text is null or reason = %(reason)s) and (%(before)s::bigint is null or id < %(before)s)
order by id desc
limit %(limit)s
"""


def write(connection: psycopg.Connection, rejects: list[Reject]) -> None:
    """Stores rejects in the caller's transaction."""
    if not rejects:
        return
    with connection.cursor() as cursor, cursor.copy(COPY_REJECTS) as copy:
        copy.set_types(["int8", "text", "bytea", "text", "text"])
        for reject in rejects:
            detail = storable(reject.detail)[:DETAIL_MAX]
            copy.write_row((micros(reject.received_at), storable(reject.topic), reject.payload, reject.reason.value, detail))


def newest(
    connection: psycopg.Connection, *, reason: Reason | None = None, before: int | None = None, limit: int = 100
) -> list[StoredReject]:
    """The newest rejects, of one reason or of all, below the id `before`."""
    rows = connection.execute(LIST_REJECTS, {"reason": reason, "before": before, "limit": limit})
    return [StoredReject(id=row[0], received_at=row[1], topic=row[2], payload=row[3], reason=row[4], detail=row[5]) for row in rows]


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and lone surrogates."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
