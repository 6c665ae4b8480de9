"""The fixtures themselves: what the other tests stand on."""

import psycopg

from sitewatch import broker
from tests.fix_broker import RunningBroker


def test_each_test_gets_a_migrated_database_of_its_own(each_database: str) -> None:
    with psycopg.connect(each_database) as connection:
        assert connection.execute("select count(*) from journal").fetchone() == (0,)
        connection.execute("insert into cursors (name, snapshot) values ('mine', '1:1:')")


def test_what_another_test_wrote_is_not_there(each_database: str) -> None:
    with psycopg.connect(each_database) as connection:
        assert connection.execute("select count(*) from cursors").fetchone() == (0,)


def test_timescaledb_is_loaded_in_its_own_databases_only(database: str, timescale_database: str) -> None:
    query = "select count(*) from pg_extension where extname = 'timescaledb'"
    with psycopg.connect(database) as plain, psycopg.connect(timescale_database) as timescale:
        assert plain.execute(query).fetchone() == (0,)
        assert timescale.execute(query).fetchone() == (1,)


def test_a_broker_answers_until_it_is_killed_and_again_after_a_start(each_broker: RunningBroker) -> None:
    assert broker.answers(each_broker.port)
    each_broker.kill()
    assert not broker.answers(each_broker.port)
    each_broker.start()
    assert broker.answers(each_broker.port)
