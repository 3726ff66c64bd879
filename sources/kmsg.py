"""The kernel's own message buffer, /dev/kmsg (kernel's Documentation/ABI/testing/dev-kmsg)."""

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from reconciler import Record, SourcePlugin, SourceUnreadable, hookimpl

DEVICE: Final = Path("/dev/kmsg")
_NUMBER: Final = os.makedev(1, 11)  # kernel's Documentation/admin-guide/devices.txt
_LARGEST: Final = 8192  # CONSOLE_EXT_LOG_MAX; a shorter buffer makes the kernel drop the record
_DIGITS: Final = 20  # of 64 bits
_RECORD: Final = (
    rb"([0-9]{1,9}),([0-9]{1,20}),([0-9]{1,20}),(?![c+])(?![^;\n]*,ncfrag=)[^;\n]*;([^\n]*)"
)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_RESTRICT: Final = Path("/proc/sys/kernel/dmesg_restrict")
_HOST: Final = "in a container, give it the host's /dev/kmsg, or run treason on the host"


def opened(device: Path) -> int:
    """Open the kernel's buffer for reading without waiting; refuse what stands in its place."""
    descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NUMBER:
        os.close(descriptor)
        raise SourceUnreadable(f"{device} is not the kernel's message buffer", _HOST)
    return descriptor


class Kmsg:
    """Reads what the buffer holds, without waiting for more.

    The cursor is ``BOOT_ID:SEQUENCE`` of the last record read; numbers begin with 0 at each boot,
    and none is left out: where one is missing, its record was overwritten. ``open_device`` and
    ``read_record`` are the two calls that touch the device. What is waited for is the device
    itself, kept open behind the last record: poll(2) finds it readable once one follows, and also
    where the one that should follow was overwritten (devkmsg_poll of kernel/printk/printk.c).
    """

    def __init__(
        self,
        _settings: object = None,
        device: Path = DEVICE,
        open_device: Callable[[Path], int] = opened,
        read_record: Callable[[int, int], bytes] = os.read,
    ) -> None:
        self._device = device
        self._open, self._read = open_device, read_record
        self._boot = _BOOT_ID.read_text().strip()
        self._next = 0
        self._notes: list[str] = []
        self._kept: int | None = None

    def fileno(self) -> int:
        """Return the device, which stays open from now on."""
        if self._kept is None:
            self._kept = self._opened()
            self._next = 0
        return self._kept

    def close(self) -> None:
        """Close the device; from now on each `read` opens it for itself."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the records behind ``cursor`` that hold a needle.

        The kernel's clock stands still in suspend as CLOCK_MONOTONIC does, so times are right
        since the last resume, and too late by the sleep before it, as those of ``dmesg -T``.
        """
        boot, number = _position(cursor)
        if self._kept is not None and (boot != self._boot or number != self._next):
            os.lseek(self._kept, 0, os.SEEK_SET)  # to the oldest record that is left
        restarted = bool(boot) and boot != self._boot
        self._next = 0 if restarted else number
        sought = [_escaped(needle) for needle in needles] or [b""]
        now = time.time()
        booted, lost, counted = now - time.monotonic(), 0, restarted or self._next > 0
        start, sequence = self._next, -1
        for data in self._records():
            digits = data.partition(b",")[2].partition(b",")[0]
            if not digits.isdigit() or len(digits) > _DIGITS:
                continue  # no record in any form that kernels have had
            sequence = int(digits)
            if sequence != self._next:
                if sequence < self._next:
                    continue
                lost += counted * (sequence - self._next)
            self._next, counted = sequence + 1, True
            for needle in sought:
                if needle in data:
                    break
            else:
                continue
            if record := _record(data, self._boot, now, booted):
                yield record
        if self._next == start and 0 <= sequence < start - 1:
            yield from self.read(None, needles)
            self._notes = [f"{cursor!r} is ahead of the newest record; everything was read again"]
            return
        self._notes = [*_restart(restarted), *_loss(lost)]

    def cursor(self) -> str | None:
        """Return the boot and the number of the last record read."""
        return f"{self._boot}:{self._next - 1}" if self._next else None

    def notes(self) -> Iterable[str]:
        """Return what was gone before it could be read."""
        return self._notes

    def silence(self) -> str | None:
        """Return why the buffer has no record of the kernel's own; None if it has one."""
        others = 0
        for data in self._all(self._opened(), close=True):
            if data[1:2] == b"," and data[:1] < b"8":  # facility * 8 + level
                return None
            others += 1
        held = f"only {others} records of other programs" if others else "nothing"
        return f"{self._device} holds {held}: boot with a larger log_buf_len, or read the journal"

    def _records(self) -> Iterator[bytes]:
        """Read on where the device is kept open, else all that there is."""
        kept = self._kept
        return self._all(self._opened(), close=True) if kept is None else self._all(kept)

    def _all(self, descriptor: int, *, close: bool = False) -> Iterator[bytes]:
        try:
            while True:
                try:
                    yield self._read(descriptor, _LARGEST)
                except BlockingIOError:
                    return
                except BrokenPipeError:
                    continue  # the next one was overwritten; go on at the oldest that is left
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            if close:
                os.close(descriptor)

    def _opened(self) -> int:
        try:
            return self._open(self._device)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> SourceUnreadable:
        return SourceUnreadable(f"cannot read {self._device}: {error.strerror}", _hint(error))


