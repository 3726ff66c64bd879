"""What the rules recognised: stored as evidence, counted by the policy, and pruned."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from reconciler.model import Connection, Offence
from reconciler.network import Network
from reconciler.store.database import Database

MOST: Final = 1_000_000
"""Offences that are kept, however young they are; the oldest go first."""

_QUARTER: Final = 900
"""Seconds of which the zones are apart, times a number."""

_WORLD: Final = 26 * 3600
"""Seconds between the zones that are farthest apart."""

_YEAR: Final = 365 * 86400
_LEAPS: Final = 2 * 86400
_YEARS: Final = 8
"""Years that a date without one may be apart, and seconds of their days more."""

MOST_OF_ONE: Final = 20_000
"""Offences of one network that are looked at; no threshold is higher."""


@frozen
class Sighting:
    """One time that a record came: from which source, with what time (epoch seconds) and boot."""

    source: str | None
    told: float | None
    count: int
    boot: str | None

    def is_of(self, offence: Offence, source: str) -> bool:
        """Whether a record of this stamp and text that a source brings is the very one.

        The stamps of another boot may be equal. The lines of a log that does not tell its boots
        may have a date: it is the same each time that a line is read, but for what it does not
        tell, zone and year. Another source may have another clock.
        """
        if self.count != offence.count:
            return False  # "message repeated" stands for others
        if self.boot is not None and offence.boot is not None:
            return self.boot == offence.boot
        if self.source != source or self.told is None or offence.time is None:
            return True
        return _may_be_one(abs(self.told - offence.time))


@frozen
class StoredOffence:
    """An offence as it is stored under a ``number``, and how it was seen."""

    number: int
    offence: Offence
    seen: Sighting

    def is_of(self, offence: Offence, source: str) -> bool:
        """Whether a record of the same text that a source brings now is this one."""
        if self.offence.micros is not None and offence.micros is not None:
            same = self.offence.micros == offence.micros
            return same and self.seen.is_of(offence, source)
        if self.seen.told is None or offence.time is None:
            return True
        return _may_be_one(abs(self.seen.told - offence.time))


def _may_be_one(apart: float) -> bool:
    """Whether one line may be read as two times so far apart, since it tells no zone or year."""
    if (apart + 1) % _QUARTER > 2:
        return False
    return any(
        abs(apart - years * _YEAR) <= _WORLD + (_LEAPS if years else 0)
        for years in range(_YEARS + 1)
    )


class Offences:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def last_id(self) -> int:
        """The number of the offence that was stored last; 0 if there is none."""
        [(number,)] = self._database.rows("SELECT coalesce(max(id), 0) FROM offences")
        return int(number)

    def add(self, source: str, offences: Iterable[Offence], now: int) -> None:
        """Store what a source brought."""
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO offences (address, key, rule, peer_port, local_port, time, count,"
                " evidence, source, micros, boot, told)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (str(o.address), o.address.key, o.rule, o.peer_port, o.local_port, o.when(now),
                     o.count, o.evidence, source, o.micros, o.boot, o.time)
                    for o in offences
                ),
            )  # fmt: skip
            self._database.execute(
                "DELETE FROM offences WHERE id <= (SELECT max(id) FROM offences) - ?", (MOST,)
            )

    def prune(self, before: int, undated: int | None = None) -> None:
        """Delete those from before this time (epoch seconds).

        What tells no time, but has a stamp, stays until ``undated``: by that alone it is known
        again, so that what was settled is not counted once more.
        """
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM offences WHERE time < ?1"
                " AND (told IS NOT NULL OR micros IS NULL OR time < ?2)",
                (before, before if undated is None else undated),
            )

    def of(
        self,
        networks: Iterable[Network],
        since: float,
        until: float = math.inf,
        *,
        most: int = MOST_OF_ONE,
    ) -> list[Offence]:
        """Return the stored offences of addresses inside these networks, within these times.

        Of each network no more than the last ``most``: whoever offends so often needs no more to
        be counted.
        """
        return [
            Offence(Network.of_key(key), rule, evidence, True, *rest)
            for network in networks
            for key, rule, evidence, *rest in self._database.rows(
                "SELECT key, rule, evidence, peer_port, local_port, time, count, micros, boot"
                " FROM offences WHERE key BETWEEN ? AND ? AND time BETWEEN ? AND ?"
                " ORDER BY time DESC LIMIT ?",
                (network.key, Network(network.end).key, since, until, most),
            )
        ]

    def stored_of(self, addresses: Iterable[Network], last: int) -> Iterator[StoredOffence]:
        """Yield what is stored of these addresses up to this number, of each the last first."""
        for address in addresses:
            for number, rule, evidence, *rest, source, told in self._database.rows(
                "SELECT id, rule, evidence, peer_port, local_port, time, count, micros, boot,"
                " source, told FROM offences WHERE key = ? AND id <= ? ORDER BY time DESC, id DESC",
                (address.key, last),
            ):
                offence = Offence(address, rule, evidence, True, *rest)
                seen = Sighting(source, told, offence.count, offence.boot)
                yield StoredOffence(number, offence, seen)

    def of_connections(
        self, connections: Iterable[Connection], since: float, until: float
    ) -> dict[Connection, list[tuple[str, str | None, float]]]:
        """Return rule, source and time of what is stored of these, within these times."""
        found: dict[Connection, list[tuple[str, str | None, float]]] = {}
        if not self._database.rows("SELECT 1 FROM offences LIMIT 1"):
            return found
        ports: dict[Network, list[int]] = {}
        for each in connections:
            ports.setdefault(each.peer, []).append(each.peer_port << 16 | each.local_port)
        for peer, both in ports.items():  # whatever is stored of a peer is looked through once
            rows = self._database.rows(
                "SELECT peer_port, local_port, rule, source, time FROM offences"
                " WHERE key = ? AND time BETWEEN ? AND ?"
                " AND (peer_port << 16 | local_port) IN (SELECT value FROM json_each(?))",
                (peer.key, since, until, json.dumps(both)),
            )
            for peer_port, local_port, *told in rows:
                found.setdefault(Connection(peer, peer_port, local_port), []).append(tuple(told))
        return found

    def stored(self, offences: Iterable[Offence]) -> dict[tuple[int, str], list[Sighting]]:
        """Return where and when records with the stamps of these were seen before."""
        found: dict[tuple[int, str], list[Sighting]] = {}
        if not self._database.rows("SELECT 1 FROM offences WHERE micros IS NOT NULL LIMIT 1"):
            return found
        micros = [offence.micros for offence in offences if offence.micros is not None]
        rows = self._database.rows(
            "SELECT micros, evidence, source, told, count, boot FROM offences"
            " WHERE micros IN (SELECT value FROM json_each(?))",
            (json.dumps(micros),),
        )
        for stamp, evidence, *rest in rows:
            found.setdefault((stamp, evidence), []).append(Sighting(*rest))
        return found
