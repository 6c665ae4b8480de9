"""The watch: what can only be seen while it happens.

- A receipt is true in the moment in which it arrives, not only after everything has healed: some are looked up at once.
- In every heartbeat, received = stored + duplicate + rejected + ignored.
- The broker drops nothing (`$SYS/broker/publish/messages/dropped`).
- The api answers, or says that it cannot; it never answers with a mistake of its own.
"""

import asyncio
import contextlib
import random
import time
import urllib.error
from collections import Counter

import psycopg
from psycopg import AsyncConnection

from tests.torture.house import House
from tests.torture.phones import Talker
from tests.torture.script import Report

DROPPED = "$SYS/broker/publish/messages/dropped"
SPOT_EVERY = 8
"""One receipt in so many is looked up."""

SPOT = """
select exists (select from fixes where source = %(source)s and at = to_timestamp(%(at)s) and epoch = %(epoch)s and seq = %(seq)s)
    or exists (select from checks where source = %(source)s and at = to_timestamp(%(at)s) and epoch = %(epoch)s and seq = %(seq)s)
    or exists (select from statuses where source = %(source)s and at = to_timestamp(%(at)s) and epoch = %(epoch)s and seq = %(seq)s)
"""
BEATS = """
select name, extract(epoch from started_at)::float8, (state ->> 'received_total')::bigint, (state ->> 'stored_total')::bigint,
       (state ->> 'duplicate_total')::bigint, (state ->> 'ignored_total')::bigint, (state ->> 'messages_total')::bigint,
       (select coalesce(sum(value::bigint), 0)::bigint from jsonb_each_text(coalesce(state -> 'rejected_total', '{}')))
from programs where name like 'ingest%'
"""
VERIFY_BUSY = """
select exists (select from journal, cursors where name = 'verify' and not pg_visible_in_snapshot(xid, cursors.snapshot))
    or exists (select from due)
"""


class _Ear(Talker):
    """Hears what the broker says of itself."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "ear", (DROPPED,), random.Random(0))
        self.dropped = 0
        self.heard_total = 0

    def heard(self, topic: str, payload: bytes) -> None:
        self.heard_total += 1
        self.dropped = max(self.dropped, int(payload))


class Watch:
    """Looks on until `end`."""

    def __init__(self, house: House) -> None:
        self.wrong: list[str] = []
        self.spots = 0
        self.beats = 0
        self.answers: Counter[int] = Counter()
        self._house = house
        self._ear = _Ear(house.port)
        self._receipts: asyncio.Queue[tuple[str, Report]] = asyncio.Queue()
        self._seen = 0
        self._stored: dict[tuple[str, float], int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def stored_told(self) -> int:
        """Rows that all ingestors there ever were said they stored, in their last heartbeat each."""
        return sum(self._stored.values())

    def spot(self, report: Report) -> None:
        """A receipt has just come whose last report is this one."""
        self._seen += 1
        if self._seen % SPOT_EVERY == 1 and not report.rejected:
            self._receipts.put_nowait((report.topic.split("/")[-2], report))

    async def begin(self) -> None:
        for name, work in (("spots", self._spots()), ("beats", self._beats()), ("api", self._ask()), ("ear", self._ear.keep())):
            self._tasks.append(asyncio.create_task(work, name=name))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ear.cut()
        if self._ear.dropped:
            self.wrong.append(f"the broker dropped {self._ear.dropped} messages")
        if not self._ear.heard_total:
            self.wrong.append("the broker never said how much it dropped")
        failed = sum(count for status, count in self.answers.items() if status >= 500 and status != 503)
        if failed:
            self.wrong.append(f"the api answered {failed} times with a mistake of its own")

    def notes(self) -> list[str]:
        answered = ", ".join(f"{count} × {status or 'nobody there'}" for status, count in sorted(self.answers.items()))
        return [
            f"{self.spots} receipts looked up as they came; {self.beats} heartbeats added up; broker dropped {self._ear.dropped}",
            f"api: {answered}",
        ]

    async def totals(self) -> Counter[str]:
        """The newest counts of all ingestors, added up."""
        told: Counter[str] = Counter()
        async with await AsyncConnection.connect(self._house.database, autocommit=True) as connection:
            rows = await (await connection.execute(BEATS)).fetchall()
        for row in rows:
            names = ("received", "stored", "duplicate", "ignored", "messages", "rejected")
            told.update(dict(zip(names, row[2:], strict=True)))
        return told

    async def verify_busy(self) -> bool:
        """Whether something was committed that verify has not dealt with."""
        with contextlib.suppress(psycopg.OperationalError):
            async with await AsyncConnection.connect(self._house.database, autocommit=True, connect_timeout=2) as connection:
                for _ in range(100):
                    if await (await connection.execute(VERIFY_BUSY)).fetchone() == (True,):
                        return True
                    await asyncio.sleep(0.01)
        return False

    async def _spots(self) -> None:
        """Over a connection that is kept, so that the look takes a millisecond."""
        waiting: tuple[str, Report] | None = None
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                async with await AsyncConnection.connect(self._house.database, autocommit=True) as connection:
                    while True:
                        waiting = waiting or await self._receipts.get()
                        await self._look_up(connection, *waiting)
                        waiting = None
            await asyncio.sleep(0.1)

    async def _look_up(self, connection: AsyncConnection, source: str, report: Report) -> None:
        values = {"source": source, "at": report.at, "epoch": report.epoch, "seq": report.seq}
        there = await (await connection.execute(SPOT, values)).fetchone()
        self.spots += 1
        if there != (True,):
            self.wrong.append(f"{source} was promised {report.seq} of epoch {report.epoch} before it was stored")

    async def _beats(self) -> None:
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                async with await AsyncConnection.connect(self._house.database, autocommit=True) as connection:
                    while True:
                        for row in await (await connection.execute(BEATS)).fetchall():
                            self._add_up(*row)
                        await asyncio.sleep(0.25)
            await asyncio.sleep(0.2)

    def _add_up(
        self, name: str, started_at: float, received: int | None, stored: int, duplicate: int, ignored: int, _: int, rejected: int
    ) -> None:
        if received is None:
            return
        self.beats += 1
        self._stored[name, started_at] = max(stored, self._stored.get((name, started_at), 0))
        if received != stored + duplicate + ignored + rejected:
            self.wrong.append(
                f"{name}: received {received}, stored {stored}, duplicate {duplicate}, ignored {ignored}, rejected {rejected}"
            )

    async def _ask(self) -> None:
        """A desk that looks at the newest positions four times a second."""
        while True:
            began = time.monotonic()
            self.answers[await asyncio.to_thread(self._status)] += 1
            await asyncio.sleep(max(0.0, 0.25 - (time.monotonic() - began)))

    def _status(self) -> int:
        try:
            self._house.ask("GET", "/v1/positions?limit=50")
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, ValueError):
            return 0
        return 200
