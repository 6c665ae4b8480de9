"""Haunts at their edges: cells that lie side by side, and how near a place must be to a site to be meant by it."""

import numpy as np
import pytest

from store import haunts
from store.haunts import CELL_DEG, Place
from tests.engine.worlds import circle, fixes, visit
from tests.verify.world import World

HERE = circle(0.0, 0.0, 40.0)


def at_cells(*cells: tuple[int, int]) -> list[Place]:
    """The haunts of who was for as long in each of these cells, counted from the one of the site."""
    lon, lat = round(HERE.geometry.centroid.x / CELL_DEG), round(HERE.geometry.centroid.y / CELL_DEG)
    at = np.arange(0.0, 7200.0, 60.0)
    of = fixes(at, np.zeros(len(at)), np.zeros(len(at)))
    which = np.arange(len(at)) % len(cells)
    of.lon[:] = np.array([(lon + east) * CELL_DEG for east, _ in cells])[which]
    of.lat[:] = np.array([(lat + north) * CELL_DEG for _, north in cells])[which]
    return haunts.of(of, visit(), HERE)


@pytest.mark.parametrize("side", [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_a_place_is_another_one_from_three_cells_away(side: tuple[int, int]) -> None:
    assert at_cells((0, 0), (2 * side[0], 2 * side[1])) == []
    assert len(at_cells((0, 0), (3 * side[0], 3 * side[1]))) == 1


@pytest.mark.parametrize("apart", [1, 2])
@pytest.mark.parametrize("across", [True, False])
def test_cells_that_lie_near_each_other_are_two_places(apart: int, across: bool) -> None:
    found = at_cells((10, 10), (10 + apart, 10) if across else (10, 10 + apart))
    assert len(found) == 2
    off = found[1].lon - found[0].lon if across else found[1].lat - found[0].lat
    assert off == pytest.approx(apart * CELL_DEG)


def test_a_site_is_meant_from_the_next_cell_and_not_from_the_one_after_it(world: World) -> None:
    world.site(0)
    west, south, east, north = (
        world.one(f"select {name} from sites where id = 's0'") for name in ("min_lon", "min_lat", "max_lon", "max_lat")
    )
    middle = (west + east) / 2, (south + north) / 2
    for one, other in (
        (Place(east + 0.9 * CELL_DEG, middle[1]), Place(east + 1.1 * CELL_DEG, middle[1])),
        (Place(middle[0], south - 0.9 * CELL_DEG), Place(middle[0], south - 1.1 * CELL_DEG)),
    ):
        assert haunts.sites_at(world.connection, [one, other]) == {one: ["s0"], other: []}
        haunts.write(world.connection, {"v-1": {one: []}, "v-2": {other: []}})
        assert haunts.visits_at(world.connection, ["s0"]) == ["v-1"]
