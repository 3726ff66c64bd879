"""Whether the running kernel prints its message about shrunk windows, and how to make it do so.

From 3.19 on it is a debug message: the kernel prints it only where dynamic debug has switched on
the places that do (its Documentation/admin-guide/dynamic-debug-howto.rst).
"""

import os
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final

from attrs import field, frozen

from reconciler import files
from reconciler.errors import TreasonError
from reconciler.host.written import others

COMMAND: Final = "treason init --kernel-message"
_SOURCE: Final = "net/ipv4/tcp_timer.c"
_ORDER: Final = f"file {_SOURCE} =p"
_QUIET_SINCE: Final = (3, 19)
_IN_PROC_SINCE: Final = (5, 7)  # before, the control file was in debugfs alone, for root alone
_SITE: Final = re.compile(
    rf"^(?:\S*/)?{re.escape(_SOURCE)}:\d+ \[[^\]]*\]\S+ =(\S+) "
    r'".*(?:unexpectedly shrunk window|Probing zero-window on)',
    re.MULTILINE,
)


class State(Enum):
    """Whether the kernel prints the message."""

    ALWAYS = "always"
    ON = "on"
    OFF = "off"
    CANNOT = "cannot"
    UNKNOWN = "unknown"


_ADVICE: Final = {
    State.OFF: f"off, so the built-in rules see nothing; as root, turn it on: {COMMAND}",
    State.CANNOT: "cannot be turned on: this kernel has no dynamic debug (CONFIG_DYNAMIC_DEBUG);"
    " the built-in rules see nothing, rules of your own still work",
    State.UNKNOWN: f"unknown: only root can read whether it is on; as root, turn it on: {COMMAND}",
}


def _write(control: Path, order: str) -> None:
    with control.open("r+b", buffering=0) as file:  # the kernel takes each write for one order
        file.write(f"{order}\n".encode())


@frozen
class Kernel:
    """A kernel's release (uname -r), where it is controlled, and set up for its next boot."""

    release: str = field(factory=lambda: os.uname().release)
    proc: Path = Path("/proc")
    debugfs: Path = Path("/sys/kernel/debug")
    tmpfiles: Path = Path("/etc/tmpfiles.d")
    write: Callable[[Path, str], None] = _write

    @property
    def version(self) -> tuple[int, ...]:
        """The first two numbers of the release; one without them is taken for a new one."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (99,)

    @property
    def control(self) -> Path:
        """The file by which dynamic debug is read and switched."""
        place = self.proc if self.version >= _IN_PROC_SINCE else self.debugfs
        return place / "dynamic_debug" / "control"

    @property
    def persistent(self) -> Path:
        """What systemd-tmpfiles reads at boot (tmpfiles.d(5))."""
        return self.tmpfiles / "treason.conf"


HERE: Final = Kernel()


def judge(release: str, control: str | None, *, known: bool = True) -> State:
    """Return whether the message is printed, by the kernel's release and the control file.

    That is None where there is none; ``known`` is False where that cannot be told. Flags besides
    ``p`` put words before the message, so that no rule matches it: they count as off.
    """
    if flags := _SITE.findall(control or ""):
        return State.ON if set(flags) == {"p"} else State.OFF
    if Kernel(release).version < _QUIET_SINCE:
        return State.ALWAYS
    return State.CANNOT if known else State.UNKNOWN


def look(kernel: Kernel) -> State:
    """Return whether it prints the message."""
    try:
        return judge(kernel.release, kernel.control.read_text(errors="replace"))
    except FileNotFoundError:
        known = kernel.version >= _IN_PROC_SINCE or os.path.ismount(kernel.debugfs)
    except OSError:
        known = False
    return judge(kernel.release, None, known=known)


def advice(state: State) -> str:
    """Return what that means, and the command that helps; nothing where the message is printed."""
    return _ADVICE.get(state, "")


def check(kernel: Kernel) -> None:
    """Refuse what cannot be turned on, before anything is made. Raise `TreasonError`."""
    state = look(kernel)
    if state is State.CANNOT:
        raise TreasonError(
            "this kernel never prints the message: it has no dynamic debug (CONFIG_DYNAMIC_DEBUG)",
            "boot a kernel that has it, such as those of Debian, Ubuntu and RHEL;"
            " or set all else up without --kernel-message",
        )
    if state is not State.ALWAYS:
        _need_root("turn on")
    if state is State.UNKNOWN:
        raise TreasonError(
            f"{kernel.control}: cannot read it",
            f"mount -t debugfs none {kernel.debugfs}; in a container, run it on the host",
        )


def turn_on(kernel: Kernel) -> Iterator[str]:
    """Let it print the message, now and after every boot; tell each step."""
    check(kernel)
    _spare(kernel)
    if look(kernel) is State.ALWAYS:
        yield "the kernel's message: this kernel always prints it"
        return
    _switch(kernel, _ORDER, State.ON)
    yield "the kernel's message: on"
    if not kernel.tmpfiles.is_dir():
        yield f'without systemd, keep it on by the kernel parameter dyndbg="file {_SOURCE} +p"'
        return
    try:
        files.replace(kernel.persistent, _text(kernel.control), mode=0o644)
    except OSError as error:
        raise _refused(kernel.persistent, "cannot write it", error) from None
    yield f"{kernel.persistent}: written"


def turn_off(kernel: Kernel) -> Iterator[str]:
    """Let it print the message no more, neither now nor after a boot; tell each step."""
    _need_root("turn off")
    _spare(kernel)
    if os.path.lexists(kernel.persistent):
        try:
            kernel.persistent.unlink()
        except OSError as error:
            raise _refused(kernel.persistent, "cannot remove it", error) from None
        yield f"{kernel.persistent}: removed"
    if (state := look(kernel)) in {State.ON, State.OFF}:
        _switch(kernel, f"file {_SOURCE} -p", State.OFF)
        state = State.OFF
    yield f"the kernel's message: {state.value}"


def _text(control: Path) -> str:
    """Return what systemd-tmpfiles is to do at each boot."""
    why = "# Lets the kernel print the message that treason looks for."
    return f"{why}\nw {control} - - - - {_ORDER}\n"


def _spare(kernel: Kernel) -> None:
    """Refuse to replace or remove what somebody else wrote. Raise `TreasonError`.

    Another kernel may have been controlled elsewhere.
    """
    places = (place / "dynamic_debug" / "control" for place in (kernel.proc, kernel.debugfs))
    if others(kernel.persistent, map(_text, places)):
        raise TreasonError(
            f"{kernel.persistent}: it was not written by `treason init`, so it is left as it is",
            "move it away, then run this again",
        )


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise TreasonError(f"only root can {what} the kernel's message", "run it with sudo")


def _switch(kernel: Kernel, order: str, wanted: State) -> None:
    try:
        kernel.write(kernel.control, order)
    except OSError as error:
        raise _refused(kernel.control, "cannot switch the kernel's message", error) from None
    if (state := look(kernel)) is not wanted:
        raise TreasonError(
            f"{kernel.control}: the kernel's message is still {state.value} after {order!r}",
            f'boot with the kernel parameter dyndbg="{order}"',
        )


def _refused(path: Path, what: str, error: OSError) -> TreasonError:
    return TreasonError(
        f"{path}: {what}: {error.strerror}",
        "run it as root of the machine itself, not of a container",
    )
