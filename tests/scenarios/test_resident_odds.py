"""The daemon beside passes, disks and clocks that are not as it would like them."""

import fcntl
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from harness import Place
from residents import configure, drops, in_force, running, until

from reconciler import Network
from reconciler.execute import run
from reconciler.store.store import open_store


def asked(config: Path, *arguments: str) -> Any:
    """Run a command as a process of its own; return its JSON."""
    argv = [sys.executable, "-P", "-m", "reconciler", "--config", str(config), *arguments]
    return json.loads(subprocess.check_output([*argv, "-o", "json"]))


def test_what_a_pass_has_stored_meanwhile_can_be_lifted(place: Place, host: None) -> None:
    """The daemon drops, and while it waits for the lock a scan stores the same records."""
    configure(place)
    beside = place.path / "beside.toml"
    text = place.config.read_text().replace("/lock", "/lock-beside")
    beside.write_text(text.replace("/control", "/control-beside"))
    with running(place) as daemon:
        with (place.path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            daemon.offend("203.0.113.7", "203.0.113.8")
            until(lambda: drops("203.0.113.7", "203.0.113.8"))
            assert asked(beside, "scan")
        until(lambda: asked(place.config, "status")["daemon"]["pending"] == 0)
        assert place.treason("unban", "203.0.113.7").code == 0
        assert in_force() == {Network.parse("203.0.113.8")}
        with open_store(place.database, write=False) as store:
            assert len(store.offences.of([Network.parse("203.0.113.0/24")], 0)) == 2


def test_an_end_that_cannot_be_stored_is_kept(place: Place, host: None) -> None:
    """A pass takes the ban out of the firewall, and the daemon does not put it back."""
    configure(place)
    place.path.joinpath("data").mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=9m,mode=700", "tmpfs", str(place.path / "data")])
    text = place.config.read_text().replace("/treason.db", "/data/treason.db")
    place.config.write_text(text)
    place.treason("ban", "198.51.100.1", "--for", "4s")
    place.treason("ban", "198.51.100.2")
    with running(place) as daemon:
        run(["mount", "-o", "remount,ro", str(place.path / "data")])
        until(lambda: not drops("198.51.100.1"))
        until(lambda: "the database is read-only" in daemon.error)
        assert in_force() == {Network.parse("198.51.100.2")}
        assert "put back" not in daemon.error


def test_a_configuration_that_is_being_written_is_not_taken(place: Place, host: None) -> None:
    """For a moment it is empty: who is whitelisted in it is not dropped for that."""
    configure(place, '[whitelist]\nnetworks = ["203.0.113.7"]')
    text = place.config.read_text()
    with running(place) as daemon:
        for number in range(20):
            place.config.write_text("")
            daemon.offend("203.0.113.7", f"198.51.100.{number}")
            until(partial(drops, f"198.51.100.{number}"))
            place.config.write_text(text)
            assert not drops("203.0.113.7")
        daemon.forget()
        place.config.write_text(f"{text}[policy]\nthreshold = 2\n")
        daemon.hears("RELOADING")
        assert "missing" not in daemon.error


def test_an_entry_of_the_whitelist_ends(place: Place, host: None) -> None:
    """Whoever is banned behind it is dropped again then, by the daemon itself."""
    configure(place)
    place.treason("ban", "198.51.100.1")
    with running(place):
        assert place.treason("whitelist", "add", "198.51.100.1", "--for", "6s").code == 0
        until(lambda: not drops("198.51.100.1"))
        until(partial(drops, "198.51.100.1"))
