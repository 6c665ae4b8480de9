"""Household: what the devices of a home notice of a day, of the worker and of the people who live there.

Locks know who opened with a credential; contacts, motion sensors and plugs do not know who it was. Residents move about, open their
door and boil water too, so that motion alone proves nobody. When the gateway is away, what happens is lost.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from msgspec import Struct

from device_sim.feed import Feed, Said, empty_track, rfc3339
from device_sim.homes import Home
from device_sim.phone import WILL_AFTER_S
from device_sim.spans import Span
from device_sim.trail import Trail
from device_sim.trouble import Fault

WAKE_H, SLEEP_H = 6.0, 22.5
SOS_A_DAY = 0.008


class Stay(Struct, frozen=True):
    """Somebody of the fleet was in the home. `welcome`: the home is hers to serve, so that she has a credential for its lock."""

    worker: str
    start: float
    end: float
    welcome: bool


class Noticed(Struct, frozen=True):
    """One event of one kind of device, before it is known whether the gateway was there to pass it on."""

    kind_of_device: str
    at: float
    kind: str
    value: float | None = None
    worker: str | None = None


def stays(worker: str, served: Iterable[int], trail: Trail) -> list[tuple[int, Stay]]:
    """(home, stay) of each unbroken presence of this worker in any home."""
    served, found = set(served), []
    edges = np.flatnonzero(np.diff(trail.stay, prepend=-9, append=-9))
    for start, end in pairwise(edges):
        home = int(trail.stay[start])
        if home >= 0:
            last = min(int(end), len(trail.t) - 1)
            found.append((home, Stay(worker, float(trail.t[start]), float(trail.t[last]), home in served)))
    return found


def observe(
    rng: np.random.Generator, home: Home, present: list[Stay], faults: tuple[Fault, ...], midnight: float, prefix: str
) -> tuple[Feed, ...]:
    """One feed a device of this home."""
    if not home.devices:
        return ()
    day = (midnight + WAKE_H * 3600, midnight + SLEEP_H * 3600)
    noticed = sorted(_visitors(rng, home, present) + _residents(rng, home, present, day), key=lambda event: (event.at, event.kind))
    away = [(fault.start, fault.end) for fault in faults]
    return tuple(
        _feed(rng, device, kind, [e for e in noticed if e.kind_of_device == kind], away, day, prefix)
        for device, kind in home.devices
    )


def _visitors(rng: np.random.Generator, home: Home, present: list[Stay]) -> list[Noticed]:
    """A worker comes, works and goes."""
    found: list[Noticed] = []
    for stay in present:
        opened, closed = stay.start - float(rng.uniform(2, 7)), stay.end + float(rng.uniform(1, 6))
        rings = home.residents and rng.random() < 0.5
        worker = stay.worker if stay.welcome and not rings else None
        found += [
            Noticed("lock", opened, "unlock", None, worker),
            Noticed("contact", opened + 1.4, "open"),
            Noticed("contact", opened + float(rng.uniform(6, 14)), "close"),
            Noticed("contact", closed - 3.1, "open"),
            Noticed("contact", closed + 1.2, "close"),
            Noticed("lock", closed + 4.0, "lock", None, worker if rng.random() < 0.8 else None),
        ]
        found += [Noticed("motion", at, "motion") for at in _every(rng, stay.start, stay.end, 45, 240)]
        if rng.random() < 0.6 and stay.end - stay.start > 900:
            found += _power(rng, stay.start + 200, stay.start + (stay.end - stay.start) * float(rng.uniform(0.4, 0.8)))
    return found


def _residents(rng: np.random.Generator, home: Home, present: list[Stay], day: Span) -> list[Noticed]:
    """Who lives there moves about all day, or in the morning and the evening only; now and then the door, the kettle, an alarm."""
    found: list[Noticed] = []
    at_home = [day] if home.residents else [(day[0], day[0] + 2.5 * 3600), (day[1] - 4.5 * 3600, day[1])]
    served = [(stay.start, stay.end) for stay in present]
    for start, end in at_home:
        found += [Noticed("motion", at, "motion") for at in _every(rng, start, end, 240, 1500)]
        found += [Noticed("plug", at, "power", round(float(rng.uniform(900, 2100)))) for at in _every(rng, start, end, 5400, 16000)]
        for at in _every(rng, start, end, 7000, 21000):
            if not any(a - 60 < at < b + 60 for a, b in served):
                found += [Noticed("lock", at, "unlock"), Noticed("contact", at + 2, "open"), Noticed("contact", at + 9, "close")]
                found.append(Noticed("lock", at + 15, "lock"))
    if rng.random() < SOS_A_DAY:
        found.append(Noticed("sos", float(rng.uniform(*day)), "sos"))
    return found


def _every(rng: np.random.Generator, start: float, end: float, least_s: float, most_s: float) -> list[float]:
    moments, at = [], start + float(rng.uniform(0.1, 1)) * least_s
    while at < end:
        moments.append(at)
        at += float(rng.uniform(least_s, most_s))
    return moments


def _power(rng: np.random.Generator, start: float, end: float) -> list[Noticed]:
    """A vacuum cleaner or a washing machine: it draws, says so every five minutes, and stops."""
    watts = float(rng.uniform(350, 1500))
    drawn = [
        Noticed("plug", float(at), "power", round(watts * float(rng.uniform(0.9, 1.1)))) for at in np.arange(start, end, 300.0)
    ]
    return [*drawn, Noticed("plug", end, "power", 0.0)]


def _feed(
    rng: np.random.Generator, device: str, kind: str, noticed: list[Noticed], away: list[Span], day: Span, prefix: str
) -> Feed:
    """What of it reaches the network, with the device's comings and goings."""
    topic = f"{prefix}/devices/{device}"
    said = [_status(topic, day[0] - 1800, "online")]
    for start, end in away:
        said += [_status(topic, start, "offline", WILL_AFTER_S, said[-1].at), _status(topic, end, "online")]
    battery = Noticed(kind, day[0] - 1700, "battery", round(float(rng.uniform(0.3, 1)), 2))
    for event in [battery, *noticed] if kind in ("lock", "contact", "motion", "sos") else noticed:
        if not any(start <= event.at < end for start, end in away):
            said.append(_event(topic, event))
    made = np.array([one.made_at for one in said])
    deliverable = made + np.array([one.after_s for one in said]) + rng.uniform(0.05, 0.6, len(said))
    order = np.argsort(deliverable, kind="stable")
    zeros = np.zeros(len(said), dtype=np.int64)
    return Feed(device, topic, "", False, empty_track(), tuple(said), ~order, deliverable[order], zeros, zeros)


def _event(topic: str, event: Noticed) -> Said:
    payload: dict[str, object] = {"at": rfc3339(event.at), "kind": event.kind}
    if event.value is not None:
        payload["value"] = event.value
    if event.worker is not None:
        payload["worker"], payload["credential"] = event.worker, f"pin-{event.worker}"
    return Said(event.at, round(event.at, 3), f"{topic}/event", payload, counted=False)


def _status(topic: str, at: float, state: str, after_s: float = 0.0, stamp: float | None = None) -> Said:
    claimed = at if stamp is None else stamp
    payload = {"at": rfc3339(claimed), "state": state}
    return Said(at, claimed, f"{topic}/status", payload, retain=True, counted=False, after_s=after_s)
