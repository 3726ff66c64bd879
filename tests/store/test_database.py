"""Opening the database: what is created, and what is said of every way it can be wrong."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from harness import REAL_ROOT, take_back_seventh
from pytest_mock import MockerFixture

from reconciler import Network, Networks
from reconciler.errors import StoreError
from reconciler.execute import run
from reconciler.model import Ban
from reconciler.store.adoption import APPLICATION_ID
from reconciler.store.opening import connect
from reconciler.store.schema import STEPS
from reconciler.store.store import open_store, open_to_enforce


def refusal(path: Path, *, write: bool, timeout: float = 1) -> str:
    """Open and read; give what is said, without the path, which holds the test's own words."""
    with (
        pytest.raises(StoreError) as refused,
        open_store(path, write=write, timeout=timeout) as store,
    ):
        store.bans.networks(0)
    assert refused.value.what.startswith(f"{path}: ")
    return refused.value.what.removeprefix(f"{path}: ")


BAN = Ban(Network.parse("192.0.2.1"), 1, None, "manual")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one ban."""
    made = tmp_path / "treason.db"
    with open_store(made, write=True) as store:
        store.bans.add([BAN])
    return made


def test_a_new_database_is_for_its_owner_alone(path: Path) -> None:
    """The file is made with mode 0600."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not REAL_ROOT, reason="only root can make files for others")
def test_what_root_makes_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    """A pass by hand as root does not lock out the service's own user."""
    os.chown(tmp_path, 65534, 65534)
    connect(tmp_path / "new.db", write=True, timeout=1).close()
    assert (tmp_path / "new.db").stat().st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="it is refused to root")
def test_a_directory_open_to_everybody_is_refused_to_root(path: Path) -> None:
    """Anybody could put another database in its place."""
    before = path.read_bytes()
    path.parent.chmod(0o777)
    with pytest.raises(StoreError) as refused:
        connect(path, write=True, timeout=1)
    assert refused.value.what == f"{path.parent}: every user may write to the database's directory"
    assert path.read_bytes() == before


def test_reading_a_missing_database_creates_nothing(tmp_path: Path) -> None:
    """It reads as empty, even where its directory is missing."""
    with open_store(tmp_path / "no" / "treason.db", write=False) as store:
        assert list(store.bans.active(0)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_may_not_be_looked_at_is_not_a_missing_one(path: Path) -> None:
    """Reading below what is no directory is an error, where a missing directory is empty."""
    assert refusal(path / "treason.db", write=False) == "cannot open the database: Not a directory"


@pytest.mark.parametrize("write", [True, False])
def test_what_is_no_file_is_not_an_empty_database(tmp_path: Path, write: bool) -> None:
    """A link without a file behind it, a device, a pipe and a directory are errors."""
    for name, target in {"nowhere": "absent", "null": "/dev/null", "directory": "/"}.items():
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    assert "points to a file that does not exist" in refusal(tmp_path / "nowhere", write=write)
    for name in ("null", "directory", "pipe"):
        assert "not a regular file" in refusal(tmp_path / name, write=write)


def test_a_wal_database_is_read_without_writing(path: Path) -> None:
    """A check creates nothing beside it; a command that writes sets the mode back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    before = {each: each.read_bytes() for each in path.parent.iterdir()}
    with open_store(path, write=False) as store:
        assert store.bans.networks(0)[0] == {BAN.network}
    assert {each: each.read_bytes() for each in path.parent.iterdir()} == before
    with open_store(path, write=True) as store:
        assert store.bans.networks(0)[0] == {BAN.network}
    assert path.read_bytes()[18:20] == b"\x01\x01"


OTHER = Ban(Network.parse("192.0.2.2"), 1, None, "manual")


def test_a_wal_database_that_another_program_reads_is_read_and_written(path: Path) -> None:
    """With what lies in the log alone; the mode stays as it is until the other one has finished."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM bans").fetchone() == (1,)
        with open_store(path, write=True) as store:
            store.bans.add([OTHER])
        names = sorted(path.parent.iterdir())
        with open_store(path, write=False) as store:
            assert store.bans.networks(0)[0] == {BAN.network, OTHER.network}
        assert sorted(path.parent.iterdir()) == names
        assert other.execute("SELECT count(*) FROM bans").fetchone() == (1,)
    with open_store(path, write=True) as store:
        assert store.bans.networks(0)[0] == {BAN.network, OTHER.network}
    assert [each.name for each in path.parent.iterdir()] == ["treason.db"]


