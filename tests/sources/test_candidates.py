"""Whom the kernel has told of: looked at in time, in memory that is bounded, without any kernel."""

import errno
from collections.abc import Sequence
from math import inf
from typing import cast

import pytest
from attrs import define, evolve, field

from reconciler import Network, Suspect
from reconciler.netlink import HOLDING, RETRANSMIT, NetlinkError, Sockets, TcpSocket
from sources.sockets.candidates import MOST, Candidates, Told, Where
from sources.sockets.eye import Eye
from sources.sockets.suspicion import RULE, suspected

OWN = Network.parse("192.0.2.1")
LASTING = 10.0


def where(number: int, port: int = 80) -> Where:
    """Return the ends of a connection with one of many peers."""
    return Where(OWN, port, Network.of(4, 0xC6336400 + number, 32), 4000, 0)


def stuck(at: Where, *, sent: int = 5000, window: int = 0, cookie: int = 7) -> TcpSocket:
    """Return a socket there with 4 KB in flight."""
    ports = at.local_port.to_bytes(2) + at.peer_port.to_bytes(2)
    ends = at.local.packed.ljust(16, b"\0") + at.peer.packed.ljust(16, b"\0")
    identity = ports + ends + bytes(4) + cookie.to_bytes(8, "little")
    one = TcpSocket(2, HOLDING[0], RETRANSMIT, 0, identity, 0, 0, 4096, 0, 0)
    return one._replace(window=window, sent=sent)


@define
class Kernel:
    """The sockets that there are, and the questions that were asked."""

    held: dict[tuple[Network, int], TcpSocket] = field(factory=dict)
    asked: int = 0

    def put(self, at: Where, one: TcpSocket) -> None:
        """Let a socket be there."""
        self.held[at.peer, at.local_port] = one

    def find(
        self, _local: Network, port: int, peer: Network, _port: int, *, interface: int = 0
    ) -> TcpSocket | None:
        """Return the one of these ends."""
        self.asked += 1
        return self.held.get((peer, port)) if not interface else None

    def close(self) -> None:
        """Be asked no more."""


@define
class Ring:
    """A ring that tells what the test says."""

    told: list[Told] = field(factory=list)
    missed: int = 0

    def fileno(self) -> int:
        """Return nothing that can be waited for."""
        return -1

    def read(self) -> Sequence[Told]:
        """Return what was said since."""
        found, self.told = self.told, []
        return found

    def lost(self) -> int:
        """Return how many were lost since."""
        found, self.missed = self.missed, 0
        return found

    def close(self) -> None:
        """Be asked no more."""


