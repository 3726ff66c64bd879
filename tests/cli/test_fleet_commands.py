"""The commands of a fleet's administrator."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import postgres
import psycopg
import pytest
from fleetbases import Base, news, publish, refusal, rows
from harness import ROOT, Place, Result
from postgres import Postgres
from pytest_mock import MockerFixture

from feeds.postgresql import schema

pytestmark = postgres.needed
SCHEMA = json.loads((ROOT / "docs" / "reference" / "json.schema.json").read_text())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server for all tests of this file that logs every statement."""
    with postgres.running(settings={"log_statement": "all"}) as made:
        yield made


@pytest.fixture
def base(server: Postgres) -> Iterator[Base]:
    """A fleet whose only member is who tests it."""
    made = Base(server)
    yield made
    for (name,) in made.all("SELECT member::text FROM fleet.members"):
        made.owner.execute(f'DROP ROLE IF EXISTS "{name}"'.encode())
    made.close()


def fleet(place: Place, base: Base, *words: str) -> Result:
    """Run a command as the administrator."""
    return place.treason("fleet", *words, "--dsn", base.dsn)


def session(base: Base, name: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    """Let a member in by its password."""
    dsn = base.server.dsn(name, base.name, host=str(base.server.directory))
    made = psycopg.connect(dsn, password=password, autocommit=True)
    base.sessions.append(made)
    return made


def test_a_database_becomes_a_fleet_and_stays_one(place: Place, server: Postgres) -> None:
    """Again it says so; a new epoch is one."""
    base = Base(server, is_fleet=False)
    told = fleet(place, base, "status")
    assert told.code == 1
    assert told.err.splitlines() == [
        f"treason: database {base.name} at {server.directory}: no fleet is there",
        "  treason fleet init --dsn ... makes one",
    ]
    assert "is a fleet now (version 1)" in fleet(place, base, "init").out
    epoch = base.all("SELECT epoch FROM fleet.clock")
    again = fleet(place, base, "init")
    assert "is a fleet of version 1" in again.out
    assert base.all("SELECT epoch FROM fleet.clock") == epoch
    assert "treason feed accept NAME" in fleet(place, base, "init", "--new-epoch").out
    assert base.all("SELECT epoch FROM fleet.clock") != epoch
    base.close()


@pytest.mark.parametrize("way", ["init", "psql"])
def test_a_database_that_others_use_is_left_alone(place: Place, server: Postgres, way: str) -> None:
    """A name that was mistyped at night locks nobody out of what is there."""
    base = Base(server, is_fleet=False)
    base.owner.execute("CREATE TABLE public.orders (number integer)")
    rights = "SELECT datacl FROM pg_database WHERE datname = current_database()"
    if way == "init":
        refused = fleet(place, base, "init")
        assert refused.code == 1
        what = "it is not the fleet's alone: public.orders is in it"
        assert refused.err.splitlines() == [
            f"treason: database {base.name} at {server.directory}: {what}",
            "  Make one for the fleet, and name that: createdb fleet",
        ]
    else:
        with pytest.raises(psycopg.errors.ObjectInUse):
            schema.install(base.owner)
    assert base.all(rights) == [(None,)]
    assert base.all("SELECT FROM pg_namespace WHERE nspname = 'fleet'") == []
    base.close()
    everybodys = place.treason("fleet", "init", "--dsn", server.dsn())
    assert "every user of the server may need it" in everybodys.err


def test_a_member_gets_a_password_that_the_server_never_sees(place: Place, base: Base) -> None:
    """It stands alone on standard output, and lets the member in."""
    added = fleet(place, base, "add-member", "web1")
    password = added.out.strip()
    assert "member web1 added: 1,000 new networks an hour" in added.err
    web = session(base, "web1", password)
    assert publish(web, ["192.0.2.7"]) == 1
    assert password not in base.server.log
    assert password not in added.err
    assert "then restart its feed" in added.err
    [(stored,)] = base.all("SELECT rolpassword FROM pg_authid WHERE rolname = 'web1'")
    assert stored.startswith("SCRAM-SHA-256$4096:")
    [(limit, settings)] = base.all(
        "SELECT r.rolconnlimit, s.setconfig FROM pg_roles r JOIN pg_db_role_setting s"
        " ON s.setrole = r.oid WHERE rolname = 'web1'"
    )
    assert (limit, sorted(settings)) == (5, ["jit=off", "temp_file_limit=1GB"])


def test_a_members_quota_and_password_change(place: Place, base: Base, tmp_path: Path) -> None:
    """Each alone; nothing that it set for itself stays, nor a session of the old password."""
    first = fleet(place, base, "add-member", "web2").out.strip()
    old = session(base, "web2", first)
    old.execute("ALTER ROLE web2 SET statement_timeout = 1")
    old.execute(f"ALTER ROLE web2 IN DATABASE {base.name} SET statement_timeout = 1".encode())
    changed = fleet(place, base, "add-member", "web2", "--max-new", "7")
    assert changed.out == ""
    assert changed.err.splitlines() == [
        "info: member web2 was changed: 7 new networks an hour",
        "info: its password stays as it was; --new-password makes another one",
    ]
    assert "statement_timeout" not in str(base.all("SELECT setconfig FROM pg_db_role_setting"))
    assert rows(old, "SELECT 1") == [(1,)]
    path = tmp_path / "web2.password"
    given = fleet(place, base, "add-member", "web2", "--new-password", "--password-file", str(path))
    assert given.out == ""
    assert path.stat().st_mode & 0o777 == 0o600
    assert refusal(old, "SELECT 1") == "57P01"
    with pytest.raises(psycopg.OperationalError):
        session(base, "web2", first)
    web = session(base, "web2", path.read_text().strip())
    assert rows(web, "SELECT max_new FROM fleet.mine()") == [(7,)]


def test_a_password_that_cannot_be_kept_is_none(place: Place, base: Base, tmp_path: Path) -> None:
    """No member is added whose password nobody has."""
    (tmp_path / "open").touch(0o644)
    for path in (tmp_path / "nowhere" / "p", tmp_path / "open"):
        told = fleet(place, base, "add-member", "web3", "--password-file", str(path))
        assert told.code == 1
        assert len(told.err.splitlines()) == 2
    assert base.all("SELECT FROM pg_roles WHERE rolname = 'web3'") == []
    assert base.all("SELECT FROM fleet.members") == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("postgres", "the server has a role postgres already"),
        ("pg_x", "is reserved"),
        ("public", "is reserved"),
        ("treason_fleet", "is reserved"),
        ("Web", "is no member's name"),
        ("a" * 64, "is no member's name"),
        ("web'--", "is no member's name"),
    ],
)
def test_names_that_no_member_has(place: Place, base: Base, name: str, what: str) -> None:
    """Somebody else's role is never touched."""
    told = fleet(place, base, "add-member", name)
    assert told.code == 1
    assert what in told.err
    assert told.out == ""


