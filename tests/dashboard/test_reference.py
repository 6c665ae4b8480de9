"""The reference in a real browser, against the real api, with no way out to any other server."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from api import pages
from api.settings import Settings
from tests.api.conftest import serving
from tests.dashboard.conftest import VENDOR_MISSING, OpenPage

# Nothing here asks the database anything: the api serves its pages while that is away.
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"


@pytest.fixture
def url() -> Iterator[str]:
    with serving(Settings(), NO_DATABASE) as found:
        yield found


def test_the_reference_shows_every_call_and_asks_nobody_else(url: str, open_page: OpenPage) -> None:
    assert (pages.FOLDER / "vendor" / "swagger-ui-bundle.js").is_file(), VENDOR_MISSING
    page = open_page("about:blank")
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(f"{url}/docs")
    expect(page.get_by_text("/v1/workers/{id}/track")).to_be_visible()
    expect(page.get_by_text("/v1/settings", exact=True)).to_be_visible()
    hosts = {urlsplit(address).netloc for address in asked if not address.startswith("data:")}
    assert hosts == {urlsplit(url).netloc}


def test_a_reference_that_is_not_built_says_what_to_do(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    answer = httpx.get(f"{url}/docs")
    assert (answer.status_code, "uv sync --reinstall-package sitewatch" in answer.text) == (503, True)
