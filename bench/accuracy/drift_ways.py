"""Ways of the drift world: where the worker is at each second, from an hour before the plan to an hour after it.

She comes from another home, on foot, by bicycle or by car, parks, walks, waits at the door, moves about inside, goes into the
garden or out with the rubbish, and leaves for the next home.
"""

import math

import numpy as np
from msgspec import Struct

from bench.accuracy.drift_homes import AFTER, BEFORE, NEIGHBOUR, OWN, WRONG, Building, Ground
from geofence.evidence import Bools, Floats, Ints

OUTDOORS, CAFÉ = -1, -2
WALK_MPS = 1.3
Spot = tuple[float, float]


class Way(Struct, frozen=True, eq=False):
    """One row a second from `first_s` on, seconds after the planned start. `place` is an index into the homes, or OUTDOORS, CAFÉ.

    `came` and `went` are when she entered and left what she takes, or passes off, for the visit; `plans` are her other visits.
    """

    first_s: float
    x: Floats
    y: Floats
    place: Ints
    came: float
    went: float
    plans: dict[int, tuple[float, float]]

    def rows(self, t: Floats) -> Ints:
        return np.clip((t - self.first_s).astype(np.int64), 0, len(self.x) - 1)

    def indoors(self, t: Floats) -> Bools:
        return np.asarray(self.place[self.rows(t)] != OUTDOORS)

    def at(self, t: Floats) -> tuple[Floats, Floats]:
        seconds = np.arange(len(self.x)) + self.first_s
        return np.interp(t, seconds, self.x), np.interp(t, seconds, self.y)


class _Line:
    """A way in the making: pieces of one position a second."""

    def __init__(self) -> None:
        self.pieces: list[Floats] = []
        self.places: list[Ints] = []
        self.length = 0

    def add(self, piece: Floats, place: int) -> None:
        self.pieces.append(piece)
        self.places.append(np.full(len(piece), place))
        self.length += len(piece)


def walk(rng: np.random.Generator, ground: Ground, behaviour: str, planned_s: float, reach_s: float) -> Way:
    """One visit's way."""
    came, went, breaks = _times(rng, behaviour, planned_s)
    place = {"next_door": NEIGHBOUR, "wrong_site": WRONG, "no_show": CAFÉ, "spoofer": CAFÉ}.get(behaviour, OWN)
    before, after = ground.homes[BEFORE].building, ground.homes[AFTER].building
    goal = _rooms(ground, place)
    there = _travel(rng, before.door, goal.door)
    line = _Line()
    leaves = int(max(came + reach_s - len(there), 60))
    line.add(_settle(rng, before, leaves), BEFORE)
    line.add(there, OUTDOORS)
    entered = line.length - reach_s
    for away_s in breaks:
        until = entered + (went - entered - away_s) * float(rng.uniform(0.3, 0.7))
        _stay(rng, line, goal, place, until + reach_s)
        _pause(rng, line, ground, goal, away_s)
    _stay(rng, line, goal, place, max(went, entered + 90.0) + reach_s)
    left = line.length - reach_s
    line.add(_travel(rng, goal.door, after.door), OUTDOORS)
    arrives = line.length - reach_s
    total = int(planned_s + 2 * reach_s)
    line.add(_settle(rng, after, max(total - line.length, 60)), AFTER)
    xy = np.concatenate(line.pieces)[:total]
    plans = {
        BEFORE: (leaves - reach_s - 3600.0, _minute(leaves - reach_s)),
        AFTER: (max(_minute(arrives), planned_s), arrives + 3600.0),
    }
    plans = {k: plan for k, plan in plans.items() if plan[1] <= 0.0 or plan[0] >= planned_s}
    return Way(-reach_s, xy[:, 0], xy[:, 1], np.concatenate(line.places)[:total], entered, left, plans)


def _minute(at: float) -> float:
    return 60.0 * math.floor(at / 60.0)


def _times(rng: np.random.Generator, behaviour: str, planned_s: float) -> tuple[float, float, list[float]]:
    """When she would come and go, and how long she breaks off in between."""
    came, went = float(rng.uniform(-300, 120)), planned_s + float(rng.uniform(-20, 240))
    if behaviour == "late":
        came = 300.0 + float(rng.uniform(0.1, 0.6)) * planned_s
    elif behaviour == "early_leave":
        went = planned_s - 300.0 - float(rng.uniform(0.05, 0.6)) * (planned_s - 600.0)
    elif behaviour == "long_break":
        return came, went, [60.0 * float(rng.uniform(15, 40))]
    return came, went, []


def _rooms(ground: Ground, place: int) -> Building:
    return Building(*ground.café, 0.3, 6.0, 5.0) if place == CAFÉ else ground.homes[place].building


