"""Writes the golden scenarios: `python -m tests.scenarios.make` makes each folder's story.md and events.json anew, from seeds.

`expected.json` is written by hand and by eye, and never by this script: it is what a person who read the story expects.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from geofence.evidence import Fixes, Floats
from tests.engine.worlds import START, day, errors, fixes, joined, lonlat, take, way

HERE = Path(__file__).parent
PLANNED_S = 5400.0
DEAD_AT_S = 2700.0


def rows(of: Fixes) -> list[dict[str, Any]]:
    """Fixes as objects, with what is not usual."""
    out = []
    for i in range(len(of.at)):
        row: dict[str, Any] = {
            "at": round(float(of.at[i]), 3),
            "lon": round(float(of.lon[i]), 7),
            "lat": round(float(of.lat[i]), 7),
        }
        if not np.isnan(of.accuracy_m[i]):
            row["accuracy_m"] = round(float(of.accuracy_m[i]), 1)
        if of.mock[i]:
            row["mock"] = True
        if of.received_at[i] != of.at[i] + 1.0:
            row["received_at"] = round(float(of.received_at[i]), 3)
        if of.source[i]:
            row["source"] = of.sources[of.source[i]]
        out.append(row)
    return out


def usual(seed: int = 1, **how: Any) -> Fixes:
    """A minute's interval, a phone of usual quality."""
    given = {"every_s": 60.0, "came": 40.0, "went": PLANNED_S + 30.0, "planned_s": PLANNED_S}
    return day(seed, **{**given, **how})


def circle(east: float, north: float, radius_m: float, name: str = "s-1") -> dict[str, Any]:
    lon, lat = (float(x) for x in lonlat(east, north))
    return {"id": name, "geometry": {"type": "Point", "coordinates": [round(lon, 7), round(lat, 7)]}, "radius_m": radius_m}


def house(east: float, north: float, side_m: float, name: str = "s-1") -> dict[str, Any]:
    half = side_m / 2
    ring = [(east - half, north - half), (east + half, north - half), (east + half, north + half), (east - half, north + half)]
    corners = [[round(float(x), 7) for x in lonlat(*corner)] for corner in (*ring, ring[0])]
    return {"id": name, "geometry": {"type": "Polygon", "coordinates": [corners]}}


def check(at: float, kind: str, method: str = "qr") -> dict[str, Any]:
    return {"at": START + at, "kind": kind, "method": method, "visit": "v-1"}


def event(at: float, source: str, kind: str, worker: str | None = None) -> dict[str, Any]:
    return {"at": START + at, "source": source, "kind": kind, **({"worker": worker} if worker else {})}


def status(at: float, state: str, received_at: float | None = None, **more: Any) -> dict[str, Any]:
    return {"at": START + at, "received_at": START + (at if received_at is None else received_at), "state": state, **more}


HOME = circle(0, 0, 60.0)
DEVICES = [
    {"id": "lock-1", "site": "s-1", "kind": "lock", "source": "lock-1"},
    {"id": "motion-1", "site": "s-1", "kind": "motion", "source": "motion-1"},
]


def break_of(start: float, end: float, of: Fixes) -> Fixes:
    """The worker cycles away, to 400 m if there is time, and back."""
    since, until = of.at - (START + start), (START + end) - of.at
    away = np.clip(2.5 * np.minimum(since, until), 0.0, 400.0)
    return replace_columns(of, lon=of.lon + (lonlat(away, 0.0)[0] - lonlat(0.0, 0.0)[0]))


def replace_columns(of: Fixes, **columns: Floats) -> Fixes:
    return replace(of, **columns)


def flat(of: Fixes) -> Fixes:
    """The same coordinates again and again: a replayed position."""
    lon, lat = lonlat(4.0, -3.0)
    return replace_columns(of, lon=np.full(len(of.at), lon), lat=np.full(len(of.at), lat))


def jumped() -> Fixes:
    """At home, five kilometres away, but for the planned time, to which and from which nobody could have travelled."""
    at = np.arange(-1800.0, PLANNED_S + 1800.0, 20.0)
    rng = np.random.default_rng(4)
    there = (at >= 0.0) & (at < PLANNED_S)
    return fixes(at, np.where(there, 0.0, 5000.0) + errors(rng, at, 8.0), errors(rng, at, 8.0))


def shifted(of: Fixes, by_s: float) -> Fixes:
    return replace(of, at=of.at + by_s, received_at=of.received_at + by_s)


def two_phones() -> Fixes:
    one, two = usual(1), usual(2, sigma_m=20.0, accuracy_m=30.0)
    return joined(replace(one, sources=("owntracks:anna/phone", "w-1"), source=np.ones_like(one.source)), two)


def away_then_here(place: tuple[float, float], seed: int = 1, **how: Any) -> Fixes:
    return usual(seed, place=place, **how)


def silent_between(of: Fixes, start: float, end: float) -> Fixes:
    return take(of, (of.at < START + start) | (of.at >= START + end))


def skewed(of: Fixes) -> Fixes:
    return replace_columns(of, received_at=of.at - 600.0)


def outbox(of: Fixes) -> Fixes:
    """Kept in a dead zone and delivered when it was over."""
    dead = (of.at >= START + 600.0) & (of.at < START + 4000.0)
    return replace_columns(of, received_at=np.where(dead, START + 4005.0, of.at + 1.0))


def cells() -> Fixes:
    at = np.arange(-1800.0, PLANNED_S + 1800.0, 60.0)
    east, north = way(at, 40.0, PLANNED_S + 30.0)
    return fixes(at, east + 350.0, north - 200.0, 900.0)


