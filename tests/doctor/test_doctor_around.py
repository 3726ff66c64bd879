"""What lets packets by: told by the kernel, and nothing where it does not."""

import ctypes
import os
import platform
import struct
from collections.abc import Callable
from typing import Final

import pytest
from doctors import do, machine, whats
from harness import REAL_ROOT, Place
from pytest_mock import MockerFixture

from reconciler import netlink
from reconciler.doctor import around
from reconciler.execute import run

Nft = Callable[..., str]

_BPF: Final = {"x86_64": 321, "aarch64": 280}  # __NR_bpf
_LOAD, _XDP = 5, 6  # BPF_PROG_LOAD, BPF_PROG_TYPE_XDP
_PASS: Final = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)  # return XDP_PASS
_SET_LINK, _LINK_XDP, _DESCRIPTOR, _FLAGS, _GENERIC = 19, 43, 1, 3, 2


def program() -> int:
    """Return a descriptor of a program that lets all pass."""
    code, word = ctypes.create_string_buffer(_PASS), ctypes.create_string_buffer(b"MIT\0")
    told = struct.pack("=IIQQ", _XDP, 2, ctypes.addressof(code), ctypes.addressof(word))
    given = ctypes.create_string_buffer(told.ljust(128, b"\0"))
    libc = ctypes.CDLL(None, use_errno=True)
    made: int = libc.syscall(_BPF[platform.machine()], _LOAD, given, 128)
    assert made >= 0, os.strerror(ctypes.get_errno())
    return made


@pytest.mark.skipif(not REAL_ROOT, reason="only root may load programs into the kernel")
def test_an_xdp_program(place: Place, host: None) -> None:
    """It is named with its device, and taken away by the command."""
    assert whats(around.check, machine(place)) == []
    descriptor = program()
    body = netlink.nested(
        _LINK_XDP,
        netlink.attribute(_DESCRIPTOR, struct.pack("=i", descriptor)),
        netlink.attribute(_FLAGS, struct.pack("=I", _GENERIC)),
    )
    head = struct.pack("=xHiII", 0, 1, 0, 0)
    asked = netlink.Message(_SET_LINK, 0, body, netlink.ACK, head=head)
    assert list(netlink.Connection(protocol=netlink.ROUTE).ask(asked)) == []
    os.close(descriptor)
    [found] = around.check(machine(place))
    assert found.what == "an XDP program has the packets of lo before the firewall"
    do(found.remedy)
    assert whats(around.check, machine(place)) == []


def test_a_flowtable(place: Place, host: None, mocker: MockerFixture) -> None:
    """It is named as nft names it (this kernel may have none, so the answer is made)."""
    asked, uses = netlink.Connection.ask, 1

    def ask(self: netlink.Connection, request: netlink.Message) -> object:
        if request.kind == around.GET_FLOWTABLE:
            body = netlink.text(1, "fw") + netlink.text(2, "fast") + netlink.number(4, uses)
            return iter([netlink.Message(netlink.NFTABLES << 8 | 22, 1, body)])
        return asked(self, request)

    mocker.patch.object(netlink.Connection, "ask", ask)
    [found] = around.check(machine(place))
    assert found.what == "the flowtable inet fw fast forwards connections past every chain"
    assert found.remedy.endswith("flow add @fast`: nft list table inet fw")
    uses = 0  # no rule sends a connection there
    assert whats(around.check, machine(place)) == []


def test_a_bridge_that_only_guests_are_on(place: Place, host: None) -> None:
    """What comes from outside is routed to them, so it is seen; as on a host of containers."""
    run(["ip", "link", "add", "br0", "type", "bridge"])
    for number in (1, 2):
        names = (f"port{number}", f"guest{number}")
        run(["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]])
        run(["ip", "link", "set", names[0], "master", "br0"])
    run(["sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0"])
    assert whats(around.check, machine(place)) == []


def test_no_backend_that_drops_packets(place: Place, host: None, mocker: MockerFixture) -> None:
    """Then nothing is to be dropped here, and nobody is asked."""
    place.configure(f'[backend.file]\npath = "{place.path}/list"', main='backends = ["file"]')
    mocker.patch.object(netlink, "Connection", side_effect=AssertionError)
    assert whats(around.check, machine(place)) == []
