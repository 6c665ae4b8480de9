"""Judging: due visits through the engine, and everything that is derived brought up to what came of it.

Shared by verify, which does it for what was touched, and by replay, which does it for everything. The caller has opened the
transaction.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import structlog
from psycopg import Connection
from shapely.errors import ShapelyError

from geofence import Asked, judge_all, next_look, window
from geofence.evidence import Fixes
from geofence.plan import Scene
from geofence.policy import Policy
from geofence.replayed import sketch
from sitewatch import exceptions, staying
from sitewatch.memory import FRESH_S, Memory
from store import alerts, changes, derived, device_states, haunts, journal, positions, sketches, touched, windows
from store.changes import Changed
from store.derived import Judged, Stored
from store.fresh import read as read_fresh
from store.haunts import Place
from store.journal import Bite, Touch
from store.policies import Policies
from store.positions import Move
from store.touched import Owners
from store.windows import Case

FAILED_AGAIN_S = 3600.0
"""A visit that the engine cannot judge is tried again after this, or when anything about it changes."""
NEAR_S = 7200.0
"""A visit this near to now may be the one that its worker's position names."""
OURS = (ValueError, ArithmeticError, LookupError, ShapelyError)
"""How a mistake in the engine, or in what it was given, shows."""

log = structlog.get_logger()


def visits(
    connection: Connection,
    due: Mapping[str, str],
    policies: Policies,
    now: float,
    before: Mapping[str, Stored] | None = None,
    memory: Memory | None = None,
) -> tuple[list[Judged], int, Changed]:
    """Judges visits (with why) and writes what differs; returns the judged, how many could not be, and what changed.

    `before` is what is known of the visits' outcomes; by default what is stored. `memory` learns what came of them.
    """
    if not due:
        return [], 0, Changed()
    cases = windows.read(connection, list(due), policies)
    gone = set(due) - {case.scene.visit.id for case in cases}
    judged, failed = _judged(cases, due, now)
    if memory is not None:
        memory.visits.forget(gone)
        memory.visits.learn(cases, judged, now)
    stored = derived.read(connection, list(due)) if before is None else before
    changed = derived.write(connection, judged, stored)
    if before is None:
        touched.done(connection, due)
    else:
        touched.done_again(connection, due)
    if failed:
        touched.set_aside(connection, failed, now + FAILED_AGAIN_S)
    if memory is not None:
        _queue_closing(connection, cases, now)
    policy_of = {case.scene.visit.id: case.policy for case in cases}
    wanted = [alert for item in judged for alert in exceptions.of(item.visit, item.outcome, policy_of[item.visit.id], now)]
    raised = alerts.write(connection, [item.visit.id for item in judged], wanted)
    nowhere: dict[str, dict[Place, tuple[str, ...]]] = {visit: {} for visit in gone}
    haunts.write(connection, {**nowhere, **{case.scene.visit.id: case.haunts for case in cases}})
    repeats = keep(connection, [(case.scene, case.observed.fixes, case.policy) for case in cases], gone, now)
    touched.repeating(connection, repeats, now)
    removed = [*derived.remove(connection, gone), *gone]
    dropped = alerts.remove(connection, gone) if gone else []
    told = frozenset([*(item.visit.id for item in changed), *removed])
    return judged, len(failed), Changed(visits=told, alerts=frozenset([*raised, *dropped]))


def keep(connection: Connection, tracks: Sequence[tuple[Scene, Fixes, Policy]], gone: Collection[str], now: float) -> set[str]:
    """Keeps the sketches of visits whose window has closed, and of no others; returns the later visits that this touches."""
    over = {scene.visit: sketch(fixes, scene.site) for scene, fixes, policy in tracks if now >= window(scene.visit, policy)[1]}
    still_open = [scene.visit.id for scene, _, _ in tracks if scene.visit not in over]
    return sketches.write(connection, over, [*gone, *still_open])


def _queue_closing(connection: Connection, cases: Sequence[Case], now: float) -> None:
    """Has visits whose window has only just closed judged once more.

    Fixes from before it closed may still come and pass for fresh: nobody searches whose visits those are, and the memory has
    forgotten this one.
    """
    again_at = {case.scene.visit.id: window(case.scene.visit, case.policy)[1] + FRESH_S for case in cases}
    for visit, at in again_at.items():
        if at - FRESH_S <= now < at:
            touched.later(connection, [visit], at)


