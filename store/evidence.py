"""Evidence in, by binary COPY, on one of three roads:

    copy    straight into the table; all of it is new, or nothing is stored and `UniqueViolation` is raised
    write   into a staging table, then one ordered INSERT that skips what is already there
    sift    the same, and what the database refuses is found and set aside, the rest is stored

The first costs PostgreSQL less than half of the second (`bench/ingest.py`); repeats are rare, and only the others can take them.

Rules kept here:

- A repeat changes nothing: the key is (source, at, identity), and a row that exists is left as it is, however often, through
  however many ingestors and after whatever crash it comes again.
- Rows are inserted in the order of the key, and the tables in the order of `TABLES`, so that two ingestors which write the same
  rows at the same time wait for each other and never in a circle.
- Only what was new is journaled: verify need not look at repeats.

Times travel as the eight bytes that a binary timestamptz is, microseconds since 2000-01-01 UTC; no datetime is made on the way.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, LiteralString

import psycopg
from msgspec import Struct

from geofence.evidence import Check, DeviceEvent, Evidence, Fix, Status
from store import faults, packing
from store.packing import Packed

POSTGRES_EPOCH_S = 946_684_800
"""2000-01-01 UTC in seconds since 1970: where PostgreSQL's timestamps begin."""
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

STEP = 4
"""A search for bad rows goes on with pieces that are so many times smaller after one that was refused, and larger after another."""

Row = tuple[Any, ...]


class Touched(Struct, frozen=True, kw_only=True):
    """What is new of one source: how many rows, and the closed span of their times."""

    source: str
    from_at: datetime
    to_at: datetime
    rows: int
    others: bool
    """Anything but fixes."""


class Refused(Struct, frozen=True):
    """What the database would not take, and what it said."""

    evidence: Evidence
    error: Exception


class Sifted(Struct, frozen=True):
    """What is new, and what was set aside."""

    touched: list[Touched]
    refused: list[Refused]

    @property
    def errors(self) -> dict[int, Exception]:
        """What the database said, by the `id` of the evidence."""
        return {id(one.evidence): one.error for one in self.refused}


def micros(at: float) -> int:
    """Seconds since 1970 as PostgreSQL's binary timestamptz."""
    return round((at - POSTGRES_EPOCH_S) * 1_000_000)


class _Table(Struct, frozen=True, kw_only=True):
    """One evidence table: its columns with their binary types, and how a value becomes a row of them."""

    create: LiteralString
    clear: LiteralString
    copy: LiteralString
    stage: LiteralString
    insert: LiteralString
    types: tuple[str, ...]
    row: Callable[[Any], Row]


def _table(name: LiteralString, columns: Sequence[tuple[LiteralString, str]], row: Callable[[Any], Row]) -> _Table:
    listed = ", ".join(column for column, _ in columns)
    return _Table(
        # With the constraints, because COPY names the row that breaks one, and INSERT does not.
        create=f"create temporary table if not exists staged_{name} (like {name} including constraints) on commit delete rows",
        clear=f"delete from staged_{name}",
        copy=f"copy {name} ({listed}) from stdin (format binary)",
        stage=f"copy staged_{name} ({listed}) from stdin (format binary)",
        # Names of our own tables and columns only: nothing from outside is ever part of these statements.
        insert=f"""
            with fresh as (
                insert into {name} ({listed})
                select {listed} from staged_{name} order by source collate "C", at, identity
                on conflict do nothing
                returning source, at
            )
            select source, min(at), max(at), count(*) from fresh group by source
        """,
        types=tuple(kind for _, kind in columns),
        row=row,
    )


def _fix_row(fix: Fix) -> Row:
    return (
        fix.source,
        micros(fix.at),
        fix.identity,
        micros(fix.received_at),
        fix.lon,
        fix.lat,
        fix.accuracy_m,
        fix.altitude_m,
        fix.speed_mps,
        fix.heading_deg,
        fix.battery,
        fix.mock,
        fix.crs,
        fix.raw_lon,
        fix.raw_lat,
        fix.mode,
        fix.trigger,
        fix.epoch,
        fix.seq,
    )


def _check_row(check: Check) -> Row:
    return (
        check.source,
        micros(check.at),
        check.identity,
        micros(check.received_at),
        check.kind,
        check.visit,
        check.method,
        check.code,
        check.lon,
        check.lat,
        check.accuracy_m,
        check.epoch,
        check.seq,
    )