def test_members_of_a_fleet_that_was_made_anew_are_added_with_their_passwords(
    place: Place, base: Base, server: Postgres
) -> None:
    """Their roles are the server's: they outlived the database, and nobody else may be one."""
    password = fleet(place, base, "add-member", "web1").out.strip()
    again = Base(server, is_fleet=False)
    assert fleet(place, again, "init").code == 0
    added = fleet(place, again, "add-member", "web1")
    assert added.code == 0, added
    assert "member web1 added: 1,000 new networks an hour" in added.err
    assert "its password stays as it was; --new-password makes another one" in added.err
    assert publish(session(again, "web1", password), ["192.0.2.7"]) == 1
    again.owner.execute("ALTER ROLE web1 CREATEROLE")
    again.owner.execute("DELETE FROM fleet.members")
    assert "the server has a role web1 already" in fleet(place, again, "add-member", "web1").err
    again.close()


def test_a_removed_member_is_gone_with_its_bans(place: Place, base: Base) -> None:
    """Its session ends, the others hear of it, and it may come again as another one."""
    fleet(place, base, "add-member", "mail")
    first = fleet(place, base, "add-member", "web4").out.strip()
    web, reader = session(base, "web4", first), base.member("reader")
    publish(web, ["192.0.2.7", "192.0.2.8"], None)
    publish(web, ["192.0.2.9"], 1)
    web.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader")
    base.owner.execute("SELECT pg_sleep(1.1)")
    seq = base.seq()
    assert fleet(place, base, "remove-member", "web4").out == "member web4 removed, with 2 bans\n"
    with pytest.raises(psycopg.OperationalError):
        web.execute("SELECT 1")
    assert [(net, gone) for _, net, gone, _ in news(reader, seq)] == [
        ("192.0.2.7/32", True), ("192.0.2.8/32", True),
    ]  # fmt: skip
    told = fleet(place, base, "remove-member", "web4")
    assert "web4 is no member of this fleet" in told.err
    second = fleet(place, base, "add-member", "web4").out.strip()
    assert publish(session(base, "web4", second), ["192.0.2.7"]) == 1


def test_on_a_terminal_a_removal_is_asked_for(
    place: Place, base: Base, mocker: MockerFixture
) -> None:
    """It is told how many bans go; --yes is the answer."""
    publish(base.member("user15"), ["192.0.2.7"])
    mocker.patch("sys.stdin.isatty", return_value=True)
    asked = mocker.patch("click.confirm", return_value=False)
    told = fleet(place, base, "remove-member", "user15")
    assert (told.code, told.out) == (1, "nothing was changed\n")
    assert asked.call_args.args == ("Remove member user15, and 1 ban of it everywhere?",)
    assert fleet(place, base, "remove-member", "user15", "--yes").code == 0
    assert asked.call_count == 1


