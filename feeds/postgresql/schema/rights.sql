-- Who may do what. It is said anew each time, so that what was changed by hand is as it has to be.
DO $$
BEGIN
    EXECUTE pg_catalog.format(
        'REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE pg_catalog.format(
        'GRANT CONNECT ON DATABASE %I TO treason_fleet_member', current_database());
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public') THEN
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
    END IF;
END
$$;

SET LOCAL ROLE treason_fleet;
REVOKE ALL ON SCHEMA fleet FROM PUBLIC, treason_fleet_member;
REVOKE ALL ON ALL TABLES IN SCHEMA fleet FROM PUBLIC, treason_fleet_member;
REVOKE ALL ON FUNCTION
    fleet.tick(), fleet.take_clock(), fleet.stamp(), fleet.count_written(), fleet.used(name),
    fleet.raise_floor(), fleet.active(timestamptz, timestamptz),
    fleet.same_end(timestamptz, timestamptz), fleet.check_member(), fleet.check_given(cidr[], bigint[], text[]),
    fleet.asked(cidr[], bigint[], text[]), fleet.fitting(cidr[], bigint[], text[]),
    fleet.publish(cidr[], bigint[], text[]), fleet.remove(cidr[]), fleet.forget(integer),
    fleet.position(bigint, text), fleet.seen(bigint)
    FROM PUBLIC, treason_fleet_member;
GRANT USAGE ON SCHEMA fleet TO treason_fleet_member, treason_fleet_reaper;
GRANT SELECT ON fleet.news TO treason_fleet_member;
GRANT EXECUTE ON FUNCTION
    fleet.publish(cidr[], bigint[], text[]), fleet.remove(cidr[]),
    fleet.position(bigint, text), fleet.seen(bigint)
    TO treason_fleet_member;
GRANT SELECT ON fleet.clock, fleet.members TO treason_fleet_reaper;
SET LOCAL ROLE treason_fleet_reaper;
REVOKE ALL ON FUNCTION fleet.end_sessions(name), fleet.reap() FROM PUBLIC, treason_fleet_member;
GRANT EXECUTE ON FUNCTION fleet.end_sessions(name) TO treason_fleet;
GRANT EXECUTE ON FUNCTION fleet.reap() TO treason_fleet, treason_fleet_member;
RESET ROLE;

-- What only a superuser may grant, or take from everybody: elsewhere the rest goes on without.
DO $$
DECLARE
    command text;
BEGIN
    FOREACH command IN ARRAY ARRAY[
        'GRANT pg_signal_backend, pg_read_all_stats TO treason_fleet_reaper'
    ] LOOP
        BEGIN
            EXECUTE command;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'a superuser has to run: %;', command;
        END;
    END LOOP;
    FOR command IN
        SELECT pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
            AND (p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')
                OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
        ORDER BY p.oid::regprocedure::text
    LOOP
        BEGIN
            EXECUTE command;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'a superuser has to run: %;', command;
            EXIT;
        END;
    END LOOP;
END
$$;