def _device_event_row(event: DeviceEvent) -> Row:
    return (
        event.source,
        micros(event.at),
        event.identity,
        micros(event.received_at),
        event.kind,
        event.value,
        event.worker,
        event.credential,
    )


def _status_row(status: Status) -> Row:
    return (
        status.source,
        micros(status.at),
        status.identity,
        micros(status.received_at),
        status.state,
        status.permission,
        status.power_save,
        status.app_version,
        status.battery,
        status.epoch,
        status.seq,
    )


# A timestamptz is declared int8 because that is what its binary form is.
_KEY: tuple[tuple[LiteralString, str], ...] = (("source", "text"), ("at", "int8"), ("identity", "int8"), ("received_at", "int8"))
_COUNTER: tuple[tuple[LiteralString, str], ...] = (("epoch", "int8"), ("seq", "int8"))

TABLES: dict[type[Evidence], _Table] = {
    Fix: _table(
        "fixes",
        (
            *_KEY,
            ("lon", "float8"),
            ("lat", "float8"),
            ("accuracy_m", "float4"),
            ("altitude_m", "float4"),
            ("speed_mps", "float4"),
            ("heading_deg", "float4"),
            ("battery", "float4"),
            ("mock", "bool"),
            ("crs", "text"),
            ("raw_lon", "float8"),
            ("raw_lat", "float8"),
            ("mode", "text"),
            ("trigger", "text"),
            *_COUNTER,
        ),
        _fix_row,
    ),
    Check: _table(
        "checks",
        (
            *_KEY,
            ("kind", "text"),
            ("visit", "text"),
            ("method", "text"),
            ("code", "text"),
            ("lon", "float8"),
            ("lat", "float8"),
            ("accuracy_m", "float4"),
            *_COUNTER,
        ),
        _check_row,
    ),
    DeviceEvent: _table(
        "device_events",
        (*_KEY, ("kind", "text"), ("value", "float8"), ("worker", "text"), ("credential", "text")),
        _device_event_row,
    ),
    Status: _table(
        "statuses",
        (
            *_KEY,
            ("state", "text"),
            ("permission", "text"),
            ("power_save", "bool"),
            ("app_version", "text"),
            ("battery", "float4"),
            *_COUNTER,
        ),
        _status_row,
    ),
}

# One row a transaction; verify reads the journal in commit order and is woken by the notification.
JOURNAL = """
with noted as (insert into journal (sources, from_at, to_at, others) values (%s, %s, %s, %s))
select pg_notify('sitewatch_journal', '')
"""

_key = itemgetter(0, 1, 2)
_order = attrgetter("source", "at", "identity")
_named_line = re.compile(r"^COPY staged_\w+, line (\d+)", re.MULTILINE)
_source = itemgetter(0)


def prepare(connection: psycopg.Connection) -> None:
    """Makes this session's staging tables. Once per connection, before `write`."""
    for table in TABLES.values():
        connection.execute(table.create)


def copy(connection: psycopg.Connection, evidence: Iterable[Evidence], packed: Packed | None = None) -> list[Touched]:
    """Stores what is all new in the caller's transaction, journals it, and returns it by source.

    Raises `UniqueViolation` when any of it is there already; what is twice in `evidence` itself is taken once.
    """
    # What is packed goes first, as if it were a table of its own: two ingestors wait for each other in a circle only where both get
    # the same rows in both forms at the same time. PostgreSQL ends that, and the batch is tried again.
    parts = [_copy_packed(connection, packed)] if packed else []
    return _journaled(connection, parts + [_copy(connection, table, rows) for table, rows in _by_table(evidence)])


def write(connection: psycopg.Connection, evidence: Iterable[Evidence]) -> list[Touched]:
    """Stores what is not there yet in the caller's transaction, journals it, and returns it by source."""
    return _journaled(connection, [_insert(connection, table, rows) for table, rows in _by_table(evidence)])


def sift(connection: psycopg.Connection, evidence: Iterable[Evidence]) -> Sifted:
    """The same as `write`, without what the database refuses: that is found by savepoints, and returned.

    Raises only what is no fault of the rows (`store.faults`).
    """
    waiting: dict[type, list[Evidence]] = {kind: [] for kind in TABLES}
    for one in evidence:
        waiting[type(one)].append(one)
    parts: list[list[Touched]] = []
    refused: list[Refused] = []
    for kind, table in TABLES.items():
        # In the order of the key, in parts too: whoever holds a row of a later part never waits for one of an earlier.
        parts += _sift(connection, table, sorted(waiting[kind], key=_order), refused)
    return Sifted(_journaled(connection, parts), refused)


