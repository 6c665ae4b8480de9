"""Keys of OwnTracks phones: given with a worker, used by the decoder, never answered."""

import json
from base64 import b64encode
from typing import Any

import httpx
import psycopg
import pytest
from nacl.secret import SecretBox

from geofence.evidence import Fix
from ingest.wire import decode
from store import keys
from store.rejects import Reason, Reject
from tests.api import world

NOW = 1_795_312_800.0
PHONE = "owntracks:wang.fang/phone"
LOCATION = {"_type": "location", "tst": 1_795_312_700, "lon": 24.94, "lat": 60.17, "acc": 12}
KEY = "p\u00e4ssw\u00f6rd of 1987"
W1 = "/v1/workers/w-1"
W9 = "/v1/workers/w-9"


def sealed(key: str) -> bytes:
    box = SecretBox(key.encode().ljust(32, b"\0"))
    data = b64encode(box.encrypt(json.dumps(LOCATION).encode())).decode()
    return json.dumps({"_type": "encrypted", "data": data}).encode()


def said(connection: psycopg.Connection, payload: bytes) -> Any:
    """What ingest makes of the phone's payload with the keys that are stored now."""
    (report,) = decode("owntracks/wang.fang/phone", payload, NOW, keys=keys.read(connection))
    return report.said


def stored(connection: psycopg.Connection) -> dict[str, str]:
    return keys.read(connection)


def test_a_key_that_was_put_opens_what_the_phone_sends(planned: httpx.Client, connection: psycopg.Connection) -> None:
    unread = said(connection, sealed(KEY))
    assert isinstance(unread, Reject)
    assert unread.reason is Reason.NO_KEY
    assert planned.put(W1, json={**world.WORKER, "owntracks_key": KEY}).status_code == 200
    fix = said(connection, sealed(KEY))
    assert isinstance(fix, Fix)
    assert (fix.source, fix.lon) == (PHONE, 24.94)


def test_a_key_is_never_answered(planned: httpx.Client) -> None:
    assert planned.get(W1).json()["has_owntracks_key"] is False
    answers = [
        planned.put(W1, json={**world.WORKER, "owntracks_key": KEY}),
        planned.get(W1),
        planned.get("/v1/workers"),
        planned.put(W1, json={"owntracks_key": KEY}),
        planned.put(W1, json={**world.WORKER, "owntracks_key": KEY * 3}),
        planned.put(W1, json={**world.WORKER, "owntracks_kay": KEY}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422, 422, 422]
    assert all(
        "1987" not in answer.text and 'owntracks_key":' not in answer.text.replace("has_owntracks_key", "") for answer in answers
    )
    assert answers[0].json() == answers[1].json() == answers[2].json()["items"][0]
    assert answers[1].json()["has_owntracks_key"] is True


def test_a_worker_keeps_her_key_until_it_is_taken_away(planned: httpx.Client, connection: psycopg.Connection) -> None:
    planned.put(W1, json={**world.WORKER, "owntracks_key": KEY})
    assert planned.put(W1, json=planned.get(W1).json()).status_code == 200
    assert stored(connection) == {PHONE: KEY}
    planned.put(W1, json={"aliases": {"owntracks": ["wang.fang/phone", "wang.fang/tablet"]}})
    assert stored(connection) == {PHONE: KEY, "owntracks:wang.fang/tablet": KEY}
    planned.put(W1, json={"aliases": {"owntracks": "wang.fang/tablet"}})
    assert stored(connection) == {"owntracks:wang.fang/tablet": KEY}
    answer = planned.put(W1, json={"aliases": {"owntracks": "wang.fang/tablet"}, "owntracks_key": None})
    assert (answer.json()["has_owntracks_key"], stored(connection)) == (False, {})


def test_a_key_goes_with_its_worker(client: httpx.Client, connection: psycopg.Connection) -> None:
    client.put(W1, json={**world.WORKER, "owntracks_key": KEY})
    assert client.delete(W1).status_code == 204
    assert stored(connection) == {}


def test_a_key_that_somebody_else_had_left_behind_is_taken_away_too(client: httpx.Client, connection: psycopg.Connection) -> None:
    keys.write(connection, PHONE, "old")
    assert client.put(W1, json={**world.WORKER, "owntracks_key": None}).json()["has_owntracks_key"] is False
    assert stored(connection) == {}


@pytest.mark.parametrize(
    ("body", "mend"),
    [
        ({"owntracks_key": KEY}, "has no phone to open: add her phone as aliases"),
        ({"owntracks_key": KEY, "aliases": {"native": "old-17"}}, "has no phone to open"),
        ({**world.WORKER, "owntracks_key": ""}, "at least 1 character"),
        ({**world.WORKER, "owntracks_key": "\u94a5" * 11}, "longer than 32 bytes in UTF-8"),
        ({**world.WORKER, "owntracks_key": 7}, "string"),
    ],
)
def test_a_key_that_opens_nothing_is_refused(asked: httpx.Client, body: dict[str, Any], mend: str) -> None:
    answer = asked.put(W9, json=body)
    assert (answer.status_code, mend in answer.json()["detail"]) == (422, True), answer.text
    answer = asked.post("/v1/plans", json={"workers": [{"id": "w-9", **body}]})
    assert (answer.status_code, "(id 'w-9')" in answer.json()["detail"], mend in answer.json()["detail"]) == (422, True, True)
    assert asked.get(W9).status_code == 404


def test_keys_come_in_bulk_with_everything_or_not_at_all(client: httpx.Client, connection: psycopg.Connection) -> None:
    phone = {"aliases": {"owntracks": "b/phone"}}
    bulk = {"workers": [{"id": "w-1", **world.WORKER, "owntracks_key": KEY}, {"id": "w-2", **phone}]}
    assert client.post("/v1/plans", json=bulk).json()["workers"] == {"created": 2, "changed": 0, "unchanged": 0}
    assert stored(connection) == {PHONE: KEY}
    bulk["workers"][1]["owntracks_key"] = "other"
    wrong = {**bulk, "visits": [{"id": "v-1", **world.VISIT}]}
    assert client.post("/v1/plans", json=wrong).status_code == 422
    assert stored(connection) == {PHONE: KEY}
    journal = "select count(*) from journal"
    before = connection.execute(journal).fetchone()
    assert client.post("/v1/plans", json=bulk).json()["workers"] == {"created": 0, "changed": 1, "unchanged": 1}
    assert client.post("/v1/plans", json=bulk).json()["workers"] == {"created": 0, "changed": 0, "unchanged": 2}
    assert stored(connection) == {PHONE: KEY, "owntracks:b/phone": "other"}
    assert connection.execute(journal).fetchone() == before, "a key changes nothing that was judged"
