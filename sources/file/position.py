"""How far a log was read: the cursor of `sources.file`, and how its place is found again."""

import re
from hashlib import blake2b
from typing import Final

from attrs import frozen

from sources.file.stream import MARK, Stream

_TEXT: Final = re.compile(
    r"([0-9]{1,20}):([0-9]{1,20}):([0-9]{1,18}):([0-9]{1,18})"
    r"(?::([0-9a-f]{16}):([0-9a-f]{16}):(-|[0-9a-f]{16})?)?",
    re.ASCII,
)
NONE: Final = "-"
"""Instead of the mark of a file: there is none."""


@frozen
class Position:
    """``DEVICE:INODE:OFFSET:TAIL:HEAD:NEAR:BEFORE``.

    OFFSET is where the last whole line ends. TAIL is the length of what was read behind it: a
    last line without its newline, which a writer may be about to complete, or a whole document
    of ``dmesg --json``, which is read again when it has changed.

    HEAD and NEAR are digests of the file's first bytes and of those before the end of the tail,
    each `MARK` bytes if there are as many. They tell which file it was: names change, inodes are
    used again, and devices are numbered anew at each boot. BEFORE is the mark of the generation
    before it (``-``: there was none, empty: it is not known). Old cursors end with TAIL.
    """

    device: int
    inode: int
    offset: int
    tail: int
    head: str | None = None
    near: str | None = None
    before: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Position | None":
        """Read a cursor; None if it is none."""
        match = _TEXT.fullmatch(text or "")
        if match is None:
            return None
        device, inode, offset, tail, head, near, before = match.groups()
        return cls(
            device=int(device),
            inode=int(inode),
            offset=int(offset),
            tail=int(tail),
            head=head,
            near=near,
            before=before,
        )

    @classmethod
    def of(cls, stream: Stream, offset: int, before: str | None) -> "Position":
        """Return that of a stream which was read to where it stands; ``offset`` as above."""
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
        )

    def __str__(self) -> str:
        numbers = f"{self.device}:{self.inode}:{self.offset}:{self.tail}"
        return f"{numbers}:{self.head}:{self.near}:{self.before or ''}"

    def within(self, stream: Stream) -> bool:
        """Return whether it is a place in this log."""
        end = self.offset + self.tail
        if self.head is None:
            status = stream.status
            return (status.st_dev, status.st_ino) == (self.device, self.inode) and stream.go(end)
        if not stream.go(min(end, MARK)) or digest(stream.last) != self.head:
            return False
        return stream.go(end) and digest(stream.last) == self.near


def digest(piece: bytes) -> str:
    """Stand for some bytes."""
    return blake2b(piece, digest_size=8).hexdigest()
