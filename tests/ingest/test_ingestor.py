"""The loop between the intake and the database, in this process: what it does with a database that is slow or away."""

import json
import random
import time
from collections.abc import Iterator, Sequence

import psycopg
import pytest

from ingest.batch import Delivery
from ingest.intake import Intake
from ingest.link import Link
from ingest.main import Ingestor
from ingest.settings import Settings
from store import outages

NOWHERE = "mqtt://127.0.0.1:1"


class Remembering:
    """A session that keeps what was acknowledged."""

    def __init__(self) -> None:
        self.mids: list[int] = []

    def acknowledge(self, mids: Sequence[int]) -> None:
        self.mids += mids


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def ingestor(database: str, intake: Intake, settings: Settings) -> Ingestor:
    jitter = random.Random(1)
    return Ingestor(settings, database, Link(settings, NOWHERE, intake, jitter), intake, jitter)


def receive(intake: Intake, count: int, received_at: float | None = None) -> Remembering:
    """One message a fix, and all but the first in an array too."""
    session, now = Remembering(), time.time()
    fixes = [{"at": now - number, "lon": 1, "lat": 1, "seq": number + 1} for number in range(count)]
    payloads = [json.dumps(one).encode() for one in fixes[: count // 2]] + [json.dumps(fixes[count // 2 :]).encode()]
    topic = "sitewatch/v1/workers/w-1/position"
    intake.receive([Delivery(session, mid, 1, topic, raw, received_at or now) for mid, raw in enumerate(payloads, 1)])
    return session


def one(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def test_a_batch_that_takes_too_long_is_tried_again_in_halves(database: str, connection: psycopg.Connection) -> None:
    """Tried again as it is, it would be so for ever, and so would everything behind it."""
    connection.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return new; end $$"
    )
    connection.execute("create trigger slow before insert on fixes for each row execute function slow()")
    settings = Settings(attempt_max_s=0.8, retry_max_s=0.05)
    intake = Intake(settings)
    slow = ingestor(database, intake, settings)
    session = receive(intake, 40)
    slow.store(intake.take())
    slow.hang_up()
    assert session.mids == list(range(1, 22))
    assert (one(connection, "select count(*) from fixes"), one(connection, "select through from sequences")) == (40, 40)


def test_what_is_being_committed_counts_as_waiting(database: str, connection: psycopg.Connection) -> None:
    settings = Settings(beat_every_s=0.0, retry_max_s=0.05)
    intake = Intake(settings)
    held = ingestor(database, intake, settings)
    receive(intake, 10, received_at=time.time() - 100)
    held._committing = intake.take()
    receive(intake, 4)
    held._beat_if_due()
    state = "select (state ->> 'queue_depth')::int from programs", "select (state ->> 'lag_s')::float8 >= 100 from programs"
    assert [one(connection, query) for query in state] == [6 + 3, True]
    held.store(held._committing)
    held._beat()
    held.hang_up()
    assert [one(connection, query) for query in state] == [3, False]


def test_who_was_told_to_stop_rests_between_attempts_all_the_same() -> None:
    """Else a database that is away would be knocked at as fast as it can refuse."""
    intake = Intake(Settings())
    intake.close()
    began = time.monotonic()
    intake.rest(0.1)
    assert time.monotonic() - began >= 0.1


def test_whether_one_of_our_name_was_live_before_is_known_from_the_database(connection: psycopg.Connection) -> None:
    outages.beat(connection, "ingest:a", now=100, started_at=1, state={"live_at": 100})
    outages.beat(connection, "ingest:b", now=100, started_at=1, state={})
    outages.beat(connection, "ingest:a", now=200, started_at=150, state={"connected": False})
    assert [outages.was_live(connection, f"ingest:{name}") for name in "abc"] == [True, False, False]
