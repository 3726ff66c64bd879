"""The store: all that is remembered, opened as one, and what concerns several parts of it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.errors import StoreError
from reconciler.model import Ban, Closing, Offence
from reconciler.network import Network
from reconciler.store import space
from reconciler.store.backups import Backups
from reconciler.store.bans import Bans
from reconciler.store.carried import Carried
from reconciler.store.changes import KEPT, Changes
from reconciler.store.clients import Clients
from reconciler.store.clock import Clock
from reconciler.store.closings import Closings
from reconciler.store.counts import Counted, Counts
from reconciler.store.cursors import Cursors
from reconciler.store.database import Database
from reconciler.store.feeds import Feeds
from reconciler.store.history import History
from reconciler.store.integrity import Integrity
from reconciler.store.listing import Choice, ListedBan, listed, with_feeds
from reconciler.store.marks import Marks
from reconciler.store.offences import Offences
from reconciler.store.opening import connect, connect_to_enforce
from reconciler.store.pauses import Pauses
from reconciler.store.published import Published
from reconciler.store.refusals import is_damage
from reconciler.store.suspects import Suspects
from reconciler.store.unconfirmed import Unconfirmed
from reconciler.store.whitelists import Whitelists
from reconciler.store.withheld import Withheld

if TYPE_CHECKING:
    from reconciler.store.imports import Imports
    from reconciler.store.lookup import Lookup

T = TypeVar("T")

_DAY: Final = 86400
_ALL: Final = "(until IS NULL OR until > ?1) AND (?2 IS NULL OR origin = ?2)"
"""The active bans, or those of one origin."""


class Store:
    """An open database, by its parts.

    ``unwritten`` is why something could not be written that enforcement does not need; then no more
    of that is written, so that a pass does not wait for a lock again and again. ``damage`` is what
    was found that cannot be read.
    """

    def __init__(self, database: Database, unwritten: StoreError | None = None) -> None:
        self._database = database
        self.unwritten = unwritten
        self.damage: list[str] = []
        self.withheld = Withheld(database)
        self.bans = Bans(database, self.withheld)
        self.offences = Offences(database)
        self.history = History(database)
        self.backups = Backups(database)
        self.counted = Counted(database)
        self.cursors = Cursors(database)
        self.clients = Clients(database)
        self.clock = Clock(database)
        self.closings = Closings(database)
        self.carried = Carried(database)
        self.changes = Changes(database)
        self.feeds = Feeds(database, self.changes)
        self.published = Published(database)
        self.marks = Marks(database)
        self.integrity = Integrity(database, self.bans)
        self.pauses = Pauses(database)
        self.suspects = Suspects(database)
        self.unconfirmed = Unconfirmed(database)
        self.whitelists = Whitelists(database)
        self._pruned = False

    @property
    def identity(self) -> str:
        """What tells this database from every other; empty as long as there is no such file."""
        rows = self._database.rows("SELECT value FROM treason_identity")
        return str(rows[0][0]) if rows else ""

    def take_identity(self, identity: str) -> None:
        """Stand in the place of a database that was lost: what was its own is ours."""
        self._database.execute("UPDATE treason_identity SET value = ?", (identity,))

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def lookup(self) -> "Lookup":
        """What is stored about one network."""
        from reconciler.store.lookup import Lookup  # noqa: PLC0415 - one command asks for it

        return Lookup(self._database)

    @property
    def imports(self) -> "Imports":
        """Bans by whole lists."""
        from reconciler.store.imports import Imports  # noqa: PLC0415 - as above

        return Imports(self._database, self.changes)

    def transaction(self) -> AbstractContextManager[object]:
        """Keep together what is written inside: all of it is stored, or nothing."""
        return self._database.transaction()

    def attempt(self, write: Callable[[], object]) -> None:
        """Write what enforcement does not need; keep in ``unwritten`` why that failed."""
        if self.unwritten is None:
            try:
                write()
            except StoreError as error:
                self.unwritten = error

    def attempt_to_read(self, read: Callable[[], T]) -> T | None:
        """Return what is read; None where it cannot be, which is noted in ``damage``."""
        try:
            return read()
        except StoreError as error:
            if not (self.damage and is_damage(error)):  # else no more is told than is noted already
                self.damage.append(str(error))
            return None

    def listed(self, now: int, choice: Choice, *, indexed: bool = True) -> Iterator[ListedBan]:
        """Yield the active bans that are chosen; see `reconciler.store.listing`."""
        own = listed(self._database, now, choice, indexed=indexed)
        if not choice.has_feeds:
            return own
        return with_feeds(own, self.feeds.groups(choice.feed, now), choice)

    def number(self, now: int, origin: str | None = None) -> int:
        """Return how many bans are active, or are of one origin."""
        query = f"SELECT count(*) FROM bans WHERE {_ALL}"  # noqa: S608 - a constant
        [(number,)] = self._database.rows(query, (now, origin))
        return int(number)

    @property
    def last_time(self) -> int | None:
        """The time of the last event or offence (epoch seconds); None if there is none."""
        [(time,)] = self._database.rows(
            "SELECT max(time) FROM (SELECT max(time) AS time FROM history"
            " UNION ALL SELECT max(time) FROM offences)"
        )
        return None if time is None else int(time)

    def origins(self, now: int) -> list[str]:
        """Return the origins of the active bans, sorted."""
        query = f"SELECT DISTINCT origin FROM bans WHERE {_ALL} ORDER BY origin"  # noqa: S608 - as above
        return [str(origin) for (origin,) in self._database.rows(query, (now, None))]

    def lift_all(self, now: int, origin: str | None = None) -> int:
        """Remove every active ban, or all of one origin, networks or not; return how many.

        Of very many nothing is noted for the next pass: it reads everything.
        """
        database = self._database
        with self.transaction():
            number = self.number(now, origin)
            if number > KEPT:
                self.changes.leave_out()
            database.execute(
                "INSERT INTO history (time, action, network, reason)"  # noqa: S608 - a constant
                f" SELECT ?1, 'unban', network, reason FROM bans WHERE {_ALL}",
                (now, origin),
            )
            database.execute(
                "DELETE FROM closings WHERE network IN"  # noqa: S608 - as above
                f" (SELECT network FROM bans WHERE {_ALL})",
                (now, origin),
            )
            database.execute(f"DELETE FROM bans WHERE {_ALL}", (now, origin))  # noqa: S608 - as above
        return number

    def add_batch(
        self,
        source: str,
        offences: Iterable[Offence],
        bans: Iterable[Ban],
        now: int,
        closings: Iterable[Closing] = (),
    ) -> None:
        """Store offences that a source brought, the bans, and the closings that follow."""
        with self.transaction():
            self.offences.add(source, offences, now)
            self.bans.add(bans)
            self.closings.expect(closings)

    def add_withheld(
        self,
        source: str,
        offences: Iterable[Offence],
        bans: Iterable[Ban],
        counted: Mapping[Network, int],
        now: int,
    ) -> None:
        """Store offences that a source brought, and the bans that are not made of them."""
        with self.transaction():
            self.offences.add(source, offences, now)
            self.withheld.add(bans, counted, now)

    def compact(self) -> None:
        """Return to the disk what was deleted; see `reconciler.store.space`.

        All of an older file is written anew when the day has come to prune it, and not more often.
        """
        space.compact(self._database, whole=self._pruned)

    def prune(
        self, now: int, offences: int, history: int, configured: Collection[str] = ()
    ) -> None:
        """Delete, once a day, older offences, and the history of what was lifted longer ago.

        Both are in seconds. The history of a network that is banned stays whole, and so does what
        a backend has not carried out yet: one that was ever verified, and is ``configured`` or was
        verified since.
        """
        [(last, some)] = self._database.rows(
            "SELECT (SELECT max(time) FROM prunings),"
            " EXISTS (SELECT 1 FROM offences UNION ALL SELECT 1 FROM history"
            " UNION ALL SELECT 1 FROM withheld UNION ALL SELECT 1 FROM closed"
            " UNION ALL SELECT 1 FROM closings UNION ALL SELECT 1 FROM unconfirmed)"
        )
        if not some or (last is not None and last <= now < last + _DAY):
            return
        with self._database.transaction():
            self.offences.prune(now - offences, now - max(offences, history))
            self.unconfirmed.prune(now - offences)
            carried = self.carried.everywhere(configured, now - history)
            self.history.prune(now - history, carried)
            self.carried.lower()
            self.withheld.prune(now - max(offences, history))
            self.closings.prune(now - history, now - _DAY)
            self.counted.mend()
            self._database.execute("DELETE FROM prunings")
            self._database.execute("INSERT INTO prunings VALUES (?)", (now,))
        self._pruned = True

    def counts(self, now: int) -> Counts:
        """Return how much is stored."""
        origins, sources = self.counted.bans(now), self.counted.sources()
        offences = sum(each.offences for each in sources)
        times = (each.last for each in sources if each.last is not None)
        return Counts(
            sum(each.permanent for each in origins),
            sum(each.temporary for each in origins),
            offences,
            max(times, default=None) if offences else None,
            sources=self.cursors.sources(),
            withheld=self.withheld.number(now),
            unconfirmed=self.unconfirmed.number(),
            origins=origins,
            of_sources=sources,
        )


@contextmanager
def open_store(
    path: Path, *, write: bool, timeout: float = 5.0, past_locks: bool = False
) -> Iterator[Store]:
    """Open the database and close it at the end; see `opening.connect`."""
    connection = connect(path, write=write, timeout=timeout, past_locks=past_locks)
    database = Database(connection, path)
    try:
        store = Store(database)
        if write:
            store.bans.tidy()
        yield store
    finally:
        database.close()


@contextmanager
def open_to_enforce(path: Path, *, timeout: float = 5.0) -> Iterator[Store]:
    """Open the database for writing or, where that fails, what can be read of it.

    See `opening.connect_to_enforce`, and `Store.unwritten`.
    """
    connection, unwritten = connect_to_enforce(path, timeout=timeout)
    database = Database(connection, path)
    try:
        store = Store(database, unwritten)
        store.attempt(store.bans.tidy)
        yield store
    finally:
        database.close()
