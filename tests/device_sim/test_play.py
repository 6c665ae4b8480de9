"""A day is played over real brokers to a system that is not always well."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from device_sim import Options, Show, day, fleet, outbox, post, run
from device_sim.broker import Broker
from device_sim.cli import app
from device_sim.feed import Report
from device_sim.simulate import Day
from tests.device_sim.fake_system import FakeApi, FakeIngest
from tests.fix_broker import RunningBroker

SMALL = Options(workers=5, city="helsinki", day="2026-11-20", trouble=0.3, owntracks=0.2, interval_s=45.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones that wait half a second for a receipt, so that a test need not wait ten."""
    monkeypatch.setattr(outbox, "RESEND_S", 0.5)
    monkeypatch.setattr(outbox, "RESEND_MOST_S", 2.0)


def _delivered(made: Day) -> dict[str, set[tuple[int, int]]]:
    """Per worker, what has to be there in the end."""
    return {
        feed.owner: {(report.epoch, report.seq) for report in feed.reports() if report.epoch is not None and report.seq is not None}
        for feed in made.feeds
        if feed.owner and not feed.owntracks
    }


@pytest.mark.usefixtures("impatient")
def test_a_finished_day_ends_when_everything_has_its_receipt(each_broker: RunningBroker, tmp_path: Path) -> None:
    with FakeIngest(each_broker.host, each_broker.port, loss=0.2) as ingest, FakeApi(bulk=True) as api:
        show = Show(at_once=True, give_up_s=60, truth=tmp_path / "truth.jsonl")
        summary = asyncio.run(run(http=api.url, mqtt=each_broker.url, seed=2, options=SMALL, show=show, say=lambda _: None))
    assert summary.unconfirmed == 0
    assert ingest.counts["lost"] > 10, "nothing was lost, so nothing was proven"
    assert summary.resent > 0
    made = day(2, SMALL)
    assert ingest.kept == _delivered(made)
    assert len((tmp_path / "truth.jsonl").read_bytes().splitlines()) == len(made.visits)
    assert sum(len(many) for topic, many in ingest.payloads.items() if topic.startswith("owntracks/")) > 100


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_dies_and_comes_back_loses_nothing_of_a_phone(mosquitto: RunningBroker) -> None:
    killed = False

    async def kill_once(ingest: FakeIngest) -> None:
        nonlocal killed
        await asyncio.to_thread(ingest.enough.wait, 30)
        mosquitto.kill()
        killed = True
        await asyncio.sleep(0.5)
        await asyncio.to_thread(mosquitto.start)

    async def both(ingest: FakeIngest) -> fleet.Summary:
        killer = asyncio.create_task(kill_once(ingest))
        options, show = msgspec.structs.replace(SMALL, workers=12, interval_s=20.0), Show(at_once=True, give_up_s=90)
        summary = await run(http=None, mqtt=mosquitto.url, seed=2, options=options, show=show, say=lambda _: None)
        await killer
        return summary

    with FakeIngest(mosquitto.host, mosquitto.port) as ingest:
        summary = asyncio.run(both(ingest))
    assert killed
    assert summary.reconnects > 0
    assert summary.unconfirmed == 0
    assert ingest.kept == _delivered(day(2, msgspec.structs.replace(SMALL, workers=12, interval_s=20.0)))


