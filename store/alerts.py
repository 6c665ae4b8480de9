"""Alerts: exceptions that want a person, as rows that are raised, and cleared when their reason is gone.

Rules kept here:

- An alert's id is made of its kind, its subject and the subject's time, so that whoever finds the reason again finds the same
  alert.
- A cleared alert stays, as what a person was told; it is raised again under the same id when the reason comes back.
- Alerts of a visit are what its outcome says. Alerts of a device are what it reported: an event with value 0 ends the earlier ones
  of its kind, and an offline device comes back with anything that it sends.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from psycopg import Connection

from store.journal import Touch

Severity = Literal["info", "warning", "critical"]


class Alert(Struct, frozen=True, kw_only=True):
    """An exception of one visit. `at` is when it became one, in seconds since 1970."""

    kind: str
    severity: Severity
    at: float
    visit: str
    worker: str
    site: str
    detail: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.visit}"


def write(connection: Connection, visits: Collection[str], wanted: Sequence[Alert]) -> list[str]:
    """Makes the alerts of these visits the wanted ones; returns the ids of those that were raised, changed or cleared."""
    columns = {
        "visits": list(visits),
        "ids": [alert.id for alert in wanted],
        "kinds": [alert.kind for alert in wanted],
        "severities": [alert.severity for alert in wanted],
        "at": [alert.at for alert in wanted],
        "of": [alert.visit for alert in wanted],
        "workers": [alert.worker for alert in wanted],
        "sites": [alert.site for alert in wanted],
        "details": [msgspec.json.encode(alert.detail).decode() for alert in wanted],
    }
    raised = connection.execute(RAISE, columns).fetchall() if wanted else []
    cleared = connection.execute(CLEAR, columns).fetchall()
    return [alert for (alert,) in [*raised, *cleared]]


def remove(connection: Connection, visits: Collection[str]) -> list[str]:
    """Drops the alerts of visits that are no more."""
    gone = connection.execute("delete from alerts where visit = any(%s) and device is null returning id", [list(visits)])
    return [alert for (alert,) in gone]


def follow_devices(connection: Connection, touches: Sequence[Touch]) -> list[str]:
    """Raises and clears what the device events and statuses in these spans say; returns the ids of what changed."""
    if not touches:
        return []
    columns = {
        "sources": [touch.source for touch in touches],
        "from_at": [touch.from_at for touch in touches],
        "to_at": [touch.to_at for touch in touches],
    }
    changed = [*connection.execute(ALARMS, columns).fetchall(), *connection.execute(ENDS, columns).fetchall()]
    changed += [*connection.execute(OFFLINE, columns).fetchall(), *connection.execute(BACK_ONLINE, columns).fetchall()]
    return [alert for (alert,) in changed]


def reassign(connection: Connection, devices: Collection[str]) -> list[str]:
    """Follows devices that were put or deleted: their alerts name the device and the site that the source has now."""
    return [alert for (alert,) in connection.execute(REASSIGN, {"devices": list(devices)})]


RAISE = """
insert into alerts (id, kind, severity, at, visit, worker, site, detail)
select id, kind, severity, to_timestamp(at), visit, worker, site, detail
from unnest(%(ids)s::text[], %(kinds)s::text[], %(severities)s::text[], %(at)s::float8[], %(of)s::text[], %(workers)s::text[],
            %(sites)s::text[], %(details)s::text[]::jsonb[])
     as wanted (id, kind, severity, at, visit, worker, site, detail)
on conflict (id) do update
set severity = excluded.severity, at = excluded.at, worker = excluded.worker, site = excluded.site, detail = excluded.detail,
    cleared = false
where (alerts.severity, alerts.at, alerts.worker, alerts.site, alerts.detail, alerts.cleared)
      is distinct from (excluded.severity, excluded.at, excluded.worker, excluded.site, excluded.detail, false)
returning id
"""

CLEAR = """
update alerts set cleared = true
where visit = any(%(visits)s) and device is null and id <> all(%(ids)s) and not cleared
returning id
"""

_SPANS = "unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)"
_INSIDE = "at >= to_timestamp(touch.from_at) and at <= to_timestamp(touch.to_at)"

# An alarm ends with the first report of its kind that says 0.
ALARMS = f"""
insert into alerts (id, kind, severity, at, site, device, detail, cleared)
select distinct on (event.kind, event.source, event.at)
       event.kind || ':' || event.source || ':' || (extract(epoch from event.at) * 1000)::bigint, event.kind,
       case event.kind when 'tamper' then 'warning' else 'critical' end, event.at, devices.site, coalesce(devices.id, event.source),
       jsonb_build_object('source', event.source),
       exists (select from device_events as later
               where later.source = event.source and later.kind = event.kind and later.value = 0 and later.at > event.at)
from {_SPANS}
cross join lateral (
    select * from device_events
    where device_events.source = touch.source and {_INSIDE}
      and kind in ('sos', 'leak', 'smoke', 'tamper') and value is distinct from 0
) as event
left join devices on devices.source = event.source
order by event.kind, event.source, event.at
on conflict (id) do update set cleared = excluded.cleared, site = excluded.site, device = excluded.device
where (alerts.cleared, alerts.site, alerts.device) is distinct from (excluded.cleared, excluded.site, excluded.device)
returning id
"""

ENDS = f"""
update alerts set cleared = true
from {_SPANS}
cross join lateral (
    select kind, source, max(at) as at from device_events
    where device_events.source = touch.source and {_INSIDE} and kind in ('sos', 'leak', 'smoke', 'tamper') and value = 0
    group by kind, source
) as ended
where alerts.visit is null and alerts.kind = ended.kind and alerts.detail ->> 'source' = ended.source and alerts.at < ended.at
  and not alerts.cleared
  and alerts.id like ended.kind || ':%%'
returning alerts.id
"""

# A planned device whose state says that it is gone, by the status that said so.
OFFLINE = f"""
insert into alerts (id, kind, severity, at, site, device, detail)
select distinct on (said.source)
       'device_offline:' || said.source || ':' || (1000 * (said.state #>> '{{status,received_at}}')::numeric)::bigint,
       'device_offline', 'warning', to_timestamp((said.state #>> '{{status,received_at}}')::float8), devices.site, devices.id,
       jsonb_build_object('source', said.source)
from {_SPANS} join device_states as said on said.source = touch.source join devices on devices.source = said.source
where not said.online
order by said.source
on conflict (id) do update set cleared = false where alerts.cleared
returning id
"""

BACK_ONLINE = f"""
update alerts set cleared = true
from {_SPANS} join device_states as said on said.source = touch.source
where alerts.visit is null and alerts.kind = 'device_offline' and alerts.detail ->> 'source' = said.source and not alerts.cleared
  and (said.online or alerts.at <> to_timestamp((said.state #>> '{{status,received_at}}')::float8))
returning alerts.id
"""

REASSIGN = """
with concerned as (
    select alerts.id, devices.id as device, devices.site
    from alerts left join devices on devices.source = alerts.detail ->> 'source'
    where alerts.visit is null
      and (alerts.device = any(%(devices)s) or devices.id = any(%(devices)s))
)
update alerts set device = coalesce(concerned.device, alerts.detail ->> 'source'), site = concerned.site
from concerned
where alerts.id = concerned.id
  and (alerts.device, alerts.site) is distinct from (coalesce(concerned.device, alerts.detail ->> 'source'), concerned.site)
returning alerts.id
"""
