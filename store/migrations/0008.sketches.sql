-- Some of the positions of each visit, to know a track again that is sent once more for a later visit. Derived.
-- depends: 0007.closed

create table sketches (
    visit      text primary key,
    site       text not null,
    starts_at  timestamptz not null,
    -- What is kept of each position, one after the other: its print (int4) and when it was there (float8, seconds since 1970), the
    -- lowest byte first. Only the engine reads it.
    positions  bytea not null,
    -- The number of the rule by which they were chosen.
    made       smallint not null
);
create index sketches_site on sketches (site, starts_at);
