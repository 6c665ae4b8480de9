"""Where workers stayed and were, on a real database: what `tests/verify` does not need a whole cycle for."""
