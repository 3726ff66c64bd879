"""The source sockets, on real sockets: attackers, honest peers, and what keeps it blind.

Attackers and some honest peers speak TCP by themselves (`peers`); other honest ones are Linux.
"""

import errno
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from attrs import define, evolve, field
from harness import Place
from peers import (
    PORT,
    SERVER4,
    Answer,
    Flow,
    Peers,
    Server,
    dead,
    healthy,
    nibbling,
    opening,
    shrinking,
    slow,
)

from reconciler import Connection, Network, Record, SourceUnreadable, Suspect
from reconciler.execute import run
from reconciler.host.netns import HOST4, Namespace, Wire
from reconciler.netlink import NetlinkError, Sockets, TcpSocket
from reconciler.testing import JudgingSourceContract, WitnessContract
from sources.sockets import Settings
from sources.sockets.source import SocketsSource
from sources.sockets.suspicion import IN_COMPANY, RULE, SOCKSTRESS

CLOSING = 8081
"""The port of the server that closes once it has sent."""

Nft = Callable[..., str]


@define
class Passes:
    """Passes as a scan makes them: what one suspects, the next is given. Each is 10 s later."""

    settings: Settings = field(factory=Settings)
    options: dict[str, Any] = field(factory=dict)
    later: float = 0.0
    cursor: str | None = None
    suspects: Sequence[Suspect] = ()
    source: SocketsSource = field(factory=SocketsSource)

    def once(self, seconds: float = 10.0) -> list[Record]:
        """Make a pass, and let so many seconds pass by on its clock."""
        late = self.later
        self.source = SocketsSource(
            self.settings,
            uptime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + late,
            **self.options,
        )
        self.source.recall(self.suspects)
        records = [*self.source.read(self.cursor, [])]
        self.cursor = self.source.cursor() or self.cursor
        self.suspects = [*self.source.suspects()]
        self.later += seconds
        return records

    def twice(self) -> list[Record]:
        """Make two passes."""
        return [*self.once(), *self.once()]

    @property
    def near(self) -> dict[str, str]:
        """Why each peer that came near is no offender, by its address."""
        return {
            miss.text.rpartition(":")[0].partition(" ")[0].rpartition(":")[0]: miss.why
            for miss in self.source.near_misses()
        }


def who(records: Sequence[Record], rule: str = RULE) -> list[str]:
    """Return whom records judge by a rule, sorted."""
    judged = [r.judgement for r in records if r.judgement]
    return sorted(str(each.address) for each in judged if each.rule == rule)


@pytest.fixture
def lab(host: None) -> Iterator[Peers]:
    """Peers, a server of both families, and one that closes once it has sent."""
    made = Peers()
    servers = [Server("::"), Server("::", CLOSING, 20_000, closing=True)]
    yield made
    for each in servers:
        each.close()
    made.close()


@define
class Scene:
    """What `JudgingSourceContract` looks at: each pass comes 10 s later."""

    lab: Peers
    later: float = 0.0
    number: int = 0
    opened: Callable[[], Sockets] = Sockets

    def offend(self) -> None:
        """Let one more attack."""
        self.number += 1
        self.lab.connect(f"10.9.1.{self.number}", 4000, shrinking())
        self.lab.settle(self.number)

    def behave(self) -> None:
        """Let one read nothing."""
        self.lab.connect("fd00:9::1", 4000, slow)
        self.lab.wait(1.0)

    def wait(self) -> None:
        """Let ten seconds pass by."""
        self.later += 10

    def source(self) -> SocketsSource:
        """Look."""
        late = self.later
        return SocketsSource(
            open_sockets=self.opened,
            uptime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + late,
        )