def _by_table(evidence: Iterable[Evidence]) -> list[tuple[_Table, list[Row]]]:
    rows: dict[type, list[Row]] = {kind: [] for kind in TABLES}
    for kind, alike in groupby(evidence, type):
        rows[kind] += map(TABLES[kind].row, alike)
    return [(table, rows[kind]) for kind, table in TABLES.items() if rows[kind]]


def _copy(connection: psycopg.Connection, table: _Table, rows: list[Row]) -> list[Touched]:
    rows.sort(key=_key)
    fresh = [next(same) for _, same in groupby(rows, _key)]
    with connection.cursor() as cursor:
        _send(cursor, table.copy, table, fresh)
    touched: list[Touched] = []
    for source, group in groupby(fresh, _source):
        ats = [row[1] for row in group]
        span = _moment(ats[0]), _moment(ats[-1])
        touched.append(Touched(source=source, from_at=span[0], to_at=span[1], rows=len(ats), others=_others(table)))
    return touched


def _copy_packed(connection: psycopg.Connection, packed: Packed) -> list[Touched]:
    with connection.cursor() as cursor, cursor.copy(TABLES[Fix].copy) as stream:
        stream.write(packing.HEADER + packed.content + packing.TRAILER)
    return [
        Touched(source=one.source, from_at=_moment(one.from_us), to_at=_moment(one.to_us), rows=one.rows, others=False)
        for one in packed.spans
    ]


def _insert(connection: psycopg.Connection, table: _Table, rows: list[Row]) -> list[Touched]:
    with connection.cursor() as cursor:
        _send(cursor, table.stage, table, rows)
        cursor.execute(table.insert)
        return [Touched(source=row[0], from_at=row[1], to_at=row[2], rows=row[3], others=_others(table)) for row in cursor]


def _sift(
    connection: psycopg.Connection, table: _Table, evidence: Sequence[Evidence], refused: list[Refused]
) -> Iterator[list[Touched]]:
    """Inserts piece after piece, of which the first is everything; adds to `refused` what cannot be."""
    at, size = 0, len(evidence)
    while at < len(evidence):
        piece = evidence[at : at + size]
        try:
            with connection.transaction():
                connection.execute(table.clear)
                touched = _insert(connection, table, [table.row(one) for one in piece])
        except (psycopg.Error, OverflowError, UnicodeError) as error:
            if not faults.blames_data(error):
                raise
            bad = 0 if len(piece) == 1 else _named(error, len(piece))
            if bad == 0:
                refused.append(Refused(piece[0], error))
                at += 1
            # What is before the row that was named, or else less: where most are bad, little is tried again for each.
            size = bad or max(1, len(piece) // STEP)
        else:
            yield touched
            at += len(piece)
            size *= STEP


def _named(error: Exception, rows: int) -> int | None:
    """Which of so many rows of a COPY PostgreSQL calls bad, counted from 0, if it names one."""
    found = _named_line.search(error.diag.context or "") if isinstance(error, psycopg.Error) else None
    return int(found[1]) - 1 if found and int(found[1]) <= rows else None


def _send(cursor: psycopg.Cursor[Any], statement: LiteralString, table: _Table, rows: Sequence[Row]) -> None:
    with cursor.copy(statement) as stream:
        stream.set_types(table.types)
        for row in rows:
            stream.write_row(row)


def _journaled(connection: psycopg.Connection, parts: list[list[Touched]]) -> list[Touched]:
    merged = _merge(source for part in parts for source in part)
    if merged:
        columns = zip(*((one.source, one.from_at, one.to_at, one.others) for one in merged), strict=True)
        connection.execute(JOURNAL, [list(column) for column in columns])
    return merged


def _others(table: _Table) -> bool:
    return table is not TABLES[Fix]


def _moment(micros: int) -> datetime:
    return _BEGINNING + timedelta(microseconds=micros)


def _merge(parts: Iterable[Touched]) -> list[Touched]:
    """One entry a source, in the order of their names: a phone that sent a fix and a check is one journal entry."""
    merged: dict[str, Touched] = {}
    for part in parts:
        known = merged.get(part.source)
        merged[part.source] = part if known is None else _union(known, part)
    return [merged[source] for source in sorted(merged)]


def _union(one: Touched, other: Touched) -> Touched:
    return Touched(
        source=one.source,
        from_at=min(one.from_at, other.from_at),
        to_at=max(one.to_at, other.to_at),
        rows=one.rows + other.rows,
        others=one.others or other.others,
    )
