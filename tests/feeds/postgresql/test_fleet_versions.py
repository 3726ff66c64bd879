"""How the fleet's schema comes into a database, and from one version to the next."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import postgres
import psycopg
import pytest
from fleetbases import PASSWORD, Base, news, publish, rows
from postgres import Postgres

from feeds.postgresql import schema

pytestmark = postgres.needed

SECOND = """
ALTER TABLE fleet.bans ADD COLUMN noted text NOT NULL DEFAULT 'of old';
"""


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server that knows no fleet yet: its roles are the whole server's."""
    with postgres.running() as made:
        yield made


def catalogue(server: Postgres, name: str) -> str:
    """Return all that the database is, and who may do what in it, without its name."""
    where = ["-h", str(server.directory), "-p", str(server.port), "-U", "postgres"]
    done = subprocess.run(
        ["pg_dump", "--schema-only", *where, "-C", name], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "restrict " not in line]
    return "\n".join(lines).replace(name, "DATABASE")


def psql(server: Postgres, name: str, script: str) -> str:
    """Run a script as an administrator would; return what it says."""
    where = ["-h", str(server.directory), "-p", str(server.port), "-U", "postgres"]
    return subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *where, "-d", name, "-f", "-"],
        input=script, capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip


def test_the_printed_script_does_the_same(server: Postgres) -> None:
    """Once and twice, also after what somebody changed by hand: the same catalogue as by init."""
    by_init, by_script = (
        Base(server, "made_by_init"),
        Base(server, "made_by_script", is_fleet=False),
    )
    assert psql(server, "made_by_script", schema.script()) == ""
    made = catalogue(server, "made_by_init")
    assert "CREATE FUNCTION fleet.publish" in made
    assert catalogue(server, "made_by_script") == made
    for base in (by_init, by_script):
        base.owner.execute("GRANT SELECT ON fleet.bans TO treason_fleet_member")
        base.owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        assert catalogue(server, base.name) != made
    assert schema.install(by_init.owner) == schema.VERSION
    assert psql(server, "made_by_script", schema.script(new_epoch=True)) == ""
    assert catalogue(server, "made_by_script") == catalogue(server, "made_by_init") == made
    for base in (by_init, by_script):
        base.close()


def test_a_filled_fleet_is_migrated(server: Postgres) -> None:
    """Its bans, members, clock and epoch stay; a step that fails leaves all as it was."""
    base = Base(server)
    web, mail = base.member("web"), base.member("mail")
    publish(web, ["192.0.2.7", "2001:db8::/32"], None)
    before = base.all("SELECT seq, mark, epoch FROM fleet.clock")
    steps = schema.steps()
    for broken in ("SELECT 1 / 0;", SECOND + "TABLE fleet.nothing;"):
        with pytest.raises(psycopg.Error):
            schema.install(base.owner, {**steps, 2: broken})
        assert base.all("SELECT version FROM fleet.clock") == [(1,)]
        assert "noted" not in catalogue(server, base.name)
    assert schema.install(base.owner, {**steps, 2: SECOND}) == 1
    assert base.all("SELECT version FROM fleet.clock") == [(2,)]
    assert base.all("SELECT seq, mark, epoch FROM fleet.clock") == before
    assert base.all("SELECT DISTINCT noted FROM fleet.bans") == [("of old",)]
    assert len(news(mail)) == 2
    assert publish(web, ["192.0.2.8"]) == 1
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        schema.install(base.owner)
    assert refused.value.diag.message_primary == (
        "the fleet is of version 2, and this treason makes version 1"
    )
    assert refused.value.diag.message_hint == "Install the newer treason here."
    base.close()


def test_two_may_begin_at_once(server: Postgres) -> None:
    """In one database one of them finds a fleet; in two the roles are made once."""
    bases = [Base(server, is_fleet=False), Base(server, is_fleet=False)]
    sessions = [
        (base, psycopg.connect(base.dsn, autocommit=True)) for base in bases for _ in range(3)
    ]
    found: list[tuple[str, int]] = []
    gate = threading.Barrier(len(sessions))

    def begin(base: Base, session: psycopg.Connection[tuple[object, ...]]) -> None:
        gate.wait()
        found.append((base.name, schema.install(session)))

    threads = [threading.Thread(target=begin, args=each) for each in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for base in bases:
        assert sorted(version for name, version in found if name == base.name) == [0, 1, 1]
    for _, session in sessions:
        session.close()
    for base in bases:
        base.close()


def test_an_owner_who_may_create_roles_is_enough(server: Postgres) -> None:
    """It is told what only a superuser can take from members; one that does mends it."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'of the tests'")
        connection.execute("CREATE DATABASE kept OWNER keeper")
    dsn = server.dsn("keeper", "kept", host=str(server.directory))
    notes: list[str] = []
    with psycopg.connect(dsn, password=PASSWORD, autocommit=True) as keeper:
        keeper.add_notice_handler(lambda notice: notes.append(notice.message_primary or ""))
        assert schema.install(keeper) == 0
        assert [note[:42] for note in notes if "large objects" in note] == [
            "members may fill the disk with large objec"
        ]
        sql = schema.text("begin") + schema.text("add", member="web", verifier=None, max_new=5)
        with keeper.transaction():
            keeper.execute(sql.encode())
        with psycopg.connect(server.dsn(dbname="kept"), autocommit=True) as superuser:
            schema.install(superuser)
        notes.clear()
        assert schema.install(keeper) == 1
        assert notes == []
        assert rows(keeper, "SELECT fleet.reap()") == [(0,)]


def test_every_file_of_sql_is_in_the_package(tmp_path: Path) -> None:
    """Whoever installs treason gets them, and no literal of theirs stays a placeholder."""
    given = {"member": "web", "verifier": None, "max_new": 1, "newest": 1}
    for name in (
        "1",
        "add",
        "begin",
        "drop",
        "epoch",
        "found",
        "rights",
        "roles",
        "sessions",
        "stop",
    ):
        text = schema.text(name, **given)
        assert not any(f":{key}" in text for key in given), name
    with pytest.raises(ValueError, match="no text of the fleet's SQL"):
        schema.text("add", member="a'b")
