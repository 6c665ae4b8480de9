"""ingest between a real broker and a real database, while things go wrong: nothing receipted is lost, nothing is there twice."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from nacl.secret import SecretBox

from ingest.settings import Settings
from store import keys
from tests.fix_broker import RunningBroker
from tests.ingest.phone import PREFIX, Phone, until
from tests.ingest.program import Program, through
from tests.ingest.proxy import Proxy


class Stored:
    """What is in the database, looked at from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)

    def seqs(self, worker: str = "w-1") -> list[int]:
        rows = self.connection.execute("select seq from fixes where source = %s order by seq", (worker,))
        return [row[0] for row in rows]

    def one(self, query: str) -> int:
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def live(self, programs: int = 1) -> bool:
        return self.one("select count(*) from programs where name like 'ingest%' and (state ->> 'connected')::bool") == programs

    def told(self, name: str) -> int:
        """A total of the heartbeats, over all ingestors that have one."""
        return self.one(f"select coalesce(sum((state ->> '{name}')::int), 0) from programs where name like 'ingest%'")


@pytest.fixture
def stored(database: str) -> Iterator[Stored]:
    opened = Stored(database)
    yield opened
    opened.connection.close()


@pytest.fixture
def phone(each_broker: RunningBroker) -> Iterator[Phone]:
    opened = Phone(each_broker.port)
    yield opened
    opened.close()


def quick(**changes: object) -> Settings:
    return Settings(beat_every_s=0.2, retry_max_s=0.5, **changes)  # type: ignore[arg-type]


def whole(stored: Stored, phone: Phone) -> bool:
    return len(stored.seqs(phone.worker)) == phone.sent


# Without trouble ---------------------------------------------------------------------------------------------------------------


def test_what_a_phone_sends_is_stored_and_receipted(each_broker: RunningBroker, stored: Stored, phone: Phone) -> None:
    with Program(stored.url, each_broker.url, quick()) as program:
        until(stored.live)
        for _ in range(20):
            phone.send()
        phone.send(count=100)
        phone.publish("devices/lock-3/event", {"at": time.time(), "kind": "unlock", "worker": "w-1"})
        phone.publish("workers/w-1/positon", b"oops")
        until(lambda: phone.promised == 120)
        until(lambda: stored.told("received_total") - stored.told("ignored_total") == 122)
        assert stored.told("stored_total") == 121
        assert program.stop() == 0
    assert stored.seqs() == list(range(1, 121))
    assert stored.one("select count(*) from rejects where reason = 'unknown_topic'") == 1


def test_a_lonely_message_does_not_wait_for_a_full_batch(each_broker: RunningBroker, stored: Stored, phone: Phone) -> None:
    with Program(stored.url, each_broker.url, quick()):
        until(stored.live)
        waits = []
        for _ in range(10):
            started = time.monotonic()
            phone.send()
            until(lambda: phone.promised == phone.sent)
            waits.append(time.monotonic() - started)
            time.sleep(0.05)
        assert sorted(waits)[5] < 1.0


def test_told_to_stop_it_commits_and_acknowledges_what_it_holds(each_broker: RunningBroker, stored: Stored, phone: Phone) -> None:
    with Program(stored.url, each_broker.url, quick(quiet_s=30.0, quiet_rows=10_000)) as program:
        until(stored.live)
        phone.send()
        phone.publish("workers/w-1/position", b"{")
        phone.publish("devices/lock-3/result", b"known, and no evidence")
        time.sleep(0.5)
        assert stored.seqs() == []
        started = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - started < 3
    assert stored.seqs() == [1]
    with Program(stored.url, each_broker.url, quick()):
        until(stored.live)
        time.sleep(0.5)
    # What was acknowledged does not come again, neither the reject nor what said nothing.
    assert stored.one("select count(*) from rejects") == 1
    assert stored.told("duplicate_total") == 0
    if each_broker.kind == "mosquitto":  # iotcore also delivers our own receipts to us.
        assert stored.told("messages_total") == stored.told("ignored_total") <= 1, "nothing but the pulse"


