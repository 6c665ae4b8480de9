"""`sitewatch up` keeps its promises: what dies comes back, what stops leaves nothing, and mistakes are told plainly."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from paho.mqtt import publish

from sitewatch import broker
from tests import missing
from tests.up.house import House, processes, until

STOP_S = 5.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One run that tests share which leave it as they found it: with every part answering."""
    if broker.find_mosquitto() is None:
        missing.skip("mosquitto", "apt-get install mosquitto, or brew install mosquitto")
    started = House(tmp_path_factory.mktemp("up")).wait_ready()
    yield started
    started.close()


def test_the_ready_file_says_where_everything_is_and_everything_is_there(house: House) -> None:
    assert set(house.ready) == {"http", "mqtt", "database", "token"}
    assert house.ready["token"] is None
    assert stat.S_IMODE(house.ready_file.stat().st_mode) == 0o600
    assert house.get("/healthz") == 200
    assert house.get("/readyz") == 200
    assert broker.answers(int(str(house.ready["mqtt"]).rsplit(":", 1)[1]))
    with psycopg.connect(str(house.ready["database"])) as connection:
        assert connection.execute("select count(*) from visits").fetchone() == (0,)


@pytest.mark.parametrize("part", ["ingest", "verify", "api", "broker", "PostgreSQL"])
def test_a_part_that_is_killed_comes_back_and_is_said(house: House, part: str) -> None:
    first = house.pid_of(part)
    assert first, house.children()
    os.kill(first, signal.SIGKILL)
    until(lambda: house.pid_of(part) not in (0, first), why=lambda: house.console)
    until(lambda: f"{part} is back" in house.console, why=lambda: house.console)
    assert f"{part} ended (killed by SIGKILL)" in house.console
    until(lambda: house.get("/readyz") == 200, why=lambda: house.console)


def test_a_position_goes_from_the_broker_to_the_api(house: House) -> None:
    publish_position(house, "w-flow")
    until(lambda: "w-flow" in house.read("/v1/positions"), why=lambda: house.read("/v1/positions"))


def test_a_second_run_on_the_same_folder_is_refused_and_names_the_first(house: House) -> None:
    second = House(house.data.parent)
    assert second.process.wait(20) == 1
    assert f"in use by sitewatch up (process {house.process.pid})" in house.console
    assert "--data" in house.console
    assert house.get("/readyz") == 200


def test_ctrl_c_ends_everything_in_time_and_takes_the_ready_file_along(tmp_path: Path) -> None:
    house = House(tmp_path).wait_ready()
    children = house.children()
    assert len(children) == 5, children
    assert house.stop() < STOP_S
    assert house.process.returncode == 0, house.console
    assert not house.ready_file.exists()
    assert not children.keys() & _alive(children), house.console


def test_sigterm_while_starting_leaves_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    until(lambda: len(house.children()) >= 3, why=lambda: house.console)
    children = house.children()
    assert house.stop(signal.SIGTERM) < STOP_S
    assert house.process.returncode == 0, house.console
    until(lambda: not children.keys() & _alive(children), 2, lambda: house.console)


def test_kill_9_leaves_no_orphan_and_the_next_run_has_the_data(tmp_path: Path) -> None:
    house = House(tmp_path).wait_ready()
    with psycopg.connect(str(house.ready["database"]), autocommit=True) as connection:
        connection.execute("insert into workers (id, name) values ('w-1', 'kept')")
    children = house.children()
    house.kill()
    until(lambda: not children.keys() & _alive(children), STOP_S, lambda: f"left: {children}")
    again = House(tmp_path)
    # The ready file of the killed run is still there until the next one has begun.
    until(lambda: again.console.count("Dashboard") == 2 or again.process.poll() is not None, 60, lambda: again.console)
    with psycopg.connect(str(again.ready["database"])) as connection:
        assert connection.execute("select name from workers where id = 'w-1'").fetchone() == ("kept",)
    again.stop()
    assert again.process.returncode == 0


@pytest.mark.parametrize(("which", "option"), [(0, "--http-port"), (1, "--mqtt-port")])
def test_a_port_that_is_taken_is_named_with_its_option(tmp_path: Path, which: int, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        house = House(tmp_path, ports=(port, 0) if which == 0 else (0, port))
        assert house.process.wait(20) == 1
        assert f"port {port} is in use" in house.console
        assert option in house.console


def test_it_runs_on_the_embedded_broker_too(tmp_path: Path) -> None:
    house = House(tmp_path, environment={"SITEWATCH_BROKER__KIND": "iotcore"}).wait_ready()
    assert "iotcore" in house.console
    assert house.get("/readyz") == 200
    publish_position(house, "w-flow")
    until(lambda: "w-flow" in house.read("/v1/positions"), why=lambda: house.read("/v1/positions"))
    assert house.stop() < STOP_S
    assert house.process.returncode == 0


def test_a_key_is_required_when_one_is_configured_and_the_ready_file_has_it(tmp_path: Path) -> None:
    house = House(tmp_path, environment={"SITEWATCH_API_KEY": "s3cret"}).wait_ready()
    assert house.ready["token"] == "s3cret"
    assert house.get("/v1/sites") == 401
    house.stop()


def test_a_setting_that_nobody_knows_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "sitewatch.toml").write_text("[up]\nhttp_prot = 1\n")
    house = House(tmp_path)
    assert house.process.wait(20) == 2
    assert "http_port" in house.console
    assert not house.data.exists()


def publish_position(house: House, worker: str) -> None:
    """Sends one fix as soon as the ready file is there: nothing that comes later than that may be lost."""
    now = datetime.now(UTC).isoformat()
    fix = json.dumps({"at": now, "lon": 24.9384, "lat": 60.1699, "accuracy_m": 8})
    where = urlsplit(str(house.ready["mqtt"]))
    publish.single(
        f"sitewatch/v1/workers/{worker}/position", fix, qos=1, hostname=str(where.hostname), port=where.port or 1883, keepalive=20
    )


def _alive(children: dict[int, str]) -> set[int]:
    running = processes()
    return {pid for pid, command in children.items() if running.get(pid) == command}
