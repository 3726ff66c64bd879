"""An upgrade from an early 0.1.0: what it enforced stays enforced, and is in sync at once."""

import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT, SEED

from reconciler.execute import run

OLD = "0591579c5091c5487da27adf95205ab16e35082f"
"""A commit of 0.1.0, early in its making."""

CONFIG = """\
[treason]
database = "{0}/treason.db"
lock = "{0}/lock"
sources = ["file"]
backends = ["nftables", "ipset", "file:{0}/list"]
max_removals = 0.2
resync_interval = "30m"
min_prefix = {{ ipv4 = 12, ipv6 = 32 }}

[policy]
threshold = 1
ban_for = "12h"
escalate = 2.0

[[rule]]
name = "ufw-block"
threshold = 5

[source.file]
path = "{0}/kern.log"
trusted = true

[whitelist]
networks = ["172.16.0.0/12", {{ network = "198.51.100.7", comment = "office" }}]
"""
BANS = ["192.0.2.7", "2001:db8::7", "198.51.100.0/24", "2001:db8:7::/48", "172.16.5.0/24"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that 0.1.0 has worked in, with the code of 0.1.0 in ``old``."""
    archive = tmp_path / "old.tar"
    run(["git", "-C", str(ROOT), "archive", f"--output={archive}", OLD])
    with tarfile.open(archive) as files:
        files.extractall(tmp_path / "old", filter="data")
    (tmp_path / "kern.log").write_text(SEED)
    (tmp_path / "treason.toml").write_text(CONFIG.format(tmp_path))
    return tmp_path


def treason(place: Path, *arguments: str, old: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run the command line: that of 0.1.0, or this one."""
    return subprocess.run(
        [sys.executable, "-m", "reconciler", "--config", str(place / "treason.toml"), *arguments],
        cwd=place / "old" if old else ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def held(place: Path) -> dict[str, list[str]]:
    """Return what each firewall holds, without what counts packets."""
    return {
        "nftables": run(["nft", "--stateless", "list", "table", "inet", "treason"]).output.split(),
        "ipset": sorted(run(["ipset", "save"]).output.splitlines()),
        "file": [str((place / "list").stat()), *(place / "list").read_text().splitlines()],
    }


@pytest.fixture
def watched(host: None, place: Path) -> Iterator[Path]:
    """Listen to every change of the ruleset, and write it to ``events``."""
    with (place / "events").open("w") as events:
        monitor = subprocess.Popen(["nft", "monitor"], stdout=events, stderr=events)
    yield place
    monitor.terminate()
    monitor.wait()


def test_what_0_1_0_enforced_is_in_sync_and_never_lifted(watched: Path) -> None:
    """By the first check, the first pass, and the first that reads all.

    Each finds its backends in sync, so it changes none; nft's monitor and the file's times agree.
    """
    place = watched
    assert treason(place, "whitelist", "add", "203.0.113.9", old=True).returncode == 0
    assert treason(place, "ban", "--force", *BANS, old=True).returncode == 0
    assert treason(place, "ban", "192.0.2.9", "--for", "1h", old=True).returncode == 0
    assert treason(place, "unban", "192.0.2.7", old=True).returncode == 0
    done = treason(place, "reconcile", old=True)
    assert done.returncode == 0, done.stderr
    before, listed = held(place), treason(place, "list", "-o", "json", old=True).stdout
    assert len(before["file"]) > len(BANS)
    begun = (place / "events").stat().st_size
    assert begun

    for arguments in (["--check"], ["--check", "--full"], [], ["--full"], ["--check"]):
        done = treason(place, "reconcile", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count(": in sync") == 3
        assert "0 offences, 0 new bans" in done.stdout
    assert held(place) == before
    run(["nft", "add table inet marker"])
    deadline = time.monotonic() + 10
    while "add table inet marker" not in (told := (place / "events").read_text()[begun:]):
        assert time.monotonic() < deadline, "the monitor did not see the marker"
        time.sleep(0.01)
    assert "delete" not in told
    bans = json.loads(treason(place, "list", "-o", "json").stdout)
    assert [(each.pop("member"), each.pop("state")) for each in bans["bans"]] == [
        (None, None) for _ in bans["bans"]
    ]
    assert bans == json.loads(listed)
    assert treason(place, "config", "check").returncode == 0
