"""Page: what a run showed, as tables in English, on the terminal and in docs/accuracy.md."""

import math
from collections.abc import Iterable, Mapping, Sequence

from bench.accuracy.case import AWAY, SAMPLINGS, Sampling
from bench.accuracy.drift_cheats import BEYOND
from bench.accuracy.score import SEEN_SHARE, Figures, Row, causes, confusion, figures

SURROUNDINGS = ("open", "house", "canyon", "flats")
SCENARIOS = ("on_time", "late", "early_leave", "long_break", "forgotten_check_out", "no_show", "next_door", "wrong_site", "spoofer")
VERDICTS = ("verified", "partial", "contradicted", "unknown")
SERVED_S = 600.0
"""Who was there for less did not serve, whatever was meant; who was there for longer did [words.md: 10 min]."""


PAID_SHARE = 0.95
"""Of the planned seconds on site: what a method without error bars would have to show to be paid."""
SHORT_SHARE = 0.85
"""Verified is promised from 90 % on: below this it is wrong beyond what an error bar may excuse."""
HARMLESS = frozenset({"duplicates", "new_epoch"})
"""Faults that take no fix away: a phone that fails for minutes is no phone of a fix every so many seconds."""
TARGETS: dict[Sampling, tuple[float, float, float, float]] = {"10 s": (0.995, 15.0, 0.5, 3.0), "60 s": (0.985, 40.0, 1.5, 6.0)}
"""F1, median seconds of arrival and departure, median and 95th percentile of the duration's error in percent."""


def headline(rows: Iterable[Row]) -> list[Row]:
    """The visits on which accuracy can be asked for: served, seen to 95 %, by a phone with a right clock, and not contested."""
    clear = [r for r in rows if "clock_skew" not in r.faults and not r.contested]
    return [r for r in clear if r.true_s >= SERVED_S and r.true_share >= SEEN_SHARE]


def wrongly_verified(rows: Iterable[Row]) -> list[Row]:
    """Verified, and she was not there; without the cheats that no evidence can tell."""
    return [r for r in rows if r.verdict == "verified" and r.true_s < SERVED_S and r.manner not in BEYOND]


def wrongly_contradicted(rows: Iterable[Row]) -> list[Row]:
    """Contradicted, and she was there in the planned time."""
    return [r for r in rows if r.verdict == "contradicted" and r.planned_there_s >= SERVED_S]


