"""Doors of the drift world: check-ins, locks, contacts and motion sensors, each with the time for which it shows the worker.

Who is not at the home has only the app to check in with. Half of the homes have residents, who move about all day.
"""

import numpy as np

from bench.accuracy.definition import ACCURACY_MAX_M, HOME_SIDE_S, STILL_S
from bench.accuracy.drift_homes import KINDS, OWN, Ground
from bench.accuracy.drift_ways import Way
from device_sim.spans import Span
from geofence.evidence import Bools, Check, DeviceEvent, Fixes
from geofence.plan import Visit


def checks(
    rng: np.random.Generator,
    way: Way,
    visit: Visit,
    behaviour: str,
    fixes: Fixes,
    spoofed: Bools,
    trouble: dict[str, list[Span]],
) -> tuple[tuple[Check, ...], list[Span]]:
    """Check-in and check-out, and what they cover. Who is not at the home has only the app."""
    draw = float(rng.random())
    at_home = bool(np.any(way.place == OWN)) and behaviour not in ("next_door", "wrong_site", "no_show", "spoofer")
    if draw < 0.15 or (behaviour == "no_show" and draw < 0.7):
        return (), []
    method = ("qr", "nfc", "pin", "ble")[int(rng.integers(4))] if at_home and draw > 0.7 else "app"
    with_place = method == "app" and rng.random() < 0.7
    moments = [("in", way.came + float(rng.uniform(5, 90))), ("out", max(way.went - float(rng.uniform(5, 60)), way.came + 30.0))]
    made, spans = [], []
    for k, (kind, moment) in enumerate(moments):
        off = any(start <= moment < end for start, end in trouble.get("battery_death", []))
        if off or (kind == "out" and behaviour == "forgotten_check_out"):
            continue
        at = round(visit.starts_at + moment, 3)
        row = int(np.clip(np.searchsorted(fixes.at, at), 0, len(fixes.at) - 1)) if len(fixes.at) else -1
        placed = with_place and row >= 0 and abs(fixes.at[row] - at) < 90.0
        made.append(
            Check(
                source="w-1",
                at=at,
                received_at=at + 1.0,
                identity=k,
                kind="in" if kind == "in" else "out",
                visit=visit.id,
                method=method,  # type: ignore[arg-type]
                lon=float(fixes.lon[row]) if placed else None,
                lat=float(fixes.lat[row]) if placed else None,
                accuracy_m=float(fixes.accuracy_m[row]) if placed else None,
            )
        )
        if method != "app":
            spans.append((at, at + HOME_SIDE_S))
        elif placed and not spoofed[row] and fixes.accuracy_m[row] <= ACCURACY_MAX_M:
            spans.append((at, at + STILL_S))
    return tuple(made), spans


def events(rng: np.random.Generator, ground: Ground, way: Way, visit: Visit) -> tuple[tuple[DeviceEvent, ...], list[Span]]:
    """What the devices of the homes near by noticed, and the spans in which that shows the worker."""
    found: list[DeviceEvent] = []
    spans: list[Span] = []
    for k, home in enumerate(ground.homes):
        if not (home.near and home.devices):
            continue
        there = np.flatnonzero(np.diff((way.place == k).astype(np.int8), prepend=0, append=0)) + way.first_s
        for came, went in zip(there[::2], there[1::2], strict=True):
            named = k == OWN and rng.random() < 0.6
            found += _door(visit, home.id, came, named) + _door(visit, home.id, went, False)
            if named:
                spans.append((visit.starts_at + came, visit.starts_at + came + HOME_SIDE_S))
            stirred = _every(rng, came, went, 45, 240)
            found += [_event(visit, home.id, "motion", "motion", at) for at in stirred]
            if not home.residents and k == OWN:
                spans += [(visit.starts_at + at, visit.starts_at + at + HOME_SIDE_S) for at in stirred]
        if home.residents:
            last = way.first_s + len(way.x)
            found += [_event(visit, home.id, "motion", "motion", at) for at in _every(rng, way.first_s, last, 240, 1500)]
            for at in _every(rng, way.first_s, last, 4000, 20000):
                found += _door(visit, home.id, at, False)
    return tuple(sorted(found, key=lambda event: (event.at, event.source))), spans


def _door(visit: Visit, home: str, at: float, named: bool) -> list[DeviceEvent]:
    return [
        _event(visit, home, "lock", "unlock", at - 4.0, "w-1" if named else None),
        _event(visit, home, "contact", "open", at - 2.0),
        _event(visit, home, "contact", "close", at + 5.0),
    ]


def _event(visit: Visit, home: str, device: str, kind: str, at: float, worker: str | None = None) -> DeviceEvent:
    assert device in KINDS
    moment = round(visit.starts_at + float(at), 3)
    return DeviceEvent(
        source=f"{device}-{home}",
        at=moment,
        received_at=moment + 0.4,
        identity=round(moment * 1000) % 1_000_000_007,
        kind=kind,  # type: ignore[arg-type]
        worker=worker,
        credential=f"pin-{worker}" if worker else None,
    )


def _every(rng: np.random.Generator, start: float, end: float, least_s: float, most_s: float) -> list[float]:
    moments = start + np.cumsum(rng.uniform(least_s, most_s, int((end - start) / least_s) + 1))
    return [float(at) for at in moments[moments < end]]
