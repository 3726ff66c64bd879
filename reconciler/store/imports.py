"""Bans by whole lists: stored at once, and compared with the list of the same name from before."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from attrs import field, frozen

from reconciler import lines
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.changes import KEPT, Changes
from reconciler.store.database import Database

_LISTED: Final = """CREATE TEMP TABLE listed (
    network TEXT NOT NULL PRIMARY KEY,
    key BLOB NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER,
    fate TEXT NOT NULL DEFAULT 'new'
) WITHOUT ROWID"""
_COMPARED: Final = """UPDATE listed SET fate = iif(origin != :origin, 'other',
        iif(bans.until IS NOT listed.until OR bans.reason != listed.reason, 'changed', 'known'))
    FROM bans WHERE bans.network = listed.network AND (bans.until IS NULL OR bans.until > :now)
        AND (origin = :origin OR bans.until IS NULL OR bans.until >= listed.until)"""
_MISSED: Final = """INSERT INTO listed SELECT network, key, reason, until, 'gone' FROM bans
    WHERE origin = :origin AND (until IS NULL OR until > :now)
        AND network NOT IN (SELECT network FROM listed)"""
_LIFTED: Final = (
    """INSERT INTO history (time, action, network, reason)
        SELECT :now, 'unban', network, reason FROM listed WHERE fate = 'gone'""",
    """DELETE FROM closings
        WHERE network IN (SELECT network FROM listed WHERE fate = 'gone')""",
    "DELETE FROM bans WHERE network IN (SELECT network FROM listed WHERE fate = 'gone')",
)
_BANNED: Final = (
    """UPDATE bans SET until = listed.until, reason = listed.reason FROM listed
        WHERE listed.network = bans.network AND fate = 'changed'""",
    """INSERT INTO bans (network, since, until, origin, reason, key)
        SELECT network, :now, until, :origin, reason, key FROM listed WHERE fate = 'new'
        ON CONFLICT (network) DO UPDATE SET since = excluded.since, until = excluded.until,
            origin = excluded.origin, reason = excluded.reason, key = excluded.key""",
    "DELETE FROM withheld WHERE network IN (SELECT network FROM listed WHERE fate = 'new')",
    """INSERT INTO history (time, action, network, reason)
        SELECT :now, 'ban', network, reason FROM listed WHERE fate = 'new'""",
)
"""What is written, once each network of the list has its fate."""


@frozen
class BanList:
    """Networks to ban by their reasons; ``origin`` is that of the bans, and the list's name.

    They end at ``until`` (epoch seconds; None: never), or as ``ends`` has it.
    """

    origin: str
    groups: Iterable[tuple[str, Networks]]
    until: int | None = None
    ends: Mapping[Network, int] = field(factory=dict)


@frozen
class Imported:
    """How many bans of a list are new, were known, and are somebody else's; how many were lifted.

    Somebody else's ban of the same network stays as it is where it lasts as long.
    """

    new: int
    known: int
    others: int
    lifted: int


class Imports:
    """A part of the store."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    def take(self, wanted: BanList, now: int, *, replace: bool) -> Imported:
        """Store the bans of a list, all or none; a network's first reason counts.

        To ``replace`` lifts all others of this origin. What was known keeps its beginning, and is
        no event of the history.
        """
        database = self._database
        values = {"now": now, "origin": wanted.origin}
        with database.transaction():
            database.execute(_LISTED)
            database.execute_many(
                "INSERT OR IGNORE INTO listed (network, key, reason, until) VALUES (?, ?, ?, ?)",
                _rows(wanted),
            )
            database.execute_many(
                "UPDATE listed SET until = ? WHERE network = ?",
                ((until, str(network)) for network, until in wanted.ends.items()),
            )
            database.execute(_COMPARED, values)
            if replace:
                database.execute(_MISSED, values)
            found = database.rows("SELECT fate, count(*) FROM listed GROUP BY fate")
            fates = dict.fromkeys(("new", "changed", "known", "other", "gone"), 0) | dict(found)
            if fates["new"] + fates["changed"] + fates["gone"] > KEPT:
                self._changes.leave_out()
            for statement in (*_LIFTED, *_BANNED):
                database.execute(statement, values)
            database.execute("DROP TABLE listed")
        known = fates["known"] + fates["changed"]
        return Imported(fates["new"], known, fates["other"], fates["gone"])


def _rows(wanted: BanList) -> Iterator[tuple[str, bytes, str, int | None]]:
    """Yield the networks as they are stored: text, key, reason, and end."""
    for reason, networks in wanted.groups:
        texts = chain.from_iterable(map(str.splitlines, lines.written(networks)))
        for text, key in zip(texts, _keys(networks), strict=True):
            yield text, key, reason, wanted.until


def _keys(networks: Networks) -> Iterator[bytes]:
    """Yield each `Network.key`, without making an object of the network."""
    for version, width in ((4, 5), (6, 17)):
        packed, head = networks.packed(version), bytes([version])
        for at in range(0, len(packed), width):
            yield head + packed[at : at + width]
