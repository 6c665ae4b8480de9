"""Town: days of the project's own simulator as cases, each day seen through phones of each sampling.

A day's ways, conducts and faults are made once and observed anew for each sampling, so that samplings differ in nothing else.
"""

import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely
from msgspec import Struct
from msgspec.structs import replace

from bench.accuracy import town_reports
from bench.accuracy.case import INTERVAL_S, PASSING_S, Case, Missing, Sampling, Surroundings, Truth
from device_sim import household, phone, simulate, truth
from device_sim.feed import Feed
from device_sim.options import Options
from device_sim.simulate import Day
from device_sim.spans import Span, common, seconds, union, without
from device_sim.town import DOWNTOWN_M
from geofence import window
from geofence.evidence import Fixes
from geofence.plan import Device, Scene, Site, Visit
from store import haunts
from store.neighbours import NEAR_M

TROUBLE = 0.45
"""About half of the visits go wrong, so that each conduct is common enough to be counted."""
CITIES = ("beijing", "helsinki", "mumbai", "new-york", "lisbon")


def cases(seed: int, sampling: Sampling, workers: int, trouble: float = TROUBLE) -> Iterator[Case]:
    """Every visit of one day, of which the share `trouble` does not go as planned."""
    day = _day(seed, workers, trouble)
    plan = _plan(day)
    homes = town_reports.homes(day)
    for k, worker in enumerate(day.world.workers):
        own = [n for n, visit in enumerate(day.visits) if visit.worker == worker.id]
        if not own:
            continue
        feed, shown = _feed(day, k, own, sampling), _shown(day, k)
        heard = town_reports.phone(feed, sampling)
        seen = truth.witness(feed, shown)
        faults = tuple(fault for fault in day.trouble.faults if fault.source == worker.id)
        for n in own:
            visit, conduct = day.visits[n], day.trouble.conducts[n]
            home = day.world.homes[visit.home]
            told = truth.tell(visit, conduct, home, day.trails[k], seen, faults)
            scene = _scene(plan, n, heard.fixes)
            yield Case(
                world="town",
                seed=seed,
                sampling=sampling,
                surroundings=_surroundings(day, plan, n),
                behaviour=conduct.behaviour,
                manner=conduct.manner,
                faults=told.faults,
                scene=scene,
                observed=town_reports.cut(heard, homes, scene),
                truth=_truth(told, scene, plan.near[scene.site.id], phone.spans_of(faults, "dead_zone")),
            )


def _truth(told: truth.Truth, scene: Scene, near: Sequence[str], offline: Sequence[Span]) -> Truth:
    """The simulator's, but that a phone in a dead zone is offline and not silent; and up to where another visit of hers is meant:
    between two to one home in the middle between the plans, and not into the plan of one next door, whose fence may hold her too.
    """
    visit, low, high = scene.visit, -math.inf, math.inf
    for other in scene.others:
        gap = min(other.ends_at, visit.ends_at), max(other.starts_at, visit.starts_at)
        before, after = (sum(gap) / 2,) * 2 if other.site == visit.site else gap
        if other.site != visit.site and other.site not in near:
            continue
        if other.ends_at <= visit.starts_at:
            low = max(low, before)
        else:
            high = min(high, after)
    on_site = common(list(told.on_site), [(low, high)])
    hull = [(on_site[0][0], on_site[-1][1])] if on_site else []
    expected = union([(visit.starts_at, visit.ends_at), *hull])
    missing = [gap for whole in told.gaps for gap in _parts(whole, expected, offline)]
    return Truth(
        on_site=tuple(on_site),
        seen_s=seconds(expected) - sum(gap.end - gap.start for gap in missing),
        expected_s=seconds(expected),
        missing=tuple(missing),
        contested=seconds(told.on_site) - seconds(on_site) > PASSING_S,
    )


def _parts(gap: truth.Gap, expected: list[Span], offline: Sequence[Span]) -> Iterator[Missing]:
    """What of a gap is in the expected time, by cause: where the phone was offline, no later cause in the order applies."""
    left = common([(gap.start, gap.end)], expected)
    if gap.cause != "permission_off":
        away = common(left, union(offline))
        yield from (Missing(start, end, "phone_offline") for start, end in away)
        left = without(left, away)
    yield from (Missing(start, end, gap.cause) for start, end in left)


class _Plan(Struct, frozen=True):
    """The plans as the engine takes them, by index or id."""

    sites: Mapping[str, Site]
    near: Mapping[str, tuple[str, ...]]
    boxes: Mapping[str, tuple[float, float, float, float]]
    """West, south, east, north of each fence in degrees."""
    devices: Mapping[str, tuple[Device, ...]]
    visits: Sequence[Visit]


def _day(seed: int, workers: int, trouble: float) -> Day:
    city = CITIES[seed % len(CITIES)]
    return simulate.day(seed, Options(workers=workers, city=city, day="2026-11-20", trouble=trouble, owntracks=0.0))


