"""Case: one visit of which everything is known: what the engine gets, and what really happened."""

from typing import Literal

from msgspec import Struct

from device_sim.spans import Span, union
from geofence.evidence import Observed
from geofence.plan import Scene

World = Literal["town", "drift"]
Sampling = Literal["10 s", "60 s", "300 s", "significant"]
Surroundings = Literal["open", "canyon", "house", "flats"]

SAMPLINGS: tuple[Sampling, ...] = ("10 s", "60 s", "300 s", "significant")
INTERVAL_S: dict[Sampling, float] = {"10 s": 10.0, "60 s": 60.0, "300 s": 300.0, "significant": 300.0}
AWAY = frozenset({"no_show", "next_door", "wrong_site", "spoofer"})
"""Behaviours in which the worker is not there at all."""
TOLERANCE_S = 1800.0
"""Presence further from the plan than this belongs to no visit [words.md: 30 min]."""
GRACE_S = 420.0
"""An absence shorter than this is no absence: the policy's default, and no simulated one is near it."""
PASSING_S = 60.0
"""Presence outside the planned time that is shorter is passing by."""


class Missing(Struct, frozen=True):
    """A stretch `[start, end)` that no evidence shows, and why."""

    start: float
    end: float
    cause: str


class Truth(Struct, frozen=True, kw_only=True):
    """What really happened. `on_site` is the time within the fence, without passing by; `seen_s` of `expected_s` are monitored."""

    on_site: tuple[Span, ...]
    seen_s: float
    expected_s: float
    missing: tuple[Missing, ...]
    contested: bool = False
    """Whether she was within the fence also in the planned time of another visit of hers, which makes it no clear case."""

    @property
    def coverage(self) -> float:
        return self.seen_s / self.expected_s

    @property
    def served(self) -> list[Span]:
        """`on_site` without the absences that are too short to count."""
        return [(start, end - GRACE_S) for start, end in union((start, end + GRACE_S) for start, end in self.on_site)]


class Case(Struct, frozen=True, kw_only=True, eq=False):
    """One visit. `manner` is how a spoofer does it, and empty for everybody else; `faults` are those of phone and home."""

    world: World
    seed: int
    sampling: Sampling
    surroundings: Surroundings
    behaviour: str
    manner: str
    faults: tuple[str, ...]
    scene: Scene
    observed: Observed
    truth: Truth
