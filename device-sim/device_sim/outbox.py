"""Outbox: what a phone has said and has not been promised to be kept. Pure: it is told the time and what the network did.

    waiting ──due()──▶ sent ──receipt──▶ done            counted: only a receipt ends it, an acknowledgement of the broker does not
                        │ ▲                               not counted (devices, OwnTracks, wills): the broker's word is all there is
                        └─┘ no receipt for RESEND_S: again

A broker's PUBACK is no promise that anything was stored. So a phone sends again until the receipt `{epoch, through}` says that
everything up to `through` is kept. At most `WINDOW` reports are sent and not done; the rest waits its turn.
"""

from bisect import bisect_right

from device_sim.feed import Feed

WINDOW = 1200
RESEND_S, RESEND_MOST_S = 10.0, 120.0


class Outbox:
    """The deliveries of one feed, from first to last."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.resent = 0
        self._next = 0
        self._sent: dict[int, tuple[float, int]] = {}
        """Delivery → (when it was sent last, how often)."""
        self._through: dict[int, int] = {}
        self._entry_count = len(feed.track)

    @property
    def empty(self) -> bool:
        return self._next == len(self.feed) and not self._sent

    @property
    def unconfirmed(self) -> int:
        return len(self._sent)

    def next_at(self) -> float:
        """When the next report that was never sent becomes deliverable; infinite when there is none or the window is full."""
        if self._next == len(self.feed) or len(self._sent) >= WINDOW:
            return float("inf")
        return float(self.feed.deliverable_at[self._next])

    def due(self, now: float, limit: int) -> list[int]:
        """Deliveries that were never sent and can be, in order, at most `limit`; `now` in simulated time."""
        until = bisect_right(self.feed.deliverable_at, now, lo=self._next)
        until = min(until, self._next + min(limit, WINDOW - len(self._sent)))
        fresh = list(range(self._next, max(until, self._next)))
        self._next = max(until, self._next)
        return fresh

    def overdue(self, clock: float, limit: int) -> list[int]:
        """Deliveries whose receipt is late, oldest first; the patience doubles with every try. `clock` is the shell's."""
        late = [k for k, (at, tries) in self._sent.items() if clock - at >= min(RESEND_S * 2 ** (tries - 1), RESEND_MOST_S)][:limit]
        self.resent += len(late)
        return late

    def sent(self, deliveries: list[int], clock: float) -> None:
        """They are on their way. What is already receipted (a repeat) is not waited for."""
        for k in deliveries:
            seq, epoch = self._number(k)
            if seq == 0 or seq > self._through.get(epoch, 0):
                self._sent[k] = (clock, self._sent[k][1] + 1 if k in self._sent else 1)

    def acknowledged(self, deliveries: list[int]) -> None:
        """The broker has them: the end for what is not counted."""
        for k in deliveries:
            if self._number(k)[0] == 0:
                self._sent.pop(k, None)

    def failed(self, deliveries: list[int]) -> None:
        """The connection broke before the broker answered: send them again at once."""
        for k in deliveries:
            if k in self._sent:
                self._sent[k] = (float("-inf"), 1)

    def receipt(self, epoch: int, through: int) -> None:
        """Everything of `epoch` up to `through` is kept."""
        if through <= self._through.get(epoch, 0):
            return
        self._through[epoch] = through
        for k in [k for k in self._sent if self._covered(k, epoch, through)]:
            del self._sent[k]

    def trust_broker(self) -> None:
        """For a broker with nobody behind it: take its word for everything sent so far."""
        self._sent.clear()

    def _number(self, k: int) -> tuple[int, int]:
        index = int(self.feed.order[k])
        entry = index if index >= 0 else self._entry_count + ~index
        return int(self.feed.seq[entry]), int(self.feed.epoch[entry])

    def _covered(self, k: int, epoch: int, through: int) -> bool:
        seq, own_epoch = self._number(k)
        return own_epoch == epoch and 0 < seq <= through
