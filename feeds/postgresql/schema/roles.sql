-- The fleet's roles: they belong to the whole server, and are there for every fleet on it.
DO $$
DECLARE
    wanted name;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['treason_fleet', 'treason_fleet_reaper', 'treason_fleet_member'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another database of this server became a fleet at the same moment
        END;
    END LOOP;
    -- Who is no superuser has to be able to become the roles whose objects are made.
    FOREACH wanted IN ARRAY ARRAY['treason_fleet', 'treason_fleet_reaper'] LOOP
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            AND NOT pg_has_role(current_user, wanted, 'USAGE') THEN
            EXECUTE format('GRANT %I TO %I', wanted, current_user);
        END IF;
    END LOOP;
END
$$;
