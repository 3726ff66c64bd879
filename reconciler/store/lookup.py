"""What is stored about one network, found by its key, however much is stored of others."""

from collections.abc import Iterable
from typing import Any, Final

from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.store.database import Database, network_of, texts
from reconciler.store.history import Event
from reconciler.store.offences import Offences
from reconciler.store.unconfirmed import COLUMNS, Doubted, doubted
from reconciler.store.withheld import WithheldBan

_BAN: Final = "SELECT network, since, until, origin, reason FROM bans"


class Lookup:
    """A part of the store that only reads. Bans that have ended are told while they are stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def around(self, network: Network) -> list[Ban]:
        """Return the bans of this network and of wider ones that hold it, the widest first."""
        chain = (*network.supernets, network)
        marks = ", ".join("?" * len(chain))
        keyed = self._bans(f"WHERE key IN ({marks})", [each.key for each in chain])
        strange = [each for each in self._untidy() if each.network in chain]
        return sorted([*keyed, *strange], key=lambda ban: ban.network.length)

    def inside(self, network: Network, most: int) -> list[Ban]:
        """Return the bans of narrower networks inside this one, in address order; no more."""
        if network.is_host:
            return []
        span = (network.key, Network(network.end).key, most)
        keyed = self._bans("WHERE key > ? AND key <= ? ORDER BY key LIMIT ?", span)
        return [*keyed, *(x for x in self._untidy() if network < x.network <= network.end)]

    def withheld(self, network: Network) -> list[WithheldBan]:
        """Return the bans of this network, and of wider ones, that were only observed."""
        rows = self._database.rows(
            "SELECT network, since, until, origin, reason, offences, last FROM withheld"
            " WHERE network IN (SELECT value FROM json_each(?)) ORDER BY last DESC",
            (texts([*network.supernets, network]),),
        )
        return [WithheldBan(Ban(Network.parse(x[0]), *x[1:5]), *x[5:]) for x in rows]

    def endings(self, network: Network, most: int) -> list[Event]:
        """Return the last events that ended bans of this network, or of wider ones."""
        rows = self._database.rows(
            "SELECT time, action, network, reason FROM history"
            " WHERE action != 'ban' AND network IN (SELECT value FROM json_each(?))"
            " ORDER BY time DESC, id DESC LIMIT ?",
            (texts([*network.supernets, network]), most),
        )
        return [Event(*row) for row in rows]

    def offences(self, network: Network, most: int) -> list[Offence]:
        """Return the last offences of addresses inside this network, the latest first."""
        return Offences(self._database).of([network], 0, most=most)

    def unconfirmed(self, network: Network, most: int) -> list[Doubted]:
        """Return the last messages about it that nothing confirmed, or not yet; latest first."""
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM unconfirmed WHERE key BETWEEN ? AND ?"  # noqa: S608 - ours
            " ORDER BY id DESC LIMIT ?",
            (network.key, Network(network.end).key, most),
        )
        return [doubted(row) for row in rows]

    def _bans(self, which: str, values: Iterable[object]) -> list[Ban]:
        return [_ban(row) for row in self._database.rows(f"{_BAN} {which}", [*values])]

    def _untidy(self) -> list[Ban]:
        """Return the bans that another program has written, and that have no key yet."""
        rows = self._database.rows(f"{_BAN} WHERE key IS NULL")
        return [_ban(row) for row in rows if network_of(row[0]) is not None]


def _ban(row: Any) -> Ban:  # noqa: ANN401 - a row of SQLite's
    text, *rest = row
    return Ban(Network.parse(text), *rest)
