"""The source sockets, where the kernel tells of suspects: on the kernel that runs here.

Attackers and honest peers speak TCP by themselves (`peers`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
from attrs import define, field
from peers import Peers, Server, healthy, nibbling, shrinking, slow
from pytest_mock import MockerFixture

from reconciler import Network, Record, SourceUnreadable
from reconciler.bpf import BpfUnavailable
from reconciler.netlink import Sockets
from reconciler.testing import HeedingSourceContract
from sources.sockets import Settings
from sources.sockets.source import SocketsSource
from sources.sockets.suspicion import IN_COMPANY, RULE
from sources.sockets.tracepoint import Retransmission

SHORT = Settings(lasting=timedelta(seconds=1))


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers, and a server of both families."""
    made, server = Peers(), Server("::")
    yield made
    server.close()
    made.close()


@define(slots=False)
class Scene:
    """What the contracts look at: time passes by when they say so."""

    lab: Peers
    later: float = 0.0
    number: int = 0
    opened: Callable[[], Sockets] = Sockets
    settings: Settings = field(factory=Settings)

    def offend(self) -> None:
        """Let one more attack."""
        self.number += 1
        self.lab.connect(f"10.9.1.{self.number}", 4000, shrinking())
        self.lab.settle(self.number)

    def behave(self) -> None:
        """Let one read nothing, and one be well."""
        self.lab.connect("fd00:9::1", 4000, slow)
        self.lab.connect("fd00:9::2", 4000, healthy)
        self.lab.wait(1.0)

    def wait(self) -> None:
        """Let some seconds pass by."""
        self.later += 5

    def now(self) -> float:
        """Return the seconds that this clock shows."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.later

    def source(self) -> SocketsSource:
        """Look."""
        return SocketsSource(self.settings, open_sockets=self.opened, uptime=self.now)


class TestWoken(HeedingSourceContract):
    """The promises of a source that is woken by what it judges later."""

    @pytest.fixture
    def scene(self, lab: Peers) -> Scene:
        """Peers that speak TCP by themselves."""
        return Scene(lab)


@define
class Deaf:
    """A ring that never tells of anybody."""

    missed: int = 0

    def fileno(self) -> int:
        """Return nothing that can be waited for."""
        return -1

    def read(self) -> Sequence[Retransmission]:
        """Return nobody."""
        return ()

    def lost(self) -> int:
        """Return how many were lost since."""
        found, self.missed = self.missed, 0
        return found

    def close(self) -> None:
        """Be asked no more."""


@contextmanager
def woken(settings: Settings = SHORT, **options: object) -> Iterator[SocketsSource]:
    """A source that is woken, and has made its first read; time is real."""
    source = SocketsSource(settings, **options)  # type: ignore[arg-type]
    source.fileno()
    assert [*source.read(None, ())] == []
    yield source
    source.close()


def heeded(source: SocketsSource, seconds: float) -> list[Record]:
    """Heed for so long, and read whenever it says so."""
    end, found = time.monotonic() + seconds, list[Record]()
    while time.monotonic() < end:
        if source.heed() <= 0:
            found += source.read(source.cursor(), ())
        time.sleep(0.005)
    return found


def judged(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return against which rules who is judged."""
    told = (record.judgement for record in records if record.judgement)
    return sorted((str(each.address), each.rule) for each in told)


def test_all_kinds_of_attackers_are_judged_and_nobody_else(lab: Peers) -> None:
    """Both families, windows of 0, 1 and 100, a byte at a time; not the slow and the healthy."""
    with woken() as source:
        lab.connect("10.9.1.1", 4000, shrinking())
        lab.connect("10.9.1.2", 4000, shrinking(1))
        lab.connect("fd00:9::1", 4000, shrinking(100))
        lab.connect("fd00:9::2", 4000, nibbling())
        lab.connect("10.9.1.8", 4000, slow)
        lab.connect("10.9.1.9", 4000, healthy)
        lab.settle(4)
        found = heeded(source, 4)
        assert heeded(source, 2) == []
    assert judged(found) == [
        (address, RULE) for address in ("10.9.1.1", "10.9.1.2", "fd00:9::1", "fd00:9::2")
    ]


def test_a_proxy_is_spared(lab: Peers) -> None:
    """Company is judged as by a list."""
    with woken() as source:
        for port in range(5):
            lab.connect("10.9.1.1", 5000 + port, healthy)
        lab.connect("10.9.1.1", 4000, shrinking())
        lab.connect("10.9.1.1", 4001, shrinking())
        lab.settle(2)
        found = heeded(source, 4)
    assert judged(found) == [("10.9.1.1", IN_COMPANY)]


def test_own_addresses_are_put_aside(lab: Peers) -> None:
    """They are no offenders, and are not read again and again."""
    with woken(own=lambda: [Network.parse("10.9.1.1")]) as source:
        lab.connect("10.9.1.1", 4000, shrinking())
        lab.settle(1)
        assert heeded(source, 3) == []
        assert source.heed() > 1


def test_what_is_not_ripe_is_told(lab: Peers) -> None:
    """To whoever asks why somebody is no offender yet."""
    with woken(Settings()) as source:
        lab.connect("10.9.1.1", 4000, shrinking())
        lab.settle(1)
        assert heeded(source, 1) == []
        near = {miss.text: miss.why for miss in source.near_misses()}
        assert any("10.9.1.1:4000" in text and "it takes 10 s" in why for text, why in near.items())


def test_sockstress_goes_on_with_lists(lab: Peers) -> None:
    """The kernel sends nothing again then, so nothing wakes; it says so."""
    settings = Settings(lasting=timedelta(seconds=1), sockstress=True)
    with woken(settings) as source:
        assert source.way() == "bpf, and lists for sockstress"
        assert 0 < source.heed() <= 10
        lab.connect("fd00:9::1", 4000, slow)
        lab.wait(1)
        source.read(source.cursor(), ())


def test_what_the_ring_lost_is_found_by_a_list(lab: Peers) -> None:
    """As if the kernel had told of it."""
    ring = Deaf()
    with woken(open_ring=lambda: ring) as source:
        lab.connect("10.9.1.1", 4000, shrinking())
        lab.settle(1)
        assert heeded(source, 2) == []
        ring.missed = 1
        assert judged(heeded(source, 4)) == [("10.9.1.1", RULE)]
        assert source.way() == "bpf; 1 event lost, and made up for by lists"


def test_why_it_is_not_woken_is_told(mocker: MockerFixture) -> None:
    """As the kernel's refusal has it, with what helps."""
    refusal = BpfUnavailable("this kernel has no BTF", "use another one")
    mocker.patch("sources.sockets.tracepoint.check_machine", side_effect=refusal)
    with pytest.raises(SourceUnreadable, match="this kernel has no BTF") as told:
        SocketsSource().fileno()
    assert told.value.hint == "use another one"
    with pytest.raises(SourceUnreadable, match='way = "dump"'):
        SocketsSource(Settings(way="dump")).fileno()


@pytest.mark.parametrize(("way", "insists"), [("auto", False), ("bpf", True), ("dump", False)])
def test_only_bpf_insists(way: str, *, insists: bool) -> None:
    """The others are right without."""
    assert SocketsSource(Settings(way=way)).insists() is insists
