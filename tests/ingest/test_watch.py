"""When a connection counts as half open, and when a subscription as stalled."""

from math import ceil, inf

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.watch import ANSWER_S, PULSES, Due, Watch

KEEPALIVE_S, PULSE_S = 60.0, 10.0
ENDS = (Due.HALF_OPEN, Due.STALLED)


def watch(*, proven: bool = True) -> Watch:
    return Watch(KEEPALIVE_S, PULSE_S, 0.0, proven=proven)


def shown(watched: Watch, until: float, step_s: float = 0.5) -> list[tuple[float, Due]]:
    """What is due, asked twice a second."""
    asked = [step_s * k for k in range(int(until / step_s) + 1)]
    return [(now, due) for now in asked if (due := watched.due(now)) is not Due.NOTHING]


def test_a_silent_connection_is_pinged_at_half_the_keepalive_and_given_up_when_it_does_not_answer() -> None:
    watched = Watch(KEEPALIVE_S, 1e9, 0.0)
    assert shown(watched, 100) == [(30.0, Due.PING), *[(30 + ANSWER_S + k / 2, Due.HALF_OPEN) for k in range(121)]]


def test_an_answer_is_enough() -> None:
    watched = Watch(KEEPALIVE_S, 1e9, 0.0)
    assert shown(watched, 30) == [(30.0, Due.PING)]
    watched.sent(30)
    watched.heard(31)
    assert [watched.due(now) for now in (41.0, 59.5)] == [Due.NOTHING] * 2
    assert watched.due(60) is Due.PING


def test_a_broker_that_only_speaks_must_hear_from_us_too() -> None:
    watched = Watch(KEEPALIVE_S, 1e9, 0.0)
    for second in range(30):
        watched.heard(second)
        assert watched.due(second) is Due.NOTHING
    watched.heard(30)
    assert watched.due(30) is Due.PING


def test_a_quiet_subscription_is_asked_by_pulses_and_stalled_when_none_comes_back() -> None:
    watched = Watch(1e9, PULSE_S, 0.0, proven=True)
    said = shown(watched, 60)
    assert said[: PULSES + 1] == [(10, Due.PULSE), (20, Due.PULSE), (30, Due.PULSE), (40, Due.STALLED)]
    assert {due for _, due in said[PULSES:]} == {Due.STALLED}


def test_any_message_shows_that_it_flows() -> None:
    watched = Watch(1e9, PULSE_S, 0.0, proven=True)
    assert shown(watched, 39) == [(10, Due.PULSE), (20, Due.PULSE), (30, Due.PULSE)]
    watched.flowed(39.5)
    assert [watched.due(now) for now in (40.0, 49.0, 49.5)] == [Due.NOTHING, Due.NOTHING, Due.PULSE]


def test_where_no_pulse_ever_came_back_it_is_said_once_and_nothing_is_ended() -> None:
    watched = Watch(1e9, PULSE_S, 0.0, proven=False)
    assert shown(watched, 500) == [(10, Due.PULSE), (20, Due.PULSE), (30, Due.PULSE), (40, Due.UNPROVEN)]


def test_it_is_said_once_also_where_messages_come_now_and_then() -> None:
    watched = Watch(1e9, PULSE_S, 0.0, proven=False)
    assert shown(watched, 45)[-1] == (40, Due.UNPROVEN)
    watched.flowed(45)
    assert [due for _, due in shown(watched, 500)] == [Due.PULSE] * PULSES


def test_no_period_is_never() -> None:
    watched = Watch(0, 0, 0.0)
    assert shown(watched, 5_000, 100.0) == []
    assert watched.wait_s(5_000) == inf


def test_while_we_do_not_read_nothing_is_concluded_but_the_broker_hears_from_us() -> None:
    watched = watch()
    pings = 0
    for second in range(1_000):
        watched.blind(second)
        due = watched.due(second)
        assert due in (Due.NOTHING, Due.PING)
        if due is Due.PING:
            pings += 1
            watched.sent(second)
    assert pings == 1_000 // 30
    assert watched.due(1_005) is Due.NOTHING
    assert watched.due(1_009) is Due.PULSE


happenings = st.lists(st.tuples(st.integers(1, 25), st.sampled_from(["sent", "heard", "flowed", "blind"])), max_size=30)


@settings(deadline=None)
@given(happenings, st.booleans())
def test_sleeping_as_long_as_it_says_oversleeps_nothing(happenings: list[tuple[int, str]], proven: bool) -> None:
    """Who asks every second and who sleeps in between are told the same, at the same time."""
    eager, lazy = watch(proven=proven), watch(proven=proven)
    now = 0
    for pause_s, happened in [*happenings, (100, "sent")]:
        until = now + pause_s
        by_eager = [(second, due) for second in range(now, until + 1) for due in told(eager, second)]
        by_lazy: list[tuple[int, Due]] = []
        second = now
        while second <= until:
            by_lazy += [(second, due) for due in told(lazy, second)]
            second += max(1, ceil(lazy.wait_s(second)))
        assert by_lazy == by_eager
        if any(due in ENDS for _, due in by_eager):
            return
        now = until
        for one in (eager, lazy):
            getattr(one, happened)(now)


def told(watched: Watch, now: float) -> list[Due]:
    """All that is due at this moment; nothing more once it is the end."""
    said: list[Due] = []
    while (due := watched.due(now)) is not Due.NOTHING:
        said.append(due)
        if due in ENDS:
            break
    return said
