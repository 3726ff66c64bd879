"""What the kernel says of routes, addresses and links, in namespaces of the test's own."""

import errno
import socket
import struct
import sys
from collections.abc import Callable

import pytest
from pytest_mock import MockerFixture

from reconciler import netlink
from reconciler.execute import run
from reconciler.netlink import NetlinkError, Stale, attribute, refusal
from reconciler.netlink.connection import Connection
from reconciler.netlink.route import _Alike


def ip(*commands: str) -> None:
    """Carry out commands of ip."""
    for command in commands:
        run(["ip", *command.split()])


@pytest.fixture
def linked(host: None) -> None:
    """A link with addresses of both families."""
    ip(
        "link set lo up", "link add v0 type veth peer name v1", "link set v0 up", "link set v1 up",
        "addr add 192.0.2.10/24 dev v0", "-6 addr add 2001:db8::10/64 dev v0 nodad",
    )  # fmt: skip


def gateways() -> set[str]:
    """Return the next hops as text."""
    return {*map(str, netlink.routes().gateways)}


@pytest.mark.parametrize(
    ("commands", "wanted"),
    [
        (["route add default via 192.0.2.1"], {"192.0.2.1"}),
        (["route add default nexthop via 192.0.2.1 nexthop via 192.0.2.2"],
         {"192.0.2.1", "192.0.2.2"}),
        (["-6 route add default nexthop via 2001:db8::1 nexthop via 2001:db8::2"],
         {"2001:db8::1", "2001:db8::2"}),
        (["route add default via 192.0.2.3 table 1234"], {"192.0.2.3"}),
        (["-6 route add 2001:db8:5::/48 via 2001:db8::3 table 77"], {"2001:db8::3"}),
        (["route add 0.0.0.0/1 via 192.0.2.4"], {"192.0.2.4"}),
        (["route add default via inet6 2001:db8::7 dev v0"], {"2001:db8::7"}),
        (["route add default nexthop via inet6 2001:db8::7 dev v0 nexthop via inet6 2001:db8::6"],
         {"2001:db8::7", "2001:db8::6"}),
        (["nexthop add id 1 via 192.0.2.5 dev v0", "nexthop add id 2 via 2001:db8::5 dev v0"],
         {"192.0.2.5", "2001:db8::5"}),
        (["nexthop add id 1 via 192.0.2.5 dev v0", "nexthop add id 2 via 192.0.2.6 dev v0",
          "nexthop add id 3 group 1/2", "route add default nhid 3"], {"192.0.2.5", "192.0.2.6"}),
        (["-6 route add default via 2001:db8::8 proto ra"], {"2001:db8::8"}),
        (["-6 route add default via fe80::8 dev v0 proto ra"], {"fe80::8"}),
        (["route add 198.51.100.0/24 dev v0"], set()),
    ],
)  # fmt: skip
def test_every_next_hop_is_a_gateway(linked: None, commands: list[str], wanted: set[str]) -> None:
    """Whatever table it is in, and however a route says it."""
    ip(*commands)
    assert gateways() == wanted


def test_a_next_hop_object_counts_where_routes_do_not_tell_it(linked: None) -> None:
    """With nexthop_compat_mode = 0 a route has the number of its object alone."""
    run(["sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0"])
    ip("nexthop add id 1 via 192.0.2.5 dev v0", "route add default nhid 1")
    assert gateways() == {"192.0.2.5"}


def test_a_kernel_without_next_hop_objects_has_none(linked: None, mocker: MockerFixture) -> None:
    """Before Linux 5.3; any other refusal is an error."""
    ip("route add default via 192.0.2.1")
    real, code = Connection.ask, errno.EOPNOTSUPP

    def ask(self: Connection, request: netlink.Message, *split: object) -> object:
        if request.kind == 106:  # RTM_GETNEXTHOP
            raise refusal(code)
        return real(self, request, *split)  # type: ignore[arg-type]  # what it was called with

    mocker.patch.object(Connection, "ask", ask)
    assert gateways() == {"192.0.2.1"}
    code = errno.EPERM
    with pytest.raises(NetlinkError):
        netlink.routes()


def test_what_is_local_as_a_whole_is_this_machine(linked: None) -> None:
    """But not what a transparent proxy takes for itself in a table of its own."""
    ip("route add local 198.51.100.0/24 dev lo", "-6 route add local 2001:db8:9::/64 dev lo")
    ip("route add local default dev lo table 100", "-6 route add local default dev lo table 100")
    here = {*map(str, netlink.routes().here)}
    assert {"198.51.100.0/24", "2001:db8:9::/64", "192.0.2.10", "2001:db8::10"} <= here
    assert here.isdisjoint({"0.0.0.0/0", "::/0"})


def test_far_ends_are_peers(linked: None) -> None:
    """Of a link with two ends, and of tunnels, inside and outside; a plain address has none."""
    ip(
        "link add p0 type veth peer name p1",
        "link set p0 up",
        "addr add 10.0.0.1 peer 10.0.0.2/32 dev p0",
    )
    ip("-6 addr add 2001:db8:1::1 peer 2001:db8:1::2/128 dev p0")
    ip("link add x0 type vxlan id 1 dstport 1 local 192.0.2.10 remote 198.51.100.7")
    ip("link add x6 type vxlan id 2 dstport 2 local 2001:db8::10 remote 2001:db8:f::7")
    found = {*map(str, netlink.peers())}
    assert found == {"10.0.0.2", "2001:db8:1::2", "198.51.100.7", "2001:db8:f::7"}
    assert {"10.0.0.1", "2001:db8:1::1"} <= {*map(str, netlink.addresses())}


