"""The world on a fresh database; `each_world` once on plain PostgreSQL and once on TimescaleDB."""

from collections.abc import Iterator

import pytest

from tests.verify.world import World


@pytest.fixture
def world(database: str) -> Iterator[World]:
    made = World(database)
    yield made
    made.close()


@pytest.fixture
def each_world(each_database: str) -> Iterator[World]:
    made = World(each_database)
    yield made
    made.close()
