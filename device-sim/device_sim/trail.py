"""Trail: where a worker really is at every moment of a day. This is the ground that everything else only observes.

A trail is a broken line through time: positions at `t`, straight and even between them. `setting[k]` are the surroundings and
`stay[k]` the place (index into `homes`, OUTDOORS or ELSEWHERE) of the stretch that begins at `t[k]`.

A day is a list of *stops*: where to be from when until when. Conducts change the stops, travel connects them. A worker who cannot
be there in time is late, however the plan was meant; one who is early waits somewhere on the way.
"""

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from device_sim import travel
from device_sim.homes import Box, Home
from device_sim.roster import Visit, Worker
from device_sim.town import DOWNTOWN_M, Floats, Point, Town
from device_sim.travel import INDOORS, STREET, Door
from device_sim.trouble import Conduct

OUTDOORS = -1
ELSEWHERE = -2
"""Indoors somewhere that is no site: a café, the neighbour's, the worker's own home."""
SETTLE_S = 90.0
"""Mean time that somebody spends in one spot of a home before going to another."""


class Trail(Struct, frozen=True, eq=False):
    """Columns of one length; `entered` and `left` are, per visit, when the worker went in and came out of where she then was."""

    t: Floats
    x: Floats
    y: Floats
    setting: NDArray[np.int64]
    stay: NDArray[np.int64]
    checked: dict[str, tuple[float, float]]
    """Per visit id: when she came to, and left, the place that she takes (or passes off) for the visit."""

    def at(self, t: Floats) -> tuple[Floats, Floats]:
        return np.interp(t, self.t, self.x), np.interp(t, self.t, self.y)

    def stretch(self, t: Floats) -> NDArray[np.int64]:
        """The index of the stretch that each moment is in."""
        return np.clip(np.searchsorted(self.t, t, side="right") - 1, 0, len(self.t) - 1)


class Stop(Struct, frozen=True):
    """Be at `door`, moving about within `rooms` (None: stand still), from `arrive` until `leave`."""

    door: Door
    rooms: Box | None
    place: int
    arrive: float
    leave: float
    visits: tuple[str, ...] = ()


def stops(
    rng: np.random.Generator,
    worker: Worker,
    visits: tuple[Visit, ...],
    conducts: tuple[Conduct, ...],
    homes: tuple[Home, ...],
    town: Town,
) -> list[Stop]:
    """What the worker does about each visit, in order."""
    made: list[Stop] = []
    for visit, conduct in zip(visits, conducts, strict=True):
        arrive = visit.starts_at - float(rng.uniform(15, 200))
        leave = visit.ends_at + float(rng.uniform(5, 150))
        if conduct.behaviour == "late":
            arrive = visit.starts_at + conduct.amount
        elif conduct.behaviour == "early_leave":
            leave = visit.ends_at - conduct.amount
        home = homes[visit.home]
        if conduct.behaviour in ("no_show", "spoofer"):
            made.append(_away(rng, town, home, arrive, leave, visit.id))
        elif conduct.behaviour == "next_door":
            made.append(_next_door(rng, home, homes, arrive, leave, visit.id))
        elif conduct.behaviour == "wrong_site":
            made.append(_wrong_site(rng, visit, worker, homes, arrive, leave))
        elif conduct.behaviour == "long_break":
            made += _with_break(rng, town, visit, home, arrive, leave, conduct.amount)
        else:
            made.append(Stop(Door.of(home), home.rooms, visit.home, arrive, leave, (visit.id,)))
    return made


