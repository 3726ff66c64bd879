"""From a kernel message to a packet that does not arrive, over veth between namespaces."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from backends.nftables import Nftables
from reconciler import Desired, Network, Plan
from reconciler.desired import desired
from reconciler.detect import RULES, Rule
from reconciler.execute import run
from reconciler.loop import Scanner, State, enforce
from reconciler.netns import HOST4, HOST6, WITNESS4, Wire
from reconciler.plan import plan
from reconciler.policy import Policy
from reconciler.store import open_store
from sources.file import File, Settings
from sources.kmsg import Kmsg

Cable = Callable[..., Wire]
MARTIAN = Rule(
    "martian",
    re.compile(r"IPv4: martian source \S+ from (?P<address>\S+), on dev host0"),
    "martian source",
)
OFFENDER = "198.51.100.77"
OTHER = "203.0.113.5"


def apply(state: Desired) -> None:
    """Make nftables hold the state."""
    [outcome] = enforce({"nftables": Nftables}, state, None, check=False)
    assert outcome.state is State.CHANGED, outcome.error


@pytest.mark.kmsg
def test_a_genuine_kernel_record_becomes_a_dropped_packet(
    kmsg: Callable[[str], None], wire: Cable, tmp_path: Path
) -> None:
    """The kernel itself writes the record; nothing is trusted that it did not write."""
    cable = wire(OFFENDER, OTHER)
    cursor = Kmsg()
    list(cursor.read(None, ()))
    for setting in ("all/log_martians", "all/rp_filter", "host0/rp_filter"):
        Path(f"/proc/sys/net/ipv4/conf/{setting}").write_text("1")
    run(["ip", "route", "del", "default", "dev", "host0"])
    run(["ip", "route", "add", "192.0.2.0/24", "dev", "host0"])
    with open_store(tmp_path / "db", write=True) as store:
        store.remember("kmsg", cursor.cursor(), [], [], 0)
        scanner = Scanner(store, Policy(), 1_000_000, write=True, rules=[*RULES, MARTIAN])
        for _ in range(20):  # the kernel limits how often it tells; it does tell within seconds
            cable.arriving([OFFENDER])
            [reading] = scanner.scan({"kmsg": Kmsg})
            if reading.bans:
                break
            threading.Event().wait(0.5)
        assert [str(ban.network) for ban in reading.bans] == [OFFENDER], reading
        banned, _ = store.banned(1_000_000)
    for setting in ("all/rp_filter", "host0/rp_filter"):
        Path(f"/proc/sys/net/ipv4/conf/{setting}").write_text("0")
    run(["ip", "route", "add", "default", "dev", "host0"])
    everybody = [OFFENDER, OTHER]
    assert cable.arriving(everybody) == {OFFENDER, OTHER}
    apply(desired(banned, []))
    assert cable.arriving(everybody) == {OTHER}
    apply(desired([], []))
    assert cable.arriving(everybody) == {OFFENDER, OTHER}


def test_an_ipv6_peer_in_a_log_becomes_a_dropped_packet(wire: Cable, tmp_path: Path) -> None:
    """The kernel prints eight full groups; the packet comes from the address they mean."""
    cable = wire("2001:db8:bad::1", "2001:db8:bad::2", OTHER)
    log = tmp_path / "log"
    peer = "2001:0db8:0bad:0000:0000:0000:0000:0001"
    log.write_text(f"Peer {peer}:4638/443 unexpectedly shrunk window 1:2 (repaired)\n")
    with open_store(tmp_path / "db", write=True) as store:
        scanner = Scanner(store, Policy(), 1_000_000, write=True)
        list(scanner.scan({"file": lambda: File(Settings(str(log), trusted=True))}))
        banned, _ = store.banned(1_000_000)
    everybody = ["2001:db8:bad::1", "2001:db8:bad::2", OTHER]
    assert cable.arriving(everybody) == set(everybody)
    apply(desired(banned, []))
    assert cable.arriving(everybody) == {"2001:db8:bad::2", OTHER}


def test_whoever_is_whitelisted_inside_a_banned_network_passes(wire: Cable) -> None:
    """Both families: the network is dropped, its exempt address is not."""
    cable = wire("10.1.0.1", "10.1.0.2", "2001:db8:7::1", "2001:db8:7::2")
    bans = map(Network.parse, ("10.1.0.0/16", "2001:db8:7::/48"))
    exempt = map(Network.parse, ("10.1.0.2", "2001:db8:7::2"))
    apply(desired(bans, exempt))
    everybody = ["10.1.0.1", "10.1.0.2", "2001:db8:7::1", "2001:db8:7::2"]
    assert cable.arriving(everybody) == {"10.1.0.2", "2001:db8:7::2"}


def test_neighbour_discovery_lives_inside_a_banned_network(wire: Cable) -> None:
    """A ban of the neighbours' own addresses keeps neither side from finding the other."""
    cable = wire("2001:db8:7::1")
    apply(desired([Network.parse("2001:db8::/32")], []))

    def finds(address: str) -> bool:
        run(["ip", "neigh", "flush", "all"])
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"hello", (address, 9))
        for _ in range(100):
            if "lladdr" in run(["ip", "-6", "neigh", "show", address]).output:
                return True
            threading.Event().wait(0.02)
        return False

    assert finds("2001:db8:7::1")
    with cable.peers.entered():
        assert finds(HOST6)


