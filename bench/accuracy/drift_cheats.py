"""Cheats of the drift world: how a spoofer makes positions up who sits in a café, or lies at home, instead.

Every way that a common app, or two phones, allow; what a phone of this world measures itself (radii, errors of rooms) it may be
left to measure. Nobody here wears the mock flag but `mock`: elsewhere it is hidden by who owns the phone.

`BEYOND` are those that no evidence of the phone can tell: it really lies in the home, or goes there as somebody would. A colleague
who carries her phone is no case of its own: her reports are an honest visit's.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from bench.accuracy.drift_homes import Building
from bench.accuracy.drift_ways import Way
from geofence.evidence import Bools, Fixes, Floats, Sketches
from geofence.plan import Site
from geofence.replayed import sketch


class Cheat(Struct, frozen=True, kw_only=True):
    """A position that is made up from when she would have come until she would have gone."""

    tremble_m: float | None
    """Its noise; none where it is a receiver's in those rooms, as in a track that is played again."""
    forgets_s: float = 90.0
    """For how long an error of it lasts; 0 for dice."""
    radius_m: float | None
    """The radius that it claims each time; none where it varies as the phone's own does."""
    rides_mps: float | None = None
    """How fast it goes there from where she really is, and back, by the joystick of its app; none where it leaps."""
    lies_there: bool = False
    """The phone is no liar: it lies in the home all day, and she is elsewhere without it."""


CHEATS = {
    "mock": Cheat(tremble_m=3.0, radius_m=10.0),
    "frozen": Cheat(tremble_m=0.0, radius_m=5.0),
    "still": Cheat(tremble_m=0.05, radius_m=5.0),
    "jump": Cheat(tremble_m=5.0, radius_m=8.0),
    "dice": Cheat(tremble_m=4.0, forgets_s=0.0, radius_m=None),
    "replay": Cheat(tremble_m=None, radius_m=None),
    "joystick": Cheat(tremble_m=1.0, forgets_s=0.0, radius_m=5.0, rides_mps=4.0),
    "left behind": Cheat(tremble_m=None, radius_m=None, lies_there=True),
}
WEEK_S = 7 * 86_400.0
MANNERS = tuple(CHEATS)
BEYOND = frozenset({"joystick", "left behind"})

Wander = Callable[[Floats], Floats]
"""A process of size one at the times of the fixes, with a memory of so many seconds each."""


def original(fixes: Fixes, made: Bools, site: Site) -> Sketches:
    """What is kept of the visit of a week before that is played again."""
    columns = {name: getattr(fixes, name)[made] for name in ("lon", "lat", "accuracy_m", "ping")}
    kept = sketch(replace(fixes, at=fixes.at[made] - WEEK_S, **columns), site)
    return Sketches(kept.prints, kept.at, np.array([len(kept.prints)]))


def play(
    cheat: Cheat, way: Way, rooms: Building, times: Floats, measured: tuple[Floats, Floats, Floats], errors: Floats, wander: Wander
) -> tuple[Floats, Floats, Floats, Bools]:
    """East, north and radius of each fix, of which some are not what was `measured`; and which."""
    x, y, accuracy = (column.copy() for column in measured)
    made = np.ones(len(times), dtype=bool) if cheat.lies_there else (times >= way.came) & (times < way.went)
    spot = np.array([[rooms.x + 1.2], [rooms.y - 0.8]])
    if cheat.rides_mps is not None:
        café = np.array(way.at(np.array([way.came])))
        ride_s = float(np.hypot(*(spot - café))[0]) / cheat.rides_mps
        share = np.clip(np.minimum(times - way.came, way.went - times) / ride_s, 0.0, 1.0)
        spot = café + share * (spot - café)
    for axis, column in enumerate((x, y)):
        if cheat.tremble_m is None:
            noise = errors[axis]
        else:
            noise = cheat.tremble_m * wander(np.full(len(times), max(cheat.forgets_s, 1e-3)))
        column[made] = (spot[axis] + noise)[made]
    if cheat.radius_m is not None:
        accuracy[made] = cheat.radius_m
    return x, y, accuracy, made
