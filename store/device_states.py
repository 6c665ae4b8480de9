"""Device states: the newest event of each kind that a device reported, and whether it is online.

`state` holds an object per kind of event (`at` and `received_at` in seconds since 1970, `value`, `worker`, `credential` where they
were sent) and one named `status`.

Rules kept here:

- Newest is by the device's own time; a status is the newest by when it came, because an offline notice bears the time at which the
  connection began.
- A source with device events has a row whether or not somebody planned it; a source with statuses alone has one once it is planned:
  it might as well be a phone.
"""

from collections.abc import Collection, Sequence

from psycopg import Connection

from store.journal import Touch


def refresh(connection: Connection, touches: Sequence[Touch]) -> list[str]:
    """Adds what was reported in these spans; returns the sources whose row changed."""
    if not touches:
        return []
    values = {
        "sources": [touch.source for touch in touches],
        "from_at": [touch.from_at for touch in touches],
        "to_at": [touch.to_at for touch in touches],
    }
    return [source for (source,) in connection.execute(REFRESH, values)]


def sources_of(connection: Connection, devices: Collection[str]) -> list[str]:
    """The sources that report for these devices now."""
    return [source for (source,) in connection.execute("select source from devices where id = any(%s)", [list(devices)])]


def forget(connection: Connection, sources: Collection[str]) -> None:
    """Drops rows, so that they are made anew."""
    connection.execute("delete from device_states where source = any(%s)", [list(sources)])


def everything(connection: Connection) -> list[Touch]:
    """Every source that may have a row, with all times."""
    return [
        Touch(source, float("-inf"), float("inf")) for (source,) in connection.execute("select source from sightings order by 1")
    ]


# Each kind's newest of what is stored and what is new. On equal times the greater text wins: any rule would do, if it is one.
REFRESH = """
with touched as (
    select source, min(from_at) as from_at, max(to_at) as to_at
    from unnest(%(sources)s::text[], %(from_at)s::float8[], %(to_at)s::float8[]) as touch (source, from_at, to_at)
    group by source
), reports as (
    select event.source, event.kind, event.at as rank, event.at, event.received_at,
           jsonb_strip_nulls(jsonb_build_object(
               'at', extract(epoch from event.at), 'received_at', extract(epoch from event.received_at),
               'value', event.value, 'worker', event.worker, 'credential', event.credential)) as body
    from touched join device_events as event on event.source = touched.source
        and event.at >= to_timestamp(touched.from_at) and event.at <= to_timestamp(touched.to_at)
    union all
    select said.source, 'status', said.received_at, said.at, said.received_at,
           jsonb_strip_nulls(jsonb_build_object(
               'at', extract(epoch from said.at), 'received_at', extract(epoch from said.received_at),
               'state', said.state, 'battery', said.battery))
    from touched join statuses as said on said.source = touched.source
        and said.at >= to_timestamp(touched.from_at) and said.at <= to_timestamp(touched.to_at)
    where exists (select from devices where devices.source = said.source)
       or exists (select from device_events where device_events.source = said.source)
    union all
    select device_states.source, kind,
           to_timestamp((body ->> case kind when 'status' then 'received_at' else 'at' end)::float8),
           to_timestamp((body ->> 'at')::float8), to_timestamp((body ->> 'received_at')::float8), body
    from device_states join touched using (source) cross join lateral jsonb_each(device_states.state) as kept (kind, body)
), newest as (
    select distinct on (source, kind) source, kind, at, received_at, body
    from reports order by source, kind, rank desc, received_at desc, body::text desc
), merged as (
    select source, max(at) as at, max(received_at) as received_at, jsonb_object_agg(kind, body) as state from newest group by source
)
insert into device_states (source, at, received_at, online, battery, state)
select source, at, received_at,
       case when state ? 'status' then
           state #>> '{status,state}' = 'online' or received_at > to_timestamp((state #>> '{status,received_at}')::float8)
       end,
       coalesce((state #>> '{battery,value}')::float8, (state #>> '{status,battery}')::float8),
       state
from merged
order by source
on conflict (source) do update
set at = excluded.at, received_at = excluded.received_at, online = excluded.online, battery = excluded.battery,
    state = excluded.state
where device_states.state is distinct from excluded.state or device_states.online is distinct from excluded.online
returning source
"""
