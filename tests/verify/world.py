"""A small world on a real database: plans as the api puts them, evidence as ingest stores it, verify with a clock in its hand.

Sites lie on a line that goes east from (116.40, 39.90), named by their metres along it: site 0 and site 60 are neighbours,
site 5000 is elsewhere. A worker's phone reports every 30 s, with a few metres of repeatable error.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection

from geofence.evidence import Check, DeviceEvent, Evidence, Fix, Status
from geofence.outcome import Outcome
from sitewatch import verify
from sitewatch.memory import Memory
from sitewatch.verify_settings import Settings
from store import derived, evidence, plans, touched
from store.plans import DevicePlan, Plans, SitePlan, VisitPlan, WorkerPlan

DAY = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
NINE, TEN = DAY + 9 * 3600, DAY + 10 * 3600
LON, LAT = 116.40, 39.90
METRE_LON = 1 / (111_320 * math.cos(math.radians(LAT)))
METRE_LAT = 1 / 111_320
AT_ONCE = Settings(coalesce_s=0.0, judge_every_s=0.0)


class World:
    """Puts plans and evidence, runs verify, reads what came of it."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.connection = psycopg.connect(database, autocommit=True)
        evidence.prepare(self.connection)
        self.verifier = verify.prepared(psycopg.connect(database))
        self.memory = Memory()

    def close(self) -> None:
        self.connection.close()
        self.verifier.close()

    # Plans ------------------------------------------------------------------------------------------------------------------

    def site(self, metres: float, radius_m: float = 40.0) -> str:
        return self.place(f"s{metres:g}", metres, radius_m)

    def place(self, site: str, metres: float, radius_m: float = 40.0) -> str:
        """A site of this name at so many metres; again, to redraw it."""
        self.put(Plans(sites=[_site(site, metres, radius_m)]))
        return site

    def worker(self, worker: str, **aliases: str) -> str:
        known = {dialect: (address,) for dialect, address in aliases.items()}
        self.put(Plans(workers=[WorkerPlan(id=worker, name=worker.title(), aliases=known, properties={})]))
        return worker

    def device(self, device: str, site: str, kind: str = "lock") -> str:
        plan = DevicePlan(id=device, site=site, kind=kind, dialect="native", address=None, name=None, properties={})
        self.put(Plans(devices=[plan]))
        return device

    def visit(
        self, visit: str, worker: str, site: str, starts_at: float = NINE, ends_at: float = TEN, service: str = "clean"
    ) -> str:
        self.put(
            Plans(
                visits=[
                    VisitPlan(
                        id=visit,
                        worker=worker,
                        site=site,
                        service=service,
                        starts_at=datetime.fromtimestamp(starts_at, UTC),
                        ends_at=datetime.fromtimestamp(ends_at, UTC),
                        properties={},
                    )
                ]
            )
        )
        return visit

    def put(self, planned: Plans) -> None:
        self._plan(lambda connection: plans.put(connection, planned))

    def policy(self, service: str, **fields: object) -> None:
        self._plan(lambda connection: plans.put_policy(connection, service, fields))

    def delete_visit(self, visit: str) -> None:
        self._plan(lambda connection: plans.delete_visit(connection, visit))

    def _plan(self, write: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        async def transact() -> None:
            async with await AsyncConnection.connect(self.database) as connection:
                await write(connection)

        asyncio.run(transact())

    # Evidence ---------------------------------------------------------------------------------------------------------------

    def send(self, reports: Iterable[Evidence], connection: psycopg.Connection | None = None) -> None:
        """Stores evidence in one transaction, as ingest does."""
        connection = connection or self.connection
        with connection.transaction():
            evidence.write(connection, reports)

    # verify -----------------------------------------------------------------------------------------------------------------

    def verify(self, now: float, settings: Settings = AT_ONCE) -> int:
        """Looks at `now` until nothing is left; returns how many visits were judged."""
        judged = 0
        for _ in range(1000):
            done = verify.look(self.verifier, now, settings, self.memory)
            judged += done.judged
            if not done.more and not self.waiting(now):
                return judged
        raise AssertionError("verify finds no end")

    def verify_all(self, now: float) -> int:
        """As `verify`, with a look at every visit whose window is open: what is not over is stored as of its last look."""
        touched.queue_open(self.connection, now)
        return self.verify(now)

    def waiting(self, now: float) -> bool:
        query = """
        select exists (select from due where at <= to_timestamp(%(now)s))
            or exists (select from outcomes where look_at <= to_timestamp(%(now)s))
        """
        return bool(self.one(query, {"now": now}))

    def outcome(self, visit: str) -> Outcome:
        found = derived.read(self.connection, [visit])[visit].outcome
        assert found is not None, f"{visit} was not judged"
        return found

    def verdict(self, visit: str) -> str:
        return self.outcome(visit).verdict

    def one(self, query: str, values: Any = None) -> Any:
        row = self.connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]

    def rows(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode(), values).fetchall()


