"""Memory: what verify remembers between two cycles, so that a fix which changes nothing costs next to nothing.

    fixes ──▶ Phones: in order, and plain? ──▶ the position moves, nothing of the past is read
          └─▶ Visits: does it turn over what was told? ──▶ a whole judgement

Rules kept here:

- It is a cache and no source of any answer. Lost, it is built up again: a visit is learnt whenever it is judged, a phone whenever
  its past was read. Whoever starts without it asks for all open visits to be judged (`touched.queue_open`).
- It belongs to one connection, and is thrown away with it. After a transaction that failed it has seen what never happened:
  `undone` has those visits judged again. Phones mend themselves: what they have seen already is no news, and goes the long way.
- A visit with an open window is either known here or waits in the queue. So what is known here needs no search in the database.
- Bounded: a row is freed with its visit's window, and a phone when it was silent for `FORGET_S`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from geofence import live, plain, window
from geofence.evidence import Ints
from geofence.plane import fence_of, plane_of
from geofence.policy import Policy
from store.derived import Judged
from store.fresh import Fresh
from store.journal import Touch
from store.stops import Slots
from store.touched import Owners
from store.windows import Case

ROOM = 256
FRESH_S = 120.0
"""Older fixes came late, and what is late is judged from the database."""
FORGET_S = 3600.0
SWEEP_S = 5.0
"""How often all visits are looked through for what silence did to them."""


class Phones:
    """The last fixes of phones that report."""

    def __init__(self) -> None:
        self._rows = np.zeros(ROOM, dtype=plain.PHONE)
        self._row_of: dict[str, int] = {}
        self._free = list(range(ROOM))

    def __len__(self) -> int:
        return len(self._row_of)

    def split(self, touches: Sequence[Touch], now: float) -> tuple[list[Touch], list[Touch]]:
        """The touches that go on where a known phone left off, with nothing but fixes; and all the others."""
        onward: list[Touch] = []
        rest: list[Touch] = []
        rows = [self._row_of.get(touch.source, -1) for touch in touches]
        last_at = self._rows["at"][rows].tolist()
        for touch, row, at in zip(touches, rows, last_at, strict=True):
            known = row >= 0 and not touch.others and touch.from_at > at
            (onward if known and now - FRESH_S <= touch.from_at and touch.to_at <= now + FRESH_S else rest).append(touch)
        self.forget(rest)
        return onward, rest

    def forget(self, touches: Iterable[Touch]) -> None:
        """Drops what is known of these phones: they go the long way once."""
        for touch in touches:
            self._forget(touch.source)

    def step(self, touches: Sequence[Touch], fresh: Fresh, policy: Policy) -> NDArray[np.bool_]:
        """Takes the phones on; whether each one's newest fix has no flag for sure."""
        rows = np.array([self._row_of[touch.source] for touch in touches], dtype=np.int64)
        for who, which in _rounds(fresh):
            steps = plain.Steps(
                at=fresh.at[which],
                received_at=fresh.received_at[which],
                lon=fresh.lon[which],
                lat=fresh.lat[which],
                accuracy_m=fresh.accuracy_m[which],
                altitude_m=fresh.altitude_m[which],
                odd=fresh.odd[which],
            )
            self._rows[rows[who]] = plain.step(self._rows[rows[who]], steps, policy)
        told: NDArray[np.bool_] = self._rows["plain"][rows]
        return told

    def learn(self, phones: Mapping[str, plain.Phones]) -> None:
        """Takes what was found by reading the past of phones."""
        for source, phone in phones.items():
            row = self._row_of.get(source)
            if row is None:
                if not self._free:
                    self._free = list(range(len(self._rows), 2 * len(self._rows)))
                    self._rows = np.concatenate((self._rows, np.zeros(len(self._rows), dtype=plain.PHONE)))
                row = self._row_of[source] = self._free.pop()
            self._rows[row] = phone[0]

    def trim(self, now: float) -> None:
        """Forgets phones that have been silent for long."""
        for source in [source for source, row in self._row_of.items() if self._rows["at"][row] < now - FORGET_S]:
            self._forget(source)

    def _forget(self, source: str) -> None:
        row = self._row_of.pop(source, None)
        if row is not None:
            self._free.append(row)


