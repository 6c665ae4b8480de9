"""Phone: what a worker's phone notices of her trail, and when the network takes it.

- The error of a fix wanders: per axis it is an Ornstein-Uhlenbeck process whose size depends on the surroundings and whose memory
  is minutes, so that averaging fixes does not help and an indoor bias stays. Reported accuracy is the radius that holds the truth
  with 68 % (1.515 standard deviations of one axis), times what the phone claims.
- Faults take fixes away, spoil them, or hold them back. What is held back waits in the phone and comes later, in order.
- The phone counts everything it says (`seq` from 1). After `new_epoch` (the app was installed anew) it counts from 1 again, and
  what had not been delivered is lost.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from device_sim.feed import Bools, Feed, Ints, Said, Track, rfc3339
from device_sim.homes import Home
from device_sim.roster import Visit, Worker
from device_sim.spans import Span
from device_sim.town import Floats, Frame
from device_sim.trail import Trail
from device_sim.travel import INDOORS, METRO
from device_sim.trouble import Conduct, Fault

ERROR_M = np.array([3.5, 10.0, 9.0, 12.0])
"""Standard deviation of one axis on the street, in a canyon, indoors, under ground."""
MEMORY_S = np.array([60.0, 90.0, 240.0, 240.0])
RADIUS_68 = 1.515
"""Radius of a round two-dimensional Gaussian that holds 68 %, in standard deviations of one axis: sqrt(-2 ln 0.32)."""
CELL_ACCURACY_M = (500.0, 2500.0)
WILL_AFTER_S = 90.0
"""One and a half keepalives of a minute: when a broker publishes the will of a phone that went without a word."""
STILL_MPS = 0.3
DOZE_S = (840.0, 960.0)
"""Between two maintenance windows of a dozing phone."""
SIGNIFICANT_M, SIGNIFICANT_STILL_S = 120.0, 540.0
"""A significant-change phone sends after this distance, and at least after this time."""


def observe(
    rng: np.random.Generator,
    worker: Worker,
    visits: tuple[Visit, ...],
    conducts: tuple[Conduct, ...],
    faults: tuple[Fault, ...],
    trail: Trail,
    homes: tuple[Home, ...],
    frame: Frame,
    prefix: str,
) -> Feed:
    """The feed of one phone for one day."""
    checks = _checks(rng, visits, conducts, trail)
    fix_times = _keep(rng, _times(rng, worker, trail), trail, faults)
    check_times = np.array([at for at, _, _, _ in checks])
    times = np.concatenate((fix_times, check_times))
    order = np.argsort(times, kind="stable")
    measured = np.empty(len(times), dtype=np.int64)
    measured[order] = np.arange(len(times))
    track = _measure(rng, worker, visits, conducts, faults, trail, homes, frame, times[order])
    base = f"{prefix}/workers/{worker.id}"
    said = _statuses(rng, worker, trail, faults, base) + [
        _check(check, track, int(measured[len(fix_times) + k]), faults, worker, base) for k, check in enumerate(checks)
        if not _within(faults, "battery_death", check[0])
    ]  # fmt: skip
    return _deliver(rng, worker, _rows(track, measured[: len(fix_times)]), tuple(said), faults, prefix)


def skew_s(faults: tuple[Fault, ...]) -> float:
    return sum(fault.value for fault in faults if fault.kind == "clock_skew")


def spans_of(faults: tuple[Fault, ...], *kinds: str) -> list[Span]:
    return [(fault.start, fault.end) for fault in faults if fault.kind in kinds]


def _within(faults: tuple[Fault, ...], kind: str, at: float) -> bool:
    return any(start <= at < end for start, end in spans_of(faults, kind))


def _mask(times: Floats, spans: list[Span]) -> Bools:
    held = np.zeros(len(times), dtype=np.bool_)
    for start, end in spans:
        held |= (times >= start) & (times < end)
    return held


# When ----------------------------------------------------------------------------------------------------------------------------


def _times(rng: np.random.Generator, worker: Worker, trail: Trail) -> Floats:
    """When the phone would like to take a fix."""
    first, last = trail.t[0] + float(rng.uniform(0, worker.phone.interval_s)), trail.t[-1]
    if worker.phone.mode == "significant":
        return _significant(trail, first, last)
    ticks = np.arange(first, last, worker.phone.interval_s)
    return np.asarray(ticks + rng.uniform(0, min(1.0, worker.phone.interval_s * 0.05), len(ticks)))


def _significant(trail: Trail, first: float, last: float) -> Floats:
    """After a distance, or after a long time; looked at every 30 s, as the system's motion sensor would."""
    looks = np.arange(first, last, 30.0)
    x, y = trail.at(looks)
    sent = [0]
    for k in range(1, len(looks)):
        j = sent[-1]
        if math.hypot(x[k] - x[j], y[k] - y[j]) >= SIGNIFICANT_M or looks[k] - looks[j] >= SIGNIFICANT_STILL_S:
            sent.append(k)
    return np.asarray(looks[sent])


