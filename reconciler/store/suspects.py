"""Suspects: what the sources that judge by themselves have to look at again."""

from collections.abc import Iterable

from reconciler.model import Suspect
from reconciler.network import Network
from reconciler.store.database import Database


class Suspects:
    """A part of the store. Only the source that brought a suspect knows what it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, source: str) -> list[Suspect]:
        """Return what a source suspects."""
        rows = self._database.rows(
            "SELECT key, judged, thing, rule, since, looks, peer_port, local_port, note"
            " FROM suspects WHERE source = ? ORDER BY thing",
            (source,),
        )
        names = ("thing", "rule", "since", "looks", "peer_port", "local_port", "note")
        return [
            Suspect(
                address=Network.of_key(key),
                judged=judged,
                **dict(zip(names, rest, strict=True)),
            )
            for key, judged, *rest in rows
        ]

    def keep(self, source: str, suspects: Iterable[Suspect]) -> None:
        """Store what a source suspects now; what it suspected before is forgotten."""
        kept = sorted(suspects, key=lambda each: each.thing)
        if kept == self.of(source):
            return  # a write less in most passes
        with self._database.transaction():
            self._database.execute("DELETE FROM suspects WHERE source = ?", (source,))
            self._database.execute_many(
                "INSERT OR REPLACE INTO suspects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (source, s.thing, s.rule, s.address.key, s.since, s.looks, s.peer_port,
                     s.local_port, s.judged, s.note)
                    for s in kept
                ),
            )  # fmt: skip
