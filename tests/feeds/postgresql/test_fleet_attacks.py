"""What a member with stolen credentials tries on the fleet's database, and what it gets."""

from collections.abc import Iterator

import postgres
import psycopg
import pytest
from fleetbases import PASSWORD, Base, Session, news, publish, refusal, rows
from postgres import Postgres

pytestmark = postgres.needed


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for all tests of this file, by its socket; it lets transactions be prepared."""
    with postgres.running(settings={"max_prepared_transactions": "5"}) as made:
        yield made


@pytest.fixture(scope="module")
def base(server: Postgres) -> Iterator[Base]:
    """A fleet of two: one of them is a thief."""
    made = Base(server)
    publish(made.member("honest"), ["198.51.100.1"], None)
    made.member("thief", 100)
    yield made
    made.close()


@pytest.fixture
def thief(base: Base) -> Iterator[Session]:
    """A session of the thief."""
    with base.session("thief") as session:
        yield session


@pytest.mark.parametrize(
    "sql",
    [
        *(f"TABLE fleet.{table}" for table in (
            "bans", "members", "clock", "ticks", "spent", "present")),
        "INSERT INTO fleet.bans (network, member) VALUES ('192.0.2.7', 'honest')",
        "UPDATE fleet.bans SET removed = now()",
        "UPDATE fleet.members SET max_new = 1000000",
        "UPDATE fleet.clock SET seq = 9",
        "UPDATE fleet.news SET network = '192.0.2.7'",
        "INSERT INTO fleet.news (network) VALUES ('192.0.2.7')",
        "DELETE FROM fleet.ticks",
        "TRUNCATE fleet.spent",
        "SELECT seq FROM fleet.news FOR UPDATE",
        "BEGIN; LOCK TABLE fleet.clock IN ACCESS EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE fleet.news IN ACCESS EXCLUSIVE MODE",
        "BEGIN; LOCK TABLE fleet.bans",
        "CREATE TABLE fleet.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TEMP TABLE clock (a int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION pg_temp.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE VIEW fleet.news AS SELECT 1",
        "ALTER TABLE fleet.bans DISABLE TRIGGER ALL",
        "DROP TRIGGER stamp ON fleet.bans",
        "ALTER FUNCTION fleet.publish RESET search_path",
        *(f"SELECT fleet.{function}" for function in (
            "tick()", "forget(1)", "check_member()", "used('honest')", "has_role('honest')",
            "asked('{}', '{}', '{}')", "fitting('{}', '{}', '{}')", "active(NULL, NULL)",
            "check_given('{}', '{}', '{}')")),
        *(f"SELECT fleet.{function}()" for function in (
            "take_clock", "stamp", "count_written", "raise_floor")),
        "SET ROLE treason_fleet",
        "SET ROLE treason_fleet_reaper",
        "SET ROLE honest",
        "SET SESSION AUTHORIZATION honest",
        "SET session_replication_role = replica",
        "ALTER ROLE honest PASSWORD 'x'",
        "ALTER ROLE thief CONNECTION LIMIT 1000",
        "ALTER ROLE thief SUPERUSER",
        "CREATE ROLE another",
        "GRANT treason_fleet TO thief",
        "GRANT SELECT ON fleet.bans TO thief",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'honest'",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_logical_emit_message(false, 'a', repeat('x', 1000000))",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock(1, 1)",
        "COPY fleet.bans TO STDOUT",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('pg_hba.conf')",
    ],
)  # fmt: skip
def test_what_a_member_may_not(base: Base, thief: Session, sql: str) -> None:
    """Read or write tables, make objects, be somebody else, keep locks, end others' sessions."""
    with base.session("honest"):
        assert refusal(thief, sql) == "42501"


def test_no_member_bans_or_removes_for_another(base: Base, thief: Session) -> None:
    """Whatever role it takes on: who has logged in is who said it."""
    honest = base.session("honest")
    thief.execute("SET ROLE treason_fleet_member")
    assert publish(thief, ["203.0.113.1"]) == 1
    assert [(member, net) for member, net, *_ in news(honest)] == [("thief", "203.0.113.1/32")]
    assert rows(thief, "SELECT fleet.remove('{198.51.100.1}')") == [(0,)]
    assert ("honest", "198.51.100.1/32", False, None) in news(thief)


def test_no_function_of_somebody_elses_is_called(base: Base, thief: Session) -> None:
    """Where an owner was careless, and a thief has a schema that shadows names: it is not read."""
    for sql in (
        "CREATE SCHEMA evil; GRANT USAGE, CREATE ON SCHEMA evil TO thief",
        "GRANT TEMPORARY ON DATABASE " + base.name + " TO thief",
    ):
        base.owner.execute(sql.encode())
    for schema in ("evil", "pg_temp"):
        for function in (
            "clock_timestamp() RETURNS timestamptz", "gen_random_uuid() RETURNS uuid",
            "cardinality(anyarray) RETURNS int", "greatest(bigint, bigint) RETURNS bigint",
            "pg_notify(text, text) RETURNS void", "masklen(cidr) RETURNS int",
        ):  # fmt: skip
            body = "LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''called''; END'"
            thief.execute(f"CREATE FUNCTION {schema}.{function} {body}".encode())
    thief.execute(
        "CREATE FUNCTION evil.less(cidr, cidr) RETURNS bool LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''called''; END';"
        "CREATE OPERATOR evil.= (LEFTARG = cidr, RIGHTARG = cidr, FUNCTION = evil.less);"
        "CREATE TEMP TABLE clock AS SELECT 99 AS seq; CREATE TEMP TABLE members AS SELECT 1;"
        "SET search_path = evil, pg_temp, pg_catalog"
    )
    assert publish(thief, ["203.0.113.2"]) == 1
    assert publish(thief, ["203.0.113.2"], 7200) == 1
    assert rows(thief, "SELECT fleet.remove('{203.0.113.2}')") == [(1,)]
    rows(thief, "SELECT fleet.seen(1), fleet.reap(), fleet.mine(), fleet.position(1, 'a')")
    base.owner.execute("DROP SCHEMA evil CASCADE")
    base.owner.execute(f"REVOKE TEMPORARY ON DATABASE {base.name} FROM thief".encode())


