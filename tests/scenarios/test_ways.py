"""Protection judged by packets: whatever way a machine has, banning it leaves it reachable.

A machine and its neighbour are namespaces with a cable between them; every address is banned with
the real program, and then spoken to. A stranger beside it, banned too, is the proof that packets of
the banned are dropped.
"""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place

from reconciler.execute import run
from reconciler.host import resolvers
from reconciler.host.netns import Namespace
from reconciler.planning import protection

STRANGER4, STRANGER6 = "192.0.2.66", "2001:db8::66"
_ECHO: dict[socket.AddressFamily, tuple[int, int]] = {
    socket.AF_INET: (8, 0),
    socket.AF_INET6: (128, 129),
}
"""The types of an echo's request and reply (RFC 792, RFC 4443)."""


class Machine:
    """The test's namespace, with a neighbour behind ``v0`` that has any addresses."""

    def __init__(self) -> None:
        self.neighbour = Namespace()
        ip("link set lo up", f"link add v0 type veth peer name v1 netns {self.neighbour.path}")
        ip("addr add 192.0.2.10/24 dev v0", "-6 addr add 2001:db8::10/64 dev v0 nodad")
        ip("link set v0 up")
        with self.neighbour.entered():
            ip("link set lo up", "link set v1 up", "route add default dev v1")
            ip("-6 route add default dev v1")
        self.have(STRANGER4, STRANGER6)

    def have(self, *addresses: str) -> None:
        """Add addresses to the neighbour."""
        with self.neighbour.entered():
            for each in addresses:
                ip(f"addr add {each} dev v1" + (" nodad" if ":" in each else ""))

    def close(self) -> None:
        """Let the neighbour go."""
        self.neighbour.close()


def ip(*commands: str) -> None:
    """Carry out commands of ip."""
    for command in commands:
        run(["ip", *command.split()])


