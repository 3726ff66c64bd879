"""What is protected without being listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import Network
from reconciler.errors import TreasonError
from reconciler.execute import run
from reconciler.host.netns import HOST4, HOST6, Wire
from reconciler.planning.protection import Protect, protected, ssh_client

NOTHING = Protect(
    loopback=False, link_local=False, own_addresses=False,
    gateways=False, resolvers=False, ssh_client=False,
)  # fmt: skip


def reasons(settings: Protect, **how: Path) -> dict[str, set[str]]:
    """Return what is protected, by its reason."""
    found: dict[str, set[str]] = {}
    for entry in protected(settings, [Network.parse("203.0.113.77")], **how):
        found.setdefault(entry.comment, set()).add(str(entry.network))
    return found


def test_every_kind_can_be_switched_off() -> None:
    """Then nothing is protected."""
    assert reasons(NOTHING) == {}


def test_own_addresses_and_gateways_are_those_of_the_kernel(host: None, tmp_path: Path) -> None:
    """Of both families, read in the namespace of the caller."""
    cable = Wire([])
    for version, via in (("-4", "192.0.2.2"), ("-6", "2001:db8::2")):
        run(["ip", version, "route", "del", "default", "dev", "host0"])
        device = ["dev", "host0", "onlink"] if version == "-4" else ["dev", "host0"]
        if version == "-6":
            run(["ip", "-6", "route", "add", "2001:db8::/64", "dev", "host0"])
        run(["ip", version, "route", "add", "default", "via", via, *device])
    found = reasons(Protect(), resolvers=tmp_path / "none")
    assert {HOST4, HOST6, "127.0.0.1", "::1"} <= found["own address"]
    assert found["default gateway"] == {"192.0.2.2", "2001:db8::2"}
    assert found["ssh client of a recent command"] == {"203.0.113.77"}
    cable.close()


def test_resolvers_are_those_of_resolv_conf(tmp_path: Path) -> None:
    """Zones are cut off, other lines are left alone."""
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver\n"
        "nameserver 0.0.0.0/0\nsearch x\n"
    )
    assert reasons(Protect(), resolvers=path)["DNS resolver"] == {"192.0.2.53", "fe80::1"}


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """An unknown protection is not an empty one."""
    with pytest.raises(TreasonError, match="cannot find out what to protect"):
        protected(Protect(), [], resolvers=tmp_path)


@pytest.mark.parametrize("name", ["route", "if_inet6"])
def test_what_cannot_be_understood_is_an_error(name: str, tmp_path: Path) -> None:
    """A kernel that prints otherwise is not a machine without addresses."""
    (tmp_path / name).write_text("Iface\nzz yy\n")
    with pytest.raises(TreasonError, match="cannot find out what to protect"):
        protected(Protect(), [], net=tmp_path)


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
