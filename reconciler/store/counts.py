"""How many bans and offences there are: kept by triggers, so that asking costs nothing.

The triggers count whoever writes. Where one of them is gone, or a count cannot be true, all is
counted as it stands.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen

from reconciler.errors import StoreError
from reconciler.store.counting import RECOUNTS, TRIGGERS
from reconciler.store.database import Database
from reconciler.store.refusals import is_damage


@frozen
class OriginCount:
    """How many active bans are of an origin: of a rule, ``manual``, ``badips``."""

    origin: str
    permanent: int
    temporary: int


@frozen
class SourceCount:
    """How far a source has come, in epoch seconds; None is never, or not known.

    ``moved`` is when something that it had not brought before was read last, ``last`` the time of
    the latest of its ``offences`` that were ever stored.
    """

    source: str
    moved: int | None
    offences: int
    last: float | None


@frozen
class Counts:
    """How much is stored; ``last_offence`` is in epoch seconds, ``sources`` have a cursor.

    ``unconfirmed`` counts messages, also those that wait. ``origins`` and ``of_sources`` tell whose
    the bans and the offences are.
    """

    permanent: int
    temporary: int
    offences: int
    last_offence: float | None
    sources: tuple[str, ...] = ()
    withheld: int = 0
    unconfirmed: int = 0
    origins: tuple[OriginCount, ...] = ()
    of_sources: tuple[SourceCount, ...] = ()


class Counted:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bans(self, now: int) -> tuple[OriginCount, ...]:
        """Return how many bans are active, of each origin, the most first."""
        found: dict[str, list[int]] = {}
        for origin, permanent, number in self._rows("bans_counted"):
            found.setdefault(origin, [0, 0])[not permanent] += number
        ended = self._database.rows(
            "SELECT origin, count(*) FROM bans WHERE until <= ? GROUP BY origin", (now,)
        )
        for origin, number in ended:
            found.setdefault(origin, [0, 0])[1] -= number
        counts = (OriginCount(origin, *numbers) for origin, numbers in found.items())
        held = (each for each in counts if each.permanent or each.temporary)
        return tuple(sorted(held, key=lambda each: (-each.permanent - each.temporary, each.origin)))

    def sources(self) -> tuple[SourceCount, ...]:
        """Return how far each source has come, in the order of their names."""
        moved = dict(self._database.rows("SELECT source, moved FROM cursors"))
        offences = {source: told for source, *told in self._rows("offences_counted")}
        return tuple(
            SourceCount(source, moved.get(source), *offences.get(source, (0, None)))
            for source in sorted(moved.keys() | offences.keys())
        )

    def mend(self) -> None:
        """Count anew what does not add up: somebody has dropped a trigger, and made it, say."""
        for table, query in RECOUNTS.items():
            of = table.partition("_")[0]
            [(kept, held)] = self._database.rows(
                f"SELECT (SELECT sum(number) FROM {table}), (SELECT count(*) FROM {of})"  # noqa: S608 - constants
            )
            if kept != held:
                with self._database.transaction():
                    self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - as above
                    self._database.execute(f"INSERT INTO {table} {query}")

    def _rows(self, table: str) -> Iterable[Any]:
        """Return the counts that are kept, or else, as slow as that is, what is there."""
        try:
            rows = [*self._kept(table)]
        except StoreError as error:
            if not is_damage(error):
                raise
            rows = []
        return rows or self._database.rows(RECOUNTS[table])

    def _kept(self, table: str) -> Iterator[Any]:
        """Yield the counts that are kept; none where they may be wrong."""
        [(triggers, wrong)] = self._database.rows(
            "SELECT (SELECT count(*) FROM sqlite_master"  # noqa: S608 - a constant
            " WHERE type = 'trigger' AND name IN (SELECT value FROM json_each(?))),"
            f" EXISTS (SELECT 1 FROM {table} WHERE number < 0)",
            (json.dumps(TRIGGERS),),
        )
        if triggers == len(TRIGGERS) and not wrong:
            yield from self._database.rows(f"SELECT * FROM {table}")  # noqa: S608 - as above
