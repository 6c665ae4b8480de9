"""Recordings on disk: which files there are, whose they are, what they hold, and the stream of what is to be sent of them.

Rules kept here:

- A file is read twice, once to survey it and once to send it, and never held in memory.
- A *lane* is what one file says of one worker (or one phone, for OwnTracks). It counts its own `seq` from 1, and its `epoch` is
  made of the file's content, the worker and what was changed on the way (shift, datum): to import the same file again is to send
  the same reports again, and the system keeps one of each.
- Whose a file is: the file's own `worker` column says it, else `--worker`, else the name of its folder (GeoLife's user folder
  `001` is `geolife-001`).
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from sitewatch import traces
from sitewatch.traces import BadLine, Message, Point

Crs = Literal["wgs84", "gcj02", "bd09"]

SUFFIXES = (*traces.READERS, ".rec")


class CannotImportError(Exception):
    """The import cannot begin; the text says why and what to do, for the person at the terminal."""


class Whose(Struct, frozen=True, kw_only=True):
    """What the command line says of ownership: a worker's id, and an OwnTracks `user/device`."""

    worker: str | None = None
    owntracks: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    """What is changed on the way: seconds added to every time, and the datum that the recording is in."""

    shift_s: float = 0.0
    crs: Crs = "wgs84"


class Recording(Struct, frozen=True, kw_only=True):
    """A surveyed file. `reports` counts usable lines by owner, in the order of first appearance."""

    path: Path
    digest: bytes
    owner: str
    reports: dict[str, int]
    first_at: float
    last_at: float
    oldest_at: float
    bad: tuple[BadLine, ...]

    @property
    def receipted(self) -> bool:
        """Whether what is sent of it carries `seq`, so that the system answers with receipts."""
        return self.path.suffix.lower() != ".rec"


class Lane:
    """One owner's reports of one file: how many there are, what was sent, and through which seq it is known to be kept."""

    def __init__(self, recording: Recording, owner: str, change: Change) -> None:
        self.owner = owner
        self.receipted = recording.receipted
        self.total = recording.reports[owner]
        told = f"{owner}\0{change.shift_s:.3f}\0{change.crs}".encode()
        self.epoch = int.from_bytes(hashlib.blake2b(recording.digest + told, digest_size=6).digest(), "big") or 1
        self.sent = 0
        self.through = 0
        self.confirmed = False
        """Whether `through` is the system's own word, or still what the progress file remembers."""

    @property
    def key(self) -> str:
        return f"{self.owner}/{self.epoch}"


class Report(Struct, frozen=True):
    """One report ready to go: `topic` is what follows the prefix of its dialect."""

    at: float
    lane: Lane
    seq: int
    topic: str
    payload: bytes


class _Fix(Struct, omit_defaults=True):
    """The wire's position (docs/wire.md)."""

    at: float
    lon: float
    lat: float
    seq: int
    epoch: int
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    battery: float | None = None
    mock: bool | None = None
    crs: Crs = "wgs84"


# Finding and surveying -----------------------------------------------------------------------------------------------------------


def find(paths: Sequence[Path]) -> list[Path]:
    """The recordings among `paths`, folders searched to the bottom, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif not path.exists():
            raise CannotImportError(f"{path} does not exist.")
        elif path.suffix.lower() not in SUFFIXES:
            raise CannotImportError(f"{path} is none of the kinds that can be read: {' '.join(SUFFIXES)}.")
        else:
            found.append(path)
    if not found:
        raise CannotImportError(f"No recording ({' '.join(SUFFIXES)}) in {', '.join(map(str, paths))}.")
    return list(dict.fromkeys(found))


def survey(path: Path, whose: Whose) -> Recording:
    """Read a file once and say what it holds. Raises CannotImportError when nobody can be found whose it is."""
    digest = hashlib.blake2b(digest_size=16)
    counts: dict[str, int] = {}
    bad: list[BadLine] = []
    first_at, last_at, oldest_at = float("inf"), float("-inf"), float("inf")
    owner = _owner(path, whose)
    with path.open("rb") as file:
        for found in _values(path, _told(file, digest.update)):
            if isinstance(found, BadLine):
                bad.append(found)
                continue
            owned = _whose(found, owner, path)
            counts[owned] = counts.get(owned, 0) + 1
            first_at, last_at = min(first_at, found.at), max(last_at, found.at)
            oldest_at = min(oldest_at, found.said_at if isinstance(found, Message) else found.at)
    return Recording(
        path=path,
        digest=digest.digest(),
        owner=owner,
        reports=counts,
        first_at=first_at,
        last_at=last_at,
        oldest_at=oldest_at,
        bad=tuple(bad),
    )


def _told(lines: Iterable[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    for line in lines:
        update(line)
        yield line


def _values(path: Path, lines: Iterable[bytes]) -> Iterator[Point | Message | BadLine]:
    suffix = path.suffix.lower()
    return traces.owntracks(lines) if suffix == ".rec" else traces.READERS[suffix](lines)


def _owner(path: Path, whose: Whose) -> str:
    """Whose the lines are that do not say it themselves; empty where only a line itself can say it."""
    folder = path.resolve().parent
    if path.suffix.lower() == ".rec":
        return whose.owntracks or _recorder_phone(folder)
    if whose.worker:
        return whose.worker
    if path.suffix.lower() == ".plt":
        user = folder.parent.name if folder.name.lower() == "trajectory" else folder.name
        return _id(f"geolife-{user}")
    return "" if path.suffix.lower() == ".csv" else _id(folder.name)


def _recorder_phone(folder: Path) -> str:
    """OwnTracks' recorder keeps `rec/{user}/{device}/2026-11.rec`."""
    return f"{folder.parent.name}/{folder.name}" if folder.parent.parent.name == "rec" else ""


