"""Reads a whole list: in blocks of lines, since most of them are plain networks."""

import codecs
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import field, frozen

from reconciler.blocklist.entries import LONGEST, ODD, SIMPLE, SPACE, meaning, readable, together
from reconciler.errors import InvalidList, InvalidNetwork
from reconciler.network import Network
from reconciler.networks import Networks

_BLOCK: Final = 1 << 16
"""Bytes of a list that are read together, and so are slow together."""

_REASONS: Final = 1 << 12
"""Reasons that are kept apart: Spamhaus' list has about 1,500, each with a handful of networks."""

_REASON: Final = 100
"""Characters of a reason."""

_FIRST: Final = 100
"""Refused lines that are kept, of any number."""

_PLAIN: Final = b"0123456789ABCDEFabcdef.:/\n"


@frozen
class Refused:
    """A line that means nothing, by its number (from 1), and why."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line:,}: {self.why}"


@frozen
class Blocklist:
    """What a list says: ``networks`` without a reason, and those of each of its ``reasons``.

    ``entries`` lines name networks, ``refused`` lines mean nothing; ``first`` are the first of
    these. Comments and empty lines are neither. ``timeouts`` are the seconds after which single
    ones are to end, where a line says it.
    """

    networks: Networks
    reasons: Mapping[str, Networks]
    entries: int
    refused: int
    first: tuple[Refused, ...]
    timeouts: Mapping[Network, int] = field(factory=dict)

    @property
    def all(self) -> Networks:
        """The networks with and without a reason."""
        held = (self.networks, *self.reasons.values())
        return Networks.of_packed(*(b"".join([each.packed(v) for each in held]) for v in (4, 6)))

    @property
    def doubt(self) -> str:
        """Why none of it is to be believed: it is empty, or most of it is something else."""
        if self.refused > self.entries:
            lines = f"{self.refused:,} of {self.refused + self.entries:,} lines"
            return f"{lines} mean nothing; {self.first[0]}"
        return "" if self.entries else "names no networks"


def read(chunks: Iterable[bytes], most: int = 1_000_000) -> Blocklist:
    """Read a list, whose bytes come in pieces of any size.

    Raise `InvalidList` if it is not text in UTF-8 or ASCII, or names more than ``most`` networks,
    each counted as often as it stands there.
    """
    reader = _Reader(most)
    blocks = _blocks(chunks)
    reader.take(next(blocks).removeprefix(codecs.BOM_UTF8))
    for block in blocks:
        reader.take(block)
    return reader.found()


class _Reader:
    """Reads one list: a block of lines after the other."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._line = 1
        self._entries = self._refused = self._held = 0
        self._first: list[Refused] = []
        self._timeouts: dict[Network, int] = {}
        self._packed: dict[str, tuple[bytearray, bytearray]] = {"": (bytearray(), bytearray())}

    def take(self, block: bytes) -> None:
        """Read whole lines."""
        if b"\0" in block:
            wide = block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            what = "is text in UTF-16" if wide else "is not text"
            raise InvalidList(what, "save it as text in UTF-8, not packed")
        block = block.replace(b"\r\n", b"\n")
        text = block.decode("latin-1")  # so that every byte is a character
        first = self._line
        self._line += text.count("\n")
        if not block.translate(None, _PLAIN) and self._took(text.split(), ""):
            return
        simple: dict[str, list[tuple[int, str, str]]] = {}
        others: list[tuple[int, str]] = []
        for number, line in enumerate(text.split("\n"), first):
            if len(line) <= LONGEST and (found := SIMPLE.fullmatch(line)):
                alike = simple.setdefault(found[3] or "", [])
                alike.append((number, line, found[1] or found[2]))
            else:
                others.append((number, line))
        for comment, lines in simple.items():
            if not self._took([entry for *_, entry in lines], readable(comment)):
                others += [(number, line) for number, line, _ in lines]
        for number, line in sorted(others):
            self._read(number, line.strip(SPACE))

    def found(self) -> Blocklist:
        """Return what all lines say together."""
        reasons = {why: Networks.of_packed(*held) for why, held in self._packed.items()}
        networks = reasons.pop("")
        counts = self._entries, self._refused
        return Blocklist(networks, reasons, *counts, tuple(self._first), self._timeouts)

    def _took(self, entries: list[str], comment: str) -> bool:
        """Take plain networks, a line each; nothing if one of them is none."""
        try:
            four, six = together(entries)
        except ODD:
            return False
        self._hold(four, six, comment, len(entries))
        self._entries += len(entries)
        return True

    def _read(self, number: int, line: str) -> None:
        """Take a line of any kind."""
        try:
            entry = meaning(line)
        except InvalidNetwork as error:
            self._refused += 1
            if len(self._first) < _FIRST:
                self._first.append(Refused(number, error.what))
            return
        for network in entry.networks:
            packed = network.packed + bytes([network.length])
            four, six = (packed, b"") if network.version == 4 else (b"", packed)
            self._hold(four, six, entry.reason, 1)
            if entry.timeout:
                self._timeouts[network] = max(entry.timeout, self._timeouts.get(network, 0))
        self._entries += bool(entry.networks)

    def _hold(self, four: bytes, six: bytes, reason: str, number: int) -> None:
        self._held += number
        if self._held > self._most:
            raise InvalidList(f"names more than {self._most:,} networks", "take a shorter list")
        reason = _brief(reason)
        if reason not in self._packed and len(self._packed) > _REASONS:
            reason = ""
        of_four, of_six = self._packed.setdefault(reason, (bytearray(), bytearray()))
        of_four += four
        of_six += six


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines, many together; of a line that is too long no more than its beginning."""
    held = bytearray()
    for chunk in chunks:
        start = 0
        while start < len(chunk):  # the same blocks, whatever the chunks are
            end = start + _BLOCK - len(held)
            held += chunk[start:end]
            start = end
            if len(held) == _BLOCK:
                if end := held.rfind(b"\n") + 1:
                    yield bytes(held[:end])
                    del held[:end]
                del held[LONGEST + 1 :]
    yield bytes(held)


def _brief(reason: str) -> str:
    """Return a reason in one line, without what cannot be printed, or stored."""
    printable = "".join([each if each.isprintable() else " " for each in reason])
    return " ".join(printable.split())[:_REASON]