def test_live_sends_the_past_at_once_and_the_rest_in_its_time(mosquitto: RunningBroker) -> None:
    """The clock is moved to the middle of a day by making the day around now."""
    made = day(4, msgspec.structs.replace(SMALL, city="helsinki", interval_s=2.0))
    shift = time.time() - (made.starts_at + 12.5 * 3600)
    broker = Broker.parse(mosquitto.url)

    async def play_for(seconds: float) -> fleet.Summary:
        play = fleet.Play(made, broker, lambda: time.time() - shift, connections=2, receipts=True, say=lambda _: None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await play.play()
        return play.summary

    with FakeIngest(mosquitto.host, mosquitto.port) as ingest:
        asyncio.run(play_for(6.0))
        end = time.time() - shift
    skewed = {fault.source for fault in made.trouble.faults if fault.kind == "clock_skew"}
    positions = [(topic.split("/")[3], many) for topic, many in ingest.payloads.items() if topic.endswith("/position")]
    claimed = [element["at"] for _, many in positions for element in many]
    punctual = [element["at"] for worker, many in positions if worker not in skewed for element in many]
    assert len(claimed) > 1000, "the morning is history that a dashboard can show"
    assert max(punctual) <= end
    assert max(punctual) > end - 4
    assert sum(at > end - 5 for at in punctual) >= 3


def test_faster_than_life_starts_with_the_day_and_catches_up() -> None:
    begins_at = time.time() - 1000
    now = fleet.clock(5000, begins_at)
    assert now() == pytest.approx(begins_at, abs=100)
    time.sleep(0.3)
    assert now() == pytest.approx(time.time(), abs=0.5)


@pytest.mark.parametrize("bulk", [True, False])
def test_plans_go_in_bulk_or_one_by_one(bulk: bool) -> None:
    made = day(2, SMALL)
    with FakeApi(bulk=bulk, token="secret") as api:
        assert post.plans(api.url, "secret", made) == sum(map(len, made.plans().values()))
        bodies = list(api.bodies)
        with pytest.raises(post.RefusedError, match="401"):
            post.plans(api.url, "wrong", made)
    sent = {(kind, item["id"]) for _, _, body in bodies for kind in body for item in body[kind]} if bulk else set()
    sent |= {(path.split("/")[2], path.split("/")[3]) for method, path, _ in bodies if method == "PUT"}
    assert sent == {(kind, item["id"]) for kind, items in made.plans().items() for item in items}
    if not bulk:
        kinds = [path.split("/")[2] for _, path, _ in bodies]
        assert kinds == sorted(kinds, key=["sites", "workers", "devices", "visits"].index), "what is named must be there first"


def test_messages_are_arrays_of_neighbours_and_never_too_large() -> None:
    def report(k: int) -> Report:
        return Report("w", k, k, "a" if k % 100 < 80 else "b", {"at": k, "text": "x" * 150}, retain=k % 100 == 90)

    reports = [report(k) for k in range(300)]
    packed = list(fleet.pack(reports, arrays=True))
    decoded = [msgspec.json.decode(payload) for _, payload, _ in packed]
    unpacked = [item for said in decoded for item in (said if isinstance(said, list) else [said])]
    assert [item["at"] for item in unpacked] == list(range(300)), "order is kept"
    assert max(len(payload) for _, payload, _ in packed) < 20_000
    assert len(packed) < 30
    assert all(payload[:1] == b"{" for _, payload, retain in packed if retain), "a retained array would be a strange status"
    assert len(list(fleet.pack(reports, arrays=False))) == 300


def test_the_command_writes_a_day_and_says_its_seed_first(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--out", str(tmp_path / "day"), "--workers", "3", "--city", "dubai", "--seed", "9", "--honest"]
    )
    assert result.exit_code == 0, result.output
    opening = msgspec.json.decode(result.output.splitlines()[0])
    assert (opening["seed"], opening["city"], opening["trouble"]) == (9, "dubai", 0.0)
    names = {"options.json", "plans.json", "reports.jsonl", "trails.jsonl", "trouble.json", "truth.jsonl"}
    assert {path.name for path in (tmp_path / "day").iterdir()} == names
    times = [msgspec.json.decode(line)["deliverable_at"] for line in (tmp_path / "day" / "reports.jsonl").read_bytes().splitlines()]
    assert times == sorted(times)


def test_the_command_refuses_what_makes_no_sense() -> None:
    for wrong in (["--city", "atlantis"], ["--day", "tomorrow"], ["--workers", "0"]):
        result = CliRunner().invoke(app, [*wrong, "--out", "/nowhere"])
        assert result.exit_code == 2


def test_a_phone_that_dies_leaves_its_will_to_the_broker(mosquitto: RunningBroker) -> None:
    """The last will comes from the broker: the simulator only cuts the radio."""
    made = day(2, msgspec.structs.replace(SMALL, workers=20, trouble=0.6))
    feed = next(feed for feed in made.feeds if feed.owner and not feed.owntracks and feed.wills_after(0))
    dies_at = next(float(feed.deliverable_at[k]) for k in range(len(feed)) if feed.is_will(k))
    alone = msgspec.structs.replace(made, feeds=(feed,))
    shift = time.time() - (dies_at - 3)

    async def play_for(seconds: float) -> fleet.Summary:
        broker = Broker.parse(mosquitto.url)
        play = fleet.Play(alone, broker, lambda: time.time() - shift, connections=2, receipts=True, say=lambda _: None, own=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await play.play()
        return play.summary

    with FakeIngest(mosquitto.host, mosquitto.port) as ingest:
        summary = asyncio.run(play_for(8.0))
        will = feed.wills_after(dies_at - 1)[0]
    assert summary.wills == 1
    said = ingest.payloads[f"{feed.topic}/status"]
    assert said.count(will.payload) == 1, "the broker said it, and nobody else"