def _keep(rng: np.random.Generator, times: Floats, trail: Trail, faults: tuple[Fault, ...]) -> Floats:
    """Without those that a fault takes away, one in a hundred that just fails, and most of what would be under ground."""
    gone = _mask(times, spans_of(faults, "battery_death", "permission_off", "location_stuck")) | (rng.random(len(times)) < 0.01)
    gone |= (trail.setting[trail.stretch(times)] == METRO) & (rng.random(len(times)) < 0.8)
    for start, end in spans_of(faults, "power_save"):
        dozing = np.flatnonzero((times >= start) & (times < end))
        gone[dozing] = True
        wake = start + float(rng.uniform(200, DOZE_S[0]))
        while wake < end and len(dozing):
            k = dozing[min(int(np.searchsorted(times[dozing], wake)), len(dozing) - 1)]
            gone[k] = False
            wake += float(rng.uniform(*DOZE_S))
    return np.asarray(times[~gone])


# What ----------------------------------------------------------------------------------------------------------------------------


def _measure(
    rng: np.random.Generator,
    worker: Worker,
    visits: tuple[Visit, ...],
    conducts: tuple[Conduct, ...],
    faults: tuple[Fault, ...],
    trail: Trail,
    homes: tuple[Home, ...],
    frame: Frame,
    times: Floats,
) -> Track:
    """A fix at each of these moments, with all that is wrong with it."""
    stretch = trail.stretch(times)
    setting = trail.setting[stretch]
    x, y = trail.at(times)
    ahead = np.minimum(stretch + 1, len(trail.t) - 1)
    span_s = np.maximum(trail.t[ahead] - trail.t[stretch], 1e-3)
    vx, vy = (trail.x[ahead] - trail.x[stretch]) / span_s, (trail.y[ahead] - trail.y[stretch]) / span_s
    speed = np.where(setting == INDOORS, 0.0, np.hypot(vx, vy))
    size_m = ERROR_M[setting] * worker.phone.quality
    accuracy = RADIUS_68 * size_m * rng.lognormal(0, 0.25, len(times)) * worker.phone.claim
    cell = _mask(times, spans_of(faults, "cell_only")) | (setting == METRO)
    radius_m = rng.uniform(*CELL_ACCURACY_M, len(times))
    size_m, accuracy = np.where(cell, radius_m / RADIUS_68, size_m), np.where(cell, radius_m, accuracy)
    x = x + size_m * _wander(rng, times, MEMORY_S[setting])
    y = y + size_m * _wander(rng, times, MEMORY_S[setting])
    told = np.clip(speed + rng.normal(0, 0.2, len(times)), 0, None) * (speed > STILL_MPS)
    accuracy = np.maximum(accuracy, 3.0)
    mock = np.zeros(len(times), dtype=np.bool_)
    credible = np.ones(len(times), dtype=np.bool_)
    for visit, conduct in zip(visits, conducts, strict=True):
        if conduct.behaviour == "spoofer":
            faked = _mask(times, [trail.checked[visit.id]])
            rooms = homes[visit.home].rooms
            x, y = np.where(faked, rooms.x + 1.7, x), np.where(faked, rooms.y - 2.1, y)
            accuracy, told = np.where(faked, 5.0, accuracy), np.where(faked, 0.0, told)
            mock |= faked & (conduct.manner == "mock")
            credible &= ~faked
    lon, lat = frame.lonlat(x, y)
    hours = (times - trail.t[0]) / 3600
    battery = np.clip(0.97 - hours * float(rng.uniform(0.05, 0.08)), 0.04, 1)
    heading = np.degrees(np.arctan2(vx, vy)) % 360
    at = times + skew_s(faults)
    return Track(
        made_at=times,
        at=np.floor(at) if worker.phone.owntracks else np.round(at, 3),
        lon=lon,
        lat=lat,
        accuracy_m=accuracy,
        speed_mps=told,
        heading_deg=heading,
        battery=battery,
        mock=mock,
        still=speed <= STILL_MPS,
        credible=credible,
    )


