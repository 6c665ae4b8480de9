"""Blocks against the decoder: two roads, the same rows, to the bit; and the same tables, receipts and counts behind them."""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from geofence.evidence import Fix
from ingest import block
from ingest.batch import Block, Delivery, Taken
from ingest.commit import Committed, Committer
from ingest.intake import Intake
from ingest.patience import Patience
from ingest.settings import Settings
from ingest.topics import locate
from ingest.wire import Report, decode
from store import evidence, rejects

NOW = 1_795_312_800.25
KINDS = {"int8": ">q", "float8": ">d", "float4": ">f", "bool": "?"}
TABLE = evidence.TABLES[Fix]


class NoSession:
    def acknowledge(self, mids: Sequence[int]) -> None: ...


def delivery(payload: bytes, worker: str = "w-1", received_at: float = NOW) -> Delivery:
    return Delivery(NoSession(), 1, 1, f"sitewatch/v1/workers/{worker}/position", payload, received_at)


def decoded(one: Delivery) -> list[Report]:
    return decode(one.topic, one.payload, one.received_at)


def blocks(deliveries: Sequence[Delivery]) -> list[Block]:
    found = [block.read(locate(one.topic, "sitewatch/v1", "owntracks"), one, decoded) for one in deliveries]
    return [one for one in found if one is not None]


