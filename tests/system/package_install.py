"""The package in a fresh system: what it installs, and how long the first drop takes."""

import re
import time
from pathlib import Path

from container import Machine, booted
from debs import Stage, put
from roots import Say, booting

ATTACKER, OTHER = "203.0.113.66", "203.0.113.5"
PACKAGE, INSTALLED = 12, 45
"""MB that the package and what is installed may take."""
SECONDS = 60
"""Of a processor, within which the first packet is to be dropped: a busy machine takes longer."""


def fresh(stage: Stage) -> None:
    """Come from a fresh system to the first drop in three commands; boot it anew."""
    deb, say = stage.deb, stage.say
    with booted(booting(stage.suite), [ATTACKER, OTHER]) as machine:
        network = machine.network
        assert network.arriving(ATTACKER, OTHER) == {ATTACKER, OTHER}
        name = put(machine, deb)
        begun = time.monotonic()
        told, worked = timed(machine, "apt-get", "install", "--yes", name)
        installing = time.monotonic() - begun
        idle(machine, told)
        say("installed: nothing is enforced, enabled or running; treason init --systemd is named")
        begun = time.monotonic()
        worked += timed(machine, "treason", "init", "--systemd")[1]
        worked += timed(machine, "treason", "ban", ATTACKER)[1]
        assert network.arriving(ATTACKER, OTHER) == {OTHER}
        taken = installing + time.monotonic() - begun
        assert worked < SECONDS, (worked, taken)
        say(
            f"from the package to the first drop: {taken:.1f} s (of them apt {installing:.1f});"
            f" {worked:.1f} s of a processor"
        )
        small(machine, deb, say)
        complete(machine)
        machine.reboot()
        assert network.arriving(ATTACKER, OTHER) == {OTHER}
        assert machine.active("treason.service")
        say("rebooted: it is dropped, and the daemon runs")


def timed(machine: Machine, *argv: str) -> tuple[str, float]:
    """Run a command; return what it printed, and the seconds that a processor worked for it."""
    told = machine.run("sh", "-c", '"$@" && times', "sh", *argv)
    lines = told.splitlines()
    spent = re.findall(r"(\d+)m([\d.]+)s", " ".join(lines[-2:]))
    assert len(spent) == 4, told  # its own and the command's, user and system: dash(1)
    return told, sum(60 * int(minutes) + float(seconds) for minutes, seconds in spent)


def idle(machine: Machine, told: str) -> None:
    """Nothing is done that nobody has asked for, and what to ask for is told."""
    assert "treason init --systemd" in told, told
    assert not machine.network.run("nft", "list", "ruleset")
    assert not [*machine.path("/etc/systemd/system").rglob("*treason*")]
    units = machine.run("systemctl", "list-units", "--no-legend", "treason*")
    assert not units, units
    assert not machine.path("/var/lib/treason").exists()
    failed = machine.run("systemctl", "--failed", "--no-legend")
    assert not failed, failed


def small(machine: Machine, deb: Path, say: Say) -> None:
    """The package, and all that it has brought with what was compiled, are within the limits."""
    listed = machine.run("dpkg", "-L", "treason").splitlines()
    files = {Path(each) for each in listed}
    tree = machine.path("/usr/lib/treason")
    files |= {Path("/", each.relative_to(machine.path("/"))) for each in tree.rglob("*")}
    paths = [machine.path(str(each)) for each in files]
    plain = [path for path in paths if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".pyc" for path in plain)
    taken = sum(path.stat().st_blocks * 512 for path in plain) / 1e6
    packed = deb.stat().st_size / 1e6
    assert (packed <= PACKAGE, taken <= INSTALLED) == (True, True), (packed, taken)
    say(f"the package takes {packed:.1f} MB, installed {taken:.1f} MB in {len(plain)} files")


def complete(machine: Machine) -> None:
    """What comes with a good program is there, and it finds nothing wrong with itself."""
    for each in (
        "/usr/share/man/man1/treason.1.gz",
        "/usr/share/man/man5/treason.toml.5.gz",
        "/usr/share/man/man7/treason-plugins.7.gz",
        "/usr/share/bash-completion/completions/treason",
        "/usr/share/zsh/vendor-completions/_treason",
        "/usr/share/fish/vendor_completions.d/treason.fish",
    ):
        assert machine.path(each).is_file(), each
    machine.run("treason", "config", "check", "--units")
    unit = machine.run("systemctl", "cat", "treason.service")
    assert "ExecStart=/usr/bin/treason " in unit, unit
