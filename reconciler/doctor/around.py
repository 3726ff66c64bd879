"""Whether packets can come past the firewall: told from counts and headers, never from rules."""

import shlex
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from attrs import frozen

from reconciler import netlink
from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.netlink import Message, NetlinkError

GET_FLOWTABLE: Final = netlink.NFTABLES << 8 | 23
"""NFT_MSG_GETFLOWTABLE, linux/netfilter/nf_tables.h."""

_FLOW_TABLE, _FLOW_NAME, _FLOW_USE = 1, 2, 4  # NFTA_FLOWTABLE_*
_FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_*
_GET_LINK, _GET_FILTER = 18, 46  # RTM_GETLINK, RTM_GETTFILTER
_LINK_NAME, _LINK_MASTER, _LINK_INFO, _LINK_XDP = 3, 10, 18, 43  # IFLA_*; IFLA_IFNAME
_INFO_KIND, _XDP_ATTACHED = 1, 2  # IFLA_INFO_KIND, IFLA_XDP_ATTACHED
_INGRESS: Final = 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), which `ingress` has, too
_FILTER_KIND: Final = 1  # TCA_KIND
_XDP_MODES: Final = {b"\0": "", b"\1": "xdpdrv", b"\2": "xdpgeneric", b"\3": "xdpoffload"}
"""XDP_ATTACHED_*, in the words of ip-link(8)."""

_LINK_HEAD: Final = 15
"""Bytes of struct ifinfomsg behind the family; the index begins at the fourth."""


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what lets packets of a banned peer by, where a backend is to drop them."""
    if not machine.drops_packets:
        return
    with suppress(NetlinkError):  # without the right to look, nothing is known
        yield from _flowtables()
    with suppress(NetlinkError):
        connection = netlink.Connection(protocol=netlink.ROUTE)
        links = _links(connection)
        yield from _programs(connection, links)
        yield from _bridges(machine, links)


@frozen
class _Link:
    """A device by its index; ``master`` is that of the bridge, say, which it is a port of.

    ``xdp`` is in which way a program has its packets first; empty where none has.
    """

    index: int
    name: str
    kind: str
    master: int
    xdp: str


def _links(connection: netlink.Connection) -> list[_Link]:
    """Return the devices of this network namespace, which /sys may not show."""
    found = []
    for each in connection.ask(Message(_GET_LINK, 0, b"", netlink.DUMP, head=bytes(_LINK_HEAD))):
        told = dict(netlink.attributes(each.body))
        info = dict(netlink.attributes(told.get(_LINK_INFO, b"")))
        xdp = dict(netlink.attributes(told.get(_LINK_XDP, b"")))
        found.append(
            _Link(
                index=int.from_bytes(each.head[3:7], sys.byteorder),
                name=_text(told.get(_LINK_NAME, b"")),
                kind=_text(info.get(_INFO_KIND, b"")),
                master=int.from_bytes(told.get(_LINK_MASTER, b""), sys.byteorder),
                xdp=_XDP_MODES.get(xdp.get(_XDP_ATTACHED, b"\0")[:1], "xdp"),
            )
        )
    return found


def _flowtables() -> Iterator[Finding]:
    """Yield the flowtables that rules use: connections in them are forwarded without any chain."""
    connection = netlink.Connection()
    for answer in connection.ask(Message(GET_FLOWTABLE, 0, b"", netlink.DUMP)):
        told = dict(netlink.attributes(answer.body))
        table, name = (_text(told.get(kind, b"")) for kind in (_FLOW_TABLE, _FLOW_NAME))
        if any(told.get(_FLOW_USE, b"")):
            family = str(_FAMILIES.get(answer.family, answer.family))
            listing = shlex.join(["nft", "list", "table", family, table])
            yield Finding(
                f"the flowtable {family} {table} {name} forwards connections past every chain",
                "who is banned goes on with a connection that it has taken over, until that ends",
                f"remove the rules that say `flow add @{name}`: {listing}",
            )


def _programs(connection: netlink.Connection, links: list[_Link]) -> Iterator[Finding]:
    """Yield the devices with a program that has packets before the firewall."""
    for link in links:
        if link.xdp:
            remedy = ["ip", "link", "set", "dev", link.name, link.xdp, "off"]
            yield _program("an XDP program", link.name, remedy)
        head = struct.pack("=3xIIII", link.index, 0, _INGRESS, 0)
        with suppress(NetlinkError):
            asked = Message(_GET_FILTER, socket.AF_UNSPEC, b"", netlink.DUMP, head=head)
            kinds = [dict(netlink.attributes(each.body)) for each in connection.ask(asked)]
            if any(_text(each.get(_FILTER_KIND, b"")) == "bpf" for each in kinds):
                remedy = ["tc", "filter", "del", "dev", link.name, "ingress"]
                yield _program("a tc program", link.name, remedy)


def _program(what: str, device: str, remedy: list[str]) -> Finding:
    return Finding(
        f"{what} has the packets of {device} before the firewall",
        "it can hand them on past every drop; if it does not, it may stay",
        shlex.join(remedy),
    )


def _bridges(machine: Machine, links: list[_Link]) -> Iterator[Finding]:
    """Yield the bridge by which others are reached, if it hands frames on unseen.

    One that has several ports, and the default route, brings frames from outside to the others.
    """
    settings = "proc/sys/net/bridge/bridge-nf-call"
    if all(machine.text(f"{settings}-{name}tables").strip() == "1" for name in ("ip", "ip6")):
        return
    outside, ports = _default_devices(machine), Counter(link.master for link in links)
    for link in links:
        if link.kind == "bridge" and link.name in outside and ports[link.index] > 1:
            there = (machine.root / settings).parent.is_dir()
            load = "" if there else "modprobe br_netfilter && "
            yield Finding(
                f"the bridge {link.name} hands packets on to its other ports unfiltered",
                "who is banned is dropped by this machine, but reaches those behind the bridge",
                f"{load}sysctl -w net.bridge.bridge-nf-call-iptables=1"
                " net.bridge.bridge-nf-call-ip6tables=1",
            )


def _default_devices(machine: Machine) -> set[str]:
    """Return the devices of default routes (/proc/net/route and ipv6_route, proc(5))."""
    rows4 = (row.split() for row in machine.text("proc/thread-self/net/route").splitlines()[1:])
    rows6 = (row.split() for row in machine.text("proc/thread-self/net/ipv6_route").splitlines())
    found = {row[0] for row in rows4 if len(row) > 7 and row[1] == row[7] == "00000000"}
    return found | {
        row[-1] for row in rows6 if len(row) > 9 and not int(row[0], 16) + int(row[1], 16)
    }


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
