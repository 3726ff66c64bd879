-- Make a member, or change what is asked of one that is there.
DO $do$
DECLARE
    who name := :member;
    verifier text := :verifier;
    most integer := :max_new;
    is_role boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = who);
    base name;
BEGIN
    -- A role that is a member's was made for a fleet, be it one whose database is gone.
    IF is_role AND (NOT fleet.has_role(who) OR EXISTS (
        SELECT FROM pg_roles r WHERE r.rolname = who AND (
            r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls)))
    THEN
        RAISE EXCEPTION 'the server has a role % already, and it is no member of this fleet', who
            USING ERRCODE = '42710', HINT = 'Choose another name: roles are the whole server''s.';
    END IF;
    IF NOT is_role THEN
        EXECUTE format('CREATE ROLE %I', who);
    END IF;
    EXECUTE format('ALTER ROLE %I RESET ALL', who);
    FOR base IN
        SELECT d.datname FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            JOIN pg_roles r ON r.oid = s.setrole WHERE r.rolname = who
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', who, base);
    END LOOP;
    EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT 5', who);
    EXECUTE format('ALTER ROLE %I SET jit = off', who);
    IF NOT pg_has_role(who, 'treason_fleet_member', 'USAGE') THEN
        EXECUTE format('GRANT treason_fleet_member TO %I', who);
    END IF;
    IF verifier IS NOT NULL THEN
        EXECUTE format('ALTER ROLE %I PASSWORD %L', who, verifier);
    END IF;
    BEGIN
        EXECUTE format('ALTER ROLE %I SET temp_file_limit = ''1GB''', who);
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'a superuser has to run: ALTER ROLE % SET temp_file_limit = ''1GB'';',
            quote_ident(who);
    END;
    INSERT INTO fleet.members AS m (member, max_new) VALUES (who, coalesce(most, 1000))
        ON CONFLICT (member) DO UPDATE SET max_new = coalesce(most, m.max_new);
END
$do$;
