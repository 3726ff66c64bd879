"""What the booted system tests of feeds: that what one says is in force, and what one may do."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from machine import BELIEVED, OTHER, UNITS, banned, configure, run, say, shown, until
from resident import DAEMON, ONCE

from reconciler.host.netns import Wire

SERVICE, TIMER = "treason-feed@people.service", "treason-feed@people.timer"
LIST = Path("/srv/people")
OWN = Path("/var/lib/treason-feed/people")
CONFIGURED = f'{BELIEVED}[feed.people]\ntype = "list"\npath = "{LIST}"\n'
OTHERS = ("198.51.100.64/26", "198.19.0.0/16")
NETWORK = "203.0.113.4/30"
"""What the other peer is in."""

NAME, ADDRESS = "list.example.org", "192.0.2.9"


def listed(*networks: str) -> None:
    """Write the list that is followed."""
    LIST.write_text("".join(f"{network}\n" for network in networks))


def read_anew() -> str:
    """Let the list be read now, once nobody reads it any more; return how that ended."""
    until("nobody reads the list", lambda: shown(SERVICE, "MainPID") == "0", 30)
    run("systemctl", "reset-failed", SERVICE)  # which also forgets how often it was started
    run("systemctl", "start", SERVICE)
    until("the list was read", lambda: shown(SERVICE, "MainPID") == "0", 30)
    return shown(SERVICE, "Result")


def follow(wire: Wire) -> None:
    """Follow a list: who is on it is dropped, whatever becomes of the list."""
    assert wire.arriving([OTHER]) == {OTHER}
    listed(NETWORK, *OTHERS)
    configure(CONFIGURED, resident=True)
    assert shown(TIMER, "ActiveState") == "active"
    until("the timer let a list be read, and the daemon drops whom it names", heard, 30)
    assert wire.arriving([OTHER]) == set()
    for path, user, mode in ((OWN, "treason-feed-people", 0o750), (OWN.parent, "root", 0o755)):
        status = path.stat()
        assert (path.owner(), status.st_mode & 0o777) == (user, mode)
    assert OWN.group() == (OWN / "feed.db").group() == "treason-feed"
    assert (OWN / "feed.db").stat().st_mode & 0o777 == 0o640
    break_off()
    enforce_early(wire)
    listed(*OTHERS)
    assert read_anew() == "success"
    until("who is on the list no more is let in", lambda: not heard(), 15)
    assert wire.arriving([OTHER]) == {OTHER}
    confine()
    confine("/var/lib/treason/outbox/people.db")
    configure(BELIEVED, resident=True)
    until("nothing is enforced of a feed that is gone", lambda: not banned(OTHERS[0]), 15)
    assert not [*UNITS.rglob("*feed*")]
    assert shown(TIMER, "ActiveState") == "inactive"
    assert OWN.is_dir()


def heard() -> bool:
    """Whether the network is dropped for the list's sake."""
    return banned(NETWORK)


def break_off() -> None:
    """Let the list be something else, and be gone; whom it named stays dropped."""
    for broken in ("<html><body>Sorry, we are moving.</body></html>\n", "", None):
        if broken is None:
            LIST.unlink()
        else:
            LIST.write_text(broken)
        assert read_anew() == "exit-code"
        run("systemctl", "start", ONCE)
        assert heard()
    say(run("journalctl", "-b", "-u", SERVICE, "-o", "cat", "-n", "9").rstrip())
    found = subprocess.run(["treason", "doctor"], capture_output=True, text=True, check=False)
    assert f"{SERVICE} has failed" in found.stdout, found.stdout
    listed(NETWORK, *OTHERS)
    assert read_anew() == "success"
    say("a list that is broken, empty or gone: whom it named stays dropped")


def enforce_early(wire: Wire) -> None:
    """Let the unit that runs before the network enforce it by itself."""
    run("systemctl", "stop", DAEMON)
    run("nft", "delete", "table", "inet", "treason")
    assert wire.arriving([OTHER]) == {OTHER}
    run("systemctl", "restart", "treason-restore.service")
    assert wire.arriving([OTHER]) == set()
    run("systemctl", "start", DAEMON)
    for unit in (DAEMON, ONCE, "treason-restore.service"):
        assert shown(unit, "SupplementaryGroups") == "treason-feed"
        assert {*shown(unit, "IPAddressDeny").split()} == {"0.0.0.0/0", "::/0"}
        assert not shown(unit, "IPAddressAllow")
        assert {*shown(unit, "RestrictAddressFamilies").split()} == {"AF_NETLINK", "AF_UNIX"}
    say("enforced early at boot, too; who enforces reaches nobody")


def confine(*reads: str) -> None:
    """Let something else run in its place, which tries what no feed may; some publish, and read."""
    publishing = 'publish = ["treason-uncloaked"]\n' if reads else ""
    configure(f"{CONFIGURED}{publishing}", resident=True)
    run("systemctl", "stop", TIMER)
    directory = UNITS / f"{SERVICE}.d"
    directory.mkdir(exist_ok=True)
    python = f"/opt/treason/bin/python /opt/treason/prisoner.py {NAME}"
    (directory / "test.conf").write_text(f"[Service]\nExecStart=\nExecStart={python}\n")
    run("systemctl", "daemon-reload")
    other = OWN.with_name("other")
    other.mkdir(exist_ok=True)
    (other / "feed.db").touch(0o644)
    with names():
        assert read_anew() == "success"
    assert json.loads((OWN / "found").read_text()) == {
        "capabilities": [],
        "reads": [*reads],
        "writes": [str(OWN)],
        "sockets": ["AF_UNIX", "AF_INET", "AF_INET6"],
        "processes": 1,
        "address": ADDRESS,
        "authorities": True,
    }
    run("systemd-analyze", "security", "--threshold=13", SERVICE)
    (directory / "test.conf").unlink()
    run("systemctl", "daemon-reload")
    say(f"a feed has no capability, writes nothing of ours, reads {[*reads]}, and looks names up")


@contextmanager
def names() -> Iterator[None]:
    """Answer on the machine itself who asks for the address of a name."""
    resolvers = Path("/etc/resolv.conf")
    before = resolvers.read_text() if resolvers.exists() else ""
    resolvers.write_text("nameserver 127.0.0.1\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        server.settimeout(30)
        answering = Thread(target=_answer, args=(server,))
        answering.start()
        try:
            yield
        finally:
            answering.join()
            resolvers.write_text(before)


def _answer(server: socket.socket) -> None:
    """Answer one question for an IPv4 address (RFC 1035, 4.1)."""
    asked, peer = server.recvfrom(512)
    question = asked[12 : asked.index(b"\0", 12) + 5]
    answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(ADDRESS)
    server.sendto(asked[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question + answer, peer)
