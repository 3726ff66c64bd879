"""What is protected without being listed."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve
from pytest_mock import MockerFixture

from reconciler import Network, netlink
from reconciler.errors import TreasonError
from reconciler.execute import run
from reconciler.host.netns import HOST4, HOST6, Wire
from reconciler.planning.protection import Protect, protected, ssh_client

NOTHING = Protect(
    loopback=False, link_local=False, own_addresses=False,
    gateways=False, resolvers=False, ssh_client=False,
)  # fmt: skip


def reasons(settings: Protect, root: Path, banned: Sequence[str] = ()) -> dict[str, set[str]]:
    """Return what is protected, by its reason."""
    found: dict[str, set[str]] = {}
    clients, bans = [Network.parse("203.0.113.77")], map(Network.parse, banned)
    for entry in protected(settings, clients, root, bans):
        found.setdefault(entry.comment, set()).add(str(entry.network))
    return found


def resolv_conf(root: Path, text: str) -> Path:
    """Write the file below a root of the test's own."""
    path = root / "etc" / "resolv.conf"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_every_kind_can_be_switched_off(tmp_path: Path) -> None:
    """Then nothing is protected."""
    assert reasons(NOTHING, tmp_path) == {}


def test_own_addresses_and_gateways_are_those_of_the_kernel(host: None, tmp_path: Path) -> None:
    """Of both families, read in the namespace of the caller."""
    cable = Wire([])
    for version, via in (("-4", "192.0.2.2"), ("-6", "2001:db8::2")):
        run(["ip", version, "route", "del", "default", "dev", "host0"])
        device = ["dev", "host0", "onlink"] if version == "-4" else ["dev", "host0"]
        if version == "-6":
            run(["ip", "-6", "route", "add", "2001:db8::/64", "dev", "host0"])
        run(["ip", version, "route", "add", "default", "via", via, *device])
    found = reasons(Protect(), tmp_path)
    assert {HOST4, HOST6, "127.0.0.1", "::1"} <= found["own address"]
    assert found["gateway"] == {"192.0.2.2", "2001:db8::2"}
    assert found["ssh client of a recent command"] == {"203.0.113.77"}
    cable.close()


def test_resolvers_are_those_of_resolv_conf(tmp_path: Path) -> None:
    """Zones are cut off, other lines are left alone."""
    resolv_conf(
        tmp_path,
        "# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver\n"
        "nameserver 0.0.0.0/0\nsearch x\n",
    )
    assert reasons(Protect(), tmp_path)["DNS resolver"] == {"192.0.2.53", "fe80::1"}


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """An unknown protection is not an empty one; it says what may be switched off."""
    (tmp_path / "etc" / "resolv.conf").mkdir(parents=True)
    with pytest.raises(TreasonError, match="cannot find out what to protect") as told:
        protected(Protect(), [], tmp_path)
    assert str(tmp_path / "etc" / "resolv.conf") in told.value.what
    assert "resolvers = false" in told.value.hint


@pytest.mark.parametrize(("off", "key"), [("none", "own_addresses"), ("own_addresses", "gateways")])
def test_a_kernel_that_does_not_answer_is_an_error(
    off: str, key: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    """As in a sandbox without netlink; and whoever needs nothing of it, does not ask."""
    refused = OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    mocker.patch("socket.socket", side_effect=refused)
    settings = Protect(own_addresses=off != "own_addresses")
    with pytest.raises(TreasonError, match="Address family not supported") as told:
        protected(settings, [], tmp_path)
    assert f"({key} in [protect])" in told.value.what
    assert f"set {key} = false in [protect]" in told.value.hint
    assert protected(Protect(own_addresses=False, gateways=False), [], tmp_path)


def test_routes_are_listed_once(host: None, tmp_path: Path, mocker: MockerFixture) -> None:
    """There may be many."""
    listed = mocker.patch.object(netlink, "routes", wraps=netlink.routes)
    protected(Protect(), [], tmp_path)
    assert listed.call_count == 1


def test_whoever_is_protected_is_so_inside_ipv6(tmp_path: Path) -> None:
    """By NAT64 of the prefixes known and configured, as a site of 6to4, as a server of Teredo."""
    settings = evolve(NOTHING, ssh_client=True, nat64=(Network.parse("2001:db8:64::/64"),))
    found = reasons(settings, tmp_path)
    assert found["ssh client of a recent command, as 203.0.113.77 in IPv6"] == {
        "64:ff9b::cb00:714d",
        "64:ff9b:1::cb00:714d",
        "64:ff9b:1:cb00:71:4d00::/88",
        "2001:db8:64:0:cb:71:4d00:0/104",
        "2002:cb00:714d::/48",
        "2001:0:cb00:714d::/64",
    }


def test_a_banned_client_of_teredo_is_protected_as_that_of_ipv4(tmp_path: Path) -> None:
    """What is a client's address in Teredo is no network, so each ban is looked at."""
    mine, others = "2001:0:c633:6401::34ff:8eb2", "2001:0:c633:6401::34ff:8eb3"
    settings = evolve(NOTHING, ssh_client=True)
    found = reasons(settings, tmp_path, [mine, others, "2001:0:c633:6401::/64"])
    assert found["ssh client of a recent command, as 203.0.113.77 in IPv6"] >= {mine}
    assert others not in found["ssh client of a recent command, as 203.0.113.77 in IPv6"]


@pytest.mark.parametrize("between", [[], ["env", "-u", "SSH_CONNECTION"]])
def test_the_ssh_client_is_found_above_a_sudo(between: list[str]) -> None:
    """The variable is taken away by sudo; the process above still has it."""
    code = "from reconciler.planning.protection import ssh_client; print(ssh_client())"
    inner = [*between, sys.executable, "-c", code]
    outer = [sys.executable, "-c", f"import subprocess; subprocess.run({inner!r}, check=True)"]
    environment = os.environ | {"SSH_CONNECTION": "203.0.113.9 50000 192.0.2.1 22"}
    done = subprocess.run(outer, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "203.0.113.9\n"


def test_without_ssh_there_is_no_client() -> None:
    """The first process has none above it."""
    assert ssh_client(1) is None


def test_without_proc_it_cannot_be_told_who_came_through_ssh(mocker: MockerFixture) -> None:
    """That is no empty answer."""
    mocker.patch.object(Path, "read_bytes", side_effect=FileNotFoundError(2, "No such file"))
    for pid in (None, os.getpid()):
        with pytest.raises(TreasonError, match=r"ssh_client in \[protect"):
            ssh_client(pid)
