-- Remove its bans, so that the others hear of that, and then the member.
DO $do$
DECLARE
    who name := :member;
    removed bigint;
BEGIN
    UPDATE fleet.bans b SET removed = clock_timestamp()
        WHERE b.member = who AND fleet.active(b.removed, b.until);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('fleet.removed', removed::text, false);
    DELETE FROM fleet.spent WHERE member = who;
    DELETE FROM fleet.members WHERE member = who;
    IF fleet.has_role(who) THEN
        EXECUTE format('DROP OWNED BY %I', who);
        EXECUTE format('DROP ROLE %I', who);
    END IF;
    RAISE NOTICE '% bans removed', removed;
END
$do$;
