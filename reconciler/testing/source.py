"""What every source promises, as cases for pytest."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import count
from typing import ClassVar, Protocol

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.interfaces import NotingSource, SilenceAwareSource, Source, WakingSource
from reconciler.model import Record

NEEDLE = "shrinks window"
_PATIENCE = 10.0


class Carrier(Protocol):
    """Where a source reads, for a test."""

    def write(self, *texts: str) -> None:
        """Let it carry a message with each of the texts, behind those that it carries."""

    def source(self) -> Source:
        """Make a source that reads it, as each pass does anew."""


class SourceContract:
    """Subclass it, and give a fixture ``carrier``: a `Carrier` (it may carry others' messages).

    A case that needs something more is skipped, and says what it needs, until the subclass gives
    it:

    ``unreadable()``
        a context manager: inside, the carrier cannot be read.
    ``forge(text)``
        lets the carrier hold a message as any process may write it.

    ``many`` messages at once must be taken. ``heard`` says whether what `Carrier.write` writes
    passes for the kernel's own, so that a source that can tell silence must not. A source that can
    be waited for promises more: `WakingSourceContract` has these cases and its own.
    """

    many: ClassVar[int] = 10_000
    heard: ClassVar[bool] = True
    _waking: ClassVar[bool] = False

    @pytest.fixture
    def carrier(self) -> Carrier:
        """Something that can be written, and read by the source."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'carrier'")

    def unreadable(self) -> AbstractContextManager[object]:
        """Make the carrier unreadable inside the block."""
        pytest.skip("give unreadable()")

    def forge(self, text: str) -> None:
        """Write a message as any process may."""
        pytest.skip(f"give forge(), for messages like {text!r}")

    def test_in_order(self, carrier: Carrier) -> None:
        """Every message is read once, whole, in the order in which it came."""
        texts = self._messages(7)
        carrier.write(*texts)
        assert self._texts(carrier.source(), None) == texts

    def test_records(self, carrier: Carrier) -> None:
        """A record tells its carrier, and values in the units of `Record`."""
        carrier.write(*self._messages(1))
        [record] = self._read(carrier.source(), None)
        assert record.carrier
        assert record.facility is None or 0 <= record.facility < 24
        assert record.level is None or 0 <= record.level < 8
        assert record.monotonic is None or record.monotonic >= 0
        assert record.time is None or abs(record.time - time.time()) < 366 * 86400
        assert record.repeated >= 1

    def test_cursor(self, carrier: Carrier) -> None:
        """A new source goes on behind the cursor of the last: nothing twice, nothing lost."""
        first, second = self._messages(3), self._messages(4)
        carrier.write(*first)
        source = carrier.source()
        assert self._texts(source, None) == first
        cursor = source.cursor()
        if cursor is None:
            pytest.skip("this source has no cursor")
        carrier.write(*second)
        assert self._texts(carrier.source(), cursor) == second

    def test_cursor_stays(self, carrier: Carrier) -> None:
        """Where nothing came, nothing is read, and the cursor still holds."""
        carrier.write(*self._messages(2))
        source = carrier.source()
        self._read(source, None)
        cursor = source.cursor()
        if cursor is None:
            pytest.skip("this source has no cursor")
        for _ in range(2):
            source = carrier.source()
            assert self._read(source, cursor) == []
            cursor = source.cursor()
            assert cursor is not None, "the cursor is lost where nothing came"

    def test_cursor_of_another(self, carrier: Carrier) -> None:
        """A cursor that means nothing is refused, or all is read again: nothing is lost."""
        texts = self._messages(2)
        carrier.write(*texts)
        try:
            assert self._texts(carrier.source(), "\x00 no such cursor ☃") == texts
        except SourceUnreadable:
            return

    def test_needles(self, carrier: Carrier) -> None:
        """What holds a needle is never left out."""
        texts = self._messages(2)
        carrier.write("nothing of interest", *texts, "nor this")
        assert self._texts(carrier.source(), None, "no such words", NEEDLE) == texts
        assert self._texts(carrier.source(), None, NEEDLE, "no such words") == texts

    def test_strange_texts(self, carrier: Carrier) -> None:
        """What strangers write keeps no later message from being read."""
        texts = self._messages(1)
        strange = ["\x01\x7f\x1b[31m", "caf\xe9 ☃ \U0001f600", "x" * 900, " leading", "{}", "%s%n"]
        carrier.write(*strange, *(f"{text} {NEEDLE}" for text in strange), *texts)
        assert self._texts(carrier.source(), None)[-1:] == texts

    def test_does_not_wait(self, carrier: Carrier) -> None:
        """A read ends where the carrier ends."""
        carrier.write(*self._messages(1))
        start = time.monotonic()
        self._read(carrier.source(), None)
        assert time.monotonic() - start < _PATIENCE

    def test_many(self, carrier: Carrier) -> None:
        """Ten thousand messages are read, none twice."""
        texts = self._messages(self.many)
        carrier.write(*texts)
        assert self._texts(carrier.source(), None) == texts

    def test_unreadable(self, carrier: Carrier) -> None:
        """What cannot be read is an error, and never empty."""
        carrier.write(*self._messages(1))
        source = carrier.source()
        self._read(source, None)
        with self.unreadable():
            for cursor in (None, source.cursor()):
                with pytest.raises(SourceUnreadable):
                    self._read(carrier.source(), cursor)

    def test_words(self, carrier: Carrier) -> None:
        """What it tells people is text; it is not silent where it brings a message."""
        carrier.write(*self._messages(1))
        source = carrier.source()
        self._read(source, None)
        if isinstance(source, NotingSource):
            notes = source.notes()
            assert not isinstance(notes, str), "give lines, not one text"
            assert all(isinstance(note, str) for note in notes)
        other = carrier.source()
        if isinstance(other, SilenceAwareSource):
            said = other.silence()
            assert said is None or (isinstance(said, str) and not self.heard)

    def test_waking(self, carrier: Carrier) -> None:
        """A source that can be waited for is held to what that promises."""
        assert isinstance(carrier.source(), WakingSource) == self._waking, (
            "subclass WakingSourceContract for a source with fileno, and only for such"
        )

    def test_forged(self, carrier: Carrier) -> None:
        """What any process may write is not trusted, or told by its facility."""
        [text] = self._messages(1)
        self.forge(text)
        records = self._read(carrier.source(), None)
        assert all(not record.trusted or record.facility for record in records)

    @cached_property
    def _port(self) -> int:
        """A number that the messages of no other case hold."""
        return time.time_ns()

    def _messages(self, number: int) -> list[str]:
        """Make texts that are all different, also from those of this case's earlier calls."""
        return [
            f"TCP: Treason uncloaked! Peer 192.0.2.7:{self._port}/{next(self._count)}"
            f" {NEEDLE} 1:2. Repaired."
            for _ in range(number)
        ]

    @cached_property
    def _count(self) -> Iterator[int]:
        return count()

    def _read(self, source: Source, cursor: str | None, *needles: str) -> list[Record]:
        """Read what this case wrote."""
        records = source.read(cursor, needles or (NEEDLE,))
        return [record for record in records if f":{self._port}/" in record.text]

    def _texts(self, source: Source, cursor: str | None, *needles: str) -> list[str]:
        return [record.text for record in self._read(source, cursor, *needles)]
