"""What the daemon goes by: who waits for a look is told, whatever happens in between."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from reconciler.config.setup import Setup
from reconciler.daemon.marks import Marks
from reconciler.daemon.truth import Truth
from reconciler.daemon.view import View
from reconciler.errors import StoreError
from reconciler.model import Desired
from reconciler.networks import Networks

SEEN = View(Desired(), "", [], {}, None, None, 0, None, noted=True)


@define(slots=False)
class Daemon:
    """Is the writer, too, which ends a look when the test says so."""

    marks: Marks = field(factory=lambda: Marks(lambda _descriptor: None))
    told: list[str] = field(factory=list)
    looks: list[Callable[[Any], object]] = field(factory=list)
    follows: Callable[[], object] = lambda: None

    def __attrs_post_init__(self) -> None:
        """Be the writer."""
        self.writer: Any = self

    def ask(self, _work: object, then: Callable[[Any], object]) -> None:
        """Begin a look."""
        self.looks.append(then)

    def seen(self, found: View | StoreError) -> None:
        """End the look that was begun first."""
        self.looks.pop(0)(found)

    def trouble(self, subject: str, text: str) -> None:
        """Note it."""
        if text:
            self.told.append(f"{subject}: {text}")

    def taken(self, _old: View | None, _new: View, *, carried_out: bool) -> None:
        """Do what a test wants to follow."""
        self.told.append("carried out" if carried_out else "taken")
        self.follows()

    def files_changed(self, whitelisted: Networks, *, edited: bool) -> None:
        """Take it."""

    def outdated(self) -> None:
        """Expect that it never is."""
        raise AssertionError


@pytest.fixture
def daemon() -> Daemon:
    """One that looks at nothing."""
    return Daemon()


@pytest.fixture
def truth(daemon: Daemon, tmp_path: Path) -> Truth:
    """What it goes by: an empty configuration."""
    config = tmp_path / "treason.toml"
    config.write_text("")
    return Truth(Setup(str(config)), (), daemon)


def test_a_look_that_follows_from_another_loses_nobody(daemon: Daemon, truth: Truth) -> None:
    """As where a pass follows that cannot even begin, and is told to have ended."""
    truth.refresh(lambda: daemon.told.append("first"))
    daemon.follows = lambda: truth.refresh(lambda: daemon.told.append("second"), carried_out=True)
    daemon.seen(SEEN)
    assert daemon.told == ["taken", "first"]
    daemon.follows = lambda: None
    daemon.seen(SEEN)
    assert daemon.told == ["taken", "first", "carried out", "second"]
    assert not daemon.looks


def test_one_that_was_left_tells_who_waits_and_nothing_else(daemon: Daemon, truth: Truth) -> None:
    """What it finds, and what it cannot read, is of no interest: all goes by another one."""
    truth.refresh(lambda: daemon.told.append("first"))
    truth.refresh(lambda: daemon.told.append("second"))
    truth.leave()
    daemon.seen(StoreError("the database is away"))
    daemon.seen(SEEN)
    assert daemon.told == ["first", "second"]
    assert truth.view is None
