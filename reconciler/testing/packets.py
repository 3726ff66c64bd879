"""What every backend promises that enforces in this kernel: packets, over veth."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from typing import Any, ClassVar

import pytest

from reconciler.asking import AskableBackend
from reconciler.dropped import CountingBackend
from reconciler.errors import BackendError
from reconciler.execute import run
from reconciler.host.netns import HOST4, HOST6, WITNESS4, Namespace, Wire
from reconciler.interfaces import Backend
from reconciler.network import Network
from reconciler.planning.plan import plan
from reconciler.testing.steps import Cases, given, needed, reach, state

_PORT = 4712
_SMALLEST = 28
"""Bytes of the headers of a packet: IPv4 and UDP."""


class PacketContract(Cases):
    """Subclass it, and give a fixture ``backend`` that is made in the fixture ``namespace``.

    It needs root, or user namespaces: ``unshare --user --map-root-user --net pytest``.

    ``harmless``
        names of damages, and functions that do them, each called with the test's instance: such
        as lets no banned packet through and no other be dropped, but needs repair.
    ``gaps``
        names of damages, and functions that do them, likewise: after each, banned packets arrive
        although the bans are in place, for nothing asks what holds them. What cannot be mended is
        to be told as a problem.
    """

    harmless: ClassVar[Mapping[str, Callable[[Any], object]]] = {}
    gaps: ClassVar[Mapping[str, Callable[[Any], object]]] = {}
    repairs: ClassVar[int] = 50

    @pytest.fixture
    def namespace(self) -> Iterator[Namespace]:
        """An empty network namespace around the test."""
        made = Namespace()
        with made.entered():
            yield made
        made.close()

    @pytest.fixture
    def cable(self, namespace: Namespace) -> Iterator[Callable[..., Wire]]:  # noqa: ARG002 - wanted for what it does
        """Make a cable to peers of any addresses."""
        with ExitStack() as stack:

            def make(*peers: str) -> Wire:
                made = Wire(peers)
                stack.callback(made.close)
                return made

            yield make

    def test_dropped_and_passed(self, backend: Backend, cable: Callable[..., Wire]) -> None:
        """Who is banned is not heard, everybody else is; and is heard again when it is lifted."""
        banned = ["198.51.100.7", "10.1.2.3", "2001:db8:bad::1", "2001:db8:7::1"]
        others = ["198.51.100.8", "10.2.2.3", "2001:db8:bad::2", "2001:db8:8::1"]
        wire = cable(*banned, *others)
        assert wire.arriving([*banned, *others]) == {*banned, *others}
        reach(backend, state(["198.51.100.7", "10.1.0.0/16", "2001:db8:bad::1", "2001:db8:7::/48"]))
        assert wire.arriving([*banned, *others]) == {*others}
        reach(backend, state())
        assert wire.arriving([*banned, *others]) == {*banned, *others}

    def test_whitelisted_passes(self, backend: Backend, cable: Callable[..., Wire]) -> None:
        """Who is whitelisted inside a banned network is heard, in both families."""
        peers = ["10.1.0.1", "10.1.0.2", "2001:db8:7::1", "2001:db8:7::2"]
        wire = cable(*peers)
        wanted = state(["10.1.0.0/16", "2001:db8:7::/48"], ["10.1.0.2", "2001:db8:7::2"])
        reach(backend, wanted)
        assert wire.arriving(peers) == {"10.1.0.2", "2001:db8:7::2"}

    def test_neighbours_are_found(self, backend: Backend, cable: Callable[..., Wire]) -> None:
        """A ban of the neighbours' own addresses keeps neither side from finding the other."""
        wire = cable("2001:db8:7::1")
        reach(backend, state(["2001:db8::/32"]))
        assert _finds("2001:db8:7::1")
        with wire.peers.entered():
            assert _finds(HOST6)

    def test_loopback_is_heard(self, backend: Backend, cable: Callable[..., Wire]) -> None:
        """A ban of everything leaves the machine able to talk to itself."""
        cable()
        wanted = state(["0.0.0.0/0", "::/0"])
        reach(backend, wanted)
        assert needed(backend, wanted) is None
        for address in ("127.0.0.1", "::1", HOST4, HOST6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as itself:
                itself.settimeout(2)
                itself.bind((address, 0))
                itself.sendto(b"hello", itself.getsockname())
                assert itself.recv(16) == b"hello"

    def test_what_packets_do_not_come_to_is_told(
        self, gap: str, backend: Backend, cable: Callable[..., Wire]
    ) -> None:
        """Bans that are in place drop nobody when nothing asks for them: that is not in sync."""
        banned = ["198.51.100.7", "2001:db8:bad::1"]
        wire = cable(*banned)
        wanted = state(banned)
        given(backend, wanted)
        assert not wire.arriving(banned)
        assert _told_as_dropped(backend, banned) in ({*banned}, None)
        self.gaps[gap](self)
        arrived = wire.arriving(banned)
        assert arrived, "the damage lets nobody through"
        assert not arrived & (_told_as_dropped(backend, banned) or set())
        observed = backend.observe()
        made = plan(wanted, observed)
        assert made is not None or observed.problems, "the damage is not seen"
        if made is not None:
            with suppress(BackendError):
                backend.apply(made)
        assert not wire.arriving(banned) or backend.observe().problems, "nobody is told"

    def test_no_gap_while_it_changes(self, backend: Backend, cable: Callable[..., Wire]) -> None:
        """In fifty changes under a flood no banned packet arrives, no whitelisted one is lost."""
        offender, passed = "198.51.100.77", WITNESS4
        wire = cable(offender)
        others = ["203.0.113.1", "203.0.113.0/24", "10.0.0.0/8"]
        given(backend, state([offender], [passed]))
        with flood(wire, offender, passed) as traffic:
            for turn in range(self.repairs):
                reach(backend, state([offender, others[turn % 3]], [passed]))
        traffic.judge(offender, passed)

    def test_no_gap_while_it_is_repaired(
        self, harm: str, backend: Backend, cable: Callable[..., Wire]
    ) -> None:
        """In fifty repairs under a flood, the same."""
        offender, passed = "198.51.100.77", WITNESS4
        wire = cable(offender)
        wanted = state([offender, "192.0.2.0/28", "203.0.113.0/24"], [passed])
        given(backend, wanted)
        with flood(wire, offender, passed) as traffic:
            for _ in range(self.repairs):
                self.harmless[harm](self)
                reach(backend, wanted)
        assert needed(backend, wanted) is None
        traffic.judge(offender, passed)


class CountingContract(Cases):
    """For a backend with `dropped`; a class beside `PacketContract`, whose fixtures it uses."""

    def test_what_is_dropped_is_counted(
        self, backend: CountingBackend, cable: Callable[..., Wire]
    ) -> None:
        """By any object, each packet and its bytes, and no packet that passes."""
        begun = int(time.time())
        banned = ["198.51.100.7", "10.1.2.3", "2001:db8:bad::1", "2001:db8:7::1"]
        wire = cable(*banned, "198.51.100.8")
        assert backend.dropped() is None
        given(backend, state(["198.51.100.7", "10.1.0.0/16", "2001:db8:bad::1", "2001:db8:7::/48"]))
        before = backend.dropped()
        assert before is not None
        assert not wire.arriving(banned)
        after = copy(backend).dropped()
        assert after is not None
        assert after.packets >= before.packets + len(banned)
        assert after.bytes >= before.bytes + len(banned) * _SMALLEST
        assert after.since == before.since
        assert after.since is None or begun <= after.since <= time.time()
        assert wire.arriving(["198.51.100.8"])
        assert backend.dropped() == after

    def test_counting_changes_nothing(self, backend: CountingBackend) -> None:
        """What is held is held as before."""
        wanted = state(["192.0.2.7", "198.51.100.0/24"])
        given(backend, wanted)
        backend.dropped()
        assert needed(backend, wanted) is None


class Traffic:
    """What was sent, and what arrived, by the sender's address."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.arrived: Counter[str] = Counter()

    def judge(self, banned: str, passed: str) -> None:
        """Hold that no packet of the one arrived, and each of the other."""
        assert self.sent[banned] > 100
        assert self.arrived[banned] == 0, "banned packets slipped through"
        assert self.arrived[passed] == self.sent[passed], "whitelisted packets were lost"


@contextmanager
def flood(wire: Wire, *senders: str) -> Iterator[Traffic]:
    """Send from all of them during the block, without pause, but never faster than is read."""
    traffic = Traffic()
    done = threading.Event()
    room = threading.Semaphore(64)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listener.bind((HOST4, _PORT))
        listener.settimeout(0.3)
        with wire.peers.entered():
            speakers = {
                sender: stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for sender in senders
            }
            for sender, speaker in speakers.items():
                speaker.bind((sender, 0))

        def send() -> None:
            while not done.is_set():
                # Room comes back with each packet that arrives; a lost one costs a pause.
                room.acquire(timeout=0.01)
                for sender, speaker in speakers.items():
                    speaker.sendto(b"flood", (HOST4, _PORT))
                    traffic.sent[sender] += 1

        def receive() -> None:
            ended = False  # what was sent before the end arrives within the listener's patience
            while not ended:
                ended = done.is_set()
                with suppress(TimeoutError):
                    while True:
                        traffic.arrived[listener.recvfrom(16)[1][0]] += 1
                        room.release()

        threads = [threading.Thread(target=send), threading.Thread(target=receive)]
        for thread in threads:
            thread.start()
        try:
            yield traffic
        finally:
            done.set()
            for thread in threads:
                thread.join()


def _told_as_dropped(backend: Backend, addresses: Iterable[str]) -> set[str] | None:
    """Return who is surely dropped, as the backend tells of each; None if it cannot be asked."""
    if not isinstance(backend, AskableBackend):
        return None
    held = {each: backend.holds(Network.parse(each)) for each in addresses}
    return {
        address
        for address, told in held.items()
        if told.reached and next((each.drops for each in told.decisions), False)
    }


def _finds(address: str) -> bool:
    """Forget the neighbours, speak to one, and tell whether the kernel finds it."""
    run(["ip", "neigh", "flush", "all"])
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as speaker, suppress(OSError):
        speaker.sendto(b"hello", (address, 9))
    for _ in range(100):
        if "lladdr" in run(["ip", "-6", "neigh", "show", address]).output:
            return True
        threading.Event().wait(0.02)
    return False
