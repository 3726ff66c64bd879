"""The daemon with every backend: what it holds in force, and what somebody else does to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness import Place
from residents import Resident, configure, drops, running, until

from backends.nftables.statements import DELETE_ELEMENT, message
from reconciler.execute import run
from reconciler.netlink import Connection, text

BACKENDS = {
    "ipset": 'backends = ["ipset"]',
    "iptables-nft": 'backends = ["iptables"]',
    "iptables-legacy": 'backends = ["iptables"]',
    "file": 'backends = ["file:{path}/list"]',
    "two": 'backends = ["nftables", "file:{path}/list"]',
}
_VARIANT = '[backend.iptables]\nvariant = "{}"\n[backend.ipset]\nvariant = "nft"\n'


def held(place: Place, name: str) -> str:
    """Return what a backend holds, as others see it."""
    if name == "ipset":
        return run(["ipset", "save"]).output
    if name.startswith("iptables"):
        return run([f"{name}-save"]).output
    listed = place.path.joinpath("list").read_text()
    return (
        listed
        if name == "file"
        else listed + run(["nft", "list", "table", "inet", "treason"]).output
    )


def configured(place: Place, name: str, text: str = "") -> None:
    """Let the daemon hold its bans in one of these."""
    variant = name.partition("-")[2] or "auto"
    main = BACKENDS[name].format(path=place.path)
    configure(place, _VARIANT.format(variant) + text, main)


def daemon_status(place: Place) -> Any:
    """Return what the daemon says of itself."""
    argv = [sys.executable, "-P", "-m", "reconciler", "--config", str(place.config)]
    done = subprocess.run([*argv, "status", "-o", "json"], capture_output=True, check=False)
    return json.loads(done.stdout)["daemon"]


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_kept(name: str, place: Place, host: None) -> None:
    """An offender, a ban and an unban by hand, an end, and a whitelisted one."""
    configured(place, name)
    shows = partial(held, place, name)
    with running(place) as daemon:
        daemon.offend("203.0.113.7")
        until(lambda: "203.0.113.7" in shows())
        assert place.treason("ban", "198.51.100.2").code == 0
        assert "198.51.100.2" in shows()
        assert place.treason("whitelist", "add", "203.0.113.7").code == 0
        assert place.treason("reconcile", "--check").code == 0
        assert place.treason("unban", "198.51.100.2").code == 0
        assert "198.51.100.2" not in shows()
        assert place.treason("ban", "198.51.100.1", "--for", "2s").code == 0
        until(lambda: "198.51.100.1" not in shows())
        assert place.treason("reconcile", "--check").code == 0
        assert "put back" not in daemon.error
        assert daemon.stop() == 0


def _replaced(path: Path) -> None:
    path.with_name("new").write_text("203.0.113.7\n")
    path.with_name("new").rename(path)


def _in_a_new_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))
    path.parent.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "one line less": lambda path: path.write_text("203.0.113.7\n"),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": lambda path: path.unlink(),
    "replaced": _replaced,
    "its directory replaced": _in_a_new_directory,
}


def _listed(place: Place, command: str = "") -> Path:
    path = place.path / "lists" / "list"
    path.parent.mkdir()
    main = f'backends = ["file:{path}"]\npass_timeout = "2s"'
    configure(place, f"[backend.file]\n{command}", main)
    for address in ("203.0.113.7", "203.0.113.8"):
        place.treason("ban", address)
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_list_is_put_right_at_once(change: str, place: Place, host: None) -> None:
    """Not by the look of each minute; and then nothing more happens."""
    path = _listed(place)
    with running(place) as daemon:
        right = path.read_text()
        assert right == "203.0.113.7\n203.0.113.8\n"
        CHANGES[change](path)
        until(lambda: path.exists() and path.read_text() == right)
        until(lambda: "was not as it was written last" in daemon_status(place)["repair"])
        assert "put back" in daemon.error
        assert passes_within(daemon, 1.0) == 0


def passes_within(daemon: Resident, seconds: float) -> int:
    """Return how many passes it makes in so many seconds."""
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    found = set[str]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found.update(children.read_text().split())
        time.sleep(0.005)
    return len(found)


def test_what_a_pass_writes_brings_no_other_pass(place: Place, host: None) -> None:
    """Neither by the daemon's own nor by one that is made by hand."""
    path = _listed(place)
    with running(place) as daemon:
        assert place.treason("ban", "203.0.113.9").code == 0
        assert "203.0.113.9" in path.read_text()
        until(lambda: passes_within(daemon, 0.5) == 0)
        path.write_text("203.0.113.7\n")
        place.treason("reconcile")
        until(lambda: "203.0.113.9" in path.read_text())
        until(lambda: passes_within(daemon, 1.0) == 0)


def test_who_writes_a_list_again_and_again_is_a_fight(place: Place, host: None) -> None:
    """A hundred times a second: few passes are made, and it is told; then the list is right."""
    path = _listed(place)
    with running(place) as daemon:
        right = path.read_text()
        found = set[str]()
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
        end = time.monotonic() + 60
        while "somebody undoes again and again" not in daemon.error:
            assert time.monotonic() < end
            path.write_text("203.0.113.7\n")
            found.update(children.read_text().split())
            time.sleep(0.01)
        assert len(found) <= 12
        until(lambda: path.read_text() == right)


