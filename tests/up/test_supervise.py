"""A part that ends is started again and said so; one that never answers is an error that shows why."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from sitewatch import dependent
from sitewatch.supervise import Keeper, Part, StartError

# Waits for its turn as our programs do, writes its process id, and lives.
PROGRAM = """
import pathlib, sys, time
from sitewatch import lifeline
lifeline.hold()
pathlib.Path(sys.argv[1]).write_text(str(__import__("os").getpid()))
time.sleep(60)
"""


def part(folder: Path, program: str = PROGRAM, answers: Callable[[datetime], bool] | None = None) -> Part:
    pid = folder / "pid"
    command = dependent.command([sys.executable, "-c", program, str(pid)])
    return Part("clock", lambda: command, answers or (lambda _: pid.exists()))


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_a_part_waits_for_its_turn(tmp_path: Path) -> None:
    async def story() -> None:
        keeper = Keeper(part(tmp_path), tmp_path / "log", lambda _: None)
        keeper.start()
        await asyncio.sleep(0.5)
        assert not (tmp_path / "pid").exists()
        await keeper.go()
        assert (tmp_path / "pid").exists()
        await keeper.stop(2)

    asyncio.run(story())


def test_a_part_that_is_killed_comes_back_and_both_are_said(tmp_path: Path) -> None:
    said: list[str] = []

    async def story() -> None:
        keeper = Keeper(part(tmp_path), tmp_path / "log", said.append)
        keeper.start()
        await keeper.go()
        first = keeper.pid
        assert first is not None
        (tmp_path / "pid").unlink()
        os.kill(first, signal.SIGKILL)
        await until(lambda: any("is back" in sentence for sentence in said))
        assert keeper.pid not in (None, first)
        await keeper.stop(2)
        assert keeper.pid is None

    asyncio.run(story())
    assert "clock ended (killed by SIGKILL)" in said[0]


def test_a_part_that_cannot_start_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def story() -> None:
        broken = part(tmp_path, "raise SystemExit('no such thing as a clock')")
        keeper = Keeper(broken, tmp_path / "log", lambda _: None)
        keeper.start()
        with pytest.raises(StartError, match="no such thing as a clock"):
            await keeper.go()
        await keeper.stop(2)

    asyncio.run(story())


def test_a_part_that_does_not_stop_is_ended_by_force(tmp_path: Path) -> None:
    said: list[str] = []
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PROGRAM

    async def story() -> None:
        keeper = Keeper(part(tmp_path, stubborn), tmp_path / "log", said.append)
        keeper.start()
        await keeper.go()
        await keeper.stop(0.3)
        assert keeper.pid is None

    asyncio.run(story())
    assert any("ended by force" in sentence for sentence in said)


def test_a_part_that_lives_but_answers_no_more_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sitewatch.supervise.CHECK_EVERY_S", 0.05)
    said: list[str] = []
    well = [True]

    async def story() -> None:
        kept = part(tmp_path)
        checked = Part(kept.name, kept.command, lambda _: well[0] and (tmp_path / "pid").exists(), checked=True)
        keeper = Keeper(checked, tmp_path / "log", said.append)
        keeper.start()
        await keeper.go()
        first = keeper.pid
        well[0] = False
        await until(lambda: keeper.pid != first)
        well[0] = True
        await until(lambda: any("is back" in sentence for sentence in said))
        await keeper.stop(2)

    asyncio.run(story())
    assert any("does not answer" in sentence for sentence in said)