def test_the_status_is_told(place: Place, base: Base) -> None:
    """For people and for programs; a full quota, or a role that is gone, ends it with 1."""
    password = fleet(place, base, "add-member", "web5", "--max-new", "3").out.strip()
    fleet(place, base, "add-member", "web6")
    web = session(base, "web5", password)
    publish(web, ["192.0.2.7", "192.0.2.8"])
    told = fleet(place, base, "status")
    assert told.code == 0
    assert "web5\t2\t2 of 3\t-\tnever" in told.out
    base.owner.execute("REVOKE pg_signal_backend FROM treason_fleet_reaper")
    rows(web, "SELECT fleet.seen(0)")
    told = fleet(place, base, "status")
    assert told.code == 1
    assert "nobody ends sessions that keep the clock, until a superuser has run: GRANT" in told.out
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(web, "SELECT fleet.reap()")
    assert fleet(place, base, "init").code == 0
    value = fleet(place, base, "status", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/fleet-status"})
    assert (value["changes"], value["members"][0]["behind"]) == (1, 1)
    publish(web, ["192.0.2.9"])
    base.owner.execute("DROP ROLE web6")
    told = fleet(place, base, "status")
    assert told.code == 1
    assert "the quota of web5 is full: under attack, or not itself?" in told.out
    assert "web6 has no role on this server: treason fleet add-member web6" in told.out


def test_a_member_sees_the_clock_and_itself(place: Place, base: Base, tmp_path: Path) -> None:
    """By the table of its feed; once it was removed, that is said."""
    path = tmp_path / "password"
    fleet(place, base, "add-member", "web7", "--password-file", str(path))
    fleet(place, base, "add-member", "web8")
    dsn = base.server.dsn("web7", base.name, host=str(base.server.directory))
    place.configure(
        f'[feed.ours]\ntype = "postgresql"\ndsn = "{dsn}"\npassword_file = "{path}"\n'
        '[feed.drop]\ntype = "list"\npath = "/nowhere"'
    )
    value = place.treason("fleet", "status", "--feed", "ours", "-o", "json").json
    jsonschema.validate(value, SCHEMA | {"$ref": "#/$defs/fleet-status"})
    assert [member["member"] for member in value["members"]] == ["web7"]
    assert value["updated"] is None
    for name, what in (("drop", "feed drop is no fleet"), ("no", "no feed is named 'no'")):
        assert what in place.treason("fleet", "status", "--feed", name).err
    fleet(place, base, "remove-member", "web7")
    told = place.treason("fleet", "status", "--feed", "ours")
    assert "password authentication failed" in told.err


def test_the_printed_scripts_do_the_same(place: Place, base: Base) -> None:
    """A member comes and goes by psql alone; nothing is asked of a server to print them."""
    where = ["-h", str(base.server.directory), "-p", str(base.server.port), "-U", "postgres"]

    def psql(script: str) -> None:
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *where, "-d", base.name]
        subprocess.run(command, input=script, text=True, check=True, capture_output=True)

    added = place.treason("fleet", "add-member", "web9", "--max-new", "5", "--print-sql")
    psql(added.out)
    password = added.err.rpartition(" ")[2].strip()
    assert password not in added.out
    web = session(base, "web9", password)
    assert rows(web, "SELECT max_new FROM fleet.mine()") == [(5,)]
    publish(web, ["192.0.2.7"])
    psql(place.treason("fleet", "remove-member", "web9", "--print-sql").out)
    assert base.all("SELECT FROM pg_roles WHERE rolname = 'web9'") == []
    assert base.all("SELECT removed IS NULL FROM fleet.bans") == [(False,)]
    assert place.treason("fleet", "init", "--print-sql").out == schema.script()


def test_what_keeps_an_administrator_out_is_said_in_two_lines(place: Place, base: Base) -> None:
    """What, which database, and what to do."""
    server = base.server
    socket = str(server.directory)
    base.member("user10")
    for dsn, what, hint in (
        (f"{base.dsn} password=x", "--dsn holds a password", "~/.pgpass"),
        (f"postgresql://postgres:x@/{base.name}", "--dsn holds a password", "~/.pgpass"),
        ("what is this", "--dsn is not understood", "as libpq does"),
        (server.dsn(dbname="nowhere"), 'database "nowhere" does not exist', "createdb nowhere"),
        (f"host={socket} port=1 dbname=fleet user=postgres", "No such file", "is the server"),
        (server.dsn("nobody", base.name, host=socket), "password", "~/.pgpass"),
        ("service=nowhere", "nowhere", "pg_service.conf"),
    ):  # fmt: skip
        told = place.treason("fleet", "status", "--dsn", dsn)
        assert (told.code, told.out) == (1, "")
        first, second = told.err.splitlines()
        assert what in first
        assert hint in second
    assert place.treason("fleet", "status").code == 64
    assert place.treason("fleet", "status", "--dsn", "a", "--feed", "b").code == 64


