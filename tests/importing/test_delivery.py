"""Delivery through a real broker, judged by a stand-in for the system that keeps its own book (`fix_receipts`)."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sitewatch import delivery, recordings
from sitewatch.delivery import Delivery, Ledger, Settings, UndeliveredError
from sitewatch.recordings import Change, Report, Whose
from tests.fix_broker import RunningBroker
from tests.importing.fix_receipts import Receipts

BEGAN = 1_767_225_600


class Import:
    """One import of a folder, as the command does it, with what it told the person."""

    def __init__(self, folder: Path, settings: Settings, progress: Path, whose: Whose | None = None) -> None:
        found = [recordings.survey(path, whose or Whose()) for path in recordings.find([folder])]
        self.lanes = recordings.lanes(found, Change())
        self.told: list[str] = []
        self.delivered = 0
        ledger = Ledger(progress, self.lanes.values())
        ledger.restore()
        in_order = recordings.in_order_of_time if settings.speed else recordings.in_order_of_files

        def reports() -> Iterator[Report]:
            return in_order(found, self.lanes, Change())

        self.delivery = Delivery(self.lanes.values(), reports, ledger, settings, self.told.append, self.progressed)

    def progressed(self, delivered: int) -> None:
        self.delivered = delivered

    def run(self, timeout_s: float = 60) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(self.delivery.run(), timeout_s)

        asyncio.run(bounded())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two workers with 3,000 and 500 fixes, a second apart."""
    for worker, count in (("anna", 3_000), ("bo", 500)):
        home = tmp_path / "traces" / worker
        home.mkdir(parents=True)
        rows = [f"{BEGAN + second},24.9{second:05d},60.1" for second in range(count)]
        (home / "day.csv").write_text("at,lon,lat\n" + "\n".join(rows) + "\n")
    return tmp_path / "traces"