class Visits:
    """The visits whose window is open."""

    def __init__(self) -> None:
        self._rows = np.zeros(ROOM, dtype=live.ROW)
        self._shapes = np.full(ROOM, None, dtype=object)
        self._free = list(range(ROOM))
        self._row_of: dict[str, int] = {}
        self._visit_of: dict[int, str] = {}
        self._phones_of: dict[str, tuple[str, ...]] = {}
        self._rows_of: dict[str, tuple[int, ...]] = {}
        self._policies: list[Policy] = []
        self._wanted: dict[str, None] = {}
        self._heard: set[int] = set()
        self._swept_at = -np.inf

    def __len__(self) -> int:
        return len(self._row_of)

    def hear(self, touches: Sequence[Touch], fresh: Fresh) -> None:
        """Folds fresh fixes into the visits of their phones."""
        visits = [self._rows_of.get(touch.source, ()) for touch in touches]
        rows = np.fromiter(chain.from_iterable(visits), dtype=np.int64)
        owner = np.repeat(np.arange(len(visits)), [len(own) for own in visits])
        self._heard.update(rows.tolist())
        for who, which in _rounds(fresh):
            fix_of = np.full(len(touches), -1, dtype=np.int64)
            fix_of[who] = which
            having = fix_of[owner] >= 0
            self._step(rows[having], fix_of[owner[having]], fresh)

    def wanted(self, now: float, limit: int) -> list[str]:
        """Visits that want to be judged now, those that have waited longest first."""
        if now >= self._swept_at + SWEEP_S or now < self._swept_at:
            self._swept_at = now
            self._heard.update(self._visit_of)
        if self._heard:
            for policy, rows in self._by_policy(np.fromiter(self._heard, dtype=np.int64)):
                asked = self._rows[rows]
                for n in live.wanting(asked, now, policy).tolist():
                    self._wanted.setdefault(self._visit_of[int(rows[n])])
                self._rows[rows] = asked
            self._heard.clear()
        return [visit for visit, _ in zip(self._wanted, range(limit), strict=False)]

    def too_soon(self, due: Iterable[str], now: float) -> dict[str, float]:
        """Of these visits those that were judged only a moment ago, and when their next turn is."""
        turns: dict[str, float] = {}
        for visit in due:
            row = self._row_of.get(visit)
            if row is not None:
                next_at = float(self._rows["looked_at"][row]) + self._policies[int(self._rows["policy"][row])].live_every_s
                if now < next_at:
                    turns[visit] = next_at
        return turns

    def learn(self, cases: Sequence[Case], judged: Sequence[Judged], now: float) -> None:
        """Takes what was told of visits, and forgets those whose window is not open."""
        outcomes = {item.visit.id: item for item in judged}
        for case in cases:
            item = outcomes.get(case.scene.visit.id)
            opens_at, closes_at = window(case.scene.visit, case.policy)
            if item is None or item.look_at is None or not opens_at <= now < closes_at:
                self.forget([case.scene.visit.id])
            else:
                self._keep(case, item, closes_at, now)

    def want(self, visits: Iterable[str]) -> None:
        """Asks for a look at these visits, as far as they are known."""
        self._wanted.update(dict.fromkeys(visit for visit in visits if visit in self._row_of))

    def forget(self, visits: Collection[str]) -> None:
        """Drops what is known of these visits."""
        for visit in visits:
            self._wanted.pop(visit, None)
            row = self._row_of.pop(visit, None)
            if row is not None:
                self._link(row, self._phones_of.pop(visit), ())
                del self._visit_of[row]
                self._heard.discard(row)
                self._rows["used"][row] = False
                self._shapes[row] = None
                self._free.append(row)

    def _keep(self, case: Case, item: Judged, closes_at: float, now: float) -> None:
        visit = item.visit
        plane = plane_of(case.scene.site)
        fence = fence_of(case.scene.site, plane)
        made = live.row(visit, plane, fence, self._policy(case.policy))
        seen_at = case.observed.fixes.at
        row = self._row_of.get(visit.id)
        if row is None:
            row = self._row_of[visit.id] = self._room()
            self._visit_of[row] = visit.id
            made = live.told(made, item.outcome, float(seen_at[-1]) if len(seen_at) else -np.inf, now)
        else:
            made = live.told(live.resumed(made, self._rows[row : row + 1]), item.outcome, -np.inf, now)
        self._rows[row] = made[0]
        self._shapes[row] = None if fence.radius_m else fence.shape
        self._wanted.pop(visit.id, None)
        phones = case.scene.phones
        if self._phones_of.get(visit.id) != phones:
            self._link(row, self._phones_of.get(visit.id, ()), phones)
            self._phones_of[visit.id] = phones

    def _link(self, row: int, before: Iterable[str], after: Iterable[str]) -> None:
        for source in before:
            left = tuple(other for other in self._rows_of[source] if other != row)
            if left:
                self._rows_of[source] = left
            else:
                del self._rows_of[source]
        for source in after:
            self._rows_of[source] = (*self._rows_of.get(source, ()), row)

    def _room(self) -> int:
        if not self._free:
            size = len(self._rows)
            self._free = list(range(size, 2 * size))
            self._rows = np.concatenate((self._rows, np.zeros(size, dtype=live.ROW)))
            self._shapes = np.concatenate((self._shapes, np.full(size, None, dtype=object)))
        return self._free.pop()

    def _policy(self, policy: Policy) -> int:
        if policy not in self._policies:
            self._policies.append(policy)
        return self._policies.index(policy)

    def _step(self, rows: Ints, which: Ints, fresh: Fresh) -> None:
        place = dict(zip(rows.tolist(), which.tolist(), strict=True))
        for policy, own in self._by_policy(rows):
            of = np.array([place[row] for row in own.tolist()], dtype=np.int64)
            fixes = live.Fixes(at=fresh.at[of], lon=fresh.lon[of], lat=fresh.lat[of], accuracy_m=fresh.accuracy_m[of])
            self._rows[own] = live.step(self._rows[own], self._shapes[own], fixes, policy)

    def _by_policy(self, rows: Ints) -> Iterable[tuple[Policy, Ints]]:
        kinds = self._rows["policy"][rows]
        for kind in np.unique(kinds).tolist():
            yield self._policies[kind], rows[kinds == kind]


