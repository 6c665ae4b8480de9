"""Rejects: what came in and could not be taken as evidence, kept with its raw bytes, a reason and a mend.

    open ──a person wants it read again──▶ wanted ──ingest reads it──▶ replayed: evidence, or no evidence
      ▲ └──a person closes it, and why──▶ closed ──named again──▶ wanted
      └────────────── still rejected, and why ──────────────┘

Rules kept here:

- A reject is a value, never an exception. It is stored in the transaction of its batch and then acknowledged like evidence, so
  that bad input neither blocks the queue nor vanishes.
- `payload` is exactly what was sent, of the one array element that was bad, so that it can be decoded again after a mend.
- The same bytes on the same topic are the same reject, as they would be the same evidence: a repeat, a redelivery after a crash
  and a batch that is committed again change only when it last came and how often.
- One that was replayed is kept, with when and what it turned out to be. Who wants it again gets the same answer.
- One that nobody can mend may be closed, so that it stops ringing. It keeps its bytes, its reason, and why it was closed.
- Nothing here is deleted by itself. `forget` takes what became evidence, or none, and what was closed; never one that is open.
- Rows are locked in one order everywhere, that of their key: who waits for another never waits in a circle.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

DETAIL_MAX = 500
"""Characters of an explanation that are kept: a sender decides how long the words in it are."""
WANT_MAX = 10_000
"""Rejects that one wish covers; who has more of them says it again."""
COUNTED_MAX = 1_000
"""Open rejects of a reason that are counted: beyond it, the number says nothing more to anybody."""


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


class Outcome(StrEnum):
    """What a reject was when it was read again."""

    EVIDENCE = "evidence"
    NO_EVIDENCE = "no_evidence"
    """Known by now, and nothing that says where anybody was."""
    DIVIDED = "divided"
    """An array whose elements can be told apart by now; none could be taken, and each is a reject of its own."""
    REJECTED = "rejected"
    """Still: it stays open, with the reason and the detail of this reading."""
    CLOSED = "closed"
    """It was not read: a person said that nothing can be made of it."""


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
    """A reject as it lies in the database. `received_at` is when these bytes came first, `last_at` when they came last."""

    id: int
    received_at: datetime
    last_at: datetime
    times: int
    topic: str
    payload: bytes
    reason: str
    detail: str
    wanted_at: datetime | None
    read_at: datetime | None
    outcome: str | None
    replayed_at: datetime | None
    """Since when it is not open any more, replayed or closed."""
    closed_why: str | None


class Wanted(Struct, frozen=True):
    """A reject that is to be read again, as far as reading it needs."""

    id: int
    received_at: float
    topic: str
    payload: bytes


class Read(Struct, frozen=True, kw_only=True):
    """What a reject was when it was read again. `still` says why, where it is one still."""

    id: int
    outcome: Outcome
    still: Reject | None = None


class Filter(Struct, frozen=True, kw_only=True):
    """Which rejects: everything that is given must hold. `topic` may have MQTT's wildcards + and #; times are of first receipt."""

    ids: Sequence[int] | None = None
    reason: str | None = None
    topic: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    is_open: bool | None = None
    unread_since: datetime | None = None
    """Only those that were not read again since this moment."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a page of a list goes on: behind this reject."""

    received_at: datetime
    id: int


# In -----------------------------------------------------------------------------------------------------------------------------


def write(connection: psycopg.Connection, rejects: Sequence[Reject]) -> None:
    """Stores rejects in the caller's transaction."""
    if rejects:
        columns = {
            "received_at": [reject.received_at for reject in rejects],
            "topics": [storable(reject.topic) for reject in rejects],
            "payloads": [reject.payload for reject in rejects],
            "reasons": [reject.reason.value for reject in rejects],
            "details": [_detail(reject) for reject in rejects],
        }
        connection.execute(WRITE, columns)


def refused(received_at: float, topic: str, payload: bytes, error: Exception) -> Reject:
    """What could be read, and the database would not take all the same."""
    detail = f"the database refused it: {error}"
    return Reject(received_at=received_at, topic=topic, payload=payload, reason=Reason.REFUSED_BY_DATABASE, detail=detail)


