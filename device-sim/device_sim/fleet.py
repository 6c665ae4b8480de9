"""Fleet: the shell that plays a day to a broker. Everything that it says was decided before; here is only when, and until when.

A few connections carry the whole fleet (thousands of phones from one machine would be a test of sockets). Each connection owns some
feeds, keeps their order, and sends backlog as arrays; the wills of its phones are published like everything else. A few phones have
a connection and a will of their own: when such a phone dies, its radio is cut and the broker publishes the will itself. One more
connection listens for receipts. When the broker goes away, all come back with backoff and send again what nobody confirmed.
"""

import asyncio
import heapq
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterator

import aiomqtt
import msgspec

from device_sim.broker import Broker, Radio
from device_sim.feed import Feed, Report
from device_sim.outbox import Outbox
from device_sim.simulate import Day

ARRAY_MAX, ARRAY_BYTES_MAX = 60, 14_000
"""Reports in one message: a broker may refuse more than 20 KB."""
ROUND_MAX = 400
"""Reports that one connection has on its way at a time."""
LOOK_S = 0.1
WILL_RECENT_S = 20.0
"""An older will is history: it is published like everything else of the past."""
RESEND_LOOK_S = 1.0
BACKOFF_S, BACKOFF_MOST_S = 0.5, 15.0

Say = Callable[[str], None]


class Summary(msgspec.Struct):
    """What the shell did, counted. `unconfirmed` is what was sent and never receipted when it stopped."""

    reports: int = 0
    messages: int = 0
    resent: int = 0
    receipts: int = 0
    reconnects: int = 0
    wills: int = 0
    """Radios that were cut, so that the broker published the will."""
    unconfirmed: int = 0
    seconds: float = 0.0


class Play:
    """One day being played. `now` is the simulated time; infinite means that everything is due."""

    def __init__(
        self, day: Day, broker: Broker, now: Callable[[], float], *, connections: int, receipts: bool, say: Say, own: int = 0
    ) -> None:
        self._broker, self._now, self._say, self._receipts = broker, now, say, receipts
        self._prefix = day.options.prefix
        self.outboxes = [Outbox(feed) for feed in day.feeds if len(feed)]
        self._by_worker = {box.feed.owner: box for box in self.outboxes if box.feed.owner}
        phones = [box for box in self.outboxes if box.feed.owner and not box.feed.owntracks]
        self._own = sorted(phones, key=lambda box: not box.feed.wills_after(now()))[:own]  # First those that are still to die.
        pooled = [box for box in self.outboxes if box not in self._own]
        self._lines = [pooled[k::connections] for k in range(min(connections, len(pooled)))]
        self._listening = asyncio.Event()
        self._name = f"device-sim-{random.getrandbits(40):010x}"
        self.summary = Summary()

    @property
    def empty(self) -> bool:
        return all(box.empty for box in self.outboxes)

    async def play(self) -> None:
        """Until every outbox is empty."""
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                ear = group.create_task(self._listen(), name="receipts") if self._receipts else None
                if ear is not None:
                    await self._listening.wait()
                lines = [group.create_task(self._line(k, boxes), name=f"line {k}") for k, boxes in enumerate(self._lines)]
                lines += [group.create_task(self._own_line(box), name=f"phone {box.feed.source}") for box in self._own]
                await asyncio.wait(lines)
                if ear is not None:
                    ear.cancel()
        finally:
            self.summary.resent = sum(box.resent for box in self.outboxes)
            self.summary.unconfirmed = sum(box.unconfirmed for box in self.outboxes)
            self.summary.seconds = time.monotonic() - began

    async def _line(self, number: int, boxes: list[Outbox]) -> None:
        """One connection, made again whenever it breaks."""
        backoff_s = BACKOFF_S
        while not all(box.empty for box in boxes):
            try:
                async with self._broker.client(f"{self._name}-{number}") as client:
                    backoff_s = BACKOFF_S
                    await _until_cut(client, self._speak(client, boxes))
            except aiomqtt.MqttError as error:
                self.summary.reconnects += 1
                self._say(f"connection {number} lost ({error}); again in {backoff_s:.1f} s")
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                backoff_s = min(2 * backoff_s, BACKOFF_MOST_S)

    async def _own_line(self, box: Outbox) -> None:
        """One phone's own connection with its will, cut when the phone dies, made again when it has something to say."""
        topic = f"{box.feed.topic}/status"
        async with Radio(self._broker) as radio:
            while not box.empty:
                coming = box.feed.wills_after(self._now() - WILL_RECENT_S)
                will = aiomqtt.Will(topic, msgspec.json.encode(coming[0].payload), 1, True) if coming else None
                cut = self.summary.wills
                try:
                    async with radio.near.client(f"{self._name}-{box.feed.source}", will) as client:
                        await _until_cut(client, self._speak(client, [box], radio))
                except aiomqtt.MqttError:
                    await asyncio.sleep(BACKOFF_S)
                    if self.summary.wills > cut:
                        await self._until_next(box)

    async def _until_next(self, box: Outbox) -> None:
        """A dead phone stays away until it has something to say."""
        while (away_s := box.next_at() - self._now()) > 0:  # noqa: ASYNC110 - simulated time is a function: it sets no events
            await asyncio.sleep(min(max(away_s, LOOK_S), 1.0))

    async def _speak(self, client: aiomqtt.Client, boxes: list[Outbox], radio: Radio | None = None) -> None:
        """Send what is due, feed by feed in the order of time, and what is overdue once a second."""
        schedule = [(box.next_at(), k) for k, box in enumerate(boxes)]
        heapq.heapify(schedule)
        looked_at = 0.0
        while not all(box.empty for box in boxes):
            sending = list(self._due(boxes, schedule))
            if time.monotonic() - looked_at >= RESEND_LOOK_S:
                looked_at = time.monotonic()
                sending += self._overdue(boxes)
                schedule = [(box.next_at(), k) for k, box in enumerate(boxes)]
                heapq.heapify(schedule)
            if sending:
                await asyncio.gather(*(self._publish(client, *self._before_death(*one, radio)) for one in sending))
            else:
                await asyncio.sleep(LOOK_S)

    def _due(self, boxes: list[Outbox], schedule: list[tuple[float, int]]) -> Iterator[tuple[Outbox, list[int]]]:
        """New deliveries, at most ROUND_MAX, with their outboxes."""
        now, room, taken = self._now(), ROUND_MAX, []
        while schedule and schedule[0][0] <= now and room > 0:
            _, k = heapq.heappop(schedule)
            taken.append(k)
            fresh = boxes[k].due(now, min(room, ARRAY_MAX))
            room -= len(fresh)
            boxes[k].sent(fresh, time.monotonic())
            yield boxes[k], fresh
        for k in taken:  # Once a round each, so that two messages of one phone are never under way side by side.
            heapq.heappush(schedule, (boxes[k].next_at(), k))

    def _overdue(self, boxes: list[Outbox]) -> list[tuple[Outbox, list[int]]]:
        late = [(box, box.overdue(time.monotonic(), ROUND_MAX)) for box in boxes if box.unconfirmed]
        for box, deliveries in late:
            box.sent(deliveries, time.monotonic())
        return [(box, deliveries) for box, deliveries in late if deliveries]

    def _before_death(self, box: Outbox, deliveries: list[int], radio: Radio | None) -> tuple[Outbox, list[int]]:
        """What can be said before the phone's connection dies; what comes after that waits for a new one."""
        if radio is None:
            return box, deliveries
        dying = [k for k in deliveries if box.feed.is_will(k) and box.feed.deliverable_at[k] > self._now() - WILL_RECENT_S]
        if not dying:
            return box, deliveries
        box.acknowledged(dying[:1])
        box.failed([k for k in deliveries if k > dying[0]])
        self.summary.wills += 1
        asyncio.get_running_loop().call_later(0.5, radio.cut)
        return box, [k for k in deliveries if k < dying[0]]

    async def _publish(self, client: aiomqtt.Client, box: Outbox, deliveries: list[int]) -> None:
        """Some deliveries of one feed, in order, as few messages as they fit in."""
        sending = list(pack([box.feed.report(k) for k in deliveries], arrays=not box.feed.owntracks))
        taken = False
        try:
            for topic, payload, retain in sending:
                await client.publish(topic, payload, qos=1, retain=retain)
            taken = True
        finally:
            if not taken:
                box.failed(deliveries)
        box.acknowledged(deliveries)
        self.summary.reports += len(deliveries)
        self.summary.messages += len(sending)
        if not self._receipts:
            box.trust_broker()

    async def _listen(self) -> None:
        """Receipts to their outboxes."""
        backoff_s = BACKOFF_S
        while True:
            try:
                async with self._broker.client(f"{self._name}-receipts") as client:
                    await client.subscribe(f"{self._prefix}/workers/+/receipt", qos=1)
                    self._listening.set()
                    backoff_s = BACKOFF_S
                    async for message in client.messages:
                        self._take(
                            str(message.topic), bytes(message.payload) if isinstance(message.payload, (bytes, bytearray)) else b""
                        )
            except aiomqtt.MqttError as error:
                self._say(f"receipts lost ({error}); again in {backoff_s:.1f} s")
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                backoff_s = min(2 * backoff_s, BACKOFF_MOST_S)

    def _take(self, topic: str, payload: bytes) -> None:
        box = self._by_worker.get(topic.rsplit("/", 2)[-2])
        try:
            receipt = msgspec.json.decode(payload, type=Receipt)
        except msgspec.MsgspecError:
            return  # Others may share the broker; what is no receipt promises nothing.
        if box is not None:
            self.summary.receipts += 1
            box.receipt(receipt.epoch, receipt.through)


