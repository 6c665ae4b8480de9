"""What will be done to the house, drawn first, as data, from the seed; then printed; then done.

A storm is a list of faults, one after the other. Each waits a drawn moment and until work is in flight, strikes, and is over after
a drawn time; the next may come before that.
"""

import random
import shlex
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal[
    "kill ingest",
    "kill verify",
    "kill api",
    "kill broker",
    "kill database",
    "forget sessions",
    "lose COMMIT answer",
    "cut phones",
    "cut broker",
    "cut database",
    "stall broker",
    "stall database",
    "slice",
]
CUTS: tuple[Kind, ...] = ("cut phones", "cut broker", "cut database")
MOST_S: dict[str, float] = {"kill": 1.0, "stall": 1.5, "slice": 2.0}
"""How long a fault lasts at most, by its first word; the others are over at once."""


class Options(Struct, frozen=True, kw_only=True):
    """What a storm is made of. The defaults are the short form, which CI runs."""

    seed: int = 1
    minutes: float = 0.0
    minutes_most: float = 60.0
    pause: float = 0.8
    phones: int = 24
    judged: int = 6
    rate: int = 800
    patience: float = 2.0
    poison: int = 10
    ingestors: int = 2
    kills_ingest: int = 3
    kills_verify: int = 1
    kills_api: int = 1
    kills_broker: int = 1
    kills_database: int = 1
    forgets: int = 1
    cuts: int = 3
    stalls: int = 2
    slices: int = 1
    lost_commits: int = 2

    def command(self) -> str:
        """What repeats this run."""
        changed = {name: value for name, value in msgspec.structs.asdict(self).items() if value != getattr(Options(), name)}
        given = [f"--{name.replace('_', '-')} {value}" for name, value in changed.items() if name != "seed"]
        return " ".join(["python -m tests.torture", f"--seed {self.seed}", *given])

    def counts(self) -> dict[Kind, int]:
        return {
            "kill ingest": self.kills_ingest,
            "kill verify": self.kills_verify,
            "kill api": self.kills_api,
            "kill broker": self.kills_broker,
            "kill database": self.kills_database,
            "forget sessions": self.forgets,
            "lose COMMIT answer": self.lost_commits,
            **{kind: self.cuts // len(CUTS) + (k < self.cuts % len(CUTS)) for k, kind in enumerate(CUTS)},
            "stall broker": self.stalls // 2 + self.stalls % 2,
            "stall database": self.stalls // 2,
            "slice": self.slices,
        }


class Fault(Struct, frozen=True, kw_only=True):
    """`after_s` is counted from the blow before; `for_s` is how long it lasts; `which` picks one of several."""

    kind: Kind
    after_s: float
    for_s: float
    which: int

    def __str__(self) -> str:
        return f"{self.kind} (after {self.after_s:.2f} s, for {self.for_s:.2f} s, {self.which})"


class Plan(Struct, frozen=True, kw_only=True):
    """The whole of it."""

    options: Options
    faults: tuple[Fault, ...]

    @classmethod
    def draw(cls, options: Options) -> "Plan":
        rng = random.Random(options.seed)
        kinds = [kind for kind, count in options.counts().items() for _ in range(count)]
        rng.shuffle(kinds)
        faults = [
            Fault(
                kind=kind,
                after_s=round(rng.uniform(0.0, options.pause), 3),
                for_s=round(rng.uniform(0.0, MOST_S.get(kind.split()[0], 0.0)), 3),
                which=rng.randrange(1_000),
            )
            for kind in kinds
        ]
        return cls(options=options, faults=tuple(faults))

    def __str__(self) -> str:
        lines = [shlex.join(shlex.split(self.options.command())), msgspec.json.encode(self.options).decode()]
        counted = ", ".join(f"{count} × {kind}" for kind, count in self.options.counts().items() if count)
        shown = [f"{k + 1:4} {fault}" for k, fault in enumerate(self.faults[:60])]
        more = [f"     ... and {len(self.faults) - 60} more, drawn from the same seed"] if len(self.faults) > 60 else []
        return "\n".join([*lines, f"{len(self.faults)} faults: {counted}", *shown, *more])
