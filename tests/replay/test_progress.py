"""A log is told of a long replay now and then, and of its end."""

from sitewatch import progress, replay
from store.rebuilding import Planned


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end_of_each_part() -> None:
    told: list[str] = []
    now = [0.0]
    report = progress.lines(told.append, lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.3
        report("visits", done, 100)
    report("positions", 1, 1)
    assert told == ["visits: 34 of 100", "visits: 68 of 100", "visits: 100 of 100", "positions: 1 of 1"]


def test_a_chunk_holds_no_more_visits_and_hours_than_fit_into_memory() -> None:
    short = [Planned(f"s{n}", 3600.0) for n in range(450)]
    long = [Planned(f"l{n}", 250 * 3600.0) for n in range(5)]
    chunks = list(replay._chunks(iter([*short, *long])))
    assert [visit for chunk in chunks for visit in chunk] == [visit.id for visit in (*short, *long)]
    assert [len(chunk) for chunk in chunks] == [200, 200, 52, 2, 1]
