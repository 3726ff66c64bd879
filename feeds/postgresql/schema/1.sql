-- Version 1: the clock that orders commits, the members, their bans, and what members may call.

CREATE SCHEMA fleet AUTHORIZATION treason_fleet;
GRANT USAGE, CREATE ON SCHEMA fleet TO treason_fleet_reaper;
SET LOCAL ROLE treason_fleet;

CREATE TABLE fleet.clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL DEFAULT 0,
    mark text NOT NULL,
    floor bigint NOT NULL DEFAULT 0,
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    version integer NOT NULL DEFAULT 1,
    updated timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE fleet.clock IS 'One row: whoever writes bans holds it until it commits';
COMMENT ON COLUMN fleet.clock.mark IS 'Random at each tick: tells a restored backup from what was';
COMMENT ON COLUMN fleet.clock.floor IS 'Who has read less far has to read everything';

CREATE TABLE fleet.ticks (
    seq bigint PRIMARY KEY,
    mark text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ticks_at ON fleet.ticks (at);

CREATE TABLE fleet.members (
    member name PRIMARY KEY,
    max_new integer NOT NULL DEFAULT 1000 CHECK (max_new >= 0),
    added timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz,
    read_seq bigint
);
COMMENT ON COLUMN fleet.members.max_new IS 'New networks an hour; ten times as many may change';

CREATE TABLE fleet.present (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    members integer NOT NULL DEFAULT 0,
    counted timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE fleet.present IS
    'One row: how many members were seen within five minutes, when that was counted last';

CREATE TABLE fleet.spent (
    member name,
    minute timestamptz,
    fresh integer NOT NULL,
    changed integer NOT NULL,
    PRIMARY KEY (member, minute)
);
COMMENT ON TABLE fleet.spent IS 'What members wrote in each minute of the last hour';

CREATE TABLE fleet.bans (
    network cidr NOT NULL,
    member name NOT NULL,
    until timestamptz,
    reason text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed timestamptz,
    seq bigint NOT NULL,
    told timestamptz NOT NULL,
    gone timestamptz NOT NULL,
    PRIMARY KEY (member, network),
    CHECK (masklen(network) >= CASE family(network) WHEN 4 THEN 8 ELSE 19 END),
    CHECK (NOT network <<= '::ffff:0:0/96'),
    CHECK (length(reason) <= 200)
);
CREATE INDEX bans_seq ON fleet.bans (seq);
CREATE INDEX bans_gone ON fleet.bans (gone) WHERE gone < 'infinity';
COMMENT ON COLUMN fleet.bans.until IS 'Null: no end';
COMMENT ON COLUMN fleet.bans.told IS 'The latest end that anybody may have read';
COMMENT ON COLUMN fleet.bans.gone IS 'When the row may be forgotten';

-- Move the clock once in a transaction, and hold it until that ends; return where it stands.
CREATE FUNCTION fleet.tick() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, fleet, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    moved bigint;
    fresh text := left(replace(gen_random_uuid()::text, '-', ''), 12);
BEGIN
    SELECT c.seq INTO moved FROM fleet.clock c
        WHERE c.xmin = pg_current_xact_id()::xid AND c.updated >= transaction_timestamp();
    IF FOUND THEN
        RETURN moved;
    END IF;
    UPDATE fleet.clock c SET seq = c.seq + 1, mark = fresh, updated = clock_timestamp()
        RETURNING c.seq INTO moved;
    INSERT INTO fleet.ticks (seq, mark) VALUES (moved, fresh);
    PERFORM pg_notify('fleet', moved::text);
    RETURN moved;
END
$$;

CREATE FUNCTION fleet.take_clock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'fleet.bans is never truncated' USING
            ERRCODE = '0A000', HINT = 'Delete the rows: then the members read everything again.';
    END IF;
    PERFORM fleet.tick();
    RETURN NULL;
END
$$;

-- Write what follows from a row: its place in the order, and how long it has to be kept.
CREATE FUNCTION fleet.stamp() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
DECLARE
    at timestamptz;
BEGIN
    SELECT c.seq, c.updated INTO new.seq, at FROM fleet.clock c;
    new.told := coalesce(new.until, 'infinity');
    IF TG_OP = 'INSERT' THEN
        new.since := at;
    ELSE
        IF new.network <> old.network OR new.member <> old.member THEN
            RAISE EXCEPTION 'a ban never becomes that of another network or member' USING
                ERRCODE = '0A000', HINT = 'Delete the row, and insert another one.';
        END IF;
        new.told := greatest(new.told, old.told);
        IF new.removed IS NULL AND (old.removed IS NOT NULL OR old.until <= at) THEN
            new.since := at;
        END IF;
    END IF;
    new.gone := least(new.told, coalesce(new.removed, new.until) + interval '30 days');
    RETURN new;
END
$$;

-- Count what was written against the members' quotas, while the clock is held.
CREATE FUNCTION fleet.count_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
DECLARE
    full_member name;
BEGIN
    INSERT INTO fleet.spent AS s (member, minute, fresh, changed)
        SELECT w.member, date_trunc('minute', clock_timestamp()),
            count(*) FILTER (WHERE w.since = c.updated),
            count(*) FILTER (WHERE w.since <> c.updated)
        FROM written w CROSS JOIN fleet.clock c JOIN fleet.members m USING (member)
        WHERE w.removed IS NULL GROUP BY w.member
        ON CONFLICT (member, minute) DO UPDATE
            SET fresh = s.fresh + excluded.fresh, changed = s.changed + excluded.changed;
    SELECT m.member INTO full_member FROM fleet.members m
        WHERE m.member IN (SELECT DISTINCT w.member FROM written w WHERE w.removed IS NULL)
            AND (SELECT u.fresh > m.max_new OR u.changed > 10 * m.max_new::bigint
                FROM fleet.used(m.member) u);
    IF FOUND THEN
        RAISE EXCEPTION 'the quota of % is full', full_member USING ERRCODE = '53400';
    END IF;
    RETURN NULL;
END
$$;

-- Return whether the server has a role of this name that was made for a member.
CREATE FUNCTION fleet.has_role(member name) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.member
            JOIN pg_roles g ON g.oid = a.roleid
        WHERE r.rolname = has_role.member AND g.rolname = 'treason_fleet_member')
$$;

-- Return what a member has written within the last hour: new networks, and changes of known ones.
CREATE FUNCTION fleet.used(member name, OUT fresh bigint, OUT changed bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
    SELECT coalesce(sum(s.fresh), 0)::bigint, coalesce(sum(s.changed), 0)::bigint
    FROM fleet.spent s
    WHERE s.member = used.member AND s.minute > clock_timestamp() - interval '61 minutes'
$$;

-- Raise the floor above rows that somebody might still hold.
CREATE FUNCTION fleet.raise_floor() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
BEGIN
    UPDATE fleet.clock c SET floor = greatest(c.floor, r.floor)
        FROM (
            SELECT max(CASE WHEN d.removed IS NOT NULL OR d.until <= clock_timestamp()
                THEN d.seq ELSE k.seq END) AS floor
            FROM deleted d CROSS JOIN fleet.clock k WHERE d.told > clock_timestamp()
        ) r
        WHERE r.floor > c.floor;
    RETURN NULL;
END
$$;

CREATE TRIGGER take_clock BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON fleet.bans
    FOR EACH STATEMENT EXECUTE FUNCTION fleet.take_clock();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON fleet.bans
    FOR EACH ROW EXECUTE FUNCTION fleet.stamp();
CREATE TRIGGER count_inserted AFTER INSERT ON fleet.bans REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION fleet.count_written();
CREATE TRIGGER count_updated AFTER UPDATE ON fleet.bans REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION fleet.count_written();
CREATE TRIGGER raise_floor AFTER DELETE ON fleet.bans REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION fleet.raise_floor();

-- Raise 42501 unless who called is a member of this fleet.
CREATE FUNCTION fleet.check_member() RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM fleet.members m WHERE m.member = session_user) THEN
        RAISE EXCEPTION '% is no member of this fleet', session_user USING
            ERRCODE = '42501', HINT = 'treason fleet add-member makes one.';
    END IF;
END
$$;

-- Raise unless these are networks that a fleet takes, with as many ends and reasons.
CREATE FUNCTION fleet.check_given(networks cidr[], seconds bigint[], reasons text[]) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF cardinality(networks) > 10000 THEN
        RAISE EXCEPTION '% networks in one call: 10000 are allowed', cardinality(networks) USING
            ERRCODE = '54000';
    ELSIF networks IS NULL OR array_position(networks, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'a network is null' USING ERRCODE = '22004';
    ELSIF cardinality(networks) IS DISTINCT FROM cardinality(seconds)
        OR cardinality(networks) IS DISTINCT FROM cardinality(reasons) THEN
        RAISE EXCEPTION 'as many ends and reasons are needed as networks' USING ERRCODE = '22023';
    END IF;
    SELECT n::text INTO bad FROM unnest(networks) n
        WHERE masklen(n) < CASE family(n) WHEN 4 THEN 8 ELSE 19 END OR n <<= '::ffff:0:0/96'
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a fleet takes no % (IPv4 from /8, IPv6 from /19, none mapped)', bad USING
            ERRCODE = '22023';
    END IF;
    SELECT s::text INTO bad FROM unnest(seconds) s WHERE s < 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a ban lasts a second or longer, not %', bad USING ERRCODE = '22023';
    END IF;
END
$$;

-- Return what is asked for: a network that comes twice is what is said last. Ends beyond a hundred
-- years are none.
CREATE FUNCTION fleet.asked(
    networks cidr[], seconds bigint[], reasons text[],
    OUT place bigint, OUT network cidr, OUT until timestamptz, OUT reason text
) RETURNS SETOF record
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
    SELECT DISTINCT ON (g.network) min(g.place) OVER (PARTITION BY g.network), g.network,
        CASE WHEN g.seconds <= 3155760000
            THEN statement_timestamp() + make_interval(secs => g.seconds) END,
        left(coalesce(g.reason, ''), 200)
    FROM ROWS FROM (unnest(networks), unnest(seconds), unnest(reasons)) WITH ORDINALITY
        AS g (network, seconds, reason, place)
    ORDER BY g.network, g.place DESC
$$;

-- Return whether a row is a ban now: neither removed nor ended.
CREATE FUNCTION fleet.active(removed timestamptz, until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT removed IS NULL AND coalesce(until > clock_timestamp(), true)
$$;

-- Return whether two ends are the same to who reads them: none, or less than five seconds apart.
CREATE FUNCTION fleet.same_end(one timestamptz, another timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(abs(extract(epoch FROM one - another)) < 5, one IS NULL AND another IS NULL)
$$;

-- Return how many of the first may be written now, and how many of those change anything.
CREATE FUNCTION fleet.fitting(
    networks cidr[], seconds bigint[], reasons text[], OUT accepted integer, OUT changing integer
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
DECLARE
    room bigint;
    changes bigint;
BEGIN
    SELECT m.max_new - u.fresh, 10 * m.max_new::bigint - u.changed INTO room, changes
        FROM fleet.members m CROSS JOIN fleet.used(session_user) u WHERE m.member = session_user;
    WITH compared AS (
        SELECT a.place, b.network IS NULL OR NOT fleet.active(b.removed, b.until) AS fresh,
            b.reason = a.reason AND fleet.same_end(b.until, a.until) AS same
        FROM fleet.asked(networks, seconds, reasons) a LEFT JOIN LATERAL (
            SELECT k.network, k.removed, k.until, k.reason FROM fleet.bans k
            WHERE k.member = session_user AND k.network = a.network OFFSET 0) b ON true
    ), counted AS (
        SELECT c.place, sum((c.fresh)::integer) OVER before AS fresh,
            sum((NOT c.fresh AND NOT c.same)::integer) OVER before AS changed
        FROM compared c WHERE c.fresh OR NOT c.same
        WINDOW before AS (ORDER BY c.place)
    )
    SELECT coalesce(min(c.place) FILTER (WHERE c.fresh > room OR c.changed > changes) - 1,
            cardinality(networks)),
        count(*) FILTER (WHERE c.fresh <= room AND c.changed <= changes)
        INTO accepted, changing FROM counted c;
    IF accepted = 0 AND cardinality(networks) > 0 THEN
        RAISE EXCEPTION 'the quota of % is full', session_user USING ERRCODE = '53400';
    END IF;
END
$$;

CREATE FUNCTION fleet.publish(networks cidr[], seconds bigint[], reasons text[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, fleet, pg_temp SET lock_timeout = '2s'
SET jit = off SET enable_seqscan = off AS $$
DECLARE
    fits record;
BEGIN
    PERFORM fleet.check_member();
    PERFORM fleet.check_given(networks, seconds, reasons);
    fits := fleet.fitting(networks, seconds, reasons);
    IF fits.changing = 0 THEN
        RETURN fits.accepted;
    END IF;
    PERFORM fleet.tick();
    fits := fleet.fitting(networks, seconds, reasons);
    networks := networks[:fits.accepted];
    seconds := seconds[:fits.accepted];
    reasons := reasons[:fits.accepted];
    INSERT INTO fleet.bans AS b (network, member, until, reason)
        SELECT a.network, session_user, a.until, a.reason
        FROM fleet.asked(networks, seconds, reasons) a
        ON CONFLICT (member, network) DO UPDATE
            SET until = excluded.until, reason = excluded.reason, removed = NULL
            WHERE NOT (fleet.active(b.removed, b.until) AND b.reason = excluded.reason
                AND fleet.same_end(b.until, excluded.until));
    PERFORM fleet.forget(1000 + 2 * fits.changing);
    RETURN fits.accepted;
END
$$;
COMMENT ON FUNCTION fleet.publish IS
    'Ban networks; return how many of the first were accepted (53400: none, the quota is full)';

CREATE FUNCTION fleet.remove(networks cidr[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, fleet, pg_temp SET lock_timeout = '2s'
SET jit = off SET enable_seqscan = off AS $$
DECLARE
    count integer;
BEGIN
    PERFORM fleet.check_member();
    IF cardinality(networks) > 10000 THEN
        RAISE EXCEPTION '% networks in one call: 10000 are allowed', cardinality(networks) USING
            ERRCODE = '54000';
    ELSIF NOT EXISTS (
        SELECT FROM unnest(networks) n JOIN fleet.bans b ON b.network = n
        WHERE b.member = session_user AND fleet.active(b.removed, b.until)) THEN
        RETURN 0;
    END IF;
    PERFORM fleet.tick();
    UPDATE fleet.bans b SET removed = clock_timestamp()
        WHERE b.member = session_user AND b.network = ANY (networks)
            AND fleet.active(b.removed, b.until);
    GET DIAGNOSTICS count = ROW_COUNT;
    PERFORM fleet.forget(1000 + 2 * count);
    RETURN count;
END
$$;
COMMENT ON FUNCTION fleet.remove IS 'Remove own bans; return how many were active';

-- Forget so many rows of each kind that nobody needs any more; the clock is held.
CREATE FUNCTION fleet.forget(most integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
DECLARE
    today timestamptz := clock_timestamp();
    kept bigint;
BEGIN
    IF EXISTS (SELECT FROM fleet.bans b WHERE b.gone <= today AND b.gone < 'infinity') THEN
        DELETE FROM fleet.bans WHERE ctid = ANY (ARRAY(
            SELECT b.ctid FROM fleet.bans b WHERE b.gone <= today AND b.gone < 'infinity'
            ORDER BY b.gone LIMIT most));
    END IF;
    -- The last tick before the thirty days stays: who has read that far has missed nothing.
    SELECT t.seq INTO kept FROM fleet.ticks t WHERE t.at < today - interval '30 days'
        ORDER BY t.at DESC LIMIT 1;
    IF EXISTS (SELECT FROM fleet.ticks t WHERE t.seq < kept) THEN
        SELECT max(o.seq) + 1 INTO kept FROM (
            SELECT t.seq FROM fleet.ticks t WHERE t.seq < kept ORDER BY t.seq LIMIT most) o;
        DELETE FROM fleet.ticks t WHERE t.seq < kept;
        UPDATE fleet.clock c SET floor = kept WHERE c.floor < kept;
    END IF;
    DELETE FROM fleet.spent s WHERE s.member = session_user AND s.minute < today - interval '2 hours';
END
$$;

CREATE FUNCTION fleet.position(read_seq bigint, read_mark text) RETURNS TABLE (
    version integer, epoch text, seq bigint, mark text, floor bigint, members integer, known boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM fleet.check_member();
    RETURN QUERY SELECT c.version, c.epoch::text, c.seq, c.mark, c.floor,
        (SELECT CASE WHEN p.counted > clock_timestamp() - interval '5 minutes' THEN p.members
            ELSE (SELECT count(*)::integer FROM fleet.members m
                WHERE m.last_seen > clock_timestamp() - interval '5 minutes') END
            FROM fleet.present p),
        coalesce(read_seq < c.floor, false) OR EXISTS (
            SELECT FROM fleet.ticks t WHERE t.seq = read_seq AND t.mark = read_mark)
    FROM fleet.clock c;
END
$$;
COMMENT ON FUNCTION fleet.position IS
    'Where the clock stands, and whether (seq, mark) was a tick of it; below the floor it is known';

CREATE FUNCTION fleet.seen(seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, fleet, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM fleet.check_member();
    UPDATE fleet.members m SET last_seen = clock_timestamp(),
            read_seq = CASE WHEN seen.seq IS NULL THEN m.read_seq
                ELSE greatest(0, least(seen.seq, (SELECT c.seq FROM fleet.clock c))) END
        WHERE m.member = session_user;
    -- All members together count and look about three times a minute.
    PERFORM FROM fleet.present p WHERE p.counted < clock_timestamp() - interval '20 seconds'
        FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE fleet.present p SET counted = clock_timestamp(), members = (
            SELECT count(*) FROM fleet.members m
            WHERE m.last_seen > clock_timestamp() - interval '5 minutes');
    END IF;
    IF random() * (SELECT p.members FROM fleet.present p) < 3 THEN
        BEGIN
            PERFORM fleet.reap();
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;  -- `status` tells that nobody ends sessions
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION fleet.seen IS 'Note that the caller is there, and how far it has read';

CREATE FUNCTION fleet.mine() RETURNS TABLE (
    max_new integer, fresh bigint, changed bigint, bans bigint, last_seen timestamptz,
    read_seq bigint
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM fleet.check_member();
    RETURN QUERY SELECT m.max_new, u.fresh, u.changed,
        (SELECT count(*) FROM fleet.bans b
            WHERE b.member = session_user AND fleet.active(b.removed, b.until)),
        m.last_seen, m.read_seq
    FROM fleet.members m CROSS JOIN fleet.used(session_user) u WHERE m.member = session_user;
END
$$;
COMMENT ON FUNCTION fleet.mine IS 'What is known of the caller: its quota, used up, and its bans';

CREATE VIEW fleet.news WITH (security_barrier) AS
    SELECT b.seq, b.member, b.network,
        b.removed IS NOT NULL OR coalesce(b.until <= statement_timestamp(), false) AS removed,
        CASE WHEN b.removed IS NULL AND b.until > statement_timestamp()
            THEN ceil(extract(epoch FROM b.until - statement_timestamp()))::bigint END AS seconds,
        b.reason
    FROM fleet.bans b
    WHERE b.member <> session_user AND b.told > statement_timestamp()
        AND EXISTS (SELECT FROM fleet.members m WHERE m.member = session_user);
COMMENT ON VIEW fleet.news IS
    'What others ban; removed: it is to be dropped no more; seconds left, null: no end';

SET LOCAL ROLE treason_fleet_reaper;

-- End sessions of members, and return how many.
CREATE FUNCTION fleet.reap() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, fleet, pg_temp AS $$
BEGIN
    IF NOT pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
        OR NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN
        RAISE EXCEPTION '% may not end sessions', current_user USING ERRCODE = '42501',
            HINT = format('GRANT pg_signal_backend, pg_read_all_stats TO %I;', current_user);
    END IF;
    RETURN (
        SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
        FROM pg_stat_activity a JOIN fleet.members m ON m.member = a.usename
        WHERE a.pid <> pg_backend_pid() AND (
            a.xact_start < clock_timestamp() - interval '1 minute'
            OR a.xact_start < clock_timestamp() - interval '5 seconds' AND EXISTS (
                -- Not the row's xmax: a savepoint's is in no lock once that is released.
                SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE l.pid = a.pid AND l.mode = 'RowExclusiveLock'
                    AND l.relation = 'fleet.clock'::regclass
                    AND d.datname = current_database())));
END
$$;
COMMENT ON FUNCTION fleet.reap IS
    'End sessions of members that hold the clock for over 5 seconds, or any transaction for a minute';

RESET ROLE;
REVOKE CREATE ON SCHEMA fleet FROM treason_fleet_reaper;
SET LOCAL ROLE treason_fleet;
INSERT INTO fleet.present DEFAULT VALUES;
WITH begun AS (INSERT INTO fleet.clock (mark) VALUES ('') RETURNING seq, mark)
    INSERT INTO fleet.ticks (seq, mark) SELECT seq, mark FROM begun;
RESET ROLE;
