"""That a booted kernel itself tells of suspects (way bpf), and what is said where it cannot.

Each finding is one of `treason test-rule --sockets --follow`, as a user with no more than what the
test gives it; the last one is of the installed service.
"""

import json
import os
import select
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from attacked import DATABASE, say, treason
from attrs import define, field
from peers import Peers, Server, healthy, shrinking

SERVICE = "treason.service"
BTF = Path("/sys/kernel/btf")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
PATIENCE = 240.0
"""Seconds; all is slow in emulation."""

_NOBODY = 65534
_NEEDED = ("bpf", "perfmon")
_BITS = 1 << 39 | 1 << 38  # CAP_BPF, CAP_PERFMON
_PLACE = Path("/var/tmp/told")
_ENOUGH = 8 << 20
"""Bytes of locked memory, as the unit allows (LimitMEMLOCK)."""


def user(*capabilities: str, memory: int = _ENOUGH) -> list[str]:
    """Return what a command is run by: nobody's user, with these capabilities alone."""
    allowed = ",".join(["-all", *(f"+{each}" for each in capabilities)])
    sets = [f"--{each}={allowed}" for each in ("inh-caps", "ambient-caps", "bounding-set")]
    limit = ["prlimit", f"--memlock={memory}:{memory}"]
    return [*limit, "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *sets]


@define
class Follower:
    """A command that follows; its events are read one by one."""

    process: "subprocess.Popen[bytes]"
    last: dict[str, Any] = field(factory=dict, init=False)
    _rest: bytes = field(default=b"", init=False)

    def next(self, end: float) -> dict[str, Any]:
        """Return the next event, before a moment of the monotonic clock."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            left = max(0.0, end - time.monotonic())
            assert select.select([self.process.stdout], [], [], left)[0], f"too late: {self.last}"
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            assert more, f"it ended: {self.process.wait()}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        self.last = json.loads(line)
        return self.last

    def until(self, done: Callable[[Sequence[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Return the events until they are all that is waited for."""
        end = time.monotonic() + PATIENCE
        events: list[dict[str, Any]] = []
        while not done(events):
            events.append(self.next(end))
        return events


@contextmanager
def followed(*before: str) -> Iterator[Follower]:
    """Follow for the time of the block."""
    command = ["treason", "--config", str(_PLACE / "treason.toml")]
    command += ["test-rule", "--sockets", "--follow", "-o", "json"]
    with subprocess.Popen([*before, *command], stdout=subprocess.PIPE) as process:
        try:
            yield Follower(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def by_the_kernel() -> bool:
    """Return whether all is as expected, and say what was found."""
    _PLACE.mkdir(exist_ok=True)
    text = '[treason]\ndatabase = "none.db"\nsources = []\n[source.sockets]\nlasting = "3s"\n'
    (_PLACE / "treason.toml").write_text(text)
    peers, servers = Peers(), [Server("::")]
    well = True
    try:
        for what, wrong in _findings(peers):
            say(f"way bpf: {what}: {f'NOT SO: {wrong}' if wrong else 'as expected'}")
            well = well and not wrong
    finally:
        for each in servers:
            each.close()
        peers.close()
    return well


def _findings(peers: Peers) -> Iterator[tuple[str, str]]:
    """Yield what was found, and what is wrong with that."""
    yield "the kernel tells nobody's user with these capabilities alone", _told(peers)
    yield from _fallbacks()
    yield "it tells the installed service, which keeps no capability of these", _served(peers)
    if LOCKDOWN.exists():  # the last of all: it stays so until the next boot
        LOCKDOWN.write_text("confidentiality")
        why = _why(user(*_NEEDED))
        yield f"locked down: {why}", "" if "locked down" in why else "NO SUCH REASON"


def _told(peers: Peers) -> str:
    """Let some attack once it listens; return what is wrong with what it tells."""
    attackers = {"10.9.3.1", "10.9.3.2", "fd00:9::3:1", "fd00:9::3:2"}
    with followed(*user(*_NEEDED)) as follower:
        follower.until(lambda events: _has(events, "look"))  # from now on nothing is listed
        uid, held = _rights(follower.process.pid)
        for each in sorted(attackers):
            peers.connect(each, 4638, shrinking(int(each[-1]) - 1))
        peers.connect("10.9.3.9", 4638, healthy)
        events = follower.until(lambda events: attackers <= _who(events, "judged"))
    suspects = _who(events, "suspect")
    if (uid, held) != (_NOBODY, _BITS):
        return f"it was user {uid} with the capabilities {held:x}"
    if suspects != attackers:
        return f"suspected were {sorted(suspects)}"
    woken = [each["woken"] for each in events if each["event"] == "look"]
    return "" if any(woken) else f"no look was woken: {woken}"


def _fallbacks() -> Iterator[tuple[str, str]]:
    """Yield what is missing and the reason that is told, and what is wrong with that."""
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {BTF} && exec "$@"', "sh"]
    old = os.uname().release.startswith("5.10.")
    for what, before, expected in (
        ("no capability", user(), "CAP_BPF and CAP_PERFMON"),
        ("CAP_BPF alone", user("bpf"), "CAP_PERFMON"),
        ("no BTF", [*hidden, *user(*_NEEDED)], str(BTF)),
        ("64 KiB of locked memory", user(*_NEEDED, memory=65536), "RLIMIT_MEMLOCK" if old else ""),
    ):
        why = _why(before)
        good = expected in why if expected else not why
        told = why or "the kernel tells all the same"
        yield f"{what}: {told}", "" if good else f"WANTED {expected}"


def _why(before: Sequence[str]) -> str:
    """Return why the way is not bpf; empty where it is."""
    with followed(*before) as follower:
        begun = follower.next(time.monotonic() + PATIENCE)
        assert begun["event"] == "begin", begun
        assert (begun["way"] == "bpf") == (begun["why"] is None), begun
        return begun["why"] or ""


def _served(peers: Peers) -> str:
    """Let some attack an installed service; return what is wrong with what follows."""
    treason("init", "--systemd")
    subprocess.run(["systemctl", "start", SERVICE], check=True)
    end = time.monotonic() + PATIENCE
    while "sockets" not in (ways := _ways()) and time.monotonic() < end:
        time.sleep(1)
    attackers = {"10.9.4.1", "fd00:9::4:1"}
    for each in attackers:
        peers.connect(each, 4638, shrinking())
    while not attackers <= _banned() and time.monotonic() < end:
        time.sleep(1)
    shown = subprocess.run(
        ["systemctl", "show", "--property=MainPID", "--value", SERVICE],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    uid, held = _rights(int(shown))
    subprocess.run(["systemctl", "stop", SERVICE], check=True)
    if not ways.get("sockets", "").startswith("bpf"):
        return f"its ways are {ways}"
    if held & _BITS or not uid:
        return f"user {uid} keeps the capabilities {held:x}"
    missing = attackers - _banned()
    return f"not banned: {sorted(missing)}" if missing else ""


def _ways() -> dict[str, str]:
    """Return by which way the daemon sees, of each source."""
    told = subprocess.run(["treason", "status", "-o", "json"], capture_output=True, check=False)
    return dict((json.loads(told.stdout)["daemon"] or {}).get("ways", {}))


def _banned() -> set[str]:
    with closing(sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True)) as database:
        return {network for (network,) in database.execute("SELECT network FROM bans")}


def _rights(pid: int) -> tuple[int, int]:
    """Return a process's user, and the capabilities that it has or may take (proc(5))."""
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    named = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    held = (int(named[each][0], 16) for each in ("CapPrm", "CapInh", "CapAmb"))
    return int(named["Uid"][0]), reduce(or_, held)


def _has(events: Sequence[dict[str, Any]], kind: str) -> bool:
    return any(each["event"] == kind for each in events)


def _who(events: Sequence[dict[str, Any]], kind: str) -> set[str]:
    return {each["address"] for each in events if each["event"] == kind}
