"""Coverage: which seconds of a visit some evidence shows, and the one cause of every second that none does.

- Evidence covers `[at, at + horizon)` if it is good enough to tell on site from away: precise, and credible. A check or
  credential at the home covers like home-side presence; home activity covers only while the worker is believed to be inside,
  since before that it says nothing about her.
- Expected are the seconds of `[starts_at, ends_at) ∪ [arrival, departure)` that have passed.
- Every expected second without cover has exactly one cause, the first that applies in the order of `CAUSES`. Monitored and gaps
  add up to the expected to the millisecond: all of this is sets of whole milliseconds.
"""

from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
from msgspec import Struct

from geofence.curve import Curve
from geofence.evidence import Floats, Status
from geofence.intervals import Stretch, Stretches, covered, intersect, length, ms, subtract, union
from geofence.outcome import Cause, Gap
from geofence.plan import Scene
from geofence.policy import Policy
from geofence.witness import Witness

CAUSES: tuple[Cause, ...] = get_args(Cause)
"""In the order in which the first that applies is the one."""
PERMITTED = frozenset(
    {"always", "while_in_use", "when_in_use", "while_using", "foreground", "background", "granted", "authorized", "on"}
)
"""Permissions with which a phone can report. Anything else that it names means that it cannot."""
BELIEVED = 0.9
"""Home activity shows the worker where she is believed to be inside by at least this much."""
UNSEEN_MAX = 0.94
"""Just below what is told as on site and counted as sure."""
EDGE_S = 0.001
AT_DOOR_S = 120.0
GONE, STIRS_MIN = 0.05, 2
"""A home that stirs so often while she is believed to be away has somebody else in it, whose stirring shows nothing of her."""
LIVE_S = 60.0
"""A report received this soon after its time shows that its phone was connected."""
LAST_WORD_S = 10.0
"""A fix that was being made when a phone said that it goes was made so soon after."""
RESUMED_S = 120.0
"""Who goes on this soon after it went, did not go."""
WILL_S = 600.0
"""A broker tells a will within one and a half keep-alives, and few are longer than five minutes. What comes later did not come at
once."""
FOREVER: Stretch = (-(2**53), 2**53)


class Coverage(Struct, frozen=True):
    """What of a visit was seen, in milliseconds, and why the rest was not."""

    expected_ms: int
    monitored_ms: int
    gaps: tuple[Gap, ...]


def cover(
    scene: Scene,
    witness: Witness,
    seen: Stretches,
    stay: tuple[float, float] | None,
    policy: Policy,
    now: float,
    outages: Sequence[tuple[float, float]],
) -> Coverage:
    """The coverage of a visit with its gaps. `seen` is what `covering` says, `stay` goes from arrival to departure."""
    visit = scene.visit
    whole = [(ms(visit.starts_at), ms(visit.ends_at))]
    if stay is not None:
        whole.append((ms(stay[0]), ms(stay[1])))
    expected = intersect(union(whole), [(FOREVER[0], ms(now))])
    monitored = length(intersect(expected, seen))
    missing = subtract(expected, seen)
    causes = _causes(scene, witness, policy, now, outages) if missing else []
    return Coverage(expected_ms=length(expected), monitored_ms=monitored, gaps=tuple(_assign(missing, causes)))


def covering(witness: Witness, presence: Curve, policy: Policy) -> Stretches:
    """All that credible and sufficient evidence covers."""
    good = witness.credible & witness.precise
    stirred = [] if _lived_in(witness, presence) else witness.activity[presence.value(witness.activity) >= BELIEVED].tolist()
    return union(
        [
            *covered(witness.fixes.at[good], witness.horizon[good]),
            *((ms(anchor.at), ms(anchor.at + anchor.covers_s)) for anchor in witness.anchors),
            *((ms(at), ms(at + policy.horizon_home_s)) for at in stirred),
        ]
    )


def unproven(presence: Curve, seen: Stretches, witness: Witness) -> Curve:
    """P(on site) held below what counts as sure where nobody saw anything: likely, and not proven.

    Who is checked out by a code at the home, or locks up, was there for a while before; that while is not seen, but shown.
    """
    low, high = float(presence.at[0]), float(presence.at[-1])
    shown = ((ms(a.at - a.covers_s), ms(a.at)) for a in witness.anchors if a.strong and a.llr > 0.0)
    unseen = subtract([(ms(low), ms(high))], union([*seen, *shown]))
    if not unseen:
        return presence
    edges = np.array(unseen).ravel() / 1000.0
    outer = np.concatenate((edges[::2] - EDGE_S, edges[1::2] + EDGE_S))
    at = np.unique(np.clip(np.concatenate((presence.at, edges, outer)), low, high))
    upto, before = edges.searchsorted(at, side="right"), edges.searchsorted(at)
    inside = (upto % 2 == 1) | (upto != before)
    on = presence.value(at)
    return Curve(at, np.where(inside, np.minimum(on, UNSEEN_MAX), on))


def _lived_in(witness: Witness, presence: Curve) -> bool:
    """Whether somebody else moves about in the home: it stirs, doors aside, while she is not there, nor just was or will be."""
    if len(witness.activity) < STIRS_MIN:
        return False
    rooms = witness.rooms
    possible = np.maximum(presence.value(rooms - AT_DOOR_S), np.maximum(presence.value(rooms), presence.value(rooms + AT_DOOR_S)))
    return bool(np.count_nonzero(possible < GONE) >= STIRS_MIN)


