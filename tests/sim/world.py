"""A world in one process: phones, radio, broker and clock are parts with a seed; ingest, verify and the database are the real ones.

    phones ──radio──▶ broker ──▶ Ingestor ──▶ PostgreSQL ◀── verify.cycle
    (device_sim)        │ ▲                                     │
       ▲                └─┴── unacknowledged: again             clock: simulated
       └────────── receipts

Rules kept here:

- What will go wrong is drawn first, as data, from the seed: `Plan.draw`. It is printed, so that a failure can be run again.
- Nothing here looks at the wall clock or sleeps. A day takes as long as its work does.
- Every fault is counted when it lands while work is in flight. A run in which nothing went wrong proves nothing.
"""

import contextlib
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import msgspec
import psycopg
import pytest
from msgspec import Struct

import device_sim
from device_sim import Day, Options
from device_sim.outbox import Outbox
from ingest.batch import Delivery
from ingest.commit import Committer
from ingest.intake import Intake
from ingest.link import Link
from ingest.main import Ingestor
from ingest.settings import Settings
from sitewatch import verify
from store import journal

TICK_S = 600.0
"""Simulated seconds between two looks of everybody at the clock."""
SETTLED_AFTER_S = 86_400.0
TICKS_MAX = 1_000
KINDS = ("lost_on_air", "unanswered", "repeated", "out_of_order", "cut", "ingest_killed", "commit_unanswered", "verify_killed")


class Killed(Exception):  # noqa: N818 (it is no error of anybody here)
    """The process is gone: what it held is lost, and no code of its own runs any more."""


class Plan(Struct, frozen=True):
    """What goes wrong at which tick. Radio troubles last for their tick; the others strike once in it."""

    seed: int
    at: dict[int, tuple[str, ...]]

    @classmethod
    def draw(cls, seed: int, ticks: int, share: float) -> "Plan":
        rng = random.Random(seed)
        drawn = {tick: tuple(kind for kind in KINDS if rng.random() < share) for tick in range(ticks)}
        return cls(seed, {tick: kinds for tick, kinds in drawn.items() if kinds})


class Session:
    """One connection of ingest to the broker. Acknowledgements after its end mean nothing."""

    def __init__(self, broker: "Broker") -> None:
        self._broker: Broker | None = broker

    def acknowledge(self, mids: Sequence[int]) -> None:
        for mid in mids:
            if self._broker is not None:
                self._broker.unacknowledged.pop(mid, None)

    def publish(self, receipts: Iterable[tuple[str, int, bytes]]) -> None:
        if self._broker is not None:
            self._broker.receipts += [(topic, payload) for topic, _, payload in receipts]

    def end(self) -> None:
        self._broker = None


