"""The api on a real socket and a real, empty database; what verify would derive is inserted by hand."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from api import main
from api.settings import Settings
from sitewatch import postgres
from tests import fix_database
from tests.api import world

START_S = 10.0


@contextmanager
def serving(settings: Settings, database: str) -> Iterator[str]:
    """Runs the program's own server in a thread; yields its URL."""
    server = main.server(settings, database, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive(), "the server ended before it started"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_S)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def url(database: str) -> Iterator[str]:
    """Where an api without a key listens."""
    with serving(Settings(), database) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=10) as found:
        yield found


@pytest.fixture(scope="module")
def asked_database(plain_postgres: postgres.Cluster) -> Iterator[str]:
    """The database behind `asked`."""
    yield from fix_database._clone(plain_postgres)


@pytest.fixture(scope="module")
def asked(asked_database: str) -> Iterator[httpx.Client]:
    """One api for all tests of a module that only ask, or ask for what is refused; it knows the small world."""
    with psycopg.connect(asked_database) as connection:
        # From the future: these tests may take longer than a heartbeat stays fresh.
        world.beat(connection, ago_s=-3600)
    with serving(Settings(), asked_database) as url, httpx.Client(base_url=url, timeout=10) as found:
        yield _plan(found)


@pytest.fixture
def planned(client: httpx.Client) -> httpx.Client:
    """A client of an api that knows one site, one worker, one lock and one visit."""
    return _plan(client)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """The same database, behind the api's back."""
    with psycopg.connect(database, autocommit=True) as found:
        yield found


def _plan(client: httpx.Client) -> httpx.Client:
    answer = client.post("/v1/plans", json=world.BULK)
    assert answer.status_code == 200, answer.text
    return client


Serve = Callable[[Settings], str]


@pytest.fixture
def serve(database: str) -> Iterator[Serve]:
    """Starts an api with other settings."""
    opened = []

    def start(settings: Settings) -> str:
        context = serving(settings, database)
        opened.append(context)
        return context.__enter__()

    yield start
    for context in reversed(opened):
        context.__exit__(None, None, None)
