"""Feeds' own files, as their processes write them, and as strangers would."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from reconciler import Network, Networks
from reconciler.feeding import FeedGroup
from reconciler.feeds.format import APPLICATION_ID, SCHEMA, VERSION


def nets(*texts: str) -> Networks:
    """Return these networks."""
    return Networks.of(map(Network.parse, texts))


def singles(number: int, start: int = 0x01000000) -> Networks:
    """Return so many single addresses of IPv4, next to each other."""
    addresses = b"".join(each.to_bytes(4) for each in range(start, start + number))
    return Networks.of_hosts(4, addresses)


def write(
    path: Path,
    groups: Iterable[FeedGroup] = (),
    *,
    lifted: Iterable[FeedGroup] = (),
    epoch: str = "first",
    tables: Iterable[str] = SCHEMA.values(),
    then: str = "",
) -> Path:
    """Write a feed's file anew; ``then`` is SQL that somebody runs on it."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        for table in tables:
            database.execute(table)
        if tables is SCHEMA.values() or list(tables) == list(SCHEMA.values()):
            database.execute("INSERT INTO feed VALUES (?, NULL, 0)", (epoch,))
            for end, several in enumerate((groups, lifted)):
                for each in several:
                    packed = (each.networks.packed(4), each.networks.packed(6))
                    row = (each.member, each.reason, each.until, end, *packed)
                    database.execute("INSERT INTO bans VALUES (?, ?, ?, ?, ?, ?)", row)
        database.commit()
        database.executescript(then)
        database.commit()
    return path
