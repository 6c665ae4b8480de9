"""Day: a whole day of a fleet from a seed. Pure: the same seed and options give the same day, byte for byte.

    seed, options ─▶ world (town, homes, workers) ─▶ visits ─▶ trouble, as data ─▶ trails ─▶ feeds ─▶ truth

The town, the homes and the people depend on seed, city and size of the fleet; visits and trouble on the day too, so that a fleet
 keeps its customers from day to day. Every worker and every home draws from its own stream of numbers: changing one changes
no other.
"""

import zlib
from typing import Any

import numpy as np
from msgspec import Struct

from device_sim import household, phone, roster, town, trail, trouble, truth
from device_sim.cities import City, named
from device_sim.feed import Feed, rfc3339
from device_sim.homes import Home, build, feature
from device_sim.options import Options
from device_sim.roster import Visit, Worker
from device_sim.town import Frame, Town
from device_sim.trail import Trail
from device_sim.trouble import Conduct, Fault, Trouble


class World(Struct, frozen=True, eq=False):
    """What stays the same from day to day."""

    city: City
    frame: Frame
    town: Town
    homes: tuple[Home, ...]
    workers: tuple[Worker, ...]


class Day(Struct, frozen=True, kw_only=True, eq=False):
    """`starts_at` and `ends_at` are the local midnights. `trails` is the ground truth, worker by worker."""

    seed: int
    options: Options
    world: World
    starts_at: float
    ends_at: float
    visits: tuple[Visit, ...]
    trouble: Trouble
    trails: tuple[Trail, ...]
    feeds: tuple[Feed, ...]
    truth: tuple[truth.Truth, ...]

    def plans(self) -> dict[str, list[dict[str, Any]]]:
        """Sites, workers, devices and visits as the body of POST /v1/plans."""
        world = self.world
        return {
            "sites": [feature(home, world.frame, world.city.zone) for home in world.homes],
            "workers": [
                {
                    "id": worker.id,
                    "name": worker.name,
                    "aliases": {"owntracks": worker.phone.owntracks} if worker.phone.owntracks else {},
                }
                for worker in world.workers
            ],
            "devices": [
                {"id": device, "site": home.id, "kind": kind, "dialect": "native", "address": None}
                for home in world.homes
                for device, kind in home.devices
            ],
            "visits": [
                {
                    "id": visit.id,
                    "worker": visit.worker,
                    "site": world.homes[visit.home].id,
                    "service": visit.service,
                    "starts_at": rfc3339(visit.starts_at),
                    "ends_at": rfc3339(visit.ends_at),
                }
                for visit in self.visits
            ],
        }


def half_m(workers: int) -> float:
    """How far a town reaches from its centre, to have room for the homes: 2 km for 40 workers, more by the root."""
    return max(1500.0, 2000.0 * float(np.sqrt(workers / 40)))


def world(seed: int, options: Options) -> World:
    """The city, its streets, homes and people."""
    city = named(options.city)
    rng = _stream(seed, "world", city.key, options.workers)
    streets = town.build(rng, half_m(options.workers))
    homes = build(rng, streets, city, roster.homes_needed(options.workers))
    return World(city, Frame(city.lon, city.lat), streets, homes, roster.hire(rng, city, streets, homes, options))


