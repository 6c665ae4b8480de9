"""The judge: what the phones' ledgers say must be in the database, against what is.

What is asked, of every report that counts: was it receipted, then it is there; was it said, then it is there once everything has
healed; it is there once, with the values that were sent; what could not be taken is among the rejects with its bytes. And nothing
is there that nobody said. Of what does not count: never twice; and missing only where the broker took its answer into the grave,
which is what `Blackout` is for.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg
from msgspec import Struct, field

from tests.torture.phones import Crowd, Fleet, Phone

SHOWN = 5
"""Examples of each complaint that are shown."""

Key = tuple[Any, ...]

EVIDENCE = """
select 'fix', epoch, seq, round(extract(epoch from at) * 1000)::bigint, lon, lat from fixes where source = %(source)s
union all
select 'check', epoch, seq, round(extract(epoch from at) * 1000)::bigint, lon, lat from checks where source = %(source)s
union all
select 'status', epoch, seq, round(extract(epoch from at) * 1000)::bigint, null, null from statuses where source = %(source)s
"""
REJECTS = "select topic, payload, count(*) from rejects group by topic, payload"
UNCOUNTED = """
select 'device_events', source, round(extract(epoch from at) * 1000)::bigint, count(*) from device_events group by 1, 2, 3
union all
select 'fixes', source, round(extract(epoch from at) * 1000)::bigint, count(*) from fixes where seq is null group by 1, 2, 3
"""
ROWS = """
select (select count(*) from fixes) + (select count(*) from checks) + (select count(*) from statuses)
     + (select count(*) from device_events)
"""


class Blackout(Struct, frozen=True):
    """A time in which the broker may have said that it has a message, and then had it no more."""

    start_at: float
    end_at: float

    def excuses(self, said_at: float, taken_at: float) -> bool:
        """Whether the broker may have taken it then: somewhere between when it was said and when its answer was read."""
        return said_at <= self.end_at and taken_at >= self.start_at


class Findings(Struct):
    """The ledger against the database."""

    reports: int = 0
    receipted: int = 0
    stored: int = 0
    rejected: int = 0
    loose: int = 0
    loose_lost_by_broker: int = 0
    complaints: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def complain(self, what: str, example: object) -> None:
        self.complaints[what] += 1
        shown = self.examples.setdefault(what, [])
        if len(shown) < SHOWN:
            shown.append(str(example))

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"counted reports said {self.reports:,}, receipted {self.receipted:,}:"
            f" {self.stored:,} stored, {self.rejected:,} rejected",
            f"uncounted words taken by the broker {self.loose:,}, of which a killed broker lost {self.loose_lost_by_broker:,}",
        ]
        return said + [
            f"WRONG: {count} × {what}: {'; '.join(self.examples.get(what, []))}" for what, count in self.complaints.most_common()
        ]


def judge(connection: psycopg.Connection, fleet: Fleet, blackouts: Iterable[Blackout]) -> Findings:
    """Looks at every single report."""
    findings = Findings()
    rejects = {(topic, bytes(payload)): count for topic, payload, count in connection.execute(REJECTS)}
    for phone in fleet.phones:
        _judge_phone(connection, phone, rejects, findings)
    _judge_crowd(connection, fleet.crowd, list(blackouts), rejects, findings)
    for topic, payload in rejects:
        findings.complain("a reject of what nobody sent", (topic, payload[:80]))
    return findings


def _judge_phone(connection: psycopg.Connection, phone: Phone, rejects: dict[tuple[str, bytes], int], findings: Findings) -> None:
    name = phone.name
    stored: dict[tuple[int, int], list[Key]] = {}
    for what, epoch, seq, *values in connection.execute(EVIDENCE, {"source": name}):
        stored.setdefault((epoch, seq), []).append((what, *values))
    for n in range(1, phone.said + 1):
        report = phone.script.report(n)
        here = (name, report.epoch, report.seq)
        receipted = phone.receipted(n)
        findings.reports += 1
        findings.receipted += receipted
        rows = stored.pop((report.epoch, report.seq), [])
        if report.rejected:
            if rows:
                findings.complain("stored although nobody can read it", here)
            if rejects.pop((report.topic, report.payload), 0):
                findings.rejected += 1
            else:
                findings.complain("receipted and not among the rejects" if receipted else "not among the rejects", here)
            continue
        findings.stored += bool(rows)
        if not rows:
            findings.complain("receipted and lost" if receipted else "lost", here)
        elif len(rows) > 1:
            findings.complain("stored twice", here)
        elif rows[0] != _row(report):
            findings.complain("stored otherwise than sent", (*here, rows[0], _row(report)))
    for (epoch, seq), rows in stored.items():
        findings.complain("stored and never said", (name, epoch, seq, rows[0]))
    for odd in phone.odd:
        findings.complain("a receipt for what was never said", odd)


def _row(report: Any) -> Key:
    place = (report.lon, report.lat) if report.what == "fix" else (None, None)
    return (report.what, round(report.at * 1000), *place)


def _judge_crowd(
    connection: psycopg.Connection,
    crowd: Crowd,
    blackouts: list[Blackout],
    rejects: dict[tuple[str, bytes], int],
    findings: Findings,
) -> None:
    """Two words of one source may share their second, so they are compared by how many there are."""
    owed: Counter[Key] = Counter()
    excused: Counter[Key] = Counter()
    last: dict[Key, int] = {}
    for n in range(1, crowd.said + 1):
        said_at, taken_at = crowd.said_at[n], crowd.taken_at[n]
        if not taken_at:
            continue
        word = crowd.word(n)
        lost = any(blackout.excuses(said_at, taken_at) for blackout in blackouts)
        findings.loose += 1
        if word.kind == "rejects":
            if not rejects.pop((word.topic, word.payload), 0):
                findings.loose_lost_by_broker += lost
                if not lost:
                    findings.complain("taken by the broker and not among the rejects", _when(n, said_at, taken_at, blackouts))
            continue
        key = (word.kind, word.source, round(word.at * 1000))
        owed[key] += 1
        excused[key] += lost
        last[key] = n
    stored = {(kind, source, at): count for kind, source, at, count in connection.execute(UNCOUNTED)}
    for key, count in owed.items():
        there = stored.pop(key, 0)
        if there > count:
            findings.complain("an uncounted word stored twice", key)
        missing = max(0, count - there)
        findings.loose_lost_by_broker += min(missing, excused[key])
        if missing > excused[key]:
            n = last[key]
            findings.complain("an uncounted word lost by us", _when(n, crowd.said_at[n], crowd.taken_at[n], blackouts))
    for key in stored:
        findings.complain("stored and never said", key)


def _when(n: int, said_at: float, taken_at: float, blackouts: list[Blackout]) -> str:
    """A word that is missing, and how far from what could excuse it."""
    told = f"word {n}, taken within {taken_at - said_at:.3f} s"
    outside_s = [max(one.start_at - taken_at, said_at - one.end_at) for one in blackouts]
    return f"{told}, {min(outside_s):.3f} s outside of what a broker may have lost" if outside_s else f"{told}, and no broker died"


def rows(connection: psycopg.Connection) -> int:
    """Rows of evidence, of all kinds."""
    [(count,)] = connection.execute(ROWS).fetchall()
    return int(count)