def walk(rng: np.random.Generator, worker: Worker, planned: list[Stop], town: Town) -> Trail:
    """Connect the stops: the whole day from the worker's own door and back to it."""
    own = Door.crossing(town, worker.lives)
    clock = (
        planned[0].arrive - 1.25 * travel.estimate_s(town, own, planned[0].door, worker.vehicle) - 300
        if planned
        else worker.shift[0]
    )
    line = _Line(clock, own.inside)
    checked: dict[str, tuple[float, float]] = {}
    here = own
    line.stand(240, INDOORS, ELSEWHERE)
    for stop in planned:
        ways = _ways(rng, worker, town, here, stop.door, stop.arrive - line.clock)
        slack_s = stop.arrive - line.clock - sum(leg.seconds for leg in ways)
        line.go(ways, slack_s, stop.door)
        entered = line.clock
        line.settle(rng, stop, max(stop.leave, entered + 120))
        for visit in stop.visits:
            checked[visit] = (checked[visit][0] if visit in checked else entered, line.clock)
        here = stop.door
    line.go(travel.legs(rng, town, here, own, worker.vehicle, DOWNTOWN_M), 0.0, own)
    line.stand(300, INDOORS, ELSEWHERE)
    return line.trail(checked)


def _ways(rng: np.random.Generator, worker: Worker, town: Town, here: Door, there: Door, time_s: float) -> list[travel.Leg]:
    """From door to door; by a detour when there is time to spare and the next door is so near that one would wait before it."""
    straight = travel.legs(rng, town, here, there, worker.vehicle, DOWNTOWN_M)
    spare_s = time_s - sum(leg.seconds for leg in straight)
    if spare_s < 60 or math.dist(here.inside, there.inside) > 250:
        return straight
    distance_m = np.hypot(town.nodes[:, 0] - there.inside[0], town.nodes[:, 1] - there.inside[1])
    for away_m in (260, 130, 0):
        corner = Door.crossing(town, int(np.argmin(np.abs(distance_m - away_m))))
        detour = [leg for a, b in ((here, corner), (corner, there)) for leg in travel.legs(rng, town, a, b, "walk", DOWNTOWN_M)]
        if sum(leg.seconds for leg in detour) <= time_s:
            return detour
    return straight


class _Line:
    """A trail in the making."""

    def __init__(self, clock: float, spot: Point) -> None:
        self.clock = clock
        self._spot = spot
        self._rows: list[tuple[float, float, float, int, int]] = []

    def _step(self, spot: Point, seconds: float, setting: int, stay: int) -> None:
        self._rows.append((self.clock, *self._spot, setting, stay))
        self.clock, self._spot = self.clock + seconds, spot

    def stand(self, seconds: float, setting: int, stay: int) -> None:
        self._step(self._spot, seconds, setting, stay)

    def go(self, ways: list[travel.Leg], slack_s: float, goal: Door) -> None:
        """Travel, and spend what time is left over at the last corner well away from the goal, or as far as there is one."""
        waits = -1
        if slack_s > 1:
            away_m = [math.dist((leg.x, leg.y), goal.inside) * (leg.setting != travel.METRO) for leg in ways]
            afar = [k for k, distance_m in enumerate(away_m) if distance_m > 160]
            waits = afar[-1] if afar else int(np.argmax(away_m))
        for k, leg in enumerate(ways):
            self._step((leg.x, leg.y), leg.seconds, leg.setting, OUTDOORS)
            if k == waits:
                self.stand(slack_s, STREET, OUTDOORS)

    def settle(self, rng: np.random.Generator, stop: Stop, until: float) -> None:
        """Move about in the rooms: spots a minute or two each, a few seconds between them."""
        if stop.rooms is None:
            self.stand(until - self.clock, INDOORS, stop.place)
            return
        length, width = max(stop.rooms.half_l - 1.5, 1.0), max(stop.rooms.half_w - 1.5, 1.0)
        while until - self.clock > 20:
            spot = stop.rooms.at(float(rng.uniform(-length, length)), float(rng.uniform(-width, width)))
            self._step(spot, math.dist(spot, self._spot) / 0.6 + 0.5, INDOORS, stop.place)
            self.stand(min(float(rng.exponential(SETTLE_S)), max(until - self.clock - 10, 0.5)), INDOORS, stop.place)
        spot = stop.door.inside
        self._step(spot, max(until - self.clock, math.dist(spot, self._spot) / 0.9 + 0.5), INDOORS, stop.place)

    def trail(self, checked: dict[str, tuple[float, float]]) -> Trail:
        self._rows.append((self.clock, *self._spot, INDOORS, ELSEWHERE))
        rows = np.array(self._rows)
        return Trail(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3].astype(np.int64), rows[:, 4].astype(np.int64), checked)


