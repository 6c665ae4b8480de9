"""Phones of the drift world: what they report of a way, and what is true of each report.

The error of a fix is, per axis, a bias of the stay (another at each entry) + a process that forgets itself + white noise, all
scaled by the phone and the surroundings; now and then a reflection draws it aside for a minute, and one in three hundred is just
wrong. The reported radius is the true one times a factor of the phone's own times one of the fix's own.
"""

import math

import numpy as np
from msgspec import Struct

from bench.accuracy import drift_cheats, drift_doors
from bench.accuracy.case import INTERVAL_S, Sampling
from bench.accuracy.definition import Seen
from bench.accuracy.drift_cheats import CHEATS
from bench.accuracy.drift_homes import OWN, Ground
from bench.accuracy.drift_ways import Way
from device_sim.spans import Span
from geofence.evidence import NO_SKETCHES, Bools, Fixes, Floats, Observed, Status
from geofence.plan import Visit

OUTDOORS_M = {"open": 3.0, "house": 4.0, "flats": 7.0, "canyon": 14.0}
INDOORS_M = {"open": 6.0, "house": 9.0, "flats": 13.0, "canyon": 18.0}
RADIUS_68 = 1.515
SIGNIFICANT_M, SIGNIFICANT_S = 500.0, 900.0
"""An Android phone in OwnTracks' significant mode: after this distance, or after this time."""
FAULTS = {"permission_off": 0.03, "battery_death": 0.03, "power_save": 0.04, "cell_only": 0.05, "dead_zone": 0.06, "dropout": 0.25}


class Bend(Struct, frozen=True):
    """How this world is bent to see what the engine does outside of what it was fitted to: factors on errors and reported radii."""

    indoors: float = 1.0
    outdoors: float = 1.0
    radius: float = 1.0


PLAIN = Bend()


class Setting(Struct, frozen=True):
    """What the reports about one visit are made of. `trouble` are the phone's faults, in seconds after the planned start."""

    ground: Ground
    way: Way
    visit: Visit
    sampling: Sampling
    behaviour: str
    manner: str
    trouble: dict[str, list[Span]]
    bend: Bend


class Told(Struct, frozen=True):
    observed: Observed
    seen: Seen
    faults: tuple[str, ...]


class Phone(Struct, frozen=True):
    """The habits of one phone: size and memory of its errors, what it claims, and how it sends."""

    quality: float
    memory_s: float
    claim: float
    lag_s: float
    says_speed: bool
    dozes: bool


def report(
    rng: np.random.Generator,
    ground: Ground,
    way: Way,
    visit: Visit,
    sampling: Sampling,
    conduct: tuple[str, str],
    bend: Bend,
) -> Told:
    """Everything that is reported about one visit, and the truth about it."""
    phone = Phone(
        quality=float(rng.lognormal(0, 0.3)),
        memory_s=float(rng.lognormal(math.log(110), 0.6)),
        claim=float(np.clip(rng.lognormal(0, 0.45), 0.4, 2.5)),
        lag_s=float(rng.uniform(0, 5)) if rng.random() < 0.3 else 0.0,
        says_speed=bool(rng.random() < 0.7),
        dozes=bool(rng.random() < 0.15),
    )
    trouble = _trouble(rng, visit.ends_at - visit.starts_at)
    fixes, speed, spoofed = _fixes(rng, phone, Setting(ground, way, visit, sampling, *conduct, trouble, bend))
    checks, check_spans = drift_doors.checks(rng, way, visit, conduct[0], fixes, spoofed, trouble)
    events, event_spans = drift_doors.events(rng, ground, way, visit)
    during = {kind: [(visit.starts_at + a, visit.starts_at + b) for a, b in spans] for kind, spans in trouble.items()}
    seen = Seen(
        at=fixes.at,
        accuracy_m=fixes.accuracy_m,
        credible=~spoofed,
        moving=speed > 0.5,
        significant=sampling == "significant",
        others=[*check_spans, *event_spans],
        permission_off=during.get("permission_off", []),
        offline=[*during.get("battery_death", []), *during.get("dead_zone", [])],
        power_save=during.get("power_save", []),
    )
    statuses = _statuses(way, visit, trouble)
    earlier = drift_cheats.original(fixes, spoofed, ground.homes[OWN].site(ground.plane)) if conduct[1] == "replay" else NO_SKETCHES
    observed = Observed(fixes=fixes, checks=checks, events=events, statuses=statuses, earlier=earlier)
    return Told(observed, seen, tuple(sorted(trouble)))