def test_many_routes_have_few_gateways(linked: None) -> None:
    """Each is found, also between others: by far most of them differ in where they lead alone."""
    lines = [f"route add 20.0.{n >> 8}.{n & 255}/32 via 192.0.2.{n % 3 + 1}" for n in range(5000)]
    lines[2500:2500] = [
        "route add 21.0.0.0/8 via 192.0.2.77 metric 7",
        "route add blackhole 22.0.0.1",
    ]
    run(["ip", "-batch", "-"], given="\n".join(lines))
    six = [f"route add 2001:db8:2::{n:x}/128 via 2001:db8::{n % 2 + 1}" for n in range(1000)]
    run(["ip", "-6", "-batch", "-"], given="\n".join(six))
    ip("route add default nexthop via 192.0.2.98 nexthop via 192.0.2.99")
    four = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.77", "192.0.2.98", "192.0.2.99"}
    assert gateways() == four | {"2001:db8::1", "2001:db8::2"}


def answer(*attributes: bytes, family: int = socket.AF_INET, kind: int = 1) -> bytes:
    """Return an answer about a route of a type (RTN_*), as the kernel packs it."""
    body = struct.pack("=BBBBBBBBI", family, 32, 0, 0, 254, 4, 0, kind, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 24, 2, 1, 0) + body


TABLE = attribute(15, (254).to_bytes(4, sys.byteorder))


def to(last: int) -> bytes:
    """Return an RTA_DST."""
    return attribute(1, bytes([10, 0, 0, last]))


def via(last: int) -> bytes:
    """Return an RTA_GATEWAY."""
    return attribute(5, bytes([192, 0, 2, last]))


def test_alike_are_those_that_differ_in_their_destination_alone() -> None:
    """At once where all have one form, one by one where they do not; nothing else is left out."""
    routes = [answer(TABLE, to(n), via(n % 2)) for n in range(10)]
    other = answer(TABLE, via(9))
    local = [answer(TABLE, to(n), kind=2) for n in range(3)]
    assert len([*_Alike()(b"".join(routes))]) == 2
    assert len([*_Alike()(b"".join([*routes, other]))]) == 3
    assert [*_Alike()(b"".join(local))] == local
    nowhere = [answer(TABLE, to(n), kind=6) for n in range(3)]
    assert len([*_Alike()(b"".join([*nowhere, *routes]))]) == 1 + 2
    mixed = [*_Alike()(b"".join([*routes, *local, other]))]
    assert len(mixed) == 2 + 3 + 1
    alike = _Alike()
    assert len([*alike(b"".join(routes)), *alike(b"".join(routes))]) == 2


class Told:
    """A socket that answers as it was told."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def __getattr__(self, _name: str) -> Callable[..., object]:
        return lambda *_arguments: None

    def recv(self, _size: int, _flags: int) -> bytes:
        """Return the next answer."""
        return self._answers.pop(0)


DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)


@pytest.mark.parametrize(
    "broken",
    [
        answer(TABLE, to(1), via(1))[:-4],
        b"\0" * 40,
        struct.pack("=IHHII", 16, 24, 2, 1, 0),
        struct.pack("=IHHIII", 20, 24, 2, 1, 0, 0),
        answer(TABLE, to(1), via(1)) + b"\1",
        answer(TABLE, to(1), attribute(5, b"\1\2\3")),
        answer(TABLE, to(1), b"\3\0\5\0\0\0\0\0"),
        answer(TABLE, to(1), b"\x20\0\5\0\0\0\0\0"),
        answer(TABLE, to(1), attribute(9, b"\4\0\0\0\0\0\0\0")),
        answer(TABLE, to(1), attribute(9, b"\x40\0\0\0\0\0\0\0")),
    ],
)
def test_an_answer_that_is_cut_off_is_an_error(broken: bytes, mocker: MockerFixture) -> None:
    """A message, an attribute, an address, a next hop: what is not understood is not empty."""
    mocker.patch("socket.socket", side_effect=lambda *_: Told(broken, DONE))
    with pytest.raises(NetlinkError, match="cut off, or of an unknown form"):
        netlink.routes()


def test_an_unknown_attribute_is_left_alone(mocker: MockerFixture) -> None:
    """Kernels learn more of them; what is known beside them counts."""
    new = attribute(999, b"abc")
    told = answer(TABLE, to(1), new, via(3)) + DONE
    mocker.patch("socket.socket", side_effect=[Told(told), Told(DONE)])
    assert gateways() == {"192.0.2.3"}


def test_what_changes_while_it_is_listed_is_listed_again(mocker: MockerFixture) -> None:
    """Where it changes all the time, whatever any list had counts."""
    routes = [answer(TABLE, to(1), via(last)) for last in (1, 2, 3)]
    turns = iter([*routes, b""])

    def ask(_self: Connection, _request: netlink.Message, *_split: object) -> object:
        said = next(turns, b"")
        if said:
            yield netlink.Message(24, said[16], said[28:], head=said[17:28])
            raise Stale(errno.ERESTART, "changed")

    mocker.patch.object(Connection, "ask", ask)
    assert gateways() == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
