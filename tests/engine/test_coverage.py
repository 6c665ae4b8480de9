"""Coverage: against a loop over every second, and to the millisecond in sum."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from geofence import judge
from geofence.evidence import Bools, Check, DeviceEvent, Floats, Status
from geofence.intervals import Stretch, covered, intersect, length, subtract, union
from geofence.plan import Device
from geofence.policy import Policy
from tests.engine.worlds import START, bounded, circle, day, fixes, nothing, scene, seen, take

POLICY = Policy()
HOME = scene(circle(0, 0, 60), 3600.0)
stretches = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda s: (min(s), max(s))), max_size=8)


def seconds_of(stretch: list[Stretch]) -> set[int]:
    return {second for start, end in stretch for second in range(start, end)}


@bounded
@given(stretches, stretches)
def test_sets_of_stretches_are_sets_of_seconds(a: list[Stretch], b: list[Stretch]) -> None:
    one, two = union(a), union(b)
    assert seconds_of(one) == seconds_of(a)
    assert seconds_of(intersect(one, two)) == seconds_of(a) & seconds_of(b)
    assert seconds_of(subtract(one, two)) == seconds_of(a) - seconds_of(b)
    assert length(one) == len(seconds_of(a))
    starts = np.array([start for start, _ in a], dtype=float)
    sizes = np.array([end - start for start, end in a], dtype=float)
    assert covered(starts, sizes) == [(start * 1000, end * 1000) for start, end in one]


reports = st.lists(
    st.tuples(
        st.integers(-30, 150).map(lambda n: n * 30),
        st.sampled_from([0.0, 0.0, 400.0]),
        st.sampled_from([10.0, 60.0, 400.0]),
        st.sampled_from([0.0, 2.0]),
        st.booleans(),
    ),
    max_size=25,
    unique_by=lambda report: report[0],
)
statuses = st.lists(
    st.tuples(
        st.integers(-30, 100).map(lambda n: n * 30),
        st.sampled_from(["online", "offline"]),
        st.sampled_from([None, "denied", "always"]),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda status: status[0],
)


def rested(fix: tuple[int, float, float, float, bool], made: list[tuple[int, float, float, float, bool]]) -> bool:
    """Whether the fixes before and after it, within ten minutes, say that it was made where they were: its speed is noise."""
    before, after = [other for other in made if other[0] < fix[0]], [other for other in made if other[0] > fix[0]]
    if not before or not after:
        return False
    near = [
        abs(other[0] - fix[0]) <= 600 and abs(other[1] - fix[1]) <= 1.62 * np.hypot(other[2], fix[2])
        for other in (before[-1], after[0])
    ]
    return all(near)


@bounded
@given(reports, statuses, st.sampled_from([2000.0, 3700.0, 9000.0]))
def test_every_second_is_seen_or_has_the_first_cause_that_applies(
    made: list[tuple[int, float, float, float, bool]], said: list[tuple[int, str, str | None, bool]], now: float
) -> None:
    """The definition, moment by moment, in planned time; all generated times are multiples of 30 s, so every tenth second will
    do.
    """
    made = sorted(report for report in made if report[0] <= now)
    at, east, radius, speed, mock = (np.array(column) for column in (zip(*made, strict=True) if made else [[], [], [], [], []]))
    wander = 5.0 * np.sin(7.0 * np.arange(len(at)))  # or else the engine thinks that the positions were made up
    of = fixes(at, east, wander, radius.astype(float), speed_mps=speed.astype(float), mock=mock.astype(bool))
    told = tuple(
        Status(source="w-1", at=START + s, received_at=START + s, identity=k, state=state, permission=permission, power_save=saving)
        for k, (s, state, permission, saving) in enumerate(sorted(said))
        if s <= now
    )
    outcome = judge(HOME, seen(of, statuses=told), POLICY, START + now)
    for t in range(5, int(min(3600.0, now)), 10):
        gaps = [gap.cause for gap in outcome.gaps if gap.start <= START + t < gap.end]
        assert len(gaps) <= 1
        horizon = [120 if fix[3] and not rested(fix, made) else 300 for fix in made]
        near = [(fix, fix[0] <= t < fix[0] + h) for fix, h in zip(made, horizon, strict=True)]
        if any(hit and not fix[4] and fix[2] <= 150 for fix, hit in near):
            assert not gaps, t
            continue
        offline = permission = saving = None
        for s, _, allowed, saves in sorted(said):
            if s <= min(t, now):
                saving = saves
                permission = allowed or permission
        for s, state, _, _ in sorted(said):
            if s <= now and state == "offline":
                back = [b for b, other, _, _ in said if b > s and other == "online" and b <= now] + [f[0] for f in made if f[0] > s]
                offline = offline or s <= t < min(back, default=9e9)
        expected = (
            "permission_off" if permission == "denied"
            else "phone_offline" if offline
            else "power_save" if saving
            else "poor_accuracy" if any(hit and not fix[4] for fix, hit in near)
            else "suspect" if any(hit and fix[4] for fix, hit in near)
            else "delayed" if now < 3600 + POLICY.late_wait_s
            else "silent"
        )  # fmt: skip
        if not made and not said:
            expected = "delayed" if now < 3600 + POLICY.late_wait_s else "silent"
        assert gaps == [expected], (t, made, said)


@bounded
@given(st.integers(0, 99), st.floats(5.0, 400.0), st.floats(-2000.0, 9000.0))
def test_monitored_and_gaps_are_the_expected_to_the_millisecond(seed: int, every: float, now: float) -> None:
    of = day(seed, every, came=11.1, went=3000.7, planned_s=3600.0)
    outcome = judge(HOME, seen(take(of, np.random.default_rng(seed).random(len(of.at)) < 0.5)), POLICY, START + now)
    gaps_ms = sum(round(gap.end * 1000) - round(gap.start * 1000) for gap in outcome.gaps)
    assert round(outcome.monitored_s * 1000) + gaps_ms == round(outcome.expected_s * 1000)
    assert all(a.end <= b.start for a, b in zip(outcome.gaps, outcome.gaps[1:], strict=False))


def causes(**more: object) -> dict[str, float]:
    """The seconds by cause of a visit in which the phone fell silent after 1000 s."""
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    outcome = judge(HOME, seen(take(of, of.at < START + 1000.0), **more), POLICY, START + 9e4)
    totals: dict[str, float] = {}
    for gap in outcome.gaps:
        totals[gap.cause] = totals.get(gap.cause, 0.0) + gap.end - gap.start
    return totals


def status(at: float, state: str, received_at: float | None = None, **more: object) -> Status:
    made = Status(
        source="w-1", at=START + at, received_at=START + (at if received_at is None else received_at), identity=1, state=state
    )
    return replace(made, **more)


def test_a_phone_that_just_stops_was_silent() -> None:
    assert set(causes(statuses=(status(-3600.0, "online"),))) == {"silent"}


def test_a_last_will_begins_with_the_last_sign_of_life_and_not_with_the_connection() -> None:
    told = causes(statuses=(status(-3600.0, "online"), status(-3600.0, "offline", received_at=1090.0, identity=2)))
    assert set(told) == {"phone_offline"}


def test_offline_ends_with_the_next_online() -> None:
    told = causes(statuses=(status(1000.0, "offline"), status(2000.0, "online", identity=2)))
    assert told["phone_offline"] == pytest.approx(2000.0 - 1290.0)
    assert set(told) == {"phone_offline", "silent"}


def test_permission_comes_before_offline_and_offline_before_power_save() -> None:
    told = causes(statuses=(status(1000.0, "offline", permission="denied", power_save=True),))
    assert set(told) == {"permission_off"}
    assert set(causes(statuses=(status(1000.0, "offline", power_save=True),))) == {"phone_offline"}


def test_an_outage_of_ours_comes_before_all() -> None:
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    kept = take(of, of.at < START + 1000.0)
    told = seen(kept, statuses=(status(1000.0, "offline", permission="denied"),))
    outcome = judge(HOME, told, POLICY, START + 9e4, outages=[(START + 1200.0, START + 2000.0)])
    assert [gap.cause for gap in outcome.gaps] == ["ingest_outage", "permission_off"]
    assert outcome.gaps[0].end == START + 2000.0


def test_nothing_ever_paired_is_no_device() -> None:
    outcome = judge(replace(HOME, phones=()), seen(nothing()), POLICY, START + 9e4)
    assert [gap.cause for gap in outcome.gaps] == ["no_device"]


def test_what_a_phone_kept_and_sent_later_leaves_no_gap() -> None:
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    late = replace(of, received_at=np.where(of.at > START + 500.0, START + 4000.0, of.at + 1.0))
    outcome = judge(HOME, seen(late, statuses=(status(-3600.0, "offline", received_at=700.0),)), POLICY, START + 9e4)
    assert outcome.coverage == 1.0


def test_motion_covers_only_while_the_worker_is_believed_inside() -> None:
    home = replace(HOME, devices=(Device(id="m", site="s-1", kind="motion", source="m"),))
    motion = tuple(
        DeviceEvent(source="m", at=START + at, received_at=START + at, identity=at, kind="motion") for at in range(0, 3600, 300)
    )
    alone = judge(home, seen(nothing(), events=motion), POLICY, START + 9e4)
    assert alone.monitored_s == 0.0
    checks = tuple(
        Check(source="w-1", at=START + at, received_at=START + at, identity=at, kind=kind, method="nfc")
        for at, kind in ((30, "in"), (3570, "out"))
    )
    assert judge(home, seen(nothing(), events=motion, checks=checks), POLICY, START + 9e4).coverage == pytest.approx(1.0, abs=0.03)


def test_a_phone_that_says_that_it_reports_only_changes_is_believed_longer() -> None:
    told = fixes(np.array([0.0, 1000.0, 2000.0, 3000.0]), np.array([0.0, 7.0, -5.0, 3.0]), np.array([4.0, -6.0, 2.0, 8.0]), 20.0)
    sparse = judge(HOME, seen(told), POLICY, START + 9e4)
    quiet = judge(HOME, seen(replace(told, mode=("significant",) * 4)), POLICY, START + 9e4)
    assert quiet.monitored_s > 2.5 * sparse.monitored_s


def test_silence_before_the_last_sign_of_life_is_not_the_wills() -> None:
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    heard = (of.at < START + 1000.0) | ((of.at >= START + 2000.0) & (of.at < START + 2500.0))
    told = seen(take(of, heard), statuses=(status(-3600.0, "online"), status(-3600.0, "offline", received_at=2600.0, identity=2)))
    outcome = judge(HOME, told, POLICY, START + 9e4)
    assert [gap.cause for gap in outcome.gaps] == ["silent", "phone_offline"]


@pytest.mark.parametrize("uploaded_s", [None, 90.0, 7000.0])
def test_a_phone_that_went_and_came_back_was_offline_whatever_reached_us_when(uploaded_s: float | None) -> None:
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    told = take(of, (of.at < START + 1000.0) | (of.at >= START + 2800.0))
    went_received = 1001.0
    if uploaded_s is not None:  # the whole day at once, and the word of going last
        told, went_received = replace(told, received_at=np.full(len(told.at), START + 9000.0)), 9000.0 + uploaded_s
    words = (status(-3600.0, "online"), status(1001.0, "offline", went_received, identity=2), status(2800.0, "online", identity=3))
    outcome = judge(HOME, seen(told, statuses=words), POLICY, START + 9e4)
    assert [gap.cause for gap in outcome.gaps] == ["phone_offline"]


@pytest.mark.parametrize("behind_s", [0.0, 900.0])
def test_an_old_will_does_not_hold_against_fixes_that_came_after_it(behind_s: float) -> None:
    """Also where the phone's clock is behind and nothing that it sends seems fresh, or is believed."""
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    heard = (of.at < START + 1000.0) | ((of.at >= START + 1500.0) & (of.at < START + 2500.0))
    late = replace(of, received_at=of.at + behind_s + 1.0, mock=of.at >= START + 1500.0)
    will = status(-3600.0, "offline", received_at=1020.0 + behind_s, identity=2)
    outcome = judge(HOME, seen(take(late, heard), statuses=(status(-3600.0, "online"), will)), POLICY, START + 9e4)
    offline = [gap for gap in outcome.gaps if gap.cause == "phone_offline"]
    assert all(gap.end <= START + 1500.0 + behind_s + 1.0 for gap in offline)
    assert outcome.gaps[-1].cause == "silent"


