"""Whose a backend's objects are."""

from pathlib import Path

import pytest

from reconciler.planning.ownership import contested, note


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two databases that are there."""
    paths = tmp_path / "a.db", tmp_path / "b.db"
    for path in paths:
        path.touch()
    return paths


def test_nobody_and_oneself_are_no_other(files: tuple[Path, Path]) -> None:
    """Nor is a database that has no identity yet."""
    ours = note("1", files[0])
    assert note("", files[0]) == ""
    for noted, own in (("", ours), (ours, ""), (ours, ours)):
        assert contested("it", noted, own) is None


def test_another_database_is_named_with_the_way_out(files: tuple[Path, Path]) -> None:
    """By its path, and so is this one."""
    refused = contested("it", note("1", files[0]), note("2", files[1]))
    assert refused is not None
    assert f"another database {files[0]}; this one is {files[1]}" in refused.what
    assert "--force" in refused.hint
    same = contested("it", note("1", files[0]), note("2", files[0]))
    assert same is not None
    assert f"another database, which was at {files[0]}" in same.what


def test_a_copy_is_another_and_a_moved_one_is_not(files: tuple[Path, Path]) -> None:
    """What it was copied from is still there; links to one file are one."""
    before, after = files
    copied = contested("it", note("1", before), note("1", after))
    assert copied is not None
    assert "a copy of this database" in copied.what
    after.unlink()
    after.hardlink_to(before)
    assert contested("it", note("1", before), note("1", after)) is None
    before.unlink()
    assert contested("it", note("1", before), note("1", after)) is None


@pytest.mark.parametrize("name", ['a"b\\\n\té€.db', "x" * 300])
def test_a_note_is_short_and_plain(name: str) -> None:
    """Whatever the path is: it stands in a comment of nft, quoted."""
    told = note("0123456789abcdef", Path("/var/lib") / name)
    assert len(told) <= 120
    assert told.isascii()
    assert told.isprintable()
    assert not set('"\\') & set(told)
    assert contested("it", told, told) is None