def inside(every: int = 240) -> list[dict[str, Any]]:
    return [
        event(20.0, "lock-1", "unlock", "w-1"),
        *[event(float(at), "motion-1", "motion") for at in range(90, int(PLANNED_S) - 60, every)],
        event(PLANNED_S + 10.0, "lock-1", "lock", "w-1"),
    ]


def scenarios() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name: story, and what differs from an ordinary visit of an hour and a half."""
    online = status(-3600.0, "online")
    neighbour = house(28.0, 0.0, 15.0, "s-2")
    return {
        "on-time": ("She comes on time, stays as planned, and leaves.", {"fixes": rows(usual())}),
        "small-house": (
            "The house is smaller than the error of her phone, and nobody else's house is near.",
            {"site": house(0, 0, 15.0), "fixes": rows(usual(every_s=20.0, sigma_m=13.0, accuracy_m=20.0))},
        ),
        "late": ("She comes twenty-five minutes late and leaves on time.", {"fixes": rows(usual(came=1500.0))}),
        "early-leave": ("She leaves half an hour early.", {"fixes": rows(usual(went=3600.0))}),
        "long-break": ("She goes away for half an hour in the middle.", {"fixes": rows(break_of(1800.0, 3600.0, usual()))}),
        "rubbish": ("She takes out the rubbish for four minutes.", {"fixes": rows(break_of(1800.0, 2040.0, usual(every_s=20.0)))}),
        "no-show": ("She never comes: her phone is across town all the time.", {"fixes": rows(usual(place=(5000.0, 0.0)))}),
        "next-door": (
            "She spends the time in the house next door, which is a customer's too.",
            {
                "site": house(0, 0, 15.0),
                "neighbours": [neighbour],
                "fixes": rows(away_then_here((28.0, 0.0), every_s=20.0, accuracy_m=9.0, sigma_m=6.0)),
            },
        ),
        "wrong-site": (
            "She is at another customer's home, a kilometre away.",
            {"neighbours": [circle(1000.0, 0.0, 60.0, "s-2")], "fixes": rows(away_then_here((1000.0, 0.0)))},
        ),
        "mock-provider": (
            "Her phone says that the positions come from a mock provider.",
            {"fixes": rows(usual(mock=np.ones(150, dtype=bool)))},
        ),
        "teleport": ("Her phone jumps five kilometres to the home and back within seconds.", {"fixes": rows(jumped())}),
        "frozen": ("Her phone repeats one position to the decimetre for an hour and a half.", {"fixes": rows(flat(usual()))}),
        "forgotten-check-out": (
            "She scans the code when she comes and forgets it when she goes.",
            {"fixes": rows(usual()), "checks": [check(70.0, "in")]},
        ),
        "dead-phone": (
            "Her phone dies half-way; the broker tells us so a minute and a half later.",
            {
                "fixes": rows(silent_between(usual(), DEAD_AT_S, 9e9)),
                "statuses": [online, status(-3600.0, "offline", received_at=DEAD_AT_S + 40.0)],
            },
        ),
        "doze": (
            "Her phone saves power and is silent for twenty minutes.",
            {"fixes": rows(silent_between(usual(), 1800.0, 3000.0)), "statuses": [status(-3600.0, "online", power_save=True)]},
        ),
        "cell-only": ("Her phone has no satellites and tells only which cell it is in.", {"fixes": rows(cells())}),
        "outbox": (
            "In the basement her phone keeps what it cannot send, and sends it when she is out.",
            {
                "fixes": rows(outbox(usual())),
                "statuses": [online, status(-3600.0, "offline", received_at=690.0), status(4000.0, "online")],
            },
        ),
        "home-side-only": (
            "She has no phone with her; she opens the lock with her own code, moves about, and locks up.",
            {"phones": [], "events": inside()},
        ),
        "motion-only": ("Somebody moves in the home, and nobody knows who.", {"events": inside()[1:-1]}),
        "two-phones": (
            "She carries two phones, and both are right.",
            {"phones": ["owntracks:anna/phone", "w-1"], "fixes": rows(two_phones())},
        ),
        "clock-ahead": ("Her phone's clock is ten minutes ahead.", {"fixes": rows(skewed(usual()))}),
        "code-against-position": (
            "The code at the home is scanned while her phone is across town.",
            {"fixes": rows(usual(place=(5000.0, 0.0))), "checks": [check(70.0, "in"), check(5300.0, "out")]},
        ),
        "our-outage": (
            "We were down for twenty minutes, and her phone does not keep what it could not send.",
            {"fixes": rows(silent_between(usual(), 1800.0, 3000.0)), "outages": [[START + 1800.0, START + 3000.0]]},
        ),
        "played-again": (
            "What her phone told yesterday is sent once more, under today's times.",
            {"fixes": rows(usual()), "earlier": [rows(shifted(usual(), -86_400.0))]},
        ),
        "still-there": ("An hour into the visit she is there.", {"fixes": rows(usual()), "now": START + 3600.0}),
    }


def main() -> None:
    ordinary = {
        "visit": {
            "id": "v-1",
            "worker": "w-1",
            "site": "s-1",
            "service": "cleaning",
            "starts_at": START,
            "ends_at": START + PLANNED_S,
        },
        "site": HOME,
        "neighbours": [],
        "devices": DEVICES,
        "phones": ["w-1"],
        "now": START + 90_000.0,
        "outages": [],
        "checks": [],
        "events": [],
        "statuses": [],
        "fixes": [],
    }
    for name, (story, differs) in scenarios().items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "story.md").write_text(story + "\n", encoding="utf-8")
        made = {**ordinary, **differs}
        lines = ",\n".join("    " + msgspec.json.encode(fix).decode() for fix in made.pop("fixes"))
        head = msgspec.json.format(msgspec.json.encode(made), indent=2).decode().rstrip("}\n ")
        (folder / "events.json").write_text(f'{head},\n  "fixes": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
