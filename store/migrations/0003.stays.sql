-- Where workers stayed, and what is needed to find their next stay without reading their past again. Both are derived.
-- depends: 0001.spine

create table stays (
    worker      text not null,
    start_at    timestamptz not null,
    end_at      timestamptz not null,
    lon         double precision not null,
    lat         double precision not null,
    -- one σ of the place, per axis
    error_m     double precision not null,
    fixes       integer not null,
    -- Where the search begins again when something is reported late, and from when on what is reported cannot change this stay.
    -- Null: she is still there, as far as is known.
    cut_at      timestamptz,
    sure_at     timestamptz,
    -- planned, unscheduled, ambiguous, unknown_place or off_duty; of the last nobody is told
    kind        text not null,
    site        text,
    sites       text[] not null default '{}',
    visit       text,
    instead_of  text,
    primary key (worker, start_at)
);
create index stays_time on stays (start_at, worker);
create index stays_site on stays (site, start_at) where site is not null;
create index stays_sites on stays using gin (sites);
create index stays_visit on stays (visit) where visit is not null;
create index stays_place on stays using gist (point(lon, lat));

-- Up to when the fixes of a worker were searched for stops, and what the search remembers.
create table searches (
    worker  text primary key,
    until   timestamptz not null,
    state   text not null
);
