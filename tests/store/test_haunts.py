"""Where a worker was for a good part of a visit, compared with counting fix by fix."""

import random
from collections import Counter

import numpy as np
import pytest

from geofence.evidence import Fixes
from geofence.plan import Visit
from store import haunts
from store.haunts import Place
from tests.engine.worlds import START, circle, fixes, visit


def counted(of: Fixes, planned: Visit, west: float, south: float, east: float, north: float) -> list[Place]:
    use = [
        n
        for n in range(len(of.at))
        if planned.starts_at <= of.at[n] < planned.ends_at and (np.isnan(of.accuracy_m[n]) or of.accuracy_m[n] <= 200.0)
    ]
    cells = Counter((round(float(of.lon[n]) / 0.001), round(float(of.lat[n]) / 0.001)) for n in use)
    found = []
    for (lon, lat), count in cells.items():
        near = west / 0.001 - 2 <= lon <= east / 0.001 + 2 and south / 0.001 - 2 <= lat <= north / 0.001 + 2
        if not near and count >= 3 and count >= 0.05 * len(use):
            found.append(Place(round(lon * 0.001, 6), round(lat * 0.001, 6)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(8))
def test_the_cells_that_hold_a_good_share_of_the_fixes_are_found(seed: int) -> None:
    draw = random.Random(seed)
    places = [(draw.uniform(-900, 900), draw.uniform(-900, 900)) for _ in range(draw.choice([1, 3, 6]))] + [(0.0, 0.0)]
    at = np.arange(-600.0, 7800.0, draw.choice([20.0, 60.0, 600.0]))
    where = np.array([draw.choice(places) for _ in at]) + np.array([[draw.gauss(0, 40), draw.gauss(0, 40)] for _ in at])
    accuracy = np.array([draw.choice([10.0, 50.0, 250.0, np.nan]) for _ in at])
    made = fixes(at, where[:, 0], where[:, 1], accuracy)
    site = circle(0.0, 0.0, 40.0)
    assert made.at[0] < START
    expected = counted(made, visit(), *site.geometry.bounds)
    assert haunts.of(made, visit(), site) == expected
    assert expected or seed not in (0, 1, 2), "a place that nobody was at proves nothing"
