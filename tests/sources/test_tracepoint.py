"""What the kernel tells by itself, on real sockets: attackers, honest peers, other namespaces."""

import ctypes
import os
import re
import select
import socket
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise

import pytest
from harness import REAL_ROOT, ROOT
from peers import (
    PORT,
    SERVER4,
    SERVER6,
    Peers,
    Server,
    dead,
    healthy,
    shrinking,
    slow,
)
from programs import attached, descriptors, ends

from reconciler import Network
from reconciler.bpf import BpfError, Counter, attach, load
from reconciler.bpf.assembler import (
    ATOMIC_ADD,
    CALL,
    DW,
    EXIT,
    JA,
    MAP_VAL,
    MOV,
    R0,
    R1,
    R2,
    Instruction,
    Label,
    assemble,
)
from reconciler.host.netns import Namespace
from reconciler.netlink import HOLDING, Sockets, TcpSocket
from sources.sockets import tracepoint, tracepoint_program
from sources.sockets.tracepoint import Retransmission, Retransmissions, decoded
from sources.sockets.tracepoint_program import PAUSE, RECORD, Maps, code

kernel = pytest.mark.skipif(not REAL_ROOT, reason="only root may load programs into the kernel")

ACK = 0x10
ONLY4, CLOSING = 8083, 8084
"""Ports of servers: one serves IPv4 alone, one closes once it has sent."""


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers, and servers of both families, of IPv4 alone, and one that closes."""
    made = Peers()
    servers = [Server("::"), Server(SERVER4, ONLY4), Server("::", CLOSING, 20_000, closing=True)]
    yield made
    for each in servers:
        each.close()
    made.close()


@pytest.fixture
def told(lab: Peers) -> Iterator[Retransmissions]:
    """What the kernel tells of the lab's namespace."""
    with closing(Retransmissions()) as made:
        yield made


