"""Whose a backend's objects are."""

from pathlib import Path

import pytest

from reconciler.planning.ownership import Owner, identity_of, tells_of


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two databases that are there."""
    paths = tmp_path / "a.db", tmp_path / "b.db"
    for path in paths:
        path.touch()
    return paths


def test_nobody_and_oneself_are_no_other(files: tuple[Path, Path]) -> None:
    """What is not noted is free."""
    ours = Owner("1", files[0])
    for noted in ("", ours.note):
        assert ours.contested("it", noted) is None


def test_another_database_is_named_with_the_way_out(files: tuple[Path, Path]) -> None:
    """By its path, and so is this one."""
    before, after = files
    refused = Owner("2", after).contested("it", Owner("1", before).note)
    assert refused is not None
    assert f"another database {before}; this one is {after}" in refused.what
    assert "--force" in refused.hint
    same = Owner("2", before).contested("it", Owner("1", before).note)
    assert same is not None
    assert f"another database that was at this path before; this one is {before}" in same.what


@pytest.mark.parametrize("name", ["a.db", "josé.db", 'a"\\\n\t.db', "x" * 150 + ".db"])
def test_a_copy_is_another_and_a_moved_one_is_not(name: str, tmp_path: Path) -> None:
    """What it was copied from is still there; links to one file are one."""
    before, after = tmp_path / "before.db", tmp_path / name
    before.touch()
    after.touch()
    for noted, ours in ((before, after), (after, before)):
        copied = Owner("1", ours).contested("it", Owner("1", noted).note)
        assert copied is not None
        assert "a copy of this database" in copied.what
    after.unlink()
    after.hardlink_to(before)
    assert Owner("1", after).contested("it", Owner("1", before).note) is None
    before.unlink()
    assert Owner("1", after).contested("it", Owner("1", before).note) is None


@pytest.mark.parametrize("noted", ["x", "2", "1 2", "1 2 /a", " ", "comment of a stranger"])
def test_a_note_that_nobody_wrote_so_is_anothers(noted: str, files: tuple[Path, Path]) -> None:
    """Nothing is guessed from it."""
    assert Owner("1", files[0]).contested("it", noted) is not None


@pytest.mark.parametrize("name", ['a"b\\\n\té€.db', "x" * 300, "\udcff"])
def test_a_note_is_short_and_plain(name: str) -> None:
    """Whatever the path is: it stands in a comment of nft, quoted."""
    owner = Owner("0123456789abcdef", Path("/var/lib") / name)
    assert len(owner.note) <= 120
    assert owner.note.isascii()
    assert owner.note.isprintable()
    assert not set('"\\') & set(owner.note)
    assert owner.contested("it", owner.note) is None


def test_what_is_noted_tells_of_a_database_that_was_here(files: tuple[Path, Path]) -> None:
    """Nothing, this path, and one that is gone do; another one that is there, or any, does not."""
    here, other = files
    noted = Owner("1", other).note
    assert [tells_of(each, here) for each in ("", Owner("1", here).note)] == [True, True]
    assert [tells_of(each, here) for each in (noted, "1")] == [False, False]
    other.unlink()
    assert tells_of(noted, here)
    assert (identity_of(Owner("7", here).note, here), identity_of(noted, here)) == ("7", "")
