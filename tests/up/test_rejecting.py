"""`sitewatch rejects`: a person finds what could not be taken, reads why, mends it, and has it read again."""

import json
from base64 import b64encode
from collections.abc import Iterator

import psycopg
import pytest
from nacl.secret import SecretBox
from typer.testing import CliRunner

from sitewatch import rejecting
from store import keys, rejects
from store.rejects import Reason, Reject

NOW = 1_795_312_800.0
SOURCE = "owntracks:anna/phone"
PHONE = "owntracks/anna/phone"


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
def told(database: str, connection: psycopg.Connection) -> "Told":
    inside = json.dumps({"_type": "location", "tst": NOW - 60, "lon": 24.9, "lat": 60.1}).encode()
    box = SecretBox(b"s3cret".ljust(32, b"\0")).encrypt(inside)
    sealed = json.dumps({"_type": "encrypted", "data": b64encode(box).decode()}).encode()
    add(connection, PHONE, sealed, Reason.NO_KEY, "encrypted, and no key is known")
    add(
        connection, "sitewatch/v1/workers/w-1/position", b'{"at": 1}\x1b[2J', Reason.MALFORMED, "trailing \x1b[31mcharacters [bold]"
    )
    add(connection, "sitewatch/v1/workers/w-2/position", b"\xff\xfe", Reason.MALFORMED, "no JSON")
    return Told(database)


def add(connection: psycopg.Connection, topic: str, payload: bytes, reason: Reason, detail: str) -> None:
    rejects.write(connection, [Reject(received_at=NOW, topic=topic, payload=payload, reason=reason, detail=detail)])


class Told:
    """What the command line answers about one database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.code = 0

    def __call__(self, *arguments: str) -> str:
        done = CliRunner().invoke(rejecting.app, [*arguments, "--database", self._database], env={"COLUMNS": "200"})
        assert isinstance(done.exception, SystemExit | None), done.exception
        self.code = done.exit_code
        return done.output

    def objects(self, *arguments: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]


def test_a_list_can_be_narrowed_down(told: Told) -> None:
    assert all(word in told("list") for word in ("no_key", "malformed", "w-1/position", "encrypted, and no key is known"))
    assert [one["topic"] for one in told.objects("list", "--reason", "no_key")] == [PHONE]
    assert [one["topic"] for one in told.objects("list", "--topic", "sitewatch/v1/workers/+/position", "--limit", "1")] == [
        "sitewatch/v1/workers/w-2/position"
    ]
    assert told.objects("list", "--since", "2027-01-01") == []
    assert "more than 2" in told("list", "--limit", "2")


def test_what_a_sender_wrote_does_not_paint_the_terminal(told: Told) -> None:
    shown = told("list") + told("show", "2")
    assert "\x1b" not in shown
    assert "\\x1b[31mcharacters [bold]" in shown
    assert '{"at": 1}\\x1b[2J' in shown


def test_one_is_shown_whole_and_bytes_that_are_no_text_as_base64(told: Told) -> None:
    assert (told.objects("show", "3")[0]["payload"], told.objects("show", "3")[0]["encoding"]) == ("//4=", "base64")
    assert "There is no reject 99" in told("show", "99")
    assert told.code == 1


def test_a_replay_says_what_became_of_each_and_may_be_repeated(told: Told, connection: psycopg.Connection) -> None:
    keys.write(connection, SOURCE, "s3cret")
    answer = told("replay", "--all")
    assert ("3 read again: 1 are evidence now, 0 say nothing, 2 stay" in answer, told.code) == (True, 1), answer
    assert "malformed" in answer
    assert connection.execute("select source, extract(epoch from received_at)::float8 from fixes").fetchall() == [(SOURCE, NOW)]
    assert "0 read again" in told("replay", "--reason", "no_key")
    assert told.code == 0
    assert connection.execute("select count(*) from fixes").fetchall() == [(1,)]
    assert [one["outcome"] for one in told.objects("list", "--all", "--reason", "no_key")] == ["evidence"]


def test_a_replay_of_everything_must_be_asked_for(told: Told) -> None:
    assert "--all" in told("replay")
    assert told.code == 2


def test_a_time_that_cannot_be_read_is_said_in_a_line(told: Told) -> None:
    assert "longer ago than there are dates" in told("list", "--since", "9999999d")
    assert "write 2h, 3d" in told("list", "--since", "yesterday")
    assert told.code == 2


def test_one_that_nobody_can_mend_is_closed_and_says_why(told: Told) -> None:
    assert "1 closed" in told("close", "1", "--why", "a test phone \x1b[2J")
    assert [one["id"] for one in told.objects("list")] == [3, 2]
    assert "closed" in told("show", "1")
    assert "a test phone \\x1b[2J" in told("show", "1")
    assert told.objects("show", "1")[0]["reason"] == "no_key"
    assert "0 closed" in told("close", "1", "--why", "again")
    assert told.code == 1
    assert "2 closed" in told("close", "--reason", "malformed", "--why", "rubbish")
    assert "No open rejects" in told("list")


def test_closing_needs_a_reason_and_a_choice(told: Told) -> None:
    told("close", "1")
    assert told.code == 2
    told("close", "1", "--why", " ")
    assert told.code == 2
    told("close", "--why", "all of them")
    assert told.code == 2
    assert len(told.objects("list")) == 3


def test_what_is_long_done_is_forgotten_and_what_is_open_never(told: Told, connection: psycopg.Connection) -> None:
    told("close", "1", "2", "--why", "rubbish")
    assert "0 forgotten" in told("forget", "--done-before", "90d")
    connection.execute("update rejects set replayed_at = now() - interval '91 days' where id = 1")
    assert "1 forgotten" in told("forget", "--done-before", "90d")
    assert [one["id"] for one in told.objects("list", "--all")] == [3, 2]


def test_a_key_that_was_put_after_the_wish_opens_it_too(
    told: Told, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanting = rejects.want

    def want(opened: psycopg.Connection, wanted: rejects.Filter) -> list[int]:
        found = wanting(opened, wanted)
        keys.write(connection, SOURCE, "s3cret")
        return found

    monkeypatch.setattr(rejects, "want", want)
    assert "1 are evidence now" in told("replay", "1")
