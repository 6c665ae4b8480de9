"""The small world of verify's tests, on which replays are run too."""

from tests.verify.conftest import world

__all__ = ["world"]