def storable(text: str) -> str:
    """The text without what PostgreSQL cannot hold: NUL, and lone surrogates."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")


# Read again ---------------------------------------------------------------------------------------------------------------------


def want(connection: psycopg.Connection, wanted: Filter) -> list[int]:
    """Marks open rejects to be read again, those first that nobody has read again, `WANT_MAX` at most; returns their ids.

    Closed ones are open again for that, if they are named by their ids.
    """
    return [row[0] for row in connection.execute(*_wanting(wanted))]


async def want_soon(connection: AsyncConnection, wanted: Filter) -> int:
    """The same for who does not wait for it; returns how many."""
    return (await connection.execute(*_wanting(wanted))).rowcount


def close(connection: psycopg.Connection, wanted: Filter, why: str) -> list[int]:
    """Closes open rejects, the oldest first and `WANT_MAX` at most; returns their ids."""
    return [row[0] for row in connection.execute(*_closing(wanted, why))]


async def close_soon(connection: AsyncConnection, wanted: Filter, why: str) -> int:
    """The same for HTTP; returns how many."""
    return (await connection.execute(*_closing(wanted, why))).rowcount


def forget(connection: psycopg.Connection, done_before: datetime) -> int:
    """Deletes rejects that are not open, and have not been since before that moment; returns how many."""
    return connection.execute(FORGET, [done_before]).rowcount


def next_wanted(connection: psycopg.Connection, rows_max: int) -> list[Wanted]:
    """The oldest that somebody wants read again. Nobody else gets any of them before the caller's transaction has ended."""
    connection.execute("select pg_advisory_xact_lock(%s)", [READING])
    return [Wanted(*row) for row in connection.execute(NEXT_WANTED, [rows_max])]


def try_reading(connection: psycopg.Connection) -> bool:
    """Makes the caller's transaction the one that reads again, unless another is."""
    row = connection.execute("select pg_try_advisory_xact_lock(%s)", [READING]).fetchone()
    return bool(row and row[0])


def settle(connection: psycopg.Connection, read: Sequence[Read]) -> None:
    """Keeps what became of rejects that were read again, in the transaction that stored what was in them."""
    columns = {
        "ids": [one.id for one in read],
        "outcomes": [one.outcome.value for one in read],
        "reasons": [one.still.reason.value if one.still else None for one in read],
        "details": [_detail(one.still) if one.still else None for one in read],
    }
    connection.execute(SETTLE, columns)


# Out ----------------------------------------------------------------------------------------------------------------------------


def newest(
    connection: psycopg.Connection, wanted: Filter | None = None, before: Place | None = None, limit: int = 100
) -> list[StoredReject]:
    """The newest rejects by their first receipt."""
    with connection.cursor(row_factory=class_row(StoredReject)) as cursor:
        return cursor.execute(*_listing(wanted or Filter(), before, limit)).fetchall()


async def page(connection: AsyncConnection, wanted: Filter, before: Place | None, limit: int) -> list[StoredReject]:
    """The same for HTTP."""
    async with connection.cursor(row_factory=class_row(StoredReject)) as cursor:
        await cursor.execute(*_listing(wanted, before, limit))
        return await cursor.fetchall()


async def count_open(connection: AsyncConnection) -> dict[str, int]:
    """How many are open, by reason, the most frequent first; `COUNTED_MAX` means that there may be more."""
    asked = {"reasons": [reason.value for reason in Reason], "counted_max": COUNTED_MAX}
    return dict(await (await connection.execute(COUNT_OPEN, asked)).fetchall())


def _detail(reject: Reject) -> str:
    return storable(reject.detail)[:DETAIL_MAX]


def _listing(wanted: Filter, before: Place | None, limit: int) -> tuple[bytes, dict[str, Any]]:
    conditions, values = _conditions(wanted)
    if before is not None:
        conditions.append("(received_at, id) < (%(before_at)s, %(before_id)s)")
        values |= {"before_at": before.received_at, "before_id": before.id}
    where = f"where {' and '.join(conditions)}" if conditions else ""
    query = f"select {COLUMNS} from rejects {where} order by received_at desc, id desc limit %(limit)s"
    return query.encode(), values | {"limit": limit}


def _wanting(wanted: Filter) -> tuple[bytes, dict[str, Any]]:
    conditions, values = _conditions(wanted)
    state = OPEN if wanted.ids is None else f"({OPEN} or outcome = 'closed')"
    where = " and ".join([state, *conditions])
    # Who has more than one wish covers comes to the others with the next wish, also when all of these stay rejects.
    query = f"""
    with {_locked(where, "wanted_at is not null, read_at nulls first, id")}
    update rejects
    set wanted_at = coalesce(wanted_at, now()), replayed_at = null, closed_why = null, outcome = nullif(outcome, 'closed')
    from locked where rejects.id = locked.id returning rejects.id
    """
    return query.encode(), values | {"limit": WANT_MAX}