def _wander(rng: np.random.Generator, times: Floats, memory_s: Floats) -> Floats:
    """A standard Ornstein-Uhlenbeck process at these moments, with a tenth of it fresh each time."""
    if len(times) == 0:
        return np.zeros(0)
    keep = np.exp(-np.diff(times, prepend=times[0]) / memory_s)
    push = rng.normal(0, 1, len(times)) * np.sqrt(1 - keep**2)
    value, walked = float(rng.normal()), []
    for kept, pushed in zip(keep.tolist(), push.tolist(), strict=True):
        value = kept * value + pushed
        walked.append(value)
    return np.asarray(0.97 * np.array(walked) + 0.24 * rng.normal(0, 1, len(times)))


def _rows(track: Track, rows: Ints) -> Track:
    return Track(*(getattr(track, name)[rows] for name in Track.__struct_fields__))


Check = tuple[float, str, Visit, str]


def _checks(rng: np.random.Generator, visits: tuple[Visit, ...], conducts: tuple[Conduct, ...], trail: Trail) -> list[Check]:
    """(moment, in or out, visit, method) of each. A worker who is not at the home has only the app to check in with."""
    checks: list[Check] = []
    for visit, conduct in zip(visits, conducts, strict=True):
        entered, left = trail.checked[visit.id]
        at_home = conduct.behaviour not in ("next_door", "wrong_site", "spoofer")
        method = ("app", "qr", "nfc", "pin", "ble")[int(rng.choice(5, p=(0.6, 0.18, 0.1, 0.06, 0.06)))] if at_home else "app"
        start, end = float(rng.uniform(8, 45)), float(rng.uniform(5, 35))
        if conduct.behaviour == "no_show":
            continue
        checks.append((entered + start, "in", visit, method))
        if conduct.behaviour != "forgotten_check_out":
            checks.append((max(left - end, entered + start + 5), "out", visit, method))
    return checks


def _check(check: Check, track: Track, row: int, faults: tuple[Fault, ...], worker: Worker, base: str) -> Said:
    moment, kind, visit, method = check
    at = round(moment + skew_s(faults), 3)
    payload: dict[str, Any] = {"at": rfc3339(at), "kind": kind, "visit": visit.id, "method": method}
    if method in ("qr", "nfc"):
        payload["code"] = f"{method}-{visit.home + 1:04d}"
    if method == "app" and worker.phone.owntracks is None and not _within(faults, "permission_off", moment):
        payload["lon"], payload["lat"] = round(float(track.lon[row]), 7), round(float(track.lat[row]), 7)
        payload["accuracy_m"] = round(float(track.accuracy_m[row]), 1)
    credible = bool(track.credible[row])
    return Said(moment, at, f"{base}/check", payload, counted=worker.phone.owntracks is None, credible=credible)


def _statuses(rng: np.random.Generator, worker: Worker, trail: Trail, faults: tuple[Fault, ...], base: str) -> list[Said]:
    """Comings and goings, and what the phone may and may not do. A will carries the time at which the connection was made."""
    version = ("4.12.0", "4.12.1", "4.13.0")[int(rng.integers(3))]
    skew, said = skew_s(faults), []
    topic = f"{base}/status"
    owntracks = f"owntracks/{worker.phone.owntracks}" if worker.phone.owntracks else None

    def tell(moment: float, after_s: float = 0.0, stamp: float | None = None, **fields: Any) -> None:
        at = round((moment if stamp is None else stamp) + skew, 3)
        if owntracks is not None:
            if fields["state"] == "offline":
                said.append(Said(moment, int(at), owntracks, {"_type": "lwt", "tst": int(at)}, counted=False, after_s=after_s))
            elif moment > start:
                android = {"hib": 0, "bo": 0, "loc": -4 if fields["permission"] == "denied" else 0, "ps": int(fields["power_save"])}
                payload = {"_type": "status", "tst": int(at), "android": android}
                said.append(Said(moment, int(at), f"{owntracks}/status", payload, counted=False))
            return
        payload = {"at": rfc3339(at), **fields}
        said.append(Said(moment, at, topic, payload, retain=True, counted=stamp is None, after_s=after_s))

    start = float(trail.t[0])
    usual: dict[str, Any] = {"permission": "always", "power_save": False, "app_version": version}
    connected = [start]
    tell(start, state="online", **usual)
    for fault in faults:
        if not start < fault.start < trail.t[-1]:
            continue
        if fault.kind in ("battery_death", "dead_zone") and fault.end - fault.start > WILL_AFTER_S:
            tell(fault.start, WILL_AFTER_S, connected[-1], state="offline")
            connected.append(fault.end + 1)
            tell(fault.end + 1, state="online", **usual)
        elif fault.kind == "permission_off":
            tell(fault.start, state="online", **{**usual, "permission": "denied"})
            tell(fault.end, state="online", **usual)
        elif fault.kind == "power_save":
            tell(fault.start, state="online", **{**usual, "power_save": True})
            tell(fault.end, state="online", **usual)
        elif fault.kind == "new_epoch":
            tell(fault.start + 1, state="online", **usual)
    tell(float(trail.t[-1]), state="offline", **usual)
    return said


