"""The journal: what each committed transaction touched, read once each by whoever follows it.

Commit order is not id order: a transaction may take its number first and commit last, and a reader that remembers the highest
number it saw would step over it. So the cursor is a *snapshot*, PostgreSQL's own note of which transactions had ended when it was
taken. What the cursor does not show and the present snapshot does is new:

    transactions   101 ended   102 open    103 ended          102 ends
    cursor 1       101..103, but not 102   ──────────────▶    new: 102

Rules kept here:

- A reader sees every entry exactly once, if it writes `advance` in the same transaction as whatever it makes of the entries.
- A transaction that stays open holds up nobody.
- A bite is bounded: a backlog is read in the order of transaction numbers, and a transaction's rows are never cut apart.
- The transaction that reads is REPEATABLE READ, so that entries, evidence and plans are those of one moment, and two readers under
  one name cannot both commit.
"""

from collections.abc import Sequence
from itertools import chain

from msgspec import Struct
from psycopg import Connection
from psycopg.rows import args_row

ROWS_MAX = 2000
"""Entries a bite. At some ten transactions a second this is three minutes of backlog, and some megabytes."""
BEGINNING = "1:1:"
"""The snapshot that shows nothing."""
EVERYBODY = "*"
"""The source of an entry that bears on all workers: our own outage."""


class Touch(Struct, frozen=True):
    """Evidence of `source` was written for times in `[from_at, to_at]`, both ends included, in seconds since 1970."""

    source: str
    from_at: float
    to_at: float
    others: bool = True
    """There may be more than fixes among it."""


class Bite(Struct, frozen=True, kw_only=True):
    """What was committed since the cursor. `cursor` is where the reader stands once it has dealt with it."""

    entries: int
    evidence: tuple[Touch, ...]
    visits: frozenset[str]
    sites: frozenset[str]
    workers: frozenset[str]
    devices: frozenset[str]
    services: frozenset[str]
    alerts: frozenset[str]
    """Those that a person acknowledged."""
    oldest_at: float | None
    """When the oldest of the entries was made: the lag of whoever follows."""
    full: bool
    """More is waiting."""
    cursor: str

    @property
    def plans(self) -> bool:
        return bool(self.visits or self.sites or self.workers or self.devices or self.services)


def follow(connection: Connection, name: str, rows_max: int = ROWS_MAX) -> Bite:
    """The next bite for the reader `name`. Must be inside a REPEATABLE READ transaction."""
    [(before, present)] = connection.execute(CURSOR, {"name": name, "beginning": BEGINNING}).fetchall()
    with connection.cursor(row_factory=args_row(_Entry)) as cursor:
        entries = cursor.execute(ENTRIES, {"before": before, "rows_max": rows_max}).fetchall()
    full = len(entries) >= rows_max
    return Bite(
        entries=len(entries),
        evidence=_merged([touch for entry in entries for touch in entry.touches]),
        visits=frozenset(chain.from_iterable(entry.visits for entry in entries)),
        sites=frozenset(chain.from_iterable(entry.sites for entry in entries)),
        workers=frozenset(chain.from_iterable(entry.workers for entry in entries)),
        devices=frozenset(chain.from_iterable(entry.devices for entry in entries)),
        services=frozenset(chain.from_iterable(entry.services for entry in entries)),
        alerts=frozenset(chain.from_iterable(entry.alerts for entry in entries)),
        oldest_at=min((entry.made_at for entry in entries), default=None),
        full=full,
        cursor=_partly(before, present, entries[-1].xid) if full else present,
    )


def advance(connection: Connection, name: str, cursor: str) -> None:
    """Moves the reader's cursor: in the transaction that writes what it made of the bite."""
    connection.execute(ADVANCE, {"name": name, "cursor": cursor})


def trim(connection: Connection, name: str, older_than_s: float) -> int:
    """Drops entries that the reader has dealt with and that are older; returns how many."""
    return connection.execute(TRIM, {"name": name, "older_than_s": older_than_s}).rowcount


class _Entry(Struct, frozen=True):
    xid: int
    made_at: float
    sources: Sequence[str]
    from_at: Sequence[float]
    to_at: Sequence[float]
    visits: Sequence[str]
    sites: Sequence[str]
    workers: Sequence[str]
    devices: Sequence[str]
    services: Sequence[str]
    alerts: Sequence[str]
    others: Sequence[bool]

    @property
    def touches(self) -> list[Touch]:
        others = self.others or [True] * len(self.sources)
        return [Touch(*touch) for touch in zip(self.sources, self.from_at, self.to_at, others, strict=True)]


def _partly(before: str, present: str, last: int) -> str:
    """The snapshot that shows what `before` showed, and of what `present` shows only the transactions up to `last`."""
    seen_before, open_before = _bounds(before)
    _, open_now = _bounds(present)
    still_open = sorted({xid for xid in open_now if xid <= last} | {xid for xid in open_before if xid > last})
    end = max(seen_before, last + 1)
    return f"{still_open[0] if still_open else end}:{end}:{','.join(map(str, still_open))}"


def _bounds(snapshot: str) -> tuple[int, list[int]]:
    """The first transaction that had not begun, and those before it that were open."""
    _, end, still_open = snapshot.split(":")
    return int(end), [int(xid) for xid in still_open.split(",") if xid]


MERGE_S = 3600.0
"""Two spans of one source that are nearer than this become one: a span that is a little too long costs one needless look."""


def _merged(touches: list[Touch]) -> tuple[Touch, ...]:
    merged: list[Touch] = []
    for touch in sorted(touches, key=lambda touch: (touch.source, touch.from_at, touch.to_at)):
        last = merged[-1] if merged else None
        if last and last.source == touch.source and touch.from_at <= last.to_at + MERGE_S:
            merged[-1] = Touch(last.source, last.from_at, max(last.to_at, touch.to_at), last.others or touch.others)
        else:
            merged.append(touch)
    return tuple(merged)


# Where the reader stands, and the present snapshot, which is the one that this transaction sees.
CURSOR = """
select coalesce((select snapshot from cursors where name = %(name)s), %(beginning)s::pg_snapshot)::text, pg_current_snapshot()::text
"""

# What the cursor did not show. `with ties` keeps the rows of one transaction together.
ENTRIES = """
select xid::text::bigint, extract(epoch from made_at)::float8, sources,
       array(select extract(epoch from at)::float8 from unnest(from_at) with ordinality as t (at, n) order by n),
       array(select extract(epoch from at)::float8 from unnest(to_at) with ordinality as t (at, n) order by n),
       visits, sites, workers, devices, services, alerts, others
from journal
where xid >= pg_snapshot_xmin(%(before)s::pg_snapshot) and not pg_visible_in_snapshot(xid, %(before)s::pg_snapshot)
order by xid
fetch first %(rows_max)s rows with ties
"""

ADVANCE = """
insert into cursors (name, snapshot) values (%(name)s, %(cursor)s::pg_snapshot)
on conflict (name) do update set snapshot = excluded.snapshot
"""

TRIM = """
delete from journal
where xid < (select pg_snapshot_xmin(snapshot) from cursors where name = %(name)s)
  and made_at < now() - make_interval(secs => %(older_than_s)s)
"""