def _whose(found: Point | Message, owner: str, path: Path) -> str:
    if isinstance(found, Message):
        if found.topic.startswith("owntracks/") and found.topic.count("/") >= 2:
            return "/".join(found.topic.split("/")[1:3])
        if owner:
            return owner
        raise CannotImportError(f"{path}:{found.line} does not say which phone it is of: give --owntracks USER/DEVICE.")
    named = found.worker or owner or (_id(path.resolve().parent.name) if path.suffix.lower() == ".csv" else "")
    if not named:
        raise CannotImportError(f"{path}:{found.line} does not say whose it is: give --worker ID.")
    return _id(named)


def _id(name: str) -> str:
    """A worker's id goes into a topic, where `/ + #` mean something else."""
    return "".join("-" if letter in "/+#" or not letter.isprintable() else letter for letter in name.strip())[:128]


# The stream to send -------------------------------------------------------------------------------------------------------------


def lanes(recordings: Iterable[Recording], change: Change) -> dict[tuple[Path, str], Lane]:
    return {(recording.path, owner): Lane(recording, owner, change) for recording in recordings for owner in recording.reports}


def reports(recording: Recording, of: dict[tuple[Path, str], Lane], change: Change) -> Iterator[Report]:
    """What is still to be sent of one file, in its order: nothing that its lane knows to be kept."""
    seqs: dict[str, int] = {}
    with recording.path.open("rb") as file:
        for found in _values(recording.path, file):
            if isinstance(found, BadLine):
                continue
            owner = _whose(found, recording.owner, recording.path)
            seq = seqs[owner] = seqs.get(owner, 0) + 1
            lane = of[recording.path, owner]
            if seq > lane.through:
                yield _message(found, lane, seq, change) if isinstance(found, Message) else _position(found, lane, seq, change)


def _position(point: Point, lane: Lane, seq: int, change: Change) -> Report:
    at = round(point.at + change.shift_s, 3)
    fix = _Fix(
        at=at,
        lon=point.lon,
        lat=point.lat,
        seq=seq,
        epoch=lane.epoch,
        accuracy_m=point.accuracy_m,
        altitude_m=point.altitude_m,
        speed_mps=point.speed_mps,
        heading_deg=point.heading_deg,
        battery=point.battery,
        mock=point.mock,
        crs=change.crs,
    )
    return Report(at, lane, seq, f"workers/{lane.owner}/position", msgspec.json.encode(fix))


def _message(message: Message, lane: Lane, seq: int, change: Change) -> Report:
    late = traces.moved(message, change.shift_s)
    beyond = "" if message.topic.startswith("owntracks/") or not message.topic else f"/{message.topic.strip('/')}"
    own = message.topic if message.topic.startswith("owntracks/") else f"owntracks/{lane.owner}{beyond}"
    return Report(late.at, lane, seq, own, late.payload)


def in_order_of_files(recordings: Sequence[Recording], of: dict[tuple[Path, str], Lane], change: Change) -> Iterator[Report]:
    return chain.from_iterable(reports(recording, of, change) for recording in recordings)


def in_order_of_time(recordings: Sequence[Recording], of: dict[tuple[Path, str], Lane], change: Change) -> Iterator[Report]:
    """All workers side by side as it once happened: one open file a folder, merged by time."""
    ordered = sorted(recordings, key=lambda recording: (str(recording.path.parent), recording.first_at))
    streams = [
        in_order_of_files(list(files), of, change) for _, files in groupby(ordered, key=lambda recording: recording.path.parent)
    ]
    return heapq.merge(*streams, key=lambda report: report.at)


def day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
