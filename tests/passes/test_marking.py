"""Whose a list is: known by what was written last, and not by its looks."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Place, take_back_seventh
from pytest_mock import MockerFixture

from reconciler.errors import StoreError
from reconciler.store.marks import Marks
from reconciler.store.store import open_store

ONE, TWO, MINE = "198.51.100.1\n", "198.51.100.2\n", "192.0.2.77\n192.0.2.78\n192.0.2.79\n"
REFUSED = """\
treason: file: {}: it was not written by this database, so it is left as it is
  move it away; to replace what it holds: treason reconcile --backend file --adopt
"""
KILLED = """\
import os, signal, sys
from reconciler import files
from reconciler.cli.main import main
real = files.replace

def replace(*given, **more):
    if {after}:
        real(*given, **more)
    os.kill(os.getpid(), signal.SIGKILL)

files.replace = replace
main()
"""


@pytest.fixture
def listed(place: Place) -> Path:
    """The list that the configuration names, and one stored ban."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    place.treason("ban", ONE.strip())
    return place.path / "list"


def made(place: Place, *arguments: str) -> int:
    """Make a pass, and return its exit code."""
    return place.treason("reconcile", "--no-scan", *arguments).code


def aged(place: Place, *, pause: bool = True) -> None:
    """Let the database be as the version before marks left it; bans began at different times."""
    with sqlite3.connect(place.database) as database:
        take_back_seventh(database)
        if pause:
            database.execute("UPDATE bans SET since = since - 100")
    database.close()


@pytest.mark.parametrize("text", [MINE, f"# by hand\n{MINE}", f"{ONE}192.0.2.77\n", ONE + TWO])
def test_a_list_that_was_not_written_is_left_alone(place: Place, listed: Path, text: str) -> None:
    """Also with --force, by a check and by teardown; the message says how to adopt it."""
    listed.write_text(text)
    for command in (
        ["reconcile", "--no-scan"],
        ["reconcile", "--no-scan", "--force"],
        ["reconcile", "--no-scan", "--check"],
        ["teardown"],
    ):
        refused = place.treason(*command)
        assert (refused.code, refused.err.splitlines()) == (1, REFUSED.format(listed).splitlines())
    assert "was not written by this database" in place.treason("status").out
    assert listed.read_text() == text
    assert made(place, "--adopt", "--check") == 2
    assert listed.read_text() == text
    assert made(place, "--adopt") == 0
    assert listed.read_text() == ONE
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)
    assert (place.treason("teardown").code, listed.exists()) == (0, False)


def test_what_is_equal_by_chance_is_not_ours(place: Place, listed: Path) -> None:
    """It is in sync, until it would have to be changed; who adopts it may change it."""
    listed.write_text(ONE)
    assert made(place) == 0
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (1, ONE)
    place.treason("unban", TWO.strip())
    assert made(place, "--adopt") == 0
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


@pytest.mark.parametrize("text", [None, "", "\n \n", ONE])
def test_where_nothing_can_be_lost_our_list_is_mended(
    place: Place, listed: Path, text: str | None
) -> None:
    """It is gone, or blank, or lacks some of what we wrote."""
    place.treason("ban", TWO.strip())
    assert made(place) == 0
    if text is None:
        listed.unlink()
    else:
        listed.write_text(text)
    assert made(place, "--check") == 2
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


@pytest.mark.parametrize("text", [f"{ONE}192.0.2.77\n", f"# mine\n{ONE}", MINE])
def test_what_somebody_changed_later_is_left_alone(place: Place, listed: Path, text: str) -> None:
    """Though we wrote it once."""
    assert made(place) == 0
    listed.write_text(text)
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, listed.read_text()) == (1, text)
    assert "somebody else has changed it since this database wrote it" in refused.err


def test_the_others_go_on(host: None, place: Place, listed: Path, nft: Callable[..., str]) -> None:
    """A refused list keeps no firewall from enforcing."""
    listed.write_text(MINE)
    assert made(place, "--backend", "file", "--backend", "nftables") == 1
    assert ONE.strip() in nft("list set inet treason banned4")


def test_a_link_and_another_name_are_the_same_list(place: Place, listed: Path) -> None:
    """The mark is that of the file, however people name it."""
    assert made(place) == 0
    place.treason("ban", TWO.strip())
    link = place.path / "link"
    link.symlink_to(listed)
    assert made(place, "--backend", f"file:{link}") == 0
    assert listed.read_text() == ONE + TWO


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("old", [None, ONE, MINE])
def test_a_killed_pass_is_gone_on_with(
    place: Place, listed: Path, old: str | None, after: bool
) -> None:
    """Between the mark and the replacing, and right behind that; the bans change once more."""
    if old == MINE:
        listed.write_text(MINE)
    elif old:
        assert made(place) == 0
    place.treason("ban", TWO.strip())
    arguments = ["--config", str(place.config), "reconcile", "--no-scan", "--adopt"]
    died = subprocess.run(
        [sys.executable, "-c", KILLED.format(after=after), *arguments], check=False
    )
    assert died.returncode == -9
    left = listed.read_text() if listed.exists() else None
    assert left == (ONE + TWO if after else old)
    place.treason("ban", "198.51.100.3")
    place.treason("unban", ONE.strip())
    assert made(place) == 0
    assert listed.read_text() == f"{TWO}198.51.100.3\n"


