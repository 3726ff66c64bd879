"""What cannot be written keeps no pass from enforcing: it is told, and the exit code is 1."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest
from harness import REAL_ROOT, Place

from reconciler.execute import run
from reconciler.store import migrations
from reconciler.store.adoption import APPLICATION_ID
from reconciler.store.schema import STEPS

pytestmark = pytest.mark.skipif(not REAL_ROOT, reason="mounting a small file system needs root")

Nft = Callable[..., str]
BANNED = "198.51.100.7"
LATE = "198.51.100.8"
MESSAGE = "TCP: Treason uncloaked! Peer 192.0.2.77:1/2 shrinks window 3:4. Repaired.\n"

FAULTS = {
    "full": "the disk is full",
    "read-only": "the database is read-only",
    "reserved": "the database is locked by another program",
    "exclusive": "the database is locked by another program",
}


@pytest.fixture
def disk(place: Place, nft: Nft, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A configuration and a database with a ban that is enforced, on a small disk of their own."""
    monkeypatch.setattr("reconciler.passes.access.open_to_enforce", _impatient)
    run(["mount", "-t", "tmpfs", "-o", "size=700k,mode=700", "tmpfs", str(place.path)])
    try:
        place.configure()
        assert place.treason("ban", BANNED).code == 0
        assert place.treason("reconcile", "--no-scan").code == 0
        yield place
    finally:
        run(["umount", "-l", str(place.path)])


def _impatient(path: object) -> object:
    from reconciler.store.store import open_to_enforce  # noqa: PLC0415 - the one that is replaced

    return open_to_enforce(path, timeout=0.05)  # type: ignore[arg-type]


@contextmanager
def broken(place: Place, fault: str) -> Iterator[None]:
    """Let nothing be written to the database."""
    path = place.path / "fill"
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        if fault == "full":
            with suppress(OSError), path.open("wb", buffering=0) as file:
                while file.write(bytes(1024)):
                    pass
        elif fault == "read-only":
            other.close()
            run(["mount", "-o", "remount,ro", str(place.path)])
        else:
            other.execute("BEGIN IMMEDIATE" if fault == "reserved" else "BEGIN EXCLUSIVE")
        yield
    run(["mount", "-o", "remount,rw", str(place.path)])
    path.unlink(missing_ok=True)


def by_hand(place: Place, script: str) -> None:
    """Change the database as another program does."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as database:
        database.executescript(script)


def lost(nft: Nft) -> None:
    """Let the ruleset be gone, as after a boot."""
    nft("flush ruleset")


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> str:
    """What keeps the database from being written."""
    return str(request.param)


def enforced_all_the_same(place: Place, nft: Nft, fault: str) -> None:
    """Make a pass that cannot write, and one after that which can."""
    lost(nft)
    with broken(place, fault):
        result = place.treason("reconcile", "--no-scan")
        assert (result.code, result.err.count("treason: ")) == (1, 1)
        assert f"{FAULTS[fault]}; the pass went on, but not all was stored" in result.err
        assert BANNED in nft("list set inet treason banned4")
    assert place.treason("reconcile", "--no-scan").code == 0


def test_an_ssh_client_that_cannot_be_remembered(
    disk: Place, nft: Nft, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is protected in this pass at least."""
    by_hand(disk, "INSERT INTO badips VALUES (datetime('now'), '198.51.100.8')")
    assert disk.treason("reconcile", "--no-scan").code == 0
    monkeypatch.setenv("SSH_CONNECTION", f"{LATE} 5000 192.0.2.10 22")
    monkeypatch.setattr("reconciler.passes.access._ssh_client", lambda _: _network(LATE))
    enforced_all_the_same(disk, nft, fault)
    assert LATE not in nft("list set inet treason banned4")


def _network(text: str) -> object:
    from reconciler import Network  # noqa: PLC0415 - for one test

    return Network.parse(text)


def test_rows_of_the_scripts_table_that_cannot_be_tidied(disk: Place, nft: Nft, fault: str) -> None:
    """They are enforced as they stand."""
    by_hand(disk, "INSERT INTO badips VALUES (datetime('now'), '198.51.100.8')")
    enforced_all_the_same(disk, nft, fault)
    assert LATE in nft("list set inet treason banned4")


