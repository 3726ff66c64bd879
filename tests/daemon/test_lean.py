"""What the daemon does not load."""

import subprocess
import sys

LOADED = """\
import sys
import backends.nftables, backends.nftables.backend, backends.nftables.reflexes
import reconciler.daemon.resident, reconciler.store.store
print(*sorted(sys.modules))
"""


def test_what_explains_is_not_in_the_daemon() -> None:
    """One command asks for it: a resident process is to stay small."""
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "reconciler.daemon.resident" in loaded
    explaining = {"asking", "why", "lookup", "why_json", "doctor", "diagnosis", "dropped", "copies"}
    assert [name for name in loaded if name.rpartition(".")[2] in explaining] == []
