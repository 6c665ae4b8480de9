"""Plots: three small pictures for docs/accuracy.md. matplotlib is in the group `bench`, and imported here only."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from bench.accuracy.case import SAMPLINGS
from bench.accuracy.page import SURROUNDINGS, headline
from bench.accuracy.score import Row, figures

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "sitewatch"  # The same figures are the same bytes.
matplotlib.rcParams["svg.fonttype"] = "none"  # Letters stay letters: a third of the bytes.
matplotlib.rcParams["font.size"] = 8

from matplotlib import pyplot  # noqa: E402 - after the choice of what draws

COLOURS = ("#1f6feb", "#8b949e", "#d29922", "#cf222e", "#1a7f37", "#8250df", "#bf3989")
ERROR_S = np.array([1, 2, 5, 10, 15, 20, 30, 40, 60, 90, 120, 180, 300, 600, 1200, 3600])


def draw(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str], folder: Path) -> list[str]:
    """Writes the pictures and returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = headline(rows)
    _f1(chosen, worlds, methods, folder / "f1.svg")
    _arrivals(chosen, worlds, methods, folder / "arrival.svg")
    _held(chosen, worlds, folder / "held.svg")
    return ["f1.svg", "arrival.svg", "held.svg"]


def _f1(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str], file: Path) -> None:
    """F1 by sampling, a line a method."""
    figure, axes = pyplot.subplots(1, len(worlds), figsize=(7.2, 2.6), sharey=True, squeeze=False)
    for axis, world in zip(axes[0], worlds, strict=True):
        for colour, name in zip(COLOURS, methods, strict=False):
            of = [figures([r for r in rows if (r.world, r.sampling, r.method) == (world, s, name)]).f1 for s in SAMPLINGS]
            axis.plot(SAMPLINGS, of, marker="o", markersize=3, color=colour, label=name, linewidth=2 if name == "engine" else 1)
        axis.set_title(world)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("F1 of on-site seconds")
    axes[0][-1].legend(fontsize=6)
    _save(figure, file)


def _arrivals(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str], file: Path) -> None:
    """The share of arrivals that are no further off than so many seconds; who names none is off by everything."""
    figure, axes = pyplot.subplots(1, 2 * len(worlds), figsize=(9.6, 2.6), sharey=True, squeeze=False)
    cells = [(world, sampling) for world in worlds for sampling in SAMPLINGS[:2]]
    for axis, (world, sampling) in zip(axes[0], cells, strict=True):
        for colour, name in zip(COLOURS, methods, strict=False):
            own = [r.arrival_s for r in rows if (r.world, r.sampling, r.method) == (world, sampling, name)]
            error = np.array([np.inf if value is None else abs(value) for value in own])
            axis.plot(
                ERROR_S, [np.mean(error <= s) if len(error) else np.nan for s in ERROR_S], color=colour, label=name, linewidth=1
            )
        axis.set_xscale("log")
        axis.set_title(f"{world}, {sampling}")
        axis.set_xlabel("error of arrival, s")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("share of visits")
    axes[0][-1].legend(fontsize=6)
    _save(figure, file)


def _held(rows: Sequence[Row], worlds: Sequence[str], file: Path) -> None:
    """How many of the 90 % intervals hold the truth, by surroundings and sampling, with the band in which they should."""
    figure, axes = pyplot.subplots(1, len(worlds), figsize=(7.2, 2.6), sharey=True, squeeze=False)
    for axis, world in zip(axes[0], worlds, strict=True):
        axis.axhspan(0.87, 0.93, color="#1a7f37", alpha=0.2)
        for k, sampling in enumerate(SAMPLINGS):
            for where, marker in zip(SURROUNDINGS, "os^d", strict=True):
                key = (world, sampling, where, "engine")
                own = [r for r in rows if (r.world, r.sampling, r.surroundings, r.method) == key]
                if len(own) >= 20:
                    for what, (share, colour) in enumerate(zip(figures(own).held, COLOURS[:3], strict=True)):
                        axis.plot(k + 0.2 * (what - 1), share, marker, color=colour, markersize=3)
        axis.set_xticks(range(len(SAMPLINGS)), SAMPLINGS)
        axis.set_title(world)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("intervals that hold the truth")
    for colour, name in zip(COLOURS, ("arrival", "departure", "seconds"), strict=False):
        axes[0][-1].plot([], [], "o", color=colour, markersize=3, label=name)
    for marker, name in zip("os^d", SURROUNDINGS, strict=True):
        axes[0][-1].plot([], [], marker, color="#57606a", markersize=3, label=name)
    axes[0][-1].legend(fontsize=6, ncols=2)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
