"""The secrets' maker: nothing by default, nothing twice, nothing that others on the machine can read."""

import subprocess
import sys
from pathlib import Path

from tests.deploy.house import HOUSE, compose

MAKER = HOUSE / "deploy" / "make_secrets.py"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(MAKER), "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_everything_that_compose_reads_is_made_and_nothing_changes_the_second_time(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make(folder).returncode == 0
    wanted = {Path(secret["file"]).name for secret in compose()["secrets"].values()}
    assert wanted <= {path.name for path in folder.iterdir()}
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert all(before.values())
    assert "everything was there" in make(folder).stdout
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_two_installations_share_no_secret(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_text() != (tmp_path / "b" / path.name).read_text(), path.name


def test_the_folder_is_closed_and_the_broker_has_hashes_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    hashes = (folder / "mosquitto_passwords").read_text()
    for user in ("ingest", "api", "sim", "import"):
        password = (folder / f"mqtt_{user}").read_text().split("@")[0].rpartition(":")[2]
        assert password not in hashes
        assert f"{user}:$7$" in hashes


def test_a_phone_cannot_be_called_like_a_program(tmp_path: Path) -> None:
    for user in ("ingest", "sim", "a/b", "a+", ""):
        assert make(tmp_path, "phone", user).returncode == 2, user
    assert make(tmp_path, "forget", "ingest").returncode == 2


def test_the_secrets_are_kept_out_of_git_and_out_of_the_image() -> None:
    assert "secrets/" in (HOUSE / "deploy" / ".gitignore").read_text()
    ignored = (HOUSE / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!deploy/secrets") or line == "!deploy" for line in ignored)