def stay(
    source: str,
    metres: float,
    start: float = NINE - 300,
    end: float = TEN + 300,
    *,
    every_s: float = 30.0,
    late_s: float = 1.0,
    accuracy_m: float = 12.0,
) -> list[Evidence]:
    """Fixes of a phone that stays at so many metres; each is received `late_s` after it was made."""
    noise = random.Random(f"{source} {metres} {start}")
    count = int((end - start) // every_s)
    return [
        _fix(source, start + n * every_s, metres + noise.gauss(0, 4), noise.gauss(0, 4), late_s, accuracy_m) for n in range(count)
    ]


def walk(source: str, from_m: float, to_m: float, start: float, end: float, *, every_s: float = 30.0) -> list[Evidence]:
    """Fixes of a phone that moves between two places, with the noise of a receiver: without it nobody would believe it."""
    noise = random.Random(f"{source} {from_m} {start}")
    count = int((end - start) // every_s)
    return [
        _fix(source, start + n * every_s, from_m + (to_m - from_m) * n / count + noise.gauss(0, 4), noise.gauss(0, 4), 1.0, 12.0)
        for n in range(count)
    ]


def served(source: str, metres: float, starts_at: float = NINE, ends_at: float = TEN) -> list[Evidence]:
    """A visit as it should be: the way there, the service, the way home."""
    return [
        *walk(source, metres - 2000, metres, starts_at - 900, starts_at - 60),
        *stay(source, metres, starts_at - 60, ends_at + 60),
        *walk(source, metres, metres + 2000, ends_at + 60, ends_at + 900),
    ]


def event(source: str, kind: Any, at: float, **fields: Any) -> DeviceEvent:
    return DeviceEvent(source=source, kind=kind, at=at, received_at=at + 0.5, identity=_identity(source, kind, at), **fields)


def check(source: str, kind: Any, at: float, **fields: Any) -> Check:
    return Check(source=source, kind=kind, at=at, received_at=at + 0.5, identity=_identity(source, kind, at), **fields)


def status(source: str, state: Any, at: float, received_at: float | None = None, **fields: Any) -> Status:
    received_at = at + 0.5 if received_at is None else received_at
    return Status(
        source=source, state=state, at=at, received_at=received_at, identity=_identity(source, state, received_at), **fields
    )


def _fix(source: str, at: float, east_m: float, north_m: float, late_s: float, accuracy_m: float) -> Fix:
    return Fix(
        source=source,
        at=round(at, 3),
        received_at=round(at + late_s, 3),
        identity=_identity(source, "fix", at),
        lon=LON + east_m * METRE_LON,
        lat=LAT + north_m * METRE_LAT,
        accuracy_m=accuracy_m,
    )


def _identity(*parts: object) -> int:
    return random.Random(" ".join(map(str, parts))).getrandbits(62)


def _site(site: str, metres: float, radius_m: float) -> SitePlan:
    lon = LON + metres * METRE_LON
    return SitePlan(
        id=site,
        name=site,
        customer=None,
        timezone="Asia/Shanghai",
        geometry={"type": "Point", "coordinates": [lon, LAT]},
        radius_m=radius_m,
        properties={},
        min_lon=lon - radius_m * METRE_LON,
        min_lat=LAT - radius_m * METRE_LAT,
        max_lon=lon + radius_m * METRE_LON,
        max_lat=LAT + radius_m * METRE_LAT,
    )
