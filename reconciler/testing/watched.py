"""What a backend promises that a resident process can wait for, as cases for pytest."""

import os
import select
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

import pytest

from reconciler.errors import BackendUnreadable
from reconciler.testing.backend import EXAMPLE
from reconciler.testing.steps import Cases, given
from reconciler.waiting import WatchedBackend, Watcher

_SETTLED: Final = 20
"""How often it may wake at most when nothing happens any more."""


class WatchedContract(Cases):
    """For a backend with `watcher`; a class beside `BackendContract`, with its ``damages``.

    ``patience`` is how many seconds may pass until a change by others is told.
    """

    damages: ClassVar[Mapping[str, Callable[[Any], object]]] = {}
    patience: ClassVar[float] = 5.0

    @pytest.fixture
    def watcher(self, backend: WatchedBackend) -> Iterator[Watcher]:
        """One that waits for a backend that holds `EXAMPLE`, and was asked before."""
        given(backend, EXAMPLE)
        made = backend.watcher()
        assert made.changed(), "the first call tells of what was before"
        _settle(made)
        yield made
        made.close()

    def test_watched_nothing_happens(self, watcher: Watcher) -> None:
        """It wakes nobody without end, and tells of no change."""
        assert not _is_woken(watcher, 0.2)
        assert not watcher.changed()

    def test_watched_reading(self, backend: WatchedBackend, watcher: Watcher) -> None:
        """Who reads the backend changes nothing."""
        backend.observe()
        assert not _settle(watcher)

    def test_watched_damage(self, damage: str, watcher: Watcher) -> None:
        """It wakes and is told, and then it wakes no more."""
        self.damages[damage](self)
        assert _is_woken(watcher, self.patience), "nothing woke"
        assert _settle(watcher), "no change is told"
        assert not _settle(watcher)

    def test_watched_damage_again(
        self, damage: str, backend: WatchedBackend, watcher: Watcher
    ) -> None:
        """Also once it was put right by a pass."""
        for _ in range(3):
            self.damages[damage](self)
            assert _is_woken(watcher, self.patience), "nothing woke"
            _settle(watcher)
            given(backend, EXAMPLE)
            _settle(watcher)

    def test_watched_close(self, backend: WatchedBackend) -> None:
        """Its descriptor is given back, and no other program inherits it."""
        given(backend, EXAMPLE)
        before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is compared
        made = backend.watcher()
        assert not os.get_inheritable(made.fileno())
        with suppress(BackendUnreadable):
            made.changed()
        made.close()
        assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def _is_woken(watcher: Watcher, patience: float) -> bool:
    poll = select.poll()
    poll.register(watcher.fileno(), select.POLLIN)
    return bool(poll.poll(patience * 1000))


def _settle(watcher: Watcher) -> bool:
    """Ask until it wakes no more; return whether it told of a change."""
    told = False
    for _ in range(_SETTLED):
        if not _is_woken(watcher, 0.05):
            return told
        told |= watcher.changed()
    raise AssertionError("it wakes again and again, and nothing happens")
