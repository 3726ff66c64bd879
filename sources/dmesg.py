"""The command dmesg(1), for machines where /dev/kmsg itself cannot be read."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from reconciler import Record, SourcePlugin, SourceUnreadable, TreasonError, execute, hookimpl
from sources import shapes

# --decode names the facility, which `dmesg -r` and `--json` of util-linux 2.38 lose; only what is
# told to be the kernel's is asked for. The later lines of a message are indented, and skipped.
_COMMAND: Final = ("dmesg", "--decode", "--facility", "kern", "--color=never", "--nopager")
_STAMP: Final = re.compile(r"kern *:[a-z]+ *: \[ *([0-9]+)\.([0-9]{6})\]")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Dmesg:
    """Runs dmesg once.

    The cursor is ``BOOT_ID:MICROSECONDS:COUNT``: the time of the last record since boot, and how
    many records of that very time were read, since dmesg shows no sequence numbers.
    """

    def __init__(self, _settings: object = None, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._boot = _BOOT_ID.read_text().strip()
        self._last, self._count = -1, 0

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the kernel's records behind the cursor that hold a needle."""
        after, seen = self._resume(cursor)
        self._last, self._count = after, seen
        skip = seen
        for line in self._lines():
            stamp = _STAMP.match(line)
            if stamp is None:
                continue
            micros = int(stamp[1]) * 1_000_000 + int(stamp[2])
            if micros < after:
                continue
            if micros == after and skip:
                skip -= 1
                continue
            self._count = self._count + 1 if micros == self._last else 1
            self._last = micros
            if needles and not any(needle in line for needle in needles):
                continue
            if record := shapes.parse(line, trusted=True):
                yield record

    def cursor(self) -> str | None:
        """Give boot, time and count of the last record read."""
        return None if self._last < 0 else f"{self._boot}:{self._last}:{self._count}"

    def _resume(self, cursor: str | None) -> tuple[int, int]:
        match = re.fullmatch(rf"{self._boot}:([0-9]{{1,20}}):([0-9]{{1,9}})", cursor or "")
        return (int(match[1]), int(match[2])) if match else (-1, 0)

    def _lines(self) -> list[str]:
        try:
            return execute.run(self._command).output.splitlines()
        except TreasonError as error:
            raise SourceUnreadable(
                f"cannot read the kernel's messages: {error.what}",
                "run as root, or with CAP_SYSLOG; dmesg must be that of util-linux",
            ) from None


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Give the source ``dmesg``."""
    return [SourcePlugin("dmesg", Dmesg, capabilities=("CAP_SYSLOG",))]
