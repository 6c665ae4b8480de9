"""What every test can ask for. Fixtures are split by topic: fix_database, fix_broker, fix_browser.

Tests run on real parts. A part that is missing is a skip that says what to install; with CI=true a missing broker or
browser is a failure, because there it would hide that nothing was tested. TimescaleDB has no package that a plain
machine could install, so its absence is a skip everywhere, and a loud one: see the end of the report.
"""

import os

import pytest

pytest_plugins = ["tests.fix_broker", "tests.fix_browser", "tests.fix_database"]


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests on real parts wait more than they work."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the very end, where it is read, what was not tested here."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)}
    missing = sorted(reason for reason in reasons if "not installed" in reason)
    if missing:
        terminalreporter.section("NOT TESTED ON THIS MACHINE", red=True, bold=True)
        for reason in missing:
            terminalreporter.line(reason)
