"""Whether the kernel prints its message, and `treason init --kernel-message`.

Dynamic debug is played where this kernel has none; `make test-kernel` boots one that has it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import REAL_ROOT, Place
from pytest_mock import MockerFixture

from reconciler import TreasonError
from reconciler.execute import run
from reconciler.host import kernel_message
from reconciler.host.kernel_message import Kernel, State, advice, judge, look, turn_off, turn_on

HEAD = "# filename:lineno [module]function flags format\n"
OTHER = 'net/ipv4/tcp_input.c:6580 [tcp_input]tcp_conn_request =_ "%s: Possible SYN\\012"\n'
SHRUNK = "Peer %pI4:%u/%u unexpectedly shrunk window %u:%u (repaired)\\012"
PROBING = "Probing zero-window on %pI6:%u/%u, seq=%u:%u, recv %ums ago, lasting %ums\\012"


def control(*flags: str, text: str = SHRUNK, prefix: str = "", suffix: str = "") -> str:
    """Write the control file with a place for each of the flags, as the kernel does."""
    places = (
        f"{prefix}net/ipv4/tcp_timer.c:{500 + line} [tcp_timer]tcp_retransmit_timer ={each}"
        f' "{text}"{suffix}\n'
        for line, each in enumerate(flags)
    )
    return HEAD + OTHER + "".join(places)


class Played:
    """A kernel with dynamic debug, as files: an order changes the flags, as the real one does."""

    def __init__(self, path: Path, release: str = "6.1.0-28-amd64") -> None:
        self.orders: list[str] = []
        self.kernel = Kernel(
            release, path / "proc", path / "debug", path / "tmpfiles.d", self.write
        )
        self.kernel.control.parent.mkdir(parents=True)
        self.kernel.tmpfiles.mkdir()
        self.kernel.control.write_text(control("_", "_"))

    def write(self, path: Path, order: str) -> None:
        """Obey ``file net/ipv4/tcp_timer.c``, and ``=p`` or ``-p``."""
        self.orders.append(order)
        match = re.fullmatch(r"file net/ipv4/tcp_timer\.c ([=-])p", order)
        assert match, order
        flags = "=p" if match[1] == "=" else "=_"
        text = re.sub(r"(tcp_timer\.c:.*?) =\S+", rf"\1 {flags}", path.read_text())
        path.write_text(text)


@pytest.fixture
def played(tmp_path: Path, mocker: MockerFixture) -> Played:
    """This machine's kernel is played, and we are its root."""
    made = Played(tmp_path)
    mocker.patch.object(kernel_message, "HERE", made.kernel)
    mocker.patch("os.geteuid", return_value=0)
    return made


@pytest.mark.parametrize(
    ("release", "text", "state"),
    [
        ("2.6.32-754.el6.x86_64", None, State.ALWAYS),
        ("3.18.140", None, State.ALWAYS),
        ("3.18.140", HEAD + OTHER, State.ALWAYS),
        ("3.19.0-84-generic", None, State.CANNOT),
        ("6.18.44", None, State.CANNOT),
        ("unheard-of", None, State.CANNOT),
        ("6.1.0-28-amd64", HEAD + OTHER, State.CANNOT),
        ("6.1.0-28-amd64", control("_", "_"), State.OFF),
        ("6.1.0-28-amd64", control("p", "p"), State.ON),
        ("6.12.1", control("p", "p", text=PROBING), State.ON),
        ("6.12.1", control("p", "p", text=PROBING, suffix=" class:C"), State.ON),
        ("4.4.0-21-generic", control("p", prefix="/build/linux-4.4/"), State.ON),
        ("6.1.0-28-amd64", control("p", "_"), State.OFF),
        ("6.1.0-28-amd64", control("pf", "pf"), State.OFF),
        ("6.1.0-28-amd64", control("f", "f"), State.OFF),
        ("6.1.0-28-amd64", control("p", prefix="drivers/"), State.ON),
        ("6.1.0-28-amd64", control("p", text="Other words"), State.CANNOT),
    ],
)
def test_the_state_follows_from_release_and_control_file(
    release: str, text: str | None, state: State
) -> None:
    """Every place must be on, with no flag that would put words before the message."""
    assert judge(release, text) is state


