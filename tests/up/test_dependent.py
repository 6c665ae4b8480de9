"""A dependent ends with its parent, also when the parent was faster."""

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sitewatch import dependent
from tests.up.house import processes, until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

PARENT = """
import subprocess, sys, time
from sitewatch import dependent
child = subprocess.Popen(dependent.command([sys.executable, "-c", "import time; time.sleep(60)  # a-dependent-child"]))
print(child.pid, flush=True)
time.sleep(60)
"""


@LINUX
def test_it_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    until(lambda: "a-dependent-child" in processes().get(child, "") and "dependent.py" not in processes()[child])
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: child not in processes(), 5)


def test_it_does_not_begin_when_its_parent_is_gone(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    began = tmp_path / "began"
    command = dependent.command([sys.executable, "-c", f"open({str(began)!r}, 'w')"])
    command[command.index("--parent") + 1] = str(gone.pid)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "parent ended" in done.stderr
    assert not began.exists()


@ROOT
@LINUX
def test_it_gives_up_root_but_reaches_a_folder_that_is_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("inside")
    (closed / "file").chmod(0o600)
    look = ["/bin/sh", "-c", f"id -u; cat {closed}/file; touch {closed}/new 2>/dev/null && echo wrote"]
    without = subprocess.run(dependent.command(look, user="nobody"), capture_output=True, text=True, check=False, timeout=20)
    reaching = subprocess.run(
        dependent.command(look, user="nobody", reach=True), capture_output=True, text=True, check=False, timeout=20
    )
    nobody = pwd.getpwnam("nobody").pw_uid
    assert without.stdout.split() == [str(nobody)]
    assert reaching.stdout.split()[:2] == [str(nobody), "inside"]
    if dependent._may(dependent.CAP_DAC_READ_SEARCH):
        assert "wrote" not in reaching.stdout, "it may read and enter, not write"


def test_starting_one_costs_little() -> None:
    began = time.process_time()
    children_before = os.times().children_user + os.times().children_system
    subprocess.run(dependent.command(["true"]), check=True, timeout=20)
    spent = os.times().children_user + os.times().children_system - children_before + time.process_time() - began
    assert spent < 0.5
