"""Scores the engine, and what it is compared with, on visits whose truth is known."""

import argparse
import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.accuracy import baselines, page, publish, run
from bench.accuracy.case import SAMPLINGS
from bench.accuracy.drift_phone import PLAIN, Bend
from geofence.policy import Policy

WORLDS = ("town", "drift")
TOWN_WORKERS, DRIFT_VISITS = 16, 220
"""Of one seed and sampling; about as many visits in either world."""


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    options.add_argument("--seeds", default="1-3", help="A-B, both included: 1 to 99 are for fitting, from 1000 on for publishing")
    options.add_argument("--quick", action="store_true", help="one small seed: under a minute on one core")
    options.add_argument("--publish", action="store_true", help="write docs/accuracy.md and its pictures; 12 min on two cores")
    options.add_argument("--cheats", action="store_true", help="only visits in which she was not there, and how they are judged")
    options.add_argument("--cheat-seeds", help="A-B for the visits without the worker of the page; those of --seeds if not given")
    options.add_argument("--worlds", default=",".join(WORLDS), help="town, drift")
    options.add_argument("--samplings", default=",".join(SAMPLINGS), help=", ".join(SAMPLINGS))
    options.add_argument("--methods", default="", help="baselines beside the engine: " + ", ".join(METHODS) + ", or all")
    options.add_argument("--policy", type=Path, help="a JSON file with the fields of a policy that differ from the default's")
    options.add_argument("--json", type=Path, help="write each visit's errors, truth and answer there, one JSON object a line")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    began = time.monotonic()
    seeds = _seeds("1" if chosen.quick else chosen.seeds)
    worlds = tuple(chosen.worlds.split(","))
    methods = METHODS if chosen.methods == "all" else tuple(name for name in chosen.methods.split(",") if name)
    for name in methods:
        baselines.method(name)  # What is missing is said before anything is computed.
    if chosen.publish and importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("--publish needs matplotlib: uv sync --group bench")
    with (chosen.json or Path(os.devnull)).open("wb") as kept:
        rows = run.run(_tasks(chosen, seeds, worlds, methods, cheats=chosen.cheats), chosen.processes, kept.write)
    if chosen.publish:
        cheat_seeds = _seeds(chosen.cheat_seeds or chosen.seeds)
        cheats = run.run(_tasks(chosen, cheat_seeds, worlds, (), cheats=True), chosen.processes, lambda _: None)
        bent = {
            name: run.run(_tasks(chosen, seeds[:1], ("drift",), (), bend=bend), chosen.processes, lambda _: None)
            for name, bend in BENDS.items()
        }
        command = shlex.join(("python", "-m", "bench.accuracy", *sys.argv[1:]))
        how = publish.Run(
            command=command,
            seeds=seeds,
            cheat_seeds=cheat_seeds,
            elapsed_s=time.monotonic() - began,
            worlds=worlds,
            methods=("engine", *methods),
        )
        publish.write(rows, cheats, bent, how)
    print(page.cheats(rows, worlds) if chosen.cheats else page.summary(rows, worlds, ("engine", *methods)))
    print(f"\n{len(rows)} answers in {time.monotonic() - began:.0f} s")


def _tasks(
    chosen: argparse.Namespace,
    seeds: range,
    worlds: Sequence[str],
    methods: tuple[str, ...],
    *,
    cheats: bool = False,
    bend: Bend = PLAIN,
) -> list[run.Task]:
    """Every seed in every world with every sampling; of a bent world the two that have targets."""
    wanted = [sampling for sampling in SAMPLINGS if sampling in chosen.samplings.split(",")]
    samplings = wanted if bend is PLAIN else [sampling for sampling in wanted if sampling in page.TARGETS]
    policy = msgspec.json.decode(chosen.policy.read_bytes(), type=Policy) if chosen.policy else Policy()
    share = 0.6 if chosen.quick else 1.0
    return [
        run.Task(
            world="town" if world == "town" else "drift",
            seed=seed,
            sampling=sampling,
            size=round(share * (TOWN_WORKERS if world == "town" else DRIFT_VISITS)),
            policy=policy,
            methods=methods,
            keep=chosen.json is not None and not chosen.publish,
            cheats=cheats,
            bend=bend,
        )
        for seed in seeds
        for world in worlds
        for sampling in samplings
    ]


BENDS = {
    "errors indoors halved": Bend(indoors=0.5),
    "errors indoors doubled": Bend(indoors=2.0),
    "errors indoors tripled": Bend(indoors=3.0),
    "errors outdoors doubled": Bend(outdoors=2.0),
    "errors outdoors times four": Bend(outdoors=4.0),
    "radii understated, times 0.4": Bend(radius=0.4),
    "radii overstated, times 2.5": Bend(radius=2.5),
}
METHODS = (*baselines.RULES, *baselines.LIBRARIES)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    main()
