"""Messages that nobody has confirmed, and those that still wait for it: they ban nobody.

Also which rules people were told of that ban nobody any more.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from attrs import frozen

from reconciler.model import Offence
from reconciler.network import Network
from reconciler.store.database import Database
from reconciler.store.offences import Sighting

MOST: Final = 10_000
"""Messages that are kept, besides those that wait; the oldest go first."""

COLUMNS: Final = (
    "key, rule, evidence, peer_port, local_port, told, count, micros, boot, guess,"
    " id, source, time, why, waits_in, waits_until"
)
_OF_OFFENCE: Final = 10
"""How many of the columns tell of the message itself."""


@frozen
class Doubted:
    """A message, who brought it and when (epoch seconds), and why it is not believed.

    One that waits does so in a boot (random(4)'s id), until its ``waits_until`` (seconds of
    CLOCK_BOOTTIME, which nobody sets). ``number`` is the store's own.
    """

    offence: Offence
    source: str
    time: int
    why: str
    waits_in: str | None = None
    waits_until: float | None = None
    number: int | None = None

    def waits(self, boot: str, uptime: float) -> bool:
        """Whether it still waits, in this boot at this uptime."""
        return self.waits_in == boot and self.waits_until is not None and uptime < self.waits_until


class Unconfirmed:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(
        self, added: Iterable[Doubted], changed: Iterable[Doubted], confirmed: Iterable[Doubted]
    ) -> None:
        """Store new ones, why others wait still or no more, and delete those that were confirmed.

        Of those that do not wait the oldest go.
        """
        with self._database.transaction():
            self._database.execute_many(
                "DELETE FROM unconfirmed WHERE id = ?", [(each.number,) for each in confirmed]
            )
            self._database.execute_many(
                "UPDATE unconfirmed SET why = ?, waits_in = ?, waits_until = ? WHERE id = ?",
                [(each.why, each.waits_in, each.waits_until, each.number) for each in changed],
            )
            if rows := [tuple(_row(each)) for each in added]:
                self._add(rows)

    def _add(self, rows: Iterable[tuple[object, ...]]) -> None:
        [(event,)] = self._database.rows("SELECT coalesce(max(id), 0) FROM history")
        self._database.execute_many(
            "INSERT INTO unconfirmed (key, rule, evidence, peer_port, local_port, told, count,"
            " micros, boot, guess, source, time, why, waits_in, waits_until, event)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row, event) for row in rows),
        )
        self._database.execute(
            "DELETE FROM unconfirmed WHERE waits_in IS NULL"
            " AND id <= (SELECT max(id) FROM unconfirmed) - ?",
            (MOST,),
        )

    def waiting(self) -> list[Doubted]:
        """Return those that wait, or waited when they were last looked at; the earliest first."""
        query = f"SELECT {COLUMNS} FROM unconfirmed WHERE waits_in IS NOT NULL"  # noqa: S608 - ours
        found = [doubted(row) for row in self._database.rows(query)]  # by the index of these
        return sorted(found, key=lambda each: each.number or 0)

    def give_up(self, sources: Collection[str], boot: str, uptime: float) -> None:
        """Let those wait no more whose time is over, and that none of the sources looks after."""
        rows = self._database.rows(
            "SELECT 'its source ' || source || ' is not read any more', id FROM unconfirmed"
            " WHERE waits_in IS NOT NULL AND (waits_in != ? OR waits_until <= ?)"
            " AND source NOT IN (SELECT value FROM json_each(?))",
            (boot, uptime, json.dumps([*sources])),
        )
        if rows:
            self._database.execute_many(
                "UPDATE unconfirmed SET why = ?, waits_in = NULL, waits_until = NULL WHERE id = ?",
                rows,
            )

    def stored(self, offences: Iterable[Offence]) -> dict[tuple[int, str], list[Sighting]]:
        """Return where and when records with the stamps of these were seen before."""
        found: dict[tuple[int, str], list[Sighting]] = {}
        if not self._database.rows("SELECT 1 FROM unconfirmed WHERE micros IS NOT NULL LIMIT 1"):
            return found
        micros = [offence.micros for offence in offences if offence.micros is not None]
        rows = self._database.rows(
            "SELECT micros, evidence, source, told, count, boot FROM unconfirmed"
            " WHERE micros IN (SELECT value FROM json_each(?))",
            (json.dumps(micros),),
        )
        for stamp, evidence, *rest in rows:
            found.setdefault((stamp, evidence), []).append(Sighting(*rest))
        return found

    def number(self) -> int:
        """Return how many are stored."""
        [(number,)] = self._database.rows("SELECT count(*) FROM unconfirmed")
        return int(number)

    def latest(self, limit: int) -> list[Doubted]:
        """Return the last one, then those that wait, then the others; of each the latest first.

        Many that nothing confirms do not hide one that may be confirmed yet.
        """
        query = (
            f"SELECT {COLUMNS} FROM unconfirmed"  # noqa: S608 - ours
            " ORDER BY id = (SELECT max(id) FROM unconfirmed) DESC, waits_in IS NULL, id DESC"
            " LIMIT ?"
        )
        return [doubted(row) for row in self._database.rows(query, (limit,))]

    def prune(self, before: int) -> None:
        """Delete those from before this time (epoch seconds)."""
        self._database.execute("DELETE FROM unconfirmed WHERE time < ?", (before,))

    def untold(self, rules: Collection[str]) -> list[str]:
        """Return of which of these rules people were not told yet that they ban nobody."""
        told = {str(rule) for (rule,) in self._database.rows("SELECT rule FROM rules_told")}
        return [rule for rule in rules if rule not in told]

    def tell(self, rules: Iterable[str]) -> None:
        """Remember that people were told of these rules."""
        rows = [(rule,) for rule in rules]
        self._database.execute_many("INSERT OR IGNORE INTO rules_told VALUES (?)", rows)


def _row(each: Doubted) -> Iterator[object]:
    o = each.offence
    yield from (o.address.key, o.rule, o.evidence, o.peer_port, o.local_port, o.time)
    yield from (o.count, o.micros, o.boot, o.guess)
    yield from (each.source, each.time, each.why, each.waits_in, each.waits_until)


def doubted(row: Any) -> Doubted:  # noqa: ANN401 - a row of SQLite's
    """Return the message that a row of `COLUMNS` tells of."""
    key, rule, evidence, *rest = row[:_OF_OFFENCE]
    number, source, time, why, waits_in, waits_until = row[_OF_OFFENCE:]
    offence = Offence(Network.of_key(key), rule, evidence, True, *rest)
    return Doubted(
        offence=offence,
        source=source,
        time=time,
        why=why,
        waits_in=waits_in,
        waits_until=waits_until,
        number=number,
    )
