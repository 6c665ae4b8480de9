"""The watch over one connection to the broker: is it there, and does our subscription still flow? Pure: the time is an argument.

    something comes ──▶ all is well
    nothing heard for half a keepalive ──▶ PING ──no answer for `ANSWER_S`──▶ HALF_OPEN
    no message for `pulse_s` ──▶ PULSE ──`PULSES` of them without any message──▶ STALLED

A half-open connection is one whose other end is gone without a word. A stalled subscription is worse to see: the broker answers
pings and serves everybody else, and nothing comes to us. So ingest publishes a pulse to itself, through the broker, on a topic of
its own, whenever nothing else has come for a while; an idle night and a stall then look different.

Rules kept here:

- While we do not read (the database is away) or owe an acknowledgement (the broker may have a limit to that) nothing can be
  concluded: `blind` starts the waiting anew.
- A broker that never gave a pulse back may simply not allow it: only after the first has come is their absence a stall. Until then
  it is said once, as UNPROVEN.
"""

from enum import Enum
from math import inf

ANSWER_S = 10.0
"""How long a broker may take to answer a ping."""
PULSES = 3
"""Pulses that may stay away before the subscription counts as stalled."""


class Due(Enum):
    """What should be done now."""

    NOTHING = "nothing"
    PING = "ping"
    PULSE = "pulse"
    HALF_OPEN = "no answer to a ping: the connection is half open"
    STALLED = "the subscription has stalled: pulses no longer come back"
    UNPROVEN = "no pulse ever came back: a stall could not be told from a quiet night"


class Watch:
    """What one connection has shown lately. `now` is any clock that never goes back, in seconds; 0 for a period is never."""

    def __init__(self, keepalive_s: float, pulse_s: float, now: float, *, proven: bool = False) -> None:
        self._ping_after_s = keepalive_s / 2 or inf
        self._pulse_s = pulse_s or inf
        self.proven = proven
        """A pulse has come back from this broker."""
        self._sent_at = self._heard_at = self._flowed_at = now
        self._pinged_at: float | None = None
        self._pulses = 0
        self._said = False
        """That no pulse came back."""

    def sent(self, now: float) -> None:
        """Bytes went out: the broker's own clock for us starts anew."""
        self._sent_at = now

    def heard(self, now: float) -> None:
        """Bytes came in."""
        self._heard_at = now
        self._pinged_at = None

    def flowed(self, now: float) -> None:
        """A message came in."""
        self._flowed_at = now
        self._pulses = 0

    def blind(self, now: float) -> None:
        """We do not read now, and may be shown nothing."""
        self.heard(now)
        self.flowed(now)

    def due(self, now: float) -> Due:
        """What to do. A PING or PULSE counts as done when it was returned here."""
        if self._pinged_at is not None and now >= self._pinged_at + ANSWER_S:
            return Due.HALF_OPEN
        if self._pulses == PULSES and now >= self._next_pulse():
            if self.proven:
                return Due.STALLED
            self._pulses += 1
            if not self._said:
                self._said = True
                return Due.UNPROVEN
        if self._pinged_at is None and now >= min(self._sent_at, self._heard_at) + self._ping_after_s:
            self._pinged_at = now
            return Due.PING
        if self._pulses < PULSES and now >= self._next_pulse():
            self._pulses += 1
            return Due.PULSE
        return Due.NOTHING

    def wait_s(self, now: float) -> float:
        """How long nothing will be due."""
        waits = [self._next_pulse()] if self._pulses <= PULSES else []
        if self._pinged_at is not None:
            waits.append(self._pinged_at + ANSWER_S)
        else:
            waits.append(min(self._sent_at, self._heard_at) + self._ping_after_s)
        return max(0.0, min(waits) - now)

    def _next_pulse(self) -> float:
        return self._flowed_at + self._pulse_s * (self._pulses + 1)
