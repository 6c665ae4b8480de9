-- The spine: plans, evidence, rejects, the journal that verify follows, and what verify derives.
--
-- Evidence is only ever inserted. Plans are edited by people. Derived tables may be dropped and rebuilt at any time.

-- Plans -----------------------------------------------------------------------------------------------------------------------

create table sites (
    id          text primary key,
    name        text not null,
    customer    text,
    timezone    text not null default 'UTC',
    geometry    jsonb not null,
    radius_m    double precision check (radius_m > 0),
    properties  jsonb not null default '{}',
    -- The fence's bounding box with its radius, so that a map and a neighbour search need not parse geometry.
    min_lon     double precision not null,
    min_lat     double precision not null,
    max_lon     double precision not null,
    max_lat     double precision not null,
    updated_at  timestamptz not null default now()
);
create index sites_box on sites (min_lat, max_lat, min_lon, max_lon);
create index sites_near on sites using gist (box(point(min_lon, min_lat), point(max_lon, max_lat)));

create table workers (
    id          text primary key,
    name        text not null,
    aliases     jsonb not null default '{}',
    properties  jsonb not null default '{}',
    updated_at  timestamptz not null default now()
);

-- Which address reports for which worker. A native worker's own id needs no row. Kept by PUT /workers.
create table sources (
    source      text primary key,
    worker      text not null references workers on delete cascade
);
create index sources_worker on sources (worker);

create table devices (
    id          text primary key,
    site        text not null references sites,
    kind        text not null,
    dialect     text not null default 'native',
    address     text,
    source      text not null unique,
    name        text,
    properties  jsonb not null default '{}',
    updated_at  timestamptz not null default now()
);
create index devices_site on devices (site);

create table visits (
    id          text primary key,
    worker      text not null references workers,
    site        text not null references sites,
    service     text not null default 'default',
    starts_at   timestamptz not null,
    ends_at     timestamptz not null check (ends_at > starts_at),
    properties  jsonb not null default '{}',
    planned_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    -- A bound lets a search by starts_at find every visit that touches a span.
    constraint visits_span check (ends_at - starts_at <= interval '168 hours')
);
create index visits_start on visits (starts_at, id);
create index visits_worker on visits (worker, starts_at);
create index visits_site on visits (site, starts_at);

create table policies (
    service     text not null,
    version     integer not null,
    body        jsonb not null,
    created_at  timestamptz not null default now(),
    primary key (service, version)
);

-- A secret that decrypts what the phone of one source sends (OwnTracks payload encryption).
create table source_keys (
    source      text primary key,
    secret      text not null
);

-- Evidence: one hypertable each where TimescaleDB is installed ------------------------------------------------------------------

create table fixes (
    source       text not null,
    at           timestamptz not null,
    identity     bigint not null,
    received_at  timestamptz not null,
    lon          double precision not null,
    lat          double precision not null,
    accuracy_m   real,
    altitude_m   real,
    speed_mps    real,
    heading_deg  real,
    battery      real,
    mock         boolean not null default false,
    crs          text not null default 'wgs84',
    raw_lon      double precision,
    raw_lat      double precision,
    mode         text,
    trigger      text,
    epoch        bigint,
    seq          bigint,
    unique (source, at, identity)
);

create table checks (
    source       text not null,
    at           timestamptz not null,
    identity     bigint not null,
    received_at  timestamptz not null,
    kind         text not null,
    visit        text,
    method       text not null,
    code         text,
    lon          double precision,
    lat          double precision,
    accuracy_m   real,
    epoch        bigint,
    seq          bigint,
    unique (source, at, identity)
);

create table device_events (
    source       text not null,
    at           timestamptz not null,
    identity     bigint not null,
    received_at  timestamptz not null,
    kind         text not null,
    value        double precision,
    worker       text,
    credential   text,
    unique (source, at, identity)
);

create table statuses (
    source       text not null,
    at           timestamptz not null,
    identity     bigint not null,
    received_at  timestamptz not null,
    state        text not null,
    permission   text,
    power_save   boolean,
    app_version  text,
    battery      real,
    epoch        bigint,
    seq          bigint,
    unique (source, at, identity)
);

