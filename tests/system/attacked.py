"""What attackers, honest peers and a local user do to a booted kernel, and what passes make of it.

An act is played with the kernel's message off, another with it on; each has addresses of its own.
"""

import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from attrs import define, field
from peers import (
    SERVER4,
    Answer,
    Flow,
    Peers,
    Server,
    dead,
    healthy,
    nibbling,
    shrinking,
    slow,
)

from sources.kmsg import Kmsg

LOGS = ("kmsg", "dmesg", "journal")
MAIN = "kmsg and sockets"
"""The sources that `treason init` writes; each other one is read with a database of its own."""

DATABASE = Path("/var/lib/treason/treason.db")

PLAIN, CLOSING, BOTH = 8080, 8081, 8082
"""Ports of servers: one has IPv4 alone, one closes once it has answered, one serves both."""

PASSES = 3
LASTING = 10
"""Seconds for which an attack must be seen."""
HEARD = 6.0
"""Seconds for which the kernel's message is waited for: it has a limit of 10 in 5."""

_WORDS = ("unexpectedly shrunk window", "Probing zero-window")
_NAMED = re.compile(r"(?:Peer|on) (\S+):\d+/\d+[ ,]")
_PLACE = Path("/var/tmp/each")
_LIMIT = Path("/proc/sys/net/core/message_burst")
_FORGER = Path(__file__).with_name("forger.py")
_TIME_WAIT = "06"


def say(text: str) -> None:
    """Write a line of the report."""
    with Path("/dev/ttyS1").open("a") as report:
        report.write(f"{text}\n")


