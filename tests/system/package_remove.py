"""The package removed, put back and purged: what stays, and that nothing stays."""

import os
import re
from pathlib import Path

from container import Machine, Network, booted
from debs import Stage, install
from roots import Say, furnished
from traffic import Traffic

BANNED, FRIEND = "203.0.113.66", "203.0.113.5"
CONFIGURATION = "/etc/treason/treason.toml"
DAEMON = "treason.service"
BACKENDS = {
    "nftables": "",
    "ipset": '[treason]\nbackends = ["ipset"]\n',
    "iptables-nft": '[treason]\nbackends = ["iptables"]\n[backend.iptables]\nvariant = "nft"\n'
    "persist = true\n",
    "iptables-legacy": '[treason]\nbackends = ["iptables"]\n[backend.iptables]\n'
    'variant = "legacy"\npersist = true\n',
}
FEED = '[feed.people]\ntype = "list"\npath = "/srv/people"\n'

SAVED = ("/etc/iptables/rules.v4", "/etc/iptables/rules.v6")
MESSAGE, CONTROL = "/etc/tmpfiles.d/treason.conf", "/root/dynamic_debug/control"
"""What `treason init --kernel-message` writes, and a stand-in for where the kernel is told."""

FAMILIES = ("iptables", "ip6tables")
MOUNTED = ("proc", "sys", "dev", "tmp", "root", "srv")
CHANGING = re.compile(
    r"/var/(lib/(dpkg|apt|systemd/(timers|timesync|random-seed)|private|nftables)|cache|log|tmp)\b|"
    r"/run/(?!.*treason)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/etc/iptables/rules|/etc/ld\.so\.cache$|"
    r"/usr/lib/python3/.*|/usr/lib/python3\.\d+/.*\.pyc$"
)
"""What changes as well by itself, or with any package."""


def removed(stage: Stage) -> None:
    """Remove, install again, and purge: after each backend, and what others have stays."""
    deb, say = stage.deb, stage.say
    with booted(furnished(stage.suite), [BANNED, FRIEND]) as machine:
        settle(machine)
        before, kernel = files(machine.path("/")), rules(machine.network)
        without_program(machine, deb, say)
        for backend, configuration in BACKENDS.items():
            enforced(machine, deb, configuration)
            purge(machine)
            left = changed(before, files(machine.path("/")))
            assert not left, left
            found = rules(machine.network)
            assert found == kernel, (found, kernel)
            assert machine.network.arriving(BANNED, FRIEND) == {BANNED, FRIEND}
            saved = [machine.path(each).read_text() for each in SAVED]
            assert all("OTHERS" in each and "TREASON" not in each for each in saved), saved
            assert machine.path(CONTROL).read_text() == "file net/ipv4/tcp_timer.c -p\n"
            say(f"purged with {backend}: no file, user, unit, table, chain or set is left")


def settle(machine: Machine) -> None:
    """Let others have rules, of each kind that treason writes, and such as are loaded at boot."""
    network = machine.network
    network.run("nft", "-f", "-", given=(
        "table inet others { set others { type ipv4_addr; elements = { 192.0.2.200 } }\n"
        "chain others { type filter hook input priority 0; ip saddr @others accept\n}\n}\n"
    ))  # fmt: skip
    for variant in ("nft", "legacy"):
        for family in FAMILIES:
            network.run(f"{family}-{variant}", "-N", "OTHERS")
            network.run(f"{family}-{variant}", "-A", "INPUT", "-p", "tcp", "-j", "OTHERS")
            network.run(f"{family}-{variant}", "-A", "OTHERS", "-j", "ACCEPT")
            network.run(f"{family}-{variant}", "-A", "FORWARD", "-j", "ACCEPT")
    network.run("ipset", "create", "others", "hash:ip")
    machine.path(SAVED[0]).parent.mkdir()
    for path, family in zip(SAVED, FAMILIES, strict=True):
        machine.path(path).write_text(network.run(f"{family}-nft-save"))


def rules(network: Network) -> list[str]:
    """Return all that the kernel holds, without counters."""
    found = [network.run("nft", "--stateless", "list", "ruleset"), network.run("ipset", "save")]
    found += [network.run(f"{family}-legacy-save") for family in FAMILIES]
    return [re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", each) for each in found]


def files(top: Path) -> dict[str, str]:
    """Return all files that may not change, with what they are; those in /etc with their text."""
    found: dict[str, str] = {}
    for path, directories, names in os.walk(top):
        if path == str(top):
            directories[:] = [each for each in directories if each not in MOUNTED]
        for name in (*directories, *names):
            here = Path(path, name)
            where = f"/{here.relative_to(top)}"
            if not CHANGING.match(where):
                status = here.lstat()
                found[where] = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
                if where.startswith("/etc/") and here.is_file() and not here.is_symlink():
                    found[where] += f" {here.read_bytes()!r}"
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return what is not as it was: the path, what it was, what it is."""
    return [
        (path, before.get(path, "")[:400], after.get(path, "")[:400])
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def without_program(machine: Machine, deb: Path, say: Say) -> None:
    """Removed, it drops on until the next boot or the one command; installed again, it goes on."""
    install(machine, deb)
    machine.run("treason", "init", "--systemd")
    machine.run("treason", "ban", BANNED)
    bans = machine.run("treason", "list")
    with Traffic(machine.network, BANNED, FRIEND) as traffic:
        told = machine.run("apt-get", "remove", "--yes", "treason")
        assert not machine.path("/usr/lib/treason").exists()
        assert not machine.run("systemctl", "list-units", "--no-legend", "treason*")
        install(machine, deb)
        machine.run("treason", "init", "--systemd")
        assert machine.active(DAEMON)
        assert machine.run("treason", "list") == bans
    say(f"removed and installed again: {traffic}, and the bans are the same")
    told = machine.run("apt-get", "remove", "--yes", "treason")
    command = next(line.strip() for line in told.splitlines() if line.startswith("  nft "))
    assert machine.network.arriving(BANNED, FRIEND) == {FRIEND}
    machine.run(*command.split())
    assert machine.network.arriving(BANNED, FRIEND) == {BANNED, FRIEND}
    say(f"removed: it drops on until {command!r}")


def enforced(machine: Machine, deb: Path, configuration: str) -> None:
    """Install it, and let it ban by a backend, with a feed beside."""
    install(machine, deb)
    machine.path("/srv/people").write_text("192.0.2.77\n")
    machine.path(CONFIGURATION).write_text(configuration + FEED)
    machine.run("treason", "init", "--systemd")
    machine.run("treason", "ban", BANNED)
    assert machine.network.arriving(BANNED, FRIEND) == {FRIEND}
    control = machine.path(CONTROL)
    control.parent.mkdir(exist_ok=True)
    control.write_text("")
    machine.path(MESSAGE).write_text(f"w {CONTROL} - - - - file net/ipv4/tcp_timer.c +p\n")


def purge(machine: Machine) -> None:
    """Purge it, and run what that runs once more: it finds nothing any more, and says nothing."""
    script = machine.path("/var/lib/dpkg/info/treason.postrm").read_text()
    machine.run("apt-get", "purge", "--yes", "treason")
    again = machine.path("/root/treason.postrm")
    again.write_text(script)
    machine.run("sh", "/root/treason.postrm", "purge")
    again.unlink()