async def _until_cut(client: aiomqtt.Client, speaking: Coroutine[None, None, None]) -> None:
    """Speak until done; raises MqttError as soon as the connection is cut, where a publish alone would wait for its timeout."""

    async def watch() -> None:
        async for _ in client.messages:
            pass

    tasks = [asyncio.create_task(speaking), asyncio.create_task(watch())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class Receipt(msgspec.Struct, frozen=True):
    epoch: int
    through: int


def pack(reports: list[Report], *, arrays: bool) -> Iterator[tuple[str, bytes, bool]]:
    """(topic, payload, retain) of few messages: neighbours on one topic become an array, unless they are retained."""
    held: list[bytes] = []
    for k, report in enumerate(reports):
        held.append(msgspec.json.encode(report.payload))
        following = reports[k + 1] if k + 1 < len(reports) else None
        joins = arrays and following is not None and following.topic == report.topic and not (report.retain or following.retain)
        if not joins or sum(map(len, held)) > ARRAY_BYTES_MAX:
            yield report.topic, held[0] if len(held) == 1 else b"[" + b",".join(held) + b"]", report.retain
            held = []


def clock(speed: float, begins_at: float) -> Callable[[], float]:
    """Simulated time: the wall's; or from `begins_at` on `speed` times as fast, until it has caught up with the wall's."""
    if speed == 1:
        return time.time
    started = time.monotonic()
    return lambda: min(time.time(), begins_at + (time.monotonic() - started) * speed)


def forever() -> float:
    """The time at which a finished day is wholly due."""
    return float("inf")


def to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


def first_at(feeds: tuple[Feed, ...]) -> float:
    return min(float(feed.deliverable_at[0]) for feed in feeds if len(feed))
