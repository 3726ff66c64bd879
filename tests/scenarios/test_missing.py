"""What is gone, emptied or somebody else's is not taken for nothing: database and whitelist."""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place

Nft = Callable[..., str]
BANS = [f"198.51.100.{number}" for number in range(1, 10)]


def remove(database: Path) -> None:
    """Let it be gone."""
    database.unlink()


def empty(database: Path) -> None:
    """Let nothing be left of it but its name."""
    database.write_bytes(b"")


def make_anew(database: Path) -> None:
    """Let an SQLite database without anything in it stand in its place."""
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM")
    assert database.stat().st_size > 0


lost = pytest.mark.parametrize("lose", [remove, empty, make_anew])


@lost
@pytest.mark.parametrize("backend", ["nftables", "ipset", "iptables", "file"])
def test_a_database_that_is_gone_removes_nothing(
    lose: Callable[[Path], None], backend: str, host: None, place: Place
) -> None:
    """However few bans there were: no command begins another one; with it all goes on."""
    chosen = f"file:{place.path}/list" if backend == "file" else backend
    place.configure(main=f'backends = ["{chosen}"]')
    place.treason("ban", *BANS)
    assert place.treason("reconcile", "--no-scan").code == 0
    copy = place.database.read_bytes()
    lose(place.database)
    before = place.snapshot()
    for command in (
        ["reconcile", "--no-scan"],
        ["reconcile", "--no-scan", "--force"],
        ["reconcile", "--no-scan", "--check"],
        ["ban", "203.0.113.9"],
        ["unban", "198.51.100.1"],
        ["list"],
        ["status"],
        ["init"],
    ):
        refused = place.treason(*command)
        assert (refused.code, "but there was one: " in refused.err) == (1, True), command
        assert "treason init --new-database" in refused.err
    assert place.snapshot() == before
    place.database.write_bytes(copy)
    assert place.treason("reconcile", "--no-scan", "--check").code == 0


@lost
def test_a_new_one_is_begun_on_purpose(
    lose: Callable[[Path], None], place: Place, nft: Nft
) -> None:
    """It takes the place of the lost one; where there is one, nothing is begun."""
    place.treason("ban", *BANS)
    place.treason("reconcile", "--no-scan")
    refused = place.treason("init", "--new-database")
    assert (refused.code, "there is a database already" in refused.err) == (1, True)
    lose(place.database)
    assert place.treason("init", "--new-database").code == 0
    place.treason("ban", "203.0.113.9")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "elements = { 203.0.113.9 }" in nft("list set inet treason banned4")


def test_a_file_beside_the_lock_tells_of_it_when_the_table_is_gone(place: Place, nft: Nft) -> None:
    """Another database under the same lock is told of by another file."""
    place.treason("ban", *BANS)
    place.treason("reconcile", "--no-scan")
    nft("flush ruleset")
    place.database.unlink()
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, ".database tells of it" in refused.err) == (1, True)
    place.config.write_text(place.config.read_text().replace("treason.db", "other.db"))
    assert place.treason("reconcile", "--no-scan").code == 0


