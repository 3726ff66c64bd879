"""What a feed's process says for people, kept beside its own file, and read as a stranger's."""

import os
from pathlib import Path

import pytest

from reconciler import FeedUnreadable
from reconciler.feeds import remarks
from reconciler.feeds.remarks import Failure, Keeper, Remarks

NOW = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The feed's own file, which nobody has written yet."""
    return tmp_path / "feed.db"


@pytest.fixture
def beside(store: Path) -> Path:
    """Where it stands."""
    return store.with_name("feed.db.remarks")


def keeper(store: Path, now: int = NOW) -> Keeper:
    """Return the only writer, at a time."""
    return Keeper(store, lambda: now)


def error(number: int = 1) -> FeedUnreadable:
    """Return a failure of several words and lines."""
    return FeedUnreadable(f"feed x: no server\x1b answers ({number})", "start\nit")


def test_notes_are_kept_until_something_is_read_again(store: Path, beside: Path) -> None:
    """The first hundred, each in a line without control characters, and how many there were."""
    assert remarks.read(store) == Remarks()
    keeper(store).read(None, [f"note\x1b\n{number}" for number in range(150)])
    found = remarks.read(store)
    assert (found.notes[:2], len(found.notes), found.number) == (("note??0", "note??1"), 100, 150)
    assert beside.stat().st_mode & 0o777 == 0o640
    keeper(store).read(error())
    assert remarks.read(store).notes == found.notes
    keeper(store).read(None, ())
    assert remarks.read(store) == Remarks()


def test_a_failure_is_kept_with_when_it_began(store: Path) -> None:
    """By every process anew, whatever it says meanwhile, until one is successful."""
    keeper(store).read(error())
    failure = Failure("feed x: no server? answers (1)", "start?it", NOW)
    assert remarks.read(store) == Remarks(unread=failure)
    assert failure.told_of("x") == "no server? answers (1)\n  start?it"
    later = keeper(store, NOW + 60)
    later.read(error(2))
    assert remarks.read(store) == Remarks(
        unread=Failure("feed x: no server? answers (2)", "start?it", NOW)
    )
    later.read(None)
    assert remarks.read(store) == Remarks()
    later.read(error(3))
    found = remarks.read(store).unread
    assert found is not None
    assert found.since == NOW + 60


def test_reading_and_publishing_fail_apart_from_each_other(store: Path) -> None:
    """That one is successful says nothing of the other."""
    one = keeper(store)
    one.told(error(1))
    one.read(error(2))
    one.read(None, ["odd"])
    untold = Failure("feed x: no server? answers (1)", "start?it", NOW)
    assert remarks.read(store) == Remarks(("odd",), 1, untold=untold)
    one.read(error(2))
    one.told(None)
    found = remarks.read(store)
    assert (found.untold, found.unread is None) == (None, False)


def test_what_is_the_same_is_not_written_again(store: Path, beside: Path) -> None:
    """Nor does it seem that the feed was read, where something is."""
    one = keeper(store)
    os.utime(store.parent, (5, 5))
    for number in (1, 1, 2):
        one.read(error(number))
        assert store.parent.stat().st_mtime == 5
        before = beside.stat()
        one.read(error(number))
        assert beside.stat().st_ino == before.st_ino
    assert [path.name for path in store.parent.iterdir()] == [beside.name]


def test_what_cannot_be_written_is_written_with_the_next(store: Path, beside: Path) -> None:
    """It keeps nothing from being read."""
    beside.mkdir()
    one = keeper(store)
    one.read(None, ["odd"])
    beside.rmdir()
    one.read(None, ["odd"])
    assert remarks.read(store) == Remarks(("odd",), 1)


def link(path: Path) -> None:
    """Let it be a link to something of treason's own form."""
    target = path.with_name("elsewhere")
    target.write_text("treason-feed-remarks 1\nnote evil\n")
    path.symlink_to(target)


def fill(path: Path) -> None:
    """Let it have a byte too much."""
    path.write_text("treason-feed-remarks 1\n" + "x" * (1 << 18))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (link, "it is a link"),
        (os.mkfifo, "it is not a file"),
        (Path.mkdir, "it is not a file"),
        (Path.touch, "it holds something else"),
        (lambda path: path.write_bytes(b"\xff\0" * 99), "it holds something else"),
        (fill, "it holds more than 256 KiB"),
    ],
)
def test_what_is_not_what_the_process_wrote_is_a_note(
    store: Path, beside: Path, change: object, why: str
) -> None:
    """Nothing of it is shown, and nobody waits for it."""
    assert callable(change)
    change(beside)
    found = remarks.read(store)
    assert found.number == 1
    assert found.notes[0].startswith(f"{beside}: cannot read what the feed has written: {why}")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("note \x1b[2Jone\x85\nnote\nodd\n\n", Remarks(("?[2Jone?", ""), 2)),
        ("number 7\nnote one", Remarks(("one",), 7)),
        ("number -7\nnote one\n", Remarks(("one",), 1)),
        ("number \u0663\nnote one\n", Remarks(("one",), 1)),
        ("unread-since 12\nunread no\nunread-since 13\n", Remarks(unread=Failure("no", "", 12))),
        ("untold no\nuntold-hint x\x1b\nuntold-since 0", Remarks(untold=Failure("no", "x?", 0))),
        ("unread-since 12\nunread\nunread-hint rm -r /\n", Remarks()),
        ("unread no\nunread-hint rm -r /\n", Remarks()),
        ("unread-since 1e9\nunread no\n", Remarks()),
        (
            "unread-since 999999999999\nunread no\n",
            Remarks(unread=Failure("no", "", 253_402_300_799)),
        ),
        ("unread-since 9999999999999\nunread no\n", Remarks()),
        ("note " + "x" * 900, Remarks(("x" * 500,), 1)),
        ("note x\n" * 900, Remarks(("x",) * 100, 100)),
    ],
)
def test_any_lines_are_harmless(store: Path, beside: Path, lines: str, expected: Remarks) -> None:
    """What means nothing is left out."""
    beside.write_text(f"treason-feed-remarks 1\n{lines}")
    assert remarks.read(store) == expected