def _position(cursor: str | None) -> tuple[str, int]:
    """Return boot and number of the next record; no boot where the cursor means nothing."""
    boot, _, sequence = (cursor or "").partition(":")
    known = sequence.isascii() and sequence.isdecimal() and len(sequence) <= _DIGITS
    return (boot, int(sequence) + 1) if boot and known else ("", 0)


def _record(data: bytes, boot: str, now: float, booted: float) -> Record | None:
    """Read one; None for a malformed one, and for a piece of a line that another one cut.

    Those have the flag ``c``, or ``+`` before 4.9; netconsole marks its pieces by ``ncfrag``. What
    stands in a piece can be a stranger's.
    """
    match = re.match(_RECORD, data)  # compiled on first use: every command imports this
    if match is None:
        return None
    facility, level = divmod(int(match[1]), 8)
    monotonic = int(match[3]) / 1e6
    text = match[4].decode(errors="replace")  # the device's properties come in lines behind it
    if "\\" in text:
        from sources import shapes  # noqa: PLC0415 - every command imports this module

        text = shapes.unescaped(text)
    return Record(
        text=text,
        carrier="kmsg",
        trusted=facility == 0,
        facility=facility,
        level=level,
        sequence=int(match[2]),
        monotonic=monotonic,
        time=min(now, booted + monotonic),
        boot_id=boot,
    )


def _escaped(needle: str) -> bytes:
    r"""Write a text as the buffer does: what is not printable ASCII, and ``\``, is ``\xNN``."""
    return b"".join(
        b"%c" % byte if 32 <= byte < 127 and byte != 0x5C else b"\\x%02x" % byte
        for byte in needle.encode(errors="surrogatepass")
    )


def _restart(restarted: bool) -> Iterator[str]:
    if restarted:
        yield (
            "the machine was restarted since the last pass: messages from before the restart that"
            " were not read yet are not in /dev/kmsg any more; the journal keeps them"
        )


def _loss(lost: int) -> Iterator[str]:
    if lost:
        which = "1 record lost: overwritten before it was read"
        if lost > 1:
            which = f"{lost} records lost: overwritten before they were read"
        yield f"{which}; run treason more often, or boot with a larger log_buf_len"


def _hint(error: OSError) -> str:
    """Return what keeps us from reading (check_syslog_permissions of kernel/printk/printk.c)."""
    if isinstance(error, FileNotFoundError):
        return _HOST
    if not isinstance(error, PermissionError):
        return ""
    if error.errno == errno.EPERM and _restricted():
        return (
            "kernel.dmesg_restrict = 1 requires CAP_SYSLOG: run as root of the machine itself,"
            " not of a container or a user namespace"
        )
    return "run as root; in a container or a systemd unit, also allow the device /dev/kmsg"


def _restricted() -> bool:
    try:
        return _RESTRICT.read_text().strip() != "0"
    except OSError:
        return False


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``kmsg``."""
    return [SourcePlugin("kmsg", Kmsg, capabilities=("CAP_SYSLOG",), live=True)]
