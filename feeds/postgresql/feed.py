"""The feed: what the other members of a fleet ban, and what this one tells them."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from typing import Final

from feeds.postgresql import PostgresqlSettings, publishing, reading
from feeds.postgresql.ends import Groups
from feeds.postgresql.failures import Refused
from feeds.postgresql.link import Link
from feeds.postgresql.publishing import Told
from feeds.postgresql.reading import REREAD, Cursor, News, Position
from feeds.postgresql.schema import VERSION
from feeds.postgresql.session import Session
from reconciler import FeedBan, FeedChange, FeedLift, FeedSnapshot, FeedUnreadable

_SHARED: Final = 600.0
"""Seconds after which is asked again whether another one reads as this member."""

_SEEN: Final = 60.0
"""Seconds after which the fleet is told again how far this member has read."""


class Postgresql:
    """Reads the fleet's database, and writes what this member bans.

    ``clock`` gives the time (seconds since the epoch), ``sleep`` waits, ``chance`` gives a number
    from 0 to 1.
    """

    def __init__(
        self,
        settings: PostgresqlSettings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._link = Link(settings, sleep, chance)
        self._cursor: Cursor | None = None
        self._epoch = ""
        self._seen = self._asked = float("-inf")
        self._shared = False
        self._published = Told()
        self._groups = Groups()

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield what the others banned and removed since, or all that they ban."""
        before = Cursor.read(cursor)
        position, news, since = self._link.reached(lambda session: self._read(session, before))
        now = self._clock()
        if since is None:
            yield FeedSnapshot.BEGIN
        yield from news.changes(now)
        if since is None:
            yield FeedSnapshot.END
        groups = self._counted(news, since, int(now))
        self._cursor = Cursor(position.seq, position.mark, position.epoch, groups)
        self._epoch = position.epoch
        self._tell_seen(position.seq)

    def cursor(self) -> str | None:
        """Return how far was read."""
        return str(self._cursor) if self._cursor else None

    def epoch(self) -> str:
        """Return what tells this fleet's database from another one, and from a restored one."""
        return self._epoch

    def notes(self) -> list[str]:
        """Return why it may be slow, or incomplete for the others."""
        ear, told = self._link.ear, self._published
        notes = []
        if ear.deaf:
            notes.append(f"LISTEN does not work ({ear.deaf}): asked every {self._link.pause:g} s")
        if ear.empty:
            notes.append(f"notifications that told of nothing: {ear.empty:,}")
        if self._shared:
            notes.append(
                "another machine or feed reads as this member: neither hears the other's bans, and"
                " each can end them; it needs a name of its own: treason fleet add-member"
            )
        if told.waiting:
            notes.append(f"this member's quota is full: networks that wait: {told.waiting:,}")
        if told.wide:
            notes.append(f"networks too wide for the fleet, and not published: {len(told.wide):,}")
        return notes

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Publish to the others. Raise `FeedUnreadable`, also where the quota is full."""
        since, wide = self._published.since or self._clock(), self._published.wide
        self._published = self._link.reached(
            lambda session: publishing.publish(session, changes, wide)
        )
        if waiting := self._published.waiting:
            self._published = Told(waiting, self._published.wide, since)
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
            raise FeedUnreadable(
                f"this member's quota is full since {at}: networks that wait: {waiting:,}",
                "each hour more are taken; the fleet's administrator may raise it:"
                " treason fleet add-member --max-new",
            )

    def fileno(self) -> int:
        """Return what is readable once others may have banned somebody, or it should be asked."""
        return self._link.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _read(
        self, session: Session, before: Cursor | None
    ) -> tuple[Position, News, Cursor | None]:
        """Return what there is, and the cursor behind which that is; None where it is all."""
        link = self._link
        link.asking(session, before.seq if before else 0)
        if before:
            position, news = reading.news(session, before, ceil(self._clock()), link.members)
            _check(position)
            is_whole = (
                position.epoch != before.epoch
                or before.seq < position.floor
                or before.groups > REREAD
            )
            if is_whole:
                before = None
            elif not position.known:
                raise FeedUnreadable(
                    "the fleet's database is older than what was read from it: a restored backup?",
                    "its administrator runs: treason fleet init --new-epoch; then here: treason"
                    " feed accept NAME",
                )
        if before is None:
            position, news = reading.everything(session, ceil(self._clock()), link.members)
            _check(position)
            if news.groups > REREAD:
                raise FeedUnreadable(
                    f"the fleet has {news.groups:,} different members, reasons and ends: more than"
                    f" {REREAD:,}",
                    "a fleet of this kind has some 2,000 members at most",
                )
        link.members = position.members
        link.ear.judge(position.seq, news.seq if before else 0, time.monotonic())
        return position, news, before

    def _counted(self, news: News, since: Cursor | None, now: int) -> int:
        """Return how many groups a feed's file may hold now."""
        if since is None:
            return self._groups.begin(news.bans)
        groups = since.groups + self._groups.add(news.bans)
        if groups > REREAD and self._groups.are_all:
            return self._groups.left(now)
        return groups

    def _tell_seen(self, seq: int) -> None:
        """Note how far was read, once a minute; a server that only follows another refuses it.

        Ask whether anybody else does so in this member's name, less often.
        """
        now = time.monotonic()
        if now - self._seen >= _SEEN:
            self._seen = now
            with suppress(FeedUnreadable, Refused):
                self._link.reached(lambda session: reading.seen(session, seq))
        if now - self._asked >= (_SEEN if self._shared else _SHARED):
            self._asked = now
            with suppress(FeedUnreadable, Refused):
                self._shared = self._link.reached(reading.is_shared)


def _check(position: Position) -> None:
    """Raise `FeedUnreadable` where the schema is not understood."""
    if position.version > VERSION:
        raise FeedUnreadable(
            f"the fleet's schema has version {position.version}; known here is {VERSION}",
            "install a newer treason on this machine",
        )
