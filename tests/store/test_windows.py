"""What the engine is given is what is stored: compared with the obvious row by row reading."""

import math
import random
from typing import Any

import numpy as np
import psycopg
import pytest

from geofence.evidence import Fix, Fixes, Status
from sitewatch.verify import prepared
from store import evidence, windows
from store.windows import Span

START = 1_795_000_000.0


def some_fixes(seed: int) -> list[Fix]:
    """Fixes of two phones and a stranger's, some at one instant, most fields now and then missing."""
    draw = random.Random(seed)

    def maybe(value: Any) -> Any:
        return value if draw.random() < 0.7 else None

    return [
        Fix(
            source=draw.choice(["phone-b", "phone-a", "stranger"]),
            at=START + draw.randrange(200) / 4,
            received_at=START + draw.random() * 1000,
            identity=draw.getrandbits(62),
            lon=draw.uniform(-180, 180),
            lat=draw.uniform(-90, 90),
            accuracy_m=maybe(draw.uniform(0, 100)),
            altitude_m=maybe(draw.uniform(0, 100)),
            speed_mps=maybe(draw.uniform(0, 100)),
            heading_deg=maybe(draw.uniform(0, 360)),
            mock=draw.random() < 0.3,
            trigger=maybe("ping"),
            mode=maybe("significant") if seed % 2 else None,
        )
        for _ in range(150)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_fixes_come_as_they_were_stored_in_the_order_that_the_engine_wants(each_database: str, seed: int) -> None:
    fixes = some_fixes(seed)
    # Windows that overlap, touch and lie within each other, as those of one worker's visits may, with fixes on their very edges.
    wanted = {3: (START + 5, START + 25), 4: (START + 12.25, START + 40), 6: (START + 40, START + 45), 7: (START + 30, START + 35)}
    spans = [Span(owner, phone, *span) for owner, span in wanted.items() for phone in ("phone-b", "phone-a")]
    with prepared(psycopg.connect(each_database)) as connection:
        evidence.prepare(connection)
        for batch in (fixes[::2], fixes[1::2]):
            with connection.transaction():
                evidence.write(connection, batch)
        if seed % 3 == 0:
            # As they lie in the table, which is not their order.
            connection.execute("set enable_indexscan = off")
            connection.execute("set enable_bitmapscan = off")
        found = windows.read_fixes(connection, [*spans, Span(5, "nobody", START, START + 50)])
    assert set(found) == set(wanted)
    mine = [fix for fix in fixes if fix.source != "stranger"]
    mine.sort(key=lambda fix: (fix.at, fix.source, fix.identity))
    for owner, (start, end) in wanted.items():
        assert_same(found[owner], [fix for fix in mine if start <= fix.at < end])


def assert_same(found: Fixes, expected: list[Fix]) -> None:
    assert found.sources == tuple(sorted({fix.source for fix in expected}))
    assert [found.sources[n] for n in found.source] == [fix.source for fix in expected]
    assert found.at.tolist() == [fix.at for fix in expected]
    assert np.allclose(found.received_at, [fix.received_at for fix in expected], rtol=0, atol=1e-6)
    assert found.lon.tolist() == [fix.lon for fix in expected]
    assert found.lat.tolist() == [fix.lat for fix in expected]
    assert found.mock.tolist() == [fix.mock for fix in expected]
    assert found.ping.tolist() == [fix.trigger == "ping" for fix in expected]
    for name in ("accuracy_m", "altitude_m", "speed_mps", "heading_deg"):
        wanted = [math.nan if getattr(fix, name) is None else getattr(fix, name) for fix in expected]
        assert np.allclose(getattr(found, name), np.float32(wanted), rtol=1e-6, equal_nan=True), name
    modes = [fix.mode for fix in expected]
    assert found.mode == (tuple(modes) if any(modes) else ())


def test_a_window_knows_the_statuses_that_last_into_it(database: str) -> None:
    def status(at: float, received_at: float, identity: int) -> Status:
        return Status(source="phone", at=at, received_at=received_at, identity=identity, state="online")

    before = [status(START - 86400 * n, START - 86400 * n, n) for n in range(1, 9)]
    goodbye = status(START - 90_000, START + 60, 50)
    inside = status(START + 30, START + 31, 60)
    after = status(START + 3600, START + 3601, 70)
    with prepared(psycopg.connect(database)) as connection:
        evidence.prepare(connection)
        with connection.transaction():
            evidence.write(connection, [*before, goodbye, inside, after])
        found = windows._read_rows(connection, windows.STATUSES, [Span(0, "phone", START, START + 3600)], Status)
    assert [row.identity for row in found[0]] == [3, 2, 50, 1, 60]