def test_bans_that_ended_and_cannot_be_moved(disk: Place, nft: Nft, fault: str) -> None:
    """They are not enforced; the next pass moves them."""
    by_hand(
        disk,
        "UPDATE bans SET until = 2;"
        " INSERT INTO bans VALUES ('192.0.2.1', 1, NULL, 'manual', '', x'04c000020120')",
    )
    lost(nft)
    with broken(disk, fault):
        result = disk.treason("reconcile", "--no-scan")
        assert (result.code, f"{FAULTS[fault]}; the pass went on" in result.err) == (1, True)
        banned = nft("list set inet treason banned4")
        assert ("192.0.2.1" in banned, BANNED in banned) == (True, False)
    assert disk.treason("reconcile", "--no-scan").code == 0
    last = disk.treason("history", "--limit", "1", "-o", "json").json["events"]
    assert [event["action"] for event in last] == ["expiry"]


@pytest.mark.parametrize("schema", [0, 2, 4, 5])
def test_an_older_schema_that_cannot_be_migrated(
    schema: int, disk: Place, nft: Nft, fault: str
) -> None:
    """It is read as it would migrate; 0 is the original script's."""
    disk.database.unlink()
    with closing(sqlite3.connect(disk.database, isolation_level=None)) as old:
        old.create_function("network_key", 1, migrations.key_of, deterministic=True)
        if schema:
            for step in STEPS[:schema]:  # a schema from before
                for statement in step:
                    old.execute(statement)
            old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            old.execute(f"PRAGMA user_version = {schema}")
            old.execute(
                "INSERT INTO bans (network, since, origin, reason) VALUES (?, 1, 'manual', '')",
                (BANNED,),
            )
        else:
            old.execute("CREATE TABLE badips (addedtime datetime, ip varchar(15))")
            old.execute("INSERT INTO badips VALUES ('2012-03-04 05:06:07', ?)", (BANNED,))
    enforced_all_the_same(disk, nft, fault)
    assert disk.treason("list").out.startswith(BANNED)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_database_in_wal_mode_that_cannot_leave_it(disk: Place, nft: Nft, fault: str) -> None:
    """It is read as it is, by the pass and by commands that only read."""
    by_hand(disk, "PRAGMA journal_mode = WAL")
    lost(nft)
    with broken(disk, fault):
        result = disk.treason("reconcile", "--no-scan")
        assert (result.code, "the pass went on, but not all was stored" in result.err) == (1, True)
        assert BANNED in nft("list set inet treason banned4")
        assert disk.treason("list").out.startswith(BANNED)
        assert disk.treason("reconcile", "--check", "--no-scan").code == 0
    assert disk.treason("reconcile", "--no-scan").code == 0


