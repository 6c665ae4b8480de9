"""Files: a day written down, without any network. JSON Lines where there are many.

options.json    seed and options: enough to make the same day again
plans.json      the body of POST /v1/plans
trouble.json    conducts and faults as they were drawn
reports.jsonl   every delivery in the order of time: deliverable_at, topic, retain, payload
truth.jsonl     one visit a line (times in epoch seconds)
trails.jsonl    one worker a line: the real way as [t, lon, lat] corners
"""

import heapq
from pathlib import Path

import msgspec

from device_sim.simulate import Day


def write(day: Day, folder: Path) -> int:
    """Write all files; the number of reports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.json").write_bytes(msgspec.json.encode({"seed": day.seed, "options": day.options}) + b"\n")
    (folder / "plans.json").write_bytes(msgspec.json.encode(day.plans()) + b"\n")
    (folder / "trouble.json").write_bytes(msgspec.json.encode(day.trouble) + b"\n")
    write_truth(day, folder / "truth.jsonl")
    _write_trails(day, folder / "trails.jsonl")
    count = 0
    merged = heapq.merge(*(feed.reports() for feed in day.feeds), key=lambda report: report.deliverable_at)
    with (folder / "reports.jsonl").open("wb") as out:
        for report in merged:
            row = {
                "deliverable_at": round(report.deliverable_at, 3),
                "topic": report.topic,
                "retain": report.retain,
                "payload": report.payload,
            }
            out.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def write_truth(day: Day, path: Path, *, append: bool = False) -> None:
    """One visit a line."""
    with path.open("ab" if append else "wb") as out:
        for told in day.truth:
            out.write(msgspec.json.encode(told) + b"\n")


def _write_trails(day: Day, path: Path) -> None:
    with path.open("wb") as out:
        for worker, trail in zip(day.world.workers, day.trails, strict=True):
            lon, lat = day.world.frame.lonlat(trail.x, trail.y)
            rows = [
                [round(t, 1), round(x, 7), round(y, 7)]
                for t, x, y in zip(trail.t.tolist(), lon.tolist(), lat.tolist(), strict=True)
            ]
            out.write(msgspec.json.encode({"worker": worker.id, "trail": rows}) + b"\n")
