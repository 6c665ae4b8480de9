"""What a storm came to: for people, and as one line of a book that several invocations write into and that can be added up."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from tests.torture.judge import Findings
from tests.torture.pace import Said
from tests.torture.plan import Options
from tests.torture.twin import Digests

LOST = ("receipted and lost", "receipted and not among the rejects")
DOUBLED = ("stored twice", "an uncounted word stored twice")


class Report(Struct):
    """Of one storm."""

    options: Options
    landed: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    """Faults that struck while nothing was in flight: they prove nothing and are not counted."""
    said: Said = field(default_factory=Said)
    """While the storm lasted."""
    healed_s: float = 0.0
    findings: Findings = field(default_factory=Findings)
    digests: Digests | None = None
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.wrong and not self.findings.complaints and self.digests is not None and self.digests.equal

    def lines(self) -> list[str]:
        landed = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.landed.items()))
        missed = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.idle.items()))
        return [
            f"landed with work in flight: {landed}" + (f"; in an idle moment: {missed}" if missed else ""),
            f"offered {self.options.rate:,} new reports/s; {self.said.line()}; healed {self.healed_s:.1f} s later",
            *self.findings.lines(),
            *self.notes,
            *(self.digests.lines() if self.digests else []),
            *(f"WRONG: {what}" for what in self.wrong),
            "GOOD" if self.good else f"NOT GOOD; again with: {self.options.command()}",
        ]


class Entry(Struct, frozen=True, kw_only=True):
    """One storm in the book. Counts only: they can be added up."""

    began: str
    """UTC."""
    options: Options
    good: bool
    landed: dict[str, int]
    idle: dict[str, int]
    said: Said
    receipted: int
    receipted_lost: int
    doubled: int
    complaints: dict[str, int]
    """All of them, those two among them."""
    wrong: list[str]
    digest: str
    """Of what is derived; empty where live, twin and replay are not equal."""
    healed_s: float

    @classmethod
    def of(cls, report: Report, began: str) -> "Entry":
        complaints = report.findings.complaints
        digests = report.digests
        return cls(
            began=began,
            options=report.options,
            good=report.good,
            landed=dict(report.landed),
            idle=dict(report.idle),
            said=report.said,
            receipted=report.findings.receipted,
            receipted_lost=sum(complaints[what] for what in LOST),
            doubled=sum(complaints[what] for what in DOUBLED),
            complaints=dict(complaints),
            wrong=report.wrong,
            digest=digests.live if digests is not None and digests.equal else "",
            healed_s=report.healed_s,
        )


class Book:
    """A file with a line a storm. Without a path it is forgotten in the end."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.entries = [msgspec.json.decode(line, type=Entry) for line in lines]

    def has(self, options: Options) -> bool:
        """Whether this very storm was played already, whatever it came to."""
        return any(entry.options == options for entry in self.entries)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if self._path is not None:
            with self._path.open("ab") as output:
                output.write(msgspec.json.encode(entry) + b"\n")

    @property
    def good(self) -> bool:
        return bool(self.entries) and all(entry.good for entry in self.entries)

    def table(self) -> str:
        """A row for each storm, and one for all of them."""
        rows = [HEADS, *(_row([entry], str(entry.options.seed)) for entry in self.entries), _row(self.entries, "all")]
        widths = [max(len(row[k]) for row in rows) for k in range(len(HEADS))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


HEADS = (
    *("seed", "ingest", "database", "broker", "forgets", "cuts", "other", "idle", "minutes", "messages", "/s", "/s in calm"),
    *("receipted", "lost", "twice", "else wrong", "digests", "good"),
)
OWN_COLUMN = ("kill ingest", "kill database", "kill broker", "forget sessions")


def _row(entries: list[Entry], name: str) -> tuple[str, ...]:
    landed: Counter[str] = Counter()
    said = Said()
    for entry in entries:
        landed.update(entry.landed)
        said = said.and_(entry.said)
    cuts = sum(count for kind, count in landed.items() if kind.startswith("cut"))
    others = landed.total() - cuts - sum(landed[kind] for kind in OWN_COLUMN)
    else_wrong = sum(len(one.wrong) + sum(one.complaints.values()) - one.receipted_lost - one.doubled for one in entries)
    cells: tuple[Any, ...] = (
        *(landed[kind] for kind in OWN_COLUMN),
        cuts,
        others,
        sum(sum(entry.idle.values()) for entry in entries),
        f"{said.seconds / 60:.1f}",
        said.messages,
        round(said.a_second),
        round(said.a_second_in_calm),
        sum(entry.receipted for entry in entries),
        sum(entry.receipted_lost for entry in entries),
        sum(entry.doubled for entry in entries),
        else_wrong,
        "equal" if all(entry.digest for entry in entries) else "DIFFER",
        "yes" if all(entry.good for entry in entries) else "NO",
    )
    return (name, *(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells))
