"""Fixtures of the import's tests: `receipts`, the stand-in for the system behind the broker."""

from tests.importing.fix_receipts import receipts

__all__ = ["receipts"]