def test_a_database_in_wal_mode_with_a_reader_is_no_fault(disk: Place, nft: Nft) -> None:
    """Passes and commands work, and store what they have to store."""
    by_hand(disk, "PRAGMA journal_mode = WAL")
    with closing(sqlite3.connect(disk.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM bans").fetchall()
        assert disk.treason("ban", LATE).code == 0
        assert disk.treason("reconcile", "--no-scan").code == 0
        assert LATE in nft("list set inet treason banned4")
        assert len(disk.treason("list").out.splitlines()) == 2
        assert disk.treason("reconcile", "--check", "--no-scan").code == 0
    assert disk.treason("reconcile", "--no-scan").code == 0
    assert disk.database.read_bytes()[18:20] == b"\x01\x01"


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE bans SET network = '203.0.113.9', key = NULL")
database.executemany("INSERT INTO history (time, action, network, reason) VALUES (1, 'ban', ?, '')",
                     ((f"10.0.0.{i % 256}",) for i in range(999)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def crashed(disk: Place, nft: Nft) -> Place:
    """A database whose writer was killed in the middle of a commit, and no ruleset."""
    before = disk.database.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(disk.database)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert disk.database.read_bytes() != before
    assert disk.database.with_name("treason.db-journal").stat().st_size > 0
    lost(nft)
    return disk


def test_reading_works_after_a_crash_in_the_middle_of_a_commit(crashed: Place) -> None:
    """And changes nothing, so that whoever may write can undo it."""
    before = crashed.snapshot()
    assert [ban["network"] for ban in crashed.treason("list", "-o", "json").json["bans"]] == [
        BANNED
    ]
    assert crashed.treason("history").code == 0
    assert crashed.treason("reconcile", "--check", "--no-scan").code == 2
    assert crashed.snapshot() == before


def test_ban_works_after_a_crash_in_the_middle_of_a_commit(crashed: Place) -> None:
    """What was interrupted is undone first."""
    assert crashed.treason("ban", LATE).code == 0
    assert [ban["network"] for ban in crashed.treason("list", "-o", "json").json["bans"]] == [
        BANNED, LATE,
    ]  # fmt: skip


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_an_interrupted_write_that_cannot_be_undone(crashed: Place, nft: Nft, fault: str) -> None:
    """The pass enforces what was committed; on a full disk it is undone, which needs no room."""
    with broken(crashed, fault):
        result = crashed.treason("reconcile", "--no-scan")
        banned = nft("list set inet treason banned4")
        assert (BANNED in banned, "203.0.113.9" in banned) == (True, False)
        assert result.code == int(fault == "read-only")
        assert crashed.treason("list").out.startswith(BANNED)
    assert crashed.treason("reconcile", "--no-scan").code == 0


def test_what_a_source_brings_is_enforced_though_it_cannot_be_stored(
    disk: Place, nft: Nft, fault: str
) -> None:
    """The source is read again by the next pass, which stores it."""
    log = disk.path.parent / f"{disk.path.name}.log"
    log.write_text(MESSAGE)
    lost(nft)
    with broken(disk, fault):
        for _ in range(2):
            result = disk.treason("reconcile", "--source", f"file:{log}", "-o", "json")
            assert (result.code, result.json["result"]) == (1, "error")
            assert FAULTS[fault] in result.json["unwritten"]
            assert result.json["sources"][0]["bans"] == ["192.0.2.77"]
            banned = nft("list set inet treason banned4")
            assert (BANNED in banned, "192.0.2.77" in banned) == (True, True)
    result = disk.treason("reconcile", "--source", f"file:{log}", "-o", "json")
    assert (result.code, result.json["unwritten"]) == (0, None)
    assert result.json["sources"][0]["new"] == 1
    assert len(disk.treason("list").out.splitlines()) == 2
    assert disk.treason("reconcile", "--check", "--source", f"file:{log}").code == 0


def test_a_scan_that_cannot_store_has_failed(disk: Place) -> None:
    """It changes no firewall, so there is nothing to go on for."""
    log = disk.path.parent / f"{disk.path.name}.log"
    log.write_text(MESSAGE)
    with broken(disk, "full"):
        result = disk.treason("scan", "--source", f"file:{log}")
    assert (result.code, "the disk is full" in result.err) == (1, True)
    assert len(disk.treason("list").out.splitlines()) == 1
    assert disk.treason("scan", "--source", f"file:{log}").code == 0
    assert len(disk.treason("list").out.splitlines()) == 2


@pytest.mark.parametrize("command", ["reconcile", "scan"])
def test_damage_that_hinders_only_writing_is_an_error(disk: Place, nft: Nft, command: str) -> None:
    """Enforced all the same, and never a warning with exit code 0."""
    by_hand(disk, "INSERT INTO bans VALUES ('192.0.2.1', 1, 2, 'manual', '', x'04c000020120')")
    with closing(sqlite3.connect(disk.database)) as database:
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'history'")
        [(size,)] = database.execute("PRAGMA page_size")
    with disk.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    lost(nft)
    log = disk.path / "log"
    log.touch()
    result = disk.treason(command, "--source", f"file:{log}")
    assert (result.code, "the table history cannot be read" in result.err) == (1, True)
    if command == "reconcile":
        assert BANNED in nft("list set inet treason banned4")


@pytest.mark.parametrize("state", ["missing", "empty"])
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_database_that_cannot_be_made_lifts_nothing(
    disk: Place, nft: Nft, fault: str, state: str
) -> None:
    """There is nothing to be read, so nothing is enforced."""
    os.truncate(disk.database, 0)
    if state == "missing":
        disk.database.unlink()
    with broken(disk, fault):
        assert disk.treason("reconcile", "--no-scan").code == 1
        assert BANNED in nft("list set inet treason banned4")


def test_a_table_of_another_database_is_left_to_it(disk: Place, nft: Nft) -> None:
    """Also by one of an older schema, which cannot be given an identity now."""
    disk.database.unlink()
    by_hand(
        disk,
        "CREATE TABLE badips (addedtime datetime, ip varchar(15));"
        "INSERT INTO badips VALUES ('2012-03-04 05:06:07', '198.51.100.8')",
    )
    before = nft("list ruleset")
    with broken(disk, "read-only"):
        result = disk.treason("reconcile", "--no-scan")
    assert (result.code, "were last changed for another database" in result.err) == (1, True)
    assert nft("list ruleset") == before


@pytest.mark.parametrize(
    ("fault", "remedy"), [("full", "free some space"), ("read-only", "be mounted for writing")]
)
def test_what_to_do_about_a_disk_is_said_of_the_whitelist(
    disk: Place, fault: str, remedy: str
) -> None:
    """Not that rights are missing."""
    with broken(disk, fault):
        result = disk.treason("whitelist", "add", "203.0.113.9")
    assert (result.code, remedy in result.err) == (1, True)
