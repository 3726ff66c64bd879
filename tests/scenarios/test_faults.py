"""Faults: killed at any moment, run at once, and errors that cannot be had for real."""

import ctypes
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import Place
from pytest_mock import MockerFixture

from reconciler import netlink
from reconciler.execute import run

Nft = Callable[..., str]


def command(place: Place, *arguments: str) -> list[str]:
    """Return the command line as a process of its own."""
    return [sys.executable, "-m", "reconciler", "--config", str(place.config), *arguments]


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    """A log with three thousand offenders."""
    path = tmp_path / "long.log"
    line = "TCP: Treason uncloaked! Peer 11.0.{}.{}:1/2 shrinks window 3:4. Repaired.\n"
    path.write_text("".join(line.format(i >> 8, i & 255) for i in range(3000)))
    return path


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_pass_that_is_killed_leaves_nothing_that_the_next_does_not_mend(
    how: signal.Signals, place: Place, long_log: Path, nft: Nft
) -> None:
    """At twelve moments: all is stored or nothing, and one pass converges."""
    nft("add table ip other; add set ip other s { type ipv4_addr; elements = { 10.0.0.1 }; }")
    other = nft("list table ip other")
    for step in range(12):
        process = subprocess.Popen(
            command(place, "reconcile", "--source", f"file:{long_log}"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        threading.Event().wait(0.04 * (step + 1))
        process.send_signal(how)
        process.wait()
        if place.database.exists():
            with sqlite3.connect(place.database) as database:
                stored = database.execute("SELECT name FROM sqlite_schema WHERE name='bans'")
                if stored.fetchone():
                    [bans] = (database.execute("SELECT count(*) FROM bans").fetchone(),)
                    assert bans[0] in {0, 3000}
            database.close()
    assert place.treason("reconcile", "--source", f"file:{long_log}").code == 0
    check = place.treason("reconcile", "--check", "--source", f"file:{long_log}")
    assert (check.code, len(place.treason("list").out.splitlines())) == (0, 3000)
    assert nft("list table ip other") == other
    with sqlite3.connect(place.database) as database:
        assert database.execute("SELECT count(*) FROM offences").fetchone() == (3000,)
    database.close()


def test_passes_and_bans_at_once_lose_nothing(place: Place, nft: Nft) -> None:
    """Eight bans and four passes in parallel: all end well, all bans are enforced."""

    def start(arguments: list[str]) -> int:
        return subprocess.run(
            command(place, *arguments), capture_output=True, check=False
        ).returncode

    work = [["ban", f"192.0.2.{i}"] for i in range(8)] + [["reconcile", "--no-scan"]] * 4
    with ThreadPoolExecutor(4) as pool:
        # The threads' processes start in the namespace of the thread: enter it there as well.
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        codes = list(pool.map(lambda a: _inside(home, lambda: start(a)), work))
        os.close(home)
    assert codes == [0] * len(work)
    assert place.treason("reconcile", "--no-scan").code == 0
    assert all(f"192.0.2.{i}" in nft("list set inet treason banned4") for i in range(8))


def _inside(namespace: int, work: Callable[[], int]) -> int:
    assert ctypes.CDLL(None).setns(namespace, 0x40000000) == 0
    return work()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOBUFS, "No buffer space available"),
        (errno.EPERM, "Operation not permitted"),
        (errno.ENOMEM, "Cannot allocate memory"),
        (errno.ERESTART, "other programs keep changing the ruleset"),
    ],
)
def test_an_error_of_the_kernel_is_told_in_its_words(
    code: int, words: str, place: Place, nft: Nft, mocker: MockerFixture
) -> None:
    """At the transaction: exit code 1, the kernel as it was."""
    place.treason("ban", "192.0.2.7")
    before = nft("list ruleset")
    mocker.patch.object(netlink.Connection, "commit", side_effect=netlink.refusal(code))
    result = place.treason("reconcile", "--no-scan")
    assert result.code == 1
    assert words in result.err
    assert len([line for line in result.err.splitlines() if "Traceback" in line]) == 0
    assert nft("list ruleset") == before


def test_a_disk_that_fills_while_the_whitelist_is_written_loses_nothing(
    place: Place, mocker: MockerFixture
) -> None:
    """The old file stays, the error says why."""
    place.treason("whitelist", "add", "192.0.2.0/24")
    before = place.snapshot()
    mocker.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    result = place.treason("whitelist", "add", "198.51.100.0/24")
    assert (result.code, "No space left on device" in result.err) == (1, True)
    assert place.snapshot() == before


def test_a_clock_that_was_set_back_lifts_nothing_and_ends_in_time(place: Place, nft: Nft) -> None:
    """A ban made in the future is active, and ends when its own end comes."""
    place.treason("ban", "192.0.2.7", "--for", "1h")
    with sqlite3.connect(place.database) as database:
        database.execute("UPDATE bans SET since = since + 86400, until = until + 86400")
    database.close()
    assert place.treason("reconcile", "--no-scan").code == 0
    assert "192.0.2.7" in nft("list ruleset")


def test_a_narrow_terminal_shows_whole_addresses(place: Place) -> None:
    """Forty columns."""
    place.treason("ban", "2001:db8:1111:2222:3333:4444:5555:6666")
    line = " ".join(f"'{word}'" for word in command(place, "list"))
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"],
        env=os.environ | {"COLUMNS": "40", "TERM": "xterm"},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    assert "2001:db8:1111:2222:3333:4444:5555:6666" in done.stdout


def test_no_colour_where_none_is_wanted(place: Place) -> None:
    """NO_COLOR is respected on a terminal."""
    place.treason("ban", "192.0.2.7")
    line = " ".join(f"'{word}'" for word in command(place, "list"))
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"], env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    assert not [part for part in done.stdout.split("\x1b[")[1:] if part[:1] == "3"]


@pytest.mark.parametrize(
    ("backend", "change"),
    [
        ("nftables", "ip address add 203.0.113.9/24 dev lo"),
        ("nftables", "ip link add other type veth peer name there"),
        ("ipset", "ipset del treason4 192.0.2.7"),
        ("iptables", "iptables-legacy -D TREASON -s 192.0.2.7 -j DROP"),
    ],
)
def test_what_raises_no_generation_is_seen_by_each_pass(
    backend: str, change: str, place: Place, host: None
) -> None:
    """A link that appears with an address that is banned, an element or a rule that goes."""
    place.configure('[backend.iptables]\nvariant = "legacy"', main=f'backends = ["{backend}"]')
    place.treason("ban", "192.0.2.7", "203.0.113.9")
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--no-scan", "--check").code == 0
    run(change.split())
    if "link" in change:
        assert place.treason("reconcile", "--no-scan", "--check").code == 0
        run(["ip", "address", "add", "203.0.113.9/24", "dev", "other"])
    assert place.treason("reconcile", "--no-scan", "--check").code == 2
    assert place.treason("reconcile", "--no-scan").code == 0
    assert place.treason("reconcile", "--no-scan", "--check").code == 0
