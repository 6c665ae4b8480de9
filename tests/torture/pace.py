"""The pace of a storm: how much phones say, how much of it while no fault is on, and a line now and then of how far it is.

A fault is on from its blow until what it struck is up again, every phone has its line, and a receipt has come.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from tests.torture.phones import Fleet

LOOK_S = 0.1
LINE_S = 10.0

Say = Callable[[str], None]


class Said(Struct, frozen=True):
    """What was published within a time, and the part of both that was calm."""

    messages: int = 0
    reports: int = 0
    """New ones. Messages are also what is said again; and one message may be a batch of reports."""
    seconds: float = 0.0
    calm_messages: int = 0
    calm_s: float = 0.0

    @property
    def a_second(self) -> float:
        return self.messages / max(self.seconds, 1e-9)

    @property
    def a_second_in_calm(self) -> float:
        return self.calm_messages / max(self.calm_s, 1e-9)

    def and_(self, other: "Said") -> "Said":
        return Said(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))

    def line(self) -> str:
        return (
            f"in {self.seconds:.0f} s {self.messages:,} messages were published ({self.a_second:,.0f}/s),"
            f" {self.reports:,} new reports among them; {self.a_second_in_calm:,.0f}/s in the {self.calm_s:.0f} s without a fault"
        )


class Pace:
    """Looks on until `end`; `faults` are those that are on."""

    def __init__(self, fleet: Fleet, planned: int, say: Say) -> None:
        self.on = 0
        self.struck = 0
        self._fleet, self._planned, self._say = fleet, planned, say
        self._began = time.monotonic()
        self._calm_messages, self._calm_s = 0, 0.0
        self._look: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._began = time.monotonic()
        self._look = asyncio.create_task(self._keep(), name="pace")

    def end(self) -> Said:
        assert self._look is not None
        self._look.cancel()
        fleet = self._fleet
        took_s = time.monotonic() - self._began
        return Said(fleet.messages_total, fleet.reports_total, took_s, self._calm_messages, self._calm_s)

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """A fault is on while the block lasts."""
        self.on += 1
        try:
            yield
        finally:
            self.on -= 1

    async def until_over(self, up: Callable[[], bool], seconds: float) -> None:
        """Until a fault is over, or for so long. `up` is asked beside the loop, whether what was struck is."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(up) and time.monotonic() < deadline:  # noqa: ASYNC110 - nobody could tell us.
            await asyncio.sleep(LOOK_S)
        receipted = self._fleet.receipted_total
        while not self._flows(receipted) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)

    def _flows(self, receipted: int) -> bool:
        return self._fleet.up and (self._fleet.receipted_total > receipted or self._fleet.outstanding == 0)

    async def _keep(self) -> None:
        fleet = self._fleet
        calm, messages, at, told_at = self.on == 0, fleet.messages_total, time.monotonic(), time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            if calm and self.on == 0:
                self._calm_messages += fleet.messages_total - messages
                self._calm_s += now - at
            calm, messages, at = self.on == 0, fleet.messages_total, now
            if now - told_at > LINE_S:
                told_at = now
                self._say(
                    f"{now - self._began:4.0f} s: {self.struck} of {self._planned} faults; {messages:,} messages,"
                    f" {fleet.receipted_total:,} reports receipted, {fleet.outstanding:,} not yet"
                )