def answers(address: str, tries: int = 10) -> bool:
    """Whether somebody at this address answers an echo, of as many as are sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    request, reply = _ECHO[family]
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    for number in range(tries):
        token = os.urandom(8)
        body = struct.pack("!BBHHH", request, 0, 0, 7, number) + token
        if family == socket.AF_INET:
            words = struct.unpack(f"!{len(body) // 2}H", body)
            total = sum(words)
            total = (total & 0xFFFF) + (total >> 16)
            checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
            body = body[:2] + checksum.to_bytes(2) + body[4:]
        with closing(socket.socket(family, socket.SOCK_RAW, protocol)) as speaker:
            speaker.settimeout(0.3)
            name, _, zone = address.partition("%")
            index = socket.if_nametoindex(zone) if zone else 0
            with suppress(OSError):  # a link that has just come up may have no route yet
                speaker.sendto(body, (name, 0, 0, index) if ":" in name else (name, 0))
            try:
                while True:
                    data = speaker.recv(256)
                    kind = data[(data[0] & 15) * 4] if family == socket.AF_INET else data[0]
                    if kind == reply and data.endswith(token):
                        return True
            except TimeoutError:
                continue
    return False


@pytest.fixture
def machine(host: None) -> Iterator[Machine]:
    """A machine with one neighbour."""
    made = Machine()
    yield made
    made.close()


def banned(place: Place, *networks: str) -> None:
    """Ban them, whatever is protected, and the strangers, by the real program."""
    done = place.treason("ban", "--force", STRANGER4, STRANGER6, *networks)
    assert done.code == 0, done.err
    done = place.treason("reconcile", "--no-scan")
    assert done.code == 0, done.err


def check(place: Place, addresses: Sequence[str], *networks: str) -> None:
    """Ban the addresses, or networks around them; they answer as before, the strangers do not."""
    everybody = [STRANGER4, STRANGER6, *addresses]
    assert [each for each in everybody if not answers(each)] == []
    banned(place, *(networks or [each.partition("%")[0] for each in addresses]))
    assert [each for each in everybody if answers(each, 10 if each in addresses else 2)] == [
        *addresses
    ]


WAYS = {
    "default": (["route add default via 192.0.2.1"], ["192.0.2.1"]),
    "several next hops": (
        ["route add default nexthop via 192.0.2.1 nexthop via 192.0.2.2",
         "-6 route add default nexthop via 2001:db8::1 nexthop via 2001:db8::2"],
        ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"],
    ),
    "another table, by a rule": (
        ["route add default via 192.0.2.3 table 100", "rule add from 192.0.2.10 table 100",
         "-6 route add default via 2001:db8::3 table 101", "-6 rule add fwmark 7 table 101"],
        ["192.0.2.3", "2001:db8::3"],
    ),
    "two halves": (
        ["route add 0.0.0.0/1 via 192.0.2.4", "route add 128.0.0.0/1 via 192.0.2.4"],
        ["192.0.2.4"],
    ),
    "a network's own": (["route add 10.0.0.0/8 via 192.0.2.5"], ["192.0.2.5"]),
    "IPv4 via IPv6": (["route add default via inet6 2001:db8::77 dev v0"], ["2001:db8::77"]),
    "a next-hop object": (
        ["nexthop add id 1 via 192.0.2.6 dev v0", "route add default nhid 1"], ["192.0.2.6"],
    ),
    "a group of them": (
        ["nexthop add id 1 via 192.0.2.6 dev v0", "nexthop add id 2 via 192.0.2.7 dev v0",
         "nexthop add id 9 group 1/2", "route add default nhid 9"],
        ["192.0.2.6", "192.0.2.7"],
    ),
    "an advertised one": (
        ["-6 route add default via 2001:db8::8 dev v0 proto ra"], ["2001:db8::8"],
    ),
    "a far end": (
        ["addr add 10.1.0.1 peer 10.1.0.2/32 dev v0", "route add 10.2.0.0/16 dev v0"],
        ["10.1.0.2"],
    ),
    "the far end of a tunnel": (
        ["link add x0 type vxlan id 1 dstport 4789 local 192.0.2.10 remote 192.0.2.9"],
        ["192.0.2.9"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_banned_way_out_stays_reachable(way: str, machine: Machine, place: Place) -> None:
    """By whatever route a machine has it."""
    commands, addresses = WAYS[way]
    machine.have(*addresses)
    ip(*commands)
    check(place, addresses)


@pytest.mark.parametrize("way", ["default", "several next hops", "an advertised one"])
def test_a_banned_network_leaves_out_the_way(way: str, machine: Machine, place: Place) -> None:
    """Also the whole of one's own network."""
    commands, addresses = WAYS[way]
    machine.have(*addresses)
    ip(*commands)
    check(place, addresses, "192.0.2.0/24", "2001:db8::/64")


def test_a_router_that_advertises_itself_is_reachable(machine: Machine, place: Place) -> None:
    """The kernel makes a route of what comes (RFC 4861 §4.2), and link-local is a way."""
    config = "[protect]\nlink_local = false\n"
    place.configure(config)
    Path("/proc/sys/net/ipv6/conf/v0/accept_ra").write_text("2")
    router = "fe80::8"
    machine.have(f"{router}/64")
    with machine.neighbour.entered():  # whoever forwards nothing says that he is no router
        Path("/proc/sys/net/ipv6/conf/v1/forwarding").write_text("1")
    with (
        machine.neighbour.entered(),
        closing(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)) as speaker,
    ):
        index = socket.if_nametoindex("v1")
        speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        speaker.bind((router, 0, 0, index))
        advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        speaker.sendto(advertisement, ("ff02::1", 0, 0, index))
    assert answers(f"{router}%v0")
    assert "fe80::8\tgateway" in place.treason("status", "--protection").out
    check(place, [f"{router}%v0"])


STUBS = {
    "on the link": {"etc/resolv.conf": "nameserver 192.0.2.53\n"},
    "systemd-resolved": {
        "etc/resolv.conf": "nameserver 127.0.0.53\n",
        "run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\n",
    },
    "a link of systemd-resolved": {"run/systemd/resolve/netif/2": "SERVERS=192.0.2.53\n"},
    "dnsmasq": {"etc/dnsmasq.d/up": "server=/example/192.0.2.53#53\n"},
    "unbound": {"etc/unbound/unbound.conf": "forward-zone:\n forward-addr: 192.0.2.53@53\n"},
    "NetworkManager": {"run/NetworkManager/no-stub-resolv.conf": "nameserver 192.0.2.53\n"},
}


