"""Reports of the town: the feeds of device_sim as the evidence that they become, without a broker or a database in between."""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from bench.accuracy.case import Sampling
from device_sim.feed import Feed, Said
from device_sim.simulate import Day
from geofence import window
from geofence.evidence import Check, DeviceEvent, Fixes, Floats, Ints, Observed, Status
from geofence.plan import Scene
from geofence.policy import Policy

MARGIN_S = 900.0
"""Evidence is handed over for this much more than the default policy's window, for policies with a wider one."""
POLICY = Policy()


class Heard(Struct, frozen=True):
    """What one phone said all day."""

    fixes: Fixes
    checks: tuple[Check, ...]
    statuses: tuple[Status, ...]


class HomeSide(Struct, frozen=True):
    """What the devices said all day, by source."""

    events: Mapping[str, tuple[DeviceEvent, ...]]
    statuses: Mapping[str, tuple[Status, ...]]


def phone(feed: Feed, sampling: Sampling) -> Heard:
    """A phone's day as evidence, each report once, at its first receipt."""
    entry = np.where(feed.order >= 0, feed.order, len(feed.track) + ~feed.order)
    entry, first = np.unique(entry, return_index=True)
    received = feed.deliverable_at[first]
    fix = entry < len(feed.track)
    said = [(feed.said[int(e) - len(feed.track)], float(at)) for e, at in zip(entry[~fix], received[~fix], strict=True)]
    return Heard(
        fixes=_fixes(feed, entry[fix], received[fix], sampling),
        checks=tuple(_check(feed.source, one, at, k) for k, (one, at) in enumerate(said) if one.topic.endswith("/check")),
        statuses=tuple(_status(feed.source, one, at, k) for k, (one, at) in enumerate(said) if one.topic.endswith("/status")),
    )


def _fixes(feed: Feed, rows: Ints, received_at: Floats, sampling: Sampling) -> Fixes:
    """As they are after the wire; the significant mode is that of OwnTracks: whole seconds, whole metres, no mock flag."""
    track = feed.track
    order = np.argsort(track.at[rows], kind="stable")
    rows, received_at = rows[order], received_at[order]
    owntracks = sampling == "significant"
    nothing = np.full(len(rows), np.nan)
    return Fixes(
        sources=(feed.source,),
        source=np.zeros(len(rows), dtype=np.int64),
        at=np.floor(track.at[rows]) if owntracks else track.at[rows],
        received_at=received_at,
        lon=np.round(track.lon[rows], 6 if owntracks else 7),
        lat=np.round(track.lat[rows], 6 if owntracks else 7),
        accuracy_m=np.maximum(np.round(track.accuracy_m[rows], 0 if owntracks else 1), 1.0),
        altitude_m=nothing,
        speed_mps=np.round(track.speed_mps[rows], 1),
        heading_deg=nothing,
        mock=track.mock[rows] & (not owntracks),
        ping=np.zeros(len(rows), dtype=bool),
        mode=(("significant" if owntracks else feed.mode),) * len(rows),
    )


def _check(source: str, said: Said, received_at: float, k: int) -> Check:
    of = said.payload
    return Check(
        source=source,
        at=said.at,
        received_at=received_at,
        identity=k,
        kind=of["kind"],
        visit=of["visit"],
        method=of["method"],
        lon=of.get("lon"),
        lat=of.get("lat"),
        accuracy_m=of.get("accuracy_m"),
    )


def _status(source: str, said: Said, received_at: float, k: int) -> Status:
    of = said.payload
    at = datetime.fromisoformat(of["at"].replace("Z", "+00:00")).timestamp()
    return Status(
        source=source,
        at=at,
        received_at=received_at,
        identity=k,
        state=of["state"],
        permission=of.get("permission"),
        power_save=of.get("power_save"),
    )


def homes(day: Day) -> HomeSide:
    events: dict[str, tuple[DeviceEvent, ...]] = {}
    statuses: dict[str, tuple[Status, ...]] = {}
    for feed in day.feeds:
        if feed.owner is None:
            said = [(feed.said[~int(k)], float(at)) for k, at in zip(feed.order, feed.deliverable_at, strict=True)]
            found = [_event(feed.source, one, at, k) for k, (one, at) in enumerate(said) if one.topic.endswith("/event")]
            events[feed.source] = tuple(sorted(found, key=lambda event: event.at))
            statuses[feed.source] = tuple(
                _status(feed.source, one, at, k) for k, (one, at) in enumerate(said) if one.topic.endswith("/status")
            )
    return HomeSide(events, statuses)


def _event(source: str, said: Said, received_at: float, k: int) -> DeviceEvent:
    of = said.payload
    return DeviceEvent(
        source=source,
        at=said.at,
        received_at=received_at,
        identity=k,
        kind=of["kind"],
        value=of.get("value"),
        worker=of.get("worker"),
        credential=of.get("credential"),
    )


def cut(heard: Heard, around: HomeSide, scene: Scene) -> Observed:
    """The evidence about one visit."""
    low, high = window(scene.visit, POLICY)
    low, high = low - MARGIN_S, high + MARGIN_S
    rows = slice(*np.searchsorted(heard.fixes.at, (low, high)).tolist())
    events: list[DeviceEvent] = []
    for device in scene.devices:
        own = around.events.get(device.source, ())
        events += own[bisect_left(own, low, key=lambda e: e.at) : bisect_left(own, high, key=lambda e: e.at)]
    sources = {device.source for device in scene.devices}
    return Observed(
        fixes=rows_of(heard.fixes, rows),
        checks=tuple(check for check in heard.checks if low <= check.at < high),
        events=tuple(events),
        statuses=(
            *(status for status in heard.statuses if status.at < high),
            *(status for source in sorted(sources) for status in around.statuses.get(source, ()) if status.at < high),
        ),
    )


def rows_of(fixes: Fixes, rows: slice) -> Fixes:
    columns = ("source", "at", "received_at", "lon", "lat", "accuracy_m", "altitude_m", "speed_mps", "heading_deg", "mock", "ping")
    return replace(fixes, **{name: getattr(fixes, name)[rows] for name in columns}, mode=fixes.mode[rows])
