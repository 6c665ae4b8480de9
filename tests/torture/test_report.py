"""The book of storms, and what a broker that was killed is excused of."""

from pathlib import Path

from tests.torture.judge import Blackout
from tests.torture.pace import Said
from tests.torture.plan import Options
from tests.torture.report import Book, Entry, Report
from tests.torture.twin import Digests

BEGAN = "2026-11-22T09:00:00+00:00"
SAID = Said(messages=4_000, reports=3_000, seconds=2.0, calm_messages=3_000, calm_s=1.0)


def entry(seed: int, *, receipted_lost: int = 0) -> Entry:
    report = Report(Options(seed=seed), said=SAID, digests=Digests("d", "d", "d", {}))
    report.landed.update({"kill ingest": 20, "cut phones": 4, "cut broker": 3})
    report.findings.receipted = 1_000
    report.findings.complaints.update({"receipted and lost": receipted_lost} if receipted_lost else {})
    return Entry.of(report, BEGAN)


def test_a_storm_that_was_written_down_is_known_to_the_next_invocation(tmp_path: Path) -> None:
    path = tmp_path / "storms.jsonl"
    Book(path).add(entry(1))
    Book(path).add(entry(2))
    book = Book(path)
    assert [one.options.seed for one in book.entries] == [1, 2]
    assert book.has(Options(seed=2))
    assert not book.has(Options(seed=3))
    assert not book.has(Options(seed=2, rate=2_000)), "another storm of the same seed"


def test_one_bad_storm_is_never_washed_away_by_good_ones() -> None:
    book = Book(None)
    assert not book.good, "nothing was played"
    book.add(entry(1))
    assert book.good
    book.add(entry(2, receipted_lost=3))
    book.add(entry(3))
    assert not book.good
    assert [line.split()[-1] for line in book.table().splitlines()] == ["good", "yes", "NO", "yes", "NO"]


def test_the_last_row_adds_up_what_landed_and_what_was_said() -> None:
    book = Book(None)
    book.add(entry(1))
    book.add(entry(2, receipted_lost=3))
    heads, *_, total = [line.split("  ") for line in book.table().splitlines()]
    row = dict(zip([head.strip() for head in heads if head], [cell.strip() for cell in total if cell], strict=True))
    assert (row["ingest"], row["cuts"], row["receipted"], row["lost"]) == ("40", "14", "2,000", "3")
    assert (row["messages"], row["/s"], row["/s in calm"]) == ("8,000", "2,000", "3,000")


def test_digests_that_differ_are_no_digest() -> None:
    report = Report(Options(), digests=Digests("live", "twin", "twin", {}))
    assert not report.good
    assert Entry.of(report, BEGAN).digest == ""


def test_a_word_is_excused_where_the_broker_may_have_taken_it_in_a_blackout() -> None:
    blackout = Blackout(100.0, 110.0)
    assert blackout.excuses(said_at=90.0, taken_at=100.5), "its answer was read within"
    assert blackout.excuses(said_at=109.5, taken_at=112.0), "its answer was read late"
    assert not blackout.excuses(said_at=90.0, taken_at=99.0)
    assert not blackout.excuses(said_at=111.0, taken_at=111.1)
