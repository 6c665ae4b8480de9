"""The build hook: what is current is left alone, what is old is replaced as a whole, what fails says what to do."""

import re
from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder in which npm, instead of asking the network, puts files there that say their own name."""
    for name in (*hatch_build.RECIPE, ".npmrc"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def npm_ci(folder: Path) -> None:
        for source in hatch_build.TAKEN:
            file = folder / "node_modules" / source
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)

    monkeypatch.setattr(hatch_build, "run_npm_ci", npm_ci)
    return tmp_path


def test_a_build_takes_every_file_and_is_current_afterwards(project: Path) -> None:
    assert not hatch_build.is_current(project)
    hatch_build.build(project)
    vendor = project / "api" / "static" / "vendor"
    assert {file.name for file in vendor.iterdir()} == {*hatch_build.TAKEN.values(), "BUILT"}
    assert (vendor / "uPlot.mjs").read_text() == "uplot/dist/uPlot.esm.js"
    assert hatch_build.is_current(project)
    assert [file.name for file in vendor.parent.iterdir()] == ["vendor"], "the working folder is gone"


@pytest.mark.parametrize("name", hatch_build.RECIPE)
def test_a_changed_recipe_is_built_again(project: Path, name: str) -> None:
    hatch_build.build(project)
    file = project / name
    file.write_bytes(file.read_bytes() + b"\n ")
    assert not hatch_build.is_current(project)


def test_a_missing_file_is_built_again(project: Path) -> None:
    hatch_build.build(project)
    (project / "api" / "static" / "vendor" / "uPlot.css").unlink()
    assert not hatch_build.is_current(project)


def test_a_failed_build_leaves_the_old_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hatch_build.build(project)

    def npm_fails(folder: Path) -> None:
        raise hatch_build.DashboardBuildError(hatch_build.advice("ended with code 1", "npm error ECONNREFUSED"))

    monkeypatch.setattr(hatch_build, "run_npm_ci", npm_fails)
    with pytest.raises(hatch_build.DashboardBuildError, match=r"ECONNREFUSED[\s\S]*SITEWATCH_WITHOUT_DASHBOARD=1"):
        hatch_build.build(project)
    assert hatch_build.is_current(project)


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert "resolved" not in lock
    hosts = set(re.findall(r"https?://([^/\"]+)", lock))
    assert hosts <= {"github.com", "opencollective.com"}, "only links to thank somebody"


def test_what_this_installation_serves_is_current() -> None:
    assert hatch_build.is_current(ROOT), "uv sync --reinstall-package sitewatch"
