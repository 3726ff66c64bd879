"""What a source promises that judges by itself, as cases for pytest."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

import pytest
from attrs import define, evolve, field

from reconciler.errors import SourceUnreadable
from reconciler.interfaces import ExplainingSource, Source, SuspectingSource
from reconciler.model import Record, Suspect
from reconciler.network import Network

_PATIENCE = 10.0
_STRANGER = Suspect(
    "\x00 no such thing ☃", "no-such-rule", Network.parse("192.0.2.1"), since=1e12, looks=99
)


class Scene(Protocol):
    """Where a source looks, for a test."""

    def offend(self) -> None:
        """Let one more peer offend, from now on until the scene ends."""

    def behave(self) -> None:
        """Let one more peer do what comes near and is no offence."""

    def wait(self) -> None:
        """Let pass by what lies between two passes."""

    def source(self) -> Source:
        """Make a source that looks there, as each pass does anew."""


@define
class _Passes:
    """Passes as treason makes them: what one stores, the next is given."""

    scene: Scene
    cursor: str | None = None
    suspects: Sequence[Suspect] = ()
    source: Source | None = field(default=None)

    def once(self) -> list[Record]:
        self.source = self.scene.source()
        if isinstance(self.source, SuspectingSource):
            self.source.recall(self.suspects)
        records = [*self.source.read(self.cursor, ())]
        self.cursor = self.source.cursor() or self.cursor
        if isinstance(self.source, SuspectingSource):
            self.suspects = [*self.source.suspects()]
        return records

    def until_judged(self, most: int) -> list[Record]:
        for _ in range(most):
            if records := self.once():
                return records
            self.scene.wait()
        return []


class JudgingSourceContract:
    """Subclass it, and give a fixture ``scene``: a `Scene` in which nobody offends yet.

    A case that needs something more is skipped, and says what it needs, until the subclass gives
    it:

    ``unreadable()``
        a context manager: inside, the scene cannot be looked at.

    ``passes`` is how many passes a judgement may take at most.
    """

    passes: ClassVar[int] = 3

    @pytest.fixture
    def scene(self) -> Scene:
        """Something that can be looked at."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'scene'")

    def unreadable(self) -> AbstractContextManager[object]:
        """Make the scene unreadable inside the block."""
        pytest.skip("give unreadable()")

    def test_peace(self, scene: Scene) -> None:
        """Where nobody offends, nobody is judged, however often it is looked."""
        scene.behave()
        passes = _Passes(scene)
        for _ in range(self.passes + 1):
            assert passes.once() == []
            scene.wait()

    def test_judged(self, scene: Scene) -> None:
        """An offender is judged in time: who it is, against which rule, and what was seen."""
        scene.offend()
        [record] = _Passes(scene).until_judged(self.passes)
        assert record.judgement is not None, "give the record a judgement"
        assert record.judgement.rule
        assert record.judgement.address.is_host
        assert record.text.isprintable()
        assert record.carrier
        assert record.trusted
        assert record.time is None or abs(record.time - time.time()) < 366 * 86400

    def test_once(self, scene: Scene) -> None:
        """What goes on is not judged again, and what comes later is."""
        scene.offend()
        passes = _Passes(scene)
        [first] = passes.until_judged(self.passes)
        for _ in range(self.passes + 1):
            scene.wait()
            assert passes.once() == []
        scene.offend()
        [second] = passes.until_judged(self.passes)
        assert first.judgement != second.judgement

    def test_suspects_are_stored(self, scene: Scene) -> None:
        """Each has a name of its own, and equals what is made of the stored values."""
        for _ in range(3):
            scene.offend()
        passes, judged = _Passes(scene), 0
        for _ in range(self.passes):
            judged += len(passes.once())
            names = [suspect.thing for suspect in passes.suspects]
            assert len(names) == len({*names})
            assert all(type(suspect.address) is Network for suspect in passes.suspects)
            passes.suspects = [evolve(suspect) for suspect in passes.suspects]  # as stored
            scene.wait()
        assert judged == 3

    def test_strange_suspects(self, scene: Scene) -> None:
        """A suspect that is not there any more is forgotten, and nobody is judged for it."""
        passes = _Passes(scene)
        passes.once()
        passes.suspects = [_STRANGER]
        assert passes.once() == []
        assert passes.suspects == [] or not isinstance(passes.source, SuspectingSource)

    def test_does_not_wait(self, scene: Scene) -> None:
        """A pass looks, and leaves the rest to the next one."""
        scene.offend()
        start = time.monotonic()
        _Passes(scene).once()
        assert time.monotonic() - start < _PATIENCE

    def test_unreadable(self, scene: Scene) -> None:
        """What cannot be looked at is an error, and never peace."""
        passes = _Passes(scene)
        passes.once()
        with self.unreadable(), pytest.raises(SourceUnreadable):
            passes.once()

    def test_near_misses(self, scene: Scene) -> None:
        """What comes near is told with a reason, where the source can tell it."""
        scene.behave()
        passes = _Passes(scene)
        passes.once()
        if not isinstance(passes.source, ExplainingSource):
            pytest.skip("this source does not explain itself")
        near = [*passes.source.near_misses()]
        assert near
        assert all(each.rule and each.text and each.why for each in near)