@pytest.mark.parametrize("sent", ["live", "at once", "the word last", "the word first"])
def test_offline_ends_with_the_next_fix_in_whatever_order_a_past_day_is_sent(sent: str) -> None:
    """She says that she goes, comes back without a word, and is silent once more."""
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    told = take(of, (of.at < START + 1000.0) | ((of.at >= START + 2000.0) & (of.at < START + 2500.0)))
    received_at = {"live": 1001.0, "at once": 9000.0, "the word last": 9100.0, "the word first": 8900.0}[sent]
    if sent != "live":
        told = replace(told, received_at=np.full(len(told.at), START + 9000.0))
    words = (status(-3600.0, "online", min(received_at, 9000.0)), status(1001.0, "offline", received_at, identity=2))
    outcome = judge(HOME, seen(told, statuses=words), POLICY, START + 9e4)
    assert [gap.cause for gap in outcome.gaps] == ["phone_offline", "silent"]
    assert outcome.gaps[0].end == START + 2000.0


def causes_of(made: Callable[[Floats], Bools], *words: Status, **received: float) -> list[str]:
    """The causes of the gaps of a day of which only some fixes were made, by what the phone said."""
    of = day(every_s=10.0, planned_s=3600.0, went=3700.0)
    told = take(of, made(of.at - START))
    if "at_once" in received:
        told = replace(told, received_at=np.full(len(told.at), START + received["at_once"]))
    if "kept_until" in received:
        kept = (told.at > START + 1005.0) & (told.at < START + 3000.0)
        told = replace(told, received_at=np.where(kept, START + received["kept_until"], told.received_at))
    return [gap.cause for gap in judge(HOME, seen(told, statuses=words), POLICY, START + 9e4).gaps]