def day(seed: int, options: Options) -> Day:
    """Everything that happens, is reported and is true on that day."""
    made = world(seed, options)
    midnight = roster.local_midnight(made.city, options.day)
    ends_at = roster.local_midnight(made.city, roster.next_day(options.day))
    visits = [roster.plan(_stream(seed, "plan", options.day, w.id), w, made.homes, made.town, options.day) for w in made.workers]
    conducts = [
        trouble.conducts(_stream(seed, "conduct", options.day, w.id), own, options.trouble)
        for w, own in zip(made.workers, visits, strict=True)
    ]
    faults = [trouble.phone_faults(_stream(seed, "fault", options.day, w.id), w, options.trouble) for w in made.workers]
    gateways = [
        trouble.gateway_faults(
            _stream(seed, "gateway", options.day, home.id), home, (midnight + 6 * 3600, ends_at), options.trouble
        )
        for home in made.homes
    ]
    trails = [
        trail.walk(rng, worker, trail.stops(rng, worker, own, conduct, made.homes, made.town), made.town)
        for worker, own, conduct in zip(made.workers, visits, conducts, strict=True)
        for rng in (_stream(seed, "trail", options.day, worker.id),)
    ]
    phones = [
        phone.observe(
            _stream(seed, "phone", options.day, worker.id),
            worker,
            own,
            conduct,
            fault,
            walked,
            made.homes,
            made.frame,
            options.prefix,
        )
        for worker, own, conduct, fault, walked in zip(made.workers, visits, conducts, faults, trails, strict=True)
    ]
    devices = _households(seed, options, made, trails, gateways, midnight)
    told = _truth(made, visits, conducts, faults, trails, phones, devices)
    plan = Trouble(tuple(c for own in conducts for c in own), tuple(f for own in (*faults, *gateways) for f in own))
    return Day(
        seed=seed,
        options=options,
        world=made,
        starts_at=midnight,
        ends_at=ends_at,
        visits=tuple(v for own in visits for v in own),
        trouble=plan,
        trails=tuple(trails),
        feeds=(*phones, *devices),
        truth=told,
    )


def _households(
    seed: int, options: Options, made: World, trails: list[Trail], gateways: list[tuple[Fault, ...]], midnight: float
) -> tuple[Feed, ...]:
    present: dict[int, list[household.Stay]] = {}
    for worker, walked in zip(made.workers, trails, strict=True):
        for home, stay in household.stays(worker.id, worker.homes, walked):
            present.setdefault(home, []).append(stay)
    return tuple(
        feed
        for k, home in enumerate(made.homes)
        for feed in household.observe(
            _stream(seed, "home", options.day, home.id), home, present.get(k, []), gateways[k], midnight, options.prefix
        )
    )


def _truth(
    made: World,
    visits: list[tuple[Visit, ...]],
    conducts: list[tuple[Conduct, ...]],
    faults: list[tuple[Fault, ...]],
    trails: list[Trail],
    phones: list[Feed],
    devices: tuple[Feed, ...],
) -> tuple[truth.Truth, ...]:
    shown = _shown_by_homes(made, devices, trails)
    told = []
    for worker, own, conduct, fault, walked, feed in zip(made.workers, visits, conducts, faults, trails, phones, strict=True):
        seen = truth.witness(feed, shown[worker.id])
        told += [truth.tell(v, c, made.homes[v.home], walked, seen, fault) for v, c in zip(own, conduct, strict=True)]
    return tuple(told)


def _shown_by_homes(made: World, devices: tuple[Feed, ...], trails: list[Trail]) -> dict[str, list[float]]:
    """When homes showed each worker: by her credential, or by stirring while she was in and nobody lives there by day."""
    shown: dict[str, list[float]] = {worker.id: [] for worker in made.workers}
    stirred: dict[str, list[float]] = {}
    for feed in devices:
        for said in feed.said:
            if "worker" in said.payload:
                shown[said.payload["worker"]].append(said.at)
            elif said.payload.get("kind") in ("motion", "power"):
                stirred.setdefault(feed.source.partition("-")[2], []).append(said.at)
    for worker, walked in zip(made.workers, trails, strict=True):
        for home, stay in household.stays(worker.id, worker.homes, walked):
            if not made.homes[home].residents:
                moments = stirred.get(made.homes[home].id.partition("-")[2], [])
                shown[worker.id] += [at for at in moments if stay.start <= at < stay.end]
    return shown


def _stream(seed: int, *names: object) -> np.random.Generator:
    """A stream of its own for each purpose and subject."""
    return np.random.default_rng(np.random.SeedSequence([seed, *(zlib.crc32(str(name).encode()) for name in names)]))
