"""A bounded Hypothesis profile, so that the engine's tests stay below a minute, and the same examples on every machine."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "engine",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True, scope="package")
def _bounded() -> Iterator[None]:
    settings.load_profile("engine")
    yield
    settings.load_profile("default")