def test_a_fix_that_was_kept_while_a_phone_was_gone_does_not_bring_it_back() -> None:
    """It said that it goes, made fixes for a while, and sent them when it was back."""
    made = lambda at: (at < 1500.0) | (at >= 3000.0)  # noqa: E731
    went = status(1001.0, "offline", 1001.5)
    assert causes_of(made, went, kept_until=3001.0) == ["phone_offline"]
    assert causes_of(made, went) == ["silent"], "what came at once shows a connection"


def test_a_fix_in_the_making_is_no_return() -> None:
    made = lambda at: (at <= 1000.0) | (at >= 2500.0)  # noqa: E731
    words = (status(998.0, "offline", 9000.0), status(2500.0, "online", 9000.0, identity=2))
    assert causes_of(made, *words, at_once=9000.0) == ["phone_offline"]


def test_a_will_of_a_connection_that_began_before_all_that_we_know_ends_when_it_came() -> None:
    made = lambda at: (at < 1000.0) | (at >= 2000.0)  # noqa: E731
    assert causes_of(made, status(-3600.0, "offline", 1090.0)) == ["phone_offline"]


def test_a_will_that_came_days_later_tells_nothing_of_the_day() -> None:
    made = lambda at: (at < 1000.0) | ((at >= 2000.0) & (at < 2500.0))  # noqa: E731
    words = (status(-3600.0, "online", 9000.0), status(-3600.0, "offline", 9000.0, identity=2))
    assert causes_of(made, *words, at_once=9000.0) == ["silent", "silent"]