def test_the_rows_of_the_view_cannot_be_pried_out(base: Base) -> None:
    """A cast that fails shows none to the member of another fleet on the same server."""
    other = Base(base.server)
    stranger = other.session("honest")
    publish(other.member("resident"), ["192.0.2.66"])
    assert rows(stranger, "SELECT * FROM fleet.news WHERE network::text::int > 0") == []
    for call in (
        "mine()",
        "position(1, 'a')",
        "seen(1)",
        "remove('{}')",
        "publish('{}', '{}', '{}')",
    ):
        assert refusal(stranger, f"SELECT fleet.{call}") == "42501"
    other.close()


@pytest.mark.parametrize(
    ("before", "behind"),
    [("SELECT 1", "SELECT 1"), ("SAVEPOINT a", "RELEASE a"), ("SAVEPOINT a", "SAVEPOINT b")],
)
def test_who_keeps_the_clock_is_shown_out(
    base: Base, thief: Session, before: str, behind: str
) -> None:
    """Others wait for two seconds; once it has been five, any member ends that session.

    A savepoint that was released hides nobody.
    """
    honest = base.session("honest")
    thief.execute("BEGIN")
    thief.execute(before.encode())
    publish(thief, ["203.0.113.3"])
    thief.execute(behind.encode())
    for _ in range(2):
        assert refusal(honest, "SELECT fleet.publish('{192.0.2.1}', '{9}', '{a}')") == "55P03"
        assert rows(thief, "SELECT 1") == [(1,)]
    base.owner.execute("SELECT pg_sleep(1.5)")
    assert rows(honest, "SELECT fleet.reap()") == [(1,)]
    assert publish(honest, ["192.0.2.1"]) == 1
    rows(honest, "SELECT fleet.remove('{192.0.2.1}')")
    assert refusal(thief, "SELECT 1") == "57P01"


def test_who_waits_for_the_clock_is_left_alone(base: Base, thief: Session) -> None:
    """Nor is who only reads, also for six seconds."""
    honest = base.session("honest")
    thief.execute("BEGIN")
    rows(thief, "SELECT count(*) FROM fleet.news")
    base.owner.execute("SELECT pg_sleep(5.5)")
    assert rows(honest, "SELECT fleet.reap()") == [(0,)]
    assert rows(thief, "SELECT 1") == [(1,)]


def test_no_transaction_is_prepared_that_keeps_the_clock(thief: Session) -> None:
    """It would have no session that could be ended."""
    for call in ("publish('{203.0.113.4}', '{9}', '{a}')", "remove('{203.0.113.1}')"):
        thief.execute("BEGIN")
        rows(thief, f"SELECT fleet.{call}")
        assert refusal(thief, "PREPARE TRANSACTION 'kept'") == "0A000"
        thief.execute("ROLLBACK")


def test_a_flood_ends_at_the_quota(base: Base, thief: Session) -> None:
    """In one call, in many, in one statement, and from a transaction that began long ago."""
    thief.execute("BEGIN")
    accepted = rows(thief, """
        SELECT sum(fleet.publish(ARRAY[format('203.%s.0.0/16', i)::cidr], '{9}', '{a}'))
        FROM generate_series(0, 20) i
    """)  # fmt: skip
    thief.execute("COMMIT")
    assert accepted == [(21,)]
    many = [f"9.{number}.0.0/16" for number in range(256)]
    taken = publish(thief, many)
    assert taken < 100
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        publish(thief, many[taken:])
    [(fresh,)] = base.all("SELECT fresh FROM fleet.used('thief')")
    assert fresh == 100


@pytest.mark.slow
def test_no_transaction_of_a_member_lasts(base: Base) -> None:
    """In another database, too, where it would keep the whole server's notifications."""
    dsn = base.server.dsn("thief", "postgres", host=str(base.server.directory))
    with psycopg.connect(dsn, password=PASSWORD, autocommit=True) as thief:
        thief.execute("LISTEN fleet")
        thief.execute("BEGIN")
        rows(thief, "SELECT 1")
        honest = base.session("honest")
        assert rows(honest, "SELECT fleet.reap()") == [(0,)]
        base.owner.execute("SELECT pg_sleep(61)")
        rows(honest, "SELECT fleet.seen(0)")
        with pytest.raises(psycopg.OperationalError):
            thief.execute("SELECT 1")
