"""Apart: verify's work with each visit and each worker by itself, for when a mistake is in the way of all of them together.

    a cycle fails ──▶ undone ──▶ the same once more, each part in a savepoint ──▶ whose part fails is set aside, the others go on

Rules kept here:

- Set aside is who cannot be dealt with, for as long as a visit that cannot be judged; a visit earlier, when anything about it
  changes. That is said in the log with its reason and counted as failed, for which there is an alarm.
- Only mistakes of ours, and what the database refuses of our data. A database that is away, or a row that somebody else wrote
  meanwhile, says nothing about a visit.
"""

from collections.abc import Collection, Iterable, Mapping

import psycopg
import structlog
from msgspec.structs import replace
from psycopg import Connection

from sitewatch import judging, staying
from sitewatch.memory import Memory
from store import touched
from store.changes import Changed
from store.derived import Judged
from store.journal import Bite
from store.policies import Policies
from store.touched import Owners

MISTAKES = (*judging.OURS, AssertionError, AttributeError, TypeError, psycopg.DataError, psycopg.IntegrityError)
"""What an error in our code, or evidence and plans that it was not made for, look like."""

log = structlog.get_logger()


class Apart:
    """One such cycle."""

    def __init__(self) -> None:
        self.failed = 0
        """Workers and plans that could not be followed. Visits are counted where all visits are."""

    def visits(
        self, connection: Connection, due: Mapping[str, str], rules: Policies, now: float, memory: Memory
    ) -> tuple[list[Judged], int, Changed]:
        """As `judging.visits`."""
        judged: list[Judged] = []
        failed, everything = 0, Changed()
        for visit, why in due.items():
            try:
                with connection.transaction():
                    done, failed_one, changed = judging.visits(connection, {visit: why}, rules, now, memory=memory)
            except MISTAKES:
                log.exception("A visit could not be judged", visit=visit)
                memory.visits.forget([visit])
                touched.set_aside(connection, [visit], now + judging.FAILED_AGAIN_S)
                failed += 1
            else:
                judged += done
                failed += failed_one
                everything = judging.united(everything, changed)
        return judged, failed, everything

    def follow(self, connection: Connection, bite: Bite, owners: Owners, now: float, memory: Memory) -> Changed:
        """As `judging.follow`."""
        everything = judging.follow(connection, bite, Owners(sites=owners.sites), now, memory)
        nothing_else = replace(bite, evidence=(), devices=frozenset(), alerts=frozenset())
        for worker in sorted({touch.source for touch in owners.workers} | owners.remapped):
            hers = Owners(
                workers=tuple(touch for touch in owners.workers if touch.source == worker), remapped=owners.remapped & {worker}
            )
            try:
                with connection.transaction():
                    everything = judging.united(everything, judging.follow(connection, nothing_else, hers, now, memory))
            except MISTAKES:
                log.exception("A worker's evidence could not be followed", worker=worker)
                memory.set_aside[worker] = now + judging.FAILED_AGAIN_S
                self.failed += 1
        return everything

    def follow_plans(self, connection: Connection, bite: Bite, remapped: Collection[str], now: float) -> Changed:
        """As `staying.follow_plans`."""
        everything = Changed()
        nothing = replace(bite, visits=frozenset(), sites=frozenset())
        for part, hers in _each_plan(nothing, bite, remapped):
            try:
                with connection.transaction():
                    everything = judging.united(everything, staying.follow_plans(connection, part, hers, now))
            except MISTAKES:
                log.exception("A plan could not be followed", visits=list(part.visits), sites=list(part.sites), workers=list(hers))
                self.failed += 1
        return everything


def _each_plan(nothing: Bite, bite: Bite, remapped: Collection[str]) -> Iterable[tuple[Bite, Collection[str]]]:
    yield from ((replace(nothing, visits=frozenset({visit})), ()) for visit in sorted(bite.visits))
    yield from ((replace(nothing, sites=frozenset({site})), ()) for site in sorted(bite.sites))
    yield from ((nothing, [worker]) for worker in sorted(remapped))
