"""A backup takes the place of the database: whole at every moment, enforced at once, or refused."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import feedfiles
import pytest
from harness import REAL_ROOT, Place, page, take_back_seventh, wipe
from residents import PATIENCE, configure, drops, in_force, running, until

from reconciler import Network
from reconciler.errors import StoreError
from reconciler.execute import run
from reconciler.feeding import FeedGroup
from reconciler.model import Ban
from reconciler.store.store import open_store

Nft = Callable[..., str]

LINE = "{}TCP: Treason uncloaked! Peer {}:1/8080 shrinks window 1:2. Repaired.\n"


def network(number: int) -> Network:
    """Return one of the banned networks."""
    return Network.of(4, 0x0B000000 + number, 32)


def store_bans(path: Path, first: int, last: int) -> None:
    """Ban the networks of these numbers."""
    with open_store(path, write=True) as store:
        store.bans.add(Ban(network(i), 1, None, "manual", "why") for i in range(first, last))


def banned(path: Path) -> set[int]:
    """Return the numbers of those that are banned; the database is whole."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with open_store(path, write=True) as store:
        networks = {ban.network for ban in store.bans.active(2)}
    return {i for i in range(2000) if network(i) in networks}


def kept(place: Place) -> list[Path]:
    """Return the databases that were replaced."""
    return sorted(place.path.glob("treason.db.before-restore-*"))


def left_behind(place: Place) -> list[str]:
    """Return what a restore has left that is neither a database nor a list."""
    return sorted(path.name for path in place.path.glob(".treason.db.*"))


@pytest.fixture
def backup(place: Place, nft: Nft) -> Path:
    """A backup with twenty bans; two are lifted since, and one more is made. All is in force."""
    place.configure(main="sources = []")
    store_bans(place.database, 0, 20)
    path = place.path / "backup"
    assert place.treason("backup", str(path)).code == 0
    place.treason("unban", str(network(0)), str(network(1)))
    store_bans(place.database, 20, 21)
    assert place.treason("reconcile").code == 0
    return path


def refused(place: Place, backup: Path, *options: str) -> str:
    """Return why it is not restored: database and firewall are as they were."""
    before, dropped = place.database.read_bytes(), in_force()
    files = {path.name for path in place.path.iterdir()}
    result = place.treason("restore", str(backup), *options)
    assert result.code == 1, result.out
    assert (place.database.read_bytes(), in_force()) == (before, dropped)
    assert {path.name for path in place.path.iterdir()} == files
    return result.err


def test_the_backup_is_in_place_and_in_force(place: Place, backup: Path) -> None:
    """At once; the next pass finds nothing to do, and what was replaced can be restored in turn."""
    told = place.treason("restore", str(backup), "--check")
    assert told.code == 0
    assert f"{backup}: would be restored: 20 bans" in told.out
    assert "2 to add, 1 to remove" in told.out
    assert banned(place.database) == {*range(2, 21)}
    result = place.treason("restore", str(backup))
    assert (result.code, result.err) == (0, "")
    assert "2 added, 1 removed" in result.out
    assert banned(place.database) == {*range(20)}
    assert drops(*(str(network(i)) for i in range(20)))
    assert not drops(str(network(20)))
    assert place.database.stat().st_mode & 0o777 == 0o600
    assert place.treason("reconcile", "--check", "--full").out == "nftables: in sync\n"
    [old] = kept(place)
    assert f"what it replaces is kept: {old}\n" in result.out
    assert old.stat().st_mode & 0o777 == 0o600
    assert place.treason("restore", str(old)).code == 0
    assert banned(place.database) == {*range(2, 21)}
    assert left_behind(place) == []


def test_who_may_read_the_database_still_may(place: Place, backup: Path) -> None:
    """It has the owner and mode of the one that it replaces, which is its owner's alone then."""
    os.chown(place.database, 0, 4)
    place.database.chmod(0o640)
    assert place.treason("restore", str(backup)).code == 0
    status = place.database.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 4, 0o640)
    [old] = kept(place)
    assert old.stat().st_mode & 0o7777 == 0o600


def test_too_much_is_lifted_only_by_force(place: Place, backup: Path) -> None:
    """Though the backup knows that they were lifted once; then no pass after it needs force."""
    empty = place.path / "empty"
    with open_store(place.database, write=True) as store:
        bans = [*store.bans.active(2)]
    place.treason("unban", "--all")
    place.treason("backup", str(empty))
    with open_store(place.database, write=True) as store:
        store.bans.add(bans)
    assert "19 of 19 enforced bans would be removed" in refused(place, empty)
    checked = place.treason("restore", str(empty), "--check")
    assert (checked.code, "19 to remove" in checked.out) == (1, True)
    result = place.treason("restore", str(empty), "--force")
    assert (result.code, result.err) == (0, "")
    assert not in_force()
    assert place.treason("reconcile").out == "nftables: in sync\n"