@pytest.mark.parametrize("hanging", ["database", "broker"])
def test_told_to_stop_it_goes_even_where_the_other_side_hangs(mosquitto: RunningBroker, stored: Stored, hanging: str) -> None:
    proxies = {"database": Proxy(urlsplit(stored.url).port or 0), "broker": Proxy(mosquitto.port)}
    database, mqtt = through(stored.url, proxies["database"].port), f"mqtt://127.0.0.1:{proxies['broker'].port}"
    phone = Phone(mosquitto.port)
    with Program(database, mqtt, quick()) as program:
        until(stored.live)
        if hanging == "database":
            proxies[hanging].flowing.clear()
        phone.send()
        time.sleep(0.5)
        proxies[hanging].flowing.clear()
        started = time.monotonic()
        program.stop()
        assert time.monotonic() - started < 5
    for proxy in proxies.values():
        proxy.flowing.set()
    with Program(stored.url, mosquitto.url, quick()):
        until(lambda: phone.promised == 1)
    phone.close()
    assert stored.seqs() == [1]


def test_a_retained_status_that_comes_again_is_neither_stored_nor_journaled_again(
    each_broker: RunningBroker, stored: Stored, phone: Phone
) -> None:
    phone.publish("workers/w-1/status", {"at": time.time(), "state": "online"}, retain=True)
    for client_id in ("first", "second"):
        with Program(stored.url, each_broker.url, quick(client_id=client_id)) as program:
            until(lambda name=client_id: stored.one(f"select count(*) from programs where name = 'ingest:{name}'") == 1)  # type: ignore[misc]
            until(lambda: stored.one("select count(*) from statuses") == 1)
            taken = 1 + (client_id == "second")
            until(lambda taken=taken: stored.told("stored_total") + stored.told("duplicate_total") == taken)  # type: ignore[misc]
            assert program.stop() == 0
    assert stored.told("duplicate_total") == 1
    assert stored.one("select count(*) from journal") == 1


def test_an_encrypted_phone_is_read_as_soon_as_its_key_is_known(mosquitto: RunningBroker, stored: Stored) -> None:
    phone = Phone(mosquitto.port)
    location = json.dumps({"_type": "location", "tst": int(time.time()), "lon": 24.9, "lat": 60.1}).encode()
    box = SecretBox(b"s3cret".ljust(32, b"\0")).encrypt(location)
    sealed = {"_type": "encrypted", "data": b64encode(box).decode()}
    with Program(stored.url, mosquitto.url, quick(prefix=f"{PREFIX}/none", owntracks_prefix=f"{PREFIX}/ot")):
        until(stored.live)
        phone.publish("ot/anna/phone", sealed)
        until(lambda: stored.one("select count(*) from rejects where reason = 'no_key'") == 1)
        keys.write(stored.connection, "owntracks:anna/phone", "s3cret")
        time.sleep(0.6)
        phone.publish("ot/anna/phone", sealed)
        until(lambda: stored.one("select count(*) from fixes where source = 'owntracks:anna/phone'") == 1)
    phone.close()


# kill -9 -----------------------------------------------------------------------------------------------------------------------


def test_killed_under_load_it_loses_nothing_and_stores_nothing_twice(
    each_broker: RunningBroker, stored: Stored, phone: Phone
) -> None:
    kills_in_flight = 0
    for _ in range(4):
        with Program(stored.url, each_broker.url, quick()) as program:
            until(stored.live)
            before = len(stored.seqs())
            until(lambda: send_some(phone) and len(stored.seqs()) > before + 20)  # noqa: B023 - asked at once
            for _ in range(15):
                phone.send(count=3)
            program.kill()
        promised = phone.promised
        seqs = stored.seqs()
        kills_in_flight += len(seqs) < phone.sent
        assert seqs[:promised] == list(range(1, promised + 1)), "a receipt promised more than is stored"
        stored.connection.execute("update programs set state = state || '{\"connected\": false}'")
    assert kills_in_flight >= 2, "the kills hit nothing that was under way, so this run proves nothing"
    with Program(stored.url, each_broker.url, quick()):
        until(lambda: whole(stored, phone))
        # A receipt may have died with its program, behind the acknowledgement. Whatever the phone says next brings another.
        phone.send()
        until(lambda: phone.promised == phone.sent)
    assert stored.seqs() == list(range(1, phone.sent + 1))