def _judged(cases: Sequence[Case], due: Mapping[str, str], now: float) -> tuple[list[Judged], list[str]]:
    """Those who could be judged, all at once, and those who could not."""
    try:
        return _together(cases, due, now), []
    except OURS:
        if len(cases) > 1:
            # A mistake of ours about one visit must not keep everybody else's from being judged.
            each = [_judged([case], due, now) for case in cases]
            return [item for judged, _ in each for item in judged], [visit for _, failed in each for visit in failed]
        visit = cases[0].scene.visit.id
        log.exception("A visit could not be judged", visit=visit)
        return [], [visit]


def _together(cases: Sequence[Case], due: Mapping[str, str], now: float) -> list[Judged]:
    outcomes = judge_all([Asked(case.scene, case.observed, case.policy, now, case.outages) for case in cases])
    return [
        Judged(
            visit=case.scene.visit,
            outcome=outcome,
            look_at=next_look(case.scene, outcome, case.policy, now),
            why=due[case.scene.visit.id],
        )
        for case, outcome in zip(cases, outcomes, strict=True)
    ]


def follow(connection: Connection, bite: Bite, owners: Owners, now: float, memory: Memory | None = None) -> Changed:
    """Brings positions, device states and the devices' alerts up to what the bite says, and passes on what people acknowledged."""
    spans = [touch for touch in bite.evidence if touch.source != journal.EVERYBODY and touch.others]
    planned = device_states.sources_of(connection, bite.devices) if bite.devices else []
    whole = [Touch(source, float("-inf"), float("inf")) for source in planned]
    devices = follow_devices(connection, [*spans, *whole])
    reassigned = alerts.reassign(connection, bite.devices) if bite.devices else []
    last_at: dict[str, float] = {}
    for touch in owners.workers:
        last_at[touch.source] = max(touch.to_at, last_at.get(touch.source, touch.to_at))
    worth = positions.worth_a_look(connection, last_at) if last_at else []
    workers = {*worth, *owners.remapped}
    moved = Changed(
        workers=_refresh(connection, workers, now, memory),
        alerts=devices.alerts | frozenset(reassigned) | bite.alerts,
        devices=devices.devices | bite.devices,
    )
    return united(moved, staying.follow(connection, owners.workers, now))


def follow_onward(connection: Connection, touches: Sequence[Touch], now: float, memory: Memory) -> Changed:
    """Brings positions and the memory up to fixes that go on where known phones left off: nothing of the past is read."""
    fresh = read_fresh(connection, touches)
    told = memory.phones.step(touches, fresh, positions.POLICY)
    memory.visits.hear(touches, fresh)
    last = np.flatnonzero(np.diff(fresh.touch, append=len(touches)))
    plain = [n for n in last.tolist() if told[fresh.touch[n]]]
    moves = [Move(touches[fresh.touch[n]].source, float(fresh.at[n]), int(fresh.identity[n])) for n in plain]
    moved = positions.move(connection, moves)
    odd = [touch for touch in touches if touch.source not in moved]
    workers = {touch.source for touch in touched.owners(connection, odd).workers} if odd else frozenset()
    refreshed = _refresh(connection, workers, now, memory)
    ended = memory.slots.ended(touches, now)
    stayed = staying.follow(connection, touched.owners(connection, ended).workers, now) if ended else Changed()
    return united(Changed(workers=refreshed.union(moved.values())), stayed)


def _refresh(connection: Connection, workers: Collection[str], now: float, memory: Memory | None) -> frozenset[str]:
    refreshed = positions.refresh(connection, workers, now)
    if memory is not None:
        memory.phones.learn(refreshed.phones)
    return frozenset(refreshed.changed)


def follow_devices(connection: Connection, touches: Sequence[Touch]) -> Changed:
    """Brings device states, and the alerts that devices raise, up to what was reported in these spans."""
    states = device_states.refresh(connection, touches)
    return Changed(alerts=frozenset(alerts.follow_devices(connection, touches)), devices=changes.named(connection, states))


def follow_visits(connection: Connection, judged: Sequence[Judged], now: float) -> Changed:
    """Brings the positions of workers up to date whose visit of now was judged, or is no more the visit of now."""
    if not judged:
        return Changed()
    near = {item.visit.worker for item in judged if item.visit.starts_at - NEAR_S <= now <= item.visit.ends_at + NEAR_S}
    return Changed(workers=frozenset(positions.follow_visits(connection, near, [item.visit.id for item in judged], now)))


def united(one: Changed, other: Changed) -> Changed:
    return Changed(
        workers=one.workers | other.workers,
        visits=one.visits | other.visits,
        alerts=one.alerts | other.alerts,
        devices=one.devices | other.devices,
    )
