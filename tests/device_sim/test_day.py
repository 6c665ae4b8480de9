"""A day is the same every time, and is one that people could have lived."""

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from shapely.geometry import shape

from device_sim import files
from device_sim.cities import CITIES, choose
from device_sim.options import Options
from device_sim.simulate import Day, day, world
from device_sim.travel import METRO, SPEEDS_MPS
from device_sim.truth import Truth


def _digest(made: Day, folder: Path) -> str:
    files.write(made, folder)
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def test_the_same_seed_and_options_make_the_same_day_to_the_byte(tmp_path: Path) -> None:
    options = Options(workers=6, city="lisbon", day="2026-03-29")
    assert _digest(day(3, options), tmp_path / "a") == _digest(day(3, options), tmp_path / "b")


def test_another_seed_or_another_day_is_another_day(tmp_path: Path) -> None:
    options = Options(workers=6, city="lisbon", day="2026-03-29")
    other = Options(workers=6, city="lisbon", day="2026-03-30")
    days = [day(3, options), day(4, options), day(3, other)]
    assert len({_digest(made, tmp_path / str(k)) for k, made in enumerate(days)}) == 3


def test_the_fleet_keeps_its_people_and_homes_from_day_to_day() -> None:
    one, two = (world(3, Options(workers=6, city="lisbon", day=chosen)) for chosen in ("2026-03-29", "2026-03-30"))
    assert one.homes == two.homes
    assert [(w.id, w.name, w.homes) for w in one.workers] == [(w.id, w.name, w.homes) for w in two.workers]


def test_more_trouble_does_not_change_who_should_be_where() -> None:
    calm, wild = (day(3, Options(workers=6, city="denver", day="2026-05-05", trouble=share)) for share in (0.0, 0.9))
    assert calm.visits == wild.visits


def test_nobody_is_faster_than_the_vehicle(helsinki: Day) -> None:
    for worker, trail in zip(helsinki.world.workers, helsinki.trails, strict=True):
        seconds = np.diff(trail.t)
        speed = np.hypot(np.diff(trail.x), np.diff(trail.y)) / np.maximum(seconds, 1e-9)
        moving = seconds > 0
        assert np.all(np.diff(trail.t) >= 0)
        riding = (trail.setting[:-1] == METRO) & moving
        ground = SPEEDS_MPS["e-bike"] if worker.vehicle == "metro" else SPEEDS_MPS[worker.vehicle]
        assert speed[moving & ~riding].max() <= ground * 1.001
        assert speed[riding].max(initial=0) <= SPEEDS_MPS["metro"]


def test_travel_follows_the_streets(honest: Day) -> None:
    nodes, edges = honest.world.town.nodes, np.array(honest.world.town.edges)
    start, along = nodes[edges[:, 0]], nodes[edges[:, 1]] - nodes[edges[:, 0]]
    trail = honest.trails[0]
    travelling = np.flatnonzero((trail.stay[:-1] == -1) & (np.hypot(np.diff(trail.x), np.diff(trail.y)) > 60))
    for k in travelling:
        middle = np.array([(trail.x[k] + trail.x[k + 1]) / 2, (trail.y[k] + trail.y[k + 1]) / 2])
        share = np.clip(((middle - start) * along).sum(1) / (along**2).sum(1), 0, 1)
        assert np.hypot(*(middle - start - along * share[:, None]).T).min() < 1.0
    assert len(travelling) > 10


def test_nobody_should_be_in_two_places_at_once(helsinki: Day) -> None:
    for worker in helsinki.world.workers:
        own = [visit for visit in helsinki.visits if visit.worker == worker.id]
        assert all(a.ends_at < b.starts_at for a, b in pairwise(own))
        assert len(own) >= 2


def test_an_honest_fleet_is_there_for_the_time_that_was_planned(honest: Day) -> None:
    def share(told: Truth) -> float:
        spans = ((max(a, told.starts_at), min(b, told.ends_at)) for a, b in told.on_site)
        return sum(max(0.0, b - a) for a, b in spans) / (told.ends_at - told.starts_at)

    shares = np.array([share(told) for told in honest.truth])
    assert {told.behaviour for told in honest.truth} == {"on_time"}
    assert (shares >= 0.95).mean() > 0.97
    assert honest.trouble.faults == ()


def test_visits_of_the_default_fleet_end_every_minute_at_midday(honest: Day) -> None:
    noon = honest.starts_at + 12 * 3600
    ends = np.sort([visit.ends_at for visit in honest.visits if noon <= visit.ends_at < noon + 3 * 3600])
    assert np.mean(np.diff(ends)) < 75
    assert np.diff(ends).max() < 600


def test_plans_are_what_the_contract_takes(helsinki: Day) -> None:
    plans = helsinki.plans()
    ids = [item["id"] for kind in plans.values() for item in kind]
    assert len(set(ids)) == len(ids)
    assert not any(set(name) & set("/+# ") for name in ids)
    sites = {site["id"]: shape(site["geometry"]) for site in plans["sites"]}
    assert all(geometry.is_valid and abs(geometry.centroid.y - 60.187) < 0.1 for geometry in sites.values())
    assert all(site["properties"]["radius_m"] > 0 for site in plans["sites"] if site["geometry"]["type"] == "Point")
    assert {visit["site"] for visit in plans["visits"]} <= set(sites)
    assert {visit["worker"] for visit in plans["visits"]} <= {worker["id"] for worker in plans["workers"]}
    assert any(worker["aliases"] for worker in plans["workers"])
    assert {site["geometry"]["type"] for site in plans["sites"]} == {"Point", "Polygon"}


def test_some_sites_are_neighbours_in_one_building(honest: Day) -> None:
    rooms = np.array([(home.rooms.x, home.rooms.y) for home in honest.world.homes])
    apart = np.hypot(rooms[:, None, 0] - rooms[None, :, 0], rooms[:, None, 1] - rooms[None, :, 1]) + np.eye(len(rooms)) * 1e9
    assert ((apart < 60).any(axis=1)).mean() > 0.2


@pytest.mark.parametrize("hour", range(24))
def test_there_is_always_a_city_in_the_middle_of_its_working_day(hour: int) -> None:
    now = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
    for moment in (now, now + timedelta(days=200)):
        local = moment.astimezone(ZoneInfo(choose(moment.timestamp()).zone))
        assert 10 <= local.hour < 16


def test_every_city_makes_a_day() -> None:
    for key in CITIES:
        assert day(1, Options(workers=2, city=key)).visits


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"workers": 0}, {"trouble": 1.5}, {"interval_s": 0.1}, {"day": "yesterday"}):
        with pytest.raises(ValueError, match=r"."):
            Options(**wrong)