def _away(rng: np.random.Generator, town: Town, home: Home, arrive: float, leave: float, visit: str) -> Stop:
    """A café 600 to 1,500 m away."""
    distance_m = np.hypot(town.nodes[:, 0] - home.rooms.x, town.nodes[:, 1] - home.rooms.y)
    near = np.flatnonzero((distance_m > 600) & (distance_m < 1500))
    node = int(rng.choice(near)) if len(near) else int(np.argmax(distance_m))
    return Stop(Door.crossing(town, node), None, ELSEWHERE, arrive, leave, (visit,))


def _next_door(rng: np.random.Generator, home: Home, homes: tuple[Home, ...], arrive: float, leave: float, visit: str) -> Stop:
    """The neighbour: another customer close by but outside the fence if there is one, else the next house along the street."""
    for k, other in enumerate(homes):
        distance_m = math.hypot(other.rooms.x - home.rooms.x, other.rooms.y - home.rooms.y)
        if distance_m < 100 and not _reaches_in(other.rooms, home):
            return Stop(Door.of(other), other.rooms, k, arrive, leave, (visit,))
    rooms, reach = home.rooms, home.radius_m or (home.fence.half_l if home.fence else 0.0)
    away_m = reach + rooms.half_l + float(rng.uniform(8, 25))
    x, y = rooms.at(away_m, 0)
    beside = Box(x, y, rooms.ux, rooms.uy, rooms.half_l, rooms.half_w)
    if home.fence is not None and _reaches_in(beside, home):
        x, y = home.fence.at(home.fence.half_l + rooms.half_l + float(rng.uniform(8, 25)), 0)
        beside = Box(x, y, rooms.ux, rooms.uy, rooms.half_l, rooms.half_w)
    street = (home.street[0] + x - rooms.x, home.street[1] + y - rooms.y)
    return Stop(Door((x, y), street, home.edge), beside, ELSEWHERE, arrive, leave, (visit,))


def _reaches_in(rooms: Box, home: Home) -> bool:
    spots = np.array((*rooms.corners(), (rooms.x, rooms.y)))
    return bool(home.inside(spots[:, 0], spots[:, 1]).any())


def _wrong_site(
    rng: np.random.Generator, visit: Visit, worker: Worker, homes: tuple[Home, ...], arrive: float, leave: float
) -> Stop:
    """Another of the worker's own customers, far enough not to be next door; any other customer if there is none."""
    right = homes[visit.home].rooms
    afar = [
        k
        for pool in (worker.homes, range(len(homes)))
        for k in pool
        if k != visit.home and math.hypot(homes[k].rooms.x - right.x, homes[k].rooms.y - right.y) > 300
    ]
    k = afar[int(rng.integers(min(len(afar), len(worker.homes))))] if afar else (visit.home + 1) % len(homes)
    return Stop(Door.of(homes[k]), homes[k].rooms, k, arrive, leave, (visit.id,))


def _with_break(
    rng: np.random.Generator, town: Town, visit: Visit, home: Home, arrive: float, leave: float, break_s: float
) -> list[Stop]:
    """At home, out to a corner some 200 to 500 m away, and back."""
    distance_m = np.hypot(town.nodes[:, 0] - home.rooms.x, town.nodes[:, 1] - home.rooms.y)
    near = np.flatnonzero((distance_m > 180) & (distance_m < 500))
    node = int(rng.choice(near)) if len(near) else int(np.argmin(np.abs(distance_m - 300)))
    middle = visit.starts_at + (visit.ends_at - visit.starts_at - break_s) * float(rng.uniform(0.3, 0.7))
    door = Door.of(home)
    return [
        Stop(door, home.rooms, visit.home, arrive, middle, (visit.id,)),
        Stop(Door.crossing(town, node), None, ELSEWHERE, middle + 200, middle + break_s - 250),
        Stop(door, home.rooms, visit.home, middle + break_s, leave, (visit.id,)),
    ]