def test_what_nobody_may_read_is_unknown() -> None:
    """But for kernels that always print it."""
    assert judge("4.19.0", None, known=False) is State.UNKNOWN
    assert judge("3.10.0", None, known=False) is State.ALWAYS


@pytest.mark.parametrize(("release", "state"), [("4.19.0", State.UNKNOWN), ("5.7.0", State.CANNOT)])
def test_before_5_7_the_file_was_in_debugfs_alone(
    release: str, state: State, tmp_path: Path
) -> None:
    """Which may not be mounted; from then on a file that is not in /proc is nowhere."""
    kernel = Kernel(release, tmp_path / "proc", tmp_path / "debug")
    assert look(kernel) is state
    assert kernel.control.is_relative_to(tmp_path / ("debug" if "4.19" in release else "proc"))


def test_a_file_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    """As debugfs for everybody but root."""
    kernel = Played(tmp_path).kernel
    kernel.control.unlink()
    kernel.control.mkdir()  # whatever the reason: it is there, and reading it fails
    assert look(kernel) is State.UNKNOWN


def test_the_command_is_told_where_it_helps() -> None:
    """And nowhere else; nothing is said of a message that is printed."""
    told = {state for state in State if kernel_message.COMMAND in advice(state)}
    assert told == {State.OFF, State.UNKNOWN}
    assert {state for state in State if not advice(state)} == {State.ON, State.ALWAYS}


def test_init_turns_it_on_and_undo_off(place: Place, played: Played) -> None:
    """Now, and at every boot; the configuration is made as ever, and stays."""
    place.config.unlink()
    text = f'[treason]\ndatabase = "{place.database}"\n'
    place.config.write_text(text)
    result = place.treason("init", "--kernel-message")
    assert result.code == 0, result.err
    assert "the kernel's message: on\n" in result.out
    assert look(played.kernel) is State.ON
    assert played.kernel.persistent.stat().st_mode & 0o777 == 0o644
    assert place.database.exists()
    again = place.treason("init", "--kernel-message")
    assert again.code == 0
    undone = place.treason("init", "--kernel-message", "--undo")
    assert undone.code == 0, undone.err
    assert undone.out == f"{played.kernel.persistent}: removed\nthe kernel's message: off\n"
    assert look(played.kernel) is State.OFF
    assert list(played.kernel.tmpfiles.iterdir()) == []
    assert place.config.read_text() == text
    assert place.treason("init", "--kernel-message", "--undo").out == "the kernel's message: off\n"


def test_other_flags_are_taken_away(played: Played) -> None:
    """They would put words before the message."""
    played.kernel.control.write_text(control("pmf", "_"))
    assert list(turn_on(played.kernel))
    assert look(played.kernel) is State.ON


def test_systemd_takes_the_line_for_the_next_boot(played: Played) -> None:
    """The real systemd-tmpfiles writes the order into the control file."""
    if not REAL_ROOT:
        pytest.skip("systemd-tmpfiles wants a root who owns the root directory")
    assert list(turn_on(played.kernel))
    played.kernel.control.write_text("")
    run(["systemd-tmpfiles", "--create", str(played.kernel.persistent)])
    assert played.kernel.control.read_text() == played.orders[0]


def test_without_systemd_the_kernel_parameter_is_told(played: Played) -> None:
    """Nothing is written then."""
    played.kernel.tmpfiles.rmdir()
    [on, parameter] = turn_on(played.kernel)
    assert on == "the kernel's message: on"
    assert 'dyndbg="file net/ipv4/tcp_timer.c +p"' in parameter
    assert not played.kernel.tmpfiles.exists()