@pytest.mark.parametrize("enforced", [False, True])
def test_a_log_of_wal_mode_without_its_index_is_not_overlooked(
    path: Path, tmp_path: Path, enforced: bool
) -> None:
    """Such as in a copy: what is in it cannot be read by itself, so nothing is."""
    (tmp_path / "copy").mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("DELETE FROM bans")
        for name in ("treason.db", "treason.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    copy = tmp_path / "copy" / "treason.db"
    assert "WAL mode" in refusal(copy, write=False)
    if enforced:  # which may write: so it is not overlooked either
        with open_to_enforce(copy) as store:
            assert (list(store.bans.active(0)), store.unwritten) == ([], None)


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    """A file that was created but never written reads as empty, and can be written."""
    path = tmp_path / "treason.db"
    path.touch()
    with open_store(path, write=False) as store:
        assert list(store.bans.active(0)) == []
    assert path.stat().st_size == 0
    with open_store(path, write=True) as store:
        store.bans.add([BAN])
        assert list(store.bans.active(0)) == [BAN]


def test_a_missing_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Writing does not make the directory; it says how to."""
    with pytest.raises(StoreError) as refused:
        connect(tmp_path / "no" / "treason.db", write=True, timeout=1)
    assert refused.value.what.endswith("the database's directory does not exist")
    assert refused.value.hint.startswith("treason init creates it")
    assert f"install -d -m 0700 {tmp_path}/no" in refused.value.hint


@pytest.mark.parametrize("write", [True, False])
def test_a_locked_database_is_waited_for_and_then_named(path: Path, write: bool) -> None:
    """While another program holds it, neither reading nor writing guesses."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    said = refusal(path, write=write, timeout=0.05)
    other.close()
    assert said == "the database is locked by another program"


@pytest.mark.parametrize("write", [True, False])
def test_garbage_is_named_and_left_alone(path: Path, write: bool) -> None:
    """A file that is no database is refused, and stays as it is."""
    content = b"not a database at all, but long enough to be looked at" * 20
    path.write_bytes(content)
    assert refusal(path, write=write) == "this is not an SQLite database"
    assert path.read_bytes() == content


def test_a_damaged_database_is_named(path: Path) -> None:
    """A file whose pages are overwritten is an error, not an empty list of bans."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    assert refusal(path, write=False) == "the database is damaged"


def test_a_truncated_database_is_named(path: Path) -> None:
    """A file that lost its end is an error, too."""
    os.truncate(path, path.stat().st_size // 2)
    assert refusal(path, write=False) == "the database is damaged"


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    """An SQLite file that treason did not make is neither read nor changed."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name)")
    other.close()
    before = path.read_bytes()
    for write in (True, False):
        assert refusal(path, write=write) == "this SQLite database was not created by treason"
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A database of a newer program is not touched by an older one."""
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert "schema 99" in refusal(path, write=True)


def test_an_interrupted_write_is_not_read_as_if_complete(path: Path, tmp_path: Path) -> None:
    """A check undoes in memory what a killed program left; a command that writes in the file."""
    crashed = interrupted(path, tmp_path)
    before = {each: each.read_bytes() for each in crashed.parent.iterdir()}
    with open_store(crashed, write=False) as store:
        assert list(store.bans.active(0)) == [BAN]
        with pytest.raises(StoreError, match="read-only"):
            store.bans.add([OTHER])
    assert {each: each.read_bytes() for each in crashed.parent.iterdir()} == before
    with open_store(crashed, write=True) as store:
        assert list(store.bans.active(0)) == [BAN]
    assert [each.name for each in crashed.parent.iterdir()] == ["treason.db"]


def test_an_interrupted_write_of_several_databases_is_not_read(path: Path, tmp_path: Path) -> None:
    """Whether it is to be undone is told by another file."""
    crashed = interrupted(path, tmp_path)
    with crashed.with_name("treason.db-journal").open("ab") as journal:
        journal.write(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    assert refusal(crashed, write=False) == "an interrupted write must be rolled back first"


def interrupted(path: Path, tmp_path: Path) -> Path:
    """Return a copy of the database as a writer left it that was killed while it wrote."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE bans SET network = '203.0.113.9'")
        rows = ((f"10.0.{i >> 8}.{i & 255}",) for i in range(9999))
        writer.executemany(
            "INSERT INTO bans (network, since, origin, reason) VALUES (?, 1, 'x', '')", rows
        )
        for name in ("treason.db", "treason.db-journal"):
            shutil.copy(tmp_path / name, copy / name)
    return copy / "treason.db"


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_database_is_read_to_enforce(path: Path, begin: str) -> None:
    """What was committed last, without what the other program has changed since."""
    with closing(sqlite3.connect(path)) as script:
        script.execute("INSERT INTO badips VALUES (datetime('now'), '192.0.2.2')")
        script.commit()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA cache_size = 1")
        other.execute(begin)
        if "EXCLUSIVE" in begin:
            other.execute("UPDATE bans SET network = '203.0.113.9' WHERE network = '192.0.2.1'")
        with open_to_enforce(path, timeout=0.05) as store:
            assert {str(ban.network) for ban in store.bans.active(0)} == {"192.0.2.1", "192.0.2.2"}
            assert "locked by another program" in str(store.unwritten)
            store.attempt(lambda: pytest.fail("it was written all the same"))


