"""Credibility: which fixes are not to be believed, and all the reasons why.

A flag is a question for a person and never a proof: flagged fixes are kept, count for little, cover nothing, and can neither verify
nor contradict a visit alone. All reasons that apply are collected, as bits of one integer per fix:

| flag | the fix |
|---|---|
| mock | was marked by the phone as coming from a mock provider |
| teleport | lies where nobody could have come from, or gone on from (`teleport`) |
| frozen | trembles less than any receiver, or not at all, for ten minutes |
| stale_ping | repeats an old position with a new time: by its own word, or to the last digit after it was elsewhere |
| clock_skew | carries a wrong time: from the future of the moment we got it, or steadily long before it |
| impossible_accuracy | claims a radius no phone reaches |
| jitter_free | moves with its neighbours on a line and at a speed without any noise, for many fixes and minutes |
| datum | fits a site of her plan only when read in another map datum, by a phone that was there and nowhere else (`datum`) |
| two_phones | is contradicted by another phone of hers at about the same time; she carries at most one of them |
| replayed | is known, in a row of others, from an earlier visit to the same site (`replayed`) |

A clock that is behind looks like a slow network, but for this: a network that is behind catches up, and a clock does not. So a
phone whose freshest reports keep the same delay for `CLOCK_STEADY_S` of our own time, far beyond its reporting interval, has a
clock that is behind; and so have those of its reports that were kept back meanwhile, whose delay hides it. A clock that is set
during the day begins or ends such a stretch. An app whose reports each wait for the same number of later ones looks the same.

A phone in the wrong datum is seen inside China only, and by the plan: nothing else says where she ought to be.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct

from geofence import datum, likelihood, noise
from geofence.evidence import NO_SKETCHES, Bools, Fixes, Floats, Ints, Sketches
from geofence.noise import Laid
from geofence.plan import Scene, Site
from geofence.plane import EARTH_M, Fence, Plane, away, fence_of, plane_of, turned
from geofence.policy import Policy
from geofence.replayed import replayed
from geofence.teleport import far, teleported
from geofence.tracks import Tracks, laid, tracks

NAMES = (
    "mock", "teleport", "frozen", "stale_ping", "clock_skew", "impossible_accuracy", "jitter_free", "datum", "two_phones",
    "replayed",
)  # fmt: skip
MOCK, TELEPORT, FROZEN, STALE_PING, CLOCK_SKEW, IMPOSSIBLE_ACCURACY, JITTER_FREE, DATUM, TWO_PHONES, REPLAYED = (
    1 << bit for bit in range(len(NAMES))
)
SPOOF = MOCK | TELEPORT | FROZEN | JITTER_FREE | REPLAYED
"""The flags that look like intent."""

REPEAT_M = 250.0
"""A step this long to a position that was there before, to the last digit with accuracy and altitude, is no step: a receiver is
noisy. A phone that names neither accuracy nor altitude may just round."""
CLOCK_BEHIND_S = 300.0
"""Reports that are steadily later than this come from a clock that is behind. Below it, arrivals shift by less than a sparse phone
shifts them."""
CLOCK_STEADY_S = 600.0
"""For so long of our own time: an outbox that empties does so within it, or grows younger while it does."""
CLOCK_JITTER_S = 30.0
"""By how much the delay of a live phone varies: an ordinary mobile network, and not a queue. What comes within so long comes
together."""
CLOCK_INTERVALS = 3.0
"""A phone that sends with each report the one before is late by one interval, and by more when a message is lost."""
DATUM_STAY_S = 600.0
"""A stay at the shifted place must last this long to be one: a site has six such places around it, and a walk may lead past."""
DATUM_NEAR_M = (30.0, 75.0)
"""How near to the shifted site is there, at least and at most; between, three σ of the fix."""
DATUM_AS_IT_IS = 0.1
"""With this share of its fixes at the site as they are, the phone does not confuse datums always, but by provider."""
BESIDE_S = 120.0
"""Two phones are compared with each other at times not further apart than this."""


class Expected(Struct, frozen=True, eq=False):
    """Where the plan has her, and when: what a confused datum is found by."""

    site: Site
    starts_at: float
    ends_at: float


def expected(scene: Scene) -> tuple[Expected, ...]:
    """Where a scene has its worker: the visit itself first, then her others of that time."""
    sites = {site.id: site for site in (*scene.neighbours, scene.site)}
    visits = (scene.visit, *scene.others)
    return tuple(Expected(sites[visit.site], visit.starts_at, visit.ends_at) for visit in visits if visit.site in sites)


def flags(fixes: Fixes, policy: Policy, plan: Sequence[Expected] = ()) -> tuple[tuple[str, ...], ...]:
    """The names of the flags of each fix, in the order of `NAMES`. Fixes are in the order of (at, source, identity)."""
    return tuple(names(int(mask)) for mask in masks(fixes, policy, plan))


def names(mask: int) -> tuple[str, ...]:
    """The names of the bits of one mask."""
    return tuple(name for bit, name in enumerate(NAMES) if mask >> bit & 1)


def masks(fixes: Fixes, policy: Policy, plan: Sequence[Expected] = ()) -> Ints:
    """The flags of each fix as bits. Without a plan nothing is held against it: no `datum`, and no `two_phones`; nor is it
    compared with earlier visits.
    """
    return masks_all([fixes], [plan], [NO_SKETCHES], policy)[0]


def masks_all(
    many: Sequence[Fixes], plans: Sequence[Sequence[Expected]], earlier: Sequence[Sketches], policy: Policy
) -> list[Ints]:
    """The same for many visits, each as if it were alone."""
    at, received_at, accuracy_m = (laid(many, name) for name in ("at", "received_at", "accuracy_m"))
    mock, ping = (np.concatenate([getattr(fixes, name) for fixes in many]) for name in ("mock", "ping"))
    told = MOCK * mock + STALE_PING * ping
    told |= CLOCK_SKEW * (at > received_at + policy.clock_ahead_max_s)
    told |= IMPOSSIBLE_ACCURACY * (accuracy_m < policy.accuracy_min_m)
    # A ping repeats coordinates by design: it must neither freeze a track nor hide that it moved. What is flagged as mock or frozen
    # already is no reproach to real positions, however far it lies from them.
    own = tracks(many, ~(ping | mock))
    _flag_tracks(told, many, own, policy)
    ends = np.cumsum([len(fixes.at) for fixes in many])
    masks = np.split(told, ends[:-1])
    for n in sorted(set(np.searchsorted(ends, np.flatnonzero(received_at - at > CLOCK_BEHIND_S), side="right").tolist())):
        for source in range(len(many[n].sources)):
            rows = np.flatnonzero(many[n].source == source)
            masks[n][rows[_behind(many[n].at[rows], many[n].received_at[rows])]] |= CLOCK_SKEW
    for n, fixes in enumerate(many):
        if len(earlier[n].prints):
            for source in range(len(fixes.sources)):
                rows = _own(fixes, source)
                masks[n][rows[replayed(fixes, rows, plans[n][0].site, earlier[n])]] |= REPLAYED
        for source, place in _shifted(fixes, plans[n]):
            _flag_datum(masks[n], fixes, _own(fixes, source), place, plans[n], policy)
        if plans[n] and len(fixes.sources) > 1:
            masks[n][_two_phones(fixes, plans[n][0].site, policy)] |= TWO_PHONES
    return masks


def _own(fixes: Fixes, source: int) -> Ints:
    """What one phone measured itself, as far as it says so."""
    return np.flatnonzero((fixes.source == source) & ~fixes.ping & ~fixes.mock)


def _flag_tracks(mask: Ints, many: Sequence[Fixes], of: Tracks, policy: Policy) -> None:
    """The flags that follow from how the fixes of one phone lie to each other."""
    at, lon, lat, accuracy_m = (laid(many, name)[of.order] for name in ("at", "lon", "lat", "accuracy_m"))
    east, north = _metres(lon, lat, of)
    step = away(east[1:] - east[:-1], north[1:] - north[:-1])
    # No step leads from one track to another, whatever it is compared with.
    step[of.first[1:] != of.first[:-1]] = np.nan
    # A cell's position is the tower's, and the same each time: only what claims to be precise can be too still to be true.
    precise = ~(accuracy_m > policy.accuracy_max_m)
    fixes = Laid(of, at, lon, lat, accuracy_m, east, north, step)
    frozen = noise.frozen(fixes, policy) & precise
    mask[of.order[frozen]] |= FROZEN
    mask[of.order[noise.smooth(fixes, policy) & precise & ~frozen]] |= JITTER_FREE
    altitude_m = laid(many, "altitude_m")[of.order]
    odd = np.concatenate(([False], (step > REPEAT_M) | far(step, accuracy_m, policy))) | frozen
    for first in sorted(set(of.first[odd].tolist())):
        rows = slice(first, int(of.last[first]) + 1)
        columns = (lon[rows], lat[rows], accuracy_m[rows], altitude_m[rows])
        stale = _stale(columns, step[first : rows.stop - 1]) & precise[rows] & ~frozen[rows]
        mask[of.order[rows][stale]] |= STALE_PING
        real = first + np.flatnonzero(~frozen[rows] & ~stale)
        if len(real) > 1:
            mask[of.order[real[teleported(at[real], east[real], north[real], accuracy_m[real], policy)]]] |= TELEPORT


def _metres(lon: Floats, lat: Floats, of: Tracks) -> tuple[Floats, Floats]:
    """Metres about the first fix of each track: only differences are used."""
    metres = np.radians(1.0) * EARTH_M
    return turned(lon - lon[of.first]) * metres * np.cos(np.radians(lat)), (lat - lat[of.first]) * metres


def _stale(columns: tuple[Floats, Floats, Floats, Floats], step: Floats) -> Bools:
    """Fixes that jump back to an earlier one of their phone and equal it in every number: the phone's cache, and not a receiver.
    `columns` are those numbers: longitude, latitude, accuracy and altitude.
    """
    stale = np.zeros(len(step) + 1, dtype=bool)
    back = np.flatnonzero(step > REPEAT_M) + 1
    back = back[~np.isnan(columns[2][back]) & ~np.isnan(columns[3][back])]
    if not len(back):
        return stale
    alike = np.flatnonzero(np.isin(columns[0], columns[0][back]))
    first: dict[tuple[float, ...], int] = {}
    for row, numbers in zip(alike.tolist(), zip(*(column[alike].tolist() for column in columns), strict=True), strict=True):
        first.setdefault(numbers, row)
    others = np.flatnonzero(np.logical_or.reduce([np.diff(column) != 0.0 for column in columns])) + 1
    ends = np.append(others, len(stale))[np.searchsorted(others, back, side="right")]
    for begin, end, numbers in zip(
        back.tolist(), ends.tolist(), zip(*(column[back].tolist() for column in columns), strict=True), strict=True
    ):
        if first[numbers] < begin:
            stale[begin:end] = True
    return stale


def _behind(at: Floats, received_at: Floats) -> Bools:
    """Fixes of a phone whose clock is behind: those that came steadily late, and around them all that may be of the same clock.

    A clock that is behind by so much makes every report at least so late: what came fresher was made by a right one. What came
    later may have been kept back (by the phone, or by us), and its delay tells nothing: it has the clock of its neighbours in time.
    """
    late = received_at - at
    steady = _steady(late, received_at)
    if not steady.any():
        return steady
    told = steady | (late < late[steady].min() - CLOCK_JITTER_S)
    known, row = np.flatnonzero(told), np.arange(len(at))
    before = known[np.maximum(np.searchsorted(known, row, side="right") - 1, 0)]
    after = known[np.minimum(np.searchsorted(known, row), len(known) - 1)]
    return np.where(told, steady, steady[before] | steady[after])


def _steady(late: Floats, received_at: Floats) -> Bools:
    """Fixes that we got steadily late for `CLOCK_STEADY_S`. Of what came together only the freshest tells how late the phone is."""
    steady = np.zeros(len(late), dtype=bool)
    if not (late > CLOCK_BEHIND_S).any():
        return steady
    slot = np.floor(received_at / CLOCK_JITTER_S)
    order = np.lexsort((late, slot))
    first = np.flatnonzero(np.diff(slot[order], prepend=-np.inf))
    fresh, heard_at = late[order[first]], received_at[order[first]]
    until = np.searchsorted(heard_at, heard_at + CLOCK_STEADY_S)
    begins = np.flatnonzero((fresh > CLOCK_BEHIND_S) & (until < len(fresh)))
    for begin in begins[np.abs(fresh[until[begins]] - fresh[begins]) <= 2.0 * CLOCK_JITTER_S].tolist():
        end = int(until[begin]) + 1
        interval = float(np.median(np.diff(heard_at[begin:end])))
        if np.ptp(fresh[begin:end]) <= 2.0 * CLOCK_JITTER_S and fresh[begin:end].min() > max(
            CLOCK_BEHIND_S, CLOCK_INTERVALS * interval
        ):
            steady[order[first[begin] : first[end] if end < len(first) else len(order)]] = True
    return steady


def _shifted(fixes: Fixes, plan: Sequence[Expected]) -> list[tuple[int, Expected]]:
    """The phones that may have been at a planned site with a confused datum, and where: nearly always none."""
    found = []
    for place in plan:
        boxes = _beside(place.site)
        first, end = fixes.at.searchsorted((place.starts_at, place.ends_at)).tolist() if len(boxes) else (0, 0)
        if end - first < 3:
            continue
        # Whoever was at one place has all of her fixes beside all of the others: most shifts need no look at each of them.
        lon, lat = fixes.lon[first:end], fixes.lat[first:end]
        corners = np.array((-lon.max(), -lat.max(), lon.min(), lat.min()))
        if (boxes + corners <= 0.0).all(axis=1).any():
            found += [(source, place) for source in range(len(fixes.sources))]
    return found


@lru_cache(maxsize=20_000)
def _beside(site: Site) -> Floats:
    """Where who is at a site is reported with a confused datum, a row `west, south, -east, -north` for each mistake, in degrees."""
    plane = plane_of(site)
    west, south, east, north = fence_of(site, plane).box
    (east_m, north_m), margin = plane.metres, DATUM_NEAR_M[1] + 1.0
    rows = []
    for shift in datum.mistakes(plane.lon, plane.lat):
        lon, lat = plane.lon + shift.lon, plane.lat + shift.lat
        low = (lon + (west - margin) / east_m, lat + (south - margin) / north_m)
        rows.append((*low, -lon - (east + margin) / east_m, -lat - (north + margin) / north_m))
    return np.array(rows)


def _flag_datum(mask: Ints, fixes: Fixes, own: Ints, place: Expected, plan: Sequence[Expected], policy: Policy) -> None:
    """Flags a phone that was at a planned site in planned time, if its datum was confused, and not otherwise."""
    plane = plane_of(place.site)
    mistakes = datum.mistakes(plane.lon, plane.lat)
    if not mistakes:
        return
    use = _during(fixes, own, place)
    if len(use) < 3 or fixes.at[use[-1]] - fixes.at[use[0]] < DATUM_STAY_S:
        return
    shifts = _near_by(fixes, use, place.site, plane, mistakes)
    if not shifts:
        return
    here = _at(fixes, use, place.site, plane, (0.0, 0.0), policy)
    for shift in shifts:
        there = _at(fixes, use, place.site, plane, (shift.lon, shift.lat), policy) & ~here
        if there.sum() < 3 or np.ptp(fixes.at[use[there]]) < DATUM_STAY_S:
            continue
        if here.mean() >= DATUM_AS_IT_IS:
            mask[use[there]] |= DATUM
            continue
        confused = np.ones(len(own), dtype=bool)
        for other in plan:
            rows = _during(fixes, own, other)
            if len(rows) and _at(fixes, rows, other.site, plane_of(other.site), (0.0, 0.0), policy).mean() >= DATUM_AS_IT_IS:
                confused[np.searchsorted(own, rows)] = False
        mask[own[confused]] |= DATUM


def _during(fixes: Fixes, own: Ints, place: Expected) -> Ints:
    """Those of a phone's fixes that were made while she was expected at a place."""
    first, end = np.searchsorted(fixes.at[own], (place.starts_at, place.ends_at)).tolist()
    return own[first:end]


