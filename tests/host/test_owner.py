"""Root becomes the owner of a directory, for good."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT, ROOT

SCRIPT = """
import json, os, sys
from pathlib import Path
from reconciler.host import owner
more = owner.become(Path(sys.argv[1]))
try:
    os.setuid(0)
    back = True
except OSError:
    back = False
status = Path("/proc/self/status").read_text()
caps = [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))]
print(json.dumps([more, os.getresuid(), os.getresgid(), os.getgroups(), back, caps]))
"""


def become(directory: Path) -> list[object]:
    """Become its owner in a process of its own, and try to be root again."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, directory], check=True, capture_output=True, cwd=ROOT
    )
    found: list[object] = json.loads(run.stdout)
    return found


@pytest.mark.skipif(not REAL_ROOT, reason="only root of the machine can become others")
def test_root_becomes_the_owner_and_nothing_else(tmp_path: Path) -> None:
    """User, group, no other group and no capability; also of what is below and not there yet."""
    os.chown(tmp_path, 4711, 4712)
    for directory in (tmp_path, tmp_path / "not" / "yet"):
        more, users, groups, others, back, capabilities = become(directory)
        assert (more, users, groups, others) == (False, [4711] * 3, [4712] * 3, [4712])
        assert back is False
        assert capabilities == ["0000000000000000"] * 2


def test_what_root_owns_is_left_to_root(tmp_path: Path) -> None:
    """It is said, as nothing protects the machine from the feed then."""
    more, users, *_ = become(tmp_path)
    assert more is (os.geteuid() == 0)
    assert users == [os.geteuid()] * 3 or os.geteuid() != 0
