"""The feed's own file as hostile input: whatever it holds, it is told in one line, and soon."""

import errno
import os
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from feedfiles import nets, singles, write
from pytest_mock import MockerFixture

from reconciler import FeedUnreadable, Network, Networks
from reconciler.feeding import FeedGroup
from reconciler.feeds import reading
from reconciler.feeds.format import GROUPS, SCHEMA
from reconciler.feeds.limits import Limits
from reconciler.feeds.token import token

LIMITS = Limits(max_entries=10_000)
GROUP = FeedGroup(nets("192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "2001:db8::1"), "m", "why", 9)


def refused(path: Path, limits: Limits = LIMITS, timeout: float = 5.0) -> str:
    """Return what is said of a file that is not read: one line, which names it."""
    with pytest.raises(FeedUnreadable) as raised:
        reading.read(path, limits, timeout)
    text = str(raised.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """With the epoch, and what was lifted."""
    lifted = FeedGroup(singles(3), "other", "", 99)
    path = write(tmp_path / "feed.db", [GROUP], lifted=[lifted], epoch="abc")
    contents = reading.read(path, LIMITS)
    assert (contents.epoch, contents.groups, contents.lifted) == ("abc", (GROUP,), (lifted,))
    assert contents.token == token(path)


def test_the_token_is_another_once_something_was_committed(tmp_path: Path) -> None:
    """Though neither the size nor the time of the file has changed."""
    path = write(tmp_path / "feed.db", [GROUP])
    before, status = token(path), path.stat()
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE bans SET until = 8")
        database.commit()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert token(path) != before


def test_how_far_it_has_published_is_read_alone(tmp_path: Path) -> None:
    """Whatever its networks are; what is no feed's file is refused as ever."""
    path = tmp_path / "feed.db"
    assert reading.published(path, LIMITS) == 0
    write(path, [FeedGroup(nets("192.0.2.1"))], then="UPDATE feed SET published = 7")
    assert reading.published(path, LIMITS) == 7
    write(
        path,
        then="UPDATE feed SET published = 8; INSERT INTO bans VALUES ('', '', -5, 7, x'01', x'')",
    )
    assert reading.published(path, LIMITS) == 8
    write(path, then="UPDATE feed SET published = -1")
    for text in (None, "<html>"):
        if text:
            path.write_text(text)
        with pytest.raises(
            FeedUnreadable, match=r"feed\.db: cannot read what the feed has written"
        ):
            reading.published(path, LIMITS)


def test_a_file_that_is_not_there_is_not_empty(tmp_path: Path) -> None:
    """It has no token, and cannot be read; nor can one in a directory that is missing."""
    for path in (tmp_path / "feed.db", tmp_path / "no" / "feed.db"):
        assert token(path) is None
        assert "there is no such file" in refused(path)


def test_what_may_not_be_read_is_told_with_what_helps(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    """The group is how a feed's file is shared."""
    path = write(tmp_path / "feed.db", [GROUP])
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mocker.patch("reconciler.feeds.token.os.open", side_effect=denied)
    with pytest.raises(FeedUnreadable, match=r"Permission denied\n  let .* be of a group of"):
        token(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A directory, a FIFO that nobody writes to, a device, a socket, and a link to a good file."""
    good = write(tmp_path / "good.db", [GROUP])
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    (tmp_path / "link").symlink_to(good)
    for name in ("directory", "fifo", "socket", "link", "/dev/zero"):
        said = refused(tmp_path / name)
        assert ("it is a link" if name == "link" else "it is not a file") in said
        with pytest.raises(FeedUnreadable, match="it is "):
            token(tmp_path / name)


@pytest.mark.parametrize("size", [300 << 20, 2 << 30, 1 << 40])
def test_a_file_of_any_size_is_refused_before_it_is_read(tmp_path: Path, size: int) -> None:
    """It may be sparse: it costs whoever makes it nothing."""
    path = tmp_path / "feed.db"
    with path.open("wb") as file:
        file.truncate(size)
    begun = time.process_time()
    assert "more than the" in refused(path, Limits())
    assert time.process_time() - begun < 0.5


def test_other_files_are_refused(tmp_path: Path) -> None:
    """An empty one, a text, another program's database, another version's, and one with a WAL."""
    path = tmp_path / "feed.db"
    path.touch()
    assert "nothing has been written to it yet" in refused(path)
    path.write_text("192.0.2.1\n" * 100)
    assert "it is not an SQLite database" in refused(path)
    for then in ("PRAGMA user_version = 2", "PRAGMA application_id = 0", "PRAGMA user_version = 0"):
        assert "another schema" in refused(write(path, [GROUP], then=then))
    assert "WAL mode" in refused(write(path, [GROUP], then="PRAGMA journal_mode = WAL"))


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """What was committed then is read, never a part of it."""
    path = write(tmp_path / "feed.db", [GROUP])
    with closing(sqlite3.connect(path, check_same_thread=False)) as database:
        database.execute("PRAGMA cache_spill = ON")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("UPDATE bans SET until = 77")
        found: list[int | None] = []
        reader = threading.Thread(
            target=lambda: found.append(reading.read(path, LIMITS).groups[0].until)
        )
        reader.start()
        while not reader.is_alive():
            pass
        database.commit()
        reader.join()
    assert found == [77]


def test_a_writer_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is one that died, and left its journal."""
    path = write(tmp_path / "feed.db", [GROUP])
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "being written" in refused(path, timeout=0.1)
    assert reading.read(path, LIMITS).groups
    (tmp_path / "feed.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    assert "its writer died" in refused(path, timeout=0.1)


BANS = SCHEMA["bans"]
FEED = SCHEMA["feed"]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
COLUMNS = "'' AS member, '' AS reason, i AS until, 0 AS removed, x'' AS four, x'' AS six"


@pytest.mark.parametrize(
    "tables",
    [
        (FEED, f"CREATE VIEW bans AS {ENDLESS} {COLUMNS} FROM n"),
        (FEED, BANS, "CREATE TRIGGER t AFTER INSERT ON bans BEGIN DELETE FROM bans; END"),
        (FEED, BANS, "CREATE TABLE more (a)"),
        (FEED, BANS, "CREATE INDEX i ON bans (member)"),
        (FEED, BANS, f"CREATE VIEW v AS {ENDLESS} i FROM n"),
        (FEED, "CREATE VIRTUAL TABLE bans USING fts5(member, reason, until, removed, four, six)"),
        (FEED, BANS.replace("six BLOB NOT NULL", "six BLOB AS (zeroblob(900000000))")),
        (FEED, BANS.replace("until INTEGER", "until INTEGER DEFAULT (random())")),
        (FEED, BANS.replace(" STRICT", "")),
        (FEED, BANS.replace("bans", "'bans'")),
        (FEED,),
        (),
        tuple(f"CREATE TABLE t{number} (a)" for number in range(500)),
    ],
    ids=lambda tables: (tables[-1] if tables else "nothing")[:60],
)
def test_any_other_schema_is_refused(tmp_path: Path, tables: tuple[str, ...]) -> None:
    """Nothing of what it holds as code is ever run."""
    path = write(tmp_path / "feed.db", tables=tables)
    begun = time.process_time()
    assert "its tables are not those of a feed's file" in refused(path)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("then", "cause"),
    [
        ("DELETE FROM feed", "has not one row"),
        ("INSERT INTO feed SELECT * FROM feed", "has not one row"),
        ("UPDATE feed SET epoch = printf('%.*c', 201, 'x')", "its epoch"),
        ("UPDATE feed SET published = -1", "no number"),
        ("UPDATE bans SET member = printf('%.*c', 65, 'x')", "not a short text"),
        ("UPDATE bans SET reason = printf('%.*c', 900000, 'x')", "not a short text"),
        ("UPDATE bans SET until = -1", "not a time"),
        ("UPDATE bans SET until = 9223372036854775807", "not a time"),
        ("UPDATE bans SET removed = 2", "neither"),
        ("UPDATE bans SET four = x'0102'", "not networks"),
        ("UPDATE bans SET four = x'c000020721'", "not networks"),
        ("UPDATE bans SET four = x'c000020718'", "not networks"),
        ("UPDATE bans SET four = x'c000020720c000020720'", "not networks"),
        ("UPDATE bans SET four = x'c000020820c000020720'", "not networks"),
        ("UPDATE bans SET six = CAST(zeroblob(16) || x'81' AS BLOB)", "not networks"),
        ("UPDATE bans SET six = CAST(x'ff' || zeroblob(15) || x'07' AS BLOB)", "not networks"),
        ("UPDATE bans SET six = zeroblob(34)", "not networks"),
        ("UPDATE bans SET four = zeroblob(1300000)", "damaged"),
    ],
)
def test_any_other_content_is_refused(tmp_path: Path, then: str, cause: str) -> None:
    """All of it: what is half right is not taken."""
    path = write(tmp_path / "feed.db", [GROUP, FeedGroup(singles(3))], then=then)
    assert cause in refused(path)


def test_other_types_are_refused(tmp_path: Path) -> None:
    """A strict table holds none, but its bytes may say otherwise."""
    for column, value in (("member", "x'00'"), ("until", "'soon'"), ("four", "7"), ("six", "'a'")):
        path = write(tmp_path / "feed.db", [GROUP], then=LOOSE.format(column, value))
        assert "not" in refused(path)


LOOSE = (
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, ' STRICT', '');"
    "PRAGMA writable_schema = RESET; UPDATE bans SET {} = {};"
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = sql || ' STRICT';"
)


def test_more_than_max_entries_is_refused(tmp_path: Path) -> None:
    """In all groups together; what was lifted counts for itself."""
    groups = [FeedGroup(singles(6), "a"), FeedGroup(singles(5), "b")]
    path = write(tmp_path / "feed.db", groups, lifted=groups[:1])
    assert "more than 10 networks" in refused(path, Limits(max_entries=10))
    assert reading.read(path, Limits(max_entries=11)).groups == tuple(groups)


def test_rows_that_the_feeds_process_would_have_joined_are_refused(tmp_path: Path) -> None:
    """Member, reason and end tell a row from every other one; a ban and an end are two."""
    alike = [FeedGroup(nets("192.0.2.1"), "m", "r"), FeedGroup(nets("192.0.2.2"), "m", "r")]
    path = write(tmp_path / "feed.db", alike[:1], lifted=alike[1:])
    assert reading.read(path, Limits()).groups == (alike[0],)
    write(path, alike)
    assert "two rows in it have the same member, reason and end" in refused(path, Limits())


def test_more_rows_than_anybody_needs_are_refused(tmp_path: Path) -> None:
    """Also of those that hold no network."""
    counted = f"{ENDLESS.removesuffix('SELECT')} INSERT INTO bans SELECT '', '', i, 0, x'', x''"
    path = write(tmp_path / "feed.db", then=f"{counted} FROM n LIMIT {GROUPS + 1}")
    assert "more than 100,000 rows" in refused(path, Limits(), timeout=60)


def test_time_is_limited(tmp_path: Path) -> None:
    """It is the time for all of it together."""
    path = write(tmp_path / "feed.db", [GROUP])
    assert "in time" in refused(path, timeout=-1)


def test_texts_are_made_harmless(tmp_path: Path) -> None:
    """They are shown on terminals: no control characters, nothing that turns them round."""
    path = write(tmp_path / "feed.db", [FeedGroup(singles(1), "m\x1b[2J", "a\nb\u202e")])
    [group] = reading.read(path, LIMITS).groups
    assert (group.member, group.reason) == ("m?[2J", "a?b?")
    write(path, [GROUP], then="UPDATE bans SET reason = CAST(x'ff41' AS TEXT)")
    assert reading.read(path, LIMITS).groups[0].reason == "\ufffdA"


def flipped(chance: random.Random, data: bytearray) -> None:
    """Change some bytes, most of them near the beginning, where the schema and the tree are."""
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(chance.choice((100, 200, len(data))))] = chance.randrange(256)


def shortened(chance: random.Random, data: bytearray) -> None:
    """Cut it off."""
    del data[chance.randrange(len(data)) :]


def repeated(chance: random.Random, data: bytearray) -> None:
    """Put one page in place of another."""
    pages = len(data) // 4096
    one, other = (chance.randrange(pages) * 4096 for _ in range(2))
    data[one : one + 4096] = data[other : other + 4096]


@pytest.mark.parametrize("damage", [flipped, shortened, repeated])
def test_damage_is_told_or_harmless(
    tmp_path: Path, damage: Callable[[random.Random, bytearray], None]
) -> None:
    """Whatever was damaged: it is refused in one line, or holds nothing but networks, soon."""
    chance = random.Random(23)  # noqa: S311 - a test that is the same each time
    groups = [FeedGroup(singles(2000, number << 24), str(number)) for number in range(1, 5)]
    original = write(tmp_path / "feed.db", [GROUP, *groups]).read_bytes()
    path = tmp_path / "damaged.db"
    told: list[str] = []
    for _ in range(400):
        data = bytearray(original)
        damage(chance, data)
        path.write_bytes(data)
        begun = time.process_time()
        try:
            contents = reading.read(path, LIMITS)
        except FeedUnreadable as error:
            told.append(str(error))
        else:
            for group in contents.groups:
                assert group.networks == Networks.of({Network(each) for each in group.networks})
        assert time.process_time() - begun < 2
    assert len(told) > 50
    assert not any("\n" in each for each in told)
