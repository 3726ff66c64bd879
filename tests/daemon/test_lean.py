"""What the daemon does not load."""

import subprocess
import sys
from pathlib import Path

LOADED = """\
import backends.nftables, backends.nftables.backend, backends.nftables.reflexes
import reconciler.daemon.resident, reconciler.store.store
"""


FOLLOWED = """\
from reconciler.config.setup import Setup
setup = Setup(sys.argv[1])
assert len(setup.feed_files) == len(setup.publishing) == 1
"""


def loaded(code: str, *arguments: str) -> list[str]:
    """Return the modules that are loaded by then."""
    command = [sys.executable, "-c", f"import sys\n{code}print(*sorted(sys.modules))", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_what_explains_is_not_in_the_daemon() -> None:
    """One command asks for it: a resident process is to stay small."""
    modules = loaded(LOADED)
    assert "reconciler.daemon.resident" in modules
    explaining = {"asking", "why", "lookup", "why_json", "doctor", "diagnosis", "dropped", "copies"}
    assert [name for name in modules if name.rpartition(".")[2] in explaining] == []


def test_what_reads_feeds_is_not_in_the_daemon(tmp_path: Path) -> None:
    """A child does, and judges what it reads; the daemon knows which files there are."""
    config = tmp_path / "treason.toml"
    config.write_text('[feed.a]\ntype = "list"\npath = "/nowhere"\npublish = ["zero-window"]\n')
    modules = loaded(LOADED + FOLLOWED, str(config))
    assert "reconciler.feeds.token" in modules
    reading = {"reading", "writing", "engine", "taking", "outbox", "list"}
    found = [each for each in modules if each.startswith(("reconciler.feeds", "feeds"))]
    assert [each for each in found if each.rpartition(".")[2] in reading] == []
