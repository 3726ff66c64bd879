"""What dmesg prints, record by record."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from reconciler import Record, SourceUnreadable, TreasonError, execute
from sources import kmsg, shapes

# --decode names the facility, which `dmesg -r` and `--json` of util-linux 2.38 lose; only what is
# told to be the kernel's is asked for.
_COMMAND: Final = ("dmesg", "--decode", "--facility", "kern", "--color=never", "--nopager")
_PREFIX: Final = re.compile(
    r"kern *:[a-z]+ *: (?:\[ *([0-9]+)\.([0-9]{6})\](?: ?\[ *[TC][0-9]+\])? )?"
)
_CURSOR: Final = re.compile(
    r"([0-9a-f-]{36}):([0-9]{1,20}):([0-9]{1,9})(?::([0-9a-f]{16}))?", re.ASCII
)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_RESTRICT: Final = Path("/proc/sys/kernel/dmesg_restrict")


@frozen
class _Message:
    """A record as it is printed; ``micros`` since boot, 0 where printk.time is off."""

    text: str
    micros: int


class Dmesg:
    """Runs dmesg once.

    The cursor is ``BOOT_ID:MICROSECONDS:COUNT:DIGEST`` of the last record read: its time since
    boot, a digest of it, and how many equal ones stood in the buffer up to it, since dmesg shows
    no sequence numbers. Records stand in the order in which they came; their times need not.
    Old cursors end with COUNT, of the records of that very time.
    """

    def __init__(self, _settings: object = None, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._boot = _BOOT_ID.read_text().strip()
        self._cursor: str | None = None
        self._notes: list[str] = []

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the kernel's records behind the cursor that hold a needle."""
        now = time.time()
        booted = now - time.monotonic()
        messages = list(_messages(self._lines()))
        start = self._start(cursor, messages)
        stamped = any(message.micros for message in messages)
        for message in messages[start:]:
            if needles and not any(needle in message.text for needle in needles):
                continue
            if record := shapes.parse(message.text, trusted=True):
                seconds = record.monotonic if stamped else None
                when = None if seconds is None else min(now, booted + seconds)
                yield evolve(record, monotonic=seconds, time=when, boot_id=self._boot)
        if messages:
            last = messages[-1]
            count = messages.count(last)
            self._cursor = f"{self._boot}:{last.micros}:{count}:{_digest(last)}"

    def cursor(self) -> str | None:
        """Return boot, time, count and digest of the last record read."""
        return self._cursor

    def notes(self) -> list[str]:
        """Return what may be lost."""
        return self._notes

    def silence(self) -> str | None:
        """Return why dmesg shows no record of the kernel; None if it shows one."""
        if next(_messages(self._lines()), None):
            return None
        return (
            "dmesg shows no record of the kernel: it was cleared (`dmesg -C`), or this is a"
            " container; use kmsg, or run treason on the host"
        )

    def _start(self, cursor: str | None, messages: Sequence[_Message]) -> int:
        """Find the first record behind the cursor."""
        match = _CURSOR.fullmatch(cursor or "")
        if match is None or match[1] != self._boot:
            return 0
        self._cursor = cursor
        micros, count, digest = int(match[2]), int(match[3]), match[4]
        same = [
            index
            for index, message in enumerate(messages)
            if message.micros == micros and digest in {None, _digest(message)}
        ]
        if same:  # some may be overwritten, and they are the first ones
            return same[min(count, len(same)) - 1] + 1
        if digest or not messages or messages[0].micros > micros:
            self._notes.append(
                "the kernel's buffer has wrapped or was cleared since the last pass: records may"
                " have been lost; run treason more often, or boot with a larger log_buf_len"
            )
        later = (index for index, message in enumerate(messages) if message.micros > micros)
        return next(later, len(messages) if micros else 0)

    def _lines(self) -> list[str]:
        _refuse_lines()
        try:
            # A record may hold what else str.splitlines takes for the end of a line.
            return execute.run(self._command).output.split("\n")
        except TreasonError as error:
            raise SourceUnreadable(
                f"cannot read the kernel's messages: {error.what.splitlines()[0]}",
                _hint(error),
            ) from None


def _refuse_lines() -> None:
    """Refuse a dmesg that would read syslog(2), for want of the kernel's buffer of records.

    Each line of a record then comes with the record's prefix, so that whoever gets a line break
    into a message, by the name of a file for instance, writes one of his own.
    """
    try:
        os.close(kmsg.opened(kmsg.DEVICE))
    except OSError as error:
        raise SourceUnreadable(
            f"dmesg cannot read {kmsg.DEVICE} ({error.strerror}), and would print lines that cannot"
            " be told from records",
            f"{_restriction()}run as root of the machine itself, or with CAP_SYSLOG"
            if isinstance(error, PermissionError)
            else "use the source journal, or run treason where that device is",
        ) from None


def _messages(lines: Sequence[str]) -> Iterator[_Message]:
    """Put together the lines of each record of the kernel; all but the first are indented."""
    whole: list[str] = []
    micros = width = 0
    for line in lines:
        if match := _PREFIX.match(line):
            if whole:
                yield _Message("\n".join(whole), micros)
            whole, width = [line], match.end()
            if match[1]:
                micros = int(match[1]) * 1_000_000 + int(match[2])
        elif whole and line.startswith(" " * width):
            whole.append(line[width:])
        elif whole:
            yield _Message("\n".join(whole), micros)
            whole = []
    if whole:
        yield _Message("\n".join(whole), micros)


def _digest(message: _Message) -> str:
    return blake2b(message.text.encode(errors="replace"), digest_size=8).hexdigest()


def _hint(error: TreasonError) -> str:
    if error.hint:
        return error.hint
    if "option" in error.what:
        return (
            "this dmesg (busybox?) does not name facilities; install that of util-linux, or use"
            " the source kmsg"
        )
    if "not permitted" in error.what or "ermission denied" in error.what:
        return f"{_restriction()}run as root of the machine itself, or with CAP_SYSLOG"
    return "run as root, or with CAP_SYSLOG; dmesg must be that of util-linux"


def _restriction() -> str:
    try:
        restricted = _RESTRICT.read_text().strip()
    except OSError:
        return ""
    return f"kernel.dmesg_restrict is {restricted}: " if restricted != "0" else ""
