"""The live stream: it wakes by notification, resumes without a hole, and no reader can hurt another."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from api.settings import Settings
from api.stream import Batch, Event, Reader
from tests.api import world
from tests.api.conftest import Serve, serving

Seen = dict[str, Any]


@contextmanager
def listening(url: str, query: str = "", **headers: str) -> Iterator[Iterator[Seen]]:
    """The events of a stream as {event, id, data}; entered once the stream has begun."""
    with httpx.Client(timeout=10) as client, client.stream("GET", f"{url}/v1/live{query}", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        yield _events(lines)


def _events(lines: Iterator[str]) -> Iterator[Seen]:
    event: Seen = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and "data" in event:
            yield {**event, "data": json.loads(event["data"])}
        if not line:
            event = {}
        elif name:
            event[name] = value


def test_a_change_is_streamed_within_a_second(planned: httpx.Client, url: str, connection: psycopg.Connection) -> None:
    took = []
    with listening(url) as events:
        for number in range(10):
            # Longer than a pause after a batch, so that only the notification can be in time.
            time.sleep(0.25)
            began = time.monotonic()
            world.locate(connection, "w-1", lon=24.0 + number)
            change = world.changed(connection, workers=["w-1"])
            seen = next(events)
            took.append(time.monotonic() - began)
            assert (seen["event"], seen["id"]) == ("position", str(change))
            assert seen["data"]["geometry"]["coordinates"][0] == 24.0 + number
    assert sorted(took)[8] < 0.5, "the stream waits for its poll and not for the notification"


def test_every_kind_of_thing_is_streamed_as_its_own_call_answers_it(
    planned: httpx.Client, url: str, connection: psycopg.Connection
) -> None:
    with listening(url) as events:
        world.locate(connection, "w-1")
        world.judge(connection, "v-1", world.outcome())
        connection.execute("insert into alerts (id, kind, severity, at) values ('a-1', 'sos', 'high', now())")
        world.changed(connection, workers=["w-1"], visits=["v-1", "gone"], alerts=["a-1"], devices=["lock-1"])
        seen = [next(events) for _ in range(5)]
    found = {(event["event"], event["data"]["id"]): event["data"] for event in seen}
    assert found["position", "w-1"] == planned.get("/v1/positions").json()["features"][0]
    assert found["visit", "v-1"] == planned.get("/v1/visits/v-1").json()
    assert found["visit", "gone"] == {"id": "gone", "deleted": True}
    assert found["alert", "a-1"] == planned.get("/v1/alerts/a-1").json()
    assert found["device", "lock-1"] == planned.get("/v1/devices/lock-1").json()


def test_a_reader_gets_the_kinds_it_asks_for(planned: httpx.Client, url: str, connection: psycopg.Connection) -> None:
    world.locate(connection, "w-1")
    with listening(url, "?kinds=visit,alert") as events:
        world.changed(connection, workers=["w-1"], visits=["v-1"])
        world.changed(connection, workers=["w-1"])
        last = world.changed(connection, visits=["v-1"])
        seen = [next(events)]
        while int(seen[-1]["id"]) < last:
            seen.append(next(events))
    assert {event["event"] for event in seen} == {"visit"}


@pytest.mark.parametrize("by", ["header", "query"])
def test_a_reader_who_comes_back_misses_nothing(planned: httpx.Client, url: str, connection: psycopg.Connection, by: str) -> None:
    workers = [f"w-{number}" for number in range(20)]
    for worker in workers:
        world.locate(connection, worker)
    before = world.changed(connection, devices=["lock-1"])
    for worker in workers:
        world.changed(connection, workers=[worker, "w-1"])
    query = f"?last_event_id={before}" if by == "query" else ""
    headers = {"Last-Event-ID": str(before)} if by == "header" else {}
    with listening(url, query, **headers) as events:
        seen = [next(events) for _ in workers]
        assert {event["data"]["id"] for event in seen} == set(workers)
        assert {event["event"] for event in seen} == {"position"}
        last = world.changed(connection, visits=["v-1"])
        # What happened just before she came back may come once more.
        assert next(event for event in events if event["event"] == "visit")["id"] == str(last)


def test_a_reader_who_is_cut_off_within_a_batch_gets_the_rest(
    planned: httpx.Client, url: str, connection: psycopg.Connection
) -> None:
    workers = {f"w-{number}" for number in range(5)}
    for worker in workers:
        world.locate(connection, worker)
    with listening(url) as events:
        world.changed(connection, workers=sorted(workers))
        seen = [next(events), next(events)]
    with listening(url, **{"Last-Event-ID": seen[-1]["id"]}) as events:
        seen += [next(events) for _ in range(3)]
        while {event["data"]["id"] for event in seen} != workers:
            seen.append(next(events))


@pytest.mark.parametrize("resume", ["trimmed", "of the future", "of another system"])
def test_a_reader_who_cannot_resume_is_told_to_fetch_anew(
    planned: httpx.Client, url: str, connection: psycopg.Connection, resume: str
) -> None:
    for _ in range(5):
        newest = world.changed(connection, devices=["lock-1"])
    connection.execute("delete from changes where id < %s", [newest - 1])
    last_seen = {"trimmed": str(newest - 3), "of the future": str(newest + 10), "of another system": "7f3a-b"}[resume]
    time.sleep(0.3)
    with listening(url, **{"Last-Event-ID": last_seen}) as events:
        told = next(events)
        assert (told["event"], told["id"]) == ("reset", str(newest))
        following = world.changed(connection, devices=["lock-1"])
        assert next(events)["id"] == str(following)


def test_the_oldest_id_that_can_be_resumed_is_resumed(planned: httpx.Client, url: str, connection: psycopg.Connection) -> None:
    ids = [world.changed(connection, devices=["lock-1"]) for _ in range(5)]
    connection.execute("delete from changes where id <= %s", [ids[2]])
    with listening(url, **{"Last-Event-ID": str(ids[2])}) as events:
        assert next(events)["event"] == "device"


def test_what_changes_many_times_is_read_once(planned: httpx.Client, url: str, connection: psycopg.Connection) -> None:
    world.locate(connection, "w-1")
    with listening(url) as events:
        for _ in range(200):
            last = world.changed(connection, workers=["w-1"])
        seen = [next(events)]
        while int(seen[-1]["id"]) < last:
            seen.append(next(events))
    assert len(seen) < 50


def test_the_stream_goes_on_after_the_database_was_away(planned: httpx.Client, url: str, connection: psycopg.Connection) -> None:
    with listening(url) as events:
        time.sleep(0.2)
        killed = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()"
        ).fetchall()
        change = world.changed(connection, devices=["lock-1"])
        assert next(events)["id"] == str(change)
    assert killed, "nothing was cut"


def test_a_reader_that_does_not_read_is_sent_away_and_holds_nobody_up(
    planned: httpx.Client, serve: Serve, connection: psycopg.Connection
) -> None:
    url = serve(Settings(stream_bytes_max=200_000))
    workers = [f"w-{number:04}" for number in range(400)]
    for worker in workers:
        world.locate(connection, worker)
    with socket.socket() as stuck, listening(url) as events:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((urlsplit(url).hostname, urlsplit(url).port))
        stuck.sendall(b"GET /v1/live HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        deadline = time.monotonic() + 60
        while "sitewatch_api_stream_sent_away_total 1.0" not in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline, "the stuck reader was kept"
            last = world.changed(connection, workers=workers)
            while int(next(events)["id"]) < last:
                pass
        stuck.settimeout(10)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := stuck.recv(1 << 20):
                received += piece
                if b"event: reset" in received[-2000:]:
                    break
        assert b"event: reset" in received


def test_a_queue_never_holds_more_than_it_may() -> None:
    async def scenario() -> None:
        reader = Reader(frozenset({"position"}), bytes_max=1000)
        batch = Batch(0, 1, [Event("position", b"x" * 400)], 400)
        reader.offer(batch)
        reader.offer(batch)
        assert not reader.sent_away
        assert await reader.next(0.01) is batch
        reader.offer(batch)
        reader.offer(batch)
        assert reader.sent_away
        assert await reader.next(0.01) is None

    asyncio.run(scenario())


def test_the_server_stops_at_once_though_streams_are_open(database: str) -> None:
    with contextlib.ExitStack() as clients:
        with serving(Settings(), database) as url:
            streams = [clients.enter_context(listening(url)) for _ in range(5)]
        assert [list(events) for events in streams] == [[]] * 5, "a stream must end whole and not be torn"


def test_an_unknown_kind_is_a_problem(client: httpx.Client) -> None:
    answer = client.get("/v1/live?kinds=positions")
    assert answer.status_code == 422
    assert "did you mean 'position'?" in answer.json()["detail"]
