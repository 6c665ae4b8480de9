"""Derived: outcomes with their history, gaps, presence and coverage, written as differences.

Rules kept here:

- What is the same as stored is not written: no new revision, no index touched, nobody told.
- Gaps, presence and coverage follow from the outcomes as stored, inside the database: there is one definition of what they are.
- `outcome_history` keeps what people were told: an outcome that is no longer pending, when it first is, and whenever its verdict,
  findings or figures change. It is never rewritten, and a rebuilt outcome that equals its newest entry takes that revision again.
- No wall clock is stored here, so that live and replayed rows are equal.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec import Struct
from psycopg import Connection

from geofence.outcome import Outcome
from geofence.plan import Visit
from store.versions import Reason, reasons, sentence


class Judged(Struct, frozen=True, kw_only=True, eq=False):
    """A visit's outcome, when time alone could change it next, and why it was judged."""

    visit: Visit
    outcome: Outcome
    look_at: float | None
    why: str


class Stored(Struct, frozen=True, kw_only=True, eq=False):
    """What the database says of a visit. `outcome` is null where there is none, and `revision` is then that of the history."""

    outcome: Outcome | None = None
    told: Outcome | None = None
    revision: int = 0
    plan: Visit | None = None
    look_at: float | None = None


def read(connection: Connection, visits: Sequence[str]) -> dict[str, Stored]:
    """What is stored of each of the visits; an empty `Stored` of those that nobody judged."""
    found = {visit: Stored() for visit in visits}
    for visit, worker, site, service, starts_at, ends_at, revision, outcome, look_at in connection.execute(
        OUTCOMES, [list(visits)]
    ):
        plan = Visit(id=visit, worker=worker, site=site, service=service, starts_at=starts_at, ends_at=ends_at)
        found[visit] = Stored(outcome=_decode(outcome), revision=revision, plan=plan, look_at=look_at)
    unjudged = [visit for visit, stored in found.items() if stored.outcome is None]
    if unjudged:
        for visit, revision, outcome in connection.execute(TOLD, [unjudged]):
            found[visit] = Stored(told=_decode(outcome), revision=revision)
    return found


def write(connection: Connection, judged: Sequence[Judged], stored: Mapping[str, Stored]) -> list[Judged]:
    """Writes what differs from `stored`; returns the judged whose outcome or plan did."""
    changed = [item for item in judged if _differs(item, stored[item.visit.id])]
    if changed:
        _write_outcomes(connection, changed, stored)
        _write_history(connection, changed, stored)
        follow(connection, [item.visit.id for item in changed])
    written = {item.visit.id for item in changed}
    later = [item for item in judged if item.visit.id not in written and item.look_at != stored[item.visit.id].look_at]
    if later:
        connection.execute(WRITE_LOOKS, [[item.visit.id for item in later], [item.look_at for item in later]])
    return changed


def follow(connection: Connection, visits: Sequence[str]) -> None:
    """Makes gaps, presence and coverage what the stored outcomes say; of a visit without outcome, nothing."""
    for statement in (FOLLOW_GAPS, FOLLOW_PRESENCE, FOLLOW_COVERAGE):
        connection.execute(statement, {"visits": list(visits)})


def remove(connection: Connection, visits: Collection[str]) -> list[str]:
    """Drops what was derived of visits that are no more; returns those of which there was something."""
    gone = connection.execute("delete from outcomes where visit = any(%s) returning visit", [list(visits)]).fetchall()
    follow(connection, list(visits))
    return [visit for (visit,) in gone]


def _differs(item: Judged, stored: Stored) -> bool:
    return stored.outcome != item.outcome or stored.plan != item.visit


def _decode(outcome: str) -> Outcome:
    return msgspec.json.decode(outcome, type=Outcome)


def _revision(item: Judged, stored: Stored) -> int:
    return stored.revision if stored.told == item.outcome else stored.revision + 1


def _write_outcomes(connection: Connection, changed: Sequence[Judged], stored: Mapping[str, Stored]) -> None:
    visits = [item.visit for item in changed]
    columns = {
        **_plan_columns(visits),
        "outcomes": [msgspec.json.encode(item.outcome).decode() for item in changed],
        "revisions": [_revision(item, stored[item.visit.id]) for item in changed],
        "look_at": [item.look_at for item in changed],
    }
    connection.execute(WRITE_OUTCOMES, columns)


def _plan_columns(visits: Sequence[Visit]) -> dict[str, object]:
    return {
        "visits": [visit.id for visit in visits],
        "workers": [visit.worker for visit in visits],
        "sites": [visit.site for visit in visits],
        "services": [visit.service for visit in visits],
        "starts_at": [visit.starts_at for visit in visits],
        "ends_at": [visit.ends_at for visit in visits],
    }