# How it gets out -----------------------------------------------------------------------------------------------------------------


def _deliver(
    rng: np.random.Generator, worker: Worker, track: Track, said: tuple[Said, ...], faults: tuple[Fault, ...], prefix: str
) -> Feed:
    """Number everything in the order in which it was made, hold it back where there is no network, and say some of it twice."""
    made = np.concatenate((track.made_at, np.array([one.made_at for one in said])))
    counted = np.concatenate((np.ones(len(track), dtype=np.bool_), np.array([one.counted for one in said], dtype=np.bool_)))
    counted &= worker.phone.owntracks is None
    after = np.concatenate((rng.uniform(0.05, 0.9, len(track)), np.array([one.after_s + 0.3 for one in said])))
    deliverable = made + after
    is_will = np.concatenate((np.zeros(len(track), dtype=np.bool_), np.array([one.after_s > 0 for one in said], dtype=np.bool_)))
    for start, end in sorted(spans_of(faults, "dead_zone", "battery_death")):
        held = (deliverable >= start) & (deliverable < end) & ~is_will
        deliverable[held] = end + 1.5 + rng.uniform(0, 2, int(held.sum()))
    epoch, seq = np.zeros(len(made), dtype=np.int64), np.zeros(len(made), dtype=np.int64)
    lost = np.zeros(len(made), dtype=np.bool_)
    anew = [fault.start for fault in faults if fault.kind == "new_epoch"]
    marks = [float(made.min()) - 60 if len(made) else worker.shift[0], *anew, math.inf]
    for begin, end in pairwise(marks):
        rows = np.flatnonzero((made >= begin) & (made < end) & counted)
        seq[rows[np.argsort(made[rows], kind="stable")]] = np.arange(1, len(rows) + 1)
        epoch[rows] = int(begin)
        late = rows[deliverable[rows] > end]
        if len(late):  # All from the first that is lost: the phone cannot have sent what it had not numbered yet.
            lost[rows[seq[rows] >= seq[late].min()]] = True
    entries, deliverable = _repeat(rng, np.flatnonzero(~lost), deliverable, faults)
    order = np.lexsort((seq[entries], deliverable))
    chosen = entries[order]
    phone = worker.phone
    return Feed(
        source=worker.id if phone.owntracks is None else f"owntracks:{phone.owntracks}",
        topic=f"{prefix}/workers/{worker.id}" if phone.owntracks is None else f"owntracks/{phone.owntracks}",
        mode=phone.mode,
        owntracks=phone.owntracks is not None,
        track=track,
        said=said,
        order=np.where(chosen < len(track), chosen, ~(chosen - len(track))),
        deliverable_at=deliverable[order],
        seq=seq,
        epoch=epoch,
        owner=worker.id,
    )


def _repeat(rng: np.random.Generator, entries: Ints, deliverable: Floats, faults: tuple[Fault, ...]) -> tuple[Ints, Floats]:
    """The entries with those that are said twice, and when each of them can be delivered."""
    share = max((fault.value for fault in faults if fault.kind == "duplicates"), default=0.0)
    again = entries[rng.random(len(entries)) < share]
    later = deliverable[again] + rng.uniform(1, 9, len(again))
    return np.concatenate((entries, again)), np.concatenate((deliverable[entries], later))