@define
class Scene:
    """An eye, what it sees, and a clock that stands still between steps."""

    kernel: Kernel = field(factory=Kernel)
    ring: Ring = field(factory=Ring)
    now: float = 1000.0
    asleep: float = 0.0
    candidates: Candidates = field(factory=lambda: Candidates(LASTING))
    eye: Eye = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with a list that shows nobody."""
        self.eye = Eye(
            self.ring,
            self.candidates,
            lambda: cast("Sockets", self.kernel),
            lambda: self.now,
            lambda: self.asleep,
        )
        self.listed()

    def listed(self) -> None:
        """Make the list that is due."""
        assert self.eye.begin() is None
        self.eye.end(None, {}, ())

    def hear(self, *told: Told) -> float:
        """Heed what the kernel tells."""
        self.ring.told += told
        return self.eye.heed()

    def pass_by(self, seconds: float, step: float = 0.01) -> float:
        """Heed as often as it asks for it, until it is to be read, or the time is over."""
        end, wait = self.now + seconds, 0.0
        while self.now < end:
            wait = self.eye.heed()
            if wait <= 0:
                return self.now
            self.now += max(step, min(wait, end - self.now))
        return inf


@pytest.fixture
def scene() -> Scene:
    """A machine without a socket."""
    return Scene()


def attack(scene: Scene, number: int, **more: int) -> Where:
    """Let one attack, and the kernel tell of it."""
    at = where(number)
    scene.kernel.put(at, stuck(at, **more))
    scene.hear(at)
    return at


def test_without_suspects_nothing_is_due(scene: Scene) -> None:
    """Neither a look nor a read, for ever."""
    assert scene.eye.heed() == inf
    assert scene.kernel.asked == 0


def test_the_first_look_is_a_moment_later(scene: Scene) -> None:
    """What a packet on its way clears, is cleared by then."""
    assert scene.hear(where(1)) == pytest.approx(0.005)
    assert scene.kernel.asked == 0
    scene.now += 0.005
    assert scene.eye.heed() == inf  # there is none by now
    assert scene.kernel.asked == 1
    assert len(scene.candidates) == 0


def test_what_has_lasted_at_three_looks_is_to_be_read(scene: Scene) -> None:
    """Not before, and with no look more than it takes."""
    attack(scene, 1)
    begun = scene.now
    assert scene.pass_by(30) == pytest.approx(begun + 0.005 + LASTING, abs=0.02)
    assert scene.kernel.asked == 3


def test_a_window_that_opens_ends_it(scene: Scene) -> None:
    """At whichever look."""
    at = attack(scene, 1)
    assert scene.pass_by(3) == inf
    scene.kernel.put(at, stuck(at, window=9000))
    assert scene.pass_by(30) == inf
    assert len(scene.candidates) == 0


def test_what_is_sent_in_between_lets_it_begin_anew(scene: Scene) -> None:
    """The window was open then."""
    at = attack(scene, 1)
    begun = scene.now
    assert scene.pass_by(3) == inf
    scene.kernel.put(at, stuck(at, sent=9000))
    assert scene.pass_by(30) == pytest.approx(begun + LASTING / 2 + LASTING, abs=0.1)


def test_other_ports_and_this_machine_itself_are_left_out() -> None:
    """As a list leaves them out."""
    scene = Scene(candidates=Candidates(LASTING, {443}))
    loopback = where(1, 443)._replace(peer=Network.parse("127.0.0.9"))
    assert scene.hear(where(1, 80), loopback) == inf
    assert scene.hear(where(1, 443)) < 1


def test_what_was_lost_is_made_up_for_by_one_list(scene: Scene) -> None:
    """No list follows another at once, and the administrator is told how much it was."""
    scene.ring.missed = 3
    assert 0 < scene.eye.heed() <= LASTING / 2
    scene.now += LASTING / 2
    assert scene.eye.heed() == 0
    scene.listed()
    assert scene.eye.heed() == inf
    assert scene.eye.told() == "bpf; 3 events lost, and made up for by lists"


def test_more_than_are_held_are_listed(scene: Scene) -> None:
    """As long as there are too many, and no longer."""
    scene.hear(*map(where, range(MOST + 1)))
    assert len(scene.candidates) == MOST
    scene.now += LASTING / 2
    assert scene.eye.heed() == 0
    scene.listed()
    assert scene.pass_by(60) == inf
    assert len(scene.candidates) == 0


def test_looks_are_rationed(scene: Scene) -> None:
    """No more in one go than take a moment, and in the long run few."""
    for number in range(3000):
        attack(scene, number, window=9000)  # each is well again by the first look
    before = scene.kernel.asked
    scene.now += 0.005
    scene.eye.heed()
    assert scene.kernel.asked - before <= 100
    begun, asked = scene.now, scene.kernel.asked
    for number in range(12_000):
        scene.hear(where(number % 9000))
        scene.now += 0.001
    assert scene.kernel.asked - asked <= 4000 + 400 * (scene.now - begun) + 100


def test_whoever_opens_and_closes_leaves_nothing(scene: Scene) -> None:
    """Neither candidates nor times at which these were to be looked at."""
    for number in range(4000):
        attack(scene, number)
        scene.now += 0.005
        scene.eye.heed()
        scene.kernel.held.clear()
        scene.now += 0.3
    assert len(scene.candidates) < 100
    assert scene.candidates.times <= 4 * MOST + 1


def test_a_suspend_lets_all_begin_anew(scene: Scene) -> None:
    """Nobody could answer meanwhile."""
    attack(scene, 1)
    assert scene.pass_by(3) == inf
    scene.now += 3600
    scene.asleep += 3600
    assert scene.eye.heed() == 0
    assert scene.eye.begin() is None
    assert len(scene.candidates) == 0
    before = Suspect("2:00", "zero-window", OWN, scene.now - 10, 3)
    judged, behind = evolve(before, judged=True), evolve(before, since=scene.now)
    assert [*map(scene.eye.counts, (before, judged, behind))] == [False, True, True]


def judge(scene: Scene, *, aside: bool = False) -> list[Suspect]:
    """Make the read that is due, in which all are judged, or put aside."""
    looked = scene.eye.begin()
    assert looked is not None
    found = [evolve(each.suspect, judged=True) for each in looked if each.suspect]
    things = {each.thing: each for each in found}
    scene.eye.end(looked, {} if aside else things, things if aside else ())
    return found


def test_company_is_judged_together(scene: Scene) -> None:
    """The other sockets of a peer whose time has come are looked at as well, and no others."""
    attack(scene, 1)
    assert scene.pass_by(8) == inf
    other = where(1, 81)
    scene.kernel.put(other, stuck(other))
    scene.hear(other)
    attack(scene, 2)
    assert scene.pass_by(5) < inf
    looked = scene.eye.begin() or []
    assert sorted((each.where.peer, each.where.local_port) for each in looked) == [
        (other.peer, 80),
        (other.peer, 81),
    ]


def test_who_is_judged_is_left_alone(scene: Scene) -> None:
    """However often the kernel tells of it; another socket of the same ends is a new one."""
    at = attack(scene, 1)
    scene.pass_by(30)
    judge(scene)
    asked = scene.kernel.asked
    for _ in range(1000):
        scene.hear(at)
        scene.now += 0.2
    assert scene.kernel.asked - asked <= 21
    assert scene.eye.begin() == []
    scene.kernel.put(at, stuck(at, cookie=8))
    scene.now += 10
    scene.hear(at)
    assert scene.pass_by(30) < inf


def test_who_is_put_aside_is_looked_at_again_later(scene: Scene) -> None:
    """An own connection may become another's: addresses change."""
    at = attack(scene, 1)
    scene.pass_by(30)
    judge(scene, aside=True)
    scene.hear(at)
    assert scene.pass_by(40) == inf
    scene.now += 30
    scene.hear(at)
    assert scene.pass_by(30) < inf