def send_some(phone: Phone) -> bool:
    phone.send()
    phone.send(count=5)
    return True


def test_killed_while_the_database_is_away_it_has_acknowledged_nothing(
    each_broker: RunningBroker, stored: Stored, phone: Phone
) -> None:
    proxy = Proxy(urlsplit(stored.url).port or 0)
    with Program(through(stored.url, proxy.port), each_broker.url, quick()) as program:
        until(stored.live)
        proxy.close()
        for _ in range(30):
            phone.send()
        time.sleep(1.0)
        assert program.alive
        assert phone.receipts == []
        program.kill()
    with Program(stored.url, each_broker.url, quick()):
        until(lambda: whole(stored, phone))
        until(lambda: phone.promised == 30)


# The database ------------------------------------------------------------------------------------------------------------------


def test_a_database_that_is_away_costs_time_and_nothing_else(each_broker: RunningBroker, stored: Stored, phone: Phone) -> None:
    proxy = Proxy(urlsplit(stored.url).port or 0)
    with Program(through(stored.url, proxy.port), each_broker.url, quick()):
        until(stored.live)
        phone.send()
        until(lambda: phone.promised == 1)
        proxy.close()
        for _ in range(50):
            phone.send()
        time.sleep(2.0)
        assert phone.promised == 1
        proxy.open()
        until(lambda: phone.promised == 51)
        until(lambda: stored.told("stored_total") == 51)
        assert stored.told("retries_total") > 0
    assert stored.seqs() == list(range(1, 52))
    assert stored.one("select count(*) from rejects") == 0


def test_a_commit_whose_answer_is_lost_is_stored_once(mosquitto: RunningBroker, stored: Stored) -> None:
    phone = Phone(mosquitto.port)
    proxy = Proxy(urlsplit(stored.url).port or 0)
    with Program(through(stored.url, proxy.port), mosquitto.url, quick()):
        until(stored.live)
        for _ in range(6):
            # The COMMIT of each batch is cut, once; the next attempt goes through, and so do those of heartbeats.
            proxy.swallow_answer_to = commits_of_batches(1)
            phone.send(count=7)
            until(lambda: phone.promised == phone.sent)
        until(lambda: stored.told("stored_total") + stored.told("duplicate_total") == 42)
    phone.close()
    assert proxy.swallowed == 6
    assert stored.seqs() == list(range(1, 43))
    assert stored.told("duplicate_total") == 42, "a COMMIT had not got through before its answer was lost: this proves nothing"
    assert stored.one("select count(*) from journal where sources = '{w-1}'") == 6


def test_a_database_behind_which_nothing_is_any_more_is_connected_to_anew(mosquitto: RunningBroker, stored: Stored) -> None:
    """The connection stays open and is acknowledged by the kernel; the server's own limits cannot help."""
    phone = Phone(mosquitto.port)
    proxy = Proxy(urlsplit(stored.url).port or 0)
    with Program(through(stored.url, proxy.port), mosquitto.url, quick(attempt_max_s=1.0)):
        until(stored.live)
        proxy.freeze()
        phone.send()
        until(lambda: phone.promised == 1, 10)
        # And in the middle of a transaction, whose locks the server holds on to.
        proxy.hold = commits_of_batches(1)
        phone.send()
        until(lambda: proxy.held > 0)
        proxy.freeze()
        proxy.release()
        until(lambda: phone.promised == 2, 15)
        until(lambda: stored.told("retries_total") >= 1)
    phone.close()
    assert stored.seqs() == [1, 2]


