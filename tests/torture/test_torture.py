"""The short form of the torture. The long ones are commands: `python -m tests.torture --help`."""

import asyncio
from pathlib import Path

import pytest

from sitewatch import broker
from tests import missing
from tests.torture import storm, trials
from tests.torture.plan import Options, Plan


@pytest.fixture(autouse=True)
def _mosquitto() -> None:
    if broker.find_mosquitto() is None:
        missing.skip("mosquitto", "apt-get install mosquitto, or brew install mosquitto")


def test_a_storm_of_every_fault_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    options = Options()
    report = asyncio.run(storm.run(options, tmp_path, print))
    assert report.good, "\n".join(report.lines())
    drawn = {kind for kind, count in options.counts().items() if count}
    assert {kind for kind in drawn if not report.landed[kind]} == set(), "these struck nothing that was in flight"


def test_the_same_seed_draws_the_same_storm() -> None:
    assert str(Plan.draw(Options(seed=5))) == str(Plan.draw(Options(seed=5)))
    assert str(Plan.draw(Options(seed=5))) != str(Plan.draw(Options(seed=6)))


def test_a_full_disk_costs_time_and_nothing_else(tmp_path: Path) -> None:
    trial = asyncio.run(trials.disk_full(tmp_path, 1))
    if trial is None:
        pytest.skip("a full disk was not tried: only root can mount a small one")
    assert trial.good, trial.text()