def test_without_a_mark_nothing_is_written(
    place: Place, listed: Path, mocker: MockerFixture
) -> None:
    """Or the next pass would not know it again."""
    assert made(place) == 0
    place.treason("ban", TWO.strip())
    full = mocker.patch.object(Marks, "keep", side_effect=StoreError("the disk is full", "free"))
    refused = place.treason("reconcile", "--no-scan")
    assert (refused.code, listed.read_text()) == (1, ONE)
    assert "the database cannot note what is to be written: the disk is full" in refused.err
    mocker.stop(full)
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


def test_what_was_written_last_needs_no_other_mark(
    place: Place, listed: Path, mocker: MockerFixture
) -> None:
    """A list that got lost is written again though the database cannot be written."""
    assert made(place) == 0
    listed.unlink()
    full = mocker.patch.object(Marks, "keep", side_effect=StoreError("the disk is full", "free"))
    assert (made(place), listed.read_text()) == (0, ONE)
    mocker.stop(full)
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


def test_what_an_older_version_wrote_is_adopted(place: Place, listed: Path) -> None:
    """Untouched if it is in sync."""
    made(place)
    aged(place)
    before = listed.stat()
    assert made(place, "--check") == 0
    assert made(place) == 0
    assert listed.stat() == before
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


def test_what_changed_around_the_upgrade_does_not_matter(place: Place, listed: Path) -> None:
    """The list is of a time that bans and history tell of."""
    place.treason("ban", "198.51.100.9")
    made(place)
    aged(place)
    place.treason("unban", "198.51.100.9")
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)


@pytest.mark.parametrize("text", [MINE, ONE + MINE, TWO, f"{ONE}# mine\n"])
def test_what_no_older_version_can_have_written_is_refused(
    place: Place, listed: Path, text: str
) -> None:
    """It holds what was never banned, or lacks what was banned all the time."""
    place.treason("ban", TWO.strip(), "198.51.100.3")
    aged(place)
    listed.write_text(text)
    assert (made(place), listed.read_text()) == (1, text)


def test_a_new_database_has_nothing_to_adopt(place: Place, listed: Path, tmp_path: Path) -> None:
    """Only one that was migrated has written without marks."""
    with open_store(place.database, write=True) as store:
        assert not store.marks.upgraded
    aged(place)
    with open_store(place.database, write=True) as store:
        assert store.marks.upgraded
    with open_store(tmp_path / "new.db", write=True) as store:
        assert not store.marks.upgraded


def test_two_databases_do_not_alternate(place: Place, listed: Path, tmp_path: Path) -> None:
    """The second one is refused, and so is a copy that is used beside its original."""
    assert made(place) == 0
    other, third = (Place(tmp_path / name, place.capture) for name in ("other", "third"))
    for each in (other, third):
        each.path.mkdir(mode=0o700)
        each.configure(f'[backend.file]\npath = "{listed}"', main='backends = ["file"]')
    other.database.write_bytes(place.database.read_bytes())
    place.treason("ban", TWO.strip())
    assert made(place) == 0
    other.treason("unban", ONE.strip())
    assert (made(other), made(place), listed.read_text()) == (1, 0, ONE + TWO)
    third.treason("ban", "203.0.113.9")
    assert (made(third), made(place), listed.read_text()) == (1, 0, ONE + TWO)


def test_a_move_respects_it_too(host: None, place: Place, listed: Path) -> None:
    """Nobody's list is moved to or removed; our own is known by the next pass."""
    assert made(place, "--backend", "nftables") == 0
    listed.write_text(MINE)
    there = ["migrate", "--from", "nftables", "--to", "file"]
    assert (place.treason(*there).code, listed.read_text()) == (1, MINE)
    listed.unlink()
    assert (place.treason(*there).code, listed.read_text()) == (0, ONE)
    place.treason("ban", TWO.strip())
    assert (made(place), listed.read_text()) == (0, ONE + TWO)
    back = ["migrate", "--from", "file", "--to", "nftables"]
    listed.write_text(MINE)
    assert (place.treason(*back).code, listed.read_text()) == (1, MINE)


def test_teardown_needs_no_database_where_nothing_is_in_doubt(
    host: None, place: Place, listed: Path, nft: Callable[..., str]
) -> None:
    """A damaged one keeps the list, which nobody can tell whose it is, and nothing else."""
    assert made(place, "--backend", "file", "--backend", "nftables") == 0
    place.database.write_text("no database")
    torn = place.treason("teardown", "--backend", "file", "--backend", "nftables")
    assert (torn.code, listed.exists()) == (1, True)
    assert "not an SQLite database" in torn.err
    assert "treason" not in nft("list tables")
    listed.unlink()
    assert place.treason("teardown").code == 0
