#!/bin/sh
# Runs once in the postgres container: Holdpoint's own role, and the demo's shop as its database.
set -eu
password=$(cat /run/secrets/database-password)
psql -v ON_ERROR_STOP=1 --username postgres --set=password="$password" <<'SQL'
CREATE ROLE holdpoint LOGIN PASSWORD :'password';
CREATE DATABASE shop OWNER holdpoint;
SQL
psql -v ON_ERROR_STOP=1 --single-transaction --username postgres --dbname shop \
  -c 'SET SESSION AUTHORIZATION holdpoint' -f /opt/shop.sql