def unpack(content: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of a binary COPY, as PostgreSQL reads them."""
    at = 0
    while at < len(content):
        (columns,) = struct.unpack_from(">h", content, at)
        at += 2
        row: list[Any] = []
        for kind in TABLE.types[:columns]:
            (length,) = struct.unpack_from(">i", content, at)
            raw = content[at + 4 : at + 4 + length] if length >= 0 else None
            at += 4 + max(0, length)
            row.append(raw if raw is None else raw.decode() if kind == "text" else struct.unpack(KINDS[kind], raw)[0])
        assert columns == len(TABLE.types)
        yield tuple(row)


def row(fix: Fix) -> tuple[Any, ...]:
    """The row of a fix, with reals as PostgreSQL keeps them."""
    pairs = zip(TABLE.types, TABLE.row(fix), strict=True)
    return tuple(
        struct.unpack(">f", struct.pack(">f", one))[0] if kind == "float4" and one is not None else one for kind, one in pairs
    )


# Any payload -------------------------------------------------------------------------------------------------------------------

times = st.integers(-(10**8), 10**5).map(lambda s: NOW + s) | st.floats(NOW - 1e6, NOW + 1e5).map(lambda at: round(at, 6))
plain: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {
        "at": times | st.integers(1_700_000_000, 1_795_000_000),
        "lon": st.floats(-180, 180),
        "lat": st.floats(-90, 90),
        "seq": st.integers(1, 40) | st.integers(1, 2**53),
    },
    optional={
        "accuracy_m": st.none() | st.floats(-5, 1e7) | st.sampled_from([0, 0.0, -1]),
        "altitude_m": st.none() | st.floats(-12_000, 100_000) | st.integers(-3, 3),
        "speed_mps": st.none() | st.floats(-1, 10_000) | st.sampled_from([0, 0.0, -1]),
        "heading_deg": st.none() | st.floats(-1, 360) | st.sampled_from([0, 0.0, -1]),
        "battery": st.none() | st.floats(-1, 100) | st.sampled_from([0, 1, 1.0, 100, -1]),
        "mock": st.none() | st.booleans(),
        "mode": st.none() | st.sampled_from(["", "move", "é", "ab"]),
        "crs": st.none() | st.just("wgs84"),
        "epoch": st.none() | st.integers(0, 3),
        "new": st.just({"x": [1]}),
    },
)
odd: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(["at", "lon", "lat", "seq", "epoch", "crs", "mode", "mock", "battery", "accuracy_m"]),
    st.sampled_from(
        [None, 0, -1, 2**70, 1e300, NOW + 1e6, NOW + 0.1234567, "2026-11-22T02:00:00Z", "2026-11-22T02:00:00", "gcj02", "a\0b",
         "x" * 201, "\ud800", True, [], 116.4],
    ),
    min_size=1, max_size=2,
)  # fmt: skip


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    said = draw(st.lists(plain, min_size=1, max_size=12))
    if draw(st.integers(0, 2)) == 0:
        said[draw(st.integers(0, len(said) - 1))] |= draw(odd)
    raw = json.dumps(said).encode()
    return raw[: -draw(st.integers(0, 3)) or None] if draw(st.integers(0, 9)) == 0 else raw


sent = st.lists(st.tuples(st.sampled_from(["w-1", "w-2", "w-17", "é"]), payloads()), min_size=1, max_size=4)


@pytest.mark.filterwarnings("error")
@settings(max_examples=150, deadline=None)
@given(sent)
def test_blocks_hold_the_rows_that_the_decoder_makes_of_the_same_messages(sent: list[tuple[str, bytes]]) -> None:
    deliveries = [delivery(raw, worker, NOW + k) for k, (worker, raw) in enumerate(sent)]
    read = blocks(deliveries)
    event(f"{len(read)} of {len(deliveries)} look like blocks")
    if not read:
        return
    found = block.sort(read)
    event(f"{len(found.odd)} of them are odd")
    taken = [one for one in read if one not in found.odd]
    assert (found.packed is None) == (taken == [])
    if found.packed is None:
        return
    said = [report.said for one in taken for report in decoded(one.delivery)]
    fixes = [one for one in said if isinstance(one, Fix)]
    assert len(fixes) == len(said), "a reject in a block"
    rows = sorted(map(row, fixes), key=lambda one: one[:3])
    assert list(unpack(found.packed.content)) == rows
    spans = [(one.source, one.from_us, one.to_us, one.rows) for one in found.packed.spans]
    assert spans == [span(source, rows) for source in sorted({one[0] for one in rows})]
    numbers = {(source, epoch, seq) for source, epoch, low, high in found.packed.ranges for seq in range(low, high)}
    assert numbers == {(one.source, one.epoch, one.seq) for one in fixes}


def span(source: str, rows: list[tuple[Any, ...]]) -> tuple[str, int, int, int]:
    times = [one[1] for one in rows if one[0] == source]
    return source, min(times), max(times), len(times)


def test_what_is_usual_is_a_block() -> None:
    """Without this the law above could hold for nothing."""
    (read,) = blocks([delivery(outbox(1, 100))])
    found = block.sort([read])
    assert found.odd == []
    assert found.packed is not None
    assert found.packed.rows == 100
    assert found.packed.ranges == [("w-1", 0, 1, 101)]


ODD: dict[str, dict[str, object]] = {
    "not counted": {"seq": None},
    "another datum": {"crs": "gcj02"},
    "NUL": {"mode": "a\0b"},
    "too fine a time": {"at": NOW + 0.1234567},
    "no time zone": {"at": "2026-11-22T02:00:00"},
    "next week": {"at": NOW + 1e6},
    "the end of all numbers": {"at": 1e308},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("worse", ODD.values(), ids=ODD)
def test_a_message_with_something_odd_is_left_to_the_decoder_and_takes_no_other_with_it(worse: dict[str, object]) -> None:
    said = json.loads(outbox(1, 20))
    said[3] |= worse
    read = blocks([delivery(json.dumps(said).encode()), delivery(outbox(1, 20), "w-2")])
    found = block.sort(read)
    assert found.odd == read[:1]
    assert found.packed is not None
    assert [one.source for one in found.packed.spans] == ["w-2"]


def test_where_a_key_is_there_twice_all_is_left_to_the_decoder() -> None:
    found = block.sort(blocks([delivery(outbox(1, 20)), delivery(outbox(20, 20))]))
    assert (found.packed, len(found.odd)) == (None, 2)


# The same tables ---------------------------------------------------------------------------------------------------------------


def outbox(first: int, count: int, lon: float = 24.9) -> bytes:
    numbers = range(first, first + count)
    more: list[dict[str, object]] = [{"speed_mps": 1.5}, {}, {"speed_mps": -1, "mode": "still"}]
    said = [{"at": NOW - 9_000 + k, "lon": lon, "lat": 60.1, "seq": k, **more[k % 3]} for k in numbers]
    return json.dumps(said).encode()


def batches() -> Iterator[list[Delivery]]:
    """All new; with single ones; repeats within and of what is stored; one that the database refuses; odd and broken ones."""
    single = json.dumps({"at": NOW - 8_500.5, "lon": 24.9, "lat": 60.1, "seq": 501}).encode()
    yield [delivery(outbox(1, 30)), delivery(outbox(1, 7), "w-2"), delivery(outbox(101, 30))]
    yield [delivery(outbox(31, 70)), delivery(single), delivery(outbox(8, 10), "w-2"), delivery(b"[]"), delivery(b"[{]")]
    yield [delivery(outbox(200, 10)), delivery(outbox(205, 10))]
    yield [delivery(outbox(100, 80)), delivery(outbox(20, 5), "w-2")]
    yield [
        delivery(outbox(300, 10)),
        delivery(outbox(310, 1, lon=13)[:-1] + b"," + outbox(311, 9)[1:]),
        delivery(outbox(1, 9), "w-3"),
    ]
    yield [delivery(outbox(400, 10)), delivery(b'[{"at": 1, "lon": 1},' + outbox(410, 9)[1:]), delivery(outbox(420, 9)[:-1])]


def taken(deliveries: list[Delivery], *, in_blocks: bool) -> Taken:
    intake = Intake(Settings())
    intake.in_blocks = in_blocks
    intake.receive(deliveries)
    return intake.take()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_either_road_ends_in_the_same_tables(each_database: str, one_by_one: bool) -> None:
    """Also where a batch that has blocks must take the careful road."""
    tables = ("fixes", "sequences", "journal", "rejects")
    shown = {"journal": "sources, from_at, to_at, others", "rejects": "topic, payload, reason, times"}
    ends = []
    with psycopg.connect(each_database, autocommit=True) as connection:
        connection.execute("alter table fixes add constraint no_thirteen check (lon <> 13)")
        for in_blocks in (False, True):
            committer = Committer(connection, Patience(60))
            done: list[Committed] = []
            for batch in batches():
                committer._careful = 0
                for part in [[one] for one in batch] if one_by_one else [batch]:
                    one = taken(part, in_blocks=in_blocks)
                    assert (one.blocks != []) <= in_blocks
                    done.append(committer.commit(one.reports, one.blocks))
                    assert one.rows == done[-1].stored + done[-1].duplicate + done[-1].rejected.total()
            kept = [connection.execute(f"select {shown.get(name, '*')} from {name} order by 1, 2, 3").fetchall() for name in tables]
            ends.append((kept, [(one.stored, one.duplicate, one.rejected, set_of(one)) for one in done]))
            connection.execute(f"truncate {', '.join(tables)}")
    assert ends[0] == ends[1]
    assert [one for _, _, one, _ in ends[0][1] if one["refused_by_database"]], "nothing was refused"


def set_of(done: Committed) -> list[tuple[str, int, int]]:
    return sorted({(one.source, one.epoch, one.through) for one in done.receipts})


def test_what_is_refused_from_a_block_keeps_the_bytes_of_that_fix_alone(database: str) -> None:
    raw = outbox(1, 10)[:-1] + b"," + outbox(11, 1, lon=13)[1:]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("alter table fixes add constraint no_thirteen check (lon <> 13)")
        one = taken([delivery(raw)], in_blocks=True)
        assert (len(one.reports), len(one.blocks)) == (0, 1)
        done = Committer(connection, Patience(60)).commit(one.reports, one.blocks)
        assert (done.stored, done.receipts[-1].through) == (10, 11)
        (reject,) = rejects.newest(connection)
    assert json.loads(reject.payload)["seq"] == 11