def test_who_has_not_enough_rights_is_told_so(
    place: Place, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that plays the administrator changes nothing."""
    path = tmp_path / "pgpass"
    path.write_text("*:*:*:*:of the tests\n")
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    base.member("user11")
    dsn = base.server.dsn("user11", base.name, host=str(base.server.directory))
    for words in (["init"], ["add-member", "web12"], ["remove-member", "user11"], ["status"]):
        told = place.treason("fleet", *words, "--dsn", dsn)
        assert told.code == 1
        assert "permission denied" in told.err
        assert "superuser" in told.err
    assert base.all("SELECT FROM pg_roles WHERE rolname = 'web12'") == []


def test_a_newer_fleet_and_a_strange_schema_are_left_alone(place: Place, server: Postgres) -> None:
    """Both in two lines."""
    base = Base(server)
    base.owner.execute("UPDATE fleet.clock SET version = 2")
    for words in (["init"], ["add-member", "web13"], ["remove-member", "web13"], ["status"]):
        told = fleet(place, base, *words)
        assert "the fleet is of version 2, and this treason makes version 1" in told.err
        assert "nstall the newer treason here" in told.err
        assert told.code == 1
    base.owner.execute("DROP SCHEMA fleet CASCADE; CREATE SCHEMA fleet")
    told = fleet(place, base, "init")
    assert "a schema named fleet that is no fleet of treason's" in told.err
    assert "createdb fleet" in told.err
    base.close()


def test_a_server_that_follows_another_is_told(place: Place) -> None:
    """Nothing can be written to it."""
    with postgres.running(port=5434) as server:
        base = Base(server)
        base.owner.close()
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        told = fleet(place, base, "init")
        assert told.code == 1
        assert "is read-only\n  this server only follows another one" in told.err


def test_a_lock_that_somebody_keeps_is_said(place: Place, base: Base) -> None:
    """Nothing is changed, and who waits gives up."""
    base.member("user14")
    other = base.session("user14")
    other.execute("BEGIN")
    publish(other, ["192.0.2.7"])
    told = fleet(place, base, "init", "--new-epoch")
    assert told.code == 1
    assert "somebody else keeps it" in told.err


@pytest.fixture
def empty() -> Iterator[Postgres]:
    """A server that has no role of any fleet: from version 16 on who made a role administers it."""
    with postgres.running(port=5434) as made:
        yield made


def test_an_administrator_need_not_be_superuser(
    place: Place, empty: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's owner with CREATEROLE does it all, and is told what it cannot take away."""
    with psycopg.connect(empty.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'of the tests'")
        connection.execute("CREATE DATABASE kept OWNER keeper")
    path = tmp_path / "pgpass"
    path.write_text("*:*:*:*:of the tests\n")
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))
    dsn = empty.dsn("keeper", "kept", host=str(empty.directory))
    assert "until a superuser has run init once" in place.treason("fleet", "init", "--dsn", dsn).out
    added = place.treason("fleet", "add-member", "web16", "--dsn", dsn)
    assert added.code == 0
    assert "a superuser has to run: ALTER ROLE web16 SET temp_file_limit = '1GB';" in added.err
    member = empty.dsn("web16", "kept", host=str(empty.directory))
    with psycopg.connect(member, password=added.out.strip(), autocommit=True) as web:
        publish(web, ["192.0.2.7"])
        assert "web16\t1\t1 of 1,000" in place.treason("fleet", "status", "--dsn", dsn).out
        added = place.treason("fleet", "add-member", "web16", "--new-password", "--dsn", dsn)
        with pytest.raises(psycopg.OperationalError):
            web.execute("SELECT 1")
    with psycopg.connect(member, password=added.out.strip(), autocommit=True) as web:
        removed = place.treason("fleet", "remove-member", "web16", "--dsn", dsn)
        assert removed.out == "member web16 removed, with 1 ban\n"
        with pytest.raises(psycopg.OperationalError):
            web.execute("SELECT 1")


def test_without_the_library_it_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it, too."""
    for name in [name for name in sys.modules if name.startswith(("psycopg", "feeds.postgresql."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    told = place.treason("fleet", "status", "--dsn", "dbname=fleet")
    assert told.code == 1
    first, second = told.err.splitlines()
    assert "the fleet needs a library" in first
    assert "pip install 'treason[fleet]'" in second
