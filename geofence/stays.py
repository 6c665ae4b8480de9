"""Stays: what a stop was, by the sites that are known and by her plan.

| kind | the stop |
|---|---|
| planned | was at a site in the window of a visit of hers there |
| unscheduled | was at one known site, and no visit of hers was planned there then |
| ambiguous | was at one of several known sites that its position cannot tell apart, and none was planned |
| unknown_place | was at no known site, in working time |
| off_duty | was at no known site, outside working time: nobody's business, and told to nobody |

Working time is a planned visit of hers, and the time between two of them that is shorter than a night's rest.

Rules kept here:

- A stop is at a site if its middle is no further outside the fence than two σ of it. Of several, those remain that do not lie
  further out than the nearest by two σ. The plan decides between sites that look alike, and never puts a stop where it was not.
- A stay at a site with a visit of hers there on the same day, in no window of it, names that visit: it may have been served at
  another time. A stay while she was planned elsewhere names what it was instead of.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from geofence.plan import Site, Visit
from geofence.plane import fence_of, plane_of
from geofence.stops import Stop

Kind = Literal["planned", "unscheduled", "ambiguous", "unknown_place", "off_duty"]

AROUND_S = 1800.0
"""So long before and after its plan a visit explains a stay there: the tolerances that a verdict has too [design: 30 min]."""
REST_S = 28_800.0
"""Between two visits that are further apart than this lies a night, and no working time."""
SAME_DAY_S = 43_200.0
"""A stay further from a visit than this is no visit at another time of that day."""
TOLD_MIN_S = 600.0
"""A stay at a known site that is shorter is no service: the least that a policy proves by default."""
SIGMAS = 2.0


class Stay(Struct, frozen=True, kw_only=True):
    """What a stop was. `sites` are all that it may have been at, `site` the one if there is one."""

    kind: Kind
    site: str | None = None
    sites: tuple[str, ...] = ()
    visit: str | None = None
    """Of a planned stay its visit; of another one her visit there at another time of the day."""
    instead_of: str | None = None
    """Her visit elsewhere that was planned for this time."""


def stay(stop: Stop, sites: Iterable[Site], visits: Sequence[Visit]) -> Stay:
    """What a stop was, by the sites near it and by all visits of hers within `SAME_DAY_S` of it."""
    found = _sites(stop, sites)
    there = sorted((visit for visit in visits if visit.site in found), key=lambda visit: (_apart_s(stop, visit), visit.id))
    planned = [visit for visit in there if _apart_s(stop, visit) < AROUND_S]
    if planned:
        return Stay(kind="planned", site=planned[0].site, sites=found, visit=planned[0].id)
    missed = sorted(visit.id for visit in visits if _apart_s(stop, visit) < 0.0)
    instead_of = missed[0] if missed else None
    if len(found) == 1:
        that_day = there[0].id if there and _apart_s(stop, there[0]) < SAME_DAY_S else None
        return Stay(kind="unscheduled", site=found[0], sites=found, visit=that_day, instead_of=instead_of)
    if found:
        return Stay(kind="ambiguous", sites=found, instead_of=instead_of)
    return Stay(kind="unknown_place" if _is_work(stop, visits) else "off_duty", instead_of=instead_of)


def _sites(stop: Stop, sites: Iterable[Site]) -> tuple[str, ...]:
    """The sites that a stop may have been at."""
    outside = {}
    for site in sites:
        plane = plane_of(site)
        distance = float(fence_of(site, plane).distance(*plane.east_north(np.array([stop.lon]), np.array([stop.lat])))[0])
        if distance <= SIGMAS * stop.error_m:
            outside[site.id] = distance
    nearest = min(outside.values(), default=0.0)
    return tuple(sorted(site for site, distance in outside.items() if distance <= nearest + SIGMAS * stop.error_m))


def _apart_s(stop: Stop, visit: Visit) -> float:
    """Seconds between a stop and a plan; below 0 where they overlap."""
    return max(visit.starts_at - stop.end_at, stop.start_at - visit.ends_at)


def _is_work(stop: Stop, visits: Sequence[Visit]) -> bool:
    if any(_apart_s(stop, visit) < 0.0 for visit in visits):
        return True
    before = max((visit.ends_at for visit in visits if visit.ends_at <= stop.start_at), default=float("-inf"))
    after = min((visit.starts_at for visit in visits if visit.starts_at >= stop.end_at), default=float("inf"))
    return after - before < REST_S
