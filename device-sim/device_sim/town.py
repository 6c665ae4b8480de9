"""Town: a generated street network that a fleet can travel on: an irregular grid with diagonal avenues, a river and its bridges.

Places are local metres, x to the east and y to the north of the city's centre. The same generator gives the same town.
"""

import heapq
import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

EARTH_M = 6_371_008.8
DOWNTOWN_M = 900.0
"""Within this distance of the centre the streets are canyons of high buildings."""

Floats = NDArray[np.float64]
Point = tuple[float, float]


class Town(Struct, frozen=True, eq=False):
    """`nodes` is (n, 2) metres; `ways[u]` are the neighbours of u with the length of the street to them."""

    nodes: Floats
    ways: tuple[tuple[tuple[int, float], ...], ...]
    edges: tuple[tuple[int, int], ...]


class Frame(Struct, frozen=True):
    """Local metres to WGS-84 and back, about a centre: equirectangular, exact enough over a city (0.1 % at 60 degrees)."""

    lon: float
    lat: float

    def lonlat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Degrees, longitude first."""
        per_degree = math.radians(1) * EARTH_M
        return self.lon + x / (per_degree * math.cos(math.radians(self.lat))), self.lat + y / per_degree


def build(rng: np.random.Generator, half_m: float) -> Town:
    """A connected town that reaches `half_m` from its centre in each direction."""
    across, up = _lines(rng, half_m), _lines(rng, half_m)
    columns, rows = len(across), len(up)
    nodes = _warp(rng, np.array([(x, y) for x in across for y in up]), half_m)
    edges = _grid(rng, columns, rows) | _avenues(rng, columns, rows)
    edges -= _river(rng, nodes, edges, half_m)
    return _largest_part(nodes, sorted(edges))


def route(town: Town, start: int, goal: int) -> list[int]:
    """The nodes of the shortest way, both ends included (A* with the straight line as the bound)."""
    nodes = town.nodes
    goal_x, goal_y = nodes[goal]
    queue: list[tuple[float, float, int]] = [(0.0, 0.0, start)]
    best = {start: 0.0}
    came: dict[int, int] = {}
    while queue:
        _, cost_m, here = heapq.heappop(queue)
        if here == goal:
            break
        if cost_m > best[here]:
            continue
        for there, length_m in town.ways[here]:
            reached_m = cost_m + length_m
            if reached_m < best.get(there, math.inf):
                best[there] = reached_m
                came[there] = here
                ahead_m = math.hypot(nodes[there, 0] - goal_x, nodes[there, 1] - goal_y)
                heapq.heappush(queue, (reached_m + ahead_m, reached_m, there))
    way = [goal]
    while way[-1] != start:
        way.append(came[way[-1]])
    return way[::-1]


def _lines(rng: np.random.Generator, half_m: float) -> list[float]:
    """Where the parallel streets of one direction run: blocks of 130 to 260 m."""
    lines = [-half_m]
    while lines[-1] < half_m:
        lines.append(lines[-1] + rng.uniform(130, 260))
    return lines


def _warp(rng: np.random.Generator, nodes: Floats, half_m: float) -> Floats:
    """Bend the grid softly, move each crossing a little, and turn the whole: no city is graph paper."""
    phase = rng.uniform(0, 2 * math.pi, 4)
    wave = 2 * math.pi / (half_m * rng.uniform(0.9, 1.6))
    bend = min(90.0, half_m * 0.03)
    x = nodes[:, 0] + bend * np.sin(wave * nodes[:, 1] + phase[0]) + bend / 2 * np.sin(2.3 * wave * nodes[:, 0] + phase[1])
    y = nodes[:, 1] + bend * np.sin(wave * nodes[:, 0] + phase[2]) + bend / 2 * np.sin(2.3 * wave * nodes[:, 1] + phase[3])
    x = x + rng.normal(0, 9, len(x))
    y = y + rng.normal(0, 9, len(y))
    turn = rng.uniform(-0.35, 0.35)
    return np.column_stack((x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)))


def _grid(rng: np.random.Generator, columns: int, rows: int) -> set[tuple[int, int]]:
    """Streets to the next crossing; one in ten is missing (a park, a school), but never of a main street (every fifth line)."""
    edges = set()
    for i in range(columns):
        for j in range(rows):
            here = i * rows + j
            if i + 1 < columns and (j % 5 == 0 or rng.random() > 0.1):
                edges.add((here, here + rows))
            if j + 1 < rows and (i % 5 == 0 or rng.random() > 0.1):
                edges.add((here, here + 1))
    return edges


def _avenues(rng: np.random.Generator, columns: int, rows: int) -> set[tuple[int, int]]:
    """Three diagonal avenues across the grid."""
    edges = set()
    for slope in (1, -1, 1):
        i = int(rng.integers(0, max(1, columns // 2)))
        j = int(rng.integers(0, max(1, rows // 2))) if slope == 1 else int(rng.integers(rows // 2, rows))
        while i + 1 < columns and 0 <= j + slope < rows:
            edges.add((i * rows + j, (i + 1) * rows + j + slope))
            i, j = i + 1, j + slope
    return edges


def _river(rng: np.random.Generator, nodes: Floats, edges: set[tuple[int, int]], half_m: float) -> set[tuple[int, int]]:
    """The streets that a winding river cuts: all that cross it, but for a bridge every 700 m or so."""
    level, swing, phase = rng.uniform(-0.5, 0.5) * half_m, rng.uniform(0.08, 0.18) * half_m, rng.uniform(0, 6)
    side = nodes[:, 1] > level + swing * np.sin(nodes[:, 0] / half_m * 3 + phase)
    crossing = sorted((edge for edge in edges if side[edge[0]] != side[edge[1]]), key=lambda edge: (nodes[edge[0], 0], edge))
    cut, bridge_x = set(), -math.inf
    for edge in crossing:
        x = nodes[edge[0], 0]
        if x - bridge_x > 700:
            bridge_x = x
        else:
            cut.add(edge)
    return cut


def _largest_part(nodes: Floats, edges: list[tuple[int, int]]) -> Town:
    """Only what can be reached: the largest connected part, renumbered."""
    near: list[list[int]] = [[] for _ in nodes]
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    part = np.full(len(nodes), -1)
    for seed in range(len(nodes)):
        reached = [seed] if part[seed] < 0 else []
        while reached:
            here = reached.pop()
            if part[here] < 0:
                part[here] = seed
                reached.extend(there for there in near[here] if part[there] < 0)
    main = int(np.bincount(part).argmax())
    kept = np.flatnonzero(part == main)
    number = {int(old): new for new, old in enumerate(kept)}
    kept_nodes = nodes[kept]
    kept_edges = tuple((number[a], number[b]) for a, b in edges if part[a] == main)
    ways: list[list[tuple[int, float]]] = [[] for _ in kept]
    for a, b in kept_edges:
        length_m = math.hypot(*(kept_nodes[a] - kept_nodes[b]))
        ways[a].append((b, length_m))
        ways[b].append((a, length_m))
    return Town(kept_nodes, tuple(tuple(way) for way in ways), kept_edges)
