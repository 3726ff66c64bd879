"""What the booted system tests of itself, in three boots."""

import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from reconciler.host.netns import Wire

REPORT = Path("/opt/treason/report")
COUNT = Path("/opt/treason/boots")
OFFENDER, OTHER = "117.79.83.112", "203.0.113.5"
RECORD = f"<7>TCP: Treason uncloaked! Peer {OFFENDER}:4638/8080 shrinks window 1:2. Repaired.\n"


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
        time.sleep(0.2)
    say(f"{what}: after {time.monotonic() - start:.1f} s")


def banned() -> bool:
    """Whether the kernel holds the offender."""
    listing = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return OFFENDER in listing.stdout


def when(unit: str, what: str) -> int:
    """Return a time of a unit, in microseconds since boot."""
    return int(run("systemctl", "show", "--value", "-p", what, unit))


def first_boot() -> None:
    """Install, ban by the timer, survive a stop and a reload of nftables."""
    Path("/etc/treason").mkdir()
    Path("/etc/treason/treason.toml").write_text("[trust]\nuserspace = true\n")
    say(run("treason", "init", "--systemd").rstrip())
    assert run("systemctl", "is-active", "treason.timer").strip() == "active"
    wire = Wire([OFFENDER, OTHER])
    assert wire.arriving([OFFENDER, OTHER]) == {OFFENDER, OTHER}
    with Path("/dev/kmsg").open("w") as kmsg:
        kmsg.write(RECORD)
    until("the timer's pass banned the offender", banned, 75)
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    say("its packets are dropped, another's arrive")
    run("systemctl", "stop", "treason.timer", "treason.service", "treason-restore.service")
    assert banned()
    say("stopped: what is enforced stays")
    run("systemctl", "start", "nftables.service")
    until("started nftables: restored", banned, 10)
    run("systemctl", "restart", "nftables.service")
    until("restarted nftables: restored", banned, 10)
    run("systemctl", "reload", "nftables.service")
    until("reloaded nftables: restored", banned, 10)
    run("systemctl", "restart", "--no-block", "nftables.service")
    for _ in range(3):  # also while the restoration of the one before is still going on
        run("systemctl", "reload-or-restart", "nftables.service")
    until("restarted and reloaded at once: restored", banned, 20)
    unit = run("systemctl", "show", "treason.service")
    user = re.search(r"^User=(.*)$", unit, re.MULTILINE)
    assert user is not None
    owner = Path("/var/lib/treason/treason.db").stat()
    assert (owner.st_uid != 0, owner.st_mode & 0o777) == (True, 0o600)
    say(f"the services run as {user[1]}, the database is theirs")
    say(run("treason", "ban", "198.51.100.0/24").rstrip())
    run("systemctl", "start", "treason.service")
    assert "198.51.100.0/24" in run("nft", "list", "ruleset")
    say("root's command and the service share the database")


def second_boot() -> None:
    """Enforced before the network, and the units can be taken away."""
    assert banned()
    restored = when("treason-restore.service", "ActiveEnterTimestampMonotonic")
    network = when("network.target", "ActiveEnterTimestampMonotonic")
    assert 0 < restored <= network, (restored, network)
    say(f"rebooted: enforced {network - restored} us before network.target")
    wire = Wire([OFFENDER, OTHER])
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    the_other_backends()
    the_journal()
    the_list()
    configure('[treason]\nbackends = ["ipset"]\n')
    run("treason", "migrate", "--from", "nftables", "--to", "ipset")
    run("iptables", "-P", "FORWARD", "DROP")
    run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    run("netfilter-persistent", "save")
    run("systemctl", "enable", "netfilter-persistent.service", "treason.timer")


def third_boot() -> None:
    """Saved rules that name our sets are loaded; the units can be taken away."""
    rules = run("iptables", "-S")
    assert "-P FORWARD DROP" in rules, rules
    assert "--dport 22" in rules, rules
    assert OFFENDER in run("ipset", "save", "treason4")
    early = when("treason-early.service", "ActiveEnterTimestampMonotonic")
    loaded = when("netfilter-persistent.service", "ActiveEnterTimestampMonotonic")
    assert 0 < early <= loaded, (early, loaded)
    say("rebooted: the sets were there before netfilter-persistent loaded what names them")
    configure("")
    run("treason", "migrate", "--from", "ipset", "--to", "nftables")
    say(run("treason", "init", "--systemd", "--undo").rstrip())
    assert not list(Path("/etc/systemd/system").rglob("*treason*"))
    assert banned()
    say("units removed: what is enforced stays")


def configure(text: str) -> None:
    """Write the configuration, and install the units for it."""
    Path("/etc/treason/treason.toml").write_text(text)
    run("treason", "init", "--systemd")
    run("systemctl", "stop", "treason.timer")