def test_a_list_of_somebody_else_is_no_trace(place: Place) -> None:
    """The first run begins with nothing, and leaves it alone until it is to be adopted."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    listed = place.path / "list"
    listed.write_text("192.0.2.1\n192.0.2.2\n")
    assert place.treason("ban", "203.0.113.9").code == 0
    assert place.treason("reconcile", "--no-scan").code == 1
    assert listed.read_text() == "192.0.2.1\n192.0.2.2\n"
    assert place.treason("reconcile", "--no-scan", "--adopt").code == 0
    assert listed.read_text() == "203.0.113.9\n"


def test_a_first_run_begins_with_nothing_unless_it_is_told_not_to(place: Place, nft: Nft) -> None:
    """As the installed units do, whose disk may not be mounted yet."""
    for empty_one in (False, True):
        if empty_one:
            place.database.touch()
        refused = place.treason("reconcile", "--no-scan", "--no-create")
        assert (refused.code, "is not to be created here" in refused.err) == (1, True)
        assert (place.database.exists(), nft("list ruleset")) == (empty_one, "")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--no-scan", "--no-create").code == 0


def test_an_emptied_one_is_not_moved_to_another_backend(place: Place, nft: Nft) -> None:
    """The new one would drop nobody."""
    place.database.touch()
    result = place.treason("migrate", "--from", "nftables", "--to", f"file:{place.path}/list")
    assert (result.code, "there is no database, or an empty one" in result.err) == (1, True)


@pytest.mark.parametrize(
    "gone",
    [
        Path.unlink,
        lambda path: path.write_text(" \n"),
        lambda path: path.write_text(path.read_text().splitlines(keepends=True)[0]),
        lambda path: path.write_text("# networks = []"),
    ],
)
def test_a_whitelist_that_is_gone_is_not_empty(
    gone: Callable[[Path], object], place: Place, nft: Nft
) -> None:
    """Nobody in it is dropped; adding and removing write all of it anew."""
    path = place.path / "whitelist.toml"
    place.treason("ban", "198.51.100.0/24")
    place.treason("whitelist", "add", "198.51.100.7", "--comment", "office")
    place.treason("whitelist", "add", "198.51.100.8")
    place.treason("reconcile", "--no-scan")
    ruleset = nft("list ruleset")
    for change in (["add", "198.51.100.9"], ["remove", "192.0.2.1"]):
        gone(path)
        for command in (
            ["reconcile", "--no-scan"],
            ["reconcile", "--no-scan", "--check"],
            ["ban", "198.51.100.8"],
            ["whitelist", "list"],
            ["config", "check"],
            ["status"],
        ):
            refused = place.treason(*command)
            assert (refused.code, "but held" in refused.err) == (1, True), command
        assert nft("list ruleset") == ruleset
        assert place.treason("whitelist", *change).code == 0
    listed = place.treason("whitelist", "list").out
    assert "198.51.100.7\toffice\tpermanent\n198.51.100.8\t\tpermanent\n198.51.100.9" in listed
    path.write_text("networks = []\n")
    assert place.treason("reconcile", "--no-scan").code == 0
    path.unlink()
    assert place.treason("reconcile", "--no-scan").code == 0


@lost
def test_with_the_database_gone_too_it_cannot_be_told(
    lose: Callable[[Path], None], place: Place, host: None
) -> None:
    """What only reads the configuration says so; without any trace there is nothing to say."""
    for command in (["config", "check"], ["whitelist", "list"]):
        assert place.treason(*command).err == ""
    place.treason("ban", *BANS)
    place.treason("reconcile", "--no-scan")
    lose(place.database)
    for command in (["config", "check"], ["whitelist", "list"]):
        told = place.treason(*command)
        assert (told.code, "cannot tell whether whitelist entries are missing" in told.err) == (
            0,
            True,
        )


def test_a_whitelist_that_no_database_knows_is_told_of_beside_the_lock(
    place: Place, host: None
) -> None:
    """What it held is not to be told, so nothing is written in its place."""
    path = place.path / "whitelist.toml"
    place.treason("whitelist", "add", "198.51.100.7")
    place.treason("reconcile", "--no-scan")
    place.database.unlink()
    path.unlink()
    place.treason("init", "--new-database")
    for command in (["reconcile", "--no-scan"], ["whitelist", "add", "198.51.100.9"]):
        refused = place.treason(*command)
        assert (refused.code, "this database does not know" in refused.err) == (1, True)
    assert not path.exists()


def test_the_whitelist_stands_beside_the_file_that_a_link_leads_to(
    place: Place, host: None
) -> None:
    """One beside the link, where it was looked for once, is not passed over."""
    real = place.path / "real"
    real.mkdir()
    place.config.rename(real / "treason.toml")
    place.config.symlink_to(real / "treason.toml")
    assert place.treason("whitelist", "add", "198.51.100.7").code == 0
    assert "198.51.100.7" in (real / "whitelist.toml").read_text()
    beside = place.path / "whitelist.toml"
    beside.symlink_to(real / "whitelist.toml")
    assert "198.51.100.7" in place.treason("whitelist", "list").out
    beside.unlink()
    beside.write_text('networks = ["198.51.100.8"]\n')
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, "beside the file that it leads to" in refused.err) == (1, True)


@pytest.mark.parametrize("name", ["whitelist.toml", "treason.toml", "treason.db"])
def test_a_link_that_leads_to_itself_is_an_error(name: str, place: Place, host: None) -> None:
    """Of whichever file, with every command that looks at it; it is told in words."""
    path = place.path / name
    path.unlink(missing_ok=True)
    path.symlink_to(path)
    for command in (
        ["reconcile"],
        ["config", "check"],
        ["whitelist", "list"],
        ["ban", "192.0.2.7"],
    ):
        told = place.treason(*command)
        assert "Too many levels of symbolic links" in told.out + told.err, command


@pytest.mark.skipif(not REAL_ROOT, reason="files of other users")
@pytest.mark.parametrize("name", ["whitelist.toml", "treason.toml", "treason.db"])
def test_what_every_user_may_write_is_not_believed(name: str, place: Place, nft: Nft) -> None:
    """The whitelist, the configuration and the database; what is enforced stays."""
    place.treason("ban", "198.51.100.7")
    place.treason("whitelist", "add", "192.0.2.1")
    place.treason("reconcile", "--no-scan")
    ruleset = nft("list ruleset")
    (place.path / name).chmod(0o666)
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, "every user may write" in refused.err) == (1, True)
    assert nft("list ruleset") == ruleset
    (place.path / name).chmod(0o644)
    assert place.treason("reconcile", "--no-scan").code == 0


@pytest.mark.skipif(not REAL_ROOT, reason="files of other users")
def test_a_whitelist_of_somebody_else_is_not_believed(place: Place, nft: Nft) -> None:
    """One of the configuration's owner is."""
    place.treason("ban", "198.51.100.7")
    place.treason("reconcile", "--no-scan")
    ruleset = nft("list ruleset")
    path = place.path / "whitelist.toml"
    path.write_text('networks = ["0.0.0.0/0"]\n')
    os.chown(path, 65534, 65534)
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, "belongs to user 65534" in refused.err) == (1, True)
    assert nft("list ruleset") == ruleset
    os.chown(place.config, 65534, 65534)
    assert place.treason("reconcile", "--no-scan").code == 0


@pytest.mark.parametrize("command", [["list"], ["reconcile", "--check"], ["ban", "192.0.2.7"]])
def test_where_no_trace_can_be_looked_for_nothing_is_taken_for_new(
    place: Place, command: list[str]
) -> None:
    """As for an ordinary user, who may not look beside the lock of root's."""
    (place.path / "loop").symlink_to("loop")
    text = place.config.read_text()
    place.config.write_text(re.sub('lock = ".*"', f'lock = "{place.path}/loop/lock"', text))
    assert "/loop/lock" in place.config.read_text()
    result = place.treason(*command)
    assert (result.code, result.out) == (1, "")
    assert f"{place.path}/loop: cannot look for the trace of a database there" in result.err
    assert not place.database.exists()