def _near_by(fixes: Fixes, rows: Ints, site: Site, plane: Plane, shifts: Sequence[datum.Shift]) -> list[datum.Shift]:
    """Those of the shifts by which any of the fixes would come into the box around a site: nearly always none."""
    west, south, east, north = fence_of(site, plane).box
    x, y = plane.east_north(fixes.lon[rows], fixes.lat[rows])
    off_x, off_y = plane.east_north(
        plane.lon + np.array([shift.lon for shift in shifts]), plane.lat + np.array([shift.lat for shift in shifts])
    )
    margin = DATUM_NEAR_M[1]

    def reached(dx: float, dy: float) -> bool:
        inside = (x >= west - margin + dx) & (x <= east + margin + dx) & (y >= south - margin + dy) & (y <= north + margin + dy)
        return bool(inside.any())

    return [shift for shift, dx, dy in zip(shifts, off_x.tolist(), off_y.tolist(), strict=True) if reached(dx, dy)]


def _at(fixes: Fixes, rows: Ints, site: Site, plane: Plane, off: tuple[float, float], policy: Policy) -> Bools:
    """Whether fixes are at a site when so many degrees are taken off them. What is vague is nowhere."""
    distance = fence_of(site, plane).distance(*plane.east_north(fixes.lon[rows] - off[0], fixes.lat[rows] - off[1]))
    near = np.clip(3.0 * _sigma(fixes.accuracy_m[rows], policy), *DATUM_NEAR_M)
    inside: Bools = (distance <= near) & ~(fixes.accuracy_m[rows] > policy.accuracy_max_m)
    return inside


