"""Packing: many fixes as the bytes that COPY takes, made of columns at once and not fix by fix.

A row of binary COPY is the number of its columns, then each value behind its length; -1 stands for no value. Rows in which the same
columns have values, and texts are of one length, are of one size, so that they are an array of numpy's whose bytes are what
PostgreSQL reads. There are few such shapes among the fixes of a batch.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from geofence.evidence import Bools, Floats, Ints

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
SHAPES_MAX = 4_096

SOMETIMES = ("accuracy_m", "altitude_m", "speed_mps", "heading_deg", "battery")
COLUMNS = (
    "source", "at", "identity", "received_at", "lon", "lat", *SOMETIMES, "mock", "crs", "raw_lon", "raw_lat", "mode", "trigger",
    "epoch", "seq",
)  # fmt: skip
"""As `store.evidence` copies them into the table of fixes."""


class Columns(Struct, frozen=True, kw_only=True, eq=False):
    """Counted WGS-84 fixes in any order. NaN is no value."""

    sources: Sequence[str]
    """Ascending, each once."""
    source: Ints
    """An index into `sources`."""
    at_us: Ints
    """Like `received_us`, of PostgreSQL's time: `store.evidence.micros`."""
    identity: Ints
    received_us: Ints
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    altitude_m: Floats
    speed_mps: Floats
    heading_deg: Floats
    battery: Floats
    mock: Bools
    modes: Sequence[str | None]
    mode: Ints
    """An index into `modes`."""
    epoch: Ints
    seq: Ints


class Span(Struct, frozen=True):
    """How many rows there are of a source, and the closed span of their times."""

    source: str
    from_us: int
    to_us: int
    rows: int


class Packed(Struct, frozen=True):
    """Rows for COPY, in the order of their key, none twice."""

    content: bytes
    spans: list[Span]
    ranges: list[tuple[str, int, int, int]]
    """Their numbers as `store.sequences` takes them: source, epoch, and a half-open range."""

    @property
    def rows(self) -> int:
        return sum([span.rows for span in self.spans])


def pack(columns: Columns) -> Packed | None:
    """None where a key is there twice. Raises UnicodeError where a text cannot be stored."""
    order = np.lexsort((columns.identity, columns.at_us, columns.source))
    source, at_us, identity = columns.source[order], columns.at_us[order], columns.identity[order]
    if ((np.diff(source) == 0) & (np.diff(at_us) == 0) & (np.diff(identity) == 0)).any():
        return None
    shapes, of_row = np.unique(_shapes(columns)[order], return_inverse=True)
    if len(shapes) == 1:
        content = _rows(columns, int(shapes[0]), order).tobytes()
    else:
        parts = np.empty(len(order), object)
        for number, shape in enumerate(shapes):
            which = np.flatnonzero(of_row == number)
            rows = _rows(columns, int(shape), order[which])
            parts[which] = rows.view(f"V{rows.itemsize}").tolist()
        content = b"".join(parts)
    return Packed(content, _spans(columns.sources, source, at_us), _ranges(columns))


def _shapes(columns: Columns) -> NDArray[np.int64]:
    """Of each row one number that says how long its source is, its mode, and a bit for each value that it has."""
    lengths = np.array([len(source.encode()) for source in columns.sources])
    known = np.zeros(len(columns.source), np.int64)
    for bit, name in enumerate(SOMETIMES):
        known |= (~np.isnan(getattr(columns, name))).astype(np.int64) << bit
    return (lengths[columns.source] * len(columns.modes) + columns.mode) << len(SOMETIMES) | known


def _rows(columns: Columns, shape: int, which: Ints) -> NDArray[np.void]:
    """Those rows, which are all of this shape."""
    length, mode = divmod(shape >> len(SOMETIMES), len(columns.modes))
    known = tuple(name for bit, name in enumerate(SOMETIMES) if shape >> bit & 1)
    kind, template = _template(length, columns.modes[mode], known)
    rows: NDArray[Any] = np.frombuffer(bytearray(template * len(which)), kind)
    of_length = [text if len(text) == length else b"" for text in (source.encode() for source in columns.sources)]
    rows["source"] = np.array(of_length, kind["source"])[columns.source[which]]
    rows["at"] = columns.at_us[which]
    rows["received_at"] = columns.received_us[which]
    for name in ("identity", "lon", "lat", *known, "mock", "epoch", "seq"):
        rows[name] = getattr(columns, name)[which]
    return rows


@lru_cache(SHAPES_MAX)
def _template(length: int, mode: str | None, known: tuple[str, ...]) -> tuple[np.dtype[np.void], bytes]:
    """What lies where in a row, and such a row with all that does not differ."""
    crs, said = b"wgs84", b"" if mode is None else mode.encode()
    kinds = dict.fromkeys(("at", "identity", "received_at", "epoch", "seq"), ">i8")
    kinds |= {"source": f"S{length}", "lon": ">f8", "lat": ">f8", "mock": "?", "crs": f"S{len(crs)}"}
    kinds |= dict.fromkeys(known, ">f4")
    if mode is not None:
        kinds["mode"] = f"S{len(said)}"
    fields = [("columns", ">i2")]
    for name in COLUMNS:
        fields.append((f"length of {name}", ">i4"))
        if name in kinds:
            fields.append((name, kinds[name]))
    row = np.zeros((), np.dtype(fields))
    row["columns"] = len(COLUMNS)
    for name in COLUMNS:
        row[f"length of {name}"] = np.dtype(kinds[name]).itemsize if name in kinds else -1
    row["crs"] = crs
    if mode is not None:
        row["mode"] = said
    return row.dtype, row.tobytes()


def _spans(sources: Sequence[str], source: Ints, at_us: Ints) -> list[Span]:
    """Of rows in the order of their key."""
    last = np.append(np.flatnonzero(np.diff(source)), len(source) - 1)
    first = np.append(0, last[:-1] + 1)
    columns = (source[first].tolist(), at_us[first].tolist(), at_us[last].tolist(), (last - first + 1).tolist())
    return [Span(sources[one], start, end, rows) for one, start, end, rows in zip(*columns, strict=True)]


def _ranges(columns: Columns) -> list[tuple[str, int, int, int]]:
    order = np.lexsort((columns.seq, columns.epoch, columns.source))
    source, epoch, seq = columns.source[order], columns.epoch[order], columns.seq[order]
    ends = (np.diff(seq) > 1) | (np.diff(epoch) != 0) | (np.diff(source) != 0)
    last = np.append(np.flatnonzero(ends), len(seq) - 1)
    first = np.append(0, last[:-1] + 1)
    parts = (source[first].tolist(), epoch[first].tolist(), seq[first].tolist(), (seq[last] + 1).tolist())
    return [(columns.sources[one], era, low, high) for one, era, low, high in zip(*parts, strict=True)]
