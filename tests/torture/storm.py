"""The storm: everything is killed, cut, stalled and sliced while a fleet talks. In the end nothing is lost or there twice.

    begin ──▶ faults, one after the other, each with work in flight ──▶ heal ──▶ count once more in the calm ──▶ judge ──▶ compare

What is looked at on the way: whether a receipt is true in the moment in which it arrives, whether the counts of every heartbeat add
up, and whether the broker dropped anything.
"""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.torture import judge, twin
from tests.torture.house import House, until
from tests.torture.judge import Blackout
from tests.torture.pace import Pace, Say
from tests.torture.phones import Fleet, Manner
from tests.torture.plan import Fault, Options, Plan
from tests.torture.report import Report
from tests.torture.script import DAY_S, day_of, plans
from tests.torture.watch import Watch

HEAL_S = 300.0
IN_FLIGHT_S = 20.0
"""How long a fault waits for something to be in flight."""
SAVING_S = 3.0
"""How long the broker's saving may take. A killed one may have lost what it took since it began to save for the last time."""
CALM = 300


async def run(options: Options, folder: Path, say: Say) -> Report:
    """Draws the plan, prints it, does it, and judges."""
    plan = Plan.draw(options)
    say(str(plan))
    report = Report(options)
    house = House(folder, options.ingestors)
    try:
        await _Storm(plan, house, report, say).play()
    except (TimeoutError, OSError, psycopg.Error, subprocess.TimeoutExpired) as error:
        # Whatever ends a storm before it is judged: it has proven nothing.
        report.wrong.append(f"not judged: {error!r}")
    finally:
        house.end()
    return report


