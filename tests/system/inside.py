"""What the booted system tests of itself, in four boots."""

import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

import followed
import kept
import resident
import shared
from machine import (
    BELIEVED,
    CONFIGURATION,
    OFFENDER,
    OTHER,
    UNITS,
    accuse,
    banned,
    configure,
    record,
    run,
    say,
    stranger,
    until,
    when,
)

from reconciler.host.netns import Wire

COUNT = Path("/opt/treason/boots")
ONCE = resident.ONCE


def first_boot() -> None:
    """Ban by the timer, then go over to the daemon; it guards what is in force, and itself."""
    CONFIGURATION.parent.mkdir()
    CONFIGURATION.write_text(BELIEVED)
    resident.install_old_units()
    wire = Wire([OFFENDER, OTHER])
    assert wire.arriving([OFFENDER, OTHER]) == {OFFENDER, OTHER}
    accuse(OFFENDER)
    until("the timer's pass banned the offender", banned, 90)
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    say("its packets are dropped, another's arrive")
    resident.upgrade()
    peer = resident.drop(wire)
    resident.put_back()
    unit = run("systemctl", "show", "treason.service")
    user = re.search(r"^User=(.*)$", unit, re.MULTILINE)
    assert user is not None
    owner = Path("/var/lib/treason/treason.db").stat()
    assert (owner.st_uid != 0, owner.st_mode & 0o777) == (True, 0o600)
    say(f"the services run as {user[1]}, the database is theirs")
    resident.obey(peer)
    resident.survive()
    resident.stop()
    resident.pause(wire)


def paused_boot() -> None:
    """Nothing is enforced until that is ended."""
    resident.stay_paused(Wire([OFFENDER, OTHER]))


def second_boot() -> None:
    """Enforced before the network, then guarded by the daemon; other sources and backends."""
    assert banned()
    until("rebooted: the daemon is ready", resident.running, 60)
    restored = when("treason-restore.service", "ActiveEnterTimestampMonotonic")
    network = when("network.target", "ActiveEnterTimestampMonotonic")
    assert 0 < restored <= network, (restored, network)
    say(f"rebooted: enforced {network - restored} us before network.target")
    begun = when("treason.service", "ExecMainStartTimestampMonotonic")
    assert restored <= begun, (restored, begun)
    wire = Wire([OFFENDER, OTHER])
    assert wire.arriving([OFFENDER, OTHER]) == {OTHER}
    resident.read_other_sources()
    resident.enforce_otherwise()
    followed.follow(wire)
    kept.keep()
    shared.share()
    configure("")
    the_other_backends()
    the_journal()
    the_list()
    configure('[treason]\nbackends = ["ipset"]\n')
    run("treason", "migrate", "--from", "nftables", "--to", "ipset")
    configure('[treason]\nbackends = ["ipset"]\n', resident=True)
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
    until("the daemon runs beside the saved rules", resident.running, 60)
    configure("", resident=True)
    run("treason", "migrate", "--from", "ipset", "--to", "nftables")
    say(run("treason", "init", "--systemd", "--undo").rstrip())
    assert not [*UNITS.rglob("*treason*"), *resident.CGROUP.parent.glob("treason*")]
    assert banned()
    say("units removed: what is enforced stays")


def the_journal() -> None:
    """Let the sandboxed service read the journal, without the capability for /dev/kmsg."""
    configure('[treason]\nsources = ["journal"]\n' + BELIEVED)
    unit = run("systemctl", "show", ONCE)
    assert "SupplementaryGroups=systemd-journal" in unit
    assert "cap_syslog" not in unit
    peer = stranger()
    accuse(peer)
    time.sleep(1)
    run("systemctl", "start", ONCE)
    assert banned(peer)
    assert "note:" not in run("journalctl", "-b", "-u", ONCE, "-o", "cat", "-n", "20")
    say("the service reads the journal")
    configure("")


def the_other_backends() -> None:
    """Let the sandboxed service enforce with ipset and iptables, and save the rules."""
    configure('[treason]\nbackends = ["ipset"]\n')
    run("systemctl", "start", ONCE)
    assert OFFENDER in run("ipset", "save", "treason4")
    assert "-m set --match-set treason4 src -j DROP" in run("iptables-save")
    say("the service enforces with ipset")
    run("treason", "migrate", "--from", "ipset", "--to", "iptables")
    configure('[treason]\nbackends = ["iptables"]\n')
    run("iptables", "-F", "TREASON")
    run("systemctl", "start", ONCE)
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
        run("systemctl", "start", ONCE)
        assert f"-s {OFFENDER}/32 -j DROP" in run(f"iptables-{variant}-save")
        assert f"-s {OFFENDER}/32 -j DROP" in Path("/etc/iptables/rules.v4").read_text()
        run("treason", "teardown")
        assert OFFENDER not in run(f"iptables-{variant}-save")
        say(f"the service enforces and saves with iptables-{variant}")
    configure("")
    run("systemctl", "start", ONCE)
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
            file.write(record(peer))
        os.chown(log, 0, group)
        log.chmod(mode)
        reading = f'[treason]\nsources = ["file:{log}"]\n[source.file]\ntrusted = true\n'
        configure(reading)
        run("systemctl", "start", ONCE)
        assert peer in run("nft", "list", "ruleset")
        say(f"the service reads a log of mode {mode:o}")
    listed = f'[backend.file]\npath = "{blocked}"\ncommand = ["systemctl", "reload", "proxy"]\n'
    configure(reading.replace("sources", 'backends = ["nftables", "file"]\nsources') + listed)
    for unit in (ONCE, "treason-restore.service"):
        run("treason", "ban", "198.51.101.0/24" if "restore" in unit else "198.51.102.0/24")
        run("systemctl", "restart", unit)
        assert Path("/run/got").read_text() == blocked.read_text()
    assert {"198.51.101.0/24", "198.51.102.0/24", "198.18.9.2"} <= {*blocked.read_text().split()}
    status = blocked.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (33, 33, 0o600)
    say("the services replace a list of another owner, and reload who reads it")
    configure("")
    run("systemctl", "start", ONCE)


def main() -> None:
    """Run the part of this boot, then go on to the next or off."""
    boots = [first_boot, paused_boot, second_boot, third_boot]
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