@pytest.mark.parametrize("stub", STUBS)
def test_a_banned_resolver_stays_reachable(
    stub: str, machine: Machine, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one behind a stub on loopback."""
    root = tmp_path / "root"
    for name, text in STUBS[stub].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    real = resolvers.resolvers
    monkeypatch.setattr(protection, "resolvers", lambda _root: real(root))
    machine.have("192.0.2.53")
    check(place, ["192.0.2.53"])


def test_a_banned_machine_reaches_itself(machine: Machine, place: Place) -> None:
    """Its addresses, and a network that is all its own."""
    ip("route add local 198.51.100.0/24 dev lo")
    here = ["192.0.2.10", "2001:db8::10", "127.0.0.1", "::1", "198.51.100.7"]
    check(place, here, "192.0.2.10", "2001:db8::10", "198.51.100.0/24")
    assert "198.51.100.0/24\town address" in place.treason("status", "--protection").out


EMBEDDED = {
    "64:ff9b::c000:201": "",
    "64:ff9b:1::c000:201": "",
    "64:ff9b:1:c000:2:100::": "",
    "2001:db8:64::c000:201": 'nat64 = ["2001:db8:64::/96"]',
    "2001:db8:c0:2:1::": 'nat64 = ["2001:db8::/40"]',
    "2002:c000:201::1": "",
    "2001:0:c000:201::1": "",
    "2001:0:cb00:7101::3fff:fdfe": "",
}
"""The gateway 192.0.2.1, as somebody behind a translator or a tunnel writes it."""


@pytest.mark.parametrize("address", EMBEDDED)
def test_a_banned_gateway_is_reachable_inside_ipv6(
    address: str, machine: Machine, place: Place
) -> None:
    """By NAT64 of known and configured prefixes, as 6to4, as server and as client of Teredo."""
    place.configure(f"[protect]\n{EMBEDDED[address]}\n")
    machine.have("192.0.2.1", address)
    ip("route add default via 192.0.2.1", f"-6 route add {address} dev v0")
    check(place, ["192.0.2.1", address])


def test_a_ban_widened_from_a_neighbour_spares_the_link(machine: Machine, place: Place) -> None:
    """With ipv6_prefix: he alone is banned where he shares the network with what is protected."""
    place.configure("[policy]\nipv6_prefix = 64\n[source.file]\npath = 'k.log'\ntrusted = true\n")
    lines = "".join(
        f"Peer 2001:0db8:000{site}:0000:0000:0000:0000:0066:4638/443"
        " unexpectedly shrunk window 1:2 (repaired)\n"
        for site in (0, 5)
    )
    (place.path / "k.log").write_text(lines)
    machine.have("2001:db8::1", "2001:db8::77")
    ip("-6 route add default via 2001:db8::1")
    done = place.treason("reconcile", "--source", f"file:{place.path}/k.log")
    assert done.code == 0, done.err
    listed = {line.split("\t")[0] for line in place.treason("list").out.splitlines()}
    assert listed == {STRANGER6, "2001:db8:5::/64"}
    assert answers("2001:db8::1")
    assert answers("2001:db8::77")
    assert not answers(STRANGER6, 2)


@pytest.mark.skipif(not REAL_ROOT, reason="mounts")
def test_without_proc_ways_are_found_all_the_same(machine: Machine, place: Place) -> None:
    """By netlink; what only /proc can tell is an error with the key that switches it off."""
    ip("route add default nexthop via 192.0.2.1 nexthop via 192.0.2.2")
    listed = []
    for settings in ("", "[protect]\nssh_client = false\n"):
        place.configure(settings)
        command = f"exec {sys.executable} -m reconciler --config {place.config} status --protection"
        bare = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs none /proc && {command}"]
        listed.append(subprocess.run(bare, capture_output=True, text=True, check=False))
    error, found = listed
    assert (error.returncode, error.stdout, "ssh_client = false" in error.stderr) == (1, "", True)
    assert "192.0.2.2\tgateway\n" in found.stdout
    assert "192.0.2.10\town address\n" in found.stdout
