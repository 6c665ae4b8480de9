-- Where TimescaleDB is installed: the evidence tables become hypertables with a columnstore, and hours are counted ahead.
--
-- The one extra step after the migrations. May run at any time, again and again, on empty tables and on full ones. Names and
-- columns stay what they were, so every query answers what it answers on plain PostgreSQL.
--
-- Nothing is ever dropped by what stands here: retention is set apart, by `store.migrate.retain`.

create extension if not exists timescaledb;

-- A day a chunk: a day of 10,000 phones is what fits in memory. Every query names its source and its time, so the unique key
-- is index enough.
select create_hypertable('fixes', by_range('at', interval '1 day'),
                         create_default_indexes => false, migrate_data => true, if_not_exists => true);
select create_hypertable('checks', by_range('at', interval '7 days'),
                         create_default_indexes => false, migrate_data => true, if_not_exists => true);
select create_hypertable('device_events', by_range('at', interval '7 days'),
                         create_default_indexes => false, migrate_data => true, if_not_exists => true);
select create_hypertable('statuses', by_range('at', interval '7 days'),
                         create_default_indexes => false, migrate_data => true, if_not_exists => true);

-- Columns by source, in the order of time: how every visit is read. Late evidence may still be inserted into what is compressed.
alter table fixes set (timescaledb.enable_columnstore, timescaledb.segmentby = 'source', timescaledb.orderby = 'at, identity');
alter table checks set (timescaledb.enable_columnstore, timescaledb.segmentby = 'source', timescaledb.orderby = 'at, identity');
alter table device_events set (timescaledb.enable_columnstore, timescaledb.segmentby = 'source', timescaledb.orderby = 'at, identity');
alter table statuses set (timescaledb.enable_columnstore, timescaledb.segmentby = 'source', timescaledb.orderby = 'at, identity');

-- Not before a visit is final (a week): until then phones that were offline still deliver.
call add_columnstore_policy('fixes', after => interval '8 days', if_not_exists => true);
call add_columnstore_policy('checks', after => interval '15 days', if_not_exists => true);
call add_columnstore_policy('device_events', after => interval '15 days', if_not_exists => true);
call add_columnstore_policy('statuses', after => interval '15 days', if_not_exists => true);

-- `materialized_only = false`: hours that are not counted ahead yet are counted on read, so that nothing is missing. Late evidence
-- for an hour that was counted ahead shows after the next refresh.
create materialized view if not exists fixes_hourly with (timescaledb.continuous, timescaledb.materialized_only = false) as
select source, time_bucket('1 hour', at) as hour, count(*) as reports, max(received_at - at) as lateness_max
from fixes group by 1, 2 with no data;

create materialized view if not exists checks_hourly with (timescaledb.continuous, timescaledb.materialized_only = false) as
select source, time_bucket('1 hour', at) as hour, count(*) as reports, max(received_at - at) as lateness_max
from checks group by 1, 2 with no data;

create materialized view if not exists device_events_hourly with (timescaledb.continuous, timescaledb.materialized_only = false) as
select source, time_bucket('1 hour', at) as hour, count(*) as reports, max(received_at - at) as lateness_max
from device_events group by 1, 2 with no data;

create materialized view if not exists statuses_hourly with (timescaledb.continuous, timescaledb.materialized_only = false) as
select source, time_bucket('1 hour', at) as hour, count(*) as reports, max(received_at - at) as lateness_max
from statuses group by 1, 2 with no data;

select add_continuous_aggregate_policy('fixes_hourly', start_offset => null, end_offset => interval '2 hours',
                                       schedule_interval => interval '10 minutes', if_not_exists => true);
select add_continuous_aggregate_policy('checks_hourly', start_offset => null, end_offset => interval '2 hours',
                                       schedule_interval => interval '10 minutes', if_not_exists => true);
select add_continuous_aggregate_policy('device_events_hourly', start_offset => null, end_offset => interval '2 hours',
                                       schedule_interval => interval '10 minutes', if_not_exists => true);
select add_continuous_aggregate_policy('statuses_hourly', start_offset => null, end_offset => interval '2 hours',
                                       schedule_interval => interval '10 minutes', if_not_exists => true);

create or replace view evidence_hourly as
select 'fix' as kind, source, hour, reports, lateness_max from fixes_hourly
union all
select 'check', source, hour, reports, lateness_max from checks_hourly
union all
select 'device_event', source, hour, reports, lateness_max from device_events_hourly
union all
select 'status', source, hour, reports, lateness_max from statuses_hourly;
