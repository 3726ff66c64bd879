"""The source: looks at the sockets twice in a pass, and judges what it has seen often enough."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import define, evolve, field

from reconciler import (
    Answer,
    Connection,
    Judgement,
    NearMiss,
    Network,
    Record,
    Seen,
    SourceUnreadable,
    Suspect,
    netlink,
)
from reconciler.netlink import PERSIST, RETRANSMIT, Sockets, TcpSocket
from sources.sockets import BPF, DUMP, Settings, eye, signs, suspicion, witness
from sources.sockets.candidates import Candidates
from sources.sockets.eye import Eye, Ring
from sources.sockets.proof import blindness, proved, readable
from sources.sockets.suspicion import IN_COMPANY, RULE, SOCKSTRESS

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_APART: Final = 0.005
"""Seconds between two looks of a pass: what was seen in between two packets is over by then."""

_MANY: Final = 16
"""Bad connections at once for which no healthy ones make up."""

_RESTING: Final = 10.0
"""Seconds between two looks of a resident process while nothing is suspicious."""

_NONE: Final = Answer(Seen.NOTHING, "this machine has no such connection")
_NOT_SO: Final = Answer(Seen.OPEN, "the connection shows no attack now")
_IN_COMPANY_WHY: Final = "most of the other connections of this peer are healthy"
_ORDER: Final = (Seen.SHOWN, Seen.SPARED, Seen.OPEN, Seen.NOTHING)
"""Of several sockets, the one that shows most is told of."""


@define(eq=False)
class SocketsSource:
    """Judges the TCP sockets of the network namespace that it runs in.

    A pass looks twice at what the first look finds suspicious. The cursor is the id of the boot,
    within which a socket's cookie is its own. ``uptime`` are seconds of CLOCK_BOOTTIME, which
    nobody sets; ``own`` gives this machine's addresses. Once it has a descriptor it looks at those
    sockets alone of which the kernel has told (`eye`).
    """

    settings: Settings = field(factory=Settings)
    open_sockets: Callable[[], Sockets] = Sockets
    uptime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    own: Callable[[], Collection[Network]] = netlink.addresses
    pause: Callable[[float], None] = time.sleep
    open_ring: Callable[[], Ring] = eye.opened
    _boot: str = field(factory=lambda: _BOOT.read_text().strip(), init=False)
    _fresh: bool = field(default=True, init=False)
    _recalled: dict[str, Suspect] = field(factory=dict, init=False)
    _suspects: dict[str, Suspect] = field(factory=dict, init=False)
    _misses: list[tuple[str, TcpSocket, str]] = field(factory=list, init=False)
    _notes: list[str] = field(factory=list, init=False)
    _eye: Eye | None = field(default=None, init=False)
    _early: dict[str, Suspect] = field(factory=dict, init=False)
    _aside: set[str] = field(factory=set, init=False)

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take what the last pass suspected."""
        self._recalled = {suspect.thing: suspect for suspect in suspects}
        if self._eye is not None:
            self._eye.recall(self._recalled)

    def read(self, cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Look, and yield what is judged now. Raise `SourceUnreadable`."""
        if cursor != self._boot:
            self._recalled = {}
        self._fresh = cursor != self._boot
        self._suspects, self._aside = {}, set()
        self._misses.clear()
        self._notes.clear()
        with readable():
            yield from self._listed() if self._eye is None else self._read_by(self._eye)
        self._recalled = dict(self._suspects)  # unless a pass is to read next

    def fileno(self) -> int:
        """Let the kernel tell of suspects from now on. Raise `SourceUnreadable` with the reason."""
        if self._eye is None:
            if self.settings.way == DUMP:
                raise SourceUnreadable('[source.sockets] has way = "dump"')
            self._eye = Eye(
                self.open_ring(),
                Candidates(self.settings.lasting.total_seconds(), frozenset(self.settings.ports)),
                self.open_sockets,
                self.uptime,
                closely=self._paced if self.settings.sockstress else lambda: None,
            )
        return self._eye.ring.fileno()

    def close(self) -> None:
        """Let it tell nothing more; from now on each `read` lists all sockets."""
        if self._eye is not None:
            self._eye.close()
            self._eye = None

    def heed(self) -> float:
        """Take what the kernel tells; return in how many seconds to do so again, 0: to read."""
        if self._eye is None:
            return self._paced()
        with readable():
            return self._eye.heed()

    def way(self) -> str:
        """Return how suspects are found, in a few words."""
        if self._eye is None:
            return DUMP
        return f"{self._eye.told()}{', and lists for sockstress' * self.settings.sockstress}"

    def insists(self) -> bool:
        """Whether the settings allow no other way than to be woken."""
        return self.settings.way == BPF

    def confirm(self, connections: Collection[Connection]) -> dict[Connection, Answer]:
        """Look twice at the sockets of these connections, on any port. Raise `SourceUnreadable`."""
        with readable():
            sockets = self.open_sockets()
            there = witness.found(sockets, connections, self.own())
            over = [(one, RULE) for each in there.values() for one in each if one.is_over]
            told = self._answers(sockets, self._twice(sockets, over) if over else [])
        answers = dict.fromkeys(connections, _NONE)
        for each, socks in there.items():
            every = [told.get(one.identity, _NOT_SO) for one in socks]
            answers[each] = min(every, key=lambda answer: _ORDER.index(answer.seen))
        return answers

    def blindness(self) -> str | None:
        """Return that this kernel tells no windows; None where it does."""
        with readable():
            return blindness(self.open_sockets())

    def _answers(
        self, sockets: Sockets, looked: Iterable[tuple[TcpSocket, Suspect]]
    ) -> dict[bytes, Answer]:
        """Return what is to be said of sockets that were found so twice."""
        told: dict[bytes, Answer] = {}
        lasted: dict[bytes, Network] = {}
        for one, suspect in looked:
            seconds = max(self.uptime() - suspect.since, one.waited)
            why = self._open(one, suspect, seconds)
            told[one.identity] = Answer(Seen.OPEN, why)
            if not why:
                lasted[one.identity] = one.peer
                told[one.identity] = Answer(Seen.SHOWN, signs.told(one, seconds))
        if not lasted:
            return told
        peers = {*lasted.values()}
        bad = Counter(one.peer for one in sockets.dump(peers=peers) if one.is_over)
        company = self._company(sockets, {peer for peer in peers if bad[peer] < _MANY}, ())
        spared = Answer(Seen.SPARED, _IN_COMPANY_WHY)
        return told | {each: spared for each, peer in lasted.items() if peer in company}

    def cursor(self) -> str | None:
        """Return the id of the boot, once."""
        return self._boot if self._fresh else None

    def suspects(self) -> Iterable[Suspect]:
        """Return what looks like an offence."""
        return self._suspects.values()

    def due(self) -> float:
        """Return after how many seconds to look again: while something is suspicious, sooner."""
        return self._paced() if self._eye is None else self._eye.wait()

    def _paced(self) -> float:
        return self.settings.lasting.total_seconds() / 2 if self._suspects else _RESTING

    def silence(self) -> str | None:
        """Return None: where the kernel does not tell of sockets, that is an error."""
        with readable():
            proved(self.open_sockets())
        return None

    def notes(self) -> Iterable[str]:
        """Return who was spared."""
        return self._notes

    def near_misses(self) -> Iterable[NearMiss]:
        """Return what came near an offence, and why it is none."""
        for rule, one, why in self._misses:
            yield NearMiss(rule, signs.told_briefly(one), why)
        with readable():
            for one, suspect in self._eye.unripe(self._suspects) if self._eye else ():
                why = self._open(one, suspect, self.uptime() - suspect.since)
                why = why or "the next look decides"
                yield NearMiss(RULE, signs.told_briefly(one), why, suspect)
            for one in self._found(self.open_sockets(), PERSIST, RETRANSMIT):
                if not one.is_over and (why := signs.like(one)):
                    yield NearMiss(RULE, signs.told_briefly(one), why)

    def _read_by(self, this: Eye) -> Iterator[Record]:
        """Look at those that are worth it; all others that were suspected, stay so."""
        this.heed()
        self._recalled = {thing: one for thing, one in self._recalled.items() if this.counts(one)}
        looked, self._early = this.begin(), this.known()
        if looked is None:
            yield from self._listed()
        elif things := [each.suspect.thing for each in looked if each.suspect]:
            sockets = self.open_sockets()
            first = [sockets.exact(suspicion.named(thing)) for thing in things]
            over = [(one, RULE) for one in first if one is not None and one.is_over]
            yield from self._judged(sockets, self._twice(sockets, over) if over else [])
            for thing in things:
                self._recalled.pop(thing, None)
        if looked is not None:
            self._suspects = self._recalled | self._suspects
        this.end(looked, self._suspects, self._aside)

    def _listed(self) -> Iterator[Record]:
        """Look at all sockets."""
        sockets = self.open_sockets()
        proved(sockets)
        yield from self._judged(sockets, self._looked(sockets))

    def _found(self, sockets: Sockets, *timers: int) -> Iterator[TcpSocket]:
        for timer in timers:
            yield from sockets.dump(ports=self.settings.ports, timer=timer)

    def _looked(self, sockets: Sockets) -> list[tuple[TcpSocket, Suspect]]:
        """Look twice; return what was found so both times, with what is suspected of it."""
        first = [(one, RULE) for one in self._found(sockets, RETRANSMIT) if one.is_over]
        if self.settings.sockstress:
            found = self._found(sockets, PERSIST)
            first += [(one, SOCKSTRESS) for one in found if signs.stalled(one)]
        return self._twice(sockets, first) if first else []

    def _twice(
        self, sockets: Sockets, first: Iterable[tuple[TcpSocket, str]]
    ) -> list[tuple[TcpSocket, Suspect]]:
        """Look again at what a look has found; return what is so still."""
        seen, own = self.uptime(), frozenset(self.own())
        self.pause(_APART)
        twice = []
        for one, rule in first:
            if one.peer in own or suspicion.is_loopback(one.peer):
                self._aside.add(suspicion.name_of(one))
                self._miss(rule, one, "it is this machine's own connection to itself")
                continue
            again = sockets.exact(one)
            same = again is not None and (again.is_over if rule == RULE else signs.stalled(again))
            if again is None or not same or signs.last_sent(again) != signs.last_sent(one):
                self._miss(rule, one, "a moment later it was not so any more")
                continue
            twice.append((again, self._suspected(again, rule, seen)))
        return twice

    def _suspected(self, one: TcpSocket, rule: str, seen: float) -> Suspect:
        """Return what is suspected of a socket now that it was looked at twice."""
        thing = suspicion.name_of(one)
        known = suspicion.earlier(self._recalled.get(thing), self._early.get(thing))
        suspect = suspicion.suspected(one, rule, seen, known, looks=2)
        self._suspects[thing] = suspect
        return suspect

    def _judged(
        self, sockets: Sockets, looked: Iterable[tuple[TcpSocket, Suspect]]
    ) -> Iterator[Record]:
        """Yield the records of what has lasted."""
        bad: defaultdict[Network, list[tuple[TcpSocket, Suspect, float]]] = defaultdict(list)
        for one, suspect in looked:
            seconds = self.uptime() - suspect.since
            if suspect.rule == RULE:
                seconds = max(seconds, one.waited)
                bad[one.peer].append((one, suspect, seconds))
            elif self._has_lasted(one, suspect, seconds):
                yield self._record(one, suspect, signs.told_stalled(one, seconds))
        lasted = {
            peer: [each for each in sockets if self._has_lasted(*each)]
            for peer, sockets in bad.items()
        }
        few = {peer for peer, found in lasted.items() if found and len(bad[peer]) < _MANY}
        company = self._company(sockets, few, self.settings.ports) if few else {}
        for peer, found in lasted.items():
            if found and peer in company:
                yield self._spared(peer, found, len(bad[peer]), company[peer])
                continue
            for one, suspect, seconds in found:
                yield self._record(one, suspect, signs.told(one, seconds))

    def _has_lasted(self, one: TcpSocket, suspect: Suspect, seconds: float) -> bool:
        """Whether it was seen often enough, and long enough; nothing is judged twice."""
        why = self._open(one, suspect, seconds)
        if why:
            self._miss(suspect.rule, one, why)
        return not why

    def _open(self, one: TcpSocket, suspect: Suspect, seconds: float) -> str:
        """Return why it is not judged now; empty where it is."""
        lasting = self.settings.lasting.total_seconds()
        return suspicion.open_because(suspect, seconds, lasting, one.waited)

    def _company(
        self, sockets: Sockets, peers: Collection[Network], ports: Sequence[int]
    ) -> dict[Network, int]:
        """Return which of the peers have more healthy connections than others, and how many all."""
        every: Counter[Network] = Counter()
        healthy: Counter[Network] = Counter()
        for one in sockets.dump(ports=ports, peers=peers):
            every[one.peer] += 1
            healthy[one.peer] += signs.healthy(one)
        return {peer: number for peer, number in every.items() if 2 * healthy[peer] > number}

    def _spared(
        self,
        peer: Network,
        found: Sequence[tuple[TcpSocket, Suspect, float]],
        bad: int,
        number: int,
    ) -> Record:
        """Return one record for a peer most of whose connections are healthy."""
        worst = max(found, key=lambda each: each[2])
        for _, suspect, _ in found:
            self._suspects[suspect.thing] = evolve(suspect, judged=True)
        text = (
            f"{signs.told(worst[0], worst[2])}; {bad} of {number} connections of this peer, most of"
            " the others are healthy"
        )
        self._notes.append(f"not banned, but counted (the third time in a day bans): {text}")
        return _record(text, Judgement(IN_COMPANY, peer))

    def _record(self, one: TcpSocket, suspect: Suspect, text: str) -> Record:
        self._suspects[suspect.thing] = evolve(suspect, judged=True)
        who = Judgement(suspect.rule, one.peer, one.peer_port, one.local_port)
        return _record(text, who)

    def _miss(self, rule: str, one: TcpSocket, why: str) -> None:
        self._misses.append((rule, one, why))


def _record(text: str, who: Judgement) -> Record:
    return Record(text, carrier="sockets", trusted=True, time=time.time(), judgement=who)