def assert_everything_is_kept(receipts: Receipts, done: Import) -> None:
    for lane in done.lanes.values():
        assert receipts.kept[lane.owner, lane.epoch] == set(range(1, lane.total + 1)), lane.owner


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
def test_every_fix_arrives_once_in_small_batches(kind: str, request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> None:
    broker: RunningBroker = request.getfixturevalue(kind)
    receipts = Receipts(broker.host, broker.port)
    done = Import(folder, Settings(mqtt=broker.url), tmp_path / "progress.json")
    done.run()
    receipts.stop()
    assert_everything_is_kept(receipts, done)
    assert receipts.repeats == 0
    assert max(map(len, receipts.payloads)) < 16_000
    assert len(receipts.payloads) < 3_500 / 50
    assert done.delivered == 3_500
    assert not (tmp_path / "progress.json").exists()
    anna = next(lane for lane in done.lanes.values() if lane.owner == "anna")
    assert receipts.fixes["anna", anna.epoch, 2] == {
        "at": BEGAN + 1.0, "lon": 24.900001, "lat": 60.1, "seq": 2, "epoch": anna.epoch,
    }  # fmt: skip


def test_batches_that_got_lost_behind_the_broker_are_sent_again(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    receipts.swallow = 3
    done = Import(folder, Settings(mqtt=mosquitto.url, stall_s=1), tmp_path / "progress.json")
    done.run()
    assert receipts.swallow == 0
    assert_everything_is_kept(receipts, done)
    assert any("no receipt for 1 s" in text for text in done.told)


def test_an_interrupted_import_goes_on_where_it_was(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    # 1,000 times real time, the 3,000 s take 3 s; we are interrupted after 1.5.
    first = Import(folder, Settings(mqtt=mosquitto.url, speed=1_000), tmp_path / "progress.json")
    with pytest.raises(TimeoutError):
        first.run(timeout_s=1.5)
    before = sum(map(len, receipts.kept.values()))
    assert 500 <= before < 3_500
    second = Import(folder, Settings(mqtt=mosquitto.url), tmp_path / "progress.json")
    assert before - 1_100 <= sum(lane.through for lane in second.lanes.values()) <= before
    second.run()
    assert_everything_is_kept(receipts, second)
    assert receipts.repeats <= 1_100, "it should go on, not begin again"


def test_the_systems_word_counts_for_more_than_the_progress_file(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    done = Import(folder, Settings(mqtt=mosquitto.url), tmp_path / "progress.json")
    remembered = {lane.key: lane.total - 10 for lane in done.lanes.values()}
    (tmp_path / "progress.json").write_text(json.dumps({"through": remembered}))
    again = Import(folder, Settings(mqtt=mosquitto.url), tmp_path / "progress.json")
    again.run()
    assert_everything_is_kept(receipts, again)


def test_to_import_again_sends_next_to_nothing_and_doubles_nothing(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    Import(folder, Settings(mqtt=mosquitto.url), tmp_path / "progress.json").run()
    again = Import(folder, Settings(mqtt=mosquitto.url, window=200), tmp_path / "progress.json")
    again.run()
    assert_everything_is_kept(receipts, again)
    assert receipts.repeats < 1_500


def test_a_broker_that_dies_in_the_middle_loses_us_nothing(mosquitto: RunningBroker, folder: Path, tmp_path: Path) -> None:
    receipts = Receipts(mosquitto.host, mosquitto.port)
    done = Import(folder, Settings(mqtt=mosquitto.url, speed=1_000, stall_s=2), tmp_path / "progress.json")

    async def with_a_kill() -> None:
        running = asyncio.create_task(done.delivery.run())
        await asyncio.to_thread(receipts.arrived.wait, 10)
        await asyncio.to_thread(mosquitto.kill)
        await asyncio.sleep(1)
        assert not running.done()
        await asyncio.to_thread(mosquitto.start)
        await asyncio.wait_for(running, 40)

    asyncio.run(with_a_kill())
    receipts.stop()
    assert_everything_is_kept(receipts, done)
    assert done.told, "the person is told that the connection was lost"


def test_what_waits_for_receipts_is_bounded_and_silence_ends_in_an_error(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    receipts.mute = True
    settings = Settings(mqtt=mosquitto.url, window=400, stall_s=0.5, patience_s=0.1)
    with pytest.raises(UndeliveredError, match="is ingest running"):
        Import(folder, settings, tmp_path / "progress.json").run()
    assert 0 < sum(map(len, receipts.kept.values())) < 400 + 200


def test_a_given_speed_is_kept_and_workers_go_side_by_side(
    mosquitto: RunningBroker, receipts: Receipts, folder: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    done = Import(folder, Settings(mqtt=mosquitto.url, speed=1_000), tmp_path / "progress.json")
    done.run()
    assert 2.0 < time.monotonic() - began < 6.0  # 3,000 s at 1,000 times; the last tick goes out as it begins.
    assert_everything_is_kept(receipts, done)
    began_at = [json.loads(payload)[0]["at"] for payload in receipts.payloads]
    assert all(later > sooner - 1_000 for sooner, later in pairwise(began_at)), "a tick is 1,000 s here"


REC = b"""2026-01-01T08:00:00Z\t*                 \t{"_type":"location","tst":1767254400,"lat":60.1,"lon":24.9,"acc":12}
not a line
2026-01-01T08:05:00Z\tevent             \t{"_type":"transition","tst":1767254700,"event":"enter"}
2026-01-01T08:09:00Z\t-                 \t{"tst":"1767254400","_type":"lwt"}
2026-01-01T08:10:00Z\towntracks/cy/ipad \t{"_type":"location","tst":1767255000,"lat":60.1,"lon":24.9}
"""


def test_an_owntracks_recording_is_sent_byte_for_byte_on_its_phones_topics(
    mosquitto: RunningBroker, receipts: Receipts, tmp_path: Path
) -> None:
    folder = tmp_path / "store" / "rec" / "anna" / "phone"
    folder.mkdir(parents=True)
    (folder / "2026-01.rec").write_bytes(REC)
    Import(tmp_path / "store", Settings(mqtt=mosquitto.url), tmp_path / "progress.json").run()
    _eventually(lambda: len(receipts.messages) == 4)
    payloads = [line.split(b"\t")[2] for line in REC.splitlines() if b"\t" in line]
    topics = ["owntracks/anna/phone", "owntracks/anna/phone/event", "owntracks/anna/phone", "owntracks/cy/ipad"]
    assert receipts.messages == list(zip(topics, payloads, strict=True))


def test_a_batch_never_outgrows_the_embedded_brokers_payload() -> None:
    lane = _lane("w" * 128, 1_000)
    large = [
        Report(float(seq), lane, seq, "workers/w/position", b"x" * size) for seq, size in enumerate([14_990] * 3 + [100] * 500, 1)
    ]
    made = list(delivery.batches(large, Settings(mqtt="mqtt://nowhere")))
    assert all(len(batch.payload) <= delivery.PAYLOAD_BYTES_MAX for batch in made)
    assert b"".join(batch.payload.replace(b"[", b"").replace(b"]", b"").replace(b",", b"") for batch in made).count(b"x") == 94_970
    assert [batch.last for batch in made][-1] == 503


def _lane(owner: str, total: int) -> recordings.Lane:
    recording = recordings.Recording(
        path=Path("a.csv"), digest=b"d", owner=owner, reports={owner: total}, first_at=0, last_at=1, oldest_at=0, bad=()
    )
    return recordings.Lane(recording, owner, Change())


def _eventually(holds: Callable[[], bool], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()
