"""A browser, a page in it that fails on any error it logs, and an invented fleet to look at."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.dashboard.fake_desk import Desk, Fleet

VENDOR_MISSING = "the dashboard's vendor files are not built: uv sync --reinstall-package sitewatch"
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    # Drawn by the processor: a test machine has no graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]

OpenPage = Callable[..., Page]
Profile = Callable[[str, str], BrowserContext]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One a module: while Playwright runs it holds the thread's event loop, and other modules want one of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Forty workers around Helsinki; more or none: make one's own."""
    desk = Desk(Fleet(40))
    yield desk
    desk.shutdown()


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[Profile]:
    """The profile of a reader with this language and theme. One a module, because a new one costs more than all of a page: what a
    page remembers is its server's, and every desk has a port of its own."""
    known: dict[tuple[str, str], BrowserContext] = {}

    def find(language: str, theme: str) -> BrowserContext:
        if (language, theme) not in known:
            known[language, theme] = browser.new_context(
                viewport={"width": 1280, "height": 800},
                locale=language,
                color_scheme=theme,  # type: ignore[arg-type]
            )
        return known[language, theme]

    yield find
    for context in known.values():
        context.close()


@pytest.fixture
def open_page(profile: Profile) -> Iterator[OpenPage]:
    """`open_page(url, language="zh-CN", theme="dark")`: a page that, at the end, must not have logged an error."""
    complaints: list[str] = []
    pages: list[Page] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} ({message.location.get('url')})")

    def open_one(url: str, *, language: str = "en-GB", theme: str = "light", expected: str | None = None) -> Page:
        page = profile(language, theme).new_page()
        pages.append(page)
        page.set_default_timeout(15_000)
        if expected is None:
            page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert complaints == []