class TestSockets(JudgingSourceContract):
    """The promises of a source that judges by itself."""

    @pytest.fixture
    def scene(self, lab: Peers) -> Scene:
        """Peers that speak TCP by themselves."""
        self.made = Scene(lab)
        return self.made

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The kernel has no sock_diag."""
        self.made.opened = refusing(errno.EPROTONOSUPPORT)
        yield


@define
class Trial:
    """What `WitnessContract` looks at."""

    scene: Scene

    def offend(self) -> Connection:
        """Let one more attack."""
        self.scene.offend()
        return Connection(Network.parse(f"10.9.1.{self.scene.number}"), 4000, 8080)

    def behave(self) -> Connection:
        """Let one read nothing."""
        self.scene.behave()
        return Connection(Network.parse("fd00:9::1"), 4000, 8080)

    def wait(self) -> None:
        """Let ten seconds pass by."""
        self.scene.wait()

    def source(self) -> SocketsSource:
        """Look."""
        return self.scene.source()


class TestWitness(WitnessContract):
    """The promises of a source that confirms messages."""

    @pytest.fixture
    def trial(self, lab: Peers) -> Trial:
        """Peers that speak TCP by themselves."""
        self.made = Trial(Scene(lab))
        return self.made

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The kernel has no sock_diag."""
        self.made.scene.opened = refusing(errno.EPROTONOSUPPORT)
        yield


@define
class Lines:
    """A server of this machine, and Linux clients at the other end of a cable."""

    wire: Wire
    listener: socket.socket = field(factory=socket.socket)
    clients: list[socket.socket] = field(factory=list)
    served: list[socket.socket] = field(factory=list)

    def client(self, address: str, size: int = 4_000_000) -> socket.socket:
        """Connect one, and send it so much."""
        with self.wire.peers.entered():
            made = socket.socket()
            made.bind((address, 0))
            made.settimeout(5)
            made.connect((HOST4, PORT))
        served, _ = self.listener.accept()
        self.clients.append(made)
        self.served.append(served)
        threading.Thread(target=_send, args=(served, size), daemon=True).start()
        return made

    def close(self) -> None:
        """Close all."""
        for each in (*self.clients, *self.served, self.listener):
            each.close()


def _send(served: socket.socket, size: int) -> None:
    with suppress(OSError):
        served.sendall(bytes(size))


def lower(client: socket.socket, served: socket.socket) -> None:
    """Let a client have less room than it told of, and the server send all that it was told."""
    served.setblocking(False)
    served.send(bytes(20_000))
    time.sleep(0.3)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    served.send(bytes(200_000))
    time.sleep(0.8)


@pytest.fixture
def lines(wire: Callable[..., Wire]) -> Iterator[Lines]:
    """Clients of any address of 198.51.100.0/24 that end with less than 10."""
    made = Lines(wire(*(f"198.51.100.{number}" for number in range(1, 10))))
    made.listener.bind((HOST4, PORT))
    made.listener.listen(64)
    yield made
    made.close()


ATTACKS: dict[str, Callable[[], Callable[[Flow], Answer]]] = {
    "to 0": shrinking,
    "to 1": lambda: shrinking(1),
    "to 100": lambda: shrinking(100),
    "a byte at a time": nibbling,
}


