-- Which version is there (0: none); a newer one is left alone.
DO $$
DECLARE
    found integer := 0;
BEGIN
    IF to_regclass('fleet.clock') IS NOT NULL THEN
        EXECUTE 'SELECT version FROM fleet.clock' INTO found;
    END IF;
    IF found > :newest THEN
        RAISE EXCEPTION 'the fleet is of version %, and this treason makes version :newest', found
            USING ERRCODE = '0A000', HINT = 'Install the newer treason here.';
    END IF;
    PERFORM set_config('fleet.found', found::text, true);
END
$$;