# When -------------------------------------------------------------------------------------------------------------------------


def _trouble(rng: np.random.Generator, planned_s: float) -> dict[str, list[Span]]:
    """Which faults there are and when, in seconds after the planned start."""
    found = {}
    for kind, share in FAULTS.items():
        if rng.random() < share:
            start = float(rng.uniform(-900, planned_s))
            longest_s = 600.0 if kind == "dropout" else 2700.0
            found[kind] = [(start, start + float(rng.uniform(120, longest_s)))]
    return found


def _times(rng: np.random.Generator, phone: Phone, way: Way, sampling: Sampling) -> Floats:
    """When the phone would take a fix."""
    if sampling == "significant":
        return _significant(rng, way)
    every_s = INTERVAL_S[sampling]
    ticks = np.arange(way.first_s + rng.uniform(0, every_s), way.first_s + len(way.x), every_s)
    ticks = ticks + rng.uniform(-0.05, 0.05, len(ticks)) * every_s
    if phone.dozes:
        still = way.indoors(ticks) & way.indoors(ticks - 300.0)
        ticks = ticks[~still | (np.arange(len(ticks)) % max(int(300 / every_s), 1) == 0)]
    return np.asarray(ticks)


def _significant(rng: np.random.Generator, way: Way) -> Floats:
    """Looked at every ten seconds."""
    x, y, sent = way.x[::10], way.y[::10], [0]
    for k in range(1, len(x)):
        j = sent[-1]
        if math.hypot(x[k] - x[j], y[k] - y[j]) >= SIGNIFICANT_M or 10 * (k - j) >= SIGNIFICANT_S:
            sent.append(k)
    return np.asarray(way.first_s + 10.0 * np.array(sent) + rng.uniform(0, 10, len(sent)))


def _kept(rng: np.random.Generator, times: Floats, of: Setting) -> Floats:
    """Those that come to be: some fail, more of them indoors; none while the phone is off, may not, or hears no satellite."""
    lost = rng.random(len(times)) < np.where(of.way.indoors(times), 0.05, 0.01)
    for kind in ("permission_off", "battery_death", "dropout"):
        for start, end in of.trouble.get(kind, []):
            lost |= (times >= start) & (times < end)
    for start, end in of.trouble.get("power_save", []):
        dozing = np.flatnonzero((times >= start) & (times < end))
        lost[dozing] = True
        lost[dozing[:: max(int(900 / max(np.median(np.diff(times)), 1.0)), 1)][1:]] = False
    return np.asarray(times[~lost])


# What --------------------------------------------------------------------------------------------------------------------------


def _fixes(rng: np.random.Generator, phone: Phone, of: Setting) -> tuple[Fixes, Floats, Bools]:
    """The fixes as they arrive, how fast she really was at each, and which of them are made up."""
    times = _kept(rng, _times(rng, phone, of.way, of.sampling), of)
    x, y, accuracy, spoofed = _measure(rng, phone, of, times)
    received = times + rng.lognormal(math.log(0.5), 0.6, len(times))
    for start, end in of.trouble.get("dead_zone", []):
        held = (received >= start) & (received < end)
        received[held] = end + rng.uniform(1, 4, int(held.sum()))
    speed = _speed(of.way, times)
    lon, lat = of.ground.plane.degrees(x, y)
    at = of.visit.starts_at + times
    whole = of.sampling == "significant"
    made = Fixes(
        sources=("w-1",),
        source=np.zeros(len(times), dtype=np.int64),
        at=np.floor(at) if whole else np.round(at, 3),
        received_at=of.visit.starts_at + received,
        lon=np.round(lon, 7),
        lat=np.round(lat, 7),
        accuracy_m=np.round(accuracy, 0 if whole else 1),
        altitude_m=np.full(len(times), np.nan),
        speed_mps=np.round(_told_speed(rng, phone, of.way, times, speed, spoofed), 1),
        heading_deg=np.full(len(times), np.nan),
        mock=spoofed & (of.manner == "mock") & (not whole),  # OwnTracks has no word for it.
        ping=np.zeros(len(times), dtype=bool),
        mode=("significant",) * len(times) if whole else (),
    )
    return made, speed, spoofed