def test_what_a_restore_lifts_is_explained_in_its_history(place: Place, backup: Path) -> None:
    """By the backup's name."""
    place.treason("restore", str(backup))
    [event] = place.treason("history", str(network(20)), "-o", "json").json["events"]
    assert (event["action"], event["reason"]) == (
        "unban",
        "not in the backup that was restored: backup",
    )


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8192])


def _garble(path: Path) -> None:
    page(path, "bans", wipe)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1000")


def _text(path: Path) -> None:
    path.write_text("192.0.2.1\n" * 100)


def _everybody(path: Path) -> None:
    path.chmod(0o666)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_truncate, "damaged"),
        (_garble, "damaged"),
        (_empty, "is empty"),
        (_foreign, "was not created by treason"),
        (_newer, "schema 1000; this program knows up to"),
        (_text, "this is not an SQLite database"),
        (_everybody, "every user may write to this file"),
        (_directory, "is not a file"),
        (_missing, "No such file"),
    ],
)
def test_what_is_no_whole_backup_is_refused(
    place: Place, backup: Path, change: Callable[[Path], None], said: str
) -> None:
    """By force as well."""
    change(backup)
    assert said in refused(place, backup)
    assert said in refused(place, backup, "--force")


def test_a_working_directory_that_is_gone_is_told(
    place: Place, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative name leads nowhere then, even if the system follows its dots."""
    gone = place.path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "cannot read the backup: No such file" in refused(place, Path("..", backup.name))


@pytest.mark.skipif(not REAL_ROOT, reason="gives a file to another user")
def test_what_another_user_owns_is_not_believed(place: Place, backup: Path) -> None:
    """He may have written anything into it."""
    os.chown(backup, 65534, 65534)
    assert "it belongs to user 65534" in refused(place, backup, "--force")


def test_the_database_is_no_backup_of_itself(place: Place, backup: Path) -> None:
    """By no name."""
    (place.path / "link").symlink_to(place.database)
    for path in (place.database, place.path / "link"):
        assert "is the database itself" in refused(place, path)


def test_another_machines_database_needs_force(place: Place, backup: Path) -> None:
    """Then it takes the place of this one: the firewall is its own from then on."""
    other = place.path / "other"
    store_bans(other, 2, 22)
    assert "is a backup of another database" in refused(place, other)
    result = place.treason("restore", str(other), "--force")
    assert (result.code, result.err) == (0, "")
    assert banned(place.database) == {*range(2, 22)}
    assert place.treason("reconcile").out == "nftables: in sync\n"


def test_an_older_one_is_brought_up_to_date_in_the_copy(place: Place, backup: Path) -> None:
    """The file stays as it is."""
    with closing(sqlite3.connect(backup)) as database:
        take_back_seventh(database)
    before = backup.read_bytes()
    result = place.treason("restore", str(backup))
    assert (result.code, result.err) == (0, "")
    assert banned(place.database) == {*range(20)}
    assert backup.read_bytes() == before


@pytest.mark.parametrize("left", ["nothing", "no bytes", "damage", "half"])
def test_a_database_that_is_lost_is_replaced(place: Place, backup: Path, left: str) -> None:
    """The firewall tells whose it is; what is left of the old one is kept."""
    whole = place.database.read_bytes()
    place.database.unlink()
    if left != "nothing":
        content = {"no bytes": b"", "damage": b"x" * 5000, "half": whole[: len(whole) // 2]}[left]
        place.database.write_bytes(content)
    journal = place.database.with_name("treason.db-journal")
    journal.write_bytes(b"what belongs to the old one")
    result = place.treason("restore", str(backup))
    assert (result.code, result.err) == (0, "")
    assert banned(place.database) == {*range(20)}
    assert place.treason("reconcile", "--check").out == "nftables: in sync\n"
    assert not journal.exists()
    assert any(not path.name.endswith("-journal") for path in kept(place)) == (left != "nothing")


def test_who_waits_to_write_learns_that_it_was_replaced(place: Place, backup: Path) -> None:
    """What would be stored in the old one would be lost without a word."""
    with open_store(place.database, write=True) as store:
        assert place.treason("restore", str(backup)).code == 0
        with pytest.raises(StoreError, match="was replaced by another one meanwhile"):
            store.bans.add([Ban(network(30), 1, None, "manual", "")])
    assert banned(place.database) == {*range(20)}
    assert not place.database.with_name("treason.db-journal").exists()


def test_what_concerns_this_moment_stays(place: Place, backup: Path) -> None:
    """Whoever came through ssh since the backup is still protected."""
    client, now = Network.parse("203.0.113.77"), int(time.time())
    with open_store(place.database, write=True) as store:
        store.clients.remember(client, now + 3600, now)
        store.whitelists.remember(place.path / "x", "networks = []")
    place.treason("restore", str(backup))
    with open_store(place.database, write=False) as store:
        assert [*store.clients.active(now)] == [client]
        assert store.whitelists.text(place.path / "x") == "networks = []"


def test_what_feeds_say_stays(place: Place, backup: Path) -> None:
    """It is of now, whether the backup knows of feeds or not, and is not counted as removed."""
    path = place.path / "a" / "feed.db"
    path.parent.mkdir()
    place.configure(f'[feed.a]\ntype = "list"\npath = "/x"\nstore = "{path}"', main="sources = []")
    feedfiles.write(path, [FeedGroup(feedfiles.singles(100), "", "scans")])
    assert place.treason("reconcile").code == 0
    assert "2 to add, 1 to remove" in place.treason("restore", str(backup), "--check").out
    result = place.treason("restore", str(backup))
    assert (result.code, result.err) == (0, "")
    assert "2 added, 1 removed" in result.out
    assert drops("1.0.0.99", str(network(0)))
    assert place.treason("reconcile", "--check", "--full").out == "nftables: in sync\n"
    assert place.treason("feed", "list").code == 0


@pytest.mark.parametrize("lost", [False, True])
def test_a_pause_is_neither_begun_nor_ended(place: Place, backup: Path, lost: bool) -> None:
    """The one there is stays, with its end; the one in the backup is over."""
    assert place.treason("pause", "--for", "1h").code == 0
    paused = place.path / "marked"
    place.treason("backup", str(paused))
    restored = place.treason("restore", str(backup))
    assert (restored.code, "paused until" in restored.out) == (0, True), restored
    assert not in_force()
    assert "paused until" in place.treason("reconcile").out
    place.treason("resume")
    assert drops(*(str(network(i)) for i in range(20)))
    if lost:
        place.database.unlink()
    result = place.treason("restore", str(paused))
    assert result.code == 0, result.err
    assert "paused" not in result.out
    assert drops(str(network(2)))


def test_who_offended_since_is_banned_again_once(place: Place, nft: Nft) -> None:
    """Sources are read on from where they were; each offence is stored once."""
    log = place.path / "kern.log"
    configure(place)
    log.write_text(LINE.format("[ 1.000001] ", "192.0.2.1") + LINE.format("", "192.0.2.2"))
    place.treason("reconcile")
    backup = place.path / "backup"
    place.treason("backup", str(backup))
    with log.open("a") as more:
        more.write(LINE.format("[ 3.000001] ", "192.0.2.3") + LINE.format("", "192.0.2.4"))
    place.treason("reconcile")
    assert place.treason("restore", str(backup)).code == 0
    assert ", 2 new bans" in place.treason("reconcile").out
    assert drops("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
    with closing(sqlite3.connect(place.database)) as database:
        assert database.execute("SELECT count(*) FROM offences").fetchone() == (4,)


def test_a_full_disk_changes_nothing(place: Place, nft: Nft) -> None:
    """And leaves nothing."""
    disk = place.path.with_name(f"{place.path.name}-disk")
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(disk)])
    try:
        here = Place(disk, place.capture)
        here.configure(main="sources = []")
        store_bans(here.database, 0, 4000)
        backup = place.path / "backup"
        assert here.treason("backup", str(backup)).code == 0
        before = here.database.read_bytes()
        result = here.treason("restore", str(backup))
        assert (result.code, "the disk is full" in result.err) == (1, True)
        assert here.database.read_bytes() == before
        assert not [*left_behind(here), *map(str, kept(here))]
    finally:
        run(["umount", str(disk)])


def test_killed_at_any_moment_one_of_the_two_is_whole(place: Place, nft: Nft) -> None:
    """The old one or the new one, and what it says can be enforced."""
    place.configure(main="sources = []")
    store_bans(place.database, 0, 1000)
    backup = place.path / "backup"
    place.treason("backup", str(backup))
    store_bans(place.database, 1000, 1010)
    place.treason("reconcile")
    chance = random.Random(7)  # noqa: S311 - moments, no secrets
    whole = 2.0
    for _ in range(14):
        begun = time.monotonic()
        process = place.start("restore", str(backup))
        try:
            process.wait(chance.uniform(0.1, 1.1 * whole))
            whole = time.monotonic() - begun
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        found = banned(place.database)
        assert found in ({*range(1000)}, {*range(1010)})
        result = place.treason("reconcile", "--no-scan")
        assert (result.code, result.err) == (0, "")
        if len(found) == 1000:
            store_bans(place.database, 1000, 1010)
            place.treason("reconcile")
    assert place.treason("restore", str(backup)).code == 0
    assert banned(place.database) == {*range(1000)}
    assert left_behind(place) == []


def test_two_at_once_follow_each_other(place: Place, backup: Path) -> None:
    """Both are carried out, and each keeps what it replaced."""
    processes = [place.start("restore", str(backup)) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert banned(place.database) == {*range(20)}
    assert len(kept(place)) == 2
    assert place.treason("reconcile", "--check").out == "nftables: in sync\n"


def test_beside_a_daemon_it_is_in_force_and_stays(place: Place, nft: Nft) -> None:
    """The daemon goes on with the new database: offenders, bans by hand and repairs."""
    configure(place)
    store_bans(place.database, 0, 20)
    backup = place.path / "backup"
    place.treason("backup", str(backup))
    store_bans(place.database, 20, 23)
    with running(place) as resident:
        until(lambda: drops(str(network(22))))
        resident.offend("192.0.2.1")
        until(lambda: drops("192.0.2.1"))
        result = place.treason("restore", str(backup))
        assert result.code == 0, result.err
        assert not drops(str(network(20)))
        until(lambda: drops("192.0.2.1"), "who offended since is read again")
        resident.offend("192.0.2.9")
        until(lambda: drops("192.0.2.9"))
        until(lambda: "192.0.2.9" in place.treason("list").out)
        assert place.treason("ban", "192.0.2.10").out.endswith("in force: nftables\n")
        nft("delete table inet treason")
        until(lambda: drops(str(network(0)), "192.0.2.10", "192.0.2.9"))
        assert not drops(str(network(20)))
        assert resident.stop() == 0


def test_restored_beside_a_daemon_while_peers_offend(place: Place, nft: Nft) -> None:
    """Nobody who offends is lost, whatever moment it falls into."""
    configure(place)
    store_bans(place.database, 0, 20)
    backup = place.path / "backup"
    place.treason("backup", str(backup))
    with running(place) as resident:
        process = place.start("restore", str(backup), "--force")
        number, end = 0, time.monotonic() + PATIENCE
        while process.poll() is None or number < 50:
            assert time.monotonic() < end
            number += 1
            resident.offend(f"192.0.{number // 250}.{number % 250 + 1}")
            time.sleep(0.02)
        assert process.wait() == 0
        offenders = [f"192.0.{i // 250}.{i % 250 + 1}" for i in range(1, number + 1)]
        until(lambda: drops(*offenders))
        listed = place.treason("list").out
        assert all(f"{each}\t" in listed for each in offenders)


def test_a_daemon_ends_an_entry_of_the_whitelist_at_once(place: Place, nft: Nft) -> None:
    """Whoever is banned behind it is let through until then, and dropped after."""
    configure(place)
    place.treason("ban", "192.0.2.7")
    with running(place):
        until(lambda: drops("192.0.2.7"))
        added = place.treason("whitelist", "add", "192.0.2.7", "--for", "10s")
        assert added.code == 0, added.err
        assert not drops("192.0.2.7")
        until(lambda: drops("192.0.2.7"))
        assert "(ended)" in place.treason("whitelist", "list").out


def test_all_is_unbanned_beside_a_daemon(place: Place, nft: Nft) -> None:
    """Nothing is dropped when it returns, however many they were; new offenders are."""
    configure(place)
    store_bans(place.database, 0, 25_000)
    with running(place) as resident:
        until(lambda: len(in_force()) == 25_000)
        result = place.treason("unban", "--all")
        assert (result.code, result.out) == (0, "unbanned: 25,000 bans\nin force: nftables\n")
        assert not in_force()
        resident.offend("192.0.2.1")
        until(lambda: drops("192.0.2.1"))


def test_a_backup_beside_a_daemon_that_writes(place: Place, nft: Nft) -> None:
    """It is whole, and the daemon stores all the same."""
    configure(place)
    with running(place) as resident:
        for number in range(1, 6):
            resident.offend(*(f"192.0.2.{10 * number + i}" for i in range(10)))
            result = place.treason("backup", str(place.path / f"copy-{number}"))
            assert result.code == 0, result.err
        until(lambda: len(place.treason("list").out.splitlines()) == 50)


def test_the_program_says_what_it_is_for() -> None:
    """In its list of commands."""
    told = subprocess.run(
        [sys.executable, "-m", "reconciler", "--help"], capture_output=True, check=True, text=True
    ).stdout
    assert "Let a backup take the place of the database" in told