def targets(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """What was asked for and what was reached."""
    lines = [
        "| fixes | world | visits | F1 | arrival, median s | departure, median s | duration, median % | duration, p95 % |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    chosen = [r for r in headline(rows) if r.method == "engine"]
    for sampling, (f1, moment_s, middle, far) in TARGETS.items():
        lines.append(f"| {sampling} | *target* | | ≥ {f1:g} | ≤ {moment_s:g} | ≤ {moment_s:g} | ≤ {middle:g} | ≤ {far:g} |")
        for world in worlds:
            own = [r for r in chosen if (r.world, r.sampling) == (world, sampling)]
            parts = (
                (world, own),
                (f"{world}, without faults", [r for r in own if set(r.faults) <= HARMLESS]),
                (f"{world}, without flats", [r for r in own if r.surroundings != "flats"]),
                (f"{world}, an hour or more", [r for r in own if r.planned_s >= 3600]),
            )
            for name, some in parts:
                of = figures(some)
                moments = f"{_number(of.arrival_s[0], 1)} | {_number(of.departure_s[0], 1)}"
                duration = " | ".join(_number(100 * share, 2) for share in of.duration_share)
                lines.append(f"| {sampling} | {name} | {of.visits} | {_number(of.f1, 4)} | {moments} | {duration} |")
    return "\n".join(lines)


def accuracy(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """The engine's, by world, sampling and surroundings."""
    lines = [
        "| world | fixes | surroundings | visits | F1 | arrival s | departure s | duration % |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    chosen = [r for r in headline(rows) if r.method == "engine"]
    for world in worlds:
        for sampling in SAMPLINGS:
            own = [r for r in chosen if (r.world, r.sampling) == (world, sampling)]
            if own:
                lines.append(_accuracy_line((world, sampling, "all"), figures(own)))
            parts = [(where, [r for r in own if r.surroundings == where]) for where in SURROUNDINGS]
            lines += [_accuracy_line((world, sampling, where), figures(some)) for where, some in parts if some]
    return "\n".join(lines)


def scenarios(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """The engine's, by world, what the worker did, and sampling."""
    lines = [
        "| world | conduct | fixes | visits | F1 | arrival s | departure s | duration % |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    chosen = [r for r in headline(rows) if r.method == "engine"]
    for world in worlds:
        for name in SCENARIOS:
            for sampling in SAMPLINGS:
                own = [r for r in chosen if (r.world, r.behaviour, r.sampling) == (world, name, sampling)]
                if own and name not in AWAY:
                    lines.append(_accuracy_line((world, name, sampling), figures(own)))
    return "\n".join(lines)


def beside(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str]) -> str:
    """All methods, by world and sampling."""
    lines = [
        "| world | fixes | method | visits | F1 | arrival s | departure s | duration % | passed % | denied % |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            for name in methods:
                own = [r for r in rows if (r.world, r.sampling, r.method) == (world, sampling, name)]
                if own:
                    line = _accuracy_line((world, sampling, name), figures(headline(own)))
                    lines.append(f"{line} {_number(100 * _passed(own), 1)} | {_number(100 * _denied(own), 1)} |")
    return "\n".join(lines)


def _passed(rows: Sequence[Row]) -> float:
    """Of the visits without the worker, the share that would be paid. The engine pays what it verifies."""
    absent = [r for r in rows if r.behaviour in AWAY and r.true_s < SERVED_S]
    paid = [r.verdict == "verified" if r.method == "engine" else r.on_share >= PAID_SHARE for r in absent]
    return sum(paid) / len(paid) if paid else math.nan


def _denied(rows: Sequence[Row]) -> float:
    """Of the served visits, the share that would be called absent. The engine does so where it contradicts."""
    served = headline(rows)
    denied = [r.verdict == "contradicted" if r.method == "engine" else r.on_share * r.planned_s < SERVED_S for r in served]
    return sum(denied) / len(denied) if denied else math.nan


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
        "| world | fixes | not there | verified | there | contradicted | verified with less than 85 % of the plan served |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            own = [r for r in rows if (r.world, r.sampling, r.method) == (world, sampling, "engine")]
            if own:
                absent = sum(r.true_s < SERVED_S and r.manner not in BEYOND for r in own)
                there = sum(r.planned_there_s >= SERVED_S for r in own)
                bad, unjust = len(wrongly_verified(own)), len(wrongly_contradicted(own))
                short = sum(r.verdict == "verified" and SERVED_S <= r.true_s < SHORT_SHARE * r.planned_s for r in own)
                lines.append(f"| {world} | {sampling} | {absent} | {bad} | {there} | {unjust} | {short} |")
    return "\n".join(lines)


def coverage(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """Error of coverage, and the share of unmonitored seconds whose cause is right."""
    lines = [
        "| world | fixes | phone | visits | within 0.5 points | median | p95 | cause right |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for world in worlds:
        for sampling in SAMPLINGS:
            for kind in ("honest", "spoofed", "wrong clock"):
                own = [r for r in rows if (r.world, r.sampling, r.method) == (world, sampling, "engine")]
                own = [r for r in own if _phone(r) == kind]
                if errors := sorted(abs(r.coverage_points) for r in own if r.coverage_points is not None):
                    within = sum(error <= 0.5 for error in errors) / len(errors)
                    middle, far = errors[len(errors) // 2], errors[int(0.95 * len(errors))]
                    shares = f"{_percent(within, 1)} | {middle:.2f} | {far:.2f} | {_percent(_right(own), 1)}"
                    lines.append(f"| {world} | {sampling} | {kind} | {len(errors)} | {shares} |")
    return "\n".join(lines)


def _phone(row: Row) -> str:
    if "clock_skew" in row.faults:
        return "wrong clock"
    return "spoofed" if row.behaviour == "spoofer" else "honest"


def why(rows: Sequence[Row], world: str) -> str:
    """True cause by told cause, in seconds, where the clock is right; `seen` is where the other has a gap and this one has none."""
    counted = causes(r for r in rows if r.method == "engine" and r.world == world and "clock_skew" not in r.faults)
    true = sorted({pair[0] for pair in counted})
    told = sorted({pair[1] for pair in counted})
    lines = [f"| {world}: true \\ told | {' | '.join(told)} |", f"|---|{'--:|' * len(told)}"]
    lines += [f"| {name} | {' | '.join(f'{counted.get((name, other), 0.0):.0f}' for other in told)} |" for name in true]
    return "\n".join(lines)


def summary(rows: Sequence[Row], worlds: Sequence[str], methods: Sequence[str]) -> str:
    """Everything, for the terminal."""
    parts = [targets(rows, worlds), accuracy(rows, worlds), scenarios(rows, worlds)]
    parts += [beside(rows, worlds, methods)] if len(methods) > 1 else []
    parts += [calibration(rows, worlds), wrongs(rows, worlds), coverage(rows, worlds)]
    parts += [verdicts(rows, world) for world in worlds] + [why(rows, world) for world in worlds]
    return "\n\n".join(parts)


def cheats(rows: Sequence[Row], worlds: Sequence[str]) -> str:
    """What becomes of the visits in which she was elsewhere."""
    return "\n\n".join((wrong_line(rows), wrongs(rows, worlds), *(by_manner(rows, world) for world in worlds)))


def bent(rows: Mapping[str, Sequence[Row]]) -> str:
    """The engine in the drift world as it is and bent, by what was done to it."""
    lines = [
        "| drift | fixes | visits | F1 | arrival s | departure s | duration % | held | verified, not there | contradicted, there |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    for name, some in rows.items():
        for sampling in SAMPLINGS:
            if own := [r for r in some if r.sampling == sampling]:
                of = figures(headline(own))
                wrong = sum(r.behaviour != "spoofer" for r in wrongly_verified(own))
                held = " / ".join(_percent(share) for share in of.held)
                lines.append(f"{_accuracy_line((name, sampling), of)} {held} | {wrong} | {len(wrongly_contradicted(own))} |")
    return "\n".join(lines)


def wrong_line(rows: Sequence[Row]) -> str:
    """How many visits without the worker there were, and how many of them were verified."""
    absent = [r for r in rows if r.behaviour in AWAY and r.true_s < SERVED_S]
    beyond = [r for r in absent if r.manner in BEYOND]
    bad = len([r for r in wrongly_verified(rows) if r.behaviour in AWAY])
    served = sum(r.planned_there_s >= SERVED_S for r in rows)
    unjust = len(wrongly_contradicted(rows))
    paid = sum(r.verdict == "verified" for r in beyond)
    return (
        f"{len(absent) - len(beyond)} visits in which she was elsewhere: {bad} `verified`. {served} served ones beside them: "
        f"{unjust} `contradicted`. {len(beyond)} more by cheats that no evidence of a phone can tell "
        f"({', '.join(sorted(BEYOND))}): {paid} `verified`."
    )


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