def _assign(missing: Stretches, causes: list[tuple[Cause, Stretches]]) -> list[Gap]:
    """Split what is missing among the causes, first come first served, and join neighbours of one cause."""
    told: list[tuple[int, int, Cause]] = []
    for cause, stretches in causes:
        hit = intersect(missing, stretches)
        told.extend((start, end, cause) for start, end in hit)
        missing = subtract(missing, hit)
    assert not missing, "the last cause holds for every second"
    return [Gap(start=start / 1000.0, end=end / 1000.0, cause=cause) for start, end, cause in sorted(told)]


def _causes(
    scene: Scene, witness: Witness, policy: Policy, now: float, outages: Sequence[tuple[float, float]]
) -> list[tuple[Cause, Stretches]]:
    """Where each cause holds, in the order in which they apply."""
    fixes = witness.fixes
    never = not scene.phones and not len(fixes.at) and not witness.observed.checks and not witness.observed.events
    waiting = now < scene.visit.ends_at + policy.late_wait_s
    vague = witness.credible & ~witness.precise
    doubted = ~witness.credible
    phones = _phones(scene, witness)
    return [
        ("ingest_outage", union((ms(start), ms(end)) for start, end in outages)),
        ("no_device", [FOREVER] if never else []),
        ("permission_off", _of_all([_while(_permission_off, of) for _, of in phones])),
        ("phone_offline", _of_all([_offline(of, *made) for made, of in phones])),
        ("power_save", _of_all([_while(_power_save, of) for _, of in phones])),
        ("poor_accuracy", covered(fixes.at[vague], witness.horizon[vague])),
        ("suspect", covered(fixes.at[doubted], witness.horizon[doubted])),
        ("delayed", [FOREVER] if waiting else []),
        ("silent", [FOREVER]),
    ]


def _phones(scene: Scene, witness: Witness) -> list[tuple[tuple[Floats, Floats], list[Status]]]:
    """Of each phone that was ever heard: the times of its fixes and of their receipt, and its statuses."""
    fixes = witness.fixes
    homes = {device.source for device in scene.devices}
    names = set(fixes.sources) | {status.source for status in witness.observed.statuses if status.source not in homes}
    out = []
    for name in sorted(names):
        own = fixes.source == fixes.sources.index(name) if name in fixes.sources else np.zeros(len(fixes.at), dtype=bool)
        statuses = [status for status in witness.observed.statuses if status.source == name]
        if own.any() or statuses:
            out.append(((fixes.at[own], fixes.received_at[own]), statuses))
    return out


def _of_all(each: list[Stretches]) -> Stretches:
    """Where something holds for every phone: one phone that works is enough."""
    if not each:
        return []
    out = each[0]
    for other in each[1:]:
        out = intersect(out, other)
    return out


def _permission_off(status: Status) -> bool | None:
    return None if status.permission is None else status.permission.lower() not in PERMITTED


def _power_save(status: Status) -> bool | None:
    return status.power_save


def _while(says: Callable[[Status], bool | None], statuses: list[Status]) -> Stretches:
    """Where the last status that said anything said yes. What is not said stays as it was."""
    out: Stretches = []
    since: int | None = None
    for status in statuses:
        answer = says(status)
        if answer and since is None:
            since = ms(status.at)
        elif answer is False and since is not None:
            out.append((since, ms(status.at)))
            since = None
    if since is not None:
        out.append((since, FOREVER[1]))
    return union(out)


def _offline(statuses: list[Status], fix_at: Floats, received_at: Floats) -> Stretches:
    """Where a phone was not connected: from where it said so to its next sign of life.

    A last will carries the time of the connection that it ends, and came soon after the last sign of life of that connection, or
    tells nothing. It is known by an online of the same time, or by fixes that go on right after it.

    Where the word came at once, so did what the phone said when it was back, and what came late was kept while it was gone. Of a
    past day that is sent at once, in any order, no receipt tells anything: there the next sign is the next by its own time.
    """
    online = [status.at for status in statuses if status.state == "online"]
    signs = np.sort(np.concatenate((fix_at, online)))
    alive = np.sort(np.concatenate((np.where(received_at - fix_at <= LIVE_S, fix_at, received_at), online)))
    out: Stretches = []
    for status in statuses:
        if status.state != "offline":
            continue
        since, gone = status.at, status.at + LAST_WORD_S
        next_, heard = (int(n) for n in np.searchsorted(signs, (gone, status.received_at), side="right"))
        went_on = next_ < len(signs) and signs[next_] - since <= RESUMED_S
        # Of a time before the first sign that we were given, nobody here knows whether there were others.
        if heard > next_ and (went_on or since in online or next_ == 0):
            if status.received_at - signs[heard - 1] <= WILL_S:
                since, gone = float(signs[heard - 1]), status.received_at
            elif went_on:
                continue
        at_once = status.received_at - since <= WILL_S
        back = alive if at_once else signs
        next_ = int(np.searchsorted(back, gone, side="right"))
        out.append((ms(since), ms(float(back[next_])) if next_ < len(back) else FOREVER[1]))
    return union(out)
