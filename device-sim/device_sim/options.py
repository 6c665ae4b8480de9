"""Options: everything that shapes a simulated day, as one frozen value. Together with the seed it fixes the day byte for byte."""

from datetime import date

from msgspec import Struct

WORKERS_MAX = 20_000


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`city` and `day` are resolved before a day is made: `auto` and today are for the shell, which may look at the clock."""

    workers: int = 40
    city: str = "beijing"
    day: str = "2026-11-22"
    """The local day in the city, as YYYY-MM-DD."""
    interval_s: float | None = None
    """Fix interval of every native phone. None: a mix of 10 s, 60 s and significant-change phones."""
    trouble: float = 0.15
    """Share of visits that do not go as planned, and of phone days with a fault of every major kind together; 0 is honest."""
    owntracks: float = 0.1
    """Share of the fleet that carries an OwnTracks phone instead of our own app."""
    prefix: str = "sitewatch/v1"
    """Where the native topics begin."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= WORKERS_MAX:
            raise ValueError(f"workers must be 1 to {WORKERS_MAX}, not {self.workers}")
        if self.interval_s is not None and not 1 <= self.interval_s <= 3600:
            raise ValueError(f"interval_s must be 1 to 3600 seconds, not {self.interval_s}")
        for name in ("trouble", "owntracks"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        date.fromisoformat(self.day)
