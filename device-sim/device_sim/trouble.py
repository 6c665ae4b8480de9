"""Trouble: what will go wrong on a day, drawn first as plain data and only then applied.

- A *conduct* says how a worker treats one visit. Most are `on_time`.
- A *fault* is a stretch `[start, end)` in which a phone or a home's gateway misbehaves, or a habit of the whole day.

Nothing here looks at what the faults will do: the plan can be printed, stored, compared, and counted against what landed.
"""

from typing import Literal

import numpy as np
from msgspec import Struct

from device_sim.homes import Home
from device_sim.roster import Visit, Worker

Behaviour = Literal[
    "on_time",
    "late",
    "early_leave",
    "long_break",
    "no_show",
    "next_door",
    "wrong_site",
    "spoofer",
    "forgotten_check_out",
]
FaultKind = Literal[
    "dead_zone",
    "battery_death",
    "permission_off",
    "power_save",
    "cell_only",
    "location_stuck",
    "clock_skew",
    "duplicates",
    "new_epoch",
    "gateway_down",
]

BEHAVIOURS: dict[Behaviour, float] = {
    "late": 0.22,
    "early_leave": 0.17,
    "long_break": 0.1,
    "no_show": 0.1,
    "next_door": 0.09,
    "wrong_site": 0.09,
    "spoofer": 0.1,
    "forgotten_check_out": 0.13,
}
"""How the visits that do not go as planned are shared out."""

PHONE_FAULTS: dict[FaultKind, tuple[float, float, float]] = {
    "dead_zone": (2.0, 4, 35),
    "battery_death": (0.2, 20, 75),
    "permission_off": (0.2, 10, 60),
    "power_save": (0.6, 25, 80),
    "cell_only": (0.45, 10, 40),
    "location_stuck": (0.4, 8, 40),
    "clock_skew": (0.12, 0, 0),
    "duplicates": (0.7, 0, 0),
    "new_epoch": (0.25, 0, 0),
}
"""Of each kind: how many a phone day at `trouble` 1, and the shortest and longest minutes. 0 minutes: a habit of the whole day."""

GATEWAY_FAULTS_A_DAY = 0.8


class Conduct(Struct, frozen=True):
    """`amount` is the seconds late, early or on a break; `manner` is how a spoofer does it (`mock` or `frozen`)."""

    visit: str
    behaviour: Behaviour
    amount: float = 0.0
    manner: str = ""


class Fault(Struct, frozen=True):
    """`[start, end)` is when it rules. `value` is the seconds of skew, or the share of reports sent twice."""

    source: str
    kind: FaultKind
    start: float
    end: float
    value: float = 0.0


class Trouble(Struct, frozen=True):
    conducts: tuple[Conduct, ...]
    faults: tuple[Fault, ...]


def conducts(rng: np.random.Generator, visits: tuple[Visit, ...], trouble: float) -> tuple[Conduct, ...]:
    """How each visit of one worker will be treated."""
    kinds = list(BEHAVIOURS)
    shares = np.array(list(BEHAVIOURS.values()))
    drawn = []
    for visit in visits:
        kind: Behaviour = "on_time"
        if rng.random() < trouble:
            kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        drawn.append(_conduct(rng, visit, kind))
    return tuple(drawn)


def phone_faults(rng: np.random.Generator, worker: Worker, trouble: float) -> tuple[Fault, ...]:
    """What happens to one phone on one day, in the order of time."""
    begin, end = worker.shift
    faults = []
    for kind, (rate, least_min, most_min) in PHONE_FAULTS.items():
        for _ in range(int(rng.poisson(rate * trouble))):
            at = float(rng.uniform(begin, end - 600))
            if most_min == 0:
                faults.append(_habit(rng, worker, kind, at))
            else:
                faults.append(Fault(worker.id, kind, at, at + 60 * float(rng.uniform(least_min, most_min))))
    return tuple(sorted(faults, key=lambda fault: (fault.start, fault.kind)))


def gateway_faults(rng: np.random.Generator, home: Home, day: tuple[float, float], trouble: float) -> tuple[Fault, ...]:
    """When the gateway of a home is away, and with it every device of the home."""
    gateway = next((device for device, kind in home.devices if kind == "gateway"), None)
    if gateway is None:
        return ()
    starts = sorted(float(rng.uniform(*day)) for _ in range(int(rng.poisson(GATEWAY_FAULTS_A_DAY * trouble))))
    return tuple(Fault(gateway, "gateway_down", at, at + 60 * float(rng.uniform(10, 150))) for at in starts)


def _conduct(rng: np.random.Generator, visit: Visit, kind: Behaviour) -> Conduct:
    planned_s = visit.ends_at - visit.starts_at
    if kind == "long_break" and planned_s < 3600:
        kind = "early_leave"  # Nobody takes a break of 20 minutes out of a call of 20.
    if kind == "late":
        return Conduct(visit.id, kind, float(rng.uniform(0.3, 0.7)) * min(planned_s, 3600.0) + 240)
    if kind == "early_leave":
        return Conduct(visit.id, kind, float(rng.uniform(0.25, 0.65)) * planned_s)
    if kind == "long_break":
        return Conduct(visit.id, kind, 60 * float(rng.uniform(18, 40)))
    if kind == "spoofer":
        return Conduct(visit.id, kind, manner=("mock", "frozen")[int(rng.integers(2))])
    return Conduct(visit.id, kind)


def _habit(rng: np.random.Generator, worker: Worker, kind: FaultKind, at: float) -> Fault:
    begin, end = worker.shift[0] - 7200, worker.shift[1] + 7200
    if kind == "clock_skew":
        return Fault(worker.id, kind, begin, end, float(rng.choice((-1, 1)) * rng.uniform(60, 900)))
    if kind == "duplicates":
        return Fault(worker.id, kind, begin, end, float(rng.uniform(0.02, 0.15)))
    return Fault(worker.id, kind, at, at)
