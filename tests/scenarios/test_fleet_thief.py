"""Somebody has a member's password: what he may read, write and change, with each result.

He speaks to the server as he likes. What cannot be forbidden is told here as well.
"""

import psycopg
import pytest
from fleetplaces import Fleet, Member, refused
from postgres import needed
from thieves import Raw, goes_on

pytestmark = needed

DENIED = "42501"


READS = {
    "the bans": "SELECT * FROM fleet.bans",
    "the members": "SELECT * FROM fleet.members",
    "the clock": "SELECT * FROM fleet.clock",
    "the ticks": "SELECT * FROM fleet.ticks",
    "passwords": "SELECT * FROM pg_authid",
    "passwords of users": "SELECT * FROM pg_shadow",
    "user mappings": "SELECT umoptions FROM pg_user_mapping",
    "statistics": "SELECT stavalues1 FROM pg_statistic",
    "a file": "SELECT pg_read_file('/etc/passwd')",
    "a file in bytes": "SELECT pg_read_binary_file('PG_VERSION')",
    "a directory": "SELECT * FROM pg_ls_dir('/')",
    "the log": "SELECT * FROM pg_ls_logdir()",
    "a file by COPY": "COPY (SELECT 1) TO '/tmp/x'",
    "a program": "COPY (SELECT 1) TO PROGRAM 'id'",
    "a file as a large object": "SELECT lo_import('/etc/passwd')",
    "large objects": "SELECT * FROM pg_largeobject",
    "the settings' file": "SELECT * FROM pg_file_settings",
    "who may come in": "SELECT * FROM pg_hba_file_rules",
    "the write-ahead log": "SELECT pg_switch_wal()",
    "another database": "CREATE EXTENSION dblink SCHEMA fleet",
}

WRITES = {
    "a ban of another": "INSERT INTO fleet.bans (network, member) VALUES ('192.0.2.1', 'good')",
    "a ban": "INSERT INTO fleet.bans (network, member) VALUES ('192.0.2.1', 'web9')",
    "others' ends": "UPDATE fleet.bans SET until = now()",
    "others' members": "UPDATE fleet.bans SET member = 'web9'",
    "no bans": "DELETE FROM fleet.bans",
    "nothing at all": "TRUNCATE fleet.bans",
    "the view": "DELETE FROM fleet.news",
    "its quota": "UPDATE fleet.members SET max_new = 1000000",
    "the clock": "UPDATE fleet.clock SET seq = 0",
    "a lock": "DO $$ BEGIN LOCK TABLE fleet.bans; END $$",
    "a lock of the clock": "SELECT * FROM fleet.clock FOR UPDATE",
    "a table in public": "CREATE TABLE public.x (y int)",
    "a table in fleet": "CREATE TABLE fleet.x (y int)",
    "a temporary table": "CREATE TEMP TABLE x (y int)",
    "a schema": "CREATE SCHEMA x",
    "a function": "CREATE FUNCTION fleet.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "another function": "CREATE OR REPLACE FUNCTION fleet.reap() RETURNS int LANGUAGE sql AS ''",
    "an operator": "CREATE OPERATOR public.= (LEFTARG = cidr, RIGHTARG = cidr, FUNCTION = x)",
    "a large object": "SELECT lo_create(0)",
    "a large object of bytes": "SELECT lo_from_bytea(0, 'x')",
    "a trigger": "CREATE TRIGGER x BEFORE INSERT ON fleet.bans EXECUTE FUNCTION fleet.x()",
    "a publication": "CREATE PUBLICATION x FOR ALL TABLES",
    "a role": "CREATE ROLE x LOGIN",
    "a database": "CREATE DATABASE x",
    "more rights": "ALTER ROLE web9 SUPERUSER",
    "more connections": "ALTER ROLE web9 CONNECTION LIMIT -1",
    "another's name": "ALTER ROLE good RENAME TO x",
    "another's password": "ALTER ROLE good PASSWORD 'x'",
    "another's settings": "ALTER ROLE good SET search_path = x",
    "the server's settings": "ALTER SYSTEM SET fsync = off",
    "the database's settings": "ALTER DATABASE fleet SET statement_timeout = 1",
    "the owner": "SET ROLE treason_fleet",
    "the reaper": "SET ROLE treason_fleet_reaper",
    "another member": "SET ROLE good",
    "another session": "SET SESSION AUTHORIZATION good",
    "rights for others": "GRANT treason_fleet_member TO good",
    "the owner's rights": "GRANT treason_fleet TO web9",
    "replication's": "SELECT pg_create_physical_replication_slot('x')",
    "no triggers": "SET session_replication_role = replica",
    "another's query": "SELECT pg_cancel_backend({other})",
    "another's session": "SELECT pg_terminate_backend({other})",
    "the inner clock": "SELECT fleet.tick()",
    "an advisory lock": "SELECT pg_advisory_lock(1)",
    "many advisory locks": "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    "room for sorts": "SET temp_file_limit = -1",
}


def test_he_reads_nothing_that_is_not_for_him(thief: Raw) -> None:
    """Neither tables, nor passwords, nor files."""
    allowed = {what for what, query in READS.items() if refused(thief, query) != DENIED}
    assert allowed == set()


def test_he_writes_nothing_but_by_the_functions(good: Member, thief: Raw) -> None:
    """He becomes nobody else, makes nothing, locks nothing, and ends nobody's session."""
    with good.raw() as other:
        pid = str(other.info.backend_pid)
        allowed = {
            what
            for what, query in WRITES.items()
            if refused(thief, query.replace("{other}", pid)) != DENIED
        }
        assert allowed == set()
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_he_does_not_see_what_others_ask(good: Member, thief: Raw) -> None:
    """That they are connected he sees, and what the view shows."""
    with good.raw() as other:
        other.execute("SELECT 'secret'")
        rows = thief.execute(
            "SELECT query, client_addr FROM pg_stat_activity WHERE usename = 'good'"
        ).fetchall()
        assert {*rows} == {("<insufficient privilege>", None)}


