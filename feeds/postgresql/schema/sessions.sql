-- End its sessions, and wait until they have ended.
DO $do$
BEGIN
    FOR turn IN 1 .. 200 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN fleet.end_sessions(:member) = 0;
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$do$;