class Memory:
    """All of it."""

    def __init__(self) -> None:
        self.phones = Phones()
        self.visits = Visits()
        self.slots = Slots()
        self.judge_again_at = -np.inf
        self.judging: Collection[str] = ()
        """The visits that the cycle at hand judges."""
        self.set_aside: dict[str, float] = {}
        """Workers whose evidence nobody could follow, and until when nobody tries."""

    def undone(self) -> None:
        """The cycle at hand did not happen."""
        self.visits.want(self.judging)
        self.judge_again_at = -np.inf

    def without_aside(self, owners: Owners, now: float) -> Owners:
        """The same without the workers who are set aside."""
        if not self.set_aside:
            return owners
        self.set_aside = {worker: until for worker, until in self.set_aside.items() if now < until}
        workers = tuple(touch for touch in owners.workers if touch.source not in self.set_aside)
        return Owners(workers=workers, sites=owners.sites, remapped=owners.remapped - self.set_aside.keys())


def _rounds(fresh: Fresh) -> Iterable[tuple[Ints, Ints]]:
    """The first fix of every touch, then the second of those that have one, and so on: touches and fixes, as indices."""
    first = np.flatnonzero(np.diff(fresh.touch, prepend=-1))
    counts = np.diff(np.append(first, len(fresh.touch)))
    for n in range(int(counts.max(initial=0))):
        having = counts > n
        yield fresh.touch[first[having]], first[having] + n
