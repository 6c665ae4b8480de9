"""Phones with an outbox and a ledger. The ledger is the judge: it knows what was said, and what was promised.

    waiting ──say──▶ outstanding ──receipt──▶ done          a report that counts: only a receipt ends it
                          │ ▲
                          └─┘ no receipt within the patience, or the line broke: again, alone or as part of a batch
    waiting ──say──▶ outstanding ──PUBACK──▶ done           one that does not: the broker's word is all there is

Rules kept here:

- Nobody waits politely. Messages overtake each other, are sent twice, and are said again long after they were receipted.
- What a phone says is a function of its number (`script`), so the ledger is a few integers a phone and cannot run out of memory.
- `spot` is told of receipts the moment they arrive, so that somebody may look whether they are true *then* and not only in the end.
"""

import asyncio
import contextlib
import json
import math
import random
import time
from array import array
from collections.abc import Callable

from msgspec import Struct

from tests.torture.mqtt import MIDS, Line
from tests.torture.script import PREFIX, Loose, Report, Script, loose

UNANSWERED_MAX = 200
"""Messages on one line that the broker has not answered."""
BATCH_MAX = 40

Spot = Callable[[Report], None]


class Manner(Struct, frozen=True, kw_only=True):
    """How phones behave."""

    window: int = 300
    """Reports that are said and not receipted; beyond that a phone gathers and says nothing new."""
    patience_s: float = 2.0
    """After so long without a receipt it says a report again; the next times it waits twice as long each."""
    patience_most_s: float = 16.0
    unruly: bool = True
    """It batches, repeats itself and lets reports overtake each other."""


class Talker:
    """Somebody with a line to the broker that is opened again whenever it breaks."""

    def __init__(self, port: int, name: str, topics: tuple[str, ...], rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.up = False
        self.said_total = 0
        """Messages published, repeats included."""
        self.elements_total = 0
        """Reports in them."""
        self._port = port
        self._topics = topics
        self._line: Line | None = None
        self._mid = 0
        self._gone = asyncio.Event()

    async def keep(self) -> None:
        """Opens the line again and again until cancelled."""
        while True:
            self._gone.clear()
            with contextlib.suppress(OSError):
                self._line = await Line.open(self._port, f"torture-{self.name}", self._topics, self)
                await self._gone.wait()
            self.up = False
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))

    def cut(self) -> None:
        if self._line is not None:
            self._line.abort()

    def publish(self, topic: str, payload: bytes, elements: int = 1) -> int:
        """Says it once; returns the number under which the broker will answer."""
        assert self._line is not None
        self._mid = self._mid % MIDS + 1
        self._line.publish(self._mid, topic, payload)
        self.said_total += 1
        self.elements_total += elements
        return self._mid

    def opened(self) -> None:
        self.up = True

    def lost(self) -> None:
        self.up = False
        self._gone.set()

    def acknowledged(self, mid: int) -> None: ...

    def heard(self, topic: str, payload: bytes) -> None: ...