def _write_history(connection: Connection, changed: Sequence[Judged], stored: Mapping[str, Stored]) -> None:
    news = [item for item in changed if _is_news(item.outcome, stored[item.visit.id])]
    if news:
        told = _told(connection, [item.visit.id for item in news])
        why = [_reasons(item, stored[item.visit.id], told.get(item.visit.id)) for item in news]
        columns = {
            "visits": [item.visit.id for item in news],
            "revisions": [_revision(item, stored[item.visit.id]) for item in news],
            "outcomes": [msgspec.json.encode(item.outcome).decode() for item in news],
            "whys": [sentence(found) for found in why],
            "reasons": [msgspec.json.encode(found).decode() for found in why],
        }
        connection.execute(WRITE_HISTORY, columns)


def _reasons(item: Judged, stored: Stored, told: Outcome | None) -> tuple[Reason, ...]:
    return reasons(told, item.outcome, stored.plan, item.visit, item.why)


def _is_news(outcome: Outcome, stored: Stored) -> bool:
    before = stored.outcome or stored.told
    if before is None or before.verdict == "pending":
        return outcome.verdict != "pending"
    return _figures(outcome) != _figures(before)


def _figures(outcome: Outcome) -> tuple[object, ...]:
    """What an outcome says, without how it says it."""
    return (
        outcome.verdict,
        outcome.findings,
        outcome.arrived_at,
        outcome.left_at,
        outcome.on_site_s,
        outcome.coverage,
        outcome.monitored_s,
        outcome.expected_s,
        outcome.policy,
    )


def _told(connection: Connection, visits: Sequence[str]) -> dict[str, Outcome]:
    """What people were told last of each of the visits."""
    return {visit: _decode(outcome) for visit, _, outcome in connection.execute(TOLD, [list(visits)])}


# What is stored of visits.
OUTCOMES = """
select visit, worker, site, service, extract(epoch from starts_at)::float8, extract(epoch from ends_at)::float8, revision,
       outcome::text, extract(epoch from look_at)::float8
from outcomes
where visit = any(%s)
"""

# What people were told last.
TOLD = """
select distinct on (visit) visit, revision, outcome::text from outcome_history where visit = any(%s) order by visit, revision desc
"""

# The columns beside `outcome` repeat parts of it, for indexes and lists.
WRITE_OUTCOMES = """
insert into outcomes (visit, worker, site, service, starts_at, ends_at, verdict, findings, coverage, monitored_s, expected_s,
                      on_site_s, arrived_at, left_at, outcome, revision, look_at)
select visit, worker, site, service, to_timestamp(starts_at), to_timestamp(ends_at), outcome ->> 'verdict',
       array(select jsonb_array_elements_text(outcome -> 'findings')), (outcome ->> 'coverage')::float8,
       (outcome ->> 'monitored_s')::float8, (outcome ->> 'expected_s')::float8, (outcome #>> '{on_site_s,best}')::float8,
       to_timestamp((outcome #>> '{arrived_at,best}')::float8), to_timestamp((outcome #>> '{left_at,best}')::float8),
       outcome, revision, to_timestamp(look_at)
from unnest(%(visits)s::text[], %(workers)s::text[], %(sites)s::text[], %(services)s::text[], %(starts_at)s::float8[],
            %(ends_at)s::float8[], %(outcomes)s::text[]::jsonb[], %(revisions)s::int4[], %(look_at)s::float8[])
     as judged (visit, worker, site, service, starts_at, ends_at, outcome, revision, look_at)
on conflict (visit) do update
set worker = excluded.worker, site = excluded.site, service = excluded.service, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, verdict = excluded.verdict, findings = excluded.findings, coverage = excluded.coverage,
    monitored_s = excluded.monitored_s, expected_s = excluded.expected_s, on_site_s = excluded.on_site_s,
    arrived_at = excluded.arrived_at, left_at = excluded.left_at, outcome = excluded.outcome, revision = excluded.revision,
    look_at = excluded.look_at
"""

WRITE_LOOKS = """
update outcomes set look_at = to_timestamp(later.look_at)
from unnest(%s::text[], %s::float8[]) as later (visit, look_at)
where outcomes.visit = later.visit
"""

WRITE_HISTORY = """
insert into outcome_history (visit, revision, outcome, why, reasons)
select *
from unnest(%(visits)s::text[], %(revisions)s::int4[], %(outcomes)s::text[]::jsonb[], %(whys)s::text[],
            %(reasons)s::text[]::jsonb[])
on conflict (visit, revision) do nothing
"""