def test_a_list_of_somebody_else_is_left_alone(place: Place, host: None) -> None:
    """It is told, with what to do, and no pass is made again and again for it."""
    path = _listed(place)
    with running(place) as daemon:
        path.write_text("203.0.113.7\n203.0.113.8\n192.0.2.99\n")
        until(lambda: "somebody else has changed it" in daemon.error)
        until(lambda: passes_within(daemon, 2.0) == 0)
        assert "192.0.2.99" in path.read_text()
        assert place.treason("reconcile", "--adopt").code == 0
        assert path.read_text() == "203.0.113.7\n203.0.113.8\n"


def test_a_command_that_fails_is_told_and_run_again(place: Place, host: None) -> None:
    """The list is right meanwhile, and nothing loops."""
    command = place.path / "command"
    command.write_text("#!/bin/sh\nexit 3\n")
    command.chmod(0o755)
    path = _listed(place, f'command = ["{command}"]')
    with running(place) as daemon:
        assert "203.0.113.8" in path.read_text()
        assert "the command behind it failed" in daemon.error
        until(lambda: passes_within(daemon, 1.0) == 0)
        command.write_text("#!/bin/sh\nexit 0\n")
        assert place.treason("ban", "203.0.113.9").code == 0
        until(lambda: not any("command" in each for each in daemon_status(place)["troubles"]))


def test_a_pass_that_is_killed_is_made_again(place: Place, host: None) -> None:
    """While the command behind the list goes on: the next one waits for its end."""
    command = place.path / "command"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    path = _listed(place, f'command = ["{command}"]')
    with running(place) as daemon:
        started = place.path / "started"
        command.write_text(f"#!/bin/sh\necho $PPID > {started}\nexec sleep 2\n")
        path.unlink()
        until(lambda: started.exists() and started.read_text())
        command.write_text("#!/bin/sh\nexit 0\n")
        os.kill(int(started.read_text()), 9)
        until(lambda: "killed by signal 9" in daemon.error)
        assert path.read_text() == "203.0.113.7\n203.0.113.8\n"
        until(lambda: not path.with_name(".list.pending").exists())


def test_a_pass_by_hand_and_the_daemon_do_not_mix(place: Place, host: None) -> None:
    """Ten at once, beside somebody who removes the list: it is right, and nothing loops."""
    path = _listed(place)
    with running(place) as daemon:
        right = path.read_text()
        by_hand = [place.start("reconcile") for _ in range(5)]
        for _ in range(5):
            path.unlink(missing_ok=True)
            by_hand.append(place.start("reconcile"))
        assert [each.wait(60) for each in by_hand] == [0] * 10
        until(lambda: path.exists() and path.read_text() == right)
        until(lambda: passes_within(daemon, 1.0) == 0)
        assert path.read_text() == right


@pytest.mark.parametrize("harm", ["flush set inet treason banned4", "delete table inet treason"])
def test_without_events_it_is_repaired_all_the_same(harm: str, place: Place, host: None) -> None:
    """And nobody listens, to be told by the kernel."""
    configure(place)
    text = place.config.read_text().replace("[run]", "[run]\nevents = false")
    place.config.write_text(text)
    place.treason("ban", "203.0.113.7")
    with running(place) as daemon:
        groups = [line.split()[1:4] for line in Path("/proc/net/netlink").read_text().splitlines()]
        assert not [each for each in groups[1:] if each[0] == "12" and int(each[2], 16)]
        daemon.offend("203.0.113.8")
        until(lambda: drops("203.0.113.8"))
        until(lambda: passes_within(daemon, 1.0) == 0)  # a pass would repair it as well
        run(["nft", harm])
        until(lambda: drops("203.0.113.7", "203.0.113.8"))
        until(lambda: "put back" in daemon.error)


def test_a_reload_turns_events_off_and_on(place: Place, host: None) -> None:
    """The configuration says so, and it is repaired either way."""
    configure(place)
    place.treason("ban", "203.0.113.7")
    with running(place) as daemon:
        for events in ("false", "true"):
            text = place.config.read_text().replace("[run]", f"[run]\nevents = {events}")
            text = text.replace("events = true\nevents = false", "events = true")
            place.config.write_text(text)
            daemon.send(signal.SIGHUP)
            until(partial(_listens, events == "true"))
            until(lambda: drops("203.0.113.7"))
            run(["nft", "flush set inet treason banned4"])
            until(lambda: drops("203.0.113.7"))
        assert daemon.stop() == 0


def _listens(wanted: bool) -> bool:
    """Whether, as wanted, somebody here listens to nf_tables, or nobody."""
    lines = Path("/proc/net/netlink").read_text().splitlines()[1:]
    words = [line.split() for line in lines]
    return wanted == any(each[1] == "12" and int(each[3], 16) for each in words)


def test_a_fight_is_cheap_and_over_soon(place: Place, host: None) -> None:
    """Somebody flushes the set a hundred times a second: `status` names who."""
    configure(place)
    place.treason("ban", "203.0.113.7")
    with running(place) as daemon:
        somebody = Connection()
        flush = [message(DELETE_ELEMENT, text(2, "banned4"))]
        before = _cpu(daemon.process.pid)
        for _ in range(500):
            somebody.commit(flush)
            time.sleep(0.01)
        ended = time.monotonic()
        assert _cpu(daemon.process.pid) - before < 0.2 * 5
        until(lambda: drops("203.0.113.7"))
        assert time.monotonic() - ended < 5
        told = daemon_status(place)
        assert any(f"(process {os.getpid()}) undoes" in each for each in told["troubles"])
        assert "changed by" in told["repair"]


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
