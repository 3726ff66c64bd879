"""What a source promises that a resident process can wait for, as cases for pytest."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar, Protocol

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.interfaces import NotingSource, WakingSource
from reconciler.model import Record
from reconciler.testing.source import NEEDLE, Carrier, SourceContract

_ROUNDS = 5
_SETTLED = 20


class WakingCarrier(Carrier, Protocol):
    """Where a source reads that can be waited for, for a test."""

    def source(self) -> WakingSource:
        """Make a source that reads it."""


class WakingSourceContract(SourceContract):
    """For a source with `fileno`: subclass it instead of `SourceContract`, with the same fixture.

    ``patience`` is how many seconds may pass until what was written wakes.
    """

    patience: ClassVar[float] = 10.0
    _waking = True

    @pytest.fixture
    def carrier(self) -> WakingCarrier:
        """Something that can be written, and waited for by the source."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'carrier'")

    @pytest.fixture
    def waiting(self, carrier: WakingCarrier) -> Iterator[WakingSource]:
        """A source that has read all that there is, and waits."""
        carrier.write(*self._messages(1))
        source = carrier.source()
        source.fileno()
        assert len(self._read(source, None)) == 1
        self._settle(source)
        yield source
        source.close()

    def test_is_waiting(self, waiting: WakingSource) -> None:
        """It has all that a resident process calls."""
        assert isinstance(waiting, WakingSource)

    def test_wakes(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """What comes wakes, and is read once, in order; then it wakes no more."""
        for number in range(1, _ROUNDS):
            texts = self._messages(number)
            carrier.write(*texts)
            assert self._woken(waiting, number) == texts
            self._settle(waiting)

    def test_wakes_for_what_comes_meanwhile(
        self, carrier: WakingCarrier, waiting: WakingSource
    ) -> None:
        """What comes while it reads is read as well, or wakes."""
        first, second = self._messages(3), self._messages(2)
        carrier.write(*first)
        found: list[str] = []
        for _ in range(_SETTLED):
            assert self._wait(waiting)
            for record in waiting.read(waiting.cursor(), (NEEDLE,)):
                if f":{self._port}/" in record.text:
                    if not found:
                        carrier.write(*second)
                    found.append(record.text)
            if found:
                break
        assert found + self._woken(waiting, 5 - len(found)) == first + second

    def test_descriptor(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """It stays the same, no other program inherits it, and it is given back."""
        descriptor = waiting.fileno()
        assert not os.get_inheritable(descriptor)
        carrier.write(*self._messages(1))
        assert len(self._woken(waiting, 1)) == 1
        assert waiting.fileno() == descriptor
        waiting.close()
        waiting.close()
        before = _descriptors()
        again = carrier.source()
        again.fileno()
        self._read(again, None)
        again.close()
        assert _descriptors() == before

    def test_closed(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """It can still be read, as by a pass, and be waited for again."""
        waiting.close()
        texts = self._messages(2)
        carrier.write(*texts)
        assert self._texts(waiting, waiting.cursor()) == texts
        waiting.fileno()
        self._read(waiting, waiting.cursor())
        carrier.write(*texts)
        assert self._woken(waiting, 2) == texts

    def test_cursor_of_a_pass(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """A pass goes on from its cursor, and it from that of a pass."""
        cursor = waiting.cursor()
        if cursor is None:
            pytest.skip("this source has no cursor")
        first, second = self._messages(2), self._messages(3)
        carrier.write(*first)
        a_pass = carrier.source()
        assert self._texts(a_pass, cursor) == first
        carrier.write(*second)
        assert self._texts(waiting, a_pass.cursor()) == second
        assert self._texts(carrier.source(), waiting.cursor()) == []

    def test_earlier_cursor(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """What could not be stored is read again."""
        cursor = waiting.cursor()
        if cursor is None:
            pytest.skip("this source has no cursor")
        texts = self._messages(3)
        carrier.write(*texts)
        assert self._woken(waiting, 3) == texts
        assert self._texts(waiting, cursor) == texts
        assert self._texts(waiting, waiting.cursor()) == []
        assert len(self._texts(waiting, None)) == 4

    def test_costs_what_came(self, carrier: WakingCarrier, waiting: WakingSource) -> None:
        """However much it carries: to read one more takes less than to read all."""
        carrier.write(*self._messages(self.many))
        assert len(self._woken(waiting, self.many)) == self.many
        start = time.perf_counter()
        assert len(self._read(carrier.source(), None)) == self.many + 1
        whole = time.perf_counter() - start
        taken = []
        for _ in range(_ROUNDS):
            carrier.write(*self._messages(1))
            self._wait(waiting)
            start = time.perf_counter()
            assert len(self._read(waiting, waiting.cursor())) == 1
            taken.append(time.perf_counter() - start)
        assert sorted(taken)[_ROUNDS // 2] < whole

    def test_notes_are_of_the_last_read(self, waiting: WakingSource) -> None:
        """They do not pile up while nothing happens."""
        if not isinstance(waiting, NotingSource):
            return
        for _ in range(2):
            self._read(waiting, waiting.cursor())
        assert [*waiting.notes()] == []

    def test_unreadable_does_not_wake_without_end(self, waiting: WakingSource) -> None:
        """Where it cannot be read, there is no use in asking again and again."""
        with self.unreadable():
            with suppress(SourceUnreadable):
                self._read(waiting, waiting.cursor())
            self._settle(waiting)

    def _wait(self, source: WakingSource) -> bool:
        """Wait until it wakes; return whether it did."""
        poll = select.poll()
        poll.register(source.fileno(), select.POLLIN)
        return bool(poll.poll(self.patience * 1000))

    def _woken(self, source: WakingSource, number: int) -> list[str]:
        """Read whenever it wakes, until so many messages have come."""
        found: list[str] = []
        deadline = time.monotonic() + self.patience
        while len(found) < number and time.monotonic() < deadline:
            assert self._wait(source), f"what was written does not wake in {self.patience:g} s"
            found += self._texts(source, source.cursor())
        return found

    def _settle(self, source: WakingSource) -> list[Record]:
        """Read until it wakes no more; others may write, too, but not without end."""
        poll = select.poll()
        poll.register(source.fileno(), select.POLLIN)
        found: list[Record] = []
        for _ in range(_SETTLED):
            if not poll.poll(0):
                return found
            with suppress(SourceUnreadable):
                found += self._read(source, source.cursor())
        raise AssertionError("it wakes again and again, and nothing comes")


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is compared
