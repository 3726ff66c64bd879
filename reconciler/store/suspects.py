"""Suspects: what the sources that judge by themselves have to look at again."""

from collections.abc import Callable, Iterable
from typing import Any

from reconciler.model import Suspect
from reconciler.network import Network
from reconciler.store.database import Database

_JUDGED, _IN_VAIN = 1, 2
"""Whether something followed from the judgement, or its rule bans nobody."""


class Suspects:
    """A part of the store. Only the source that brought a suspect knows what it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, source: str, binding: Callable[[str], bool] = bool) -> list[Suspect]:
        """Return what a source suspects.

        What was judged in vain is not judged yet if its rule is ``binding`` now.
        """
        return [
            Suspect(
                thing=thing,
                rule=rule,
                address=Network.of_key(key),
                since=since,
                looks=looks,
                peer_port=peer_port,
                local_port=local_port,
                judged=judged == _JUDGED or (judged == _IN_VAIN and not binding(rule)),
                note=note,
            )
            for _, thing, rule, key, since, looks, peer_port, local_port, judged, note
            in self._rows(source)
        ]  # fmt: skip

    def keep(
        self, source: str, suspects: Iterable[Suspect], binding: Callable[[str], bool] = bool
    ) -> None:
        """Store what a source suspects now; what it suspected before is forgotten."""
        rows = [
            (source, s.thing, s.rule, s.address.key, s.since, s.looks, s.peer_port, s.local_port,
             s.judged and (_JUDGED if binding(s.rule) else _IN_VAIN), s.note)
            for s in sorted(suspects, key=lambda each: each.thing)
        ]  # fmt: skip
        if rows == self._rows(source):
            return  # a write less in most passes
        with self._database.transaction():
            self._database.execute("DELETE FROM suspects WHERE source = ?", (source,))
            self._database.execute_many(
                "INSERT OR REPLACE INTO suspects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def _rows(self, source: str) -> list[tuple[Any, ...]]:
        query = "SELECT * FROM suspects WHERE source = ? ORDER BY thing"
        return self._database.rows(query, (source,))