def the_journal() -> None:
    """Let the sandboxed service read the journal, without the capability for /dev/kmsg."""
    configure('[treason]\nsources = ["journal"]\n[trust]\nuserspace = true\n')
    unit = run("systemctl", "show", "treason.service")
    assert "SupplementaryGroups=systemd-journal" in unit
    assert "cap_syslog" not in unit
    with Path("/dev/kmsg").open("w") as kmsg:
        kmsg.write(RECORD.replace(OFFENDER, "198.18.7.7"))
    time.sleep(1)
    run("systemctl", "start", "treason.service")
    assert "198.18.7.7" in run("nft", "list", "ruleset")
    assert "note:" not in run("journalctl", "-b", "-u", "treason.service", "-o", "cat", "-n", "20")
    say("the service reads the journal")
    configure("")


def the_other_backends() -> None:
    """Let the sandboxed service enforce with ipset and iptables, and save the rules."""
    configure('[treason]\nbackends = ["ipset"]\n')
    run("systemctl", "start", "treason.service")
    assert OFFENDER in run("ipset", "save", "treason4")
    assert "-m set --match-set treason4 src -j DROP" in run("iptables-save")
    say("the service enforces with ipset")
    run("treason", "migrate", "--from", "ipset", "--to", "iptables")
    configure('[treason]\nbackends = ["iptables"]\n')
    run("iptables", "-F", "TREASON")
    run("systemctl", "start", "treason.service")
    assert f"-s {OFFENDER}/32 -j DROP" in run("iptables-save")
    assert not run("ipset", "save")
    say("the service enforces with iptables")
    Path("/etc/iptables").mkdir(exist_ok=True)
    legacy = Path("/opt/treason/lib/python3.11/site-packages/iptc").is_dir()
    for variant in ("nft", "legacy") if legacy else ("nft",):
        configure(
            '[treason]\nbackends = ["iptables"]\n'
            f'[backend.iptables]\nvariant = "{variant}"\npersist = true\n'
        )
        run("systemctl", "start", "treason.service")
        assert f"-s {OFFENDER}/32 -j DROP" in run(f"iptables-{variant}-save")
        assert f"-s {OFFENDER}/32 -j DROP" in Path("/etc/iptables/rules.v4").read_text()
        run("treason", "teardown")
        assert OFFENDER not in run(f"iptables-{variant}-save")
        say(f"the service enforces and saves with iptables-{variant}")
    configure("")
    run("systemctl", "start", "treason.service")
    assert banned()
    owner = Path("/var/lib/treason/treason.db").stat().st_uid
    assert owner != 0
    say("the service has its own user again")


def the_list() -> None:
    """Let the service replace a list of somebody's, tell his service, and read a log of root's."""
    where, log = Path("/srv/lists"), Path("/var/log/messages")
    where.mkdir()
    blocked = where / "blocked"
    blocked.write_text("")
    for each in (where, blocked):
        os.chown(each, 33, 33)  # www-data
    blocked.chmod(0o600)
    Path("/etc/systemd/system/proxy.service").write_text(
        "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/cp /srv/lists/blocked /run/got\n"
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "proxy.service")
    for group, mode, peer in ((0, 0o600, "198.18.9.1"), (33, 0o640, "198.18.9.2")):
        with log.open("a") as file:
            file.write(RECORD.removeprefix("<7>").replace(OFFENDER, peer))
        os.chown(log, 0, group)
        log.chmod(mode)
        reading = f'[treason]\nsources = ["file:{log}"]\n[source.file]\ntrusted = true\n'
        configure(reading)
        run("systemctl", "start", "treason.service")
        assert peer in run("nft", "list", "ruleset")
        say(f"the service reads a log of mode {mode:o}")
    listed = f'[backend.file]\npath = "{blocked}"\ncommand = ["systemctl", "reload", "proxy"]\n'
    configure(reading.replace("sources", 'backends = ["nftables", "file"]\nsources') + listed)
    for unit in ("treason.service", "treason-restore.service"):
        run("treason", "ban", "198.51.101.0/24" if "restore" in unit else "198.51.102.0/24")
        run("systemctl", "restart", unit)
        assert Path("/run/got").read_text() == blocked.read_text()
    assert {"198.51.101.0/24", "198.51.102.0/24", "198.18.9.2"} <= {*blocked.read_text().split()}
    status = blocked.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (33, 33, 0o600)
    say("the services replace a list of another owner, and reload who reads it")
    configure("")
    run("systemctl", "start", "treason.service")


def main() -> None:
    """Run the part of this boot, then go on to the next or off."""
    boots = [first_boot, second_boot, third_boot]
    count = int(COUNT.read_text()) if COUNT.exists() else 0
    COUNT.write_text(str(count + 1))
    last = count == len(boots) - 1
    try:
        boots[count]()
    except Exception:  # noqa: BLE001 - whatever it is belongs into the report
        say(traceback.format_exc())
        say(subprocess.run(
            ["journalctl", "-b", "--no-pager", "-n", "60", "-u", "treason*"],
            capture_output=True, text=True, check=False,
        ).stdout)  # fmt: skip
        run("systemctl", "poweroff")
        sys.exit(1)
    if last:
        say("all as expected")
    run("systemctl", "poweroff" if last else "reboot")


if __name__ == "__main__":
    main()
