"""Outcome: the answer for one visit, as frozen values. The same evidence, plan and policy always give the same bytes.

Seconds since 1970 UTC and durations are rounded to milliseconds, shares to six digits, so that equal outcomes are equal bytes.
"""

from typing import Literal

from msgspec import Struct

Verdict = Literal["pending", "verified", "partial", "contradicted", "unknown"]
Finding = Literal[
    "late_arrival",
    "early_departure",
    "short_service",
    "over_service",
    "no_show",
    "wrong_site",
    "unscheduled",
    "missing_check_in",
    "missing_check_out",
    "low_coverage",
    "spoof_suspected",
    "clock_skew",
    "conflicting_evidence",
]
Cause = Literal[
    "ingest_outage",
    "no_device",
    "permission_off",
    "phone_offline",
    "power_save",
    "poor_accuracy",
    "suspect",
    "delayed",
    "silent",
]
"""In the order of precedence: of the causes that apply to a second, the first is the one."""
Presence = Literal["on", "off", "unknown"]


class Moment(Struct, frozen=True, kw_only=True):
    """An instant that is known only within a 90 % interval.

    `earliest` is null where she was there already when the visit's window opened, `latest` where she was still there when it
    closed; `best` is then that edge of the window.
    """

    best: float
    earliest: float | None
    latest: float | None


class Seconds(Struct, frozen=True, kw_only=True):
    """A duration that is known only within a 90 % interval."""

    best: float
    lower: float
    upper: float


class Gap(Struct, frozen=True, kw_only=True):
    """An unmonitored stretch `[start, end)` and its one cause."""

    start: float
    end: float
    cause: Cause


class Span(Struct, frozen=True, kw_only=True):
    """A stretch `[start, end)` of one three-valued presence at the visit's site."""

    start: float
    end: float
    state: Presence


class Sentence(Struct, frozen=True, kw_only=True):
    """One sentence for a person: which evidence decided, and what is missing."""

    en: str
    zh: str


class Tally(Struct, frozen=True, kw_only=True):
    """How much evidence of each kind the verdict saw. `flags` counts flagged fixes by reason, sorted by name."""

    fixes: int
    checks: int
    device_events: int
    statuses: int
    flags: dict[str, int]


class Outcome(Struct, frozen=True, kw_only=True):
    """The answer for one visit. `coverage` is null while nothing of the visit has happened yet."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    arrived_at: Moment | None
    left_at: Moment | None
    """Null too while the worker is still there."""
    on_site_s: Seconds
    coverage: float | None
    monitored_s: float
    expected_s: float
    """The denominator of `coverage`, as far as it has passed."""
    gaps: tuple[Gap, ...]
    presence: tuple[Span, ...]
    evidence: Tally
    explanation: Sentence
    engine: str
    policy: int
    """Version of the policy that judged."""
