"""Page: what a run showed, as tables in English, on the terminal and in docs/accuracy.md."""

import math
from collections.abc import Iterable, Sequence

from bench.accuracy.case import AWAY, SAMPLINGS
from bench.accuracy.score import SEEN_SHARE, Figures, Row, causes, confusion, figures

SURROUNDINGS = ("open", "house", "canyon", "flats")
SCENARIOS = ("on_time", "late", "early_leave", "long_break", "forgotten_check_out", "no_show", "next_door", "wrong_site", "spoofer")
VERDICTS = ("verified", "partial", "contradicted", "unknown")
SERVED_S = 600.0
"""Who was there for less did not serve, whatever was meant; who was there for longer did [words.md: 10 min]."""


def headline(rows: Iterable[Row]) -> list[Row]:
    """The visits on which accuracy can be asked for: served, seen to 95 %, by a phone whose clock is right."""
    return [r for r in rows if r.true_s >= SERVED_S and r.true_share >= SEEN_SHARE and "clock_skew" not in r.faults]


def wrongly_verified(rows: Iterable[Row]) -> list[Row]:
    """Verified, and she was not there."""
    return [r for r in rows if r.verdict == "verified" and r.true_s < SERVED_S]


def wrongly_contradicted(rows: Iterable[Row]) -> list[Row]:
    """Contradicted, and she was there in the planned time."""
    return [r for r in rows if r.verdict == "contradicted" and r.planned_there_s >= SERVED_S]


def accuracy(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str]) -> str:
    """By world, sampling, surroundings and method."""
    lines = [
        "| world | fixes | surroundings | method | visits | F1 | arrival s | departure s | duration % |",
        "|---|---|---|---|--:|--:|--:|--:|--:|",
    ]
    chosen = headline(rows)
    for world in worlds:
        for sampling in SAMPLINGS:
            for where in ("all", *SURROUNDINGS):
                for name in methods:
                    own = [r for r in chosen if (r.world, r.sampling, r.method) == (world, sampling, name)]
                    own = own if where == "all" else [r for r in own if r.surroundings == where]
                    if own and (where == "all" or name == "engine"):
                        lines.append(_accuracy_line((world, sampling, where, name), figures(own)))
    return "\n".join(lines)


