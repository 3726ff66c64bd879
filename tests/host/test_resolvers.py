"""The files that tell of resolvers, below a root of the test's own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REAL_ROOT
from pytest_mock import MockerFixture

from reconciler.host.resolvers import places, resolvers

STUB = {"etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0\n"}


def found(root: Path, files: dict[str, str]) -> list[str]:
    """Write the files, and return the resolvers that they tell of, without those on loopback."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [text for each in resolvers(root) if not (text := str(each)).startswith("127.")]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, []),
        ({"etc/resolv.conf": "nameserver 192.0.2.53 # not 192.0.2.9\n;nameserver 192.0.2.8\n"},
         ["192.0.2.53"]),
        ({"run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"},
         ["192.0.2.53", "2001:db8::53"]),
        ({"run/systemd/resolve/netif/2": "LLMNR=yes\nSERVERS=192.0.2.53:853#dns.example "
          "[2001:db8::53]:853 fe80::1%eth0\nDOMAINS=192.0.2.9\n"},
         ["192.0.2.53", "2001:db8::53", "fe80::1"]),
        ({"run/systemd/netif/links/3": "DNS=192.0.2.53 192.0.2.54\nNTP=192.0.2.9\n"},
         ["192.0.2.53", "192.0.2.54"]),
        ({"run/NetworkManager/no-stub-resolv.conf": "nameserver 192.0.2.53\n"}, ["192.0.2.53"]),
        ({"run/resolvconf/interface/eth0.dhclient": "nameserver 192.0.2.53\n"}, ["192.0.2.53"]),
        ({"etc/resolv.conf": "# ExtServers: [host(192.0.2.53) 192.0.2.54]\nsearch x\n"},
         ["192.0.2.53", "192.0.2.54"]),
        ({"run/dnsmasq/resolv.conf": "nameserver 192.0.2.53\n"}, ["192.0.2.53"]),
        ({"etc/dnsmasq.conf": "#server=192.0.2.9\nserver=192.0.2.53#5353\n server = /a.example/b/"
          "192.0.2.54@eth0\nlocal=/c/2001:db8::53\nserver=/d/#\nserver=//\nserver=/e/\n"
          "rev-server=192.0.2.0/24,192.0.2.55\naddress=/x/192.0.2.8\n"},
         ["192.0.2.53", "192.0.2.54", "2001:db8::53", "192.0.2.55"]),
        ({"etc/dnsmasq.d/one": "resolv-file=/run/up.conf\n", "run/up.conf":
          "nameserver 192.0.2.53\nserver=192.0.2.9\n"}, ["192.0.2.53"]),
        ({"etc/dnsmasq.conf": "conf-dir=/etc/more,*.conf\nconf-file=/etc/one\n",
          "etc/more/a.conf": "server=192.0.2.53\n", "etc/one": "servers-file=/etc/two\n",
          "etc/two": "server=192.0.2.54\nconf-file=/etc/one\n"}, ["192.0.2.54", "192.0.2.53"]),
        ({"etc/unbound/unbound.conf": 'include-toplevel: "/etc/unbound/unbound.conf.d/*.conf"\n',
          "etc/unbound/unbound.conf.d/up.conf": 'forward-zone:\n  name: "."\n'
          "  forward-addr: 192.0.2.53@853#dns.example\n  # forward-addr: 192.0.2.9\n"
          '  forward-host: dns.example\nstub-zone:\n  stub-addr: "2001:db8::53"\n',
          "etc/unbound/unbound.conf.d/off": "forward-addr: 192.0.2.8\n"},
         ["192.0.2.53", "2001:db8::53"]),
        ({"etc/unbound/unbound.conf": 'stub-zone: name: "a" stub-addr: 192.0.2.53 stub-addr:\n'
          " 192.0.2.54@53 # stub-addr: 192.0.2.9\n# include: /etc/off\ninclude: /etc/*/on/*.c\n",
          "etc/off": "stub-addr: 192.0.2.8\n", "etc/a/on/b.c": "stub-addr: 192.0.2.55\n"},
         ["192.0.2.53", "192.0.2.54", "192.0.2.55"]),
        ({"etc/dnsmasq.conf": "servers-file=/run/dnsmasq/up\n", "run/dnsmasq/up":
          "server=192.0.2.53\n"}, ["192.0.2.53"]),
        ({"etc/unbound/unbound.conf": "include: /etc/unbound/*/up.conf\ninclude: /gone/*/x\n",
          "etc/unbound/one/up.conf": "forward-addr: 192.0.2.53\n",
          "etc/unbound/two/up.conf": "forward-addr: 192.0.2.54\n",
          "etc/unbound/two/off": "forward-addr: 192.0.2.8\n"}, ["192.0.2.53", "192.0.2.54"]),
        ({"etc/dnsmasq.d/sub/one": "server=192.0.2.8\n",
          "etc/dnsmasq.conf": "server=192.0.2.53\n"}, ["192.0.2.53"]),
        ({"etc/dnsmasq.d/.a.swp": "\0", "run/dnsmasq/.b.swp": "\0", "etc/unbound/unbound.conf":
          "include: /etc/more\n", "etc/more/.c.swp": "\0", "etc/more/c": "stub-addr: 192.0.2.53\n"},
         ["192.0.2.53"]),
    ],
)  # fmt: skip
def test_a_resolver_is_found_where_it_is_named(
    files: dict[str, str], wanted: list[str], tmp_path: Path
) -> None:
    """Behind a stub on loopback: with port, zone and name cut off; and nothing that is none."""
    assert sorted(found(tmp_path, STUB | files)) == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("etc/resolv.conf", {}),
        ("run/systemd/resolve/resolv.conf", {}),
        ("etc/dnsmasq.d/one", {}),
        ("run/up", {"etc/dnsmasq.conf": "resolv-file=/run/up\n"}),
        ("etc/unbound/more", {"etc/unbound/unbound.conf": "include: more\n"}),
    ],
)
def test_garbage_is_told(name: str, before: dict[str, str], tmp_path: Path) -> None:
    """A file that is no text is not one without resolvers; it is named."""
    with pytest.raises(OSError, match="it is not a text") as told:
        found(tmp_path, before | {name: "\0\1\2"})
    assert told.value.filename == str(tmp_path / name)


