"""Records that are spread over lines: dmesg's JSON, and journalctl's json-pretty and verbose."""

import re
from typing import Any, Final

from reconciler import Record
from sources import shapes
from sources.file.search import contains

_DOCUMENT: Final = b'"dmesg": ['
"""The second line of what ``dmesg --json`` prints; the first is a brace."""

_HEADER: Final = re.compile(
    rb"[A-Z][a-z]{2} [0-9]{4}-[0-9]{2}-[0-9]{2} [^\[\n]+ \[s=[^]\n]*;t=([0-9a-f]{1,16})[;\]]"
)
"""The first line of an entry of verbose, with its cursor; ``t`` is its time in microseconds."""

_FIELD: Final = re.compile(r"    ([A-Z0-9_]+)=(.*)")
"""A field of such an entry. All lines of a value but the first stand farther to the right."""

_MESSAGE: Final = b"\n    MESSAGE="
_CURSOR: Final = b" [s="
_LAST: Final = 1 << 16
"""By these an entry is noticed: its message, or its first line among the last bytes of a chunk."""

_COLOUR: Final = re.compile(rb"\A(?:[ }]|\x1b\[[0-9;]*[mK])*\x1b(?:\[[0-9;]*)?\Z|\x1b\[[0-9;]*[mK]")
"""As `sources.shapes` takes it off; a line may be written no further than within one."""

_MOST: Final = 1 << 20
"""Bytes of an object that is no record of the kernel, and is not held any longer."""


def opens(line: bytes) -> bool:
    """Whether such a record may begin in a line."""
    line = _COLOUR.sub(b"", line)
    return line.rstrip() == b"{" or _HEADER.match(line) is not None


class Spread:
    """Puts together the records of one log.

    ``inside`` tells whether the last line was a part of one. ``start`` is where the log is to be
    read again when it has grown: the beginning of what is not complete, or of a whole document of
    ``dmesg --json``.
    """

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        self._block: _Object | _Document | _Entry | None = None
        self._begun = 0
        self._document: int | None = None
        self.inside = False

    @property
    def start(self) -> int | None:
        """Where the log is to be read again; None if nowhere."""
        if self._document is not None:
            return self._document
        return None if self._block is None else self._begun

    def begins(self, chunk: bytes, end: int) -> bool:
        """Whether these lines are part of such a record, or one may begin in them."""
        if b"\x1b" in chunk:
            chunk = _COLOUR.sub(b"", chunk[:end])
            end = len(chunk)
        if self._block is not None or contains(chunk, end, _MESSAGE):
            return True
        last = chunk[max(0, end - _LAST) : end]
        if contains(last, len(last), _CURSOR):
            return True
        return b"{" in chunk and (
            b"{\n" in chunk or b"{\r\n" in chunk or chunk[:end].rstrip().endswith(b"{")
        )

    def take(self, start: int, line: bytes) -> list[Record]:
        """Take a line, which stands at ``start``, and return the records that end there."""
        found: list[Record | None] = []
        if b"\x1b" in line:
            line = _COLOUR.sub(b"", line)
        if self._block is not None:
            self.inside = self._block.take(line)
            if self.inside and isinstance(self._block, _Object) and self._block.is_document:
                self._block = _Document(trusted=self._trusted)
                self._document = self._begun if self._document is None else self._document
            found.append(self._block.record())
            if self.inside and not self._block.closed:
                return [*filter(None, found)]
            self._block = None
            if self.inside:
                return [*filter(None, found)]
        self.inside = True
        if line.rstrip() == b"{":
            self._block, self._begun = _Object(line, trusted=self._trusted), start
        elif match := _HEADER.match(line):
            self._block, self._begun = _Entry(int(match[1], 16), trusted=self._trusted), start
        else:
            self.inside = False
        return [*filter(None, found)]

    def rest(self) -> list[Record]:
        """Return the record that the log ends with, where nothing says that it is complete."""
        if isinstance(self._block, _Entry):
            self._block.closed = True
            return [*filter(None, [self._block.record()])]
        return []


class _Object:
    """An object of JSON that begins with a brace in a line of its own."""

    def __init__(self, line: bytes, *, trusted: bool) -> None:
        self._lines = [line]
        self._size = 0
        self._trusted = trusted
        self.closed = self.is_document = False

    def take(self, line: bytes) -> bool:
        """Take a line; it is part of the object if it is indented, or ends it."""
        if line[:1] not in b" \t}" or self._size > _MOST:
            return False
        self.is_document = len(self._lines) == 1 and line.strip() == _DOCUMENT
        self.closed = line.startswith(b"}")
        self._lines.append(line)
        self._size += len(line)
        return True

    def record(self) -> Record | None:
        """Return it once it is whole."""
        whole = b"".join(self._lines).decode(errors="replace") if self.closed else ""
        return shapes.parse(whole, trusted=self._trusted) if whole else None


class _Document:
    """Records of ``dmesg --json``, each over four lines, the message last.

    Where dmesg reads syslog(2) each line of a record comes as one, with an equal time.
    """

    def __init__(self, *, trusted: bool) -> None:
        self._members: dict[str, Any] = {}
        self._trusted = trusted
        self._record: Record | None = None
        self._stamp: float | None = None
        self.closed = False

    def take(self, line: bytes) -> bool:
        """Take a line; what is not indented so far does not belong to it."""
        self._record = None
        if not line.startswith(b"   "):
            return False
        self._members |= shapes.member(line.rstrip(b"\r\n").decode(errors="replace"))
        record = shapes.dmesg(self._members, trusted=self._trusted)
        if record is not None:
            self._members = {}
            goes_on = record.monotonic is not None and record.monotonic == self._stamp
            self._record, self._stamp = None if goes_on else record, record.monotonic
        elif line.rstrip().endswith(b"{"):
            self._members = {}
        return True

    def record(self) -> Record | None:
        """Return the one that ended with the last line."""
        return self._record


class _Entry:
    """An entry as ``journalctl -o verbose`` prints it."""

    def __init__(self, micros: int, *, trusted: bool) -> None:
        self._fields = {"__REALTIME_TIMESTAMP": str(micros)}
        self._last: str | None = None
        self._trusted = trusted
        self.closed = False

    def take(self, line: bytes) -> bool:
        """Take a line; the first that is not indented ends the entry."""
        text = line.rstrip(b"\r\n").decode(errors="replace")
        if not text.startswith("    "):
            self.closed = not b"    ".startswith(line)  # it may be written further
        elif match := _FIELD.fullmatch(text):
            self._last, value = match.groups()
            self._fields.setdefault(self._last, value)
        elif self._last is not None:
            self._fields[self._last] += f"\n{text.lstrip()}"
        return not self.closed

    def record(self) -> Record | None:
        """Return it once it has ended."""
        whole = self.closed and "MESSAGE" in self._fields
        return shapes.journal(self._fields, trusted=self._trusted) if whole else None
