"""Golden scenarios: a story in a sentence, the events, and what a person who read the story expects."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import shapely

from geofence import judge
from geofence.evidence import Check, DeviceEvent, Fixes, Observed, Status
from geofence.outcome import Outcome
from geofence.plan import Device, Scene, Site, Visit
from geofence.policy import Policy
from geofence.replayed import sketch
from tests.engine.worlds import START, together

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/events.json"))


def site(of: dict[str, Any]) -> Site:
    return Site(
        id=of["id"], geometry=shapely.from_geojson(msgspec.json.encode(of["geometry"]).decode()), radius_m=of.get("radius_m")
    )


def columns(rows: list[dict[str, Any]]) -> Fixes:
    sources = tuple(sorted({row.get("source", "w-1") for row in rows}))

    def column(name: str) -> np.ndarray:
        return np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)

    at = column("at")
    return Fixes(
        sources=sources,
        source=np.array([sources.index(row.get("source", "w-1")) for row in rows], dtype=np.int64),
        at=at,
        received_at=np.array([row.get("received_at", row["at"] + 1.0) for row in rows], dtype=np.float64),
        lon=column("lon"),
        lat=column("lat"),
        accuracy_m=column("accuracy_m"),
        altitude_m=column("altitude_m"),
        speed_mps=column("speed_mps"),
        heading_deg=column("heading_deg"),
        mock=np.array([row.get("mock", False) for row in rows], dtype=bool),
        ping=np.zeros(len(rows), dtype=bool),
    )


def judged(folder: Path) -> Outcome:
    told = msgspec.json.decode((folder / "events.json").read_bytes())
    usual = {"source": "w-1", "received_at": told["now"]}
    scene = Scene(
        visit=msgspec.convert(told["visit"], Visit),
        site=site(told["site"]),
        neighbours=tuple(site(other) for other in told["neighbours"]),
        devices=msgspec.convert(told["devices"], tuple[Device, ...]),
        phones=tuple(told["phones"]),
    )
    evidence = {
        kind: tuple(msgspec.convert({**usual, "identity": k, **row}, form) for k, row in enumerate(told[kind]))
        for kind, form in (("checks", Check), ("events", DeviceEvent), ("statuses", Status))
    }
    earlier = together(*(sketch(columns(rows), scene.site) for rows in told.get("earlier", [])))
    outages = [(start, end) for start, end in told["outages"]]
    return judge(scene, Observed(fixes=columns(told["fixes"]), earlier=earlier, **evidence), Policy(), told["now"], outages)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_story_ends_as_expected(folder: Path) -> None:
    outcome = judged(folder)
    expected = msgspec.json.decode((folder / "expected.json").read_bytes())
    assert outcome.verdict == expected["verdict"]
    assert list(outcome.findings) == expected["findings"]
    assert sorted({gap.cause for gap in outcome.gaps}) == expected["causes"]
    low, high = expected["coverage"]
    assert outcome.coverage is not None
    assert low <= outcome.coverage <= high
    on_site, truth = outcome.on_site_s, expected["truth"]
    assert on_site.lower - 15.0 <= truth["on_site_s"] <= on_site.upper + 15.0
    for told, real in ((outcome.arrived_at, truth["arrived_at"]), (outcome.left_at, truth["left_at"])):
        if real is None:
            assert told is None
        else:
            assert told is not None
            assert told.earliest - 15.0 <= START + real <= told.latest + 15.0
            assert abs(told.best - START - real) <= expected["within_s"]


def test_there_are_as_many_stories_as_we_promise() -> None:
    assert len(FOLDERS) >= 17