def _two_phones(fixes: Fixes, site: Site, policy: Policy) -> Bools:
    """Fixes whose nearest in time of another phone lies on the other side of the fence, and neither is near it."""
    plane = plane_of(site)
    side = _side(fixes, fence_of(site, plane), plane, policy)
    told = np.zeros(len(fixes.at), dtype=bool)
    phones = [np.flatnonzero((fixes.source == source) & ~fixes.ping) for source in range(len(fixes.sources))]
    for one, mine in enumerate(phones):
        for two, theirs in enumerate(phones):
            if one != two and len(mine) and len(theirs):
                nearest = theirs[_nearest(fixes.at[theirs], fixes.at[mine])]
                close = np.abs(fixes.at[nearest] - fixes.at[mine]) <= BESIDE_S
                told[mine] |= close & (side[mine] * side[nearest] < 0)
    return told


def _side(fixes: Fixes, fence: Fence, plane: Plane, policy: Policy) -> Ints:
    """1 for clearly outside, -1 for inside, 0 for near the fence."""
    distance = fence.distance(*plane.east_north(fixes.lon, fixes.lat))
    return np.where(distance >= 3.0 * _sigma(fixes.accuracy_m, policy), 1, np.where(distance <= 0.0, -1, 0))


def _nearest(at: Floats, moments: Floats) -> Ints:
    """The index of the time that is nearest to each moment; of two as near, the earlier one."""
    after = np.clip(np.searchsorted(at, moments), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(at[after] - moments) < np.abs(at[before] - moments), after, before)


def _sigma(accuracy_m: Floats, policy: Policy) -> Floats:
    return likelihood.sigma(accuracy_m, np.full(len(accuracy_m), policy.sigma_floor_still_m), policy)
