"""Blocks: messages full of counted fixes, read and packed for COPY at once, without a value for each fix. Pure.

A phone that was out of reach for an hour sends its outbox in arrays. Read and stored one by one its fixes cost some 5 µs of Python
each; in blocks a third of that.

Rules kept here:

- A block is only another road for what `wire.decode` would make of the message: the same rows, to the bit. It is taken where
  nothing is odd. A message with anything else in it (an element that cannot be taken, or is not counted, or is in another datum) is
  left to the decoder.
- Every block can be made into its reports: where the database does not take it as it is, they go the careful road.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from math import inf, nan

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.json import Decoder

from geofence.evidence import Bools, Floats, Ints
from ingest import native
from ingest.batch import Block, Decode, Delivery, Sorted
from ingest.limits import AHEAD_MAX_S, EARLIEST_AT, Refusal, instant
from ingest.topics import Address, NoEvidence, Unplaced
from ingest.wire import ELEMENTS_MAX
from store.evidence import POSTGRES_EPOCH_S
from store.packing import Columns, pack

ROWS_MIN = 4
"""Arrays with fewer are as fast one by one."""

_positions = Decoder(list[native.Position])


class Flat(Struct, frozen=True):
    """What several blocks say, one after the other. Of each fix: the number of its block, its times, and whether nothing is odd."""

    said: list[native.Position]
    block: Ints
    at: Floats
    received_at: Floats
    plain: Bools


def read(where: Address | NoEvidence | Unplaced, delivery: Delivery, decode: Decode) -> Block | None:
    """The block in a message, if it looks like one."""
    if not isinstance(where, Address) or where.kind != "position" or delivery.payload[:1] != b"[":
        return None
    try:
        said = _positions.decode(delivery.payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return Block(delivery, where.source, said, decode) if ROWS_MIN <= len(said) <= ELEMENTS_MAX else None


def sort(blocks: list[Block]) -> Sorted:
    """Packs what is not odd."""
    if not blocks:
        return Sorted(None, [])
    flat = _flatten(blocks)
    numbers = set(flat.block[~flat.plain].tolist())
    odd = [block for number, block in enumerate(blocks) if number in numbers]
    if odd:
        blocks = [block for number, block in enumerate(blocks) if number not in numbers]
        flat = _flatten(blocks)
    if not blocks:
        return Sorted(None, odd)
    try:
        packed = pack(_columns(blocks, flat))
    except UnicodeError:
        packed = None
    return Sorted(packed, odd if packed else odd + blocks)


def _flatten(blocks: Sequence[Block]) -> Flat:
    said = list(chain.from_iterable([block.said for block in blocks]))
    block = np.repeat(np.arange(len(blocks)), [len(block.said) for block in blocks])
    received_at = np.array([block.delivery.received_at for block in blocks])[block]
    at = _instants(said, received_at)
    plain = [
        one.seq is not None and (one.crs is None or one.crs == "wgs84") and (one.mode is None or "\0" not in one.mode)
        for one in said
    ]  # fmt: skip
    return Flat(said, block, at, received_at, np.array(plain, bool) & ~np.isnan(at))


def _instants(said: Sequence[native.Position], received_at: Floats) -> Floats:
    """As `limits.instant` takes them; NaN where it would have to round one, or refuse it."""
    at = np.array([one.at if type(one.at) is float else _instant(one.at) for one in said])
    at = np.where((at >= EARLIEST_AT) & (at <= received_at + AHEAD_MAX_S), at, np.nan)
    return np.where(np.rint(at * 1e6) / 1e6 == at, at, np.nan)


def _instant(at: datetime | float) -> float:
    try:
        return instant(at, inf)
    except Refusal:
        return nan


def _columns(blocks: Sequence[Block], flat: Flat) -> Columns:
    said = flat.said
    sources = sorted({block.source for block in blocks})
    number = {source: k for k, source in enumerate(sources)}
    modes = list({one.mode for one in said})
    number_of_mode = {mode: k for k, mode in enumerate(modes)}
    epoch = [one.epoch or 0 for one in said]
    seq = [one.seq or 0 for one in said]
    accuracy_m = _numbers([one.accuracy_m for one in said])
    battery = _numbers([one.battery for one in said])
    return Columns(
        sources=sources,
        source=np.array([number[block.source] for block in blocks])[flat.block],
        at_us=_micros(flat.at),
        identity=_identities(epoch, seq),
        received_us=_micros(flat.received_at),
        lon=np.array([one.lon for one in said]),
        lat=np.array([one.lat for one in said]),
        accuracy_m=np.where(accuracy_m > 0, accuracy_m, np.nan),
        altitude_m=_numbers([one.altitude_m for one in said]),
        speed_mps=_not_negative(_numbers([one.speed_mps for one in said])),
        heading_deg=_not_negative(_numbers([one.heading_deg for one in said])),
        battery=_not_negative(np.where(battery > 1, battery / 100, battery)),
        mock=np.array([one.mock is True for one in said]),
        modes=[mode or None for mode in modes],  # As `limits.text` takes them: empty is missing.
        mode=np.array([number_of_mode[one.mode] for one in said]),
        epoch=np.array(epoch),
        seq=np.array(seq),
    )


def _micros(at: Floats) -> Ints:
    """As `store.evidence.micros`."""
    return np.rint((at - POSTGRES_EPOCH_S) * 1_000_000).astype(np.int64)


def _identities(epoch: Sequence[int], seq: Sequence[int]) -> Ints:
    """As `limits.counted` makes them."""
    digests = b"".join([blake2b(b"%d:%d" % pair, digest_size=8).digest() for pair in zip(epoch, seq, strict=True)])
    return (np.frombuffer(digests, ">u8") >> np.uint64(1)).astype(np.int64)


def _numbers(values: list[float | None]) -> Floats:
    return np.array(values, np.float64)


def _not_negative(values: Floats) -> Floats:
    return np.where(values >= 0, values, np.nan)
