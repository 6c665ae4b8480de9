#!/bin/sh
# Gives Grafana's role its password and its rights; as often as one likes.
set -eu
PGPASSWORD="$(cat /run/secrets/postgres_password)"
export PGPASSWORD
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
    --set password="$(cat /run/secrets/grafana_database_password)" --file /grants.sql