def test_what_is_stored_counts(scene: Scene) -> None:
    """Who was judged, and is not stored as judged, is to be judged again."""
    attack(scene, 1)
    scene.pass_by(30)
    [judged] = judge(scene)
    scene.now += 1
    scene.eye.recall({judged.thing: judged})
    assert scene.eye.begin() == []
    scene.eye.end([], {}, ())
    scene.eye.recall({})
    assert [each.suspect.judged for each in scene.eye.begin() or [] if each.suspect] == [False]


def test_what_a_list_judged_and_was_not_stored_is_judged_again(scene: Scene) -> None:
    """Though the kernel has not told of it."""
    at = where(1)
    scene.kernel.put(at, stuck(at))
    scene.ring.missed = 1
    assert scene.pass_by(30) < inf
    assert scene.eye.begin() is None
    found = suspected(stuck(at), RULE, scene.now - 60, None, looks=3)
    scene.eye.end(None, {found.thing: evolve(found, judged=True)}, ())
    scene.now += 1
    scene.eye.recall({})
    assert [each.suspect.judged for each in scene.eye.begin() or [] if each.suspect] == [False]


def test_a_list_that_failed_is_made_again(scene: Scene) -> None:
    """It proves that the kernel tells at all: till then its silence is no peace."""
    scene.ring.missed = 1
    assert scene.pass_by(30) < inf
    assert scene.eye.begin() is None  # and no end
    scene.now += 1
    assert scene.eye.begin() is None
    scene.eye.end(None, {}, ())
    scene.now += LASTING
    assert scene.eye.begin() == []


def test_what_could_not_be_asked_is_asked_again(scene: Scene) -> None:
    """One failure lets nobody get away."""
    at = attack(scene, 1)
    scene.now += 0.005
    sockets, scene.eye.open_sockets = scene.eye.open_sockets, broken
    with pytest.raises(NetlinkError):
        scene.eye.heed()
    scene.eye.open_sockets = sockets
    assert scene.pass_by(30) < inf
    assert [each.where for each in scene.eye.begin() or []] == [at]


def test_a_read_settles_no_other_than_it_has_looked_at(scene: Scene) -> None:
    """Who was dropped meanwhile, and told of again, goes on."""
    at = attack(scene, 1)
    other = where(1, 81)
    scene.kernel.put(other, stuck(other))
    scene.pass_by(5)
    scene.hear(other)
    scene.pass_by(10)
    looked = scene.eye.begin() or []
    assert [each.where for each in looked] == [at, other]
    scene.now += LASTING
    scene.kernel.put(other, stuck(other, window=9000))
    scene.eye.heed()
    scene.kernel.put(other, stuck(other))
    scene.hear(other)
    scene.eye.end(looked, {}, ())
    assert len(scene.candidates) == 1
    assert scene.pass_by(300) < inf  # as that read took long
    assert [each.where for each in scene.eye.begin() or []] == [other]


def broken() -> Sockets:
    """Fail."""
    raise NetlinkError(errno.ENOBUFS, "no room")


def test_two_reads_are_apart(scene: Scene) -> None:
    """Each opens the database."""
    attack(scene, 1)
    scene.pass_by(9.9)
    attack(scene, 2)
    scene.pass_by(30)
    judge(scene)
    begun = scene.now
    for number in range(3, 30):
        attack(scene, number)
        scene.now += 0.5
    reads = 0
    while scene.now < begun + 40:
        if scene.eye.heed() <= 0:
            judge(scene)
            reads += 1
        scene.now += 0.01
    assert reads <= 40 / 0.4
    assert reads >= 10
