"""The lock that keeps two passes apart."""

import stat
from pathlib import Path

import pytest

from reconciler.errors import LockError
from reconciler.host.lock import held


def test_a_second_holder_waits_and_is_then_refused(tmp_path: Path) -> None:
    """The refusal names the file and how long it waited; afterwards the lock is free."""
    path = tmp_path / "run" / "lock"
    with held(path, 0), pytest.raises(LockError, match="another pass") as refused, held(path, 0.05):
        pass
    assert "0.05 s" in refused.value.hint
    with held(path, 0):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Who can write to the directory cannot make root open another file."""
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(LockError, match="cannot create the lock"), held(tmp_path / "lock", 0):
        pass
    assert not (tmp_path / "victim").exists()
