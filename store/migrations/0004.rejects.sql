-- A reject that comes again is the same reject, and one that a person wants to be read again says so until somebody has.
-- depends: 0002.acknowledged

alter table rejects
    -- When the same bytes last came on the same topic, and how often they came in all.
    add column last_at timestamptz not null default now(),
    add column times integer not null default 1,
    -- A person asked for it to be read again by the decoder as it is now, and nobody has done it yet.
    add column wanted_at timestamptz,
    -- When it was last read again, and what it was then: evidence, no_evidence, divided, or
    -- rejected, which leaves it open.
    add column read_at timestamptz,
    add column outcome text;

-- Those that were stored twice before are counted together in their oldest row.
with alike as (
    select min(id) as id, max(received_at) as last_at, count(*) as times
    from rejects group by topic, payload
)
update rejects set last_at = alike.last_at, times = alike.times from alike where alike.id = rejects.id;
delete from rejects where exists (
    select from rejects as older where (older.topic, older.payload) = (rejects.topic, rejects.payload) and older.id < rejects.id
);

-- The payload may be too long for an index. md5 only makes the topic's part of the hash as long as everybody's.
create unique index rejects_once on rejects (sha256(decode(md5(topic), 'hex') || payload));
create index rejects_wanted on rejects (id) where wanted_at is not null;
-- Replaces rejects_reason: lists and counts are of one reason, and mostly of what is still open.
drop index rejects_reason;
create index rejects_open on rejects (reason, received_at desc, id desc) where replayed_at is null;
create index rejects_reason on rejects (reason, received_at desc, id desc);
