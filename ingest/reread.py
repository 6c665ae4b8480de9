"""Rejects are read again, after a mend: a key that was added for a phone that encrypts, a decoder that has learnt something.

Rules kept here:

- What is taken now is stored as evidence with the time of its first receipt, and journaled like any other, so that the visits which
  it touches are judged again. It is stored in the transaction that marks the reject as replayed: both, or neither.
- Doing it twice stores nothing twice, whoever does it: ingest between two batches, a person on the command line, or both.
- What still cannot be taken stays a reject, with the reason of this reading. A row that the database refuses is such a one; it
  does not keep the others back.
"""

from collections.abc import Mapping, Sequence

import psycopg
from msgspec import Struct

from geofence.evidence import Evidence
from ingest.wire import decode
from store import evidence, rejects
from store import keys as keys_of_phones
from store.rejects import Outcome, Read, Reject, Wanted

BITE_ROWS_MAX = 500
"""Between two batches: evidence that arrives now must not wait long for what came last week."""


class Reread(Struct, frozen=True, kw_only=True):
    """What one reject turned out to be, with what is to be stored of it."""

    read: Read
    evidence: Sequence[Evidence] = ()
    rejects: Sequence[Reject] = ()
    """Of an array that could not be told apart before: the elements that cannot be taken, each a reject of its own now."""


def bite(
    connection: psycopg.Connection,
    *,
    prefix: str,
    owntracks_prefix: str,
    keys: Mapping[str, str],
    rows_max: int = BITE_ROWS_MAX,
) -> int:
    """Reads again some of what people want read again; returns how many, 0 when nothing is left. Raises as psycopg does.

    `evidence.prepare` must have been called for this connection.
    """
    with connection.transaction():
        wanted = rejects.next_wanted(connection, rows_max)
        _store(connection, wanted, [again(one, prefix, owntracks_prefix, keys) for one in wanted])
    return len(wanted)


def bite_if_free(connection: psycopg.Connection, *, prefix: str, owntracks_prefix: str) -> int:
    """The same by the keys of now, for ingest, which must not wait: 0 too while somebody else reads."""
    with connection.transaction():
        if not rejects.try_reading(connection):
            return 0
        secrets = keys_of_phones.read(connection)
        return bite(connection, prefix=prefix, owntracks_prefix=owntracks_prefix, keys=secrets)


def again(wanted: Wanted, prefix: str, owntracks_prefix: str, keys: Mapping[str, str]) -> Reread:
    """What the decoder makes of a reject today. Pure."""
    reports = decode(wanted.topic, wanted.payload, wanted.received_at, prefix=prefix, owntracks_prefix=owntracks_prefix, keys=keys)
    taken = [report.said for report in reports if not isinstance(report.said, Reject)]
    refused = [report.said for report in reports if isinstance(report.said, Reject)]
    # The same bytes refused again are this very reject. Any other is a part of it that could not be told apart before.
    still = next((one for one in refused if one.payload == wanted.payload), None)
    if still is not None:
        return Reread(read=Read(id=wanted.id, outcome=Outcome.REJECTED, still=still), evidence=taken)
    outcome = Outcome.EVIDENCE if taken else Outcome.DIVIDED if refused else Outcome.NO_EVIDENCE
    return Reread(read=Read(id=wanted.id, outcome=outcome), evidence=taken, rejects=refused)


def _store(connection: psycopg.Connection, wanted: Sequence[Wanted], reread: Sequence[Reread]) -> None:
    if not reread:
        return
    sifted = evidence.sift(connection, [one for part in reread for one in part.evidence])
    rejects.write(connection, [one for part in reread for one in part.rejects])
    errors = sifted.errors
    rejects.settle(connection, [_read(one, part, errors) for one, part in zip(wanted, reread, strict=True)])


def _read(wanted: Wanted, reread: Reread, errors: Mapping[int, Exception]) -> Read:
    """What became of it: still a reject, if the database would not take some of what is in it."""
    error = next((errors[id(one)] for one in reread.evidence if id(one) in errors), None)
    if error is None:
        return reread.read
    still = rejects.refused(wanted.received_at, wanted.topic, wanted.payload, error)
    return Read(id=wanted.id, outcome=Outcome.REJECTED, still=still)
