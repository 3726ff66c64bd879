"""Who is behind a netlink port id."""

import subprocess
import sys

import pytest

from reconciler.daemon.culprits import named
from reconciler.netlink import Connection


def test_a_process_is_named_that_has_the_socket() -> None:
    """By the name that the kernel has for it."""
    holder = (
        "from reconciler.netlink import Connection\n"
        "made = Connection(); print(made.port, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        assert named([process.pid]).endswith(f"(process {process.pid})")
        process.kill()
    assert named([process.pid]) == f"netlink port {process.pid}"


def test_a_second_socket_is_nobody_certain() -> None:
    """Its port id is no process id: the number alone is told, and in order."""
    first, second = Connection(), Connection()
    assert named([second.port]) == f"netlink port {second.port}"
    assert named([second.port, 0, first.port]).count(", ") == 1
    first.close()
    second.close()


def test_of_many_the_first_are_named() -> None:
    """A program that somebody runs again and again has another port each time."""
    assert named(range(2**31, 2**31 + 30)).count("netlink port") == 3
    assert named(range(2**31, 2**31 + 30)).endswith(", 27 more")


@pytest.mark.parametrize("ports", [[], [0]])
def test_nobody_known_is_nobody(ports: list[int]) -> None:
    """0 stands for somebody unknown."""
    assert named(ports) == ""


def test_a_process_of_that_number_without_the_socket_is_not_blamed() -> None:
    """The port id may be that of a process in another process namespace."""
    with subprocess.Popen(["sleep", "60"]) as process:
        assert named([process.pid]) == f"netlink port {process.pid}"
        process.kill()