@pytest.mark.parametrize("content", [None, b"", b"not a database at all" * 99])
def test_nothing_is_enforced_of_what_cannot_be_read(
    tmp_path: Path, content: bytes | None, mocker: MockerFixture
) -> None:
    """What is missing, empty or no database is no reason to lift a ban."""
    path = tmp_path / "treason.db"
    if content is not None:
        path.write_bytes(content)
    full = sqlite3.OperationalError("full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    mocker.patch("reconciler.store.opening.migrate", side_effect=full)
    mocker.patch("reconciler.store.opening._create", side_effect=full)
    with pytest.raises(StoreError, match=r"disk is full|not an SQLite"), open_to_enforce(path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="it is refused to root")
def test_a_directory_open_to_everybody_is_not_read_to_enforce(path: Path) -> None:
    """That the file cannot be written for that reason does not make it one to be believed."""
    path.parent.chmod(0o777)
    with pytest.raises(StoreError, match="every user may write"), open_to_enforce(path):
        pass


def test_an_older_schema_keeps_its_identity_when_it_is_read(path: Path) -> None:
    """The objects of the firewall belong to it as before; one from before that has none."""
    with open_store(path, write=True) as store:
        identity = store.identity
    for version, found in ((5, identity), (4, "")):
        with closing(sqlite3.connect(path)) as database:
            if version == 5:
                take_back_seventh(database)
                database.execute("ALTER TABLE offences DROP COLUMN boot")
                database.execute("ALTER TABLE offences DROP COLUMN told")
            else:
                database.execute("DROP TABLE treason_identity")
                database.execute("ALTER TABLE verified DROP COLUMN token")
            database.execute(f"PRAGMA user_version = {version}")
        with open_store(path, write=False) as store:
            assert (store.identity, len(list(store.bans.active(0)))) == (found, 1)


@pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")
def test_a_read_only_disk_is_told_and_can_be_read(tmp_path: Path) -> None:
    """Writing is refused with the remedy; a check goes on working."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", str(disk)])
    try:
        path = disk / "treason.db"
        with open_store(path, write=True) as store:
            store.bans.add([BAN])
        run(["mount", "-o", "remount,ro", str(disk)])
        with (
            pytest.raises(StoreError) as refused,
            open_store(path, write=True) as store,
        ):
            store.bans.lift([BAN.network], 2)
        assert refused.value.what == f"{path}: the database is read-only"
        with open_store(path, write=False) as store:
            assert store.bans.networks(0)[0] == {BAN.network}
    finally:
        run(["umount", str(disk)])


@pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """What was stored before the disk was full is there, and nothing of what was refused."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(disk)])
    try:
        with open_store(disk / "treason.db", write=True) as store:
            store.bans.add([BAN])
            many = [Ban(Network.of(4, i, 32), 1, None, "x", "y" * 50) for i in range(9999)]
            with pytest.raises(StoreError) as refused:
                store.bans.add(many)
            assert refused.value.what.endswith(": the disk is full")
            assert store.bans.networks(0) == (Networks.of([BAN.network]), [])
    finally:
        run(["umount", str(disk)])


SCRIPT = "create table badips (addedtime datetime, ip varchar(15) constraint u_ip unique);"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The database of the original script."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.execute("create table badips (addedtime datetime, ip varchar(15))")
        database.executemany(
            "insert into badips values (?, ?)",
            [
                ("2012-03-04 05:06:07", "192.0.2.1"),
                ("2011-01-01 00:00:00", "192.0.2.1"),
                ("2013-01-01 00:00:00", "2001:DB8::1"),
                ("no time", "192.0.2.2"),
                ("2014-01-01 00:00:00", "192.0.2.300"),
                ("2014-01-01 00:00:00", None),
            ],
        )
    database.close()
    return path


def test_the_original_database_is_adopted_in_place(original: Path) -> None:
    """Times are kept, duplicates collapse to the earliest, what is no network is reported."""
    with open_store(original, write=True) as store:
        bans = {str(ban.network): ban for ban in store.bans.active(0)}
        assert store.bans.networks(0)[1] == ["192.0.2.300"]
    assert set(bans) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert bans["192.0.2.1"].since == 1293840000
    assert bans["192.0.2.1"].until is None
    assert bans["192.0.2.1"].origin == "badips"


def test_the_original_database_is_read_as_it_would_be_adopted(original: Path) -> None:
    """A check sees the bans, and leaves the file to the byte."""
    before = original.read_bytes()
    with open_store(original, write=False) as store:
        assert len(store.bans.networks(0)[0]) == 3
    assert original.read_bytes() == before
    assert [path.name for path in original.parent.iterdir()] == ["old.db"]


def test_the_scripts_own_statements_go_on_working(original: Path) -> None:
    """Its SELECT and its INSERT, also of what is there already."""
    with open_store(original, write=True):
        pass
    with sqlite3.connect(original) as database:
        for ip in ("1.2.3.4", "1.2.3.4", "192.0.2.1"):
            database.execute(f"insert into badips values (datetime('now'), '{ip}');")  # noqa: S608 - the script's words
        ips = [ip for (ip,) in database.execute("select distinct ip from badips;")]
    database.close()
    assert sorted(ips) == ["1.2.3.4", "192.0.2.1", "192.0.2.2", "192.0.2.300", "2001:db8::1"]
    with open_store(original, write=True) as store:
        [ban] = [ban for ban in store.bans.active(0) if str(ban.network) == "1.2.3.4"]
    assert ban.until is None
    assert ban.since > 1_700_000_000


@pytest.mark.parametrize(
    "script",
    [
        "create table badips (ip text, addedtime text); insert into badips values (@IP, @NOW)",
        "create table BADIPS (Date datetime, IP text); insert into badips values (@NOW, @IP)",
        'create table badips ("a ""b" text, ip text); insert into badips values (@NOW, @IP)',
        """create table badips (t, ip); insert into badips values (@NOW, @IP);
           insert into badips values (@NOW, x'ff00'); pragma user_version = 7""",
        """create table badips (t, ip); create table log (x);
           create view recent as select ip from badips;
           create trigger copy after insert on log begin
               insert into badips values (datetime('now'), new.x); end;
           insert into log values (@IP)""",
    ],
)
def test_other_shapes_of_the_scripts_table_are_adopted(script: str, tmp_path: Path) -> None:
    """Columns in another order or case, bytes that are no text, views and triggers of its owner."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript(
            script.replace("@NOW", "datetime('now')").replace("@IP", "'192.0.2.1'")
        )
    database.close()
    with open_store(path, write=True) as store:
        networks, invalid = store.bans.networks(0)
    assert networks == {BAN.network}
    assert invalid == (["\\xff\x00"] if "ff00" in script else [])
    if "recent" in script:
        with sqlite3.connect(path) as database:
            database.execute("insert into log values ('192.0.2.9')")
            assert len(database.execute("select * from recent").fetchall()) == 2
        database.close()


def test_names_that_are_taken_are_told(tmp_path: Path) -> None:
    """Nothing of the file is changed."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.executescript("create table badips (t, ip); create table History (x)")
    database.close()
    before = path.read_bytes()
    for write in (True, False):
        assert "other tables named history" in refusal(path, write=write)
    assert path.read_bytes() == before


def test_an_insert_into_badips_makes_a_temporary_ban_permanent(tmp_path: Path) -> None:
    """Also one that has ended but was not lifted yet."""
    path = tmp_path / "treason.db"
    for until in (5, 2**40):
        with open_store(path, write=True) as store:
            store.bans.add([Ban(BAN.network, 1, until, "manual")])
        with sqlite3.connect(path) as database:
            database.execute("insert into badips values (datetime('now'), '192.0.2.1')")
        database.close()
        with open_store(path, write=True) as store:
            [ban] = store.bans.active(10)
        assert (ban.until, ban.origin) == (None, "badips")


def test_another_spelling_through_badips_is_the_same_ban(path: Path) -> None:
    """It is written as everything else the next time something is."""
    with sqlite3.connect(path) as database:
        for text in ("192.0.2.1/32", "2001:DB8::0001", "no network"):
            database.execute("insert into badips values (datetime('now'), ?)", (text,))
    database.close()
    with open_store(path, write=True) as store:
        networks, invalid = store.bans.networks(0)
        assert sorted(map(str, networks)) == ["192.0.2.1", "2001:db8::1"]
        assert invalid == ["no network"]
        assert store.bans.lift([BAN.network], 2) == {BAN.network}
        assert [str(network) for network in store.bans.networks(3)[0]] == ["2001:db8::1"]


def test_other_spellings_in_an_older_schema_are_tidied_after_its_migration(tmp_path: Path) -> None:
    """What came through badips just before can be lifted by its network; junk stops nothing."""
    path = tmp_path / "treason.db"
    with sqlite3.connect(path) as older:
        for step in STEPS[:2]:  # what earlier versions wrote
            for statement in step:
                older.execute(statement)
        for text in ("192.0.2.1", "::ffff:192.0.2.1", "2001:DB8::0001", "no network"):
            older.execute("insert into badips values (datetime('now'), ?)", (text,))
        older.execute("insert into badips values (datetime('now'), CAST(x'ff31' AS TEXT))")
        older.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        older.execute("PRAGMA user_version = 2")
    older.close()
    wanted = Networks.of(map(Network.parse, ("192.0.2.1", "2001:db8::1")))
    with open_store(path, write=False) as store:
        found = store.bans.exceptions(0, lambda _: True)
        untidy, refused = found.untidy, found.refused.texts
        assert store.bans.networks(0)[0] | Networks.of(untidy) == wanted
        assert set(refused) == {"no network", "\\xff1"}
    with open_store(path, write=True) as store:
        assert store.bans.lift(wanted, 2) == wanted
        assert set(store.bans.networks(3)[1]) == {"no network", "\\xff1"}
        assert not store.bans.networks(3)[0]


def test_what_came_through_badips_is_not_enforced_if_it_is_too_wide(original: Path) -> None:
    """`ban` would have asked for --force."""
    with open_store(original, write=True):
        pass
    with sqlite3.connect(original) as database:
        database.execute("insert into badips values (datetime('now'), '0.0.0.0/0')")
    database.close()
    with open_store(original, write=True) as store:
        networks, refused = store.bans.networks(0, lambda network: network.length >= 16)
    assert "0.0.0.0/0" not in map(str, networks)
    assert sorted(refused) == ["0.0.0.0/0", "192.0.2.300"]


def test_adoption_happens_once(original: Path) -> None:
    """What is unbanned afterwards does not come back."""
    with open_store(original, write=True) as store:
        store.bans.lift([BAN.network], 2)
    with open_store(original, write=True) as store:
        assert BAN.network not in store.bans.networks(0)[0]


def test_a_hundred_thousand_rows_are_adopted(tmp_path: Path) -> None:
    """All of them, in one transaction."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.execute(SCRIPT)
        rows = ((f"11.{i >> 16}.{i >> 8 & 255}.{i & 255}",) for i in range(100_000))
        database.executemany("insert into badips values ('2012-03-04 05:06:07', ?)", rows)
    database.close()
    with open_store(path, write=True) as store:
        assert len(store.bans.networks(0)[0]) == 100_000