def commits_of_batches(count: int) -> Callable[[bytes], bool]:
    """A rule that holds for the first COMMIT after rows were copied, so many times."""
    copied, left = False, count

    def rule(content: bytes) -> bool:
        nonlocal copied, left
        copied = copied or b"copy fixes" in content or b"copy staged_fixes" in content
        hit = copied and left > 0 and b"COMMIT" in content
        if hit:
            copied, left = False, left - 1
        return hit

    return rule


# Outages -----------------------------------------------------------------------------------------------------------------------


def test_the_time_in_which_nobody_was_subscribed_is_an_outage_of_ours(mosquitto: RunningBroker, stored: Stored) -> None:
    proxy = Proxy(mosquitto.port)
    url = f"mqtt://127.0.0.1:{proxy.port}"
    length = "select extract(epoch from end_at - start_at)::int from outages order by start_at"
    with Program(stored.url, url, quick(outage_after_s=1.0)):
        until(stored.live)
        time.sleep(0.5)
        assert stored.connection.execute(length).fetchall() == []
        proxy.close()
        time.sleep(2.5)
        proxy.open()
        until(lambda: len(stored.connection.execute(length).fetchall()) == 1)
        until(stored.live)
    time.sleep(2.5)
    with Program(stored.url, url, quick(outage_after_s=1.0)):
        until(lambda: len(stored.connection.execute(length).fetchall()) == 2)
    assert all(2 <= seconds <= 10 for (seconds,) in stored.connection.execute(length))
    assert stored.one("select count(*) from journal where sources = '{*}'") == 2


# The broker --------------------------------------------------------------------------------------------------------------------


def test_a_broker_that_comes_back_is_found_again(each_broker: RunningBroker, stored: Stored) -> None:
    proxy = Proxy(each_broker.port)
    phone = Phone(each_broker.port)
    with Program(stored.url, f"mqtt://127.0.0.1:{proxy.port}", quick()):
        until(stored.live)
        for _ in range(3):
            phone.send(count=5)
            proxy.close()
            for _ in range(10):
                phone.send()
            until(lambda: not stored.live())
            proxy.open()
            until(stored.live)
        until(lambda: whole(stored, phone))
        until(lambda: phone.promised == phone.sent)
    phone.close()
    assert stored.seqs() == list(range(1, phone.sent + 1))


def test_two_ingestors_that_share_a_client_id_by_mistake_still_lose_nothing(mosquitto: RunningBroker, stored: Stored) -> None:
    phone = Phone(mosquitto.port)
    with Program(stored.url, mosquitto.url, quick()), Program(stored.url, mosquitto.url, quick()):
        until(stored.live)
        for _ in range(100):
            phone.send()
            time.sleep(0.01)
        until(lambda: whole(stored, phone))
    phone.close()
    assert stored.seqs() == list(range(1, 101))


def test_two_ingestors_share_the_load_and_store_everything_once(mosquitto: RunningBroker, stored: Stored) -> None:
    phones = [Phone(mosquitto.port, f"w-{number}") for number in range(4)]
    one, other = (quick(client_id=name, share="ingest") for name in ("one", "other"))
    with Program(stored.url, mosquitto.url, one), Program(stored.url, mosquitto.url, other):
        until(lambda: stored.live(2))
        for _ in range(60):
            for phone in phones:
                phone.send()
        until(lambda: all(whole(stored, phone) for phone in phones))
        until(lambda: all(phone.promised == 60 for phone in phones))
        until(lambda: stored.told("stored_total") == 240)
        shares = stored.connection.execute(
            "select (state ->> 'stored_total')::int from programs where name like 'ingest%'"
        ).fetchall()
    for phone in phones:
        phone.close()
    assert len(shares) == 2
    assert min(share for (share,) in shares) >= 60
    assert stored.one("select count(*) from fixes") == 240
