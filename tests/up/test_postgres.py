"""The embedded PostgreSQL starts where it must, says no to strangers, and recovers from what a crash leaves."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from sitewatch import dependent, postgres

NO_EXTENSION = postgres.Settings(timescaledb="none")


@pytest.fixture
def cluster(tmp_path: Path) -> postgres.Cluster:
    return postgres.prepare(tmp_path / "postgres", NO_EXTENSION, durable=False)


def test_the_data_and_the_password_are_for_their_owner_alone(cluster: postgres.Cluster) -> None:
    assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((cluster.folder / "password").stat().st_mode) == 0o600
    if os.geteuid() == 0:
        assert cluster.data.stat().st_uid != 0, "PostgreSQL refuses data of root"


def test_a_wrong_password_and_no_password_are_refused(cluster: postgres.Cluster) -> None:
    with postgres.running(cluster):
        for stranger in (
            cluster.url("postgres").replace(cluster.password, "guess"),
            cluster.url("postgres").replace(cluster.password, ""),
        ):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(stranger)


def test_what_was_committed_is_there_after_kill_9(tmp_path: Path) -> None:
    cluster = postgres.prepare(tmp_path / "postgres", NO_EXTENSION)
    process = postgres.start(cluster, cluster.folder / "log")
    url = postgres.create_database(cluster)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table kept as select 7 as seven")
    process.kill()
    process.wait()
    assert (cluster.data / "postmaster.pid").exists()
    again = postgres.prepare(cluster.folder, NO_EXTENSION)
    with postgres.running(again), psycopg.connect(again.url()) as connection:
        assert connection.execute("select seven from kept").fetchone() == (7,)


def test_a_pid_file_that_names_a_stranger_does_not_hinder_a_start(cluster: postgres.Cluster) -> None:
    # Of the server's own user: PostgreSQL does not mind the processes of others.
    stranger = subprocess.Popen(dependent.command(["sleep", "60"], user=cluster.account))
    try:
        with postgres.running(cluster):
            lines = (cluster.data / "postmaster.pid").read_text().split("\n")
        (cluster.data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]))
        with postgres.running(postgres.prepare(cluster.folder, NO_EXTENSION, durable=False)) as again:
            assert postgres.answers(again)
        assert stranger.poll() is None, "the stranger was ended"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_was_left_running_is_ended_before_the_next_one_starts(cluster: postgres.Cluster) -> None:
    left = postgres.start(cluster, cluster.folder / "log")
    with postgres.running(postgres.prepare(cluster.folder, NO_EXTENSION, durable=False)) as again:
        assert left.wait(5) == 0
        assert postgres.answers(again)


def test_a_first_start_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    cluster = postgres.prepare(tmp_path / "postgres", NO_EXTENSION, durable=False)
    with postgres.running(cluster):
        assert postgres.answers(cluster)


def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, time\n"
            "from sitewatch import postgres\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "cluster = postgres.prepare(folder / 'postgres', postgres.Settings(timescaledb='none'), durable=False)\n"
            "print(postgres.start(cluster, folder / 'log').pid, flush=True)\n"
            "time.sleep(60)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    os.kill(server, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while _lives(server):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)


def test_an_extension_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(postgres.UnavailableError, match="SITEWATCH_TIMESCALEDB"):
        postgres.find_timescaledb(str(tmp_path), postgres.find_programs())


def _lives(pid: int) -> bool:
    """Whether it runs: one that has ended and that nobody has waited for still has its number."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_no_port_is_named_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that it was named for may not have bound it yet."""
    monkeypatch.setattr(random, "sample", lambda *_: [31_997, 31_998])
    assert {postgres.free_port(), postgres.free_port()} == {31_997, 31_998}
    with pytest.raises(postgres.UnavailableError, match="no port"):
        postgres.free_port()
