"""Replayed: fixes that were sent before, for an earlier visit to the same site: a track that is played again.

Theory of operation
-------------------
Who has the track of one honest hour can send it again under new times. Each of its fixes is honest, and so is the way there. But no
receiver measures a whole row of positions twice, to the last digit and with the same time between them.

1. `sketch`: of the positions about the site in a visit's window `KEPT_MAX` are kept as prints, hashes of (lon, lat), each with the
   time at which it was first there. The smallest prints are kept (bottom-k sampling: Cohen and Kaplan, PODC 2007), so that who
   leaves out every second fix hits no pattern of ours.
2. `replayed`: where a phone now names a position that was kept, the time since then is its delay. A track played again has one
   delay for all of its positions, within `LAG_S`; what is alike by chance has any. So the delay under which most is explained is
   tried:
   - Each position that came again speaks for a copy by -log q, where q is the chance that two fixes of this phone are alike. It is
     counted, not assumed: the share of its pairs of fixes, or for a position that this phone names often, how often it does. A
     phone that rounds to four digits, or names a few wireless networks in turn, has a large q and proves nothing by being alike.
   - Each position that should have come again, while the phone named another, speaks against it.
   It is a copy if what speaks for it comes to `NATS_MIN` by at least `ALIKE_MIN` positions, and as many came again as did not.
   Then all that this phone said in that stretch was played, and the rest may have another delay: a track can be cut, or looped.

What nobody sent to us before cannot be told, nor a copy with every position changed a little.
"""

import numpy as np
from numpy.typing import NDArray

from geofence.evidence import Bools, Fixes, Floats, Ints, Sketch, Sketches
from geofence.plan import Site
from geofence.plane import fence_of, plane_of

Prints = NDArray[np.int32]

MADE = 1
"""Which positions are kept, and how, as a number: another rule is another number, and what was kept by it is made anew."""
KEPT_MAX = 64
"""Of a visit: a quarter of it played again, with every fourth fix, still has as many as `ALIKE_MIN`."""
MEASURED_M = 150.0
"""A vaguer position is a tower's."""
ABOUT_M = 100.0
"""Positions further from the site's box prove nothing about the visit. On the way, a phone that rounds names each place once, and
whoever goes to work by the clock comes by each at its time."""
ALIKE_MIN = 5
PAIRS_ALIKE, PAIRS = 0.5, 50.0
"""Before any is seen, one pair in a hundred is taken to be alike: as if so many had been looked at. With that, no visit of 18,000
was flagged in which a phone named one of 30 to 60 wireless networks every five minutes, to the second, for a month."""
NATS_MIN = 30.0
"""Chance does it once in e^30: a day has some 20,000 delays to try, and a company a million visits a year, which is e^24."""
LAG_S = 2.0
"""Two clocks, and a timer that is late, shift a position that is played again by no more than this."""
APART_S = 600.0
"""Two programs of one phone that name the same position are not played again, nor is a report that was sent twice."""
SINCE_S = 35 * 86400.0
"""How far back an earlier visit may lie: five weeks, so that those who come once a month are compared too."""
REACH = 3.0
"""Two neighbours that were kept are further apart than so many times their mean distance once in twenty (e^-3)."""
PIECES_MAX = 16
"""So many stretches of one phone, each with a delay of its own, are looked for."""

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xFF51AFD7ED558CCD))
"""Odd numbers without a pattern (of splitmix64, xxhash64, murmur3)."""


def sketch(fixes: Fixes, site: Site) -> Sketch:
    """The sketch of the fixes of a visit's window, in the order of time."""
    rows = np.flatnonzero(_measured_there(fixes, site))
    prints, first = np.unique(_prints(fixes.lon[rows], fixes.lat[rows]), return_index=True)
    return Sketch(prints[:KEPT_MAX], fixes.at[rows[first[:KEPT_MAX]]])


def replayed(fixes: Fixes, own: Ints, site: Site, earlier: Sketches) -> Bools:
    """Which of the fixes `own` of one phone, in the order of time, repeat one of the earlier visits to a site."""
    told = np.zeros(len(own), dtype=bool)
    rows = own[_measured_there(fixes, site)[own]]
    if len(rows) < ALIKE_MIN:
        return told
    prints = _prints(fixes.lon[rows], fixes.lat[rows])
    known, count = np.unique(prints, return_counts=True)
    place = np.minimum(np.searchsorted(known, earlier.prints), len(known) - 1)
    alike = np.flatnonzero(known[place] == earlier.prints)
    if len(alike) < ALIKE_MIN:
        return told
    at, nats = fixes.at[rows], _nats(count)
    which = np.searchsorted(earlier.ends, alike, side="right")
    for visit in np.flatnonzero(np.bincount(which) >= ALIKE_MIN).tolist():
        first, end = int(earlier.ends[visit - 1]) if visit else 0, int(earlier.ends[visit])
        one = Sketch(earlier.prints[first:end], earlier.at[first:end])
        kept = alike[which == visit]
        for start, last in _pieces(at, prints, one, kept - first, nats[place[kept]]):
            told |= (fixes.at[own] >= start) & (fixes.at[own] <= last)
    return told


