"""What a kernel said before it died: the files that systemd-pstore.service(8) keeps.

A file is a dump of the kernel's buffer (kernel's fs/pstore/platform.c, pstore_dump): in each line
``<PRIORITY>[SECONDS] TEXT``, where the priority holds the facility as well.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import Needs, Record, SourcePlugin, SourceUnreadable, hookimpl

_LINE: Final = re.compile(r"<([0-9]{1,3})>\[ *([0-9]+\.[0-9]{6})\](?:\[ *[TC][0-9]+\])? (.*)")


@frozen
class Settings:
    """``[source.pstore]``: the directory of the dumps; each is a ``dmesg.txt`` somewhere below."""

    path: str = "/var/lib/systemd/pstore"


class Pstore:
    """Reads every dump that is new or has grown.

    The cursor holds ``NAME=SIZE`` of each that was read, such as ``1732017600/dmesg.txt=5120``.
    What it does not name is read, so nothing is lost when it means nothing, and systemd may remove
    dumps as it likes.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = Path(settings.path)
        self._names: list[str] = []

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the records that hold a needle, dump by dump."""
        known = (cursor or "").split()
        try:
            for path in self._dumps():
                with path.open("rb") as dump:
                    status = os.fstat(dump.fileno())
                    name = f"{path.relative_to(self._path)}={status.st_size}"
                    if name not in known:
                        for record in _records(dump, trusted=_vouched(status)):
                            if _sought(record, needles):
                                yield record
                self._names.append(name)
        except OSError as error:
            raise SourceUnreadable(
                f"cannot read {error.filename or self._path}: {error.strerror}",
                "name systemd-pstore's directory in [source.pstore], and run as root",
            ) from None

    def cursor(self) -> str | None:
        """Return the names and sizes of all dumps that were read."""
        return " ".join(self._names) or None

    def _dumps(self) -> list[Path]:
        """Find them; a directory that cannot be read is not one without dumps."""
        found = os.walk(self._path, onerror=_raised)
        return sorted(Path(where, "dmesg.txt") for where, _, names in found if "dmesg.txt" in names)


def _raised(error: OSError) -> None:
    raise error


def _vouched(status: os.stat_result) -> bool:
    """Return whether nobody but root and ourselves can have written the file."""
    return status.st_uid in {0, os.geteuid()} and not status.st_mode & 0o022


def _records(dump: Iterable[bytes], *, trusted: bool) -> Iterator[Record]:
    """Yield the records of a dump.

    Each line of a record has its stamp (print_prefix in kernel's kernel/printk/printk.c). Only the
    first one is a message: anybody may get a line break into one, by the name of a file for
    instance.
    """
    stamp = None
    for line in dump:
        record = _record(line, trusted=trusted)
        if record and record.monotonic != stamp:
            yield record
        stamp = record.monotonic if record else stamp


def _record(line: bytes, *, trusted: bool) -> Record | None:
    match = _LINE.fullmatch(line.decode(errors="replace").rstrip("\n"))
    if not match:
        return None  # the head of a part, such as "Panic#1 Part1"
    priority = int(match[1])
    return Record(
        match[3], "pstore", trusted,
        facility=priority >> 3, level=priority & 7, monotonic=float(match[2]),
    )  # fmt: skip


def _sought(record: Record, needles: Sequence[str]) -> bool:
    return not needles or any(needle in record.text for needle in needles)


@hookimpl
def treason_sources() -> list[SourcePlugin]:
    """Return the source ``pstore``."""
    return [
        SourcePlugin(
            "pstore", Pstore, Settings, argument="path",
            needs=lambda settings: Needs(reads=(settings.path,)),
        )
    ]  # fmt: skip
