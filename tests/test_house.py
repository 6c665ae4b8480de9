"""The rules of the house, checked by tools: style, types, imports that point one way, nothing that ties us to a machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
# What holds only on one machine or one network, and what must never be published.
FORBIDDEN = {
    "a registry's host": r"(registry\.npmjs\.org|registry\.npmmirror|files\.pythonhosted\.org|pypi\.org/simple|registry\.yarnpkg)",
    "a path of one machine": r"(?<![\w.])/(work|root|home/\w+|Users/\w+)/\w",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
TEXT_BYTES_MAX = 2_000_000


@pytest.mark.parametrize(
    "tool",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports", "--no-cache"]],
    ids=lambda tool: " ".join(tool),
)
def test_the_tools_have_nothing_to_say(tool: list[str]) -> None:
    program = shutil.which(tool[0], path=str(Path(sys.executable).parent)) or shutil.which(tool[0])
    assert program, f"{tool[0]} is not installed"
    done = subprocess.run([program, *tool[1:]], cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tracked_files_hold_on_every_machine() -> None:
    found = [
        f"{file}:{number}: {what}: {line.strip()[:120]}"
        for file in tracked()
        for number, line in enumerate(text_of(file).splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("https://registry" + ".npmjs.org/uplot", "a registry's host"),
        ("cd /work" + "/main", "a path of one machine"),
        ("-----BEGIN RSA PRIVATE" + " KEY-----", "a private key"),
    ],
)
def test_the_check_of_files_sees_what_it_is_for(line: str, what: str) -> None:
    assert re.search(FORBIDDEN[what], line)


def tracked() -> list[Path]:
    """Every file of the project: what git knows, or everything where there is no git, as in an unpacked archive."""
    git = shutil.which("git")
    if git and (HOUSE / ".git").exists():
        listed = subprocess.run([git, "ls-files", "-z"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout
        return [HOUSE / name for name in listed.split("\0") if name and (HOUSE / name).is_file()]
    ignored = {".venv", "node_modules", "vendor", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__"}
    return [path for path in HOUSE.rglob("*") if path.is_file() and not ignored & set(path.parts)]


def text_of(file: Path) -> str:
    if file.stat().st_size > TEXT_BYTES_MAX:
        return ""
    return file.read_text(errors="replace")
