"""Replacing a file as a whole."""

import errno
import os
import stat
from pathlib import Path

import pytest
from harness import REAL_ROOT
from pytest_mock import MockerFixture

from reconciler import files


def test_a_new_file_gets_the_mode_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    """The umask does not matter."""
    path = tmp_path / "list"
    files.replace(path, "one\n", mode=0o644)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o640)
    files.replace(path, "two\n", mode=0o644)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (0o640, "two\n")


@pytest.mark.skipif(not REAL_ROOT, reason="only root can give files away")
def test_an_old_file_keeps_its_owner(tmp_path: Path) -> None:
    """Whoever owned it can still write it."""
    path = tmp_path / "list"
    path.touch()
    os.chown(path, 65534, 65534)
    files.replace(path, "x", mode=0o644)
    assert path.stat().st_uid == 65534


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file behind it is replaced, the link stays."""
    (tmp_path / "link").symlink_to(tmp_path / "list")
    files.replace(tmp_path / "link", "x", mode=0o644)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "list").read_text() == "x"


@pytest.mark.parametrize("call", ["os.fsync", "os.fchmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    """A full disk, for one."""
    path = tmp_path / "list"
    path.write_text("old")
    mocker.patch(call, side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, "new", mode=0o644)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("list", "old")]
