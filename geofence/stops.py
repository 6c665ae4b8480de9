"""Stops: where a worker stayed, found in her fixes as a fold that can be resumed anywhere.

    on the way ──a minute──▶ perhaps ──STOP_MIN_S at one place──▶ stopped ──seen away for AWAY_S, or silent for SILENCE_S──▶ told
        ▲                       │                                    │  ▲
        └──────seen away────────┘                                    └──┘ a minute at the place, or a wild fix

- Fixes are gathered into minutes first. Errors within a minute are one error, so that a phone that reports every second is no surer
  of a place than one that reports every minute, and costs as little. In each minute one phone speaks: that which says most.
- A minute belongs to a place if it is no further from its middle than somebody roams in a home, and two σ of either error.
- A worker is away when she was seen elsewhere for a while; one wild fix ends nothing.
- What ends a stop is a clean cut: the minutes behind it are folded as if nothing had been before. So whoever knows where a stop
  ended can begin again there, and comes to the same stops as who never ceased: late evidence costs the stretch that it touches.

Rules kept here:

- `step` folds whole minutes: it is told `until` when it has all fixes. Any split at whole minutes gives the same stops and state.
- Nothing here knows plans, sites or what working time is. See `stays`.
- The middle of a stop has an error: s² = mean σ² / n + bias², n the independent fixes in it, as a judged stay has (`posterior`).

The idea of stops by roaming distance and duration is Li's stay points (2008), as in trackintel and MovingPandas; those see a track
as a whole, know no errors and cannot be resumed.
"""

from collections.abc import Iterator
from math import cos, hypot, radians, sqrt

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from geofence import likelihood
from geofence.evidence import Bools, Fixes
from geofence.plane import EARTH_M
from geofence.policy import Policy

MINUTE_S = 60.0
STOP_MIN_S = 300.0
"""Shorter than this is a traffic light, a bus stop, a talk at a corner [trackintel's default: 5 min]."""
ROAM_M = 40.0
"""How far from the middle of a stop somebody is who is still there: across a home and its garden."""
AWAY_S = 120.0
"""Seen elsewhere for this long is away. One fix elsewhere is a fault until a second says so."""
SILENCE_S = 1800.0
"""After a silence of this length nobody knows whether she stayed: a still phone that saves power speaks twice in it."""
BEHIND_S = 300.0
"""What a phone sends that is not older than this is in order, as networks go; a fold that waits for it seldom goes back."""
_SIGMA = Policy()
"""Errors of fixes as everywhere; a stop belongs to no service."""


class Minute(Struct, frozen=True, array_like=True):
    """The fixes of one minute as one: `first_at` to `last_at`, their place, and their variance per axis."""

    minute: int
    first_at: float
    last_at: float
    lon: float
    lat: float
    variance: float
    fixes: int


class Place(Struct, frozen=True, array_like=True):
    """The minutes at one place so far. The sums are of degrees beside the first minute's place, by weight."""

    first_at: float
    last_at: float
    lon: float
    lat: float
    weight: float
    east: float
    north: float
    variances: float
    minutes: int
    fixes: int


class State(Struct, frozen=True, array_like=True):
    """What the fold remembers: a place that is, or may become, a stop, and the minutes elsewhere since she was last there."""

    place: Place | None = None
    elsewhere: tuple[Minute, ...] = ()


class Stop(Struct, frozen=True, kw_only=True):
    """She stayed at one place, from the first fix to the last; `error_m` is the σ of its middle per axis."""

    start_at: float
    end_at: float
    lon: float
    lat: float
    error_m: float
    fixes: int
    cut_at: float | None = None
    """Whoever begins again here, with nothing in mind, goes on as this fold does. None while she is still there."""
    sure_at: float | None = None
    """What is reported for times from here on cannot change this stop any more."""


def step(state: State, fixes: Fixes, until: float) -> tuple[State, tuple[Stop, ...]]:
    """Folds fixes in the order of time, none older than the state, all of those before `until`, a whole minute. Returns stops that
    ended."""
    assert until % MINUTE_S == 0.0, until
    ended: list[Stop] = []
    for minute in _minutes(fixes, until):
        state = _fold(state, minute, ended)
    return state, tuple(ended)


def going_on(state: State) -> Stop | None:
    """The stop that has not ended, as far as it is known."""
    return _stop(state.place) if state.place is not None else None


def usable(fixes: Fixes) -> Bools:
    """Which fixes say where she was: honest by their own word, precise enough to tell homes apart, and of a time that was."""
    vague = fixes.accuracy_m > _SIGMA.accuracy_max_m
    ahead = fixes.at > fixes.received_at + _SIGMA.clock_ahead_max_s
    return np.logical_not(fixes.mock | fixes.ping | vague | ahead)