class Phone(Talker):
    """A phone that counts. Its ledger: how much it has said, and how much of each epoch was receipted."""

    def __init__(self, port: int, script: Script, rng: random.Random, spot: Spot, manner: Manner) -> None:
        super().__init__(port, script.worker, (f"{PREFIX}/workers/{script.worker}/receipt",), rng)
        self.script = script
        self.manner = manner
        self.said = 0
        """The number of the last report that was said for the first time."""
        self.through = {0: 0, 1: 0}
        self.receipted_total = 0
        self.odd: list[str] = []
        """Receipts that promise what was never said."""
        self._spot = spot
        self._outstanding: dict[int, tuple[float, int]] = {}
        """Report → when it was said last, and how often."""
        self._unanswered: dict[int, tuple[int, ...]] = {}
        self._held: list[int] = []
        self._look_again = 0.0

    @property
    def outstanding(self) -> int:
        return len(self._outstanding)

    def receipted(self, n: int) -> bool:
        epoch, seq = self.script.count(n)
        return seq <= self.through[epoch]

    def pump(self, count: int, now: float) -> int:
        """Says up to `count` new reports, and again what is overdue. Returns how many were new."""
        if not self.up:
            return 0
        self._say_again(now)
        room = min(count, self.manner.window - len(self._outstanding), UNANSWERED_MAX - len(self._unanswered))
        new = list(range(self.said + 1, self.said + 1 + max(0, room)))
        self.said += len(new)
        for n in new:
            self._outstanding[n] = (now, 0)
        if not self.manner.unruly:
            self._say(new, now, batched=False)
            return len(new)
        # What is held back is overtaken by whatever comes until the next turn.
        held = [n for n in new if self.rng.random() < 0.03]
        self._say(self._held + [n for n in new if n not in held], now, batched=self.rng.random() < 0.1)
        self._held = held
        if new and self.rng.random() < 0.05:
            self._say([self.rng.randint(1, self.said)], now, batched=False)  # Whether or not it was receipted long ago.
        return len(new)

    def acknowledged(self, mid: int) -> None:
        self._unanswered.pop(mid, None)

    def heard(self, topic: str, payload: bytes) -> None:
        receipt = json.loads(payload)
        epoch, through = receipt["epoch"], receipt["through"]
        before = self.through.get(epoch, 0)
        if through <= before:
            return
        last = self.script.nth(epoch, through)
        if last > self.said or self.script.count(last) != (epoch, through):
            self.odd.append(f"{self.name} was promised {receipt}, and has said {self.said}")
            return
        self.through[epoch] = through
        self.receipted_total += through - before
        for n in range(self.script.nth(epoch, before + 1), last + 1):
            self._outstanding.pop(n, None)
        self._spot(self.script.report(last))

    def lost(self) -> None:
        super().lost()
        for ns in self._unanswered.values():
            for n in ns:
                if n in self._outstanding:
                    self._outstanding[n] = (float("-inf"), 1)
        self._unanswered.clear()

    def _say_again(self, now: float) -> None:
        if now < self._look_again:
            return
        self._look_again = now + 0.25
        first_s, most_s = self.manner.patience_s, self.manner.patience_most_s
        late = [
            n
            for n, (at, tries) in self._outstanding.items()
            if now - at > min(first_s * 2.0 ** min(max(0, tries - 1), 9), most_s) and n not in self._held
        ]
        room = UNANSWERED_MAX - len(self._unanswered)
        self._say(late[:room], now, batched=self.rng.random() < 0.5)

    def _say(self, ns: list[int], now: float, *, batched: bool) -> None:
        gathered: list[tuple[int, Report]] = []
        for n in ns:
            report = self.script.report(n)
            if n in self._outstanding:
                self._outstanding[n] = (now, self._outstanding[n][1] + 1)
            if batched and report.topic.endswith("/position"):
                gathered.append((n, report))
            else:
                self._unanswered[self.publish(report.topic, report.payload)] = (n,)
                if self.manner.unruly and self.rng.random() < 0.01:
                    self._unanswered[self.publish(report.topic, report.payload)] = (n,)
        for at in range(0, len(gathered), BATCH_MAX):
            part = gathered[at : at + BATCH_MAX]
            payload = b"[" + b",".join(report.payload for _, report in part) + b"]"
            self._unanswered[self.publish(part[0][1].topic, payload, len(part))] = tuple(n for n, _ in part)


