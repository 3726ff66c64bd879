"""How far a log was read: the cursor of `sources.file`, and how its place is found again."""

import re
from _blake2 import blake2b  # as hashlib gives it, which loads OpenSSL: 4 MB for nothing
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve, frozen

from sources.file.lines import LONGEST, too_long
from sources.file.stream import MARK, Stream

_TEXT: Final = re.compile(
    r"([0-9]{1,20}):([0-9]{1,20}):([0-9]{1,18}):([0-9]{1,18})"
    r"(?::([0-9a-f]{16}):([0-9a-f]{16}):(-|[0-9a-f]{16})?(?::((?:[0-9a-f]{16}){0,16}))?)?",
    re.ASCII,
)
_DIGEST: Final = 16
"""Characters of one."""

_LINES: Final = 16
"""Lines by which a place is found again in a log that was written anew."""

_PART: Final = re.compile(rb"[\s\"{}\[\]]|[A-Z0-9_]+=")
"""So begins a line that is only a part of a record or a document."""

_LATE: Final = 12
"""How many of the last of them are looked for, since some may be gone."""

_STAMP: Final = re.compile(
    rb"\[ *[0-9]+\.[0-9]{6}[ \]]|^[0-9]+,[0-9]+,[0-9]+,|_SOURCE_MONOTONIC_TIMESTAMP"
)
"""The kernel's stamp in a line."""

_TELLING: Final = re.compile(
    rb"[0-9]:[0-9]{2}:[0-9]{2}|[0-9][.,][0-9]{6}|\b[0-9]{10,}\b"
    rb"|^(?![A-Z0-9_]+=)[^\s\"{}\[\]].{23}"
)
"""What is not to be found in any other line: a time, or the text of a message.

What stands in every record of a spread document is none.
"""

NONE: Final = "-"
"""Instead of the mark of a file: there is none."""


Rank = tuple[bool, int]
"""How a place was found: whether it is sure, and by how many lines in a row."""


@frozen
class Position:
    """``DEVICE:INODE:OFFSET:TAIL:HEAD:NEAR:BEFORE:LINES``.

    OFFSET is where the last whole line ends. TAIL is the length of what was read behind it: a
    last line without its newline, which a writer may be about to complete, or a whole document
    of ``dmesg --json``, which is read again when it has changed.

    HEAD and NEAR are digests of the file's first bytes and of those before the end of the tail,
    each `MARK` bytes if there are as many. They tell which file it was: names change, inodes are
    used again, and devices are numbered anew at each boot. BEFORE is the mark of the generation
    before it (``-``: there was none, empty: it is not known). LINES are digests of the last lines,
    by which the place is found where the log was written anew, without its first lines for
    instance. Old cursors end with TAIL, or with BEFORE.
    """

    device: int
    inode: int
    offset: int
    tail: int
    head: str | None = None
    near: str | None = None
    before: str | None = None
    lines: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> "Position | None":
        """Read a cursor; None if it is none."""
        match = _TEXT.fullmatch(text or "")
        if match is None:
            return None
        device, inode, offset, tail, head, near, before, known = match.groups()
        return cls(
            device=int(device),
            inode=int(inode),
            offset=int(offset),
            tail=int(tail),
            head=head,
            near=near,
            before=before,
            lines=tuple(re.findall(f".{{{_DIGEST}}}", known or "")),
        )

    @classmethod
    def of(
        cls, stream: Stream, offset: int, before: str | None, lines: tuple[str, ...]
    ) -> "Position":
        """Return that of a stream which was read to where it stands; the others as above."""
        end, near, status = stream.at, digest(stream.last), stream.status
        if end > MARK and len(stream.first) < MARK:
            stream.go(MARK)  # it was shorter when it was opened
        head = near if end <= MARK else digest(stream.first)
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            offset=offset,
            tail=end - offset,
            head=head,
            near=near,
            before=before,
            lines=lines,
        )

    def __str__(self) -> str:
        numbers = f"{self.device}:{self.inode}:{self.offset}:{self.tail}"
        return f"{numbers}:{self.head}:{self.near}:{self.before or ''}:{''.join(self.lines)}"

    def within(self, stream: Stream) -> bool:
        """Return whether it is a place in this log."""
        end = self.offset + self.tail
        if self.head is None:
            status = stream.status
            return (status.st_dev, status.st_ino) == (self.device, self.inode) and stream.go(end)
        if not stream.go(min(end, MARK)) or digest(stream.last) != self.head:
            return False
        return stream.go(end) and digest(stream.last) == self.near

    def moved(self, stream: Stream) -> "tuple[Rank, Position] | None":
        """Look for the place in a log that was written anew; None if it is not there.

        The lines that were read last are looked for, in their order. A row of them is sure if it
        begins with the log's first line, or with the first one that we know. The place is behind
        the last sure row. Without one it is behind the longest row; but if the lines have the
        kernel's stamp, the whole log is read again, since its records are known by that.
        """
        if not self.lines or not stream.go(0):
            return None
        late = range(max(1, len(self.lines) - _LATE), len(self.lines))
        rows = [0] * len(self.lines)
        best, found, at, seen = (False, 0), None, 0, 0
        while line := stream.readline(LONGEST):
            at += len(line)
            own = _fingerprint(line) if line.endswith(b"\n") else None
            if own is None:
                continue
            seen += 1
            rows = [
                rows[index - 1] + 1 if index and each == own else int(each == own)
                for index, each in enumerate(self.lines)
            ]
            row = max(rows)
            sure = row == seen or any(rows[index] > index for index in late)
            if row and (sure or (sure, row) >= best):
                best, known = (sure, row), self.lines[: rows.index(row) + 1]
                found = evolve(self, offset=at, tail=0, lines=known)
                if not sure and _STAMP.search(line):
                    found = evolve(self, offset=0, tail=0, lines=())
        return (best, found) if found else None


def fingerprints(earlier: Sequence[str], lines: Iterable[bytes]) -> tuple[str, ...]:
    """Return those of the lines that were read last; ``lines`` begin with the last one.

    ``earlier`` are those that were known before; some of the lines may be among them.
    """
    known: list[str] = []
    for line in lines:
        if too_long(line):
            continue
        own = _fingerprint(line)
        if len(known) == _LINES or not (own or _PART.match(line)):
            break
        known += filter(None, [own])
    else:
        known += _before(known, earlier)
    return tuple(reversed(known[:_LINES]))


def _before(known: Sequence[str], earlier: Sequence[str]) -> Sequence[str]:
    """Return those that were known before and are not among the others, the last first."""
    backwards = [*reversed(earlier)]
    shared = range(min(len(known), len(backwards)), 0, -1)
    return backwards[next((n for n in shared if [*known[-n:]] == backwards[:n]), 0) :]


def _fingerprint(line: bytes) -> str | None:
    """Stand for a line; None for one that might stand anywhere."""
    whole = line.rstrip(b"\r\n")
    return None if too_long(line) or not _TELLING.search(whole) else digest(whole)


def digest(piece: bytes) -> str:
    """Stand for some bytes."""
    return blake2b(piece, digest_size=8).hexdigest()
