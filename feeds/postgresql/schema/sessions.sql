-- End its sessions, and wait until they have ended.
DO $do$
DECLARE
    who name := :member;
BEGIN
    IF NOT fleet.has_role(who) THEN
        RETURN;
    END IF;
    -- Who is no superuser ends sessions, and drops what belongs to a role, as a member of that.
    IF NOT pg_has_role(current_user, who, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', who, current_user);
    END IF;
    FOR turn IN 1 .. 200 LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a
            WHERE a.usename = who AND a.pid <> pg_backend_pid();
        EXIT WHEN NOT FOUND;
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$do$;
