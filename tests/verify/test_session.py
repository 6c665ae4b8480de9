"""A database connection with nothing behind it any more: verify notices, ends what it left there, and goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from sitewatch import session, verify
from sitewatch.verify_settings import Settings
from tests.ingest.proxy import Proxy
from tests.verify.world import World, served

QUICK = Settings(answer_max_s=2.0, coalesce_s=0.0, judge_every_s=0.0, beat_s=0.2)


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    made = Proxy(urlsplit(database).port or 0)
    yield made
    made.close()


def through(database: str, port: int) -> str:
    parts = urlsplit(database)
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_database_behind_which_nothing_is_any_more_is_connected_to_anew(world: World, database: str, proxy: Proxy) -> None:
    """The connection stays open and the kernel acknowledges; and the server goes on holding the locks of who is gone."""
    world.visit("v1", world.worker("anna"), world.site(0))
    stop = threading.Event()
    program = threading.Thread(target=verify.run, args=(through(database, proxy.port), QUICK, stop))
    program.start()
    try:
        until(lambda: world.one("select count(*) from outcomes") == 1)
        [first] = world.rows(
            "select pid from pg_stat_activity where application_name = %s and datname = current_database()", [session.NAME]
        )
        proxy.freeze()
        world.send(served("anna", 0))
        until(lambda: world.one("select verdict from outcomes") == "verified")
    finally:
        stop.set()
        program.join(30)
    assert not program.is_alive()
    until(lambda: world.rows("select pid from pg_stat_activity where pid = %s", first) == [])


def test_an_answer_that_does_not_come_ends_the_connection_once(database: str, proxy: Proxy) -> None:
    connection = session.Sessions(through(database, proxy.port), answer_max_s=0.5).open()
    connection.execute("begin")
    proxy.freeze()
    rescue = threading.Timer(60.0, proxy.cut)
    rescue.start()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    assert rescue.is_alive(), "without it this would wait for ever"
    rescue.cancel()
    assert connection.closed, "or the rollback would wait for its answer too"


def test_a_statement_that_takes_too_long_is_ended_in_the_database_too(database: str) -> None:
    with session.Sessions(database, answer_max_s=0.3).open() as connection:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select pg_sleep(60)")
        asleep = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"
        with psycopg.connect(database) as other:
            until(lambda: other.execute(asleep).fetchone() == (0,))


def test_who_waits_in_line_is_not_lost(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as holder, session.Sessions(database, answer_max_s=0.3).open() as connection:
        holder.execute("select pg_advisory_lock(%s)", [verify.WRITERS])
        waited = threading.Thread(target=session.wait_in_line, args=(connection, verify.WRITERS))
        waited.start()
        waited.join(1.0)
        assert waited.is_alive()
        holder.execute("select pg_advisory_unlock(%s)", [verify.WRITERS])
        waited.join(30)
        assert not waited.is_alive()
        assert connection.execute("select pg_advisory_unlock(%s)", [verify.WRITERS]).fetchone() == (True,)
