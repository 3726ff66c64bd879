"""A source that is waited for, as the daemon reads it."""

import os
from collections.abc import Iterator, Sequence

import pytest
from attrs import define, field
from harness import Place

from reconciler.config.setup import Setup
from reconciler.daemon import telling
from reconciler.daemon.batch import Batch
from reconciler.daemon.loop import Loop
from reconciler.daemon.reflex import Reflex
from reconciler.daemon.storing import Ways
from reconciler.daemon.watch import Watch
from reconciler.model import Record
from reconciler.networks import NOTHING, Networks
from reconciler.passes.recognise import Recognition


@define
class Daemon:
    """What a source needs of the daemon; it does nothing."""

    setup: Setup
    loop: Loop = field(factory=Loop)

    def ways(self) -> Ways:
        """Return what to go by."""
        return Ways(self.setup, Reflex.of(self.setup, [], (), 0), Recognition())

    def drop(self, source: str, networks: Networks) -> None:
        """Drop nobody."""

    def pending_of(self, _source: str) -> Networks:
        """Return nothing."""
        return NOTHING

    def store(self, batch: Batch) -> None:
        """Store nothing."""

    def trouble(self, subject: str, text: str) -> None:
        """Note nothing."""


@define
class Lossy:
    """A source that brings nothing but notes, and never reads what wakes it."""

    said: list[str] = field(factory=list)
    reads: int = 0
    bell: int = field(factory=lambda: os.eventfd(0, os.EFD_NONBLOCK))

    def read(self, _cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Read nothing."""
        self.reads += 1
        return iter(())

    def cursor(self) -> str:
        """Stay where it is."""
        return "here"

    def notes(self) -> list[str]:
        """Return what the test says."""
        return self.said

    def fileno(self) -> int:
        """Return what wakes once the test writes to it."""
        return self.bell

    def close(self) -> None:
        """Close it."""
        os.close(self.bell)


def test_what_a_source_notes_is_said_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that records were lost; more of them is said again."""
    place.configure()
    printed = os.memfd_create("printed")
    monkeypatch.setattr(telling, "_printer", telling.Printer(printed))
    source = Lossy()
    watch = Watch("lossy", lambda: source, Daemon(Setup(str(place.config))))
    watch.begin("here")
    for said in ([], ["2 lost"], ["2 lost"], ["3 lost"], []):
        source.said[:] = said
        watch.read()
    watch.close()
    told = os.pread(printed, 8192, 0).decode().splitlines()
    os.close(printed)
    assert told == ["treason: warning: lossy: 2 lost", "treason: warning: lossy: 3 lost"]


def test_one_that_wakes_without_end_is_left_alone_for_a_while(place: Place) -> None:
    """A busy pipe has no cursor that moves; it is read on, and everything else has its turn."""
    place.configure()
    source = Lossy()
    daemon = Daemon(Setup(str(place.config)))
    watch = Watch("busy", lambda: source, daemon)
    watch.begin("here")
    os.eventfd_write(source.bell, 1)
    daemon.loop.after(0.5, "end", daemon.loop.stop)
    daemon.loop.run()
    assert watch.awake
    assert 200 < source.reads <= 200 * 6
    watch.close()
