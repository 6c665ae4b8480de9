"""Feed: everything that one phone or one home device will ever say on a day, in the order in which it can be delivered.

Fixes are columns, because a fleet's day is a million of them; their payloads are made when they are asked for. Everything else is
kept as it will be sent. What a phone counts carries `seq` and `epoch`, and is owed a receipt; a last will, an OwnTracks payload and
a device's event are not counted.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from device_sim.town import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Report(Struct, frozen=True):
    """One message as it leaves its source. `at` is what it claims, `deliverable_at` when the network will take it."""

    source: str
    at: float
    deliverable_at: float
    topic: str
    payload: dict[str, Any]
    retain: bool = False
    epoch: int | None = None
    seq: int | None = None


class Said(Struct, frozen=True):
    """Anything that is not a fix. `made_at` is the true moment; `counted` says whether the phone numbers it."""

    made_at: float
    at: float
    topic: str
    payload: dict[str, Any]
    retain: bool = False
    counted: bool = True
    credible: bool = True
    """The truth about it, as of a fix."""
    after_s: float = 0.0
    """How much later than made the network has it: a will comes when the broker has lost patience."""


class Track(Struct, frozen=True, eq=False):
    """Fixes as columns in the order of `made_at`. `still` and `credible` are the truth about them; the rest is what is sent."""

    made_at: Floats
    at: Floats
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    speed_mps: Floats
    heading_deg: Floats
    battery: Floats
    mock: Bools
    still: Bools
    credible: Bools

    def __len__(self) -> int:
        return len(self.made_at)


class Feed(Struct, frozen=True, eq=False):
    """`order[k]` is the k-th delivery: a fix's index, or ~index into `said`. A repeat is the same index twice."""

    source: str
    topic: str
    mode: str
    owntracks: bool
    track: Track
    said: tuple[Said, ...]
    order: Ints
    deliverable_at: Floats
    seq: Ints
    """Of each entry: fixes first, then said. 0: not counted."""
    epoch: Ints
    owner: str | None = None
    """The worker who carries it; None for a home's device."""

    def __len__(self) -> int:
        return len(self.order)

    def report(self, k: int) -> Report:
        """The k-th delivery."""
        index = int(self.order[k])
        entry = index if index >= 0 else len(self.track) + ~index
        seq, epoch = int(self.seq[entry]), int(self.epoch[entry])
        if index >= 0:
            topic = self.topic if self.owntracks else f"{self.topic}/position"
            payload, at, retain = self._fix(index), float(self.track.at[index]), False
        else:
            said = self.said[~index]
            topic, payload, at, retain = said.topic, dict(said.payload), said.at, said.retain
        counted = seq > 0
        if counted:
            payload["seq"], payload["epoch"] = seq, epoch
        deliverable_at = float(self.deliverable_at[k])
        return Report(self.source, at, deliverable_at, topic, payload, retain, epoch if counted else None, seq if counted else None)

    def reports(self) -> Iterator[Report]:
        return (self.report(k) for k in range(len(self.order)))

    def is_will(self, k: int) -> bool:
        """Whether the k-th delivery is the broker's to make, for a phone that has gone without a word."""
        index = int(self.order[k])
        return index < 0 and self.said[~index].after_s > 0

    def wills_after(self, moment: float) -> list[Said]:
        """The wills that become due after that moment, in order."""
        return [self.said[~int(self.order[k])] for k in range(len(self)) if self.deliverable_at[k] > moment and self.is_will(k)]

    def _fix(self, i: int) -> dict[str, Any]:
        track = self.track
        if self.owntracks:
            return _location(track, i)
        payload: dict[str, Any] = {
            "at": round(float(track.at[i]), 3),
            "lon": round(float(track.lon[i]), 7),
            "lat": round(float(track.lat[i]), 7),
            "accuracy_m": round(float(track.accuracy_m[i]), 1),
            "speed_mps": round(float(track.speed_mps[i]), 1),
            "battery": round(float(track.battery[i]), 2),
            "mode": self.mode,
        }
        if track.speed_mps[i] > 0.5:
            payload["heading_deg"] = round(float(track.heading_deg[i])) % 360
        if track.mock[i]:
            payload["mock"] = True
        return payload


def _location(track: Track, i: int) -> dict[str, Any]:
    """The same as OwnTracks says it: whole seconds, whole metres, km/h; zeros are left out."""
    payload: dict[str, Any] = {
        "_type": "location",
        "tst": int(track.at[i]),
        "lat": round(float(track.lat[i]), 6),
        "lon": round(float(track.lon[i]), 6),
        "acc": max(1, round(float(track.accuracy_m[i]))),
        "batt": round(100 * float(track.battery[i])),
        "bs": 1,
        "conn": "m",
        "m": 2,
        "tid": "ph",
    }
    speed_kmh = round(3.6 * float(track.speed_mps[i]))
    if speed_kmh:
        payload["vel"], payload["cog"] = speed_kmh, round(float(track.heading_deg[i])) % 360
    return payload


def rfc3339(at: float) -> str:
    """UTC with milliseconds, as the contract writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def empty_track() -> Track:
    none, no = np.zeros(0), np.zeros(0, dtype=np.bool_)
    return Track(none, none, none, none, none, none, none, none, no, no, no)
