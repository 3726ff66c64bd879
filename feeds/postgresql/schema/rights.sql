-- Who may do what. It is said anew each time, so that what was changed by hand is as it has to be.
DO $$
BEGIN
    EXECUTE pg_catalog.format(
        'REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE pg_catalog.format(
        'GRANT CONNECT ON DATABASE %I TO treason_fleet_member', current_database());
    IF to_regnamespace('public') IS NOT NULL AND (
        has_schema_privilege('treason_fleet_member', 'public', 'CREATE')
        OR has_schema_privilege('treason_fleet_member', 'public', 'USAGE')) THEN
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
    END IF;
END
$$;

SET LOCAL ROLE treason_fleet;
REVOKE ALL ON SCHEMA fleet FROM PUBLIC, treason_fleet_member;
REVOKE ALL ON ALL TABLES IN SCHEMA fleet FROM PUBLIC, treason_fleet_member;
REVOKE ALL ON FUNCTION
    fleet.tick(), fleet.take_clock(), fleet.stamp(), fleet.count_written(), fleet.used(name),
    fleet.has_role(name),
    fleet.raise_floor(), fleet.active(timestamptz, timestamptz),
    fleet.same_end(timestamptz, timestamptz), fleet.check_member(), fleet.check_given(cidr[], bigint[], text[]),
    fleet.asked(cidr[], bigint[], text[]), fleet.fitting(cidr[], bigint[], text[]),
    fleet.publish(cidr[], bigint[], text[]), fleet.remove(cidr[]), fleet.forget(integer),
    fleet.position(bigint, text), fleet.seen(bigint), fleet.mine()
    FROM PUBLIC, treason_fleet_member;
GRANT USAGE ON SCHEMA fleet TO treason_fleet_member, treason_fleet_reaper;
GRANT SELECT ON fleet.news TO treason_fleet_member;
GRANT EXECUTE ON FUNCTION
    fleet.publish(cidr[], bigint[], text[]), fleet.remove(cidr[]),
    fleet.position(bigint, text), fleet.seen(bigint), fleet.mine()
    TO treason_fleet_member;
GRANT SELECT ON fleet.members TO treason_fleet_reaper;
SET LOCAL ROLE treason_fleet_reaper;
REVOKE ALL ON FUNCTION fleet.reap() FROM PUBLIC, treason_fleet_member;
GRANT EXECUTE ON FUNCTION fleet.reap() TO treason_fleet, treason_fleet_member;
RESET ROLE;

-- What only a superuser may grant, or take from everybody: without it the rest works as well.
DO $$
BEGIN
    IF NOT pg_has_role('treason_fleet_reaper', 'pg_signal_backend', 'USAGE')
        OR NOT pg_has_role('treason_fleet_reaper', 'pg_read_all_stats', 'USAGE') THEN
        GRANT pg_signal_backend, pg_read_all_stats TO treason_fleet_reaper;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'nobody ends sessions that keep the clock, until a superuser has run: '
        'GRANT pg_signal_backend, pg_read_all_stats TO treason_fleet_reaper;';
END
$$;

DO $$
DECLARE
    command text;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR command IN
            SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
            FROM pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
                AND (p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')
                    OR p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
            ORDER BY p.oid::regprocedure::text
        LOOP
            EXECUTE command;
        END LOOP;
        -- `init` itself takes this lock, also where its administrator is no superuser.
        GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) TO treason_fleet;
    ELSIF has_function_privilege('treason_fleet_member', 'pg_catalog.lo_create(oid)', 'EXECUTE')
    THEN
        RAISE NOTICE 'members may fill the disk with large objects and messages in the log of writes, '
            'and the table of locks, until a superuser has run init once';
    END IF;
    IF to_regnamespace('public') IS NOT NULL
        AND has_schema_privilege('treason_fleet_member', 'public', 'CREATE') THEN
        RAISE NOTICE 'members may create tables, until the owner of the schema public has run: '
            'REVOKE ALL ON SCHEMA public FROM PUBLIC;';
    END IF;
END
$$;