def _measured_there(fixes: Fixes, site: Site) -> Bools:
    """The fixes about a site that a receiver made: a ping repeats by design, and so does the position of a cell's tower."""
    plane = plane_of(site)
    west, south, east, north = fence_of(site, plane).box
    x, y = plane.east_north(fixes.lon, fixes.lat)
    there = (x >= west - ABOUT_M) & (x <= east + ABOUT_M) & (y >= south - ABOUT_M) & (y <= north + ABOUT_M)
    measured: Bools = there & ~fixes.ping & ~(fixes.accuracy_m > MEASURED_M)
    return measured


def _prints(lon: Floats, lat: Floats) -> Prints:
    """Thirty-two bits of each position; equal for equal positions, the two zeros included."""
    one, two, three = _MIX
    mixed = (lon + 0.0).view(np.uint64) * one
    mixed = ((mixed ^ (mixed >> np.uint64(29))) + (lat + 0.0).view(np.uint64)) * two
    mixed = (mixed ^ (mixed >> np.uint64(32))) * three
    return (mixed >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _nats(count: Ints) -> Floats:
    """What it says for a copy that a position comes again which this phone named so often: -log of the chance of it."""
    fixes = int(count.sum())
    alike, pairs = int((count * (count - 1)).sum()) // 2, fixes * (fixes - 1) // 2
    return -np.log(np.maximum((alike + PAIRS_ALIKE) / (pairs + PAIRS), (count - 1) / max(fixes - 1, 1)))


def _pieces(at: Floats, prints: Prints, one: Sketch, kept: Ints, worth: Floats) -> list[tuple[float, float]]:
    """The stretches in which a phone plays one earlier visit again, the plainest first."""
    # A position that stays is one that came once: where it began is compared with where it began then.
    begins = np.flatnonzero(np.concatenate(([True], prints[1:] != prints[:-1])))
    begins = begins[np.argsort(prints[begins], kind="stable")]
    low, high = (np.searchsorted(prints[begins], one.prints[kept], side=side) for side in ("left", "right"))
    which = np.repeat(np.arange(len(kept)), high - low)
    row = np.concatenate([begins[first:end] for first, end in zip(low.tolist(), high.tolist(), strict=True)])
    delay = at[row] - one.at[kept[which]]
    order = np.flatnonzero(delay >= APART_S)
    order = order[np.argsort(delay[order], kind="stable")]
    which, row, delay = which[order], row[order], delay[order]
    found: list[tuple[float, float]] = []
    for _ in range(PIECES_MAX):
        if len(delay) < ALIKE_MIN:
            break
        until = np.searchsorted(delay, delay + 2.0 * LAG_S, side="right")
        total = np.concatenate(([0.0], np.cumsum(worth[which])))
        best = int(np.argmax(total[until] - total[:-1]))
        rest = np.ones(len(delay), dtype=bool)
        rest[best : until[best]] = False
        stretch = _stretch(at, prints, one, float(np.median(delay[~rest])), worth, kept)
        if stretch is not None:
            found.append(stretch)
        which, row, delay = which[rest], row[rest], delay[rest]
    return found


def _stretch(at: Floats, prints: Prints, one: Sketch, delay: float, worth: Floats, kept: Ints) -> tuple[float, float] | None:
    """The stretch that is a copy with this delay, if it is one."""
    due = one.at + delay
    low, high = np.searchsorted(at, due - LAG_S), np.searchsorted(at, due + LAG_S, side="right")
    came = np.array([bool((prints[a:b] == wanted).any()) for a, b, wanted in zip(low, high, one.prints, strict=True)])
    alike = np.flatnonzero(came)
    if len(alike) < ALIKE_MIN or float(worth[came[kept]].sum()) < NATS_MIN:
        return None
    first, last = due[alike].min(), due[alike].max()
    asked = (high > low) & (due >= first) & (due <= last)
    if 2 * len(alike) < int(asked.sum()):
        return None
    # What was before and after them was played too, as far as the track went, or until this phone was elsewhere. The track went on
    # for about as long as it did between two that were kept.
    reach = REACH * float(np.ptp(due)) / max(len(due) - 1, 1) + LAG_S
    other = due[(high > low) & ~came]
    start = float(other[other < first].max(initial=due.min() - reach))
    end = float(other[other > last].min(initial=due.max() + reach))
    return start, end
