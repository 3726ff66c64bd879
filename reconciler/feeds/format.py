"""The feed's own file: what the feed's process writes, and a pass reads as a stranger's.

It is an SQLite database with a rollback journal, since a reader may create no file beside it. Each
row of ``bans`` is many networks with the same member, reason and end, packed as `Networks` are. One
with ``removed`` holds those that the member has lifted explicitly, and its ``until`` is when that
may be forgotten.
"""

from typing import Final

from attrs import frozen

from reconciler.feeding import FeedGroup

APPLICATION_ID: Final = 0x74726664
"""``trfd``, at byte 68 of the header (SQLite's file format, §1.3)."""

VERSION: Final = 1

SCHEMA: Final = {
    "feed": "CREATE TABLE feed (epoch TEXT NOT NULL, cursor TEXT, published INTEGER NOT NULL)"
    " STRICT",
    "bans": "CREATE TABLE bans (member TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER,"
    " removed INTEGER NOT NULL, four BLOB NOT NULL, six BLOB NOT NULL) STRICT",
}
"""The tables: exactly these, and nothing else."""

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640

MEMBER: Final = 64
REASON: Final = 200
EPOCH: Final = 200
CURSOR: Final = 1 << 16
"""Characters at most."""

GROUPS: Final = 100_000
"""Rows of ``bans`` at most."""

LATEST: Final = 253_402_300_799
"""The last second of the year 9999: no ban ends later."""


@frozen
class Contents:
    """What a feed's own file holds.

    ``lifted`` are the networks that were lifted explicitly. ``published`` is the last row of the
    outbox that the feed has told others. ``token`` tells this content from any other one.
    """

    epoch: str = ""
    groups: tuple[FeedGroup, ...] = ()
    lifted: tuple[FeedGroup, ...] = ()
    cursor: str | None = None
    published: int = 0
    token: str = ""


def harmless(text: str, longest: int) -> str:
    """Return a stranger's text in one line, without what moves a terminal's cursor, or hides."""
    text = text[:longest]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
