"""Which ports listen, as the kernel tells it."""

import socket
from pathlib import Path

import pytest

from reconciler.errors import TreasonError
from reconciler.execute import run
from reconciler.host import listeners


def test_listening_ports_are_told_and_no_others(host: None) -> None:
    """Of both families; a bound or connected socket is no listener."""
    run(["ip", "link", "set", "lo", "up"])
    with (
        socket.create_server(("127.0.0.1", 1001)) as four,
        socket.create_server(("::1", 1002), family=socket.AF_INET6) as six,
        socket.socket() as bound,
        socket.create_connection(four.getsockname()) as client,
    ):
        bound.bind(("127.0.0.1", 1003))
        found = listeners.ports()
        ports = [each.getsockname()[1] for each in (four, six, bound, client)]
    assert [port in found for port in ports] == [True, True, False, False]


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A machine without /proc has not no listeners; one without IPv6 has its own."""
    with pytest.raises(TreasonError, match="cannot read which ports listen"):
        listeners.ports(tmp_path)
    (tmp_path / "tcp").write_text("titles\n 0: 00000000:07E8 00000000:0000 0A 0 0\n")
    assert listeners.ports(tmp_path) == {0x7E8}
    (tmp_path / "tcp6").mkdir()
    with pytest.raises(TreasonError, match="Is a directory"):
        listeners.ports(tmp_path)
