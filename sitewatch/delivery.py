"""Delivery: reports go to the broker in batches, and a report is delivered when the system's receipt says that it is kept.

A broker's PUBACK says that the broker has a message, not that the system stored it. So:

- What was sent and not yet receipted is bounded (`window`); at the bound we wait.
- The system's receipt is the truth, the progress file only a hint. If the first receipt of a lane says less than the file
  remembered (somebody began with an empty database), the lane goes back to what the receipt says.
- Nothing is kept in memory to be sent again: a *pass* reads the recordings from the beginning, leaves out what is receipted, and
  sends the rest. A lost connection, a receipt that does not come, or a lane that went back begin another pass; a repeat changes
  nothing on the other side.
- OwnTracks has no receipts: there a PUBACK is all that can be had, and is taken for delivery.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt
import msgspec
from msgspec import Struct

from sitewatch.recordings import Lane, Report

PAYLOAD_BYTES_MAX = 15_000
"""The embedded broker takes 20,480 bytes a payload; the rest is room for topic and headers, and for other brokers' limits."""

PUBACKS_MAX = 20
"""Messages on their way to the broker at a time: what mosquitto, too, takes by default before it makes a client wait."""

TICK_S = 1.0
"""At a given speed, what falls into one second of ours goes out together."""

LANES_OPEN_MAX = 200
"""Lanes whose arrays are filling at a time; beyond it all go out as they are."""

SAVE_EVERY_S = 1.0


class Settings(Struct, frozen=True, kw_only=True):
    mqtt: str
    prefix: str = "sitewatch/v1"
    window: int = 20_000
    """Reports that may wait for their receipt."""
    speed: float | None = None
    """How many times real time; None: as fast as receipts come."""
    stall_s: float = 30.0
    """Without a receipt for so long, what is not receipted is sent again."""
    patience_s: float = 300.0
    """Without any progress for so long, we stop and say so."""


class Batch(Struct, frozen=True):
    """One MQTT message with the reports of one lane up to and including seq `last`."""

    at: float
    lane: Lane
    last: int
    topic: str
    payload: bytes


class Receipt(Struct, frozen=True):
    """What the system sends to a phone after the commit."""

    through: int
    epoch: int = 0


class UndeliveredError(Exception):
    """No progress for longer than the patience; the text says what was last seen."""


class _StalledError(Exception):
    """No receipt in time: begin another pass."""


class Ledger:
    """The progress file: through which seq each lane is delivered. Written whole, then renamed, so that it is never half."""

    def __init__(self, path: Path, lanes: Iterable[Lane]) -> None:
        self._path = path
        self._lanes = list(lanes)
        self._saved_at = 0.0

    def restore(self) -> None:
        try:
            remembered = json.loads(self._path.read_bytes())["through"]
        except FileNotFoundError:
            return
        for lane in self._lanes:
            lane.through = min(int(remembered.get(lane.key, 0)), lane.total)

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"through": {lane.key: lane.through for lane in self._lanes if lane.through}}, indent=1))
        draft.replace(self._path)

    def save_now_and_then(self, now: float) -> None:
        if now - self._saved_at >= SAVE_EVERY_S:
            self._saved_at = now
            self.save()

    def forget(self) -> None:
        """A finished import remembers nothing: the next one asks the system, which may be another."""
        self._path.unlink(missing_ok=True)


