"""The lock that keeps two passes apart."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT

from reconciler.errors import LockError
from reconciler.execute import run
from reconciler.host.lock import held


def test_a_second_holder_waits_and_is_then_refused(tmp_path: Path) -> None:
    """The refusal names the file and how long it waited; afterwards the lock is free."""
    path = tmp_path / "run" / "lock"
    with held(path, 0), pytest.raises(LockError, match="another pass") as refused, held(path, 0.05):
        pass
    assert "0.05 s" in refused.value.hint
    with held(path, 0):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not REAL_ROOT, reason="mounting a file system needs root")
def test_a_lock_on_a_read_only_disk_keeps_passes_apart(tmp_path: Path) -> None:
    """Where it is there already; where it is missing, the refusal says why."""
    run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)])
    try:
        with held(tmp_path / "lock", 0):
            pass
        run(["mount", "-o", "remount,ro", str(tmp_path)])
        lock = tmp_path / "lock"
        with held(lock, 0), pytest.raises(LockError, match="another pass"), held(lock, 0):
            pass
        with pytest.raises(LockError, match="Read-only file system"), held(tmp_path / "no", 0):
            pass
    finally:
        run(["umount", str(tmp_path)])


HOLDER = """\
import sys
from pathlib import Path
from reconciler.execute import run
from reconciler.host.lock import held
with held(Path(sys.argv[1]), 0):
    run(sys.argv[2:])
"""


def test_a_program_of_a_killed_pass_holds_the_lock_until_its_end(tmp_path: Path) -> None:
    """What still changes the firewall is waited for; what a pass left running is not."""
    path, started = tmp_path / "lock", tmp_path / "started"
    os.mkfifo(started)
    busy = ["sh", "-c", f"echo $$ >{started}; exec sleep 60"]
    killed = subprocess.Popen([sys.executable, "-c", HOLDER, path, *busy])
    orphan = int(started.read_text())
    killed.kill()
    killed.wait()
    with pytest.raises(LockError, match="another pass"), held(path, 0):
        pass
    os.kill(orphan, signal.SIGKILL)
    with held(path, 10):
        pass
    leaving = ["sh", "-c", f"sleep 60 & echo $! >{started}"]
    done = subprocess.Popen([sys.executable, "-c", HOLDER, path, *leaving])
    left = int(started.read_text())
    assert done.wait(10) == 0
    with held(path, 0):
        os.kill(left, signal.SIGKILL)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Who can write to the directory cannot make root open another file."""
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(LockError, match="cannot create the lock"), held(tmp_path / "lock", 0):
        pass
    assert not (tmp_path / "victim").exists()
