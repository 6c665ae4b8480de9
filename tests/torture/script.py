"""What everybody says: the n-th report of each phone, made from the seed alone, so that the ledger need not keep a single byte.

A phone walks between its home and a site, and is on site during its visits. Now and then it checks in or out, says how it is, sends
something that nobody can read, or something that only the database refuses (see `POISON`). All of that counts. Homes and OwnTracks
phones do not count what they say; nor does whoever sends rubbish.
"""

import math
import random
from datetime import UTC, datetime
from typing import Any, Literal
from zlib import crc32

import msgspec
from msgspec import Struct

PREFIX = "sitewatch/v1"
LON, LAT = 116.40, 39.90
METRE_LAT = 1 / 111_320
METRE_LON = METRE_LAT / math.cos(math.radians(LAT))
APART_M, AWAY_M = 3_000.0, 900.0
"""Sites lie so far apart that nobody is at two; between visits a phone is so far from its own."""
RADIUS_M = 40.0
VISITS, VISIT_S, EVERY_S = 5, 3_600.0, 14_400.0
"""Visits of a judged worker: how many, how long, and from one start to the next; the first starts after one VISIT_S."""
DAY_S = VISITS * EVERY_S

POISON = "alter table fixes add constraint torture check (accuracy_m is distinct from 13)"
"""What nothing but the database refuses: the house is built with this constraint, and now and then a fix breaks it."""

UNTIMELY_S = 10 * 86_400.0
"""A clock that is so far ahead is not believed: what it says becomes a reject."""

What = Literal["fix", "check", "status", "bad", "poison"]


class Report(Struct, frozen=True):
    """One counted thing that a phone says, and what must become of it: a row, or for `bad` and `poison` a reject."""

    what: What
    topic: str
    payload: bytes
    epoch: int
    seq: int
    at: float
    lon: float
    lat: float

    @property
    def rejected(self) -> bool:
        return self.what in ("bad", "poison")