class Crowd(Talker):
    """Homes, OwnTracks phones and rubbish, over one line. Its ledger: when the broker took each word of it."""

    def __init__(self, port: int, seed: int, day: float, homes: int, rng: random.Random) -> None:
        super().__init__(port, "crowd", (), rng)
        self._seed, self._day, self._homes = seed, day, homes
        self.said_at = array("d", [0.0])
        """By number, from 1: when it was said last before the broker answered."""
        self.taken_at = array("d", [0.0])
        """When we read that answer, which may be a while after it was given; 0 where there is none yet."""
        self._unanswered: dict[int, int] = {}
        self._again: list[int] = []

    @property
    def said(self) -> int:
        return len(self.taken_at) - 1

    @property
    def outstanding(self) -> int:
        return len(self._unanswered) + len(self._again)

    def word(self, n: int) -> Loose:
        return loose(self._seed, self._day, self._homes, n)

    def pump(self, count: int, now: float) -> int:
        if not self.up:
            return 0
        again, self._again = self._again, []
        new = list(range(self.said + 1, self.said + 1 + max(0, min(count, UNANSWERED_MAX - len(self._unanswered)))))
        self.said_at.extend(0.0 for _ in new)
        self.taken_at.extend(0.0 for _ in new)
        for n in again + new:
            word = self.word(n)
            self.said_at[n] = time.time()
            for _ in range(1 + (self.rng.random() < 0.02)):
                self._unanswered[self.publish(word.topic, word.payload)] = n
        return len(new)

    def acknowledged(self, mid: int) -> None:
        n = self._unanswered.pop(mid, None)
        if n is not None and not self.taken_at[n]:
            self.taken_at[n] = time.time()

    def lost(self) -> None:
        super().lost()
        self._again += sorted({n for n in self._unanswered.values() if not self.taken_at[n]})
        self._unanswered.clear()


class Fleet:
    """All of them, at one rate: nine in ten reports count."""

    TURN_S = 0.02

    def __init__(self, port: int, scripts: list[Script], homes: int, spot: Spot, manner: Manner | None = None) -> None:
        manner, seed, day = manner or Manner(), scripts[0].seed, scripts[0].day
        self.phones = [Phone(port, script, random.Random(f"{seed}/{script.worker}"), spot, manner) for script in scripts]
        self.crowd = Crowd(port, seed, day, homes, random.Random(f"{seed}/crowd"))
        self.talking_s = 0.0
        self.reports_total = 0
        self._rate = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        for talker in (*self.phones, self.crowd):
            self._tasks.append(asyncio.create_task(talker.keep(), name=talker.name))
        self._tasks.append(asyncio.create_task(self._pump(), name="pump"))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for talker in (*self.phones, self.crowd):
            talker.cut()

    def talk(self, rate: float) -> None:
        """So many new reports a second from now on; 0: only what is still owed."""
        self._rate = rate

    def cut(self, share: float, rng: random.Random) -> bool:
        """Breaks the lines of a part of the phones; whether one of them had something under way."""
        struck = rng.sample(self.phones, max(1, round(len(self.phones) * share)))
        busy = any(phone.outstanding for phone in struck)
        for phone in struck:
            phone.cut()
        if rng.random() < share:
            self.crowd.cut()
        return busy

    @property
    def outstanding(self) -> int:
        return sum(phone.outstanding for phone in self.phones) + self.crowd.outstanding

    @property
    def receipted_total(self) -> int:
        return sum(phone.receipted_total for phone in self.phones)

    @property
    def up(self) -> bool:
        """Everybody has a line."""
        return all(talker.up for talker in (*self.phones, self.crowd))

    @property
    def messages_total(self) -> int:
        return sum(talker.said_total for talker in (*self.phones, self.crowd))

    @property
    def elements_total(self) -> int:
        return sum(talker.elements_total for talker in (*self.phones, self.crowd))

    async def _pump(self) -> None:
        """What could not be said for a second is not caught up with: the phones were busy with what they owed."""
        counted, loose, turn, last = 0.0, 0.0, 0, time.monotonic()
        while True:
            await asyncio.sleep(self.TURN_S)
            now = time.monotonic()
            passed_s, last = now - last, now
            self.talking_s += passed_s if self._rate else 0.0
            counted = min(counted + 0.9 * self._rate * passed_s, self._rate)
            loose = min(loose + 0.1 * self._rate * passed_s, self._rate)
            loose_said = self.crowd.pump(int(loose), now)
            each, said = math.ceil(counted / len(self.phones)), 0
            for k in range(len(self.phones)):
                phone = self.phones[(turn + k) % len(self.phones)]
                said += phone.pump(min(each, int(counted) - said), now)
            turn += 1
            counted, loose = counted - said, loose - loose_said
            self.reports_total += said + loose_said