def test_200_attackers_of_all_kinds_are_200_offences(lab: Peers) -> None:
    """Shrunk to 0, 1 and 100, a byte at a time; established or closed; IPv4, mapped, and IPv6.

    Two passes find each of them, once, and tell what was seen.
    """
    only4 = Server(SERVER4, 8082)
    expected = set()
    for number in range(200):
        family = ("fd00:9::5:%x", "10.9.5.%d", "10.9.6.%d")[number % 3]
        address = family % (number + 1)
        port = 8082 if number % 3 == 2 else (PORT, CLOSING)[number // 3 % 2]
        lab.connect(address, 4000 + number, [*ATTACKS.values()][number % 4](), port)
        expected.add(address)
    lab.settle(200)
    passes = Passes(Settings())
    assert passes.once() == []
    found = passes.once()
    only4.close()
    assert who(found) == sorted(expected)
    assert len(found) == 200
    assert all(record.trusted and record.carrier == "sockets" for record in found)
    assert passes.once() == []  # what was judged is not judged again


def test_evidence_can_be_read(lab: Peers) -> None:
    """Who, to which port, in what state, how much, which window, and for how long."""
    lab.connect("10.9.1.7", 4638, shrinking())
    lab.connect("fd00:9::7", 4639, shrinking(1), CLOSING)
    lab.settle(2)
    texts = sorted(re.sub("for 1[0-2] s", "for N s", r.text) for r in Passes().twice())
    assert texts == [
        f"10.9.1.7:4638 → :{PORT} established, 8192 bytes in flight, window 0, for N s",
        f"[fd00:9::7]:4639 → :{CLOSING} fin-wait-1, 8192 bytes in flight, window 1, for N s",
    ]


def test_one_pass_decides_where_the_kernel_has_waited_for_long(lab: Peers) -> None:
    """Its timeout has doubled often enough to say that it has lasted."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    settings = evolve(Settings(), lasting=Settings().lasting / 10)  # 1 s
    assert Passes(settings).once() == []
    lab.wait(1.5)
    assert who(Passes(settings).once()) == ["10.9.1.1"]


def test_a_resident_process_looks_sooner_while_something_is_suspicious(lab: Peers) -> None:
    """Twice as often as `lasting`; else each ten seconds."""
    passes = Passes()
    passes.once()
    assert passes.source.due() == 10.0
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes.once()
    assert passes.source.due() == Settings().lasting.total_seconds() / 2


def test_lasting_is_for_as_long_as_is_asked(lab: Peers) -> None:
    """Before that it is near, and the reason says how long it takes."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes(evolve(Settings(), lasting=Settings().lasting * 3))
    for seen in (0, 10, 20):
        assert passes.once() == []
        assert passes.near["10.9.1.1"] in {
            f"seen for {seen + late} s; it takes 30 s" for late in (0, 1, 2)
        }
    assert who(passes.once()) == ["10.9.1.1"]
    assert passes.once() == []
    assert passes.near["10.9.1.1"] == "it was judged in an earlier pass, which counts"


def test_what_goes_on_is_an_offence_again_each_hour(lab: Peers) -> None:
    """A ban that drops no packets, or has ended, leaves it what it holds."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes()
    assert who(passes.twice()) == ["10.9.1.1"]
    assert passes.once(3600 - 30) == []
    assert passes.once() == []
    assert who(passes.once() + passes.once()) == ["10.9.1.1"]
    assert passes.once() == []


def test_honest_peers_of_our_own_are_no_offenders(lab: Peers) -> None:
    """A slow reader, a dead peer, a healthy one; each with a server that closes, too."""
    for port, to in ((4001, PORT), (4002, CLOSING)):
        for number, behave in enumerate((slow, dead, healthy)):
            lab.connect(f"10.9.1.{number}", port, behave, to)
            lab.connect(f"fd00:9::{number}", port, behave, to)
    passes = Passes()
    for _ in range(6):
        lab.wait(0.5)
        assert passes.once() == []
    assert passes.suspects == []
    near = passes.near
    assert "a slow reader" in near["10.9.1.0"]
    assert "a dead peer" in near["10.9.1.1"]
    assert "10.9.1.2" not in near


def test_a_window_that_opens_between_two_looks_is_clear(lab: Peers) -> None:
    """Whoever lets the server send on in between is suspected anew, from then on."""
    flow = lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes()
    assert passes.once() == []
    [before] = passes.suspects
    flow.una = flow.nxt
    lab.send(flow, 16, 8192)
    flow.shut = 0.0  # it shrinks again, once enough is in flight
    lab.settle(1)
    assert passes.once() == []
    [after] = passes.suspects
    assert (before.thing, before.looks) == (after.thing, after.looks)
    assert after.since > before.since
    assert who(passes.once()) == ["10.9.1.1"]


def test_a_byte_at_a_time_is_no_open_window(lab: Peers) -> None:
    """What is in flight shrinks, and nothing new is sent: it is the same suspect."""
    lab.connect("10.9.1.1", 4001, nibbling(0.05))
    lab.settle(1)
    passes = Passes()
    passes.once()
    [before] = passes.suspects
    lab.wait(1.0)
    assert who(passes.once()) == ["10.9.1.1"]
    assert passes.suspects[0].since == before.since


def test_one_attacker_beside_a_thousand_healthy_connections(lab: Peers) -> None:
    """The others are left alone."""
    for number in range(1000):
        lab.connect(f"10.9.{2 + number // 250}.{1 + number % 250}", 5000, healthy)
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    assert who(Passes().twice()) == ["10.9.1.1"]


def test_forged_packets_make_no_offender(lab: Peers) -> None:
    """Not of an address without a connection, nor into a connection without its numbers."""
    victim = lab.connect("10.9.1.1", 4001, healthy)
    lab.wait(0.5)
    for number in range(100):
        lab.send(victim, 16, 0, sequence=victim.sequence + 2**30 + number)
        lab.send(Flow(f"10.9.2.{number}", 4002, healthy), 16, 0)
    passes = Passes()
    assert passes.twice() == []
    assert passes.near == {}


def test_this_machine_itself_is_no_offender(host: None) -> None:
    """Loopback and own addresses are not judged, whatever they look like."""
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "addr", "add", "10.1.1.1/32", "dev", "lo"])
    held = []
    for address in ("127.0.0.1", "10.1.1.1"):
        with socket.socket() as listener:
            listener.bind((address, 0))
            listener.listen()
            client = socket.create_connection(listener.getsockname())
            served, _ = listener.accept()
        lower(client, served)
        held += [client, served]
    sockets = Sockets()
    found = [one for one in [*sockets.dump(timer=1)] if one.is_over]
    passes = Passes()
    records = passes.twice()
    for each in held:
        each.close()
    assert found, "no socket looks like the attack"
    assert records == []
    assert set(passes.near.values()) == {"it is this machine's own connection to itself"}


def test_linux_clients_that_do_not_read_are_no_offenders(lines: Lines) -> None:
    """One that is stopped, one with a small buffer, one that reads a little now and then."""
    lines.client("198.51.100.1")
    small = lines.client("198.51.100.2")
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    drop = lines.client("198.51.100.3")
    passes = Passes()
    for _ in range(8):
        drop.recv(3000)
        time.sleep(0.3)
        records = passes.once()
        assert who(records) in ([], ["198.51.100.2"])  # it lowered its buffer: see below
    assert "a slow reader" in passes.near["198.51.100.1"]


def test_a_linux_client_that_lowers_its_buffer_looks_like_it(lines: Lines) -> None:
    """For as long as it pauses; when it reads on, nothing is suspected any more."""
    client = lines.client("198.51.100.1", 0)
    lower(client, lines.served[-1])
    passes = Passes(evolve(Settings(), lasting=Settings().lasting * 2))
    assert passes.once() == []
    assert [str(each.address) for each in passes.suspects] == ["198.51.100.1"]
    client.settimeout(1)
    with suppress(TimeoutError):
        while client.recv(1 << 16):
            pass
    assert passes.once() == []
    assert passes.suspects == []


def test_bulk_over_a_bad_line_is_no_offence(lines: Lines) -> None:
    """A fifth of the packets is lost on their way back, and a fifth on their way out."""
    with lines.wire.peers.entered():
        for hook in ("input", "output"):
            run(["nft", "-f", "-"], given=(
                f"add table inet bad; add chain inet bad {hook}"
                f" {{ type filter hook {hook} priority 0; }}\n"
                f"add rule inet bad {hook} tcp sport {PORT} numgen random mod 5 0 drop\n"
                f"add rule inet bad {hook} tcp dport {PORT} numgen random mod 5 0 drop\n"
            ))  # fmt: skip
    clients = [lines.client(f"198.51.100.{number}") for number in (1, 2, 3)]
    for each in clients:
        threading.Thread(target=_drain, args=(each,), daemon=True).start()
    passes = Passes()
    for _ in range(15):
        time.sleep(0.2)
        assert passes.once() == []


def _drain(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(1 << 16):
            pass


@pytest.mark.slow
def test_benign_peers_of_all_kinds_for_half_an_hour_in_all(lab: Peers) -> None:
    """Sixty of them, for thirty seconds, looked at each second with a short `lasting`."""
    for number in range(60):
        behave = (slow, dead, healthy)[number % 3]
        address = f"10.9.1.{number}" if number % 2 else f"fd00:9::{number}"
        lab.connect(address, 4000 + number, behave, (PORT, CLOSING)[number // 3 % 2])
    passes = Passes(evolve(Settings(), lasting=Settings().lasting / 5))
    for _ in range(30):
        lab.wait(1.0)
        assert passes.once(0.0) == []


@pytest.mark.parametrize("good", [3, 1])
def test_a_peer_in_healthy_company_is_spared(good: int, lab: Peers) -> None:
    """A proxy with more healthy connections than others is counted, and told; not one with few."""
    for port in range(good):
        lab.connect("10.9.1.1", 5000 + port, healthy)
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes()
    found = passes.twice()
    notes = [*passes.source.notes()]
    if good == 1:
        assert (who(found), notes) == (["10.9.1.1"], [])
        return
    assert who(found, IN_COMPANY) == ["10.9.1.1"]
    assert who(found) == []
    [note] = notes
    assert note.startswith("not banned, but counted (the third time in a day bans): 10.9.1.1:4001")
    assert "1 of 4 connections of this peer" in note
    assert all(each.judged for each in passes.suspects)
    assert passes.once() == []


def test_sixteen_bad_connections_have_no_company(lab: Peers) -> None:
    """From so many on, no healthy ones make up for them."""
    for port in range(40):
        lab.connect("10.9.1.1", 5000 + port, healthy)
    for port in range(16):
        lab.connect("10.9.1.1", 4000 + port, shrinking())
    lab.settle(16)
    assert who(Passes().twice()) == ["10.9.1.1"] * 16


def test_only_named_ports_are_looked_at(lab: Peers) -> None:
    """Those of `ports`; the others may do as they like."""
    lab.connect("10.9.1.1", 4001, shrinking(), PORT)
    lab.connect("10.9.1.2", 4002, shrinking(), CLOSING)
    lab.settle(2)
    passes = Passes(Settings(ports=(1, CLOSING, 65535)))
    assert who(passes.twice()) == ["10.9.1.2"]
    passes.once()
    assert passes.near.keys() == {"10.9.1.2"}


def test_sockstress_is_off_unless_asked_for(lab: Peers) -> None:
    """Windows that stay closed for very long with nothing in flight, each an offence of its own."""
    for port in range(20):
        lab.connect("10.9.1.1", 4000 + port, slow)
    lab.wait(1.0)
    off, on = Passes(), Passes(Settings(sockstress=True))
    for _ in range(40):
        assert off.once() == []
    found = [record for _ in range(31) for record in on.once()]
    assert who(found, SOCKSTRESS) == ["10.9.1.1"] * 20
    assert re.search(" wait, nothing in flight, window 0, for 30[0-9] s$", found[0].text)
    assert on.once() == []


def test_suspects_of_another_boot_are_forgotten(lab: Peers) -> None:
    """A cookie, and the time since the boot, mean something within a boot alone."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes()
    passes.once()
    passes.cursor = "another boot"
    assert passes.once() == []
    assert who(passes.once()) == ["10.9.1.1"]


def test_a_connection_that_is_gone_is_forgotten(lab: Peers) -> None:
    """Also where the one that listens answers for it."""
    flow = lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    passes = Passes()
    passes.once()
    lab.send(flow, 4, 0, sequence=flow.sequence)
    lab.wait(0.2)
    assert passes.once() == []
    assert passes.suspects == []


def refusing(code: int) -> Callable[[], Sockets]:
    """Return what opens no socket."""

    def refuse() -> Sockets:
        raise NetlinkError(code, os.strerror(code))

    return refuse


class NotListed(Sockets):
    """A kernel without the module for TCP, with none that loads it: every socket is gone."""

    def dump(self, *_given: object, **_named: object) -> Iterator[TcpSocket]:
        """List none."""
        return iter(())

    def find(self, *_given: object) -> TcpSocket | None:
        """Find none."""
        return None


class NotFound(Sockets):
    """One that lists, and finds nothing."""

    def find(self, *_given: object) -> TcpSocket | None:
        """Find none."""
        return None


class Old(Sockets):
    """A kernel before 5.4."""

    def find(
        self,
        local: Network,
        local_port: int,
        peer: Network | None,
        peer_port: int,
        interface: int = 0,
    ) -> TcpSocket | None:
        """Find it, without the window."""
        found = super().find(local, local_port, peer, peer_port, interface)
        return found and found._replace(window=None)


@pytest.mark.parametrize(
    ("opened", "what", "remedy"),
    [
        (refusing(errno.EPROTONOSUPPORT), "(sock_diag): Protocol not supported", "modprobe -a"),
        (NotListed, "one of our own was not found in a list", "modprobe -a inet_diag tcp_diag"),
        (NotFound, "one of our own was not found by its address", "modprobe -a"),
        (Old, f"Linux {os.uname().release} does not tell the window of a peer; 5.4", "kmsg"),
    ],
)
def test_what_is_not_told_is_an_error(
    opened: Callable[[], Sockets], what: str, remedy: str, host: None
) -> None:
    """It is never taken for no suspects; a line says what is missing, another what to do."""
    source = SocketsSource(open_sockets=opened)
    with pytest.raises(SourceUnreadable) as refused:
        [*source.read(None, [])]
    assert what in refused.value.what
    assert remedy in refused.value.hint
    assert "\n" not in refused.value.what


def test_reading_needs_no_privilege(host: None) -> None:
    """A user with no capability sees sockets and windows."""
    program = (
        "from sources.sockets.source import SocketsSource;"
        "print([*SocketsSource().read(None, [])], open('/proc/self/status').read())"
    )
    bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"]
    out = run([*bare, sys.executable, "-c", program]).output
    assert out.startswith("[] ")
    assert "CapEff:\t0000000000000000" in out


def test_settings_out_of_bounds_are_refused(place: Place) -> None:
    """A line for each, with the key."""
    place.configure('[source.sockets]\nlasting = "0s"\nports = [0]\nsockstress = "yes"\nway = 1')
    result = place.treason("config", "check")
    assert result.code == 1
    for key in ("lasting", "ports", "sockstress", "way"):
        assert key in result.out


def test_ports_and_time_have_bounds_that_are_told(place: Place) -> None:
    """No plugin fails on them."""
    place.configure(f'[source.sockets]\nlasting = "2h"\nports = {[*range(1, 1002)]}')
    said = place.treason("config", "check").out
    assert "lasting: must be from 1s to 1h" in said
    assert "Length of 'ports' must be <= 1000" in said


def test_as_many_ports_as_may_be_are_looked_at(lab: Peers) -> None:
    """The kernel takes the program for them."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    assert who(Passes(Settings(ports=tuple(range(PORT - 999, PORT + 1)))).twice()) == ["10.9.1.1"]


def test_opening_now_and_then_resets_what_is_seen(lab: Peers) -> None:
    """It is known, and told in the documents: such a peer is no offender by what is seen."""
    lab.connect("10.9.1.1", 4001, opening(0.3))
    passes = Passes()
    for _ in range(5):
        lab.wait(0.5)
        assert passes.once(3.0) == []


def test_sockets_of_another_namespace_are_not_seen(lab: Peers) -> None:
    """Their addresses mean something else there."""
    lab.connect("10.9.1.1", 4001, shrinking())
    lab.settle(1)
    other = Namespace()
    with other.entered():
        passes = Passes()
        assert passes.twice() == []
        assert passes.near == {}
    other.close()
    assert who(Passes().twice()) == ["10.9.1.1"]


def test_it_says_that_it_is_blind_also_when_only_asked(host: None) -> None:
    """`status` asks for silence: there is none to tell of, or it is an error."""
    assert SocketsSource().silence() is None
    with pytest.raises(SourceUnreadable):
        SocketsSource(open_sockets=NotListed).silence()


def test_a_socket_that_may_not_be_opened_is_an_error(
    host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sandbox without AF_INET, the remedy names it."""

    def refuse(*_given: object, **_named: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    opened = Sockets()
    source = SocketsSource(open_sockets=lambda: opened)
    monkeypatch.setattr("sources.sockets.proof.socket.socket", refuse)
    with pytest.raises(SourceUnreadable) as refused:
        [*source.read(None, [])]
    assert "cannot open a TCP socket" in refused.value.what
    assert refused.value.hint == "in a sandbox, allow AF_INET"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_nobody_blinds_it_by_taking_every_port(address: str, host: None) -> None:
    """Any local user may listen on all that the kernel gives to who asks for none."""
    run(["ip", "link", "set", "lo", "up"])
    run(["sysctl", "-w", "net.ipv4.ip_local_port_range=40000 40003"])
    with ExitStack() as taken:
        for port in range(40000, 40004):
            taken.enter_context(socket.create_server((address, port)))
        assert SocketsSource().silence() is None
        assert [*SocketsSource().read(None, [])] == []


def test_an_unreadable_source_fails_the_pass_in_two_lines(
    place: Place, host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, and what to do."""
    place.configure(main='sources = ["sockets"]')
    monkeypatch.setattr("sources.sockets.source.proved", lambda _: refusing(errno.ENOENT)())
    result = place.treason("scan")
    assert result.code == 1
    said = result.err.strip().splitlines()
    assert len(said) == 2
    assert "cannot ask the kernel about its TCP sockets (sock_diag): No such file" in said[0]
    assert "modprobe -a inet_diag tcp_diag" in said[1]