def test_files_that_name_each_other_without_end_are_told(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    """However many there are, no pass reads them for ever."""
    mocker.patch("reconciler.host.resolvers._FILES", 100)
    many = {f"etc/d/{n}": f"conf-file=/etc/d/{n + 1}\n" for n in range(110)}
    with pytest.raises(OSError, match="more than 100 files"):
        found(tmp_path, many | {"etc/dnsmasq.conf": "conf-file=/etc/d/0\n"})


@pytest.mark.skipif(not REAL_ROOT, reason="needs two users")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("etc/dnsmasq.d", "etc/dnsmasq.d/x"),
        ("etc/unbound/unbound.conf", "etc/unbound/unbound.conf"),
        ("run/systemd/resolve/netif", "run/systemd/resolve/netif/2"),
    ],
)
def test_who_may_not_read_them_is_told(name: str, file: str, tmp_path: Path) -> None:
    """A directory, or a file: the error names it."""
    secret = tmp_path / name
    found(tmp_path, {file: "x\n"})
    secret.chmod(0)
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o711)
    code = (
        "from pathlib import Path; from reconciler.host.resolvers import resolvers\n"
        f"try: resolvers(Path({str(tmp_path)!r}))\n"
        "except PermissionError as error: print(error.filename)"
    )
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", sys.executable, "-c",
         code], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{secret}\n"


def test_a_socket_beside_the_files_is_no_file(tmp_path: Path) -> None:
    """A program that listens in the directory of its files keeps nobody from reading them."""
    files = {"run/dnsmasq/resolv.conf": "nameserver 192.0.2.53\n"}
    found(tmp_path, files)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "run/dnsmasq/control"))
        assert found(tmp_path, files) == ["192.0.2.53"]


def test_what_is_looked_at_is_known(tmp_path: Path) -> None:
    """Whoever is to read it is told of it: what others name, what is missing, and directories."""
    found(tmp_path, {"etc/dnsmasq.conf": "conf-file=/etc/one\nconf-dir=/etc/more,*.conf\n"})
    (tmp_path / "etc/more").mkdir()
    looked = {str(path.relative_to(tmp_path)) for path in places(tmp_path)}
    assert looked >= {"etc/dnsmasq.conf", "etc/one", "etc/unbound/unbound.conf", "run/dnsmasq"}
    assert "etc/more" in looked
