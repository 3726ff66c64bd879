"""What treason tells by a feed: rows that a pass adds, and the feed's process reads."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from reconciler import FeedUnreadable, Network
from reconciler.errors import StoreError
from reconciler.feeds import outbox
from reconciler.feeds.outbox import Told

NOW = 1_700_000_000
ONE = Told(Network.parse("192.0.2.7"), until=NOW + 60, reason="zero window\n")
TWO = Told(Network.parse("2001:db8::/64"), banned=False)
DAY = 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox that is not there yet."""
    return tmp_path / "outbox" / "fleet.db"


def test_what_was_told_is_read_from_where_it_was_read_before(path: Path) -> None:
    """In order, with numbers that only grow; texts are harmless."""
    outbox.write(path, [ONE, TWO], NOW)
    one, two = outbox.read(path, 0)
    assert (one.network, one.until, one.reason) == (ONE.network, ONE.until, "zero window?")
    assert two == TWO
    assert outbox.read(path, one.id) == [TWO]
    assert outbox.read(path, two.id) == []


def test_what_nobody_needs_any_more_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ban is kept while it lasts, and its end for a month; numbers are not used again."""
    monkeypatch.setattr(outbox, "_TIDIED", 1)
    lasting = Told(Network.parse("192.0.2.8"))
    again, gone = Told(ONE.network, until=NOW + 90 * DAY), Told(Network.parse("192.0.2.9"))
    outbox.write(path, [ONE, TWO, lasting, gone], NOW)
    outbox.write(path, [again, Told(gone.network, banned=False)], NOW + DAY)
    assert [each.network for each in outbox.read(path, 0)] == [
        *(TWO.network, lasting.network, again.network, gone.network)
    ]
    last = outbox.read(path, 0)[-1].id
    outbox.write(path, [Told(ONE.network, until=NOW + 100 * DAY)], NOW + 31 * DAY + 1)
    assert [(each.network, each.banned) for each in outbox.read(path, 0)] == [
        *((lasting.network, True), (ONE.network, True))
    ]
    outbox.write(path, [TWO], NOW + 131 * DAY)
    assert outbox.read(path, 0) == [lasting, TWO]
    [new] = outbox.read(path, last + 1)
    assert new.id == last + 2


def test_an_outbox_is_not_tidied_each_time(path: Path) -> None:
    """That takes longer the more there is."""
    outbox.write(path, [ONE], NOW)
    outbox.write(path, [ONE], NOW + DAY)
    assert len(outbox.read(path, 0)) == 2
    outbox.write(path, [ONE] * outbox._TIDIED, NOW + 31 * DAY)  # noqa: SLF001 - all had ended
    assert outbox.read(path, 0) == []


def test_an_outbox_that_was_made_anew_is_read_from_its_beginning(path: Path) -> None:
    """Its numbers begin again: what comes twice does no harm, what does not come would."""
    outbox.write(path, [TWO], NOW)
    assert outbox.read(path, 1000) == [TWO]


def test_an_outbox_that_was_made_anew_holds_nothing_back(path: Path) -> None:
    """Also where by the time it is read it has more than was read of the one before."""
    outbox.write(path, [ONE, TWO], NOW)
    told = outbox.read(path, 0)[-1].id
    path.unlink()
    outbox.write(path, [TWO, ONE, TWO], NOW + 1)
    assert len(outbox.read(path, told)) == 3


def test_what_waits_is_counted_from_where_it_was_read_before(path: Path) -> None:
    """With when the first of it was written; all of it, if the outbox was made anew since."""
    assert outbox.waiting(path, 0) == (0, None)
    outbox.write(path, [], NOW)
    assert outbox.waiting(path, 0) == (0, None)
    outbox.write(path, [ONE], NOW)
    outbox.write(path, [TWO, ONE], NOW + 5)
    one, *_, last = outbox.read(path, 0)
    assert outbox.waiting(path, 0) == (3, NOW)
    assert outbox.waiting(path, one.id) == (2, NOW + 5)
    assert outbox.waiting(path, last.id) == (0, None)
    assert outbox.waiting(path, last.id + 1) == (3, NOW)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(FeedUnreadable, match="cannot read it"):
        outbox.waiting(path, 0)


def test_no_outbox_is_an_empty_one(path: Path) -> None:
    """A pass has told nothing as yet; one that was only begun is the same."""
    assert outbox.read(path, 0) == []
    path.parent.mkdir()
    path.touch()
    assert outbox.read(path, 0) == []


def test_others_may_read_it(path: Path) -> None:
    """Whatever the umask is; the directory above is closed to them."""
    before = os.umask(0o077)
    try:
        outbox.write(path, [ONE], NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_cannot_be_read_or_written_is_told(path: Path) -> None:
    """It names the file."""
    outbox.write(path, [ONE], NOW)
    path.write_text("no database, but long enough to be one" * 100)
    with pytest.raises(FeedUnreadable, match=r"fleet\.db: cannot read it"):
        outbox.read(path, 0)
    with pytest.raises(StoreError, match=r"fleet\.db: cannot write it"):
        outbox.write(path, [ONE], NOW)
    with pytest.raises(StoreError, match="cannot write it: Not a directory"):
        outbox.write(path / "below" / "x.db", [ONE], NOW)
    with pytest.raises(FeedUnreadable, match="cannot read it: Not a directory"):
        outbox.read(path / "below", 0)


@pytest.mark.parametrize("what", ["pipe", "directory", "text"])
def test_what_is_no_outbox_is_to_be_removed(path: Path, what: str) -> None:
    """Nobody waits for a pipe; the next pass makes another one."""
    path.parent.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path.write_text("no database\n" * 100)
    with pytest.raises(FeedUnreadable, match="cannot read it") as unread:
        outbox.read(path, 0)
    with pytest.raises(StoreError, match="cannot write it") as unwritten:
        outbox.write(path, [ONE], NOW)
    assert unread.value.hint == unwritten.value.hint
    assert "remove it: the next pass makes another one" in unread.value.hint


def test_rows_of_no_network_are_left_out(path: Path) -> None:
    """Only treason writes there, but what is told goes far."""
    outbox.write(path, [ONE, TWO], NOW)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE told SET network = x'0102' WHERE id % 1000 = 1")
    database.close()
    assert outbox.read(path, 0) == [TWO]
