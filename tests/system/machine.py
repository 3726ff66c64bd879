"""The booted system from inside: what runs on it, what it holds, and the report."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from secrets import randbelow

REPORT = Path("/opt/treason/report")
CONFIGURATION = Path("/etc/treason/treason.toml")
UNITS = Path("/etc/systemd/system")
OFFENDER, OTHER = "117.79.83.112", "203.0.113.5"
BELIEVED = "[trust]\nuserspace = true\n"
"""Lets the records that the tests write ban somebody."""


def say(text: str) -> None:
    """Write a line of the report."""
    with REPORT.open("a") as report:
        report.write(f"{text}\n")


def run(*argv: str) -> str:
    """Run a command that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.returncode, done.stdout, done.stderr)
    return done.stdout


def until(what: str, happens: Callable[[], bool], seconds: int) -> None:
    """Wait for something, and say how long it took."""
    start = time.monotonic()
    while not happens():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    say(f"{what}: after {time.monotonic() - start:.2f} s")


def banned(network: str = OFFENDER) -> bool:
    """Whether the kernel holds a network."""
    listing = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return network in listing.stdout


def stranger() -> str:
    """Return a peer that nobody has accused: the kernel keeps what was written at other times."""
    while banned(peer := f"198.18.{randbelow(256)}.{1 + randbelow(254)}"):
        pass
    return peer


def record(peer: str) -> str:
    """Return what the kernel would say of a peer."""
    return f"TCP: Treason uncloaked! Peer {peer}:4638/8080 shrinks window 1:2. Repaired.\n"


def accuse(peer: str) -> None:
    """Write it to where the kernel writes."""
    with Path("/dev/kmsg").open("w") as kmsg:
        kmsg.write(f"<7>{record(peer)}")


def shown(unit: str, what: str) -> str:
    """Return a property of a unit."""
    return run("systemctl", "show", "--value", "-p", what, unit).strip()


def when(unit: str, what: str) -> int:
    """Return a time of a unit, in microseconds since boot."""
    return int(shown(unit, what))


def configure(text: str, *, resident: bool = False) -> None:
    """Write the configuration, and install the units for it; nothing is started but the daemon."""
    CONFIGURATION.write_text(text)
    run("treason", "init", "--systemd", *([] if resident else ["--timer-only"]))
    run("systemctl", "stop", "treason.timer")