class Broker:
    """At least once, per session: what a session did not acknowledge goes to the next one, before anything new."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, str, bytes]] = deque()
        self.unacknowledged: dict[int, tuple[int, str, bytes]] = {}
        self.receipts: list[tuple[str, bytes]] = []
        self._mid = 0

    def take(self, topic: str, payload: bytes) -> None:
        self._mid += 1
        self.waiting.append((self._mid, topic, payload))

    def return_unacknowledged(self) -> None:
        self.waiting.extendleft(reversed(self.unacknowledged.values()))
        self.unacknowledged.clear()

    def shuffle(self, rng: random.Random) -> None:
        messages = list(self.waiting)
        rng.shuffle(messages)
        self.waiting = deque(messages)


class World:
    """Plays one day into one database, under a plan of faults; an empty plan is the run without any."""

    def __init__(self, database: str, day: Day, plan: Plan) -> None:
        self.day, self.plan = day, plan
        self.landed: Counter[str] = Counter()
        self.now = day.starts_at
        self._database = database
        self._rng = random.Random(plan.seed + 1)
        self._outboxes = {feed.source: Outbox(feed) for feed in day.feeds}
        self._broker = Broker()
        self._verifier = verify.prepared(psycopg.connect(database))
        self._start_ingest()

    def play(self) -> None:
        """Until every outbox is empty and nothing changes any more, and then a day longer."""
        for tick in range(TICKS_MAX):
            self._tick(self.plan.at.get(tick, ()))
            self.now += TICK_S
            if self.now > self.day.ends_at and all(outbox.empty for outbox in self._outboxes.values()):
                break
        else:
            raise AssertionError({source: box.unconfirmed for source, box in self._outboxes.items() if not box.empty})
        self.now += SETTLED_AFTER_S
        self._judge(())

    def close(self) -> None:
        self._drop_ingest()
        self._verifier.close()

    # One tick ---------------------------------------------------------------------------------------------------------------

    def _tick(self, faults: tuple[str, ...]) -> None:
        for outbox in self._outboxes.values():
            fresh = outbox.due(self.now, 600)
            self._send(outbox, fresh, faults)
            self._send(outbox, outbox.overdue(self.now, 600), faults)
        if "out_of_order" in faults and len(self._broker.waiting) > 1:
            self._broker.shuffle(self._rng)
            self.landed["out_of_order"] += 1
        self._ingest(faults)
        self._hear_receipts()
        self._judge(faults)

    def _send(self, outbox: Outbox, deliveries: list[int], faults: tuple[str, ...]) -> None:
        outbox.sent(deliveries, self.now)
        for k in deliveries:
            report = outbox.feed.report(k)
            if "lost_on_air" in faults and self._rng.random() < 0.3:
                self.landed["lost_on_air"] += 1
                outbox.failed([k])
                continue
            payload = msgspec.json.encode(report.payload)
            self._broker.take(report.topic, payload)
            if "repeated" in faults and self._rng.random() < 0.3:
                self.landed["repeated"] += 1
                self._broker.take(report.topic, payload)
            if "unanswered" in faults and self._rng.random() < 0.3:
                self.landed["unanswered"] += 1
                outbox.failed([k])
            else:
                outbox.acknowledged([k])

    def _hear_receipts(self) -> None:
        for topic, payload in self._broker.receipts:
            said = msgspec.json.decode(payload)
            self._outboxes[topic.split("/")[-2]].receipt(said["epoch"], said["through"])
        self._broker.receipts.clear()

    # Ingest -----------------------------------------------------------------------------------------------------------------

    def _start_ingest(self) -> None:
        self._link = _Link(Session(self._broker))
        settings = Settings(rows_max=400)
        self._intake = Intake(settings)
        self._ingestor = Ingestor(settings, self._database, cast(Link, self._link), self._intake, random.Random(0))

    def _drop_ingest(self) -> None:
        """kill -9: its memory and its connections go; the broker keeps what it had not acknowledged."""
        self._link.session.end()
        self._ingestor.hang_up()
        self._broker.return_unacknowledged()

    def _ingest(self, faults: tuple[str, ...]) -> None:
        strikes = [kind for kind in faults if kind in ("cut", "ingest_killed", "commit_unanswered")]
        while self._broker.waiting:
            for _ in range(min(200, len(self._broker.waiting))):
                message = self._broker.waiting.popleft()
                self._broker.unacknowledged[message[0]] = message
                mid, topic, payload = message
                self._intake.receive([Delivery(self._link.session, mid, 1, topic, payload, self.now)])
            if strikes:
                self._strike(strikes.pop())
            else:
                self._ingestor.store(self._intake.take())

    def _strike(self, kind: str) -> None:
        """With a batch taken in and not committed."""
        self.landed[kind] += bool(self._broker.unacknowledged)
        if kind == "cut":
            # The connection goes, the process stays: it commits what it holds, and its acknowledgements reach nobody.
            self._link.session.end()
            self._link.session = Session(self._broker)
            self._ingestor.store(self._intake.take())
            self._broker.return_unacknowledged()
            return
        if kind == "commit_unanswered":
            # Committed, and dead before a word of it was said.
            self._link.session.end()
            self._ingestor.store(self._intake.take())
        else:
            # Dead on the way into the commit: whatever was said before it was said too early.
            with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
                patch.setattr(Committer, "commit", _die)
                self._ingestor.store(self._intake.take())
        self._drop_ingest()
        self._start_ingest()

    # Verify -----------------------------------------------------------------------------------------------------------------

    def _judge(self, faults: tuple[str, ...]) -> None:
        settings = verify.Settings(coalesce_s=0.0, entries_max=50, visits_max=50)
        if "verify_killed" in faults:
            self._kill_verify(settings)
        while verify.cycle(self._verifier, self.now, settings).more:
            pass

    def _kill_verify(self, settings: verify.Settings) -> None:
        """Dies with everything written and the cursor not moved: the transaction must take all of it along."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "advance", _die)
            try:
                verify.cycle(self._verifier, self.now, settings)
            except Killed:
                self.landed["verify_killed"] += 1


class _Link:
    """The one thing that ingest asks of its link while it works."""

    def __init__(self, session: Session) -> None:
        self.session = session


def _die(*_: object) -> None:
    raise Killed


def make_day(seed: int, say: Callable[[str], None]) -> Day:
    options = Options(workers=3, city="beijing", day="2026-11-20", trouble=0.5, interval_s=60)
    say(f"seed {seed}: {msgspec.json.encode(options).decode()}")
    return device_sim.day(seed, options)
