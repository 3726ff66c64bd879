-- Let the member in no more.
DO $do$
DECLARE
    who name := :member;
BEGIN
    IF NOT EXISTS (SELECT FROM fleet.members m WHERE m.member = who) THEN
        RAISE EXCEPTION '% is no member of this fleet', who USING ERRCODE = '42704',
            HINT = 'treason fleet status lists the members.';
    END IF;
    IF fleet.has_role(who) THEN
        EXECUTE format('ALTER ROLE %I NOLOGIN', who);
    END IF;
END
$do$;