def collect(told: Retransmissions, seconds: float) -> list[Retransmission]:
    """Read for so long what comes."""
    poll, found, end = select.poll(), list[Retransmission](), time.monotonic() + seconds
    poll.register(told.fileno(), select.POLLIN)
    while (left := end - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            found += told.read()
    return found


def wait_for(told: Retransmissions, number: int) -> list[Retransmission]:
    """Read until so many peers were told of."""
    found, end = list[Retransmission](), time.monotonic() + 20
    while len({(each.peer, each.peer_port) for each in found}) < number:
        assert time.monotonic() < end, found
        found += collect(told, 0.1)
    return found


def found_of(one: Retransmission) -> TcpSocket:
    """Ask the kernel for the socket."""
    found = Sockets().find(one.local, one.local_port, one.peer, one.peer_port, one.interface)
    assert found is not None
    return found


@kernel
@pytest.mark.parametrize("window", [0, 1, 100])
@pytest.mark.parametrize(
    ("address", "to", "family"),
    [
        ("10.9.1.1", ONLY4, socket.AF_INET),
        ("10.9.1.1", PORT, socket.AF_INET6),
        ("fd00:9::1", PORT, socket.AF_INET6),
        ("10.9.1.1", CLOSING, socket.AF_INET6),
    ],
    ids=["IPv4", "mapped", "IPv6", "orphan"],
)
def test_an_attacker_is_told_of(
    told: Retransmissions, lab: Peers, window: int, address: str, to: int, family: int
) -> None:
    """With all by which the kernel is asked for the socket, which shows the attack by then."""
    begun = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    lab.connect(address, 4638, shrinking(window), to=to)
    one = wait_for(told, 1)[0]
    assert begun < one.at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    server = SERVER6 if ":" in address else SERVER4
    assert (one.peer, one.peer_port) == (Network.parse(address), 4638)
    assert (one.local, one.local_port) == (Network.parse(server), to)
    assert (one.family, one.interface, one.window) == (family, 0, window)
    assert one.in_flight >= 4000
    found, end = found_of(one), time.monotonic() + 20
    while not found.is_over:  # at the first, which may come before the timer runs
        assert time.monotonic() < end, found
        found = found_of(one)
    assert (found.family, found.window) == (family, window)
    assert one.state in HOLDING


@kernel
def test_an_honest_peer_is_not_told_of(told: Retransmissions, lab: Peers) -> None:
    """Neither who reads slowly, nor who is gone; the attacker that is there besides is."""
    for number, behave in enumerate((healthy, slow, dead)):
        lab.connect(f"10.9.2.{number}", 4000, behave)
        lab.connect(f"fd00:9::2:{number}", 4000, behave)
    lab.connect("10.9.1.1", 4000, shrinking())
    found = wait_for(told, 1) + collect(told, 2)
    assert {str(each.peer) for each in found} == {"10.9.1.1"}


@kernel
def test_another_namespace_is_not_told_of(told: Retransmissions, lab: Peers) -> None:
    """The same attack is told of here, and not there."""
    other = Namespace()
    with ExitStack() as stack:
        stack.callback(other.close)
        with other.entered():
            there = Peers()
            stack.callback(there.close)
            stack.callback(Server("::").close)
        there.connect("10.9.3.1", 4000, shrinking())
        there.settle(1)
        with other.entered(), closing(Retransmissions()) as of_there:
            assert {str(each.peer) for each in wait_for(of_there, 1)} == {"10.9.3.1"}
        lab.connect("10.9.1.1", 4000, shrinking())
        found = wait_for(told, 1) + collect(told, 1)
    assert {str(each.peer) for each in found} == {"10.9.1.1"}


@pytest.fixture
def counted() -> Iterator[Counter]:
    """How often any socket of the machine has sent again."""
    with closing(Counter("trial")) as counter:
        steps = [
            MAP_VAL(R1, counter.descriptor, 0),
            MOV(R2, 1),
            ATOMIC_ADD(DW, R1, 0, R2),
            MOV(R0, 0),
            EXIT(),
        ]
        program = load("trial", assemble(steps))
        link = attach(program, "tcp_retransmit_skb")
        yield counter
        os.close(link)
        os.close(program)


@kernel
def test_a_socket_is_told_of_once_in_a_while(
    told: Retransmissions, lab: Peers, counted: Counter
) -> None:
    """However often it sends again: a peer that acknowledges byte by byte makes thousands."""
    flows = [lab.connect("10.9.1.1", 4000 + number, shrinking(1)) for number in range(3)]
    lab.settle(3)
    lab.wait(1)
    found, before = told.read(), counted.value
    for _ in range(1000):
        for flow in flows:
            flow.una += 1
            lab.send(flow, ACK, 1)
        found += collect(told, 0.001)
    events = counted.value - before
    by_port: dict[int, list[int]] = {}
    for each in found:
        by_port.setdefault(each.peer_port, []).append(each.at)
    assert by_port.keys() == {4000, 4001, 4002}
    for times in by_port.values():
        assert min(later - earlier for earlier, later in pairwise(times)) >= PAUSE
    assert events > 10 * len(found), (events, len(found))


@kernel
def test_what_does_not_fit_is_counted(lab: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: what was counted is not counted again."""
    monkeypatch.setattr(tracepoint, "_RING", os.sysconf("SC_PAGESIZE"))
    room = os.sysconf("SC_PAGESIZE") // (RECORD.size + 8)
    with closing(Retransmissions()) as told:
        assert told.lost() == 0
        for number in range(room + 20):
            lab.connect(f"10.9.1.{number}", 4000, shrinking())
        lab.settle(room + 20)
        lab.wait(1)
        found = told.read()
        assert len(found) == room, found
        assert told.lost() >= 20
        assert told.lost() == 0
        assert wait_for(told, 1)


@kernel
def test_once_it_is_there_it_needs_no_capability(lab: Peers) -> None:
    """Neither to read, nor to tell what was lost, nor to end: they may be given up."""
    found = list[Retransmission | int]()

    def without() -> None:
        lost_all()
        found.extend(wait_for(opened, 1))
        found.append(opened.lost())
        opened.close()

    opened = Retransmissions()
    lab.connect("10.9.1.1", 4000, shrinking())
    thread = threading.Thread(target=without)  # capabilities are a thread's own
    thread.start()
    thread.join()
    assert found[-1] == 0
    assert isinstance(found[0], Retransmission)
    assert descriptors() == []


def lost_all() -> None:
    """Drop all capabilities of the thread, by capset(2)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0


@kernel
def test_nothing_stays_in_the_kernel(host: None) -> None:
    """Neither descriptors nor the program."""
    assert descriptors() == []
    told = Retransmissions()
    [number] = attached()
    told.close()
    assert descriptors() == []
    assert ends(number)


@kernel
@pytest.mark.parametrize("step", ["Ring", "Counter", "recent", "load", "attach"])
def test_what_fails_leaves_nothing_open(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever step."""

    def fail(*_given: object) -> None:
        raise BpfError("no")

    monkeypatch.setattr(tracepoint, step, fail)
    with pytest.raises(BpfError, match="no"):
        Retransmissions()
    assert descriptors() == []


def test_what_is_not_tcp_over_ip_is_left_out() -> None:
    """A record with another family."""
    values = (1, 2, 3, 0, socket.AF_UNIX, 5, 6, 7, bytes(4), bytes(4), bytes(16), bytes(16))
    assert decoded(RECORD.pack(*values)) is None


PAGE = (ROOT / "docs" / "explanation" / "the-bpf-program.md").read_text()


def test_the_page_for_reviewers_shows_the_program_as_its_docstring_does() -> None:
    """Word for word."""
    [shown] = re.findall(r"```c\n(.*?)```", PAGE, re.DOTALL)
    assert textwrap.indent(shown, "    ") in (tracepoint_program.__doc__ or "")


def test_the_page_counts_what_there_is() -> None:
    """Instructions, those of the longest way, calls, and the bytes of a record."""
    sizes = {name: size for one in tracepoint_program.SIZES.values() for name, size in one.items()}
    steps = code(dict.fromkeys(sizes, 0), 1, Maps(3, 4, 5))
    longest, calls = longest_way(steps)
    assert f"{len(assemble(steps)) // 8} instructions, about" in PAGE
    assert f"longest way through it is {longest}\n  instructions, {calls} of them calls" in PAGE
    assert f"{RECORD.size} bytes a record" in PAGE


def longest_way(steps: Sequence[Instruction | Label]) -> tuple[int, int]:
    """Return how many instructions the longest way has from a step on, and how many calls."""
    behind = {step.name: at for at, step in enumerate(steps) if isinstance(step, Label)}
    ways = [(0, 0)]  # from each step on, the last first
    for step in reversed(steps):
        if isinstance(step, Label):
            ways.append(ways[-1])
            continue
        jump = [ways[len(steps) - behind[step.target]]] if step.target else []
        longest, calls = max([*jump, *(() if step == JA(step.target) else ways[-1:])])
        width = 1 if step.following is None else 2
        ways.append((longest + width, calls + (step.opcode == CALL(0).opcode)))
    return ways[-1]
