"""What a source promises that confirms messages, as cases for pytest."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol

import pytest

from reconciler.errors import SourceUnreadable
from reconciler.interfaces import WitnessSource
from reconciler.model import Answer, Connection, Seen, Suspect
from reconciler.network import Network

_STRANGER = Connection(Network.parse("192.0.2.1"), 4638, 80)


class Trial(Protocol):
    """Where a witness looks, for a test."""

    def offend(self) -> Connection:
        """Let one more peer offend, from now on until the end; return its connection."""

    def behave(self) -> Connection:
        """Let one more peer have a connection, and do no wrong."""

    def wait(self) -> None:
        """Let pass by what lies between two passes."""

    def source(self) -> WitnessSource:
        """Make a source that looks there, as each pass does anew."""


class WitnessContract:
    """Subclass it, and give a fixture ``trial``: a `Trial` in which nobody has a connection yet.

    ``passes`` is how many passes a verdict may take at most.
    """

    passes: ClassVar[int] = 3

    @pytest.fixture
    def trial(self) -> Trial:
        """Something that can be looked at."""
        raise NotImplementedError(f"{type(self).__name__} must give the fixture 'trial'")

    def unreadable(self) -> AbstractContextManager[object]:
        """Let nothing be seen inside the block."""
        pytest.skip("give unreadable()")

    def told(self, trial: Trial, connections: Collection[Connection]) -> Sequence[Seen]:
        """Return what is seen of each at last, when verdicts have had their time."""
        suspects: Sequence[Suspect] = ()
        last: Mapping[Connection, Answer] = {}
        for _ in range(self.passes):
            source = trial.source()
            source.recall(suspects)
            last = source.confirm(connections)
            assert {*last} == {*connections}
            assert all(each.why for each in last.values())
            suspects = [*source.suspects()]
            trial.wait()
        return [last[each].seen for each in connections]

    def test_shown(self, trial: Trial) -> None:
        """An offender is told from who is only there, and from who is not."""
        good, bad = trial.behave(), trial.offend()
        assert self.told(trial, [good, bad, _STRANGER]) == [Seen.OPEN, Seen.SHOWN, Seen.NOTHING]

    def test_other_ports(self, trial: Trial) -> None:
        """An offender's other connections are not this one."""
        bad = trial.offend()
        other = Connection(bad.peer, bad.peer_port ^ 1, bad.local_port)
        assert self.told(trial, [other]) == [Seen.NOTHING]

    def test_unreadable(self, trial: Trial) -> None:
        """What cannot be looked at is an error, and never that there is nothing."""
        with self.unreadable(), pytest.raises(SourceUnreadable):
            trial.source().confirm([_STRANGER])

    def test_blindness(self, trial: Trial) -> None:
        """It is told in one line, or there is none."""
        why = trial.source().blindness()
        assert why is None or why.isprintable()