def _travel(rng: np.random.Generator, start: Spot, goal: Spot) -> Floats:
    """From door to door: a bent way at a speed that wavers, by car with a walk from where it is parked, and a wait at the door."""
    away_m = math.dist(start, goal)
    speed = WALK_MPS if away_m < 500 or rng.random() < 0.2 else float(rng.choice((4.2, 4.2, 9.0)))
    parts = []
    spot = goal
    if speed > 5:
        angle, walk_m = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(15, 120))
        spot = goal[0] + walk_m * math.cos(angle), goal[1] + walk_m * math.sin(angle)
    parts.append(_go(rng, start, spot, speed))
    if spot != goal:
        parts += [_rest(spot, float(rng.uniform(10, 60))), _go(rng, spot, goal, WALK_MPS)]
    parts.append(_rest(goal, float(rng.exponential(20)) + 3))
    return np.concatenate(parts)


def _go(rng: np.random.Generator, start: Spot, goal: Spot, speed: float) -> Floats:
    """A position a second. The speed is a wavering share of the given one, and sometimes nothing for a while."""
    away_m = math.dist(start, goal)
    if away_m < 1:
        return _rest(goal, 1)
    share = np.linspace(0, 1, 64)
    bend = sum(rng.normal(0, 0.05) * away_m * np.sin(k * math.pi * share) / k for k in (1, 2, 3))
    ux, uy = (goal[0] - start[0]) / away_m, (goal[1] - start[1]) / away_m
    x = start[0] + share * (goal[0] - start[0]) - uy * bend
    y = start[1] + share * (goal[1] - start[1]) + ux * bend
    length = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))))
    ticks = int(3 * length[-1] / speed) + 120
    waver = np.clip(1 + 0.25 * np.repeat(rng.normal(0, 1, ticks // 8 + 1), 8)[:ticks], 0.4, 1.6) * speed
    for at in np.flatnonzero(rng.random(ticks) < 1 / 150):
        waver[at : at + int(rng.uniform(5, 40))] = 0.0
    gone = np.cumsum(waver)
    gone = gone[: int(np.searchsorted(gone, length[-1])) + 1]
    return np.column_stack((np.interp(gone, length, x), np.interp(gone, length, y)))


def _rest(spot: Spot, seconds: float) -> Floats:
    return np.tile(np.array(spot), (max(int(seconds), 1), 1))


def _settle(rng: np.random.Generator, rooms: Building, seconds: int) -> Floats:
    """Spots of a few minutes, and half a metre a second between them."""
    spots = max(int(seconds / 150), 1)
    along = rng.uniform(-1, 1, spots + 1) * max(rooms.half_l - 0.7, 1.0)
    across = rng.uniform(-1, 1, spots + 1) * max(rooms.half_w - 0.7, 1.0)
    x, y = rooms.at(along, across)
    moments = np.sort(rng.uniform(0, seconds, spots))
    move_s = np.hypot(np.diff(x), np.diff(y)) / 0.5
    knots = np.maximum.accumulate(np.concatenate(([0.0], np.column_stack((moments, moments + move_s)).ravel())))
    index = np.concatenate(([0], np.column_stack((np.arange(spots), np.arange(1, spots + 1))).ravel()))
    t = np.arange(seconds, dtype=float)
    return np.column_stack((np.interp(t, knots, x[index]), np.interp(t, knots, y[index])))


def _stay(rng: np.random.Generator, line: _Line, rooms: Building, place: int, until: float) -> None:
    """Inside until then, less a way to the bins or a while in the garden."""
    left_s = until - line.length
    if left_s > 1200 and rng.random() < 0.35:
        line.add(_settle(rng, rooms, int(left_s * rng.uniform(0.2, 0.7))), place)
        if rng.random() < 0.5:
            angle, away_m = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(15, 70))
            bins = rooms.door[0] + away_m * math.cos(angle), rooms.door[1] + away_m * math.sin(angle)
            ways = (
                _go(rng, rooms.door, bins, WALK_MPS),
                _rest(bins, float(rng.uniform(5, 60))),
                _go(rng, bins, rooms.door, WALK_MPS),
            )
            line.add(np.concatenate(ways), OUTDOORS)
        else:
            x, y = rooms.at(float(rng.uniform(-1, 1)) * rooms.half_l, -rooms.half_w - float(rng.uniform(1, 6)))
            line.add(_rest((float(x), float(y)), float(rng.uniform(60, 300))), OUTDOORS)
    line.add(_settle(rng, rooms, max(int(until - line.length), 1)), place)


def _pause(rng: np.random.Generator, line: _Line, ground: Ground, rooms: Building, away_s: float) -> None:
    """To a bench or a café some hundred metres away, and back."""
    angle, away_m = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(150, 500))
    spot = rooms.x + away_m * math.cos(angle), rooms.y + away_m * math.sin(angle)
    out, back = _go(rng, rooms.door, spot, WALK_MPS), _go(rng, spot, rooms.door, WALK_MPS)
    line.add(out, OUTDOORS)
    line.add(_rest(spot, max(away_s - len(out) - len(back), 60)), CAFÉ if rng.random() < 0.6 else OUTDOORS)
    line.add(back, OUTDOORS)
