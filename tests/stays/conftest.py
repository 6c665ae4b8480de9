"""The world of verify's tests."""

from tests.verify.conftest import world

__all__ = ["world"]
