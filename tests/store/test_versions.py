"""Why a new version of an outcome differs from the one that people were told: every reason that applies, and no other."""

import pytest
from msgspec.structs import replace

from geofence.outcome import Outcome, Seconds, Sentence, Tally
from geofence.plan import Visit
from store.versions import Reason, reasons, sentence

PLAN = Visit(id="v-1", worker="w-17", site="s-12", service="cleaning", starts_at=1000.0, ends_at=8200.0)
TOLD = Outcome(
    verdict="unknown", findings=(), arrived_at=None, left_at=None, on_site_s=Seconds(best=0, lower=0, upper=0), coverage=0.5,
    monitored_s=1.0, expected_s=2.0, gaps=(), presence=(), explanation=Sentence(en="", zh=""), engine="3", policy=4,
    evidence=Tally(fixes=100, checks=1, device_events=0, statuses=2, flags={}),
)  # fmt: skip


def why(outcome: Outcome, cue: str, told: Outcome | None = TOLD, before: Visit | None = PLAN, plan: Visit = PLAN) -> str:
    return sentence(reasons(told, outcome, before, plan, cue))


def seen(**counts: int) -> Outcome:
    return replace(TOLD, evidence=replace(TOLD.evidence, **counts))


@pytest.mark.parametrize(
    ("outcome", "cue", "said"),
    [
        (seen(fixes=103), "late evidence", "3 late fixes of w-17"),
        (seen(fixes=101), "late evidence", "1 late fix of w-17"),
        (seen(fixes=103, checks=2), "late evidence", "3 late fixes of w-17; 1 late check of w-17"),
        (seen(device_events=2), "late evidence", "2 late device events"),
        (seen(statuses=4), "time passed", "2 more statuses of w-17"),
        (seen(fixes=90), "plan changed", "10 fewer fixes of w-17; surroundings changed"),
        (replace(TOLD, policy=5), "policy changed", "policy 4 → 5"),
        (replace(TOLD, engine="4"), "replay", "engine 3 → 4"),
        (replace(seen(fixes=103), engine="4", policy=5), "replay", "engine 3 → 4; policy 4 → 5; 3 more fixes of w-17"),
        (TOLD, "outage recorded", "outage recorded"),
        (TOLD, "plan changed", "surroundings changed"),
        (TOLD, "time passed", "time passed"),
        (TOLD, "late evidence", "evidence around"),
    ],
)
def test_a_version_names_what_changed_and_by_how_much(outcome: Outcome, cue: str, said: str) -> None:
    assert why(outcome, cue) == said


def test_a_moved_visit_names_what_of_its_plan_changed() -> None:
    assert why(TOLD, "plan changed", plan=replace(PLAN, starts_at=2000.0)) == "visit moved: starts_at"
    assert why(TOLD, "plan changed", plan=replace(PLAN, site="s-13", worker="w-2")) == (
        "visit changed: site s-12 → s-13; visit changed: worker w-17 → w-2"
    )
    assert why(TOLD, "replay", before=None, plan=replace(PLAN, site="s-13")) == "replay", "what it was planned before is forgotten"


def test_what_nobody_was_told_yet_is_the_first() -> None:
    assert why(TOLD, "late evidence", told=None) == "first"
    assert reasons(replace(TOLD, verdict="pending"), TOLD, PLAN, PLAN, "late evidence") == (Reason(what="first"),)
