"""What the service manager is told."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.daemon.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd gives it to a service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        path = str(tmp_path / "notify")
        listening.bind(path if request.param == "path" else f"\0treason-test-{os.getpid()}")
        listening.setblocking(False)
        yield listening


def variables(manager: socket.socket, **more: str) -> dict[str, str]:
    """Return the environment that systemd gives."""
    name = manager.getsockname()
    path = name if isinstance(name, str) else name.decode().replace("\0", "@")
    return {"NOTIFY_SOCKET": path, "PATH": "/bin", **more}


def test_each_change_is_one_message(manager: socket.socket) -> None:
    """In the words of sd_notify(3); a status is one line, whatever it is made of."""
    notifier = Notifier(variables(manager))
    notifier.ready("10 bans\nin force")
    assert manager.recv(4096) == b"READY=1\nSTATUS=10 bans in force"
    notifier.status("11 bans in force")
    assert manager.recv(4096) == b"STATUS=11 bans in force"
    notifier.reloading()
    reloading = manager.recv(4096).decode().split("\n")
    assert reloading[0] == "RELOADING=1"
    assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1"
    notifier.stopping("the bans stay")
    assert manager.recv(4096) == b"STOPPING=1\nSTATUS=the bans stay"
    notifier.status("🛡" * 5000)
    assert len(manager.recv(1 << 16)) < 4096
    notifier.close()
    notifier.status("nobody hears it")


def test_children_inherit_nothing(manager: socket.socket) -> None:
    """The variables are gone from the environment, and the socket is closed on exec."""
    environment = variables(manager, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    notifier = Notifier(environment)
    assert environment == {"PATH": "/bin"}
    assert notifier.pause == 1.5
    notifier.close()


@pytest.mark.parametrize(
    "given",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "²"},
     {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}],
    ids=["none", "off", "no number", "no digit", "of another process"],
)  # fmt: skip
def test_no_signs_of_life_where_nobody_waits_for_them(
    manager: socket.socket, given: dict[str, str]
) -> None:
    """Also where they are asked of another process."""
    notifier = Notifier(variables(manager, **given))
    assert notifier.pause is None
    notifier.close()


@pytest.mark.parametrize("path", [None, "", "vsock:2:1234"])
def test_without_a_manager_nothing_happens(path: str | None) -> None:
    """As where a person runs it; nobody waits for signs of life then."""
    environment = {"WATCHDOG_USEC": "3000000"}
    notifier = Notifier(environment if path is None else {**environment, "NOTIFY_SOCKET": path})
    notifier.ready("10 bans in force")
    notifier.alive()
    assert notifier.pause is None
    notifier.close()


def test_a_manager_that_is_busy_holds_nothing_up(manager: socket.socket) -> None:
    """What it had no room for comes with the next message, in order, and only the last status."""
    notifier = Notifier(variables(manager))
    filled = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        name = manager.getsockname()
        while filled < 100_000:
            try:
                other.sendto(b"full", name)
            except BlockingIOError:
                break
            filled += 1
        notifier.reloading()
        notifier.status("reading the configuration")
        notifier.ready("10 bans in force")
        notifier.alive()
        for _ in range(filled):
            assert manager.recv(64) == b"full"
    with pytest.raises(BlockingIOError):
        manager.recv(64)
    notifier.alive()
    lines = manager.recv(4096).decode().split("\n")
    assert [line.partition("=")[0] for line in lines] == [
        "RELOADING", "MONOTONIC_USEC", "READY", "STATUS", "WATCHDOG",
    ]  # fmt: skip
    assert lines[3] == "STATUS=10 bans in force"
    notifier.alive()
    assert manager.recv(4096) == b"WATCHDOG=1"
    notifier.close()


def test_a_manager_that_begins_anew_is_told_again(tmp_path: Path) -> None:
    """Its socket was away for a while, as when systemd executes itself again."""
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    notifier.ready("10 bans in force")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        notifier.status("11 bans in force")
        assert manager.recv(4096) == b"READY=1\nSTATUS=11 bans in force"
    notifier.close()
