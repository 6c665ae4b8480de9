"""Fresh: the fixes that a bite of the journal speaks of, of many phones at once, as columns.

One walk of the unique index a phone, and one row a fix: most phones bring one.
"""

from collections.abc import Sequence
from typing import LiteralString

import numpy as np
from msgspec import Struct
from psycopg import Connection

from geofence.evidence import Bools, Floats, Ints
from store.journal import Touch


class Fresh(Struct, frozen=True, eq=False):
    """Fixes in the order of (touch, at, identity); a missing number is NaN."""

    touch: Ints
    """Which of the touches that were asked for."""
    at: Floats
    received_at: Floats
    identity: Ints
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    altitude_m: Floats
    odd: Bools
    """Marked by the phone itself: mock, or a ping."""


def read(connection: Connection, touches: Sequence[Touch]) -> Fresh:
    """The fixes of these spans."""
    values = {
        "sources": [touch.source for touch in touches],
        "from_at": [touch.from_at for touch in touches],
        "to_at": [touch.to_at for touch in touches],
        "first": min((touch.from_at for touch in touches), default=0.0),
        "last": max((touch.to_at for touch in touches), default=0.0),
    }
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(FRESH, values).fetchall() if touches else []
    columns = list(zip(*sorted(rows), strict=True)) or [()] * 9
    touch, at, identity, received_at, lon, lat, accuracy_m, altitude_m, odd = columns
    return Fresh(
        touch=np.array(touch, dtype=np.int64),
        at=np.array(at, dtype=np.float64),
        received_at=np.array(received_at, dtype=np.float64),
        identity=np.array(identity, dtype=np.int64),
        lon=np.array(lon, dtype=np.float64),
        lat=np.array(lat, dtype=np.float64),
        accuracy_m=np.array(accuracy_m, dtype=np.float64),
        altitude_m=np.array(altitude_m, dtype=np.float64),
        odd=np.array(odd, dtype=np.bool_),
    )


# See `store.windows`: a lateral subquery kept apart by `offset 0`, and the bounds once more as constants.
FRESH: LiteralString = """
select touch.n - 1, extract(epoch from at)::float8, identity, extract(epoch from received_at)::float8, lon, lat,
       coalesce(accuracy_m, 'NaN')::float8, coalesce(altitude_m, 'NaN')::float8, mock or coalesce(trigger = 'ping', false)
from unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) with ordinality as touch (source, from_at, to_at, n)
cross join lateral (
    select * from fixes
    where source = touch.source and at >= to_timestamp(touch.from_at) and at <= to_timestamp(touch.to_at)
      and at >= to_timestamp(%(first)s) and at <= to_timestamp(%(last)s)
    offset 0
) as said
"""