MANY = (
    "(SELECT array_agg(('11.0.0.0'::inet + n)::cidr) FROM generate_series(1, 10001) AS all_of(n))"
)
ESCAPES = r"E'\x1b[2J\x1b]0;x\x07\nerror: all is well' || chr(8238)"
SENSELESS = {
    "nothing": ("SELECT fleet.publish(NULL, NULL, NULL)", "22004"),
    "no networks": ("SELECT fleet.publish('{}', '{}', '{}')", ""),
    "a null": ("SELECT fleet.publish('{NULL}', '{NULL}', '{NULL}')", "22004"),
    "fewer ends": ("SELECT fleet.publish('{192.0.2.1,192.0.2.2}', '{1}', '{a,b}')", "22023"),
    "no end at all": ("SELECT fleet.publish('{192.0.2.1}', '{-5}', '{a}')", "22023"),
    "zero": ("SELECT fleet.publish('{192.0.2.1}', '{0}', '{a}')", "22023"),
    "an end of ages": ("SELECT fleet.publish('{192.0.2.1}', '{9223372036854775807}', '{a}')", ""),
    "two dimensions": (
        "SELECT fleet.publish('{{192.0.2.1},{192.0.2.2}}', '{{1},{2}}', '{{a},{b}}')",
        "0A000",
    ),
    "another first index": ("SELECT fleet.publish('[7:7]={192.0.2.3}', '{9}', '{a}')", "23502"),
    "the same twice": ("SELECT fleet.publish('{192.0.2.4,192.0.2.4}', '{9,8}', '{a,b}')", ""),
    "very many": (f"SELECT fleet.publish({MANY}, NULL, NULL)", "54000"),
    "very many to remove": (f"SELECT fleet.remove({MANY})", "54000"),
    "a very long reason": (
        "SELECT fleet.publish('{192.0.2.5}', '{NULL}', ARRAY[repeat('x', 10000000)])",
        "",
    ),
    "a reason that moves the cursor": (
        f"SELECT fleet.publish('{{192.0.2.6}}', '{{NULL}}', ARRAY[{ESCAPES}])",
        "",
    ),
    "a mapped address": ("SELECT fleet.publish('{::ffff:192.0.2.7}', '{NULL}', '{a}')", "22023"),
    "host bits": ("SELECT fleet.publish('{192.0.2.7/24}', NULL, NULL)", "22P02"),
    "nothing to remove": ("SELECT fleet.remove(NULL)", ""),
    "nulls to remove": ("SELECT fleet.remove('{NULL}')", ""),
    "no position": ("SELECT fleet.position(NULL, NULL)", ""),
    "a position of ages": ("SELECT fleet.position(9223372036854775807, repeat('x', 1000000))", ""),
    "a position before": ("SELECT fleet.position(-9223372036854775808, '')", ""),
    "seen nowhere": ("SELECT fleet.seen(NULL)", ""),
    "seen in ages": ("SELECT fleet.seen(9223372036854775807)", ""),
    "seen before": ("SELECT fleet.seen(-9223372036854775808)", ""),
    "a harvest": ("SELECT fleet.reap() FROM generate_series(1, 100)", ""),
}


def test_he_calls_the_functions_with_what_makes_no_sense(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """Each is refused for what it is, or does no harm; and who reads and looks is not harmed."""
    states = {what: refused(thief, query) for what, (query, _) in SENSELESS.items()}
    assert states == {what: state for what, (_, state) in SENSELESS.items()}
    goes_on(fleet)
    told = other.told()
    assert told["web9"] <= {f"192.0.2.{number}" for number in range(1, 8)}
    for result in (
        fleet.does("status"),
        other.place.treason("list"),
        other.place.treason("why", "192.0.2.6"),
        other.place.treason("feed", "show", "fleet", "--networks"),
        other.place.treason("feed", "show", "fleet"),
        other.place.treason("status"),
    ):
        shown = result.out + result.err
        assert not {"\x1b", "\x07", "\u202e"} & {*shown}
        assert "\nerror" not in shown
        assert "9223372036854775807" not in shown
        assert all(len(line) < 500 for line in shown.splitlines())


def test_he_changes_his_own_role_and_nobody_elses_work(
    fleet: Fleet, good: Member, other: Member, thief: Raw
) -> None:
    """PostgreSQL lets everybody set his own search_path and password: his own member suffers.

    To end it is to remove the member, and to add it again: nothing of what he set is left.
    """
    for query in (
        "ALTER ROLE web9 SET search_path = x, public",
        "ALTER ROLE web9 SET default_transaction_read_only = on",
        "ALTER ROLE web9 SET statement_timeout = 1",
        "ALTER ROLE web9 SET session_preload_libraries = ''",
        "GRANT web9 TO good",
        "ALTER ROLE web9 PASSWORD 'another'",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO good",
    ):
        refused(thief, query)
    web = fleet.members["web9"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        web.raw()
    goes_on(fleet)
    fleet.does("remove-member", "web9")
    web.password.unlink()
    fleet.does("add-member", "web9", "--password-file", str(web.password))
    web.settles()
    web.bans("192.0.2.9")
    web.settles()
    other.settles()
    assert other.told()["web9"] == {"192.0.2.9"}
    with web.raw() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
