"""The memory: bans, offences, history and cursors in one SQLite file.

Networks are stored as canonical text, times as seconds since the epoch.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import lines
from reconciler.errors import InvalidNetwork
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.store.changes import Changes
from reconciler.store.database import connect, told
from reconciler.store.offences import Offences

UNGUARDED: Final = "badips"
"""The origin of bans that came in through the original script's table, unchecked."""

_DAY: Final = 86400

_STREAMED: Final = 1 << 14
"""Rows that are fetched at once."""


@frozen
class Event:
    """A line of the history: what happened to which network, when (epoch seconds), and why."""

    time: int
    action: str
    network: str
    reason: str


@frozen
class Counts:
    """How much is stored; ``last_offence`` is in epoch seconds, ``sources`` have a cursor."""

    permanent: int
    temporary: int
    offences: int
    last_offence: float | None
    sources: tuple[str, ...] = ()


class Store:
    """An open database. Every method that writes is one transaction, or a part of one."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.changes = Changes(connection, path, self.transaction)
        self.offences = Offences(connection, path)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep together what is written inside: all of it is stored, or nothing."""
        inside = self._connection.in_transaction
        if inside:
            yield  # it is a part of the one around it
            return
        with told(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def bans(self, now: int) -> Iterator[Ban]:
        """Yield the active bans in the order of their networks; those without a key come first."""
        with told(self._path):
            rows = self._connection.execute(
                "SELECT network, since, until, origin, reason FROM bans"
                " WHERE until IS NULL OR until > ? ORDER BY key, network",
                (now,),
            )
            for text, *rest in rows:
                if (network := _network(text)) is not None:
                    yield Ban(network, *rest)

    def banned(
        self, now: int, allows: Callable[[Network], bool] = bool
    ) -> tuple[Networks, list[str]]:
        """Give the networks of the active bans, and the rows that are not to be enforced.

        Those are no valid network, or came through ``badips`` and are wider than ``allows``.
        """
        untidy, refused, skipped = self._exceptions(now, allows)
        packed = [self._packed(version, now) for version in (4, 6)]
        return (Networks(*packed) | Networks.of(untidy)) - Networks.of(skipped), refused

    def exceptions(
        self, now: int, allows: Callable[[Network], bool]
    ) -> tuple[list[Network], list[str]]:
        """Give the active bans that have no key yet, and the rows that `banned` refuses."""
        untidy, refused, _ = self._exceptions(now, allows)
        return untidy, refused

    def _exceptions(
        self, now: int, allows: Callable[[Network], bool]
    ) -> tuple[list[Network], list[str], list[Network]]:
        """Give also the networks of refused rows that have a key.

        One without may stand beside the ban of the same network, written right.
        """
        untidy: list[Network] = []
        wide = self._too_wide(now, allows)
        refused = [text for text, _ in wide]
        with told(self._path):
            rows = self._connection.execute(
                "SELECT network, origin, until FROM bans WHERE key IS NULL"
                " UNION ALL SELECT network, origin, until FROM bans WHERE key = x''"
            )
            for text, origin, until in rows:
                network = _network(text)
                if until is not None and until <= now:
                    continue
                if network is None or (origin == UNGUARDED and not allows(network)):
                    refused.append(text)
                else:
                    untidy.append(network)
        return untidy, refused, [network for _, network in wide]

    def _too_wide(self, now: int, allows: Callable[[Network], bool]) -> list[tuple[str, Network]]:
        """Give the active bans that came unchecked and are too wide: their texts and networks.

        ``allows`` is asked once for each family and prefix length, however many bans there are.
        """
        unchecked = (
            "FROM bans INDEXED BY bans_unguarded"
            " WHERE origin = 'badips' AND instr(network, '/') > 0 AND key > x''"
        )
        found: list[tuple[str, Network]] = []
        with told(self._path):
            kinds = self._connection.execute(
                f"SELECT DISTINCT substr(key, 1, 1), substr(key, -1) {unchecked}"
            ).fetchall()
            for family, length in kinds:
                if not allows(Network.of(family[0], 0, length[0])):
                    rows = self._connection.execute(
                        f"SELECT network, key {unchecked}"
                        " AND substr(key, 1, 1) = ? AND substr(key, -1) = ?"
                        " AND (until IS NULL OR until > ?)",
                        (family, length, now),
                    )
                    found += [(text, Network.of_key(key)) for text, key in rows]
        return found

    def holds(self, network: Network, now: int, allows: Callable[[Network], bool]) -> bool:
        """Tell whether an active ban that is enforced holds the network, or a wider one does."""
        around = self.changes.around(network, now)
        return any(origin != UNGUARDED or allows(ban) for ban, origin in around)

    def _packed(self, version: int, now: int) -> bytes:
        """Give the active bans of a family as `Networks` holds them, without the exceptions."""
        packed = bytearray()
        with told(self._path):
            rows = self._connection.execute(
                "SELECT DISTINCT substr(key, 2) FROM bans WHERE key > ? AND key < ?"
                " AND length(key) = ? AND (until IS NULL OR until > ?) ORDER BY key",
                (bytes([version]), bytes([version + 1]), 6 if version == 4 else 18, now),
            )
            while some := rows.fetchmany(_STREAMED):
                packed += b"".join([key for (key,) in some])
        return bytes(packed)

    def until(self, networks: Iterable[Network], now: int) -> dict[Network, int | None]:
        """Give the end of each of these bans that is active."""
        with told(self._path):
            rows = self._connection.execute(
                "SELECT network, until FROM bans"
                " WHERE (until IS NULL OR until > ?)"
                " AND network IN (SELECT value FROM json_each(?))",
                (now, _json(networks)),
            )
            return {Network.parse(text): until for text, until in rows}

    def last_events(self, now: int) -> tuple[Networks, Networks]:
        """Give the networks that were lifted last, and those that were banned last.

        A ban that has ended counts as lifted, also while its row is still there.
        """
        banned, lifted = (self._last(banned=each) for each in (True, False))
        ended, _ = lines.read(self.ended(now))
        return lifted | ended, banned - ended

    def _last(self, *, banned: bool) -> Networks:
        with told(self._path):
            rows = self._connection.execute(  # with max(), SQLite takes action from that very row
                "SELECT network FROM (SELECT network, action, max(id) FROM history"
                " GROUP BY network) WHERE (action = 'ban') = ?",
                (banned,),
            )
            return lines.read(network for (network,) in rows)[0]

    def ended(self, now: int) -> list[str]:
        """Give the networks of bans that have ended, and are not in the history yet."""
        with told(self._path):
            rows = self._connection.execute("SELECT network FROM bans WHERE until <= ?", (now,))
            return [text for (text,) in rows]

    def lifts(self, networks: Iterable[Network], now: int) -> dict[Network, float]:
        """Tell when a ban of each of these networks was lifted last, or ended."""
        with told(self._path):
            rows = self._connection.execute(
                "SELECT network, max(time) FROM (SELECT network, time FROM history"
                " WHERE action != 'ban' AND network IN (SELECT value FROM json_each(?1))"
                " UNION ALL SELECT network, until FROM bans"
                " WHERE until <= ?2 AND network IN (SELECT value FROM json_each(?1)))"
                " GROUP BY network",
                (_json(networks), now),
            )
            return {Network.parse(text): time for text, time in rows}

    def endings(self, networks: Iterable[Network], now: int) -> dict[Network, int]:
        """Count the bans of each of these networks that have ended by themselves."""
        with told(self._path):
            rows = self._connection.execute(
                "SELECT network, count(*) FROM (SELECT network FROM history"
                " WHERE action != 'ban' AND action = 'expiry'"  # as the index has it
                " AND network IN (SELECT value FROM json_each(?1))"
                " UNION ALL SELECT network FROM bans"
                " WHERE until <= ?2 AND network IN (SELECT value FROM json_each(?1)))"
                " GROUP BY network",
                (_json(networks), now),
            )
            return {Network.parse(text): number for text, number in rows}

    def cursor(self, source: str) -> str | None:
        """Give the position up to which the source was read."""
        with told(self._path):
            row = self._connection.execute(
                "SELECT cursor FROM cursors WHERE source = ?", (source,)
            ).fetchone()
            return None if row is None else str(row[0])

    def sources(self) -> tuple[str, ...]:
        """Give the names of the sources that have a cursor."""
        with told(self._path):
            rows = self._connection.execute("SELECT source FROM cursors ORDER BY source")
            return tuple(str(source) for (source,) in rows)

    def remember(
        self,
        source: str,
        cursor: str | None,
        offences: Iterable[Offence],
        bans: Iterable[Ban],
        now: int,
    ) -> None:
        """Store what one reading of a source brought, together with the position behind it."""
        with self.transaction():
            self.offences.add(source, offences, now)
            self._ban(bans)
            if cursor is not None:
                self._connection.execute(
                    "INSERT INTO cursors VALUES (?, ?)"
                    " ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor",
                    (source, cursor),
                )

    def ban(self, bans: Iterable[Ban]) -> None:
        """Store the bans; one of the same network is replaced."""
        with self.transaction():
            self._ban(bans)

    def unban(self, networks: Iterable[Network], now: int) -> set[Network]:
        """Lift the bans of exactly these networks; give those that had one."""
        wanted = set(networks)
        with self.transaction():
            known = set(self.until(wanted, now))
            self._lift([str(network) for network in known], "unban", now)
        return known

    def expire(self, now: int) -> None:
        """Move the bans that have ended to the history."""
        if self.ended(now):
            with self.transaction():
                self._lift(self.ended(now), "expiry", now)

    def prune(self, now: int, offences: int, history: int) -> None:
        """Delete, once a day, older offences, and the history of what was lifted longer ago.

        Both are in seconds. The history of a network that is banned stays whole.
        """
        with told(self._path):
            last, some = self._connection.execute(
                "SELECT (SELECT max(time) FROM prunings),"
                " EXISTS (SELECT 1 FROM offences UNION ALL SELECT 1 FROM history)"
            ).fetchone()
        if not some or (last is not None and last <= now < last + _DAY):
            return
        with self.transaction():
            self._connection.execute("DELETE FROM offences WHERE time < ?", (now - offences,))
            old = "SELECT network FROM history WHERE action != 'ban' AND time < ?1"
            if self._connection.execute(f"{old} LIMIT 1", (now - history,)).fetchone():
                self._connection.execute(
                    f"DELETE FROM history WHERE time < ?1 AND network IN ({old})"  # noqa: S608 - as above
                    " AND NOT EXISTS (SELECT 1 FROM bans WHERE bans.network = history.network)",
                    (now - history,),
                )
            self._connection.execute("DELETE FROM prunings")
            self._connection.execute("INSERT INTO prunings VALUES (?)", (now,))

    def clients(self, now: int) -> list[Network]:
        """Give the ssh clients that are remembered."""
        with told(self._path):
            rows = self._connection.execute("SELECT address FROM clients WHERE until > ?", (now,))
            return [Network.parse(text) for (text,) in rows]

    def meet(self, client: Network, until: int, now: int) -> None:
        """Remember an ssh client, and forget those whose time has come."""
        with self.transaction():
            self._connection.execute("DELETE FROM clients WHERE until <= ?", (now,))
            self._connection.execute(
                "INSERT INTO clients VALUES (?, ?)"
                " ON CONFLICT (address) DO UPDATE SET until = excluded.until",
                (str(client), until),
            )

    def history(self, network: Network | None, limit: int) -> list[Event]:
        """Give the last events, of all networks or of one, the latest first."""
        with told(self._path):
            rows = self._connection.execute(
                "SELECT time, action, network, reason FROM history"
                " WHERE ?1 IS NULL OR network = ?1 ORDER BY id DESC LIMIT ?2",
                (None if network is None else str(network), limit),
            )
            return [Event(*row) for row in rows]

    def counts(self, now: int) -> Counts:
        """Count what is stored."""
        with told(self._path):
            row = self._connection.execute(
                "SELECT (SELECT count(*) FROM bans WHERE until IS NULL),"
                " (SELECT count(*) FROM bans WHERE until > ?),"
                " (SELECT count(*) FROM offences), (SELECT max(time) FROM offences)",
                (now,),
            ).fetchone()
            permanent, temporary, offences, last = row
            return Counts(permanent, temporary, offences, last, self.sources())

    def tidy(self) -> None:
        """Write what other programs put in as everything else is written."""
        with told(self._path):
            query = "SELECT network FROM bans WHERE key IS NULL"
            rows = [text for (text,) in self._connection.execute(query)]
        if not rows:
            return
        with self.transaction():
            for text in rows:
                network = _network(text)
                name, key = (text, b"") if network is None else (str(network), network.key)
                self._connection.execute(
                    "INSERT INTO bans (network, since, until, origin, reason, key)"
                    " SELECT ?, since, until, origin, replace(reason, 'inserted into badips',"
                    " 'came through badips'), ? FROM bans WHERE network = ?"
                    " ON CONFLICT (network) DO UPDATE SET until = excluded.until,"
                    " reason = excluded.reason, key = excluded.key",
                    (name, key, text),
                )
                if name != text:
                    self._connection.execute("DELETE FROM bans WHERE network = ?", (text,))

    def _lift(self, rows: list[str], action: str, now: int) -> None:
        names = json.dumps(rows)
        self._connection.execute(
            "INSERT INTO history (time, action, network, reason)"
            " SELECT iif(?2 = 'expiry', until, ?1), ?2, network, reason FROM bans"
            " WHERE network IN (SELECT value FROM json_each(?3))",
            (now, action, names),
        )
        self._connection.execute(
            "DELETE FROM bans WHERE network IN (SELECT value FROM json_each(?))", (names,)
        )

    def _ban(self, bans: Iterable[Ban]) -> None:
        rows = [
            (str(ban.network), ban.since, ban.until, ban.origin, ban.reason, ban.network.key)
            for ban in bans
        ]
        self._connection.executemany(
            "INSERT INTO bans (network, since, until, origin, reason, key)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (network) DO UPDATE SET"
            " since = excluded.since, until = excluded.until,"
            " origin = excluded.origin, reason = excluded.reason, key = excluded.key",
            rows,
        )
        self._connection.execute(
            "INSERT INTO history (action, network, time, reason)"
            " SELECT 'ban', network, since, reason FROM json_each(?)"
            " CROSS JOIN bans ON network = value",  # CROSS: in the order of the bans
            (json.dumps([network for network, *_ in rows]),),
        )


@contextmanager
def open_store(path: Path, *, write: bool, timeout: float = 5.0) -> Iterator[Store]:
    """Open the database and close it at the end; see `database.connect`."""
    connection = connect(path, write=write, timeout=timeout)
    try:
        store = Store(connection, path)
        if write:
            store.tidy()
        yield store
    finally:
        connection.close()


def _network(text: str) -> Network | None:
    try:
        return Network.parse(text)
    except InvalidNetwork:
        return None


def _json(networks: Iterable[Network]) -> str:
    return json.dumps([str(network) for network in networks])
