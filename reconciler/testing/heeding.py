"""What a source promises that is woken by what it judges later, as cases for pytest."""

import os
import select
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

import pytest
from attrs import define

from reconciler.errors import SourceUnreadable
from reconciler.interfaces import HeedingSource
from reconciler.model import Record, Suspect

_ROUNDS: Final = 300
_MILLISECONDS: Final = 20
_WORTH_WAITING: Final = 0.1


class HeedingScene(Protocol):
    """Where a source looks, for a test."""

    def offend(self) -> None:
        """Let one more peer offend, from now on until the scene ends."""

    def behave(self) -> None:
        """Let one more peer do what comes near and is no offence."""

    def wait(self) -> None:
        """Let time pass by, also for sources that are there already: it is enough after a few."""

    def source(self) -> HeedingSource:
        """Make a source that looks there."""


@define
class _Kept:
    """One object of a source, as the daemon keeps it: what it suspects is stored behind a read."""

    scene: HeedingScene
    source: HeedingSource
    cursor: str | None = None
    suspects: Sequence[Suspect] = ()

    def read(self, *, stored: bool = True) -> list[Record]:
        self.source.recall(self.suspects)
        records = [*self.source.read(self.cursor, ())]
        if stored:
            self.cursor = self.source.cursor() or self.cursor
            self.suspects = [*self.source.suspects()]
        return records

    def wakes(self) -> bool:
        poll = select.poll()
        poll.register(self.source.fileno(), select.POLLIN)
        return bool(poll.poll(_MILLISECONDS))

    def until_judged(self, *, stored: bool = True) -> list[Record]:
        """Heed, and read when it says so, as time passes by."""
        for _ in range(_ROUNDS):
            seconds = self.source.heed()
            if seconds <= 0:
                if records := self.read(stored=stored):
                    return records
            elif not self.wakes() and seconds > _WORTH_WAITING:
                self.scene.wait()
        return []

    def until_quiet(self) -> float:
        """Heed and read until it says that there is time; return how much."""
        seconds = 0.0
        for _ in range(_ROUNDS):
            seconds = self.source.heed()
            if seconds <= 0:
                self.read()
            elif not self.wakes() and seconds > _WORTH_WAITING:
                break
        return seconds


class HeedingSourceContract:
    """Subclass it, and give a fixture ``scene``: a `HeedingScene` in which nobody offends yet.

    It belongs beside `JudgingSourceContract`, and needs a machine on which the source is woken.
    """

    @pytest.fixture
    def scene(self) -> HeedingScene:
        """Something that can be looked at."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'scene'")

    @pytest.fixture
    def kept(self, scene: HeedingScene) -> Iterator[_Kept]:
        """A source that is woken, and has looked at what was there before."""
        made = _Kept(scene, scene.source())
        made.source.fileno()
        made.read()
        yield made
        made.source.close()

    def test_is_heeding(self, kept: _Kept) -> None:
        """It has all that a resident process calls, and tells in one line how it sees."""
        assert isinstance(kept.source, HeedingSource)
        assert kept.source.way().isprintable()
        assert kept.source.way()
        assert kept.source.insists() in (True, False)

    def test_peace(self, scene: HeedingScene, kept: _Kept) -> None:
        """Where nobody offends, there is nothing to read, and nobody is judged."""
        scene.behave()
        scene.wait()
        assert kept.until_quiet() > _WORTH_WAITING
        assert kept.read() == []

    def test_judged(self, scene: HeedingScene, kept: _Kept) -> None:
        """An offender wakes it, and is judged in time; what goes on is not judged again."""
        kept.until_quiet()
        scene.offend()
        assert any(kept.wakes() for _ in range(_ROUNDS))
        [record] = kept.until_judged()
        assert record.judgement is not None
        for _ in range(3):
            kept.until_quiet()
            scene.wait()
            assert kept.read() == []

    def test_there_before(self, scene: HeedingScene) -> None:
        """Who offends already when it begins, is judged as well."""
        scene.offend()
        kept = _Kept(scene, scene.source())
        kept.source.fileno()
        assert len(kept.until_judged()) == 1
        kept.source.close()

    def test_one_by_one(self, scene: HeedingScene, kept: _Kept) -> None:
        """Each of several is judged once, and each read leaves stored what it did not look at."""
        found = []
        for _ in range(3):
            scene.offend()
            found += kept.until_judged()
        assert len({record.judgement for record in found}) == len(found) == 3
        assert sum(each.judged for each in kept.suspects) == 3

    def test_what_was_not_stored_is_judged_again(self, scene: HeedingScene, kept: _Kept) -> None:
        """As where the database could not be written: what is recalled counts, and nothing else."""
        scene.offend()
        first = kept.until_judged(stored=False)
        again = kept.read()
        assert len(first) == 1
        assert [record.judgement for record in again] == [record.judgement for record in first]
        assert kept.read() == []

    def test_descriptor(self, scene: HeedingScene, kept: _Kept) -> None:
        """It stays the same, no other program inherits it, and all is given back."""
        descriptor = kept.source.fileno()
        assert not os.get_inheritable(descriptor)
        scene.offend()
        kept.until_judged()
        assert kept.source.fileno() == descriptor
        kept.source.close()
        kept.source.close()
        before = _descriptors()
        again = _Kept(scene, scene.source())
        with suppress(SourceUnreadable):
            again.source.fileno()
        again.until_quiet()
        again.source.close()
        assert _descriptors() == before

    def test_closed(self, scene: HeedingScene, kept: _Kept) -> None:
        """It is read as in a pass from then on, and goes by a timer."""
        kept.source.close()
        scene.offend()
        records: list[Record] = []
        for _ in range(4):
            records += kept.read()
            scene.wait()
        assert len(records) == 1
        assert isinstance(kept.source.due(), float)


def _descriptors() -> set[str]:
    return {entry.name for entry in os.scandir("/proc/self/fd")}
