-- The logins of service and worker, made before the schema: run as a superuser, with the passwords in SERVICE_PASSWORD
-- and WORKER_PASSWORD. psql 14 or newer. The roles they belong to get their rights from honua-schema upgrade.
\set ON_ERROR_STOP on
\getenv service_password SERVICE_PASSWORD
\getenv worker_password WORKER_PASSWORD
CREATE ROLE honua_app NOLOGIN;
CREATE ROLE honua_worker NOLOGIN;
CREATE ROLE service LOGIN PASSWORD :'service_password' IN ROLE honua_app;
CREATE ROLE worker LOGIN PASSWORD :'worker_password' IN ROLE honua_worker;