# Each of these deletes what the outcome does not say (any more) and writes what is new in it; the two never meet in one row.
FOLLOW_GAPS = """
with said as (
    select visit, to_timestamp((gap ->> 'start')::float8) as start_at, to_timestamp((gap ->> 'end')::float8) as end_at,
           gap ->> 'cause' as cause
    from outcomes cross join lateral jsonb_array_elements(outcome -> 'gaps') as gap
    where visit = any(%(visits)s)
), gone as (
    delete from gaps
    where visit = any(%(visits)s)
      and not exists (select from said where said.visit = gaps.visit and said.start_at = gaps.start_at)
)
insert into gaps (visit, start_at, end_at, cause) select visit, start_at, end_at, cause from said
on conflict (visit, start_at) do update set end_at = excluded.end_at, cause = excluded.cause
where (gaps.end_at, gaps.cause) is distinct from (excluded.end_at, excluded.cause)
"""

FOLLOW_PRESENCE = """
with said as (
    select visit, to_timestamp((span ->> 'start')::float8) as start_at, to_timestamp((span ->> 'end')::float8) as end_at,
           worker, site, span ->> 'state' as state
    from outcomes cross join lateral jsonb_array_elements(outcome -> 'presence') as span
    where visit = any(%(visits)s)
), gone as (
    delete from presence
    where visit = any(%(visits)s)
      and not exists (select from said where said.visit = presence.visit and said.start_at = presence.start_at)
)
insert into presence (visit, start_at, end_at, worker, site, state) select visit, start_at, end_at, worker, site, state from said
on conflict (visit, start_at) do update
set end_at = excluded.end_at, worker = excluded.worker, site = excluded.site, state = excluded.state
where (presence.end_at, presence.worker, presence.site, presence.state)
      is distinct from (excluded.end_at, excluded.worker, excluded.site, excluded.state)
"""

# A pending outcome counts for nothing yet.
FOLLOW_COVERAGE = """
with said as (
    select visit, worker, site, service, starts_at, monitored_s, expected_s, coverage as share,
           coalesce(sum(seconds) filter (where cause = 'ingest_outage'), 0)::float8 as ingest_outage,
           coalesce(sum(seconds) filter (where cause = 'no_device'), 0)::float8 as no_device,
           coalesce(sum(seconds) filter (where cause = 'permission_off'), 0)::float8 as permission_off,
           coalesce(sum(seconds) filter (where cause = 'phone_offline'), 0)::float8 as phone_offline,
           coalesce(sum(seconds) filter (where cause = 'power_save'), 0)::float8 as power_save,
           coalesce(sum(seconds) filter (where cause = 'poor_accuracy'), 0)::float8 as poor_accuracy,
           coalesce(sum(seconds) filter (where cause = 'suspect'), 0)::float8 as suspect,
           coalesce(sum(seconds) filter (where cause = 'delayed'), 0)::float8 as delayed,
           coalesce(sum(seconds) filter (where cause = 'silent'), 0)::float8 as silent
    from outcomes
    left join lateral (
        select gap ->> 'cause' as cause, round((gap ->> 'end')::numeric - (gap ->> 'start')::numeric, 3) as seconds
        from jsonb_array_elements(outcome -> 'gaps') as gap
    ) as unseen on true
    where visit = any(%(visits)s) and verdict <> 'pending' and coverage is not null
    group by outcomes.visit
), gone as (
    delete from coverage where visit = any(%(visits)s) and not exists (select from said where said.visit = coverage.visit)
)
insert into coverage (visit, worker, site, service, starts_at, monitored_s, expected_s, share, ingest_outage, no_device,
                      permission_off, phone_offline, power_save, poor_accuracy, suspect, delayed, silent)
select visit, worker, site, service, starts_at, monitored_s, expected_s, share, ingest_outage, no_device, permission_off,
       phone_offline, power_save, poor_accuracy, suspect, delayed, silent
from said
on conflict (visit) do update
set worker = excluded.worker, site = excluded.site, service = excluded.service, starts_at = excluded.starts_at,
    monitored_s = excluded.monitored_s, expected_s = excluded.expected_s, share = excluded.share,
    ingest_outage = excluded.ingest_outage, no_device = excluded.no_device, permission_off = excluded.permission_off,
    phone_offline = excluded.phone_offline, power_save = excluded.power_save, poor_accuracy = excluded.poor_accuracy,
    suspect = excluded.suspect, delayed = excluded.delayed, silent = excluded.silent
"""