def _measure(rng: np.random.Generator, phone: Phone, of: Setting, times: Floats) -> tuple[Floats, Floats, Floats, Bools]:
    """Position and reported radius of each fix, and whether it was made up."""
    way, ground = of.way, of.ground
    inside = way.indoors(times)
    indoors_m, outdoors_m = INDOORS_M[ground.surroundings] * of.bend.indoors, OUTDOORS_M[ground.surroundings] * of.bend.outdoors
    size = np.where(inside, indoors_m, outdoors_m) * phone.quality
    stay = np.cumsum(np.diff(inside, prepend=False) != 0)
    spread = np.empty((2, len(times)))
    for axis in (0, 1):
        bias = rng.normal(0, 1, int(stay.max(initial=0)) + 1)[stay]
        wander = _wander(rng, times, np.where(inside, phone.memory_s, 0.4 * phone.memory_s))
        spread[axis] = size * (0.55 * bias + 0.78 * wander + 0.3 * rng.normal(0, 1, len(times)))
    for at in np.flatnonzero(rng.random(len(times)) < np.diff(times, prepend=times[:1]) / 2400.0):
        aside = (times >= times[at]) & (times < times[at] + rng.exponential(60))
        spread[:, aside] += rng.normal(0, 2.5, 2)[:, None] * size[at]
    wrong = rng.random(len(times)) < 0.003
    spread[:, wrong] += rng.normal(0, 60, (2, int(wrong.sum())))
    accuracy = np.maximum(RADIUS_68 * of.bend.radius * size * phone.claim * rng.lognormal(0, 0.3, len(times)), 3.0)
    for start, end in of.trouble.get("cell_only", []):
        cell = (times >= start) & (times < end)
        accuracy[cell] = rng.uniform(400, 3000, int(cell.sum()))
        spread[:, cell] = rng.normal(0, 1, (2, int(cell.sum()))) * accuracy[cell] / RADIUS_68
    x, y = way.at(times - phone.lag_s)
    x, y = x + spread[0], y + spread[1]
    if of.behaviour != "spoofer":
        return x, y, accuracy, np.zeros(len(times), dtype=bool)
    rooms, measured = ground.homes[OWN].building, (x, y, accuracy)
    return drift_cheats.play(CHEATS[of.manner], way, rooms, times, measured, spread, lambda memory: _wander(rng, times, memory))


def _wander(rng: np.random.Generator, times: Floats, memory_s: Floats) -> Floats:
    """A process of size one that forgets itself."""
    keep = np.exp(-np.diff(times, prepend=times[:1]) / memory_s)
    push = rng.normal(0, 1, len(times)) * np.sqrt(1 - keep**2)
    value, found = float(rng.normal()), []
    for kept, pushed in zip(keep.tolist(), push.tolist(), strict=True):
        value = kept * value + pushed
        found.append(value)
    return np.array(found)


def _speed(way: Way, times: Floats) -> Floats:
    """Metres a second over ten seconds, nothing indoors."""
    ax, ay = way.at(times - 5.0)
    bx, by = way.at(times + 5.0)
    return np.asarray(np.where(way.indoors(times), 0.0, np.hypot(bx - ax, by - ay) / 10.0))


def _told_speed(rng: np.random.Generator, phone: Phone, way: Way, times: Floats, speed: Floats, spoofed: Bools) -> Floats:
    if not phone.says_speed:
        return np.full(len(times), np.nan)
    told = np.maximum(speed + rng.normal(0, 0.25, len(times)) * (speed > 0.3), 0.0)
    stray = way.indoors(times) & (rng.random(len(times)) < 0.04)
    return np.asarray(np.where(spoofed, 0.0, np.where(stray, rng.uniform(0.3, 1.8, len(times)), told)))


def _statuses(way: Way, visit: Visit, trouble: dict[str, list[Span]]) -> tuple[Status, ...]:
    """The phone says what it may, and a will says when it went."""
    start = visit.starts_at + way.first_s
    told: list[Status] = []

    def say(
        at: float, state: str = "online", *, received_at: float | None = None, permission: str = "always", saving: bool = False
    ) -> None:
        told.append(
            Status(
                source="w-1",
                at=round(at, 3),
                received_at=round(at, 3) + 1.0 if received_at is None else received_at,
                identity=len(told),
                state="online" if state == "online" else "offline",
                permission=permission if state == "online" else None,
                power_save=saving if state == "online" else None,
            )
        )

    say(start)
    for kind, spans in trouble.items():
        for a, b in spans:
            begins, ends = visit.starts_at + a, visit.starts_at + b
            if kind == "permission_off":
                say(begins, permission="denied")
            elif kind == "power_save":
                say(begins, saving=True)
            elif kind in ("battery_death", "dead_zone"):
                say(start, "offline", received_at=begins + 90.0)
            else:
                continue
            say(ends + 1.0)
    return tuple(sorted(told, key=lambda status: (status.at, status.identity)))
