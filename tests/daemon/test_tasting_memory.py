"""What the daemon remembers of a feed, in place of opening the database; never too long."""

import sqlite3
from contextlib import closing

import pytest
from attrs import evolve
from feedfiles import nets
from harness import Place
from residents import feed_says, with_feeds

from reconciler.config.feeds import ConfiguredFeed
from reconciler.config.setup import Setup
from reconciler.daemon.marks import mark
from reconciler.daemon.tasting import _Memory, _stored, _Taste, _tasted
from reconciler.errors import StoreError
from reconciler.host import clock
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.networks import NOTHING
from reconciler.passes import access
from reconciler.store.store import open_store

A, B, C = "203.0.113.5", "203.0.113.6", "203.0.113.7"


@pytest.fixture
def setup(place: Place) -> Setup:
    """A feed that says A, which is stored, and a database."""
    with_feeds(place, "a")
    feed_says(place, A)
    with open_store(place.database, write=True):
        pass
    return Setup(str(place.config))


@pytest.fixture
def memory(setup: Setup) -> _Memory:
    """What is remembered of it."""
    taste = _tasted(setup, feed(setup), None)
    stored = _stored(setup, taste, NOTHING)
    assert stored.memory
    return stored.memory


@pytest.fixture
def blind(memory: _Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can open the database for reading any more."""
    assert memory

    def opened(*_: object, **__: object) -> None:
        raise StoreError("opened")

    monkeypatch.setattr(access, "opened", opened)


def feed(setup: Setup) -> ConfiguredFeed:
    """Return the feed."""
    return setup.feeds["a"]


@pytest.mark.usefixtures("blind")
def test_who_is_new_is_found_without_the_database(
    place: Place, setup: Setup, memory: _Memory
) -> None:
    """Where nobody has written to it since: again and again."""
    feed_says(place, A, B)
    taste = _tasted(setup, feed(setup), memory)
    assert (taste.reading.begun, taste.reading.gone) == (nets(B), NOTHING)
    stored = _stored(setup, taste, NOTHING)
    feed_says(place, A, B, C)
    assert _tasted(setup, feed(setup), stored.memory).reading.begun == nets(C)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("how", ["written", "being written", "gone"])
def test_what_somebody_else_may_have_written_is_read(
    place: Place, setup: Setup, memory: _Memory, how: str
) -> None:
    """Or is about to write."""
    feed_says(place, A, B)
    if how == "written":
        with open_store(place.database, write=True) as store:
            store.bans.add([Ban(Network.parse(C), 1, None, "x", "")])
    elif how == "gone":
        place.database.unlink()
    else:
        place.database.with_name(f"{place.database.name}-journal").write_bytes(b"rows")
    with pytest.raises(StoreError, match="opened"):
        _tasted(setup, feed(setup), memory)


@pytest.mark.usefixtures("blind")
def test_what_has_ended_by_now_is_not_held(place: Place, setup: Setup, memory: _Memory) -> None:
    """Also where the database still has it."""
    [group] = memory.held
    over = evolve(memory, held=[evolve(group, until=memory.told.now)])
    feed_says(place, A, B)
    assert _tasted(setup, feed(setup), over).reading.begun == nets(A, B)


@pytest.mark.usefixtures("blind")
def test_a_clock_that_was_set_since_is_in_doubt(
    place: Place, setup: Setup, memory: _Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass settles what is to follow."""
    feed_says(place, A, B)
    seen = clock.look()
    monkeypatch.setattr(clock, "look", lambda: evolve(seen, wall=seen.wall + 86_400))
    with pytest.raises(StoreError, match="in doubt"):
        _tasted(setup, feed(setup), memory)


def test_what_a_feed_notes_for_itself_alone_is_nothing(
    place: Place, setup: Setup, memory: _Memory
) -> None:
    """As how far it has published; who is new is more."""

    def noted(number: int) -> _Taste:
        with closing(sqlite3.connect(feed(setup).store)) as database:
            database.execute("UPDATE feed SET published = ?", (number,))
            database.commit()
        return _tasted(setup, feed(setup), memory)

    assert noted(1).is_nothing
    assert mark(place.database) == memory.mark
    feed_says(place, A, B)
    assert not noted(2).is_nothing
