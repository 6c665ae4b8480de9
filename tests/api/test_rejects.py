"""Rejects over HTTP: found by reason, topic and time; wanted again, and read again by an ingest of its own."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import httpx
import psycopg
import pytest

from ingest import reread
from store import evidence, rejects
from store.rejects import Reason, Reject

NOW = 1_795_312_800.0
GOOD = b'{"at": %d, "lon": 24.9, "lat": 60.1}' % NOW
POSITION = "sitewatch/v1/workers/w-1/position"


def add(connection: psycopg.Connection, topic: str, payload: bytes, reason: Reason = Reason.MALFORMED, at: float = NOW) -> None:
    rejects.write(connection, [Reject(received_at=at, topic=topic, payload=payload, reason=reason, detail="no JSON")])


Ingest = Callable[[], int]


@pytest.fixture
def ingest(connection: psycopg.Connection) -> Ingest:
    """What an idle ingest does now and then."""
    evidence.prepare(connection)
    return lambda: reread.bite(connection, prefix="sitewatch/v1", owntracks_prefix="owntracks", keys={})


def test_rejects_are_found_by_reason_topic_time_and_state(client: httpx.Client, connection: psycopg.Connection) -> None:
    add(connection, "a/1", b"1", Reason.NO_KEY)
    add(connection, "a/2", b"2", at=NOW + 3600)
    add(connection, "b/1", b"3", at=NOW + 7200)
    connection.execute("update rejects set replayed_at = now() where topic = 'a/2'")

    def found(**query: str) -> list[str]:
        return [item["topic"] for item in client.get("/v1/rejects", params=query).json()["items"]]

    later = datetime.fromtimestamp(NOW + 3600, UTC).isoformat()
    assert found() == ["b/1", "a/2", "a/1"]
    assert found(reason="no_key") == ["a/1"]
    assert found(topic="a/+") == ["a/2", "a/1"]
    assert found(**{"from": later}) == ["b/1", "a/2"]
    assert found(to=later) == ["a/1"]
    assert found(open="true") == ["b/1", "a/1"]
    assert found(open="false") == ["a/2"]


def test_pages_hold_every_reject_once_also_where_many_came_at_the_same_moment(
    client: httpx.Client, connection: psycopg.Connection
) -> None:
    for number in range(11):
        add(connection, f"t/{number}", b"x", at=NOW + number // 4)
    url, seen = "/v1/rejects?limit=3", []
    while url:
        page = client.get(url).json()
        seen += [item["topic"] for item in page["items"]]
        url = page["next"]
    assert sorted(seen) == sorted(f"t/{number}" for number in range(11))


def test_a_wish_is_kept_until_ingest_has_acted_on_it(client: httpx.Client, connection: psycopg.Connection, ingest: Ingest) -> None:
    add(connection, POSITION, GOOD)
    number = client.get("/v1/rejects").json()["items"][0]["id"]
    assert ingest() == 0
    answer = client.post(f"/v1/rejects/{number}/replay")
    assert (answer.status_code, answer.json()["replay"]["outcome"]) == (202, None)
    assert answer.json()["replay"]["wanted_at"] is not None
    assert client.post(f"/v1/rejects/{number}/replay").json() == answer.json()
    assert ingest() == 1
    done = client.get(f"/v1/rejects/{number}").json()
    assert (done["replay"]["wanted_at"], done["replay"]["outcome"]) == (None, "evidence")
    assert done["replayed_at"] is not None
    again = client.post(f"/v1/rejects/{number}/replay")
    assert (again.status_code, again.json()) == (200, done)
    assert ingest() == 0
    assert connection.execute("select count(*) from fixes").fetchone() == (1,)


def test_one_that_is_still_bad_stays_open_and_says_why(
    client: httpx.Client, connection: psycopg.Connection, ingest: Ingest
) -> None:
    add(connection, POSITION, b'{"at": 1}')
    number = client.get("/v1/rejects").json()["items"][0]["id"]
    client.post(f"/v1/rejects/{number}/replay")
    ingest()
    still = client.get(f"/v1/rejects/{number}").json()
    assert (still["replayed_at"], still["replay"]["outcome"], still["reason"]) == (None, "rejected", "missing_field")
    assert "lon is missing" in still["detail"]


def test_many_are_wanted_by_a_filter(client: httpx.Client, connection: psycopg.Connection, ingest: Ingest) -> None:
    for worker in range(4):
        add(connection, POSITION.replace("w-1", f"w-{worker}"), GOOD, Reason.NO_KEY if worker else Reason.MALFORMED)
    answer = client.post("/v1/rejects/all/replay", params={"reason": "no_key"})
    assert (answer.status_code, answer.json()) == (202, {"wanted": 3, "more": False})
    assert ingest() == 3
    assert client.post("/v1/rejects/all/replay").json()["wanted"] == 1


def test_what_is_not_there_cannot_be_wanted(client: httpx.Client) -> None:
    assert client.post("/v1/rejects/17/replay").status_code == 404
    assert client.get("/v1/rejects/17").status_code == 404
    assert client.post("/v1/rejects/all/replay?reason=bad").status_code == 422


def test_one_that_nobody_can_mend_is_closed_with_the_reason_and_keeps_its_bytes(
    client: httpx.Client, connection: psycopg.Connection, ingest: Ingest
) -> None:
    add(connection, "owntracks/anna/phone", b'{"_type": "encrypted"}', Reason.NO_KEY)
    add(connection, POSITION, GOOD)
    rings = {"no_key": 1, "malformed": 1}
    assert client.get("/readyz").json()["rejects_open"] == rings
    number = client.get("/v1/rejects?reason=no_key").json()["items"][0]["id"]
    assert client.post(f"/v1/rejects/{number}/close", json={}).status_code == 422
    closed = client.post(f"/v1/rejects/{number}/close", json={"why": "a test phone"}).json()
    assert (closed["closed_why"], closed["replay"]["outcome"], closed["reason"]) == ("a test phone", "closed", "no_key")
    assert (closed["payload"], closed["replayed_at"] is None) == ('{"_type": "encrypted"}', False)
    assert client.get("/readyz").json()["rejects_open"] == {"malformed": 1}
    assert client.post(f"/v1/rejects/{number}/close", json={"why": "another"}).json() == closed, "who closed it first has said why"
    assert client.post("/v1/rejects/all/replay").json()["wanted"] == 1, "a wish for all is not one for what was closed"
    assert client.post("/v1/rejects/99/close", json={"why": "x"}).status_code == 404


def test_a_closed_one_that_is_named_is_read_again_and_open_if_it_stays(
    client: httpx.Client, connection: psycopg.Connection, ingest: Ingest
) -> None:
    add(connection, POSITION, b'{"at": 1}')
    number = client.get("/v1/rejects").json()["items"][0]["id"]
    client.post(f"/v1/rejects/{number}/close", json={"why": "rubbish"})
    assert client.post(f"/v1/rejects/{number}/replay").status_code == 202
    assert ingest() == 1
    still = client.get(f"/v1/rejects/{number}").json()
    assert (still["replayed_at"], still["closed_why"], still["replay"]["outcome"]) == (None, None, "rejected")


def test_many_are_closed_by_a_filter_and_the_same_bytes_do_not_open_them_again(
    client: httpx.Client, connection: psycopg.Connection
) -> None:
    for phone in range(3):
        add(connection, f"owntracks/anna/{phone}", b"x", Reason.NO_KEY)
    add(connection, POSITION, b"x")
    answer = client.post("/v1/rejects/all/close", params={"topic": "owntracks/anna/#"}, json={"why": "not one of ours"})
    assert answer.json() == {"closed": 3, "more": False}
    add(connection, "owntracks/anna/1", b"x", Reason.NO_KEY)
    assert [one["topic"] for one in client.get("/v1/rejects?open=true").json()["items"]] == [POSITION]
    assert client.get("/v1/rejects?topic=owntracks/anna/1").json()["items"][0]["times"] == 2


def test_a_second_wish_comes_to_those_that_the_first_one_left_out(
    connection: psycopg.Connection, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects, "WANT_MAX", 2)
    for number in range(5):
        add(connection, f"sitewatch/v1/workers/w-{number}/position", b'{"at": 1}')
    seen: set[int] = set()
    for _ in range(3):
        seen.update(rejects.want(connection, rejects.Filter()))
        ingest()
    assert len(seen) == 5


def test_who_settles_and_who_writes_the_same_rejects_do_not_wait_in_a_circle(database: str, connection: psycopg.Connection) -> None:
    """Their ids are in one order, and their keys in the other: a statement that locked by id would meet one that locks by key."""
    by_key = "select id from rejects order by sha256(decode(md5(topic), 'hex') || payload)"
    for number in range(30):
        add(connection, f"t/{number}", b"x")
    first, last = next(pair for pair in pairwise(row[0] for row in connection.execute(by_key)) if pair[0] > pair[1])
    with psycopg.connect(database) as other:
        other.execute("select from rejects where id = %s for update", [first])
        waiting = threading.Thread(target=rejects.want, args=[connection, rejects.Filter(ids=[first, last])])
        waiting.start()
        with psycopg.connect(database, autocommit=True) as watch:
            while watch.execute("select from pg_locks where not granted").fetchone() is None:
                assert waiting.is_alive(), "nobody waited: this proves nothing"
        other.execute("select from rejects where id = %s for update nowait", [last])
    waiting.join()
    assert connection.execute("select count(*) from rejects where wanted_at is not null").fetchone() == (2,)