class Delivery:
    """One import's delivery, from the first pass until every lane is through."""

    def __init__(
        self,
        lanes: Iterable[Lane],
        reports: Callable[[], Iterator[Report]],
        ledger: Ledger,
        settings: Settings,
        tell: Callable[[str], None],
        progressed: Callable[[int], None],
    ) -> None:
        self._lanes = list(lanes)
        self._by_key = {(lane.owner, lane.epoch): lane for lane in self._lanes if lane.receipted}
        self._reports = reports
        self._ledger = ledger
        self._settings = settings
        self._tell = tell
        self._progressed = progressed
        self._news = asyncio.Event()
        self._total = sum(lane.total for lane in self._lanes)
        self._delivered = sum(lane.through for lane in self._lanes)
        self._outstanding = 0
        self._went_back = False
        self._trouble_since: float | None = None

    async def run(self) -> None:
        """Return when everything is delivered. Raises UndeliveredError when nothing moves any more."""
        pause_s = 0.5
        try:
            while not self._done():
                try:
                    await self._connected()
                    pause_s = 0.5
                except (aiomqtt.MqttError, _StalledError) as error:
                    self._trouble_since = self._trouble_since or time.monotonic()
                    if time.monotonic() - self._trouble_since > self._settings.patience_s:
                        raise UndeliveredError(str(error)) from error
                    self._tell(f"{error}; trying again in {pause_s:g} s")
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, 15.0)
        finally:
            self._ledger.save()
        self._ledger.forget()

    async def _connected(self) -> None:
        async with client(self._settings.mqtt) as link:
            listening = asyncio.create_task(self._listen(link), name="receipts")
            try:
                await self._subscribe(link)
                while not self._done():
                    await self._pass(link, listening)
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _subscribe(self, link: aiomqtt.Client) -> None:
        owners = sorted({lane.owner for lane in self._lanes if lane.receipted})
        for first in range(0, len(owners), 50):
            topics = [(f"{self._settings.prefix}/workers/{owner}/receipt", 1) for owner in owners[first : first + 50]]
            await link.subscribe(topics, timeout=15)

    # One pass ----------------------------------------------------------------------------------------------------------------

    async def _pass(self, link: aiomqtt.Client, listening: "asyncio.Task[None]") -> None:
        for lane in self._lanes:
            self._move(lane, sent=lane.through, through=lane.through)
        self._went_back = False
        on_the_way: deque[tuple[Batch, asyncio.Task[None]]] = deque()
        began, first_at = time.monotonic(), None
        try:
            for batch in batches(self._reports(), self._settings):
                if self._settings.speed:
                    first_at = batch.at if first_at is None else first_at
                    await asyncio.sleep(began + (batch.at - first_at) / self._settings.speed - time.monotonic())
                await self._room(listening)
                self._move(batch.lane, sent=max(batch.lane.sent, batch.last), through=batch.lane.through)
                on_the_way.append((batch, asyncio.create_task(link.publish(batch.topic, batch.payload, qos=1, timeout=30))))
                if len(on_the_way) >= PUBACKS_MAX:
                    await self._puback(*on_the_way.popleft())
                if self._went_back:
                    break
            while on_the_way:
                await self._puback(*on_the_way.popleft())
            while self._outstanding and not self._went_back:
                await self._receipt(listening)
        finally:
            for _, task in on_the_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in on_the_way), return_exceptions=True)

    async def _room(self, listening: "asyncio.Task[None]") -> None:
        while self._outstanding >= self._settings.window and not self._went_back:
            await self._receipt(listening)

    async def _puback(self, batch: Batch, task: "asyncio.Task[None]") -> None:
        await task
        if not batch.lane.receipted:
            self._advance(batch.lane, batch.last)

    async def _receipt(self, listening: "asyncio.Task[None]") -> None:
        self._news.clear()
        news = asyncio.create_task(self._news.wait())
        done, _ = await asyncio.wait({news, listening}, timeout=self._settings.stall_s, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        if listening in done:
            listening.result()  # Raises what ended it: the connection is gone.
            raise aiomqtt.MqttError("the broker ended the connection")
        if not done:
            raise _StalledError(f"no receipt for {self._settings.stall_s:g} s (is ingest running?)")

    # Receipts ----------------------------------------------------------------------------------------------------------------

    async def _listen(self, link: aiomqtt.Client) -> None:
        async for message in link.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self.heard(str(message.topic).split("/")[-2], payload)

    def heard(self, owner: str, payload: bytes) -> None:
        """A receipt came. The first word on a lane is believed even when it says less than we thought; later ones only add."""
        try:
            receipt = msgspec.json.decode(payload, type=Receipt)
        except msgspec.DecodeError:
            return
        lane = self._by_key.get((owner, receipt.epoch))
        if lane is None:
            return
        if not lane.confirmed:
            lane.confirmed = True
            if receipt.through < lane.through:
                self._move(lane, sent=receipt.through, through=receipt.through)
                self._went_back = True
        self._advance(lane, min(receipt.through, lane.total))

    def _advance(self, lane: Lane, through: int) -> None:
        if through > lane.through:
            self._move(lane, sent=lane.sent, through=through)
            self._trouble_since = None
            self._ledger.save_now_and_then(time.monotonic())
        self._progressed(self._delivered)
        self._news.set()

    def _move(self, lane: Lane, *, sent: int, through: int) -> None:
        """The two sums over all lanes are kept up, not added up: there may be a lane for each of many thousand files."""
        self._outstanding += max(0, sent - through) - max(0, lane.sent - lane.through)
        self._delivered += through - lane.through
        lane.sent, lane.through = sent, through

    def _done(self) -> bool:
        return self._delivered == self._total


# Batches -------------------------------------------------------------------------------------------------------------------------


def batches(reports: Iterable[Report], settings: Settings) -> Iterator[Batch]:
    """Reports of one lane joined to arrays of at most PAYLOAD_BYTES_MAX; at a given speed none spans more than a tick."""
    span_s = settings.speed * TICK_S if settings.speed else float("inf")
    open_since = float("-inf")
    waiting: dict[Lane, list[Report]] = {}
    size: dict[Lane, int] = {}
    for report in reports:
        if not report.lane.receipted:
            yield Batch(report.at, report.lane, report.seq, report.topic, report.payload)
            continue
        if report.at - open_since >= span_s or len(waiting) >= LANES_OPEN_MAX:
            yield from (_joined(waits, settings.prefix) for waits in waiting.values() if waits)
            waiting, size, open_since = {}, {}, report.at
        lane = report.lane
        if size.get(lane, 0) + len(report.payload) + 2 > PAYLOAD_BYTES_MAX:
            yield _joined(waiting.pop(lane), settings.prefix)
            size[lane] = 0
        waiting.setdefault(lane, []).append(report)
        size[lane] = size.get(lane, 0) + len(report.payload) + 1
    yield from (_joined(waits, settings.prefix) for waits in waiting.values() if waits)


def _joined(waits: list[Report], prefix: str) -> Batch:
    last = waits[-1]
    payload = b"[" + b",".join(report.payload for report in waits) + b"]"
    return Batch(last.at, last.lane, last.seq, f"{prefix}/{last.topic}", payload)


# Broker --------------------------------------------------------------------------------------------------------------------------


def client(url: str) -> aiomqtt.Client:
    """A connection to `mqtt://user:password@host:port` (or mqtts), MQTT 3.1.1, which every broker here speaks."""
    parts = urlsplit(url)
    quiet = logging.getLogger("sitewatch.delivery.mqtt")
    quiet.setLevel(logging.CRITICAL)  # What matters comes as an exception, and is told once.
    return aiomqtt.Client(
        parts.hostname or "127.0.0.1",
        parts.port or (8883 if parts.scheme == "mqtts" else 1883),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls_params=aiomqtt.TLSParameters() if parts.scheme == "mqtts" else None,
        max_inflight_messages=PUBACKS_MAX,
        logger=quiet,
        timeout=15,
    )
