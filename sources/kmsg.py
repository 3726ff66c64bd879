"""The kernel's own message buffer, /dev/kmsg (kernel's Documentation/ABI/testing/dev-kmsg)."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from reconciler import Record, SourcePlugin, SourceUnreadable, hookimpl
from sources import shapes

DEVICE: Final = Path("/dev/kmsg")
_NUMBER: Final = os.makedev(1, 11)  # kernel's Documentation/admin-guide/devices.txt
_LARGEST: Final = 8192  # CONSOLE_EXT_LOG_MAX; a shorter buffer makes the kernel drop the record
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Kmsg:
    """Reads what the buffer holds, without waiting for more.

    The cursor is ``BOOT_ID:SEQUENCE`` of the last record read; numbers begin anew at each boot.
    """

    def __init__(self, _settings: object = None, device: Path = DEVICE) -> None:
        self._device = device
        self._boot = _BOOT_ID.read_text().strip()
        self._sequence = -1

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the records behind ``cursor`` that hold a needle."""
        self._sequence = self._resume(cursor)
        booted = time.time() - time.monotonic()
        sought = [needle.encode() for needle in needles]
        for data in self._records():
            head, _, body = data.partition(b";")
            sequence = int(head.split(b",", 2)[1])
            if sequence <= self._sequence:
                continue
            self._sequence = sequence
            if sought and not any(needle in body for needle in sought):
                continue
            text = data.partition(b"\n")[0]  # the lines after it are the device's properties
            if record := shapes.kmsg(text.decode(errors="replace")):
                yield evolve(record, boot_id=self._boot, time=booted + (record.monotonic or 0))

    def cursor(self) -> str | None:
        """Give the boot and the number of the last record read."""
        return None if self._sequence < 0 else f"{self._boot}:{self._sequence}"

    def _resume(self, cursor: str | None) -> int:
        boot, _, sequence = (cursor or "").partition(":")
        return int(sequence) if boot == self._boot and sequence.isdecimal() else -1

    def _records(self) -> Iterator[bytes]:
        try:
            descriptor = os.open(self._device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NUMBER:
                raise SourceUnreadable(
                    f"{self._device} is not the kernel's message buffer",
                    "in a container, give it the host's /dev/kmsg, or run treason on the host",
                )
            while True:
                try:
                    yield os.read(descriptor, _LARGEST)
                except BlockingIOError:
                    return
                except BrokenPipeError:
                    continue  # records were overwritten before they were read; go on behind them
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)

    def _unreadable(self, error: OSError) -> SourceUnreadable:
        hint = "run as root, or with CAP_SYSLOG" if isinstance(error, PermissionError) else ""
        return SourceUnreadable(f"cannot read {self._device}: {error.strerror}", hint)


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Give the source ``kmsg``."""
    return [SourcePlugin("kmsg", Kmsg)]
