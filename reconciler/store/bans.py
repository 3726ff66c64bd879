"""The bans: which networks are banned, since when, until when, and why.

Networks are stored as canonical text, and by their bytes (`Network.key`), in which a range is a
network with all inside it. Times are seconds since the epoch.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from attrs import field, frozen

from reconciler.errors import StoreError
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.database import Database, network_of, texts
from reconciler.store.withheld import Withheld

UNGUARDED: Final = "badips"
"""The origin of bans that came in through the original script's table, unchecked."""

_NAMED: Final = "network IN (SELECT value FROM json_each(?3))"

_STREAMED: Final = 1 << 14
"""Rows that are fetched at once."""


@frozen
class NotEnforced:
    """The texts of rows that are not enforced: not a network, or too wide and unchecked."""

    invalid: list[str] = field(factory=list)
    too_wide: list[str] = field(factory=list)

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [*self.too_wide, *self.invalid]


@frozen(eq=False)
class Exceptions:
    """Active bans that are not enforced as they are stored.

    ``untidy`` have no key yet, because another program wrote them. ``refused`` are not enforced;
    ``skipped`` are the networks of those among them that have a key; a row without one may stand
    beside the ban of the same network, written right.
    """

    untidy: list[Network]
    refused: NotEnforced
    skipped: list[Network]


@frozen
class InvalidRow:
    """An active ban of what is not a network; ``raw`` is the text as it is stored."""

    text: str
    raw: bytes
    since: int
    until: int | None
    origin: str
    reason: str


