"""The writer: what waits while nothing can be stored."""

import fcntl
import select

import pytest
from harness import Place

from reconciler.config.setup import Setup
from reconciler.daemon import writer
from reconciler.daemon.batch import Batch
from reconciler.daemon.reflex import Reflex
from reconciler.daemon.storing import Kept, Ways
from reconciler.daemon.view import look
from reconciler.daemon.writer import Writer
from reconciler.model import Record
from reconciler.passes.recognise import Recognition

RECORD = Record("a line", carrier="test", trusted=True)


def test_while_the_lock_is_held_no_more_waits_than_is_allowed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too much is given back to whoever reads the source; the rest is stored later."""
    monkeypatch.setattr(writer, "MOST", 2)
    monkeypatch.setattr(writer, "_PATIENCE", 0.0)
    place.configure()
    place.treason("init")
    setup = Setup(str(place.config))
    ways = Ways(setup, Reflex.of(setup, [], (), 0), Recognition())
    kept = list[Kept]()
    made = Writer(lambda: ways, lambda *_: None, kept.append, lambda *_: None)
    poll = select.poll()
    poll.register(made.descriptor, select.POLLIN)
    with (place.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.store(Batch("much", None, "3", (RECORD,) * 3))
        made.store(Batch("little", None, "1", (RECORD,)))
        made.begin()
        assert poll.poll(10_000)
        made.take()
        [given_back] = kept
        assert given_back.batch.source == "much"
        assert "another pass" in given_back.unwritten
    assert made.end(10.0)
    made.take()
    assert [each.batch.source for each in kept] == ["much", "little"]
    assert look(setup, ["much", "little"], None).cursors == {"much": None, "little": "1"}
