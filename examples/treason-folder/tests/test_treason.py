"""From what a member writes to what is dropped here."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

TREASON = Path(sys.executable).with_name("treason")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A configuration that names the folder, and a list of what is dropped."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "EPOCH").write_text("one\n")
    (folder / "alpha.bans").write_text("192.0.2.7 - probes\n10.0.0.1 -\n")
    (tmp_path / "treason.toml").write_text(
        f'[treason]\ndatabase = "{tmp_path}/treason.db"\nlock = "{tmp_path}/lock"\n'
        f'sources = []\nbackends = ["file"]\n[backend.file]\npath = "{tmp_path}/dropped"\n'
        f'[feed.friends]\ntype = "folder"\npath = "{folder}"\nstore = "friends/feed.db"\n'
        'name = "ours"\npublish = ["manual"]\n'
    )
    return tmp_path


def treason(place: Path, *arguments: str) -> list[str]:
    """Return the command line that runs treason there."""
    return [str(TREASON), "--config", str(place / "treason.toml"), *arguments]


def dropped(place: Path) -> list[str]:
    """Return what is dropped after a pass."""
    subprocess.run(treason(place, "reconcile"), check=True)
    return (place / "dropped").read_text().split()


def test_once(place: Path) -> None:
    """What a member bans is dropped, but no private address; a folder that is gone ends nothing."""
    run = treason(place, "feed", "run", "friends", "--once")
    subprocess.run(run, check=True)
    assert dropped(place) == ["192.0.2.7"]
    (place / "folder" / "EPOCH").unlink()
    assert subprocess.run(run, check=False).returncode == 1
    assert dropped(place) == ["192.0.2.7"]


def test_published(place: Path) -> None:
    """What is banned here by hand stands in our own file, for as long as it is banned."""
    refresh = treason(place, "feed", "run", "friends", "--once")
    subprocess.run(refresh, check=True)
    for command, published in (("ban", "198.51.100.7 -\n"), ("unban", "")):
        subprocess.run(treason(place, command, "198.51.100.7"), check=True)
        dropped(place)
        subprocess.run(refresh, check=True)
        assert (place / "folder" / "ours.bans").read_text() == published


def test_followed(place: Path) -> None:
    """The feed stays, and takes what a member writes when it is written; SIGTERM ends it."""
    with subprocess.Popen(treason(place, "feed", "run", "friends")) as following:
        try:
            for wanted in (["192.0.2.7"], ["192.0.2.7", "203.0.113.0/24"], ["203.0.113.0/24"]):
                (place / "folder" / "alpha.bans").write_text("\n".join(wanted) + "\n")
                deadline = time.monotonic() + 60
                while dropped(place) != wanted and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert dropped(place) == wanted
        finally:
            following.terminate()
    assert following.returncode == 0
