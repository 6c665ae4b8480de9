"""The page's fixtures serve here too, against the real house."""

from tests.dashboard.conftest import browser, open_page, profile

__all__ = ["browser", "open_page", "profile"]