def _minutes(fixes: Fixes, until: float) -> Iterator[Minute]:
    use = np.flatnonzero(usable(fixes) & (fixes.at < until))
    if not len(use):
        return
    at, source = fixes.at[use], fixes.source[use]
    minute = np.floor(at / MINUTE_S).astype(np.int64)
    key = minute * len(fixes.sources) + source
    order = np.argsort(key, kind="stable")
    use, at, key = use[order], at[order], key[order]
    begins = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    counts = np.diff(begins, append=len(key))
    variance = likelihood.sigma(fixes.accuracy_m[use], np.full(len(use), _SIGMA.sigma_floor_still_m), _SIGMA) ** 2
    weight = 1.0 / variance
    total = np.add.reduceat(weight, begins)
    lon0, lat0 = fixes.lon[use][begins], fixes.lat[use][begins]
    turn = (fixes.lon[use] - np.repeat(lon0, counts) + 180.0) % 360.0 - 180.0
    lon = lon0 + np.add.reduceat(weight * turn, begins) / total
    lat = lat0 + np.add.reduceat(weight * (fixes.lat[use] - np.repeat(lat0, counts)), begins) / total
    mean = counts / total
    columns = (key[begins] // len(fixes.sources), at[begins], at[begins + counts - 1], lon, lat, mean, counts)
    best: Minute | None = None
    for row in zip(*(column.tolist() for column in columns), strict=True):
        one = Minute(*row)
        if best is not None and one.minute != best.minute:
            yield best
            best = None
        if best is None or one.fixes > best.fixes:
            best = one
    if best is not None:
        yield best


def _fold(state: State, minute: Minute, ended: list[Stop]) -> State:
    place, elsewhere = state.place, state.elsewhere
    if place is None:
        return State(_begun(minute))
    seen_at = elsewhere[-1].last_at if elsewhere else place.last_at
    silent = minute.first_at - seen_at > SILENCE_S
    if not silent and _is_at(place, minute):
        return State(_longer(place, minute))
    elsewhere = (*elsewhere, minute)
    if not silent and minute.last_at - elsewhere[0].first_at < AWAY_S:
        return State(place, elsewhere)
    stop = _stop(place)
    if stop is not None:
        cut_at, sure_at = elsewhere[0].minute * MINUTE_S, (minute.minute + 1) * MINUTE_S
        ended.append(replace(stop, cut_at=cut_at, sure_at=sure_at))
    again = State()
    for later in elsewhere:
        again = _fold(again, later, ended)
    return again


def _begun(minute: Minute) -> Place:
    return Place(
        first_at=minute.first_at,
        last_at=minute.last_at,
        lon=minute.lon,
        lat=minute.lat,
        weight=1.0 / minute.variance,
        east=0.0,
        north=0.0,
        variances=minute.variance,
        minutes=1,
        fixes=minute.fixes,
    )


def _longer(place: Place, minute: Minute) -> Place:
    weight = 1.0 / minute.variance
    return Place(
        first_at=place.first_at,
        last_at=minute.last_at,
        lon=place.lon,
        lat=place.lat,
        weight=place.weight + weight,
        east=place.east + weight * _turn(minute.lon - place.lon),
        north=place.north + weight * (minute.lat - place.lat),
        variances=place.variances + minute.variance,
        minutes=place.minutes + 1,
        fixes=place.fixes + minute.fixes,
    )


def _is_at(place: Place, minute: Minute) -> bool:
    metres = radians(1.0) * EARTH_M
    east = (_turn(minute.lon - place.lon) - place.east / place.weight) * metres * cos(radians(place.lat))
    north = (minute.lat - place.lat - place.north / place.weight) * metres
    return hypot(east, north) <= ROAM_M + 2.0 * sqrt(minute.variance + _variance(place))


def _stop(place: Place) -> Stop | None:
    if place.last_at - place.first_at < STOP_MIN_S:
        return None
    return Stop(
        start_at=place.first_at,
        end_at=place.last_at,
        lon=_turn(place.lon + place.east / place.weight),
        lat=place.lat + place.north / place.weight,
        error_m=sqrt(_variance(place)),
        fixes=place.fixes,
    )


def _variance(place: Place) -> float:
    independent = min(place.minutes, 1.0 + (place.last_at - place.first_at) / _SIGMA.stay_correlation_s)
    return place.variances / place.minutes / independent + _SIGMA.bias_m**2


def _turn(lon: float) -> float:
    """Degrees the short way round."""
    return (lon + 180.0) % 360.0 - 180.0
