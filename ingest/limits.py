"""What a value must be to be taken, and what stands for "not known".

Rules kept here:

- Bounds are wide: they keep out what cannot be (a latitude of 116, an altitude of 1e300, a time in 1970) and what the database
  cannot hold. What is merely implausible is evidence, and the engine flags it.
- A phone's "I do not know" is a missing value: an accuracy of 0 or less, a speed or a heading below 0, a battery below 0.
- `Refusal` is how a reader of one element says no to `wire.decode`, which turns it into a `Reject`. It goes no further.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated

from msgspec import Meta

from store.rejects import Reason

TEXT_MAX = 200
SOURCE_MAX = 128
EARLIEST_AT = 946_684_800.0
"""2000-01-01 UTC: no phone of ours is older, and a clock that has lost its battery starts in 1970."""
AHEAD_MAX_S = 86_400.0
"""A clock may be a day ahead and is then flagged; beyond that the time says nothing."""

Longitude = Annotated[float, Meta(ge=-180, le=180)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Metres = Annotated[float, Meta(le=1e7)]
Altitude = Annotated[float, Meta(ge=-12_000, le=100_000)]
Speed = Annotated[float, Meta(le=10_000)]
Heading = Annotated[float, Meta(le=360)]
Battery = Annotated[float, Meta(le=100)]
Value = Annotated[float, Meta(ge=-1e12, le=1e12)]
Seq = Annotated[int, Meta(ge=1, le=2**53)]
Epoch = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class Refusal(Exception):  # noqa: N818 - it is a refusal and not an error: our side works as it should.
    """This element cannot be taken; the detail names the field and the mend."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def instant(value: datetime | float, received_at: float, field: str = "at") -> float:
    """The time as seconds since 1970 UTC, rounded to the microseconds that the database keeps."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Refusal(
                Reason.BAD_TIME, f"{field} {value.isoformat()} has no time zone: end it with Z or an offset such as +08:00"
            )
        at = value.timestamp()
    else:
        at = value
    # Asked this way round, NaN is refused too: a number that came as a string may be one.
    if not EARLIEST_AT <= at <= received_at + AHEAD_MAX_S:
        raise Refusal(Reason.TIME_OUT_OF_RANGE, _untimely(at, received_at, field))
    # Rounding to decimals is slow. What came with no more than six of them, as nearly everything does, is left as it is.
    return at if round(at * 1e6) / 1e6 == at else round(at, 6)


def _untimely(at: float, received_at: float, field: str) -> str:
    for unit, scale in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if EARLIEST_AT <= at / scale <= received_at + AHEAD_MAX_S:
            return f"{field} {at:.0f} looks like {unit}: send seconds since 1970, or RFC 3339"
    if at < EARLIEST_AT:
        return f"{field} {at:.15g} is before the year 2000: set the clock, and send seconds since 1970 or RFC 3339"
    return f"{field} {at:.15g} is more than a day in the future of its receipt: set the clock"


def text(value: str | None, field: str) -> str | None:
    """A text that the database can hold. Empty is missing."""
    if not value:
        return None
    if "\0" in value:
        raise Refusal(Reason.BAD_TEXT, f"{field} holds a NUL character: leave it out")
    return value


def positive(value: float | None) -> float | None:
    """A value of which 0 and less mean "not known"."""
    return value if value is not None and value > 0 else None


def not_negative(value: float | None) -> float | None:
    """A value of which less than 0 means "not known"."""
    return value if value is not None and value >= 0 else None


def share(value: float | None) -> float | None:
    """A battery level as a share: up to 1 it is one, above 1 it is percent, below 0 it is not known."""
    if value is None or value < 0:
        return None
    return value if value <= 1 else value / 100


def counted(epoch: int, seq: int) -> int:
    """The identity of a report whose phone counts: the same number is the same report, whatever bytes it came in."""
    return digest(b"%d:%d" % (epoch, seq))


def digest(content: bytes) -> int:
    """The identity of a report by its bytes: 63 bits, so that it fits a bigint and is never negative."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") >> 1
