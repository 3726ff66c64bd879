"""Whether the kernel prints its message, and what is to be done."""

from pathlib import Path

import pytest
from doctors import machine, whats
from harness import Place
from pytest_mock import MockerFixture

from reconciler.doctor import message
from reconciler.doctor.machine import Machine
from reconciler.host import kernel_message
from reconciler.host.kernel_message import Kernel

_SITE = 'net/ipv4/tcp_timer.c:1 [tcp]f ={} "Probing zero-window on %pI4"\n'


@pytest.fixture
def kernel(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A kernel whose files the test writes; its control file."""
    made = Kernel("6.1.0", proc=tmp_path / "proc", debugfs=tmp_path / "debug")
    made.control.parent.mkdir(parents=True)
    mocker.patch.object(kernel_message, "HERE", made)
    return made.control


def found(place: Place, *sources: str) -> list[tuple[str, str]]:
    """Return what is found where these are configured, and what mends it."""
    names = ", ".join(f'"{each}"' for each in sources)
    place.configure(main=f"sources = [{names}]")
    return [(each.what, each.remedy) for each in message.check(machine(place))]


def test_a_message_that_is_off(place: Place, kernel: Path) -> None:
    """The command turns it on; once it is, or where nobody reads it, there is no finding."""
    kernel.write_text(_SITE.format("_"))
    [(what, remedy)] = found(place, "kmsg", "sockets")
    assert what == "the kernel does not print its message"
    assert remedy == f"treason --config {place.config} init --kernel-message"
    assert found(place, "sockets") == []
    kernel.write_text(_SITE.format("p"))
    assert found(place, "kmsg") == []


def test_a_kernel_that_never_prints_it(place: Place, kernel: Path) -> None:
    """Sockets are to be looked at; where they are, all is as good as it can be."""
    [(what, remedy)] = found(place, "kmsg")
    assert "never prints its message" in what
    assert remedy == f'add "sockets" to [treason] sources in {place.config}'
    assert found(place, "kmsg", "sockets") == []


def test_what_only_root_can_see(place: Place, kernel: Path, mocker: MockerFixture) -> None:
    """Anybody else is told to look as root."""
    kernel.mkdir()
    mocker.patch.object(Machine, "is_root", False)
    [(what, remedy)] = found(place, "kmsg")
    assert what == "only root can read whether the kernel prints its message"
    assert remedy == f"sudo treason --config {place.config} doctor"


def test_nothing_to_read_it_with(place: Place) -> None:
    """Then it is no matter."""
    place.configure(main="sources = []")
    assert whats(message.check, machine(place)) == []