create table rejects (
    id           bigint generated always as identity primary key,
    received_at  timestamptz not null,
    topic        text not null,
    payload      bytea not null,
    reason       text not null,
    detail       text not null default '',
    replayed_at  timestamptz
);
create index rejects_time on rejects (received_at desc, id desc);
create index rejects_reason on rejects (reason, received_at desc);

-- Which sequence numbers of a phone are stored (or rejected and stored as such). `through` is what a receipt may promise.
create table sequences (
    source   text not null,
    epoch    bigint not null,
    seen     int8multirange not null,
    through  bigint not null,
    primary key (source, epoch)
);

-- What each transaction touched, in the order in which verify may see it ---------------------------------------------------------

-- Commit order is not id order. The reader's cursor is the snapshot up to which it has read: what that snapshot did not show and the
-- present one does is new, however long its transaction was open and whatever its id.
create table journal (
    xid       xid8 not null default pg_current_xact_id(),
    id        bigint generated always as identity,
    made_at   timestamptz not null default now(),
    -- evidence: three arrays of one length, a source and the span of `at` that the transaction wrote for it
    sources   text[] not null default '{}',
    from_at   timestamptz[] not null default '{}',
    to_at     timestamptz[] not null default '{}',
    -- plans that were put or deleted
    visits    text[] not null default '{}',
    sites     text[] not null default '{}',
    workers   text[] not null default '{}',
    devices   text[] not null default '{}',
    services  text[] not null default '{}',
    primary key (xid, id)
);

create table cursors (
    name      text primary key,
    snapshot  pg_snapshot not null
);

-- Times in which our own ingest was not running: the cause of gaps that are our fault.
create table outages (
    start_at  timestamptz primary key,
    end_at    timestamptz
);

-- An outage bears on every worker's visits of its time, which the source `*` says.
create function journal_outage() returns trigger language plpgsql as $$
begin
    insert into journal (sources, from_at, to_at) values ('{*}', array[new.start_at], array[coalesce(new.end_at, now())]);
    notify sitewatch_journal;
    return null;
end
$$;
create trigger outages_journal after insert or update on outages for each row execute function journal_outage();

-- A heartbeat a program: what it is, whether it lives, what it counted last (for readyz, metrics and the outage record).
create table programs (
    name      text primary key,
    beat_at   timestamptz not null,
    started_at timestamptz not null,
    state     jsonb not null default '{}'
);

-- Derived ---------------------------------------------------------------------------------------------------------------------

-- Visits that must be judged again and were not yet: a queue between what the journal says and the judge.
create table due (
    visit  text primary key,
    at     timestamptz not null,
    why    text not null
);
create index due_at on due (at);

-- Which sources have ever reported, since when, and whose they were when visits were last judged by it.
create table sightings (
    source    text primary key,
    worker    text not null,
    first_at  timestamptz
);
create index sightings_worker on sightings (worker);

-- Sites near enough to be mistaken for each other, both ways round; kept, so that a redrawn site still knows its old neighbours.
create table neighbours (
    site       text not null,
    neighbour  text not null,
    primary key (site, neighbour)
);

create table outcomes (
    visit        text primary key,
    worker       text not null,
    site         text not null,
    service      text not null,
    starts_at    timestamptz not null,
    ends_at      timestamptz not null,
    verdict      text not null,
    findings     text[] not null,
    coverage     double precision,
    monitored_s  double precision not null,
    expected_s   double precision not null,
    on_site_s    double precision not null,
    arrived_at   timestamptz,
    left_at      timestamptz,
    outcome      jsonb not null,
    revision     integer not null,
    -- When the passing of time alone could change it next; null: only new evidence or a new plan can.
    look_at      timestamptz
);
create index outcomes_start on outcomes (starts_at, visit);
create index outcomes_worker on outcomes (worker, starts_at);
create index outcomes_site on outcomes (site, starts_at);
create index outcomes_verdict on outcomes (verdict, starts_at);
create index outcomes_look on outcomes (look_at) where look_at is not null;

-- What people were told, and why it changed. Append-only; not derived: survives a replay.
create table outcome_history (
    visit        text not null,
    revision     integer not null,
    outcome      jsonb not null,
    why          text not null,
    recorded_at  timestamptz not null default now(),
    primary key (visit, revision)
);

create table gaps (
    visit     text not null,
    start_at  timestamptz not null,
    end_at    timestamptz not null,
    cause     text not null,
    primary key (visit, start_at)
);

