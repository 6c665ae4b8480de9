import pytest

from device_sim.options import Options
from device_sim.simulate import Day, day


@pytest.fixture(scope="session")
def helsinki() -> Day:
    """A day with a good deal of trouble, so that every kind of it lands."""
    return day(11, Options(workers=60, city="helsinki", day="2026-11-20", trouble=0.4))


@pytest.fixture(scope="session")
def honest() -> Day:
    return day(5, Options(workers=40, city="beijing", day="2026-11-20", trouble=0.0))