def test_loopback_is_never_dropped(wire: Cable) -> None:
    """Even a ban of everything leaves the machine able to talk to itself."""
    wire()
    apply(desired([Network.parse("0.0.0.0/0"), Network.parse("::/0")], []))
    for address in ("127.0.0.1", "::1", HOST4, HOST6):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as itself:
            itself.settimeout(2)
            itself.bind((address, 0))
            itself.sendto(b"hello", itself.getsockname())
            assert itself.recv(16) == b"hello"


def test_no_packet_slips_through_while_the_table_is_repaired(
    wire: Cable, nft: Callable[..., str]
) -> None:
    """Fifty repairs of the chain and of the whole table under a flood: nothing banned arrives."""
    cable = wire(OFFENDER)
    state = desired([Network.parse(OFFENDER)], [Network.parse(WITNESS4)])
    apply(state)
    script = {
        "chain": Nftables().render(_plan(state, nft, "add rule inet treason prerouting drop")),
        "table": Nftables().render(_plan(state, nft, "add chain inet treason foreign")),
    }
    with flood(cable, [OFFENDER, WITNESS4]) as arrived:
        for _ in range(25):
            for text in script.values():
                nft(text)
    assert arrived[WITNESS4] > 100
    assert arrived[OFFENDER] == 0


def _plan(state: Desired, nft: Callable[..., str], damage: str) -> Plan:
    nft(damage)
    made = plan(state, Nftables().observe())
    assert made is not None
    return made


@contextmanager
def flood(cable: Wire, senders: list[str]) -> Iterator[Counter[str]]:
    """Send from all of them without pause during the block; count what reaches the host."""
    arrived: Counter[str] = Counter()
    done = threading.Event()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listener.bind((HOST4, 4712))
        listener.settimeout(0.2)
        with cable.peers.entered():
            speakers = [
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in senders
            ]
            for speaker, sender in zip(speakers, senders, strict=True):
                speaker.bind((sender, 0))

        def send() -> None:
            while not done.is_set():
                for speaker in speakers:
                    speaker.sendto(b"flood", (HOST4, 4712))

        def receive() -> None:
            with suppress(TimeoutError):
                while True:
                    arrived[listener.recvfrom(16)[1][0]] += 1

        threads = [threading.Thread(target=send), threading.Thread(target=receive)]
        for thread in threads:
            thread.start()
        try:
            yield arrived
        finally:
            done.set()
            for thread in threads:
                thread.join()
