"""The package upgraded while it guards: under a flood, as it is, tailored, stopped, and in vain."""

import json
from pathlib import Path
from secrets import randbelow

from container import Machine, booted, until
from debs import (
    KEEPING,
    Stage,
    asking_more,
    colliding,
    install,
    put,
    refusing,
    repacked,
    version_of,
)
from roots import Say, furnished
from traffic import Traffic

CONFIGURATION = "/etc/treason/treason.toml"
DAEMON, TIMER, FEED = "treason.service", "treason.timer", "treason-feed@people.timer"
BANNED, FRIEND, LISTED = "203.0.113.66", "198.51.100.7", "192.0.2.77"
NETWORK = "198.51.100.0/24"
"""The friend is in it, and is whitelisted."""
PEERS = (BANNED, FRIEND, LISTED)

DOUBTED, BELIEVED = "# userspace = false\n", "userspace = true\n"
TAILORED = """
[treason]
sources = ["kmsg", "sockets"]
backends = ["nftables", "file"]
[trust]
userspace = true
[backend.file]
path = "/srv/blocked"
[feed.people]
type = "list"
path = "/srv/people"
"""


def upgraded(stage: Stage) -> None:
    """Upgrade again and again, each time with something else in the way."""
    deb, place, say = stage.deb, stage.place, stage.say
    version = version_of(deb)
    before = repacked(deb, f"{version}~before", place, asking_more)
    later = [repacked(deb, f"{version}+{number}", place) for number in range(1, 5)]
    with booted(furnished(stage.suite), PEERS) as machine:
        install(machine, before)
        machine.run("treason", "init", "--systemd")
        machine.run("treason", "whitelist", "add", FRIEND)
        machine.run("treason", "ban", NETWORK, BANNED)
        under_flood(machine, deb, say)
        while_attacked(machine, repacked(deb, f"{version}+0", place, asking_more), say)
        as_it_was(machine, later, say)
        tailored(machine, later[3], say)
        in_vain(machine, repacked(deb, f"{version}+9", place, refusing), say)
        in_vain(machine, repacked(deb, f"{version}+8", place, colliding), say)


def banned(machine: Machine) -> list[str]:
    """Return the networks that are stored as banned."""
    listed = json.loads(machine.run("treason", "list", "--all", "-o", "json"))
    return sorted(each["network"] for each in listed["bans"])


def unwatched(machine: Machine) -> float:
    """Return for how many seconds there was no daemon, from the old one's end to readiness."""
    begun, ended = (
        int(machine.shown(DAEMON, f"{what}TimestampMonotonic"))
        for what in ("ActiveEnter", "ActiveExit")
    )
    assert begun > ended, (begun, ended)
    return (begun - ended) / 1e6


def under_flood(machine: Machine, deb: Path, say: Say) -> None:
    """Upgrade while one who is banned floods, and a friend's packets are counted."""
    process, bans = machine.shown(DAEMON, "MainPID"), banned(machine)
    assert machine.network.arriving(BANNED, FRIEND, LISTED) == {FRIEND, LISTED}
    with Traffic(machine.network, BANNED, FRIEND) as traffic:
        install(machine, deb)
    assert machine.run("dpkg-query", "-Wf${Version}", "treason") == version_of(deb)
    assert machine.active(TIMER)
    assert machine.active(DAEMON)
    assert machine.shown(DAEMON, "MainPID") not in {"0", process}
    assert banned(machine) == bans
    shipped = machine.path(CONFIGURATION).read_text()
    assert "the version before" not in shipped
    say(f"upgraded to {version_of(deb)}: {traffic}")
    say(f"nobody watched for {unwatched(machine):.1f} s; another daemon runs, all bans are there")