class _Storm:
    def __init__(self, plan: Plan, house: House, report: Report, say: Say) -> None:
        self.plan, self.house, self.report = plan, house, report
        self.options = plan.options
        self.rng = random.Random(plan.options.seed + 1)
        self.day = float(int(time.time()) // 3600 * 3600 - 86_400 - DAY_S)
        self.watch = Watch(house)
        # The day is as long as the run will probably be, so that visits lie where reports do.
        guess_s = max(60.0 * self.options.minutes, 4.0 + (0.2 + self.options.pause / 2) * len(plan.faults))
        each = int(guess_s * self.options.rate * 0.9 / self.options.phones)
        scripts = day_of(self.options.seed, self.options.phones, self.day, max(0.01, DAY_S / each), each // 2, self.options.poison)
        manner = Manner(patience_s=self.options.patience, patience_most_s=8 * self.options.patience)
        self.fleet = Fleet(house.port, scripts, self.options.judged, self.watch.spot, manner)
        self.pace = Pace(self.fleet, len(plan.faults), say)
        self.blackouts: list[Blackout] = []
        self.mending: list[asyncio.Task[None]] = []

    async def play(self) -> None:
        await self.house.begin(plans(self.options.judged, self.options.phones, self.day))
        await self.watch.begin()
        await self.fleet.begin()
        self.fleet.talk(self.options.rate)
        self.pace.begin()
        began = time.monotonic()
        for number, fault in enumerate(self.plan.faults, 1):
            await asyncio.sleep(fault.after_s)
            if time.monotonic() - began > 60 * self.options.minutes_most:
                self.report.notes.append(f"time was up before fault {number} of {len(self.plan.faults)}")
                break
            await self._strike(fault)
            self.pace.struck += 1
        await asyncio.sleep(max(0.0, 60 * self.options.minutes - (time.monotonic() - began)))
        self.report.said = self.pace.end()
        await self._heal()
        await self._count_in_the_calm()
        await self._end()

    # Faults -----------------------------------------------------------------------------------------------------------------

    async def _strike(self, fault: Fault) -> None:
        verb, _, what = fault.kind.partition(" ")
        match verb:
            case "kill" | "forget":
                part = self.house.ingestors[fault.which % len(self.house.ingestors)] if what == "ingest" else what
                await self._kill(fault, "broker" if verb == "forget" else part)
            case "lose":
                await self._lose_commit(fault)
            case "cut":
                busy = await self._in_flight()
                if what == "phones":
                    busy = self.fleet.cut(0.5, self.rng) and busy
                else:
                    (self.house.to_broker if what == "broker" else self.house.to_database).cut()
                self._landed(fault, busy)
                self._lasts(0.0)
            case "stall":
                busy = await self._in_flight()
                proxy = self.house.to_broker if what == "broker" else self.house.to_database
                proxy.flowing.clear()
                self._landed(fault, busy)
                self._lasts(fault.for_s, proxy.flowing.set)
            case "slice":
                busy = await self._in_flight()
                self._slice(True)
                self._landed(fault, busy)
                self._lasts(fault.for_s, lambda: self._slice(False))

    def _slice(self, slicing: bool) -> None:
        for proxy in (self.house.to_broker, self.house.to_database):
            proxy.slicing = slicing

    async def _kill(self, fault: Fault, part: str) -> None:
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.house.answers(part), f"{part} is not up", IN_FLIGHT_S)
        busy = await self._in_flight() and self.house.alive(part)
        if part == "verify":
            busy = busy and await self.watch.verify_busy()
        if fault.kind == "forget sessions":
            self.house.forget()
            # What was queued in the sessions is lost, however old.
            self._note_blackout(0.0)
        else:
            self.house.kill(part)
        if fault.kind == "kill broker":
            self._note_blackout(self.house.broker_saved_at() - SAVING_S)
        self._landed(fault, busy)
        self._lasts(fault.for_s, lambda: self.house.start(part), lambda: self.house.answers(part))

    def _note_blackout(self, start_at: float) -> None:
        """Until an ingestor has subscribed again, the broker takes messages for nobody: of a shared subscription it keeps what
        waited, where it keeps anything, and not that there is one."""
        killed_at = time.time()
        again: list[float] = []

        def subscribed() -> bool:
            found = [at for part in self.house.ingestors if (at := self.house.connected_at(part)) is not None and at > killed_at]
            again.extend(found)
            return bool(again)

        async def wait() -> None:
            await until(subscribed, "no ingestor subscribes again", HEAL_S)
            self.blackouts.append(Blackout(start_at, min(again)))

        self.mending.append(asyncio.create_task(wait()))

    async def _lose_commit(self, fault: Fault) -> None:
        """The answer to the next COMMIT of an ingestor never arrives, and the connection is gone with it."""
        proxy = self.house.to_database
        before = proxy.swallowed
        hits = iter([True])
        proxy.swallow_answer_to = lambda content: b"COMMIT" in content and next(hits, False)
        busy = await self._in_flight()
        with contextlib.suppress(TimeoutError):
            await until(lambda: proxy.swallowed > before, "no COMMIT came by", IN_FLIGHT_S)
        self._landed(fault, busy and proxy.swallowed > before)
        self._lasts(0.0)

    async def _in_flight(self) -> bool:
        """Waits until reports are said and not receipted, while somebody could receipt them."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.fleet.outstanding > 0, "nobody says anything", IN_FLIGHT_S)
        return self.fleet.outstanding > 0

    def _landed(self, fault: Fault, busy: bool) -> None:
        (self.report.landed if busy else self.report.idle)[fault.kind] += 1

    def _lasts(self, seconds: float, mend: Callable[[], None] = lambda: None, up: Callable[[], bool] = lambda: True) -> None:
        """The fault that has just struck is mended after so long, beside the next ones, and over when `up` and reports flow."""

        async def last() -> None:
            with self.pace.fault():
                await asyncio.sleep(seconds)
                mend()
                await self.pace.until_over(up, HEAL_S)

        self.mending.append(asyncio.create_task(last()))

    # Afterwards -------------------------------------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """Nothing new is said any more, everything is up, and what is owed gets through."""
        began = time.monotonic()
        self.fleet.talk(0)
        for failed in await asyncio.gather(*self.mending, return_exceptions=True):
            if failed is not None:
                self.report.wrong.append(f"while mending: {failed!r}")
        for part in self.house.parts:
            await until(lambda part=part: self.house.answers(part), f"{part} is not back", HEAL_S)  # type: ignore[misc]
        try:
            await until(lambda: self.fleet.outstanding == 0, "reports have no receipt", HEAL_S)
        except TimeoutError as error:
            self.report.wrong.append(f"{error}: {self.fleet.outstanding} of them")
        # What does not count has no receipt: it is through when a second has brought nothing new.
        stored = -1
        with psycopg.connect(self.house.database, autocommit=True) as connection:
            while stored != (stored := judge.rows(connection)):  # noqa: ASYNC110 - nobody could tell us.
                await asyncio.sleep(1.0)
        self.report.healed_s = time.monotonic() - began

    async def _count_in_the_calm(self) -> None:
        """Once nothing is killed any more, received = stored + duplicate + rejected + ignored, to the last one."""
        for part in self.house.ingestors:
            if self.house.stop(part):
                self.report.wrong.append(f"{part} did not stop cleanly")
        for part in self.house.ingestors:
            self.house.start(part)
        for part in self.house.ingestors:
            await until(lambda part=part: self.house.answers(part), f"{part} is not back", HEAL_S)  # type: ignore[misc]
        with psycopg.connect(self.house.database, autocommit=True) as connection:
            before = judge.rows(connection)
            said, published = self.fleet.reports_total, self.fleet.elements_total
            self.fleet.talk(CALM)
            await asyncio.sleep(1.0)
            self.fleet.talk(0)
            with contextlib.suppress(TimeoutError):
                await until(lambda: self.fleet.outstanding == 0, "reports have no receipt", HEAL_S)
            await asyncio.sleep(0.5)
            for part in self.house.ingestors:
                if self.house.stop(part):
                    self.report.wrong.append(f"{part} did not stop cleanly")
            told = await self.watch.totals()
            new = judge.rows(connection) - before
        fresh = self.fleet.reports_total - said
        self.report.notes.append(
            f"in the calm: {fresh} new reports; received {told['received']} = stored {told['stored']}"
            f" + duplicate {told['duplicate']} + rejected {told['rejected']} + ignored {told['ignored']}; {new} new rows"
        )
        if told["received"] != told["stored"] + told["duplicate"] + told["rejected"] + told["ignored"]:
            self.report.wrong.append("what was received in the calm does not add up")
        # What is ignored are our own receipts, which a shared subscription brings back to the ingestors.
        published = self.fleet.elements_total - published
        if told["stored"] != new or told["received"] - told["ignored"] != published:
            self.report.wrong.append(f"in the calm {new} rows were new and {published} reports published; ingest says {dict(told)}")

    async def _end(self) -> None:
        await self.fleet.end()
        await self.watch.end()
        if self.house.stop("verify"):
            self.report.wrong.append("verify did not stop cleanly")
        self.report.wrong += self.watch.wrong
        self.report.notes += self.watch.notes()
        with psycopg.connect(self.house.database, autocommit=True) as connection:
            self.report.findings = judge.judge(connection, self.fleet, self.blackouts)
            stored = judge.rows(connection)
        if self.watch.stored_told > stored:
            self.report.wrong.append(f"ingestors say that they stored {self.watch.stored_told} rows, and there are {stored}")
        twins = self.house.url("twin")
        await asyncio.to_thread(self.house.create, twins)
        self.report.digests = await asyncio.to_thread(twin.compare, self.house.database, twins, time.time())