class Script(Struct, frozen=True, kw_only=True):
    """One phone's day. `day` is its first second, `step_s` the time between two reports."""

    seed: int
    worker: str
    number: int
    day: float
    step_s: float
    reinstalled_after: int = 2**31
    """After this report it counts anew, under a new epoch."""
    clock: tuple[tuple[int, float], ...] = ()
    """Its clock is set: (from which report on, how far it is off), in order."""
    plain: bool = False
    """It says nothing but fixes that can be taken."""
    poison: int = 10
    """Of ten thousand reports, so many are refused by the database alone."""

    def count(self, n: int) -> tuple[int, int]:
        """The epoch and the number of the n-th report, from 1."""
        return (0, n) if n <= self.reinstalled_after else (1, n - self.reinstalled_after)

    def nth(self, epoch: int, seq: int) -> int:
        return seq if epoch == 0 else self.reinstalled_after + seq

    def report(self, n: int) -> Report:
        drawn = crc32(b"%d/%s/%d" % (self.seed, self.worker.encode(), n))
        off_s = next((off_s for begin, off_s in reversed(self.clock) if n >= begin), 0.0)
        what = "fix" if self.plain else self._what(drawn % 10_000) if off_s < UNTIMELY_S else "bad"
        epoch, seq = self.count(n)
        at = round(self.day + n * self.step_s + off_s, 3)
        lon, lat = self._place(at, drawn)
        fields: dict[str, Any] = {"at": at, "epoch": epoch, "seq": seq}
        topic = "position"
        if what in ("fix", "poison", "bad"):
            fields |= {"lon": lon, "lat": lat, "accuracy_m": 13 if what == "poison" else 5 + drawn % 7, "battery": 0.5}
        if what == "bad" and off_s < UNTIMELY_S:
            fields |= BAD[drawn // 10_000 % len(BAD)]
        elif what == "check":
            topic = "check"
            fields |= {"kind": ("in", "out")[drawn // 10_000 % 2], "method": "qr"}
        elif what == "status":
            topic = "status"
            fields |= {"state": "online", "permission": "always", "battery": 0.9}
        return Report(what, f"{PREFIX}/workers/{self.worker}/{topic}", msgspec.json.encode(fields), epoch, seq, at, lon, lat)

    def _what(self, drawn: int) -> What:
        shares: tuple[tuple[What, int], ...] = (("check", 200), ("status", 200), ("bad", 150), ("poison", self.poison))
        for what, share in shares:
            if drawn < share:
                return what
            drawn -= share
        return "fix"

    def _place(self, at: float, drawn: int) -> tuple[float, float]:
        """On site during a visit, on the way for ten minutes before and after it, and else away; a few metres of noise."""
        since = (at - self.day) % EVERY_S - VISIT_S
        outside = max(-since, since - VISIT_S, 0.0)
        east = self.number * APART_M + AWAY_M * min(1.0, outside / 600) + (drawn >> 8) % 9 - 4
        return round(LON + east * METRE_LON, 7), round(LAT + ((drawn >> 16) % 9 - 4) * METRE_LAT, 7)


BAD: tuple[dict[str, Any], ...] = (
    {"lat": 116.4},
    {"lon": "east"},
    {"at": "2026-11-20T08:00:00"},
    {"at": 86_400.0},
    {"battery": 1e9},
)


def day_of(seed: int, phones: int, day: float, step_s: float, each: int, poison: int) -> list[Script]:
    """A script for each phone, of about so many reports each. Every other phone starts its counter anew on the way; the clock of
    every third is set two hours ahead, then three back, then for a while to another month, and then right."""
    rng = random.Random(seed)
    scripts = []
    for k in range(phones):
        places = sorted(rng.sample(range(1, max(8, each)), 4))
        clock = ((places[0], 7_200.0), (places[1], -10_800.0), (places[2], 3 * UNTIMELY_S), (places[2] + 20, 0.0))
        scripts.append(
            Script(
                seed=seed,
                worker=f"t-{k}",
                number=k,
                day=day,
                step_s=step_s,
                reinstalled_after=places[3] if k % 2 else 2**31,
                clock=clock if k % 3 == 0 else (),
                poison=poison,
            )
        )
    return scripts


class Loose(Struct, frozen=True):
    """Something said once and not counted. `kind` is the table that it must be in; rubbish is in `rejects`."""

    kind: Literal["device_events", "fixes", "rejects"]
    source: str
    topic: str
    payload: bytes
    at: float


def loose(seed: int, day: float, homes: int, n: int) -> Loose:
    """The n-th thing that a home, an OwnTracks phone or somebody with a broken program says."""
    drawn = crc32(b"%d/loose/%d" % (seed, n))
    at = round(day + n * 0.731 % DAY_S, 3)
    if drawn % 20 == 0:
        return Loose("rejects", "", f"{PREFIX}/workers/nobody/position", b'{"rubbish": %d, oops' % n, at)
    if drawn % 20 == 1:
        return Loose("rejects", "", f"{PREFIX}/workers/nobody/elsewhere", b"%d" % n, at)
    if drawn % 2:
        user = f"o-{drawn // 20 % 5}"
        fields = {"_type": "location", "tst": int(at), "lon": LON, "lat": LAT, "acc": 20, "batt": drawn % 100, "created_at": n}
        return Loose("fixes", f"owntracks:{user}/phone", f"owntracks/{user}/phone", msgspec.json.encode(fields), int(at))
    home = drawn // 20 % homes
    fields = {"at": at, "kind": ("motion", "vacant", "open", "close")[drawn // 1000 % 4], "value": n}
    return Loose("device_events", f"lock-{home}", f"{PREFIX}/devices/lock-{home}/event", msgspec.json.encode(fields), at)


def plans(judged: int, phones: int, day: float) -> dict[str, Any]:
    """As POST /v1/plans takes them: a home with a lock and a day of visits for each of the judged, and everybody's name."""
    sites = [
        {
            "id": f"s-{k}",
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [LON + k * APART_M * METRE_LON, LAT]},
            "properties": {"name": f"Home {k}", "radius_m": RADIUS_M},
        }
        for k in range(judged)
    ]
    visits = [
        {
            "id": f"v-{k}-{turn}",
            "worker": f"t-{k}",
            "site": f"s-{k}",
            "service": "cleaning",
            "starts_at": rfc3339(day + turn * EVERY_S + VISIT_S),
            "ends_at": rfc3339(day + turn * EVERY_S + 2 * VISIT_S),
        }
        for k in range(judged)
        for turn in range(VISITS)
    ]
    return {
        "sites": sites,
        "workers": [{"id": f"t-{k}", "name": f"Worker {k}"} for k in range(phones)],
        "devices": [{"id": f"lock-{k}", "site": f"s-{k}", "kind": "lock"} for k in range(judged)],
        "visits": visits,
    }


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