def calibration(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """Of the 90 % intervals, how many hold the truth, and how wide they are."""
    lines = [
        "| world | fixes | visits | arrival held | departure held | seconds held | widths, s |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            own = [r for r in headline(rows) if (r.world, r.sampling, r.method) == (world, sampling, "engine")]
            if own:
                of = figures(own)
                held = " | ".join(_percent(share, 1) for share in of.held)
                widths = " / ".join(_number(width, 0) for width in of.width_s)
                lines.append(f"| {world} | {sampling} | {of.visits} | {held} | {widths} |")
    return "\n".join(lines)


def verdicts(rows: Sequence[Row], world: str) -> str:
    """Behaviour by verdict, all samplings together."""
    counted = confusion(r for r in rows if r.method == "engine" and r.world == world)
    lines = [f"| {world} | visits | {' | '.join(VERDICTS)} |", f"|---|--:|{'--:|' * len(VERDICTS)}"]
    lines += [
        f"| {name} | {counted[name].total()} | {' | '.join(str(counted[name][verdict]) for verdict in VERDICTS)} |"
        for name in SCENARIOS
        if name in counted
    ]
    return "\n".join(lines)


def wrongs(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """Who was verified and not there, who was contradicted and there."""
    lines = [
        "| world | fixes | not there | verified | there | contradicted |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            own = [r for r in rows if (r.world, r.sampling, r.method) == (world, sampling, "engine")]
            if own:
                absent, there = (sum(r.true_s < SERVED_S for r in own), sum(r.planned_there_s >= SERVED_S for r in own))
                bad, unjust = len(wrongly_verified(own)), len(wrongly_contradicted(own))
                lines.append(f"| {world} | {sampling} | {absent} | {bad} | {there} | {unjust} |")
    return "\n".join(lines)


def coverage(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """Error of coverage, and the share of unmonitored seconds whose cause is right."""
    lines = [
        "| world | fixes | visits | within 0.5 points | median | p95 | cause right |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            own = [r for r in rows if (r.world, r.sampling, r.method) == (world, sampling, "engine")]
            errors = sorted(abs(r.coverage_points) for r in own if r.coverage_points is not None)
            if errors:
                within = sum(error <= 0.5 for error in errors) / len(errors)
                middle, far = errors[len(errors) // 2], errors[int(0.95 * len(errors))]
                shares = f"{_percent(within, 1)} | {middle:.2f} | {far:.2f} | {_percent(_right(own), 1)}"
                lines.append(f"| {world} | {sampling} | {len(errors)} | {shares} |")
    return "\n".join(lines)


def why(rows: Sequence[Row], world: str) -> str:
    """True cause by told cause, in seconds; `seen` is where the other has a gap and this one has none."""
    counted = causes(r for r in rows if r.method == "engine" and r.world == world)
    true = sorted({pair[0] for pair in counted})
    told = sorted({pair[1] for pair in counted})
    lines = [f"| {world}: true \\ told | {' | '.join(told)} |", f"|---|{'--:|' * len(told)}"]
    lines += [f"| {name} | {' | '.join(f'{counted.get((name, other), 0.0):.0f}' for other in told)} |" for name in true]
    return "\n".join(lines)


def summary(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str]) -> str:
    """Everything, for the terminal."""
    parts = [accuracy(rows, worlds, methods), calibration(rows, worlds), wrongs(rows, worlds), coverage(rows, worlds)]
    parts += [verdicts(rows, world) for world in worlds] + [why(rows, world) for world in worlds]
    return "\n\n".join(parts)


def cheats(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """What becomes of the visits in which she was elsewhere."""
    return "\n\n".join((wrongs(rows, worlds), *(by_manner(rows, world) for world in worlds)))


def by_manner(rows: Iterable[Row], world: str) -> str:
    """Verdicts of those who were elsewhere by what they did; who passed through for ten minutes is left out."""
    own = [r for r in rows if r.behaviour in AWAY and r.method == "engine" and r.world == world and r.true_s < SERVED_S]
    lines = [f"| {world} | fixes | visits | {' | '.join(VERDICTS)} |", f"|---|---|--:|{'--:|' * len(VERDICTS)}"]
    for kind in sorted({(r.behaviour, r.manner) for r in own}):
        for sampling in SAMPLINGS:
            told = [r.verdict for r in own if (r.behaviour, r.manner) == kind and r.sampling == sampling]
            if told:
                name = f"{kind[0]}, {kind[1]}" if kind[1] else kind[0]
                lines.append(f"| {name} | {sampling} | {len(told)} | {' | '.join(str(told.count(v)) for v in VERDICTS)} |")
    return "\n".join(lines)


def _accuracy_line(keys: Sequence[str], of: Figures) -> str:
    errors = f"{_pair(of.arrival_s)} | {_pair(of.departure_s)} | {_pair(tuple(100 * x for x in of.duration_share), 2)}"
    return f"| {' | '.join(keys)} | {of.visits} | {_number(of.f1, 4)} | {errors} |"


def _right(rows: Iterable[Row]) -> float:
    """Of the seconds that truth and answer both call unmonitored, the share with the right cause."""
    both = {pair: length_s for pair, length_s in causes(rows).items() if "seen" not in pair}
    total = sum(both.values())
    return sum(length_s for (true, told), length_s in both.items() if true == told) / total if total else math.nan


def _pair(values: Sequence[float], digits: int = 0) -> str:
    return " / ".join(_number(value, digits) for value in values)


def _percent(share: float, digits: int = 0) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