def test_a_kernel_that_cannot_is_refused_before_anything_is_made(
    place: Place, played: Played
) -> None:
    """The reason and a remedy in two lines."""
    played.kernel.control.unlink()
    before = place.snapshot()
    result = place.treason("init", "--kernel-message")
    assert result.code == 1
    assert "has no dynamic debug (CONFIG_DYNAMIC_DEBUG)\n  boot a kernel that has it" in result.err
    assert result.err.endswith("without --kernel-message\n")
    assert place.snapshot() == before


def test_only_root_may(place: Place, played: Played, mocker: MockerFixture) -> None:
    """Both on and off; nothing is changed."""
    mocker.patch("os.geteuid", return_value=1000)
    for command in (["--kernel-message"], ["--kernel-message", "--undo"]):
        result = place.treason("init", *command)
        assert result.code == 1
        assert "only root can turn o" in result.err
    assert played.orders == []


def test_an_old_kernel_needs_nothing(tmp_path: Path) -> None:
    """It always prints the message."""
    kernel = Kernel("3.10.0-1160.el7", tmp_path, tmp_path, tmp_path)
    assert list(turn_on(kernel)) == ["the kernel's message: this kernel always prints it"]
    assert list(tmp_path.iterdir()) == []


def test_debugfs_that_is_not_mounted_is_told(tmp_path: Path, mocker: MockerFixture) -> None:
    """With the command that mounts it."""
    mocker.patch("os.geteuid", return_value=0)
    kernel = Kernel("4.19.0", tmp_path, tmp_path / "debug", tmp_path)
    with pytest.raises(TreasonError, match="cannot read it\n  mount -t debugfs none"):
        list(turn_on(kernel))


def test_a_control_file_that_refuses_is_told(played: Played, tmp_path: Path) -> None:
    """As in a container, where it can be read alone."""

    def refuse(_path: Path, _order: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    kernel = Kernel("6.1.0", tmp_path / "proc", tmp_path, tmp_path, refuse)
    with pytest.raises(TreasonError, match="cannot switch the kernel's message: Operation not"):
        list(turn_on(kernel))
    assert not kernel.persistent.exists()


def test_an_order_without_effect_is_told(played: Played, tmp_path: Path) -> None:
    """What the control file says afterwards counts."""
    kernel = Kernel("6.1.0", tmp_path / "proc", tmp_path, tmp_path)
    with pytest.raises(TreasonError, match=r"still .* after 'file net/ipv4/tcp_timer.c =p'"):
        list(turn_on(kernel))


def test_what_cannot_be_written_or_removed_is_named(played: Played, mocker: MockerFixture) -> None:
    """The file for the next boot, with the system's reason."""
    mocker.patch("reconciler.files.replace", side_effect=OSError(30, "Read-only file system"))
    with pytest.raises(TreasonError, match=r"treason\.conf: cannot write it: Read-only"):
        list(turn_on(played.kernel))
    played.kernel.persistent.mkdir()
    with pytest.raises(TreasonError, match=r"treason\.conf: cannot remove it: Is a directory"):
        list(turn_off(played.kernel))


def test_status_and_scan_tell_it(
    place: Place, played: Played, seed_log: Path, nft: Callable[..., str]
) -> None:
    """As long as it is off, with the one command; nothing more once it is on."""
    place.configure(f'[source.file]\npath = "{seed_log}"', main='sources = ["file"]')
    assert place.treason("status", "-o", "json").json["kernel_message"] == "off"
    assert f"kernel message  {advice(State.OFF)}\n" in place.treason("status").out
    assert kernel_message.COMMAND in place.treason("scan", "-v").out
    assert kernel_message.COMMAND not in place.treason("scan").out
    place.treason("init", "--kernel-message")
    assert "kernel message  on\n" in place.treason("status").out
    assert "kernel's message" not in place.treason("scan", "-v").out


def test_this_kernel_is_looked_at() -> None:
    """Everybody may read its control file in /proc, if it has one."""
    path = Path("/proc/dynamic_debug/control")
    text = path.read_text() if path.exists() else None
    assert look(kernel_message.HERE) is judge(os.uname().release, text)
