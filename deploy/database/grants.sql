-- Grafana reads figures and nothing else: no position, no evidence, no key, nobody's name.
select 'create role grafana login' where not exists (select from pg_roles where rolname = 'grafana') \gexec
alter role grafana password :'password';
alter role grafana set default_transaction_read_only = on;
alter role grafana set statement_timeout = '30s';
alter role grafana connection limit 10;
grant usage on schema public to grafana;
grant select on coverage, gaps, outages, programs to grafana;
