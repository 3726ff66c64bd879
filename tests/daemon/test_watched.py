"""A backend whose changes are told, and that passes put right: when it is looked at again."""

import os
from collections.abc import Callable, Iterator

import pytest
from attrs import define, field

from reconciler.daemon.brake import Brake
from reconciler.daemon.children import Done, Left
from reconciler.daemon.loop import Loop
from reconciler.daemon.watched import Watched
from reconciler.interfaces import Backend, DigestedBackend
from reconciler.testing.memory import Memory


@define(eq=False)
class Bell:
    """A watcher that a test rings."""

    bell: int = field(factory=lambda: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def ring(self) -> None:
        """Let something change."""
        os.eventfd_write(self.bell, 1)

    def fileno(self) -> int:
        """Return what it rings."""
        return self.bell

    def changed(self) -> bool:
        """Return whether it rang."""
        try:
            return os.eventfd_read(self.bell) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Close it."""
        os.close(self.bell)


@define
class Owner:
    """Keeps who asked for a pass, and ends the loop at each."""

    loop: Loop = field(factory=Loop)
    asked: list[tuple[Done, Left]] = field(factory=list)

    def compare(self, backend: DigestedBackend, then: Callable[[object], object]) -> None:
        """Expect nobody with a digest."""
        raise AssertionError(backend)

    def correct(self, done: Done, left: Left) -> None:
        """Keep it."""
        self.asked.append((done, left))
        self.loop.after(0, "asked", self.end)

    def corrected(self, name: str, brake: Brake, *, fought: bool, certain: bool) -> None:
        """Take it."""

    def unheard(self, name: str, error: BaseException) -> None:
        """Expect that it never is."""
        raise AssertionError(name) from error

    def run(self) -> None:
        """Wait for the next one who asks, a while at most."""
        self.loop.after(2.0, "patience", self.end)
        with pytest.raises(InterruptedError):
            self.loop.run()

    def end(self) -> None:
        """End the loop, which may be run again then."""
        raise InterruptedError


@pytest.fixture
def watched() -> Iterator[tuple[Owner, Bell, Watched]]:
    """One that has just asked for a pass, since somebody changed something."""
    owner, bell, memory = Owner(), Bell(), Memory()

    def make() -> Backend:
        return memory

    made = Watched("memory", make, bell, owner)
    bell.ring()
    owner.run()
    assert len(owner.asked) == 1
    yield owner, bell, made
    made.close()


def test_behind_a_pass_it_waits_for_the_next_change(
    watched: tuple[Owner, Bell, Watched],
) -> None:
    """And asks for one more pass then."""
    owner, bell, _ = watched
    owner.asked[0][0]("")
    owner.run()
    assert len(owner.asked) == 1
    bell.ring()
    owner.run()
    assert len(owner.asked) == 2


def test_it_looks_again_where_nobody_tells_how_the_pass_ends(
    watched: tuple[Owner, Bell, Watched],
) -> None:
    """As after a reload: else no change would ever be seen any more."""
    owner, bell, _ = watched
    owner.asked[0][1]()
    owner.run()
    assert len(owner.asked) == 2
    owner.asked[1][0]("")
    bell.ring()
    owner.run()
    assert len(owner.asked) == 3