def treason(*words: str, config: Path | None = None) -> str:
    """Run a command that must succeed."""
    given = ["--config", str(config)] if config else []
    done = subprocess.run(["treason", *given, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def messages() -> list[str]:
    """Return the kernel's own messages about shrunk windows."""
    return [record.text for record in Kmsg().read(None, _WORDS) if record.facility == 0]


def play(number: int, *, state: str) -> bool:
    """Play an act, the message on or off; say what was found, and return whether all is well."""
    with ExitStack() as stack:
        peers = Peers()
        stack.callback(peers.close)
        for server in (Server(SERVER4, PLAIN), Server("::", CLOSING, 20_000, closing=True)):
            stack.callback(server.close)
        stack.callback(Server("::", BOTH).close)
        act = Act(number, state, peers)
        act.enter_honest()
        with _forged(act.accused_once):
            pass  # gone again, as a container may be, before anybody asks
        with _forged(act.accused):
            act.attack()
            act.make_passes()
        act.compare()
        act.knock_again()
    return act.well


@define(eq=False)
class Act:
    """Who takes part, in the ``number``th range of addresses; who was banned, by source."""

    number: int
    state: str
    peers: Peers
    well: bool = True
    accused_once: list[str] = field(factory=list)
    accused: list[str] = field(factory=list)
    honest: set[str] = field(factory=set)
    live: set[str] = field(factory=set)
    orphans: set[str] = field(factory=set)
    many: set[str] = field(factory=set)
    attacks: dict[str, Flow] = field(factory=dict)
    named: set[str] = field(factory=set)
    banned: dict[str, set[str]] = field(factory=dict)

    @property
    def attackers(self) -> set[str]:
        """All who shrink their windows."""
        return self.live | self.orphans | self.many

    @property
    def everyone(self) -> set[str]:
        """All who take part."""
        return self.attackers | self.honest

    def tell(self, what: str, wrong: set[str]) -> None:
        """Write down a finding, and of whom it does not hold."""
        self.well = self.well and not wrong
        ending = f"NOT SO: {', '.join(sorted(wrong))}" if wrong else "as expected"
        say(f"message {self.state}: {what}: {ending}")

    def enter_honest(self) -> None:
        """Let those connect who do nothing wrong; uid 1000 accuses some of them, and strangers."""
        for last, behave in enumerate((healthy, healthy, slow, dead), 20):
            for address in (self._at(last), self._at6(last)):
                self.peers.connect(address, 4638, behave, to=BOTH)
                self.honest.add(address)
        self.accused_once = [self._at(10), self._at(20)]
        self.accused = [self._at(11), self._at(21), self._at6(21), self._at(22), self._at(23)]
        self.honest |= {*self.accused_once, *self.accused}

    def attack(self) -> None:
        """Let windows shrink: to 0 and 1, bit by bit, of orphans, and of many at once."""
        self.live = self._enter(shrinking, PLAIN, self._at(1))
        self.live |= self._enter(shrinking, BOTH, self._at(2), self._at6(2))
        self.live |= self._enter(lambda: shrinking(1), BOTH, self._at(3), self._at6(3))
        self.live |= self._enter(nibbling, BOTH, self._at(4), self._at6(4))
        self.orphans = self._enter(shrinking, CLOSING, self._at(5), self._at6(5))
        self.many = self._enter(shrinking, PLAIN, *map(self._at, range(100, 140)))
        self.many |= self._enter(shrinking, BOTH, *map(self._at6, range(100, 120)))
        self.peers.settle(len(self.attackers) + 2)  # the dead ones count

    def make_passes(self) -> None:
        """Look at once, and again when it has lasted; who is found then is dropped and closed.

        That comes last in a pass: what is closed, no other source can find any more.
        """
        begun = time.monotonic()
        self._scan("sockets", MAIN)
        long_ago = time.monotonic() - LASTING
        young = {who for who, flow in self.attacks.items() if flow.begun > long_ago}
        found = self.banned["sockets"] | self.banned[MAIN]
        self.tell("nobody is banned by a first look", found & (young | self.honest))
        time.sleep(HEARD)
        self._compare_message()
        self._scan(*LOGS)
        number = 1
        while number == 1 or (number < PASSES and self.attackers - self.banned[MAIN]):
            number += 1
            time.sleep(LASTING + 1)
            self._scan(*LOGS, "sockets", MAIN)
            treason("reconcile")
        seconds = time.monotonic() - begun
        what = f"pass {number}, {seconds:.0f} s after the first, has banned all"
        self.tell(f"{what} {len(self.attackers)} attackers", self.attackers - self.banned[MAIN])

    def _compare_message(self) -> None:
        named = _named()
        self.named = named & self.attackers
        if self.state == "on":
            accused = {*self.accused_once, *self.accused}
            self.tell("the kernel's message names all whom uid 1000 accuses", accused - named)
            self.tell("it names attackers", set() if self.named else self.attackers)
        else:
            self.tell("the kernel prints no message", named)

    def _scan(self, *sources: str) -> None:
        """Read sources, each into its database."""
        for source in sources:
            treason("scan", config=None if source == MAIN else _config(source))
            self.banned[source] = _stored(source) & self.everyone

    def compare(self) -> None:
        """Hold the message and the verdict against each other; look whom they hit besides."""
        seen = self.banned["sockets"]
        what = f"of {len(self.many)} attackers at once the message names"
        what = f"{what} {len(self.named & self.many)}, the verdict {len(seen & self.many)}"
        self.tell(what, self.many - seen)
        for source, banned in self.banned.items():
            self.tell(f"{source} bans nobody who is honest, accused or not", banned & self.honest)
            if self.named:
                what = f"{source} bans the {len(self.named)} attackers whom the message names"
                self.tell(what, self.named - banned)

    def knock_again(self) -> None:
        """See by packets who is dropped, and by the kernel's list and resets who is closed."""
        time.sleep(1)
        connected = _connected()
        ended = self.orphans - connected  # also by the kernel itself, in silence, on a slow machine
        kept = {who for who, flow in self.attacks.items() if not flow.reset} - ended
        kept |= self.attackers & connected
        immortal = os.uname().release.startswith("5.10.")
        spared = self.orphans if immortal else set()
        what = (
            f"closed, but for {len(spared & kept)} orphans" if immortal else "closed, orphans too"
        )
        self.tell(f"the connections of the attackers are {what}", kept - spared)
        anew = {who: self.peers.connect(who, 4639, healthy, to=BOTH) for who in self.everyone}
        time.sleep(3)
        answered = {who for who, flow in anew.items() if flow.heard}
        self.tell("their packets are dropped", self.attackers & answered)
        self.tell("those of all others pass", self.honest - answered)

    def _enter(
        self, behave: Callable[[], Callable[[Flow], Answer]], port: int, *addresses: str
    ) -> set[str]:
        for each in addresses:
            self.attacks[each] = self.peers.connect(each, 4638, behave(), to=port)
        return {*addresses}

    def _at(self, last: int) -> str:
        return f"10.9.{self.number}.{last}"

    def _at6(self, last: int) -> str:
        return f"fd00:9::{self.number}:{last}"


@contextmanager
def _forged(victims: list[str]) -> Iterator[None]:
    """Let uid 1000 accuse them, and stay for as long as the block."""
    user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
    inside = ["unshare", "--user", "--map-root-user", "--net"]
    limit = _LIMIT.read_text()
    _LIMIT.write_text("1000")  # what he does cannot be hidden by what the kernel leaves out
    forger = subprocess.Popen(
        [*user, *inside, "python3", str(_FORGER), str(BOTH), *victims],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with forger:
        assert forger.stdout is not None
        said = forger.stdout.readline()
        assert said.startswith("accused"), said
        _LIMIT.write_text(limit)
        yield


def _config(source: str) -> Path:
    """Return the configuration that reads one source into a database of its own."""
    path = _PLACE / source / "treason.toml"
    if not path.exists():
        path.parent.mkdir(parents=True)
        place = 'database = "treason.db"\nlock = "lock"\n'
        path.write_text(f'[treason]\nsources = ["{source}"]\n{place}')
    return path


def _stored(source: str) -> set[str]:
    """Return who is banned; the command would take two seconds for it in here."""
    path = DATABASE if source == MAIN else _PLACE / source / DATABASE.name
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return {network for (network,) in database.execute("SELECT network FROM bans")}


def _named() -> set[str]:
    """Return whom the kernel's messages name."""
    found = [_NAMED.search(text) for text in messages()]
    assert all(found), messages()
    return {_plain(match[1]) for match in found if match}


def _connected() -> set[str]:
    """Return the peers of all connections that the kernel lists, but for those that only wait."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            words = re.findall("[0-9A-F]{8}", remote.partition(":")[0])
            if state != _TIME_WAIT:
                packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
                found.add(_plain(str(ip_address(packed))))
    return found


def _plain(address: str) -> str:
    """Write an address in its shortest form; a peer of IPv4 as such, whoever serves it."""
    one = ip_address(address)
    mapped = one.ipv4_mapped if isinstance(one, IPv6Address) else None
    return str(mapped or one)
