"""A watched source: what is dropped, what is handed to the writer, and when it catches up."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import define, field

from reconciler import Network, Networks, Record
from reconciler.config.setup import Setup
from reconciler.daemon import watch
from reconciler.daemon.batch import Batch
from reconciler.daemon.loop import Loop
from reconciler.daemon.reflex import Reflex
from reconciler.daemon.storing import Kept, Ways
from reconciler.daemon.watch import Watch
from reconciler.networks import NOTHING
from reconciler.passes.recognise import Recognition


class Lines:
    """A source of kernel messages, one for each address; its cursor is how many were read."""

    def __init__(self, number: int) -> None:
        self.number, self._read = number, 0
        self._descriptor, _ = os.pipe()

    def read(self, cursor: str | None, _needles: Sequence[str]) -> Iterator[Record]:
        """Yield those behind the cursor."""
        for number in range(int(cursor or 0) + 1, self.number + 1):
            self._read = number
            text = f"TCP: Treason uncloaked! Peer 11.0.0.{number}:1/80 shrinks window 3:4."
            yield Record(text=f"{text} Repaired.", carrier="file", trusted=True)

    def cursor(self) -> str:
        """Return how many were read."""
        return str(self._read)

    def fileno(self) -> int:
        """Return what nothing ever wakes."""
        return self._descriptor

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


@define
class Daemon:
    """Notes what the watch asks for."""

    setup: Setup
    loop: Loop = field(factory=Loop)
    pending: Networks = NOTHING
    stored: list[Batch] = field(factory=list)

    def ways(self) -> Ways:
        """Return what a set-up without any configuration says."""
        return Ways(self.setup, Reflex.of(self.setup, [], (), 0), Recognition())

    def drop(self, _source: str, networks: Networks) -> None:
        """Note it."""
        self.pending |= networks

    def pending_of(self, _source: str) -> Networks:
        """Return what was dropped."""
        return self.pending

    def store(self, batch: Batch) -> None:
        """Note it."""
        self.stored.append(batch)

    def trouble(self, _subject: str, text: str) -> None:
        """Expect none."""
        assert not text


def test_more_than_is_held_is_dropped_and_read_by_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the writer has read it; what a pass has stored meanwhile does not stay pending."""
    monkeypatch.setattr(watch, "MOST", 10)
    monkeypatch.setattr(watch, "_CHUNK", 4)
    config = tmp_path / "treason.toml"
    config.write_text("")
    daemon = Daemon(Setup(str(config)))
    lines = Lines(5)
    watched = Watch("file", lambda: lines, daemon)
    watched.begin("0")
    assert [len(batch.records or ()) for batch in daemon.stored] == [5]
    lines.number = 30
    watched.read()
    assert Network.parse("11.0.0.30") in daemon.pending
    assert daemon.stored[-1].records is None
    lines.number = 40
    watched.read()
    assert len(daemon.pending) == 40
    assert len(daemon.stored) == 2
    watched.kept(Kept(daemon.stored[-1], cursor="38"))
    assert [batch.start for batch in daemon.stored[2:]] == ["38", "40"]
    assert daemon.stored[2].dropped == Networks.of(map(Network.parse, ("11.0.0.39", "11.0.0.40")))
    assert len(daemon.stored[3].dropped) == 38
    watched.close()
