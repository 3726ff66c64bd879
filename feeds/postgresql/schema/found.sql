-- Which version is there (0: none); a newer one is left alone, and a database that others use.
DO $$
DECLARE
    found integer := 0;
    other text;
BEGIN
    IF to_regclass('fleet.clock') IS NOT NULL THEN
        EXECUTE 'SELECT version FROM fleet.clock' INTO found;
    END IF;
    IF found > :newest THEN
        RAISE EXCEPTION 'the fleet is of version %, and this treason makes version :newest', found
            USING ERRCODE = '0A000', HINT = 'Install the newer treason here.';
    END IF;
    IF found = 0 THEN  -- everybody loses the right to connect, and that to what is in public
        SELECT format('%I.%I is in it', n.nspname, c.relname) INTO other
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p') AND n.nspname !~ '^pg_'
                AND n.nspname NOT IN ('information_schema', 'fleet') AND NOT EXISTS (
                    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                        AND d.objid = c.oid AND d.deptype = 'e')
            ORDER BY n.nspname, c.relname LIMIT 1;
        IF current_database() IN ('postgres', 'template1') THEN
            other := 'every user of the server may need it';
        END IF;
        IF other IS NOT NULL THEN
            RAISE EXCEPTION 'it is not the fleet''s alone: %', other USING ERRCODE = '55006',
                HINT = 'Make one for the fleet, and name that: createdb fleet';
        END IF;
    END IF;
    PERFORM set_config('fleet.found', found::text, true);
END
$$;