def while_attacked(machine: Machine, deb: Path, say: Say) -> None:
    """Let somebody attack while there is no daemon; the configuration is the administrator's."""
    configuration = machine.path(CONFIGURATION)
    own = configuration.read_text().replace(DOUBTED, BELIEVED)
    configuration.write_text(own)
    machine.run("treason", "init", "--systemd")
    machine.run("systemctl", "restart", DAEMON)
    attacker = f"198.18.{randbelow(256)}.{1 + randbelow(254)}"
    name = put(machine, deb)
    with machine.begun("apt-get", "install", "--yes", *KEEPING, name) as upgrade:
        until("the daemon has ended", lambda: not machine.active(DAEMON))
        with Path("/dev/kmsg").open("w") as kmsg:
            kmsg.write(
                f"<7>TCP: Treason uncloaked! Peer {attacker}:4638/8080 shrinks window 1:2."
                " Repaired.\n"
            )
        told = upgrade.communicate()
    assert upgrade.returncode == 0, told
    until("the daemon is ready", lambda: machine.active(DAEMON))
    listing = ["nft", "list", "set", "inet", "treason", "banned4"]
    taken = until("he is dropped", lambda: attacker in machine.network.run(*listing))
    say(f"who attacked during the upgrade was banned {taken:.1f} s after it, at most")
    assert (configuration.read_text(), BELIEVED in own) == (own, True)
    say("a configuration that nobody had changed was replaced, a changed one stayed")


def as_it_was(machine: Machine, later: list[Path], say: Say) -> None:
    """What the administrator has stopped or disabled stays so."""
    machine.run("systemctl", "stop", DAEMON)
    install(machine, later[0])
    assert (machine.active(DAEMON), machine.active(TIMER)) == (False, True)
    assert machine.run("systemctl", "is-enabled", DAEMON) == "enabled\n"
    machine.run("systemctl", "disable", "--now", DAEMON, TIMER)
    install(machine, later[1])
    assert (machine.active(DAEMON), machine.active(TIMER)) == (False, False)
    enabled = [machine.tried("systemctl", "is-enabled", unit)[1] for unit in (DAEMON, TIMER)]
    assert enabled == ["disabled\n", "disabled\n"], enabled
    assert machine.network.arriving(BANNED, FRIEND) == {FRIEND}
    say("a daemon that was stopped by hand stays stopped, what was disabled stays disabled")
    machine.run("treason", "init", "--systemd", "--timer-only")
    install(machine, later[2])
    assert (machine.active(DAEMON), machine.active(TIMER)) == (False, True)
    assert machine.tried("systemctl", "is-enabled", DAEMON)[1] != "enabled\n"
    say("the timer alone stays alone")


def tailored(machine: Machine, deb: Path, say: Say) -> None:
    """Units that were written for the configuration, and a feed's, go on after an upgrade."""
    machine.path("/srv/people").write_text(f"{LISTED}\n")
    machine.path(CONFIGURATION).write_text(TAILORED)
    machine.run("treason", "init", "--systemd")
    machine.run("systemctl", "restart", DAEMON)
    network = machine.network
    until("whom the feed names is dropped", lambda: network.arriving(LISTED, FRIEND) == {FRIEND})
    unit = machine.run("systemctl", "cat", DAEMON)
    assert "/srv" in unit, unit
    with Traffic(network, LISTED, FRIEND) as traffic:
        install(machine, deb)
    until("the daemon is ready", lambda: machine.active(DAEMON))
    assert (machine.active(TIMER), machine.active(FEED)) == (True, True)
    assert machine.run("systemctl", "cat", DAEMON) == unit
    machine.run("treason", "config", "check", "--units")
    machine.run("systemctl", "start", "treason-feed@people.service")
    say(f"units for another configuration, and a feed's, go on: {traffic}")


def in_vain(machine: Machine, deb: Path, say: Say) -> None:
    """A package that cannot be installed leaves all as it was, with a daemon."""
    version = machine.run("dpkg-query", "-Wf${Version}", "treason")
    name = put(machine, deb)
    with Traffic(machine.network, BANNED, FRIEND) as traffic:
        code, told, errors = machine.tried("apt-get", "install", "--yes", *KEEPING, name)
    assert code != 0, told
    state = machine.run("dpkg-query", "-Wf${db:Status-Status} ${Version}", "treason")
    assert state == f"installed {version}", (state, told, errors)
    until("the daemon is ready", lambda: machine.active(DAEMON))
    assert (machine.active(TIMER), machine.active(FEED)) == (True, True)
    machine.run("treason", "--version")
    say(f"an upgrade that failed: {traffic}, and the daemon before runs again")
