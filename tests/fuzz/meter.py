"""How long each case took in CPU time of its thread, without the garbage collector's part of it.

A collection is started by whichever case happens to allocate next, and cleans up after everything else in the process: it says
nothing about the case. Its time is counted apart, and shown.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT_S = 0.1
"""A case that takes longer is a defect: one message of a flood must not hold up the others."""


class Meter:
    """Counts cases, and remembers the slowest."""

    def __init__(self) -> None:
        self.cases = 0
        self.cpu_s = 0.0
        self.collecting_s = 0.0
        self.slowest_s = 0.0
        self.slowest = b""
        self._began = 0.0
        self._collected_s = 0.0

    @contextmanager
    def case(self, data: bytes) -> Iterator[None]:
        """Measures what is done with these bytes inside."""
        self._collected_s = 0.0
        began = time.thread_time()
        try:
            yield
        finally:
            took_s = time.thread_time() - began - self._collected_s
            self.cases += 1
            self.cpu_s += took_s
            self.collecting_s += self._collected_s
            if took_s > self.slowest_s:
                self.slowest_s, self.slowest = took_s, data

    def collecting(self, phase: str, _: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._collected_s += time.thread_time() - self._began


@contextmanager
def metering() -> Iterator[Meter]:
    """A meter that knows when the collector runs."""
    meter = Meter()
    gc.callbacks.append(meter.collecting)
    try:
        yield meter
    finally:
        gc.callbacks.remove(meter.collecting)