def _feed(day: Day, k: int, own: Sequence[int], sampling: Sampling) -> Feed:
    """One worker's phone, were it of this sampling."""
    worker = day.world.workers[k]
    modes = {"10 s": "10s", "60 s": "60s", "300 s": "60s", "significant": "significant"}
    other = replace(worker, phone=replace(worker.phone, mode=modes[sampling], interval_s=INTERVAL_S[sampling]))
    return phone.observe(
        np.random.default_rng([day.seed, zlib.crc32(f"{sampling} {worker.id}".encode())]),
        other,
        tuple(day.visits[n] for n in own),
        tuple(day.trouble.conducts[n] for n in own),
        tuple(fault for fault in day.trouble.faults if fault.source == worker.id),
        day.trails[k],
        day.world.homes,
        day.world.frame,
        day.options.prefix,
    )


def _shown(day: Day, k: int) -> list[float]:
    """When homes showed this worker: by naming her, or by stirring around her where nobody else lives by day."""
    worker, trail = day.world.workers[k], day.trails[k]
    shown: list[float] = []
    inside: dict[str, list[household.Stay]] = defaultdict(list)
    for home, stay in household.stays(worker.id, worker.homes, trail):
        if not day.world.homes[home].residents:
            for device, _ in day.world.homes[home].devices:
                inside[device].append(stay)
    for feed in day.feeds:
        if feed.owner is None:
            for said in feed.said:
                stirred = said.payload.get("kind") in ("motion", "power")
                around = stirred and any(stay.start <= said.at < stay.end for stay in inside[feed.source])
                if around or said.payload.get("worker") == worker.id:
                    shown.append(said.at)
    return shown


# What the engine gets ---------------------------------------------------------------------------------------------------------


def _plan(day: Day) -> _Plan:
    told = day.plans()
    sites = {}
    for feature in told["sites"]:
        geometry = feature["geometry"]
        shape = (
            shapely.Point(geometry["coordinates"]) if geometry["type"] == "Point" else shapely.Polygon(geometry["coordinates"][0])
        )
        sites[feature["id"]] = Site(id=feature["id"], geometry=shape, radius_m=feature["properties"].get("radius_m"))
    boxes = {site.id: _box(site) for site in sites.values()}
    devices: dict[str, list[Device]] = defaultdict(list)
    for device in told["devices"]:
        devices[device["site"]].append(Device(id=device["id"], site=device["site"], kind=device["kind"], source=device["id"]))
    visits = [
        Visit(
            id=visit.id,
            worker=visit.worker,
            site=day.world.homes[visit.home].id,
            service=visit.service,
            starts_at=visit.starts_at,
            ends_at=visit.ends_at,
        )
        for visit in day.visits
    ]
    near = {name: tuple(other for other in sites if other != name and _close(boxes[name], boxes[other])) for name in boxes}
    return _Plan(sites, near, boxes, {name: tuple(own) for name, own in devices.items()}, visits)


def _box(site: Site) -> tuple[float, float, float, float]:
    west, south, east, north = site.geometry.bounds
    up = (site.radius_m or 0.0) / 111_195.0
    across = up / math.cos(math.radians(south))
    return west - across, south - up, east + across, north + up


def _close(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """As `store.neighbours` has it: boxes not further apart than NEAR_M in either direction."""
    up = NEAR_M / 111_195.0
    across = up / math.cos(math.radians(a[1]))
    return a[0] - across <= b[2] and b[0] <= a[2] + across and a[1] - up <= b[3] and b[1] <= a[3] + up


def _scene(plan: _Plan, n: int, fixes: Fixes) -> Scene:
    """As `store.scenes` and `store.windows` put it together."""
    visit = plan.visits[n]
    low, high = window(visit, town_reports.POLICY)
    reaches = [(other, *window(other, town_reports.POLICY)) for other in plan.visits if other.id != visit.id]
    touching = [other for other, opens, closes in reaches if opens < high and closes > low]
    others = tuple(v for v in touching if v.worker == visit.worker)
    site = plan.sites[visit.site]
    around = {*plan.near[visit.site], *(other.site for other in others)}
    rows = slice(*np.searchsorted(fixes.at, (low, high)).tolist())
    for place in haunts.of(town_reports.rows_of(fixes, rows), visit, site):
        cell = (place.lon - haunts.CELL_DEG, place.lat - haunts.CELL_DEG, place.lon + haunts.CELL_DEG, place.lat + haunts.CELL_DEG)
        around |= {name for name, box in plan.boxes.items() if _meet(box, cell)}
    return Scene(
        visit=visit,
        site=site,
        neighbours=tuple(plan.sites[name] for name in sorted(around - {visit.site})),
        devices=tuple(d for name in (visit.site, *sorted(plan.near[visit.site])) for d in plan.devices.get(name, ())),
        phones=(visit.worker,),
        others=others,
        rivals=tuple(v for v in touching if v.worker != visit.worker and v.site == visit.site),
    )


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _surroundings(day: Day, plan: _Plan, n: int) -> Surroundings:
    """High buildings downtown; flats where another customer's fence lies on the same ground; else a house of its own."""
    home = day.world.homes[day.visits[n].home]
    if math.hypot(home.rooms.x, home.rooms.y) < DOWNTOWN_M:
        return "canyon"
    name = plan.visits[n].site
    return "flats" if any(_meet(plan.boxes[name], plan.boxes[other]) for other in plan.near[name]) else "house"
