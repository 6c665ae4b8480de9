"""The twin: a second database with the same evidence and plans, judged in one calm go. What is derived must be equal to the byte.

Three ways to the same answer: live, while everything was being killed; the twin, which was told of everything at once; and a
`sitewatch replay` of the live one. All three are looked at as of the same moment.
"""

import psycopg
from msgspec import Struct

from sitewatch import replay, verify
from sitewatch.verify_settings import Settings
from store import rebuilding, touched

LATER_S = 2 * 86_400.0
"""Everything is looked at so long after the storm: nothing is pending then."""
PLANNED = ("sites", "workers", "sources", "devices", "visits", "policies")
EVIDENCE = ("fixes", "checks", "device_events", "statuses")
OURS = ("outages",)
SHOWN = 400
"""Characters of a row that differs."""
AT_ONCE = Settings(coalesce_s=0.0)

TELL_EVIDENCE = """
insert into journal (sources, from_at, to_at)
select array_agg(source), array_agg(first), array_agg(last)
from (select source, min(at) as first, max(at) as last
      from (select source, at from fixes union all select source, at from checks
            union all select source, at from device_events union all select source, at from statuses) as one
      group by source) as spans
"""
TELL_PLANS = """
insert into journal (visits, sites, workers, devices)
select array(select id from visits), array(select id from sites), array(select id from workers), array(select id from devices)
"""


class Digests(Struct, frozen=True):
    """Of everything that is derived."""

    live: str
    twin: str
    replayed: str
    verdicts: dict[str, int]
    """How many of each the live one came to: digests of nothing would be equal too."""
    differing: tuple[str, ...] = ()
    """Some rows of the live one that the twin has otherwise or not, and some of the twin's."""

    @property
    def equal(self) -> bool:
        return self.live == self.twin == self.replayed

    def lines(self) -> list[str]:
        judged = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        if self.equal:
            return [f"derived tables equal to the byte, live, in the twin and replayed: {self.live[:16]} ({judged})"]
        return [
            f"WRONG: derived tables differ: live {self.live[:16]}, twin {self.twin[:16]}, replayed {self.replayed[:16]} ({judged})",
            *(f"  {row}" for row in self.differing),
        ]


def compare(live: str, twin: str, now: float) -> Digests:
    """Settles `live`, fills the empty, migrated database `twin` from it, settles that too, replays `live`, and compares."""
    as_of = now + LATER_S
    with psycopg.connect(live) as one, psycopg.connect(twin) as other:
        verify.prepared(one), verify.prepared(other)
        _settle(one, as_of)
        _copy(one, other)
        _settle(other, as_of)
        verdicts: dict[str, int] = dict(one.execute("select verdict, count(*) from outcomes group by 1").fetchall())
        before, twins = replay.digest(one), replay.digest(other)
        differing = _differing(one, other) if before != twins else ()
        replay.rebuild(one, as_of)
        return Digests(before, twins, replay.digest(one), verdicts, differing)


def _differing(one: psycopg.Connection, other: psycopg.Connection) -> tuple[str, ...]:
    here, there = (
        {f"{table}: {row}" for table, rows in rebuilding.contents(connection) for row in rows} for connection in (one, other)
    )
    return tuple(
        [f"live {row[:SHOWN]}" for row in sorted(here - there)[:3]] + [f"twin {row[:SHOWN]}" for row in sorted(there - here)[:3]]
    )


def _settle(connection: psycopg.Connection, as_of: float) -> None:
    # A visit that is still running is judged when something turns it over; here all are as of one moment.
    touched.queue_open(connection, as_of)
    for _ in range(100_000):
        done = verify.cycle(connection, as_of, AT_ONCE)
        if not done.more and not done.entries and not done.judged:
            return
    raise AssertionError("verify finds no end")


def _copy(one: psycopg.Connection, other: psycopg.Connection) -> None:
    with other.transaction():
        for table in (*PLANNED, *EVIDENCE, *OURS):
            other.execute(f"truncate {table} cascade".encode())
        for table in (*PLANNED, *EVIDENCE, *OURS):
            with (
                one.cursor() as source,
                other.cursor() as target,
                source.copy(f"copy {table} to stdout (format binary)".encode()) as reading,
                target.copy(f"copy {table} from stdin (format binary)".encode()) as writing,
            ):
                for content in reading:
                    writing.write(content)
        other.execute(TELL_PLANS)
        other.execute(TELL_EVIDENCE)
