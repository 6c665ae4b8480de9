"""Touched: which visits must be judged again because of what was committed, written down in the queue `due`.

    evidence of a phone     the worker's visits around its times
    evidence of a device    visits at its site and at the neighbours; of what is `calm`, at their next look
    a status                lasts: also what came after it, up to the statuses that replace it
    a first sighting        visits that were judged as if there were no phone
    a visit                 itself, and whoever was or is its neighbour in time: same worker or same site
    a site, a device        visits there and at the neighbours, old and new
    a mapping               all visits of who gained or lost a source
    a policy                visits of the service that are not final
    our own outage          everybody's visits around it

Rules kept here:

- A visit too many costs a judgement that changes nothing; a visit too few would be a wrong answer. So searches are a little wide.
- A visit that is looked at again soon anyway (`outcomes.look_at`) is not queued for evidence.
- Late evidence waits `coalesce_s`, so that an outbox that empties in a hundred messages is judged once and not a hundred times.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import LiteralString

from msgspec import Struct
from psycopg import Connection

from store import calm, haunts, neighbours, policies, sightings
from store.journal import EVERYBODY, Bite, Touch
from store.policies import DEFAULT, Policies

LATE_EVIDENCE = "late evidence"
EARLIER_TRACK = "earlier track"
PLAN_CHANGED = "plan changed"
POLICY_CHANGED = "policy changed"
OUTAGE_RECORDED = "outage recorded"
TIME_PASSED = "time passed"

OPENS_SOON_S = 3600.0
"""A visit whose window opens within this is queued with those that are open: there is time until somebody asks again."""


class Pace(Struct, frozen=True, kw_only=True):
    """How hurried the queue is."""

    coalesce_s: float = 1.0
    """How long late evidence is gathered before a visit is judged again."""
    soon_s: float = 20.0
    """A visit whose next look is not further away than this is not queued for fresh evidence."""


class Owners(Struct, frozen=True, kw_only=True):
    """Whose evidence it is: spans by worker, and by site where it came from a device."""

    workers: tuple[Touch, ...] = ()
    sites: tuple[Touch, ...] = ()
    remapped: frozenset[str] = frozenset()
    """Workers who gained or lost a source."""


def queue(connection: Connection, bite: Bite, rules: Policies, now: float, pace: Pace) -> Owners:
    """Queues every visit that the bite bears on; returns whose evidence it was."""
    quiet = calm.only(connection, bite.evidence, now)
    homes = owners(connection, list(quiet)).sites if quiet else ()
    whose = owners(connection, _lasting(connection, [touch for touch in bite.evidence if touch not in quiet], now))
    first_seen = [Touch(touch.source, touch.from_at, min(touch.to_at, now)) for touch in sightings.note(connection, bite.evidence)]
    unknown_before = owners(connection, first_seen)
    margin_s = rules.margin_s()
    spans = {"margin_s": margin_s, "now": now, "due": now + pace.coalesce_s, "soon": now + pace.soon_s, "why": LATE_EVIDENCE}
    _queue_spans(connection, BY_WORKER, [*whose.workers, *unknown_before.workers], spans)
    _queue_spans(connection, BY_SITE, whose.sites, spans)
    if homes:
        again = {**spans, **_columns(homes), "soon": now + calm.SOON_S}
        connection.execute(BRING_FORWARD, again)
        connection.execute(QUEUE_UNJUDGED, again)
    outages = [touch for touch in bite.evidence if touch.source == EVERYBODY]
    _queue_spans(connection, BY_OUTAGE, outages, {**spans, "why": OUTAGE_RECORDED})
    remapped = _queue_plans(connection, bite, rules, now) if bite.plans else frozenset()
    return Owners(workers=whose.workers, sites=(*whose.sites, *homes), remapped=remapped)


def due(connection: Connection, now: float, visits_max: int) -> dict[str, str]:
    """Up to `visits_max` visits each of those whose look has come and of those in the queue, and why."""
    found = connection.execute(DUE, {"now": now, "visits_max": visits_max}).fetchall()
    return dict(found)


def put_off(connection: Connection, visits: Mapping[str, float]) -> None:
    """Lets visits in the queue wait until a time each."""
    if visits:
        connection.execute(PUT_OFF, [list(visits), list(visits.values())])


def done(connection: Connection, visits: Collection[str]) -> None:
    """Takes visits off the queue: in the transaction that writes their outcomes."""
    connection.execute("delete from due where visit = any(%s)", [list(visits)])


def done_again(connection: Connection, visits: Collection[str]) -> None:
    """Takes visits off the queue that a replay put there. What waits for verify goes on waiting: it learns from what it judges."""
    connection.execute("delete from due where visit = any(%s) and why = 'replay'", [list(visits)])


def later(connection: Connection, visits: Collection[str], at: float) -> None:
    """Puts visits back into the queue for another time. What waits there already keeps its reason, and waits no longer."""
    if visits:
        connection.execute(QUEUE_LATER, {"visits": list(visits), "now": at, "why": LATE_EVIDENCE})


def repeating(connection: Connection, visits: Collection[str], now: float) -> None:
    """Queues visits that may repeat the track of an earlier one. Those that a replay has still to judge, it judges by what is known
    then.
    """
    if visits:
        connection.execute(QUEUE_REPEATING, {"visits": list(visits), "now": now, "why": EARLIER_TRACK})


def set_aside(connection: Connection, visits: Collection[str], until: float) -> None:
    """Leaves visits that nobody can judge alone until a time, or until something else puts them into the queue."""
    done(connection, visits)
    later(connection, visits, until)
    connection.execute(SET_ASIDE, {"visits": list(visits), "until": until})


def queue_open(connection: Connection, now: float) -> int:
    """Queues all visits whose window is open, and those whose window opens within the hour: for who remembers nothing of them."""
    margin_s = policies.read(connection).margin_s()
    return connection.execute(QUEUE_OPEN, {"now": now, "margin_s": margin_s, "within_s": OPENS_SOON_S, "why": TIME_PASSED}).rowcount


class Backlog(Struct, frozen=True):
    """What waits: journal entries that were not read, visits that are due, and since when the oldest of them is."""

    entries: int
    visits: int
    age_s: float


def backlog(connection: Connection, name: str) -> Backlog:
    """What waits for the reader `name`."""
    [row] = connection.execute(BACKLOG, {"name": name}).fetchall()
    return Backlog(*row)


def queue_unjudged(connection: Connection, now: float) -> int:
    """Queues visits that were never judged, and outcomes whose visit is gone. Returns how many: none, unless something was lost."""
    return connection.execute(UNJUDGED, {"now": now, "why": PLAN_CHANGED}).rowcount


def owners(connection: Connection, touches: Sequence[Touch]) -> Owners:
    """Whose these sources are."""
    found = connection.execute(OWNERS, _columns(touch for touch in touches if touch.source != EVERYBODY)).fetchall()
    return Owners(
        workers=tuple(Touch(worker, from_at, to_at) for worker, site, from_at, to_at in found if site is None),
        sites=tuple(Touch(site, from_at, to_at) for _, site, from_at, to_at in found if site is not None),
    )


def _lasting(connection: Connection, touches: Sequence[Touch], now: float) -> Sequence[Touch]:
    """The same touches, those with statuses made as long as the statuses last."""
    lasts: dict[tuple[str, float], float] = {
        (source, from_at): until
        for source, from_at, until in connection.execute(LASTING, _columns(touch for touch in touches if touch.others))
    }
    return [
        Touch(touch.source, touch.from_at, max(touch.to_at, min(lasts.get((touch.source, touch.from_at), 0.0), now)), touch.others)
        for touch in touches
    ]


def _queue_spans(connection: Connection, visits: LiteralString, touches: Sequence[Touch], values: dict[str, object]) -> None:
    if touches:
        connection.execute((QUEUE_SPANS.format(visits=visits) + _WAITS_NO_LONGER).encode(), {**values, **_columns(touches)})


def _queue_plans(connection: Connection, bite: Bite, rules: Policies, now: float) -> frozenset[str]:
    values = {"now": now, "why": PLAN_CHANGED, "margin_s": 2 * rules.margin_s()}
    if bite.visits:
        connection.execute(QUEUE_VISITS, {**values, "visits": list(bite.visits)})
    sites = neighbours.refresh(connection, bite.sites) if bite.sites else set()
    if sites or bite.devices:
        connection.execute(QUEUE_SITES, {**values, "sites": list(sites), "devices": list(bite.devices)})
        seen_there = haunts.visits_at(connection, bite.sites) if bite.sites else []
        connection.execute(QUEUE_THESE, {**values, "visits": seen_there})
    remapped = sightings.remap(connection, bite.workers) if bite.workers else set()
    if remapped:
        connection.execute(QUEUE_WORKERS, {**values, "workers": list(remapped)})
    if bite.services:
        unaffected = rules.own() if DEFAULT in bite.services else []
        services = {"services": list(bite.services), "unless": unaffected, "everyone": DEFAULT in bite.services}
        final = {"open_since": now - rules.final_after_s(), "why": POLICY_CHANGED}
        connection.execute(QUEUE_SERVICES, {**values, **services, **final})
    return frozenset(remapped)


def _columns(touches: Iterable[Touch]) -> dict[str, object]:
    rows = list(touches)
    return {
        "sources": [touch.source for touch in rows],
        "from_at": [touch.from_at for touch in rows],
        "to_at": [touch.to_at for touch in rows],
    }


# Touched spans with whose they are: a device's site, else a worker.
OWNERS = """
select coalesce(sources.worker, touch.source), devices.site, touch.from_at, touch.to_at
from unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)
left join sources using (source)
left join devices using (source)
"""

# Until when the statuses in a span last. A window looks back at four statuses, so the fourth after it ends what it says; and an
# offline notice, whose own time is that of the connection, lasts until it came.
LASTING = """
select touch.source, touch.from_at,
       greatest(extract(epoch from max(said.received_at))::float8,
                coalesce(extract(epoch from (
                    select at from statuses as later
                    where later.source = touch.source and later.at > to_timestamp(touch.to_at)
                    order by at offset 3 limit 1))::float8, 'infinity'))
from unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)
join statuses as said on said.source = touch.source
    and said.at between to_timestamp(touch.from_at) and to_timestamp(touch.to_at)
group by touch.source, touch.from_at, touch.to_at
"""

# The visits of a span are those that it touches when they are widened by the most that a policy widens them. No visit is longer
# than 168 hours (the schema sees to that), so that the search has a beginning in the index.
_TOUCHES = """
visits.starts_at < to_timestamp(touch.to_at + %(margin_s)s)
    and visits.starts_at > to_timestamp(touch.from_at - %(margin_s)s) - interval '168 hours'
    and visits.ends_at > to_timestamp(touch.from_at - %(margin_s)s)
"""
_SPANS = "unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)"

BY_WORKER: LiteralString = f"select visits.* from {_SPANS} join visits on visits.worker = touch.source and {_TOUCHES}"
BY_OUTAGE: LiteralString = f"select visits.* from {_SPANS} join visits on {_TOUCHES}"
BY_SITE: LiteralString = f"""
select visits.*
from {_SPANS}
cross join lateral (select touch.source union all select neighbour from neighbours where site = touch.source) as near (site)
join visits on visits.site = near.site and {_TOUCHES}
"""

# What waits already waits no longer, for its own reason; unless that is a replay, which takes its own off the queue.
_WAITS_NO_LONGER: LiteralString = """
on conflict (visit) do update
set at = least(due.at, excluded.at), why = case due.why when 'replay' then excluded.why else due.why end
"""

# Queues visits that evidence bears on, but for those that will be looked at soon anyway.
QUEUE_SPANS: LiteralString = """
insert into due (visit, at, why)
select distinct found.id, to_timestamp(%(due)s), %(why)s
from ({visits}) as found left join outcomes on outcomes.visit = found.id
where outcomes.look_at is null or outcomes.look_at > to_timestamp(%(soon)s)
"""

# Looks at visits there that would come later than soon come soon, and those that nobody judged are queued.
BRING_FORWARD: LiteralString = f"""
update outcomes set look_at = to_timestamp(%(soon)s)
from ({BY_SITE}) as found
where outcomes.visit = found.id and (outcomes.look_at is null or outcomes.look_at > to_timestamp(%(soon)s))
"""
QUEUE_UNJUDGED: LiteralString = f"""
insert into due (visit, at, why)
select distinct found.id, to_timestamp(%(due)s), %(why)s
from ({BY_SITE}) as found
where not exists (select from outcomes where outcomes.visit = found.id)
{_WAITS_NO_LONGER}
"""

_NOW_DUE = "on conflict (visit) do update set at = least(due.at, excluded.at), why = excluded.why"

# Queues visits that were put or deleted, and the visits that touch them at their old and their new place and time.
QUEUE_VISITS: LiteralString = f"""
with places as (
    select id as visit, worker, site, starts_at, ends_at from visits where id = any(%(visits)s)
    union all
    select visit, worker, site, starts_at, ends_at from outcomes where visit = any(%(visits)s)
), touching as (
    select visits.id
    from places join visits on visits.worker = places.worker
        and visits.starts_at < places.ends_at + make_interval(secs => %(margin_s)s)
        and visits.starts_at > places.starts_at - make_interval(secs => %(margin_s)s) - interval '168 hours'
        and visits.ends_at > places.starts_at - make_interval(secs => %(margin_s)s)
    union
    select visits.id
    from places join visits on visits.site = places.site
        and visits.starts_at < places.ends_at + make_interval(secs => %(margin_s)s)
        and visits.starts_at > places.starts_at - make_interval(secs => %(margin_s)s) - interval '168 hours'
        and visits.ends_at > places.starts_at - make_interval(secs => %(margin_s)s)
)
insert into due (visit, at, why)
select id, to_timestamp(%(now)s), %(why)s from (select id from touching union select unnest(%(visits)s::text[])) as found (id)
{_NOW_DUE}
"""

# Queues visits at sites, at the sites of devices with their neighbours, and visits of the same workers that touch those.
QUEUE_SITES: LiteralString = f"""
with homes as (select site from devices where id = any(%(devices)s)),
places as (
    select unnest(%(sites)s::text[]) as site
    union select site from homes
    union select neighbour from neighbours where site in (select site from homes)
), there as (
    select id, worker, starts_at, ends_at from visits where site in (select site from places)
)
insert into due (visit, at, why)
select id, to_timestamp(%(now)s), %(why)s
from (
    select id from there
    union
    select visits.id
    from there join visits on visits.worker = there.worker
        and visits.starts_at < there.ends_at + make_interval(secs => %(margin_s)s)
        and visits.starts_at > there.starts_at - make_interval(secs => %(margin_s)s) - interval '168 hours'
        and visits.ends_at > there.starts_at - make_interval(secs => %(margin_s)s)
) as found
{_NOW_DUE}
"""

QUEUE_THESE: LiteralString = f"""
insert into due (visit, at, why) select visit, to_timestamp(%(now)s), %(why)s from unnest(%(visits)s::text[]) as found (visit)
{_NOW_DUE}
"""

QUEUE_LATER: LiteralString = f"""
insert into due (visit, at, why) select visit, to_timestamp(%(now)s), %(why)s from unnest(%(visits)s::text[]) as found (visit)
{_WAITS_NO_LONGER}
"""

QUEUE_REPEATING: LiteralString = """
insert into due (visit, at, why) select visit, to_timestamp(%(now)s), %(why)s from unnest(%(visits)s::text[]) as found (visit)
on conflict (visit) do update set at = least(due.at, excluded.at) where due.why <> 'replay'
"""

QUEUE_WORKERS: LiteralString = f"""
insert into due (visit, at, why)
select id, to_timestamp(%(now)s), %(why)s from visits where worker = any(%(workers)s)
{_NOW_DUE}
"""

# Queues visits of services whose policy changed, as far as they are not final. The default bears on all that have none of their
# own.
QUEUE_SERVICES: LiteralString = f"""
insert into due (visit, at, why)
select id, to_timestamp(%(now)s), %(why)s
from visits
where (service = any(%(services)s) or (%(everyone)s and service <> all(%(unless)s)))
  and greatest(ends_at, updated_at) > to_timestamp(%(open_since)s)
{_NOW_DUE}
"""

# Their own look, too, would have them judged at once again, and again.
SET_ASIDE = """
update outcomes set look_at = to_timestamp(%(until)s) where visit = any(%(visits)s) and look_at < to_timestamp(%(until)s)
"""

PUT_OFF = """
update due set at = to_timestamp(later.at) from unnest(%s::text[], %s::float8[]) as later (visit, at) where due.visit = later.visit
"""

QUEUE_OPEN: LiteralString = f"""
insert into due (visit, at, why)
select id, to_timestamp(%(now)s), %(why)s
from visits
where starts_at <= to_timestamp(%(now)s + %(within_s)s + %(margin_s)s)
  and starts_at > to_timestamp(%(now)s - %(margin_s)s) - interval '168 hours'
  and ends_at > to_timestamp(%(now)s - %(margin_s)s)
{_WAITS_NO_LONGER}
"""

# What is due: the visits whose time has come, then the queue. Each part is bounded by itself, so that neither starves the other.
DUE = """
(select visit, 'time passed' as why from outcomes
 where look_at <= to_timestamp(%(now)s) order by look_at limit %(visits_max)s)
union all
(select visit, why from due where at <= to_timestamp(%(now)s) order by at, visit limit %(visits_max)s)
"""

BACKLOG = """
select (select count(*) from journal, (select snapshot from cursors where name = %(name)s) as cursor
        where xid >= pg_snapshot_xmin(cursor.snapshot) and not pg_visible_in_snapshot(xid, cursor.snapshot)),
       (select count(*) from due where at <= now()) + (select count(*) from outcomes where look_at <= now()),
       coalesce(extract(epoch from now() - least((select min(at) from due where at <= now()),
                                                 (select min(look_at) from outcomes where look_at <= now())))::float8, 0)
"""

UNJUDGED = """
insert into due (visit, at, why)
select coalesce(visits.id, outcomes.visit), to_timestamp(%(now)s), %(why)s
from visits full join outcomes on outcomes.visit = visits.id
where outcomes.visit is null or visits.id is null
on conflict (visit) do nothing
"""