create table presence (
    visit     text not null,
    start_at  timestamptz not null,
    end_at    timestamptz not null,
    worker    text not null,
    site      text not null,
    state     text not null,
    primary key (visit, start_at)
);
create index presence_worker on presence (worker, start_at);

-- One row a visit whose verdict is not pending: what coverage reports add up.
create table coverage (
    visit        text primary key,
    worker       text not null,
    site         text not null,
    service      text not null,
    starts_at    timestamptz not null,
    monitored_s  double precision not null,
    expected_s   double precision not null,
    share        double precision not null,
    -- seconds by cause; the sum of all with monitored_s is expected_s
    ingest_outage double precision not null default 0,
    no_device     double precision not null default 0,
    permission_off double precision not null default 0,
    phone_offline double precision not null default 0,
    power_save    double precision not null default 0,
    poor_accuracy double precision not null default 0,
    suspect       double precision not null default 0,
    delayed       double precision not null default 0,
    silent        double precision not null default 0
);
create index coverage_start on coverage (starts_at);

-- Exceptions that want a person. The id is made of kind, subject and time, so that a replay finds the same alert again.
create table alerts (
    id            text primary key,
    kind          text not null,
    severity      text not null,
    at            timestamptz not null,
    visit         text,
    worker        text,
    site          text,
    device        text,
    detail        jsonb not null default '{}',
    cleared       boolean not null default false
);
create index alerts_time on alerts (at desc, id desc);
create index alerts_open on alerts (at desc) where not cleared;
create index alerts_visit on alerts (visit);
create index alerts_source on alerts ((detail ->> 'source')) where visit is null;

-- What a person said of an alert; survives a replay.
create table acknowledgements (
    alert            text primary key,
    acknowledged_at  timestamptz not null default now(),
    acknowledged_by  text,
    note             text
);

create table positions (
    worker       text primary key,
    source       text not null,
    at           timestamptz not null,
    received_at  timestamptz not null,
    lon          double precision not null,
    lat          double precision not null,
    accuracy_m   real,
    altitude_m   real,
    speed_mps    real,
    heading_deg  real,
    battery      real,
    mode         text,
    flags        text[] not null default '{}',
    -- Of a running visit: where the worker should be, and whether she is there.
    visit        text,
    site         text,
    presence     text not null default 'unknown',
    online       boolean
);
create index positions_visit on positions (visit) where visit is not null;

-- Last reported state of a device, by source: the newest event of each kind, and whether it is online.
create table device_states (
    source       text primary key,
    at           timestamptz not null,
    received_at  timestamptz not null,
    online       boolean,
    battery      real,
    state        jsonb not null default '{}'
);

-- The live stream's log: what changed, not how. Written by verify alone, so id order is commit order. Old rows are trimmed.
create table changes (
    id         bigint generated always as identity primary key,
    made_at    timestamptz not null default now(),
    workers    text[] not null default '{}',
    visits     text[] not null default '{}',
    alerts     text[] not null default '{}',
    devices    text[] not null default '{}'
);

-- Where else a worker was for a good part of a planned visit, in cells of some hundred metres, and the sites known there: a new site
-- may turn out to be where she went instead.
create table haunts (
    visit  text not null,
    place  point not null,
    sites  text[] not null default '{}'
);
create index haunts_visit on haunts (visit);
create index haunts_place on haunts using gist (place);
create index haunts_sites on haunts using gin (sites);

-- Reports -----------------------------------------------------------------------------------------------------------------------

-- What came in by the hour of its own time. Counted on read here; TimescaleDB keeps the counts under the same name and columns.
create view evidence_hourly as
select 'fix' as kind, source, date_bin('1 hour', at, '2000-01-01 00:00:00+00') as hour, count(*) as reports,
       max(received_at - at) as lateness_max
from fixes group by 2, 3
union all
select 'check', source, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), count(*), max(received_at - at)
from checks group by 2, 3
union all
select 'device_event', source, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), count(*), max(received_at - at)
from device_events group by 2, 3
union all
select 'status', source, date_bin('1 hour', at, '2000-01-01 00:00:00+00'), count(*), max(received_at - at)
from statuses group by 2, 3;

create view rejects_hourly as
select reason, date_bin('1 hour', received_at, '2000-01-01 00:00:00+00') as hour, count(*) as rejects
from rejects group by 1, 2;