def _closing(wanted: Filter, why: str) -> tuple[bytes, dict[str, Any]]:
    conditions, values = _conditions(wanted)
    query = f"""
    with {_locked(" and ".join([OPEN, *conditions]), "id")}
    update rejects set replayed_at = now(), outcome = 'closed', closed_why = %(why)s, wanted_at = null
    from locked where rejects.id = locked.id returning rejects.id
    """
    return query.encode(), values | {"limit": WANT_MAX, "why": storable(why)}


def _locked(where: str, order: str) -> str:
    """A part of a statement: the ids of the first rows that fulfil it, locked in the order of their key.

    Asked again once a row is locked: somebody else may have settled it while we waited.
    """
    return f"""
    chosen as materialized (select id, {KEY} as key from rejects where {where} order by {order} limit %(limit)s),
    locked as materialized (
        select rejects.id from rejects join chosen using (id) where {where} order by chosen.key for update of rejects
    )
    """


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    values: dict[str, Any] = {
        "ids": None if wanted.ids is None else list(wanted.ids),
        "reason": wanted.reason,
        "topic": None if wanted.topic is None else matching(wanted.topic),
        "start": wanted.start,
        "end": wanted.end,
        "is_open": wanted.is_open,
        "unread_since": wanted.unread_since,
    }
    values = {name: value for name, value in values.items() if value is not None}
    return [CONDITIONS[name] for name in values], values


def matching(topics: str) -> str:
    """MQTT's topic filter as a regular expression of PostgreSQL's."""
    levels = topics.split("/")
    if levels[-1] == "#":
        # `a/#` means `a` too.
        return f"^{'/'.join(map(_level, levels[:-1]))}(/|$)" if levels[:-1] else "^"
    return f"^{'/'.join(map(_level, levels))}$"


def _level(level: str) -> str:
    return "[^/]*" if level == "+" else re.escape(level)


READING = 7_483_204
"""Key of the advisory lock around reading rejects again: evidence must be written before their rows are locked, as batches do."""

COLUMNS = "id, received_at, last_at, times, topic, payload, reason, detail, wanted_at, read_at, outcome, replayed_at, closed_why"
KEY = "sha256(decode(md5(topic), 'hex') || payload)"
OPEN = "replayed_at is null"

CONDITIONS = {
    "ids": "id = any(%(ids)s)",
    "reason": "reason = %(reason)s",
    "topic": "topic ~ %(topic)s",
    "start": "received_at >= %(start)s",
    "end": "received_at < %(end)s",
    "is_open": "(replayed_at is null) = %(is_open)s",
    "unread_since": "(read_at is null or read_at < %(unread_since)s)",
}

# Repeats in one batch are one row before they are inserted, and rows go in in the order of their key: two ingestors with the same
# rejects wait for each other and never in a circle.
WRITE = """
insert into rejects as kept (received_at, last_at, times, topic, payload, reason, detail)
select to_timestamp(min(received_at)), to_timestamp(max(received_at)), count(*), topic, payload, min(reason collate "C"),
       min(detail collate "C")
from unnest(%(received_at)b::float8[], %(topics)b::text[], %(payloads)b::bytea[], %(reasons)b::text[], %(details)b::text[])
    as one (received_at, topic, payload, reason, detail)
group by topic, payload
order by sha256(decode(md5(topic), 'hex') || payload)
on conflict (sha256(decode(md5(topic), 'hex') || payload)) do update
set last_at = greatest(kept.last_at, excluded.last_at), times = kept.times + excluded.times
"""

NEXT_WANTED = """
select id, extract(epoch from received_at)::float8, topic, payload from rejects where wanted_at is not null order by id limit %s
"""

SETTLE = f"""
with locked as materialized (select id from rejects where id = any(%(ids)s::bigint[]) order by {KEY} for update)
update rejects set
    wanted_at = null,
    read_at = now(),
    outcome = read.outcome,
    replayed_at = case when read.outcome = 'rejected' then null else coalesce(replayed_at, now()) end,
    reason = coalesce(read.reason, rejects.reason),
    detail = coalesce(read.detail, rejects.detail)
from unnest(%(ids)s::bigint[], %(outcomes)s::text[], %(reasons)s::text[], %(details)s::text[]) as read (id, outcome, reason, detail)
join locked using (id)
where rejects.id = read.id
"""

FORGET = f"""
with done as materialized (select id from rejects where replayed_at < %s order by {KEY} for update)
delete from rejects using done where rejects.id = done.id
"""

# Counts no further than a person would: this is asked again and again.
COUNT_OPEN = """
select reason, open
from unnest(%(reasons)s::text[]) as asked (reason)
cross join lateral (
    select count(*) as open
    from (select from rejects where rejects.reason = asked.reason and replayed_at is null limit %(counted_max)s) as counted
) as counts
where open > 0
order by open desc, reason
"""
