"""Simulated fleets and the truth about them. Knows the public contract and nothing else of the system.

`day(seed, options)` makes a whole day, pure and repeatable; `run(...)` plays days to a system; `device_sim.cli:app` is the command.
"""

from device_sim.options import Options
from device_sim.play import Show, run
from device_sim.simulate import Day, day

__all__ = ["Day", "Options", "Show", "day", "run"]
