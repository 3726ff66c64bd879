"""Feeds that do what no feed should, for the engine that has to stand it."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from reconciler import FeedBan, FeedChange, FeedSnapshot, Networks


class Scripted:
    """A feed that brings what it was told to, and a cursor."""

    def __init__(self, *changes: Any, cursor: Any = "after") -> None:
        self.said: list[Any] = [*changes]
        self.after = cursor
        self.asked: list[str | None] = []

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield it; a function is called."""
        self.asked.append(cursor)
        for each in self.said:
            yield each() if callable(each) else each

    def cursor(self) -> str | None:
        """Return what it was told to."""
        value: str | None = self.after() if callable(self.after) else self.after
        return value


class Epochal(Scripted):
    """One with an epoch."""

    said_epoch: Any = "one"

    def epoch(self) -> str:
        """Return it."""
        value: str = self.said_epoch
        return value


class Noting(Scripted):
    """One that never stops taking notes."""

    def notes(self) -> Iterator[str]:
        """Yield lines for people, and more."""
        return (f"note\x1b {number}" for number in count())


def fails(error: BaseException) -> Callable[[], FeedChange]:
    """Return a change that cannot be made."""

    def fail() -> FeedChange:
        raise error

    return fail


def endless() -> Iterator[FeedChange]:
    """Yield bans of nothing, for ever."""
    while True:
        yield FeedBan(Networks())


def unchecked(**values: Any) -> FeedBan:
    """Return a ban whose values nobody has looked at."""
    ban = FeedBan(Networks())
    for name, value in values.items():
        object.__setattr__(ban, name, value)
    return ban


BEGIN, END = FeedSnapshot.BEGIN, FeedSnapshot.END
