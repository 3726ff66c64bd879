"""What was taken of feeds: sets of networks, each with who says it, why, and until when.

They stand beside the bans: what a feed lifts is never somebody else's.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from attrs import frozen

from reconciler.feeding import HELD, FeedGroup
from reconciler.lines import first_few
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks, covered
from reconciler.store.changes import KEPT, Changes
from reconciler.store.database import Database
from reconciler.store.released import Released

_COLUMNS: Final = "four, six, member, reason, until, since, state"
_ACTIVE: Final = "(until IS NULL OR until > ?1)"
_TOLD: Final = 10


@frozen
class FeedState:
    """What is known of a feed.

    ``file`` is the token of its own file, and of its limits, as it was looked at last; ``taken`` is
    when something was taken last (epoch seconds). ``trouble`` is why that was not possible since,
    empty if it was. ``cut`` and ``refused`` count the entries of which nothing or not all is held.
    """

    name: str
    file: str = ""
    epoch: str = ""
    taken: int | None = None
    trouble: str = ""
    cut: int = 0
    refused: int = 0
    accepted: int = 0
    quarantined: frozenset[str] = frozenset()


class Feeds:
    """A part of the store. Every method that writes is one transaction, or a part of one."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._released = Released(database)

    def states(self) -> dict[str, FeedState]:
        """Return what is known of each feed that was ever looked at."""
        rows = self._database.rows(
            "SELECT name, file, epoch, taken, trouble, cut, refused, accepted, quarantined"
            " FROM feeds ORDER BY name"
        )
        states = (FeedState(*(*row[:-1], frozenset(json.loads(row[-1])))) for row in rows)
        return {state.name: state for state in states}

    def groups(self, feed: str | None = None, now: int = 0) -> dict[str, list[FeedGroup]]:
        """Return what was taken, of one feed or of all by their names, and has not ended by now."""
        rows = self._database.rows(
            f"SELECT feed, {_COLUMNS} FROM feed_bans"  # noqa: S608 - columns
            f" WHERE {_ACTIVE} AND (?2 IS NULL OR feed = ?2) ORDER BY feed, rowid",
            (now, feed),
        )
        found: dict[str, list[FeedGroup]] = {}
        for name, four, six, *rest in rows:
            found.setdefault(name, []).append(FeedGroup(Networks(four, six), *rest))
        return found

    def held(self, now: int) -> Networks:
        """Return all that is to be dropped because feeds say so."""
        rows = self._database.rows(
            f"SELECT four, six FROM feed_bans WHERE state = '{HELD}' AND {_ACTIVE}",  # noqa: S608 - constants
            (now,),
        )
        return Networks.union(Networks(*row) for row in rows)

    def held_of_six(self, now: int) -> Networks:
        """Return what of IPv6 is to be dropped; the others are not read."""
        rows = self._database.rows(
            f"SELECT six FROM feed_bans WHERE state = '{HELD}' AND {_ACTIVE}"  # noqa: S608 - constants
            " AND length(six) > 0",
            (now,),
        )
        return Networks.union(Networks(b"", six) for (six,) in rows)

    def take(
        self, state: FeedState, groups: Sequence[FeedGroup], now: int, *, doubted: bool = False
    ) -> None:
        """Keep exactly these groups of a feed from now on; nothing ends while ``now`` is doubted.

        What it does not hold any more is told by the history, and what it holds anew; very much
        in one event, or in none.
        """
        database, name = self._database, state.name
        with database.transaction():
            if not doubted:
                self.expire(now)
            before, held = self.held(now), self.groups(name, now).get(name, [])
            database.execute("DELETE FROM feed_bans WHERE feed = ?", (name,))
            database.execute_many(
                f"INSERT INTO feed_bans (feed, {_COLUMNS}, number)"  # noqa: S608 - columns
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(name, group) for group in groups],
            )
            self.note(state)
            after = self.held(now)
            self._changes.note(after - before, before - after)
            old, new = enforced(held), enforced(groups)
            gone = old - new
            self._tell(name, groups, new - old, "ban", now)
            self._tell(name, held, gone - self._banned(gone, now), "unban", now)

    def settle(self, feed: str, networks: Networks, now: int) -> Networks:
        """Return those that were dropped for a feed a moment ago, and that nothing holds.

        The history tells of them: a firewall that holds them yet may let them go.
        """
        with self._database.transaction():
            vain = networks - self.held(now)
            vain -= self._banned(vain, now)
            for action in ("ban", "unban") if vain else ():
                self._note(vain, action, f"feed:{feed}", now)
        return vain

    def note(self, state: FeedState) -> None:
        """Keep what is known of a feed."""
        self._database.execute(
            "INSERT OR REPLACE INTO feeds (name, file, epoch, taken, trouble, cut, refused,"
            " accepted, quarantined) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(state.name, state.file, state.epoch, state.taken, state.trouble),
                *(state.cut, state.refused, state.accepted, json.dumps(sorted(state.quarantined))),
            ),
        )

    def forget(self, feeds: Collection[str], now: int) -> list[str]:
        """Lift what was taken of every feed but these; return the names of those."""
        gone = [name for name in self.states() if name not in feeds]
        with self._database.transaction():
            for name in gone:
                self.take(FeedState(name), (), now)
                self._database.execute("DELETE FROM feeds WHERE name = ?", (name,))
        return gone

    def ended(self, now: int) -> Networks:
        """Return what has ended and is still kept."""
        rows = self._database.rows("SELECT four, six FROM feed_bans WHERE until <= ?", (now,))
        return Networks.union(Networks(*row) for row in rows)

    def ended_since(self, since: int, now: int) -> Networks:
        """Return what was to be dropped, and has ended since."""
        rows = self._database.rows(
            f"SELECT four, six FROM feed_bans WHERE state = '{HELD}'"  # noqa: S608 - a constant
            " AND until > ? AND until <= ?",
            (since, now),
        )
        return Networks.union(Networks(*row) for row in rows)

    def expire(self, now: int) -> None:
        """Move what has ended to the history."""
        if not self._database.rows("SELECT 1 FROM feed_bans WHERE until <= ? LIMIT 1", (now,)):
            return
        with self._database.transaction():
            rows = self._database.rows(
                "SELECT feed, four, six, until FROM feed_bans"  # noqa: S608 - a constant
                f" WHERE until <= ? AND state = '{HELD}'",
                (now,),
            )
            # An earlier pass may have known it to be held until its end.
            left = self.held(now)
            self._changes.note(NOTHING, Networks.union(Networks(*row[1:3]) for row in rows) - left)
            ended: dict[str, list[tuple[Networks, int]]] = {}
            for name, four, six, until in rows:
                ended.setdefault(name, []).append((Networks(four, six), until))
            for name, parts in ended.items():
                self._expired(name, parts, left, now)
            self._database.execute("DELETE FROM feed_bans WHERE until <= ?", (now,))

    def _expired(
        self, feed: str, parts: Iterable[tuple[Networks, int]], left: Networks, now: int
    ) -> None:
        """Note what has ended of a feed, and when, but for what is ``left``, or has a ban."""
        every = Networks.union(networks for networks, _ in parts) - left
        every -= self._banned(every, now)
        if len(every) > KEPT:
            self._released.add(every, "expiry", feed, now)
            return
        for networks, until in parts:
            self._note(networks & every, "expiry", f"feed:{feed}", until)

    def next_end(self, now: int) -> int | None:
        """Return when the next of it ends; None where nothing does."""
        [(end,)] = self._database.rows("SELECT min(until) FROM feed_bans WHERE until > ?", (now,))
        return end if isinstance(end, int) else None

    def meeting(self, network: Network, now: int) -> dict[str, list[FeedGroup]]:
        """Return what of each feed shares an address with a network."""
        found: dict[str, list[FeedGroup]] = {}
        for name, groups in self.groups(now=now).items():
            meeting = Networks.union(group.networks for group in groups).meeting(network)
            for group in groups if meeting else ():
                if some := group.networks & meeting:
                    found.setdefault(name, []).append(group.of(some))
        return found

    def holders(self, networks: Iterable[Network], now: int) -> dict[Network, list[str]]:
        """Return the feeds that hold each of these, or a wider one, where there are any.

        With the members that name the first few, as in ``fleet (web1, web2)``.
        """
        groups = self.groups(now=now)
        held = {name: enforced(groups[name]).outermost() for name in groups}
        found: dict[Network, list[str]] = {}
        for network in networks:
            if names := [name for name in held if covered(network, held[name])]:
                told = len(found) < _TOLD
                found[network] = [
                    name + (_members(network, groups[name]) if told else "") for name in names
                ]
        return found

    def number(self, now: int) -> dict[str, dict[str, int]]:
        """Return how many networks of each feed have which state; reads none of them."""
        rows = self._database.rows(
            f"SELECT feed, state, sum(number) FROM feed_bans WHERE {_ACTIVE}"  # noqa: S608 - a constant
            " GROUP BY feed, state",
            (now,),
        )
        found: dict[str, dict[str, int]] = {}
        for name, state, number in rows:
            found.setdefault(name, {})[state] = number
        return found

    def members(self, now: int) -> dict[str, int]:
        """Return how many members of each feed name anything; reads no network."""
        rows = self._database.rows(
            "SELECT feed, count(DISTINCT member) FROM feed_bans"  # noqa: S608 - a constant
            f" WHERE {_ACTIVE} AND member <> '' GROUP BY feed",
            (now,),
        )
        return {str(name): int(number) for name, number in rows}

    def _banned(self, networks: Networks, now: int) -> Networks:
        """Return which of these have a ban of their own: then nothing has come to its end."""
        if len(networks) > KEPT:
            rows: Iterable[tuple[bytes]] = self._database.stream(
                f"SELECT key FROM bans WHERE key > x'' AND {_ACTIVE}",  # noqa: S608 - a constant
                (now,),
            )
            return networks & Networks.of(Network.of_key(key) for (key,) in rows)
        keys = [each.key for each in networks]
        found: list[Network] = []
        for at in range(0, len(keys), 500):
            some = keys[at : at + 500]
            marks = ", ".join("?" * len(some))
            rows = self._database.rows(
                f"SELECT key FROM bans WHERE key IN ({marks})"  # noqa: S608 - question marks
                " AND (until IS NULL OR until > ?)",
                (*some, now),
            )
            found += [Network.of_key(key) for (key,) in rows]
        return Networks.of(found)

    def _tell(
        self, feed: str, groups: Iterable[FeedGroup], networks: Networks, action: str, now: int
    ) -> None:
        """Note in the history what began or ceased to be dropped, by whose word."""
        if len(networks) > KEPT:
            if action != "ban":
                self._released.add(networks, action, feed, now)
            return
        for group in groups if networks else ():
            if group.state == HELD:
                self._note(group.networks & networks, action, group.told_of(feed), now)

    def _note(self, networks: Iterable[Network], action: str, reason: str, now: int) -> None:
        self._database.execute_many(
            "INSERT INTO history (time, action, network, reason) VALUES (?, ?, ?, ?)",
            ((now, action, str(network), reason) for network in networks),
        )


def enforced(groups: Iterable[FeedGroup]) -> Networks:
    """Return all networks of the groups that are to be dropped."""
    return Networks.union(group.networks for group in groups if group.state == HELD)


def _members(network: Network, groups: Iterable[FeedGroup]) -> str:
    """Return which members name it, or a wider one, in parentheses; empty if nobody does."""
    groups = [each for each in groups if each.member and each.state == HELD]
    names = {each.member for each in groups if covered(network, each.networks.outermost())}
    return f" ({first_few(sorted(names))})" if names else ""


def _row(feed: str, group: FeedGroup) -> tuple[object, ...]:
    networks = group.networks
    return (
        *(feed, networks.packed(4), networks.packed(6), group.member, group.reason),
        *(group.until, group.since, group.state, len(networks)),
    )
