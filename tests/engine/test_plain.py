"""Plain: whatever it lets pass, credibility has nothing against."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import credibility, plain
from geofence.evidence import Fixes
from geofence.policy import Policy
from tests.engine.worlds import bounded, day, take

POLICY = Policy()
BACK_S = 900.0


def window(of: Fixes, last: int) -> Fixes:
    """What the flags of a position look at."""
    return take(of, np.flatnonzero((of.at >= of.at[last] - BACK_S) & (of.at <= of.at[last])))


def told(of: Fixes, relearn: bool = True) -> list[tuple[bool, tuple[str, ...]]]:
    """Of each fix after the first, whether plain lets it pass, and its flags."""
    answers = []
    phone = plain.phone(window(of, 0), credibility.masks(window(of, 0), POLICY), POLICY)
    for n in range(1, len(of.at)):
        one = slice(n, n + 1)
        odd = of.mock[one] | of.ping[one]
        steps = plain.Steps(of.at[one], of.received_at[one], of.lon[one], of.lat[one], of.accuracy_m[one], of.altitude_m[one], odd)
        phone = plain.step(phone, steps, POLICY)
        around = window(of, n)
        mask = credibility.masks(around, POLICY)
        answers.append((bool(phone["plain"][0]), credibility.names(int(mask[-1]))))
        if relearn and not phone["plain"][0]:
            phone = plain.phone(around, mask, POLICY)
    return answers


@st.composite
def tracks(draw: st.DrawFn) -> Fixes:
    """A worker's way with everything that is held against fixes, now and then."""
    every = draw(st.sampled_from([5.0, 10.0, 60.0, 150.0]))
    of = day(draw(st.integers(0, 99)), every, came=draw(st.integers(-1500, 600)), sigma_m=draw(st.sampled_from([0.02, 3.0, 10.0])))
    first = draw(st.integers(0, len(of.at) // 2))
    of = take(of, slice(first, first + 150))
    count = len(of.at)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    lon, lat, altitude = of.lon.copy(), of.lat.copy(), of.altitude_m.copy()
    start, length = draw(st.integers(0, count - 1)), draw(st.integers(1, 100))
    part = slice(start, start + length)
    match draw(st.sampled_from(["honest", "frozen", "jump", "line", "cache", "late", "odd", "tiny"])):
        case "frozen":
            lon[part], lat[part] = lon[start], lat[start]
        case "jump":
            lon[part] += 0.05
        case "line":
            lon[part] = lon[start] + 1e-4 * np.arange(len(lon[part]))
            lat[part] = lat[start]
        case "cache":
            altitude[:] = 50.0
            lon[::7], lat[::7] = lon[0] + 0.004, lat[0]
        case "late":
            of = replace(of, received_at=of.at + np.where(np.arange(count) >= start, 700.0, 1.0))
        case "odd":
            of = replace(of, mock=rng.random(count) < 0.1, ping=rng.random(count) < 0.1)
        case "tiny":
            of = replace(of, accuracy_m=np.where(rng.random(count) < 0.1, 0.1, 12.0))
        case _:
            pass
    return replace(of, lon=lon, lat=lat, altitude_m=altitude)


@bounded
@given(tracks(), st.booleans())
def test_what_is_plain_has_no_flag(of: Fixes, relearn: bool) -> None:
    wrong = [n for n, (passes, flags) in enumerate(told(of, relearn)) if passes and flags]
    assert wrong == []


def test_an_honest_phone_is_plain_nearly_always() -> None:
    answers = told(day(every_s=10.0))
    assert all(flags == () for _, flags in answers)
    assert sum(passes for passes, _ in answers) > 0.97 * len(answers)


def test_a_phone_that_was_doubted_is_plain_again_after_a_quarter_of_an_hour() -> None:
    of = day(every_s=10.0)
    mock = np.zeros(len(of.at), dtype=bool)
    mock[60] = True
    answers = told(replace(of, mock=mock))
    assert not any(passes for passes, _ in answers[59:140])
    assert all(passes for passes, _ in answers[155:200])


def test_a_position_out_of_a_cache_is_not_plain() -> None:
    """Not far enough for a leap, but the same to the last digit as one of five minutes ago."""
    of = day(every_s=60.0, came=600.0)
    lon, lat, again = of.lon.copy(), of.lat.copy(), 25
    lon[again], lat[again] = lon[again - 5], lat[again - 5]
    passes, flags = told(replace(of, lon=lon, lat=lat, altitude_m=np.full(len(of.at), 50.0)))[again - 1]
    assert flags == ("stale_ping",)
    assert not passes