class Bans:
    """A part of the store. Every method that writes is one transaction, or a part of one."""

    def __init__(self, database: Database, withheld: Withheld) -> None:
        self._database = database
        self._withheld = withheld

    def active(self, now: int, order: str = "key, network") -> Iterator[Ban]:
        """Yield the active bans in the order of their networks; those without a key come first.

        By ``network`` alone no index is read; then they come in the order of their texts.
        """
        rows = self._database.stream(
            "SELECT network, since, until, origin, reason FROM bans"  # noqa: S608 - columns
            f" WHERE until IS NULL OR until > ? ORDER BY {order}",
            (now,),
        )
        for text, since, until, origin, reason in rows:
            if (network := network_of(text)) is not None:
                yield Ban(network, since, until, origin, reason)

    def networks(
        self, now: int, allows: Callable[[Network], bool] = bool
    ) -> tuple[Networks, list[str]]:
        """Return the networks of the active bans, and the rows that are not to be enforced.

        Those are not a valid network, or came through ``badips`` and are wider than ``allows``.
        """
        exceptions = self.exceptions(now, allows)
        return self.enforced(now, exceptions), exceptions.refused.texts

    def enforced(self, now: int, exceptions: "Exceptions") -> Networks:
        """Return the networks of the active bans that are to be enforced."""
        packed = [self._packed(version, now) for version in (4, 6)]
        stored = Networks(*packed) | Networks.of(exceptions.untidy)
        return stored - Networks.of(exceptions.skipped)

    def exceptions(self, now: int, allows: Callable[[Network], bool]) -> "Exceptions":
        """Read the active bans that are not enforced as they are stored."""
        untidy: list[Network] = []
        wide = self._too_wide(now, allows)
        refused = NotEnforced(too_wide=[text for text, _ in wide])
        rows = self._database.rows(
            "SELECT network, origin, until FROM bans WHERE key IS NULL"
            " UNION ALL SELECT network, origin, until FROM bans WHERE key = x''"
        )
        for text, origin, until in rows:
            network = network_of(text)
            if until is not None and until <= now:
                continue
            if network is None:
                refused.invalid.append(text)
            elif origin == UNGUARDED and not allows(network):
                refused.too_wide.append(text)
            else:
                untidy.append(network)
        return Exceptions(untidy, refused, [network for _, network in wide])

    def invalid(self, now: int) -> list[InvalidRow]:
        """Return the active bans of what is not a network, in the order of their texts."""
        rows = self._database.rows(
            "SELECT network, CAST(network AS BLOB), since, until, origin, reason FROM bans"
            " WHERE (key IS NULL OR key = x'') AND (until IS NULL OR until > ?) ORDER BY network",
            (now,),
        )
        return [InvalidRow(*row) for row in rows if network_of(row[0]) is None]

    def holds(self, network: Network, now: int, allows: Callable[[Network], bool]) -> bool:
        """Return whether an active ban that is enforced holds the network, or a wider one does."""
        around = self.around(network, now)
        return any(origin != UNGUARDED or allows(ban) for ban, origin in around)

    def inside(self, network: Network, now: int) -> list[tuple[Network, str]]:
        """Return the active bans of this network and of networks inside it, with their origins."""
        rows = self._database.rows(
            "SELECT DISTINCT key, origin FROM bans WHERE key BETWEEN ? AND ?"
            " AND (until IS NULL OR until > ?)",
            (network.key, Network(network.end).key, now),
        )
        return [(Network.of_key(key), origin) for key, origin in rows]

    def around(self, network: Network, now: int) -> list[tuple[Network, str]]:
        """Return the active bans of this network and of wider ones that hold it."""
        wider = [each.key for each in (*network.supernets, network)]
        marks = ", ".join("?" * len(wider))
        rows = self._database.rows(
            f"SELECT key, origin FROM bans WHERE key IN ({marks})"  # noqa: S608 - question marks
            " AND (until IS NULL OR until > ?)",
            (*wider, now),
        )
        return [(Network.of_key(key), origin) for key, origin in rows]

    def ends(self, networks: Iterable[Network], now: int) -> dict[Network, int | None]:
        """Return the end of each of these bans that is active; None is never."""
        rows = self._database.rows(
            "SELECT network, until FROM bans"
            " WHERE (until IS NULL OR until > ?)"
            " AND network IN (SELECT value FROM json_each(?))",
            (now, texts(networks)),
        )
        return {Network.parse(text): until for text, until in rows}

    def ended(self, now: int) -> list[str]:
        """Return the networks of bans that have ended, and are not in the history yet."""
        rows = self._database.rows("SELECT network FROM bans WHERE until <= ?", (now,))
        return [text for (text,) in rows]

    def next_end(self, now: int) -> int | None:
        """Return when the next ban ends; None where none does."""
        [(end,)] = self._database.rows("SELECT min(until) FROM bans WHERE until > ?", (now,))
        return end if isinstance(end, int) else None

    def are_newest(self, networks: Iterable[Network]) -> bool:
        """Return whether each of these has a ban, and every other ban began before them."""
        names = texts(networks)
        [(others, first, known)] = self._database.rows(
            "SELECT (SELECT max(since) FROM bans WHERE network NOT IN"
            " (SELECT value FROM json_each(?1))), min(since), count(*)"
            " FROM bans WHERE network IN (SELECT value FROM json_each(?1))",
            (names,),
        )
        return known == len(json.loads(names)) and (not known or others is None or others < first)

    def add(self, bans: Iterable[Ban]) -> None:
        """Store the bans; one of the same network is replaced, also one that was withheld."""
        rows = [
            (str(ban.network), ban.since, ban.until, ban.origin, ban.reason, ban.network.key)
            for ban in bans
        ]
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO bans (network, since, until, origin, reason, key)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (network) DO UPDATE SET"
                " since = excluded.since, until = excluded.until,"
                " origin = excluded.origin, reason = excluded.reason, key = excluded.key",
                rows,
            )
            self._withheld.drop(network for network, *_ in rows)
            self._database.execute(
                "INSERT INTO history (action, network, time, reason)"
                " SELECT 'ban', network, since, reason FROM json_each(?)"
                " CROSS JOIN bans ON network = value",  # CROSS: in the order of the bans
                (json.dumps([network for network, *_ in rows]),),
            )

    def lift(self, networks: Iterable[Network], now: int) -> set[Network]:
        """Remove the bans of exactly these networks; return those that had one.

        Of those that had none it is noted as well: what a firewall still drops of them is not to
        be dropped any more.
        """
        wanted = set(networks)
        with self._database.transaction():
            known = set(self.ends(wanted, now))
            self._move_to_history(_NAMED, texts(known), "unban", now)
            self._database.execute_many(
                "INSERT INTO history (time, action, network, reason) VALUES (?, 'unban', ?, ?)",
                [(now, str(network), "was not banned") for network in sorted(wanted - known)],
            )
        return known

    def remove(self, rows: Iterable[InvalidRow], now: int) -> None:
        """Move these rows to the history."""
        with self._database.transaction():
            for row in rows:
                self._move_to_history("network = CAST(?3 AS TEXT)", row.raw, "unban", now)

    def expire(self, now: int) -> None:
        """Move the bans that have ended to the history."""
        if self.ended(now):
            with self._database.transaction():
                self._move_to_history("until <= ?3", now, "expiry", now)

    def tidy(self) -> None:
        """Write what other programs put in as everything else is written."""
        rows = self._database.rows(
            "SELECT network, CAST(network AS BLOB) FROM bans WHERE key IS NULL"
        )
        if not rows:
            return
        renamed: dict[str, str] = {}
        with self._database.transaction():
            for text, raw in rows:
                network = network_of(text)
                name, key = (raw, b"") if network is None else (str(network), network.key)
                self._database.execute(
                    "INSERT INTO bans (network, since, until, origin, reason, key)"
                    " SELECT CAST(? AS TEXT), since, until, origin, replace(reason,"
                    " 'inserted into badips', 'came through badips'), ? FROM bans"
                    " WHERE network = CAST(? AS TEXT)"
                    " ON CONFLICT (network) DO UPDATE SET until = excluded.until,"
                    " reason = excluded.reason, key = excluded.key",
                    (name, key, raw),
                )
                if isinstance(name, str) and name != text:
                    self._database.execute("DELETE FROM bans WHERE network = ?", (text,))
                    renamed[text] = name
            self._rename_in_history(renamed)

    def _rename_in_history(self, names: Mapping[str, str]) -> None:
        """Let the history name networks as the bans do: a lift is told of the one that was banned.

        Else the ban of another spelling would seem to have no end.
        """
        if not names:
            return
        rows = self._database.rows(
            "SELECT network, id FROM history WHERE network IN (SELECT value FROM json_each(?))",
            (json.dumps([*names]),),
        )
        self._database.execute_many(
            "UPDATE history SET network = ? WHERE id = ?",
            [(names[text], id_) for text, id_ in rows],
        )

    def _move_to_history(self, which: str, value: object, action: str, now: int) -> None:
        """Move the bans that a condition on ``?3``, the value, chooses."""
        self._database.execute(
            "INSERT INTO history (time, action, network, reason)"  # noqa: S608 - a constant
            f" SELECT iif(?2 = 'expiry', until, ?1), ?2, network, reason FROM bans WHERE {which}",
            (now, action, value),
        )
        self._database.execute(
            f"DELETE FROM bans WHERE {which.replace('?3', '?1')}",  # noqa: S608 - as above
            (value,),
        )

    def _too_wide(self, now: int, allows: Callable[[Network], bool]) -> list[tuple[str, Network]]:
        """Return the active bans that came unchecked and are too wide: their texts and networks.

        ``allows`` is asked once for each family and prefix length, however many bans there are.
        """
        unchecked = (
            "FROM bans INDEXED BY bans_unguarded"
            " WHERE origin = 'badips' AND instr(network, '/') > 0 AND key > x''"
        )
        found: list[tuple[str, Network]] = []
        kinds = self._database.rows(
            f"SELECT DISTINCT substr(key, 1, 1), substr(key, -1) {unchecked}"
        )
        for family, length in kinds:
            if not allows(Network.of(family[0], 0, length[0])):
                rows = self._database.rows(
                    f"SELECT network, key {unchecked}"
                    " AND substr(key, 1, 1) = ? AND substr(key, -1) = ?"
                    " AND (until IS NULL OR until > ?)",
                    (family, length, now),
                )
                found += [(text, Network.of_key(key)) for text, key in rows]
        return found

    def _packed(self, version: int, now: int) -> bytes:
        """Return the active bans of a family as `Networks` holds them, without the exceptions."""
        packed = bytearray()
        blocks = self._database.blocks(
            "SELECT DISTINCT substr(key, 2) FROM bans WHERE key > ? AND key < ?"
            " AND length(key) = ? AND (until IS NULL OR until > ?) ORDER BY key",
            (bytes([version]), bytes([version + 1]), 6 if version == 4 else 18, now),
            _STREAMED,
        )
        last = b""
        for block in blocks:
            keys = [key for (key,) in block]
            if keys != sorted(keys) or keys[0] <= last:
                raise StoreError(
                    f"{self._database.path}: the index bans_by_key is not in order",
                    f"restore it from a backup, or: sqlite3 {self._database.path} REINDEX",
                )
            last = keys[-1]
            packed += b"".join(keys)
        return bytes(packed)
