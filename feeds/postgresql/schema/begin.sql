-- One at a time; who is kept waiting gives up, and changes nothing.
SET LOCAL lock_timeout = '10s';
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT pg_advisory_xact_lock(7234061198245);
