"""A real browser: the path of a Chromium that the machine has. Playwright's own download is not used."""

import os
import shutil

import pytest

from tests import missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the program; start it with `--no-sandbox` when root."""
    named = os.environ.get("SITEWATCH_CHROMIUM")
    found = named or next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        missing.skip("Chromium", "apt-get install chromium, or name one by SITEWATCH_CHROMIUM")
    return found
