"""Sequences: which numbers of a phone's counter are stored, and what a receipt may therefore promise.

Rules kept here:

- Extended in the transaction that stores the evidence (or the reject) itself: a receipt can only say what is committed.
- `through` is the highest number with nothing missing below it, counted from 1. It never overstates. It may understate: of a
  phone that leaves more than `RANGES_MAX` holes only the lowest ranges are remembered, so that no row grows without bound; the
  phone sends the rest again, and they are recognised as repeats.
- Rows are locked in the order of the key, so that two ingestors never wait for each other in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable

import psycopg
from msgspec import Struct

RANGES_MAX = 1_000


class Receipt(Struct, frozen=True, kw_only=True):
    """To a phone: everything of this epoch up to and including `through` is stored."""

    source: str
    epoch: int
    through: int


# Adds the ranges [low, high) to what has been seen of each counter, and answers how far nothing is missing.
EXTEND = """
with arrived as (
    select source, epoch, range_agg(int8range(low, high)) as seen
    from unnest(%(sources)s::text[], %(epochs)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[])
        as one (source, epoch, low, high)
    group by source, epoch
)
insert into sequences as kept (source, epoch, seen, through)
select source, epoch, seen, coalesce((select upper(part) - 1 from unnest(seen) as part where lower(part) = 1), 0)
from arrived
order by source, epoch
on conflict (source, epoch) do update set
    seen = (
        select range_agg(part)
        from (select part from unnest(kept.seen + excluded.seen) as part order by part limit %(ranges_max)s) as lowest
    ),
    through = coalesce((select upper(part) - 1 from unnest(kept.seen + excluded.seen) as part where lower(part) = 1), 0)
returning source, epoch, through
"""


def extend(
    connection: psycopg.Connection, counted: Iterable[tuple[str, int, int]], ranges: Iterable[tuple[str, int, int, int]] = ()
) -> list[Receipt]:
    """Remembers numbers as (source, epoch, seq) and ranges as (source, epoch, low, high), half open, in the caller's transaction;
    returns one receipt for each counter among them."""
    numbers: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for source, epoch, seq in counted:
        numbers[source, epoch].add(seq)
    seen = [(source, epoch, low, high) for (source, epoch), seqs in numbers.items() for low, high in runs(seqs)]
    seen += ranges
    if not seen:
        return []
    sources, epochs, lows, highs = (list(column) for column in zip(*seen, strict=True))
    parameters = {"sources": sources, "epochs": epochs, "lows": lows, "highs": highs, "ranges_max": RANGES_MAX}
    rows = connection.execute(EXTEND, parameters)
    return [Receipt(source=row[0], epoch=row[1], through=row[2]) for row in rows]


def runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as half-open ranges `[low, high)` of consecutive ones, ascending."""
    found: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if found and found[-1][1] == seq:
            found[-1] = (found[-1][0], seq + 1)
        else:
            found.append((seq, seq + 1))
    return found
