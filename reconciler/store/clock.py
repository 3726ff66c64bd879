"""What is remembered of the clock, and how stored times follow when it was set."""

from typing import Final

from attrs import astuple, evolve

from reconciler.errors import StoreError
from reconciler.host.clock import STEP, Look, Mark, Move, believed, judge
from reconciler.host.clock import Clock as Time
from reconciler.log import Log
from reconciler.store.database import Database
from reconciler.store.refusals import is_damage

_log = Log("clock")

_DAY: Final = 86400
_CLIENT_KEPT: Final = _DAY // 2
"""Seconds for which an ssh client is remembered; it is stored with its end alone."""

_FOLLOW: Final = (
    "UPDATE bans SET since = since + ?1, until = until + ?1 WHERE since >= ?2",
    "UPDATE history SET time = time + ?1 WHERE time >= ?2",
    "UPDATE offences SET time = time + ?1 WHERE time >= ?2",
    "UPDATE withheld SET since = since + ?1, until = until + ?1 WHERE since >= ?2",
    "UPDATE withheld SET last = last + ?1 WHERE last >= ?2",
    "UPDATE closings SET since = since + ?1 WHERE since >= ?2",
    "UPDATE closed SET time = time + ?1 WHERE time >= ?2",
    "UPDATE pause SET since = since + ?1, until = until + ?1 WHERE since >= ?2",
    "UPDATE feed_bans SET since = since + ?1, until = until + ?1 WHERE since >= ?2",
    "UPDATE feeds SET taken = taken + ?1 WHERE taken >= ?2",
    "UPDATE feeds SET accepted = accepted + ?1 WHERE accepted >= ?2",
)
"""Every table that holds times of the wall clock, but for the clients; suspects go by another."""

# A ban is the one that was noted if it begins where it was moved to.
_SET_BACK: Final = (
    """DELETE FROM bans_set_back AS b WHERE NOT EXISTS (SELECT 1 FROM bans
        WHERE b.network = bans.network AND b.since + b.moved = bans.since)
        AND ?1 < 0 AND ?2 < ?3""",
    """UPDATE bans_set_back AS b SET moved = moved + ?1 WHERE EXISTS (SELECT 1 FROM bans
        WHERE b.network = bans.network AND until IS NOT NULL AND since > ?2 AND since < ?3)""",
    """INSERT OR IGNORE INTO bans_set_back SELECT network, since, until, ?1 FROM bans
        WHERE until IS NOT NULL AND since > ?2 AND since < ?3""",
    """UPDATE bans SET since = since + ?1, until = until + ?1
        WHERE until IS NOT NULL AND since > ?2 AND since < ?3""",
    "UPDATE pause SET since = since + ?1, until = until + ?1 WHERE since > ?2 AND since < ?3",
)
_RESTORE: Final = (
    """UPDATE bans SET (since, until) = (SELECT b.since, b.until FROM bans_set_back AS b
            WHERE b.network = bans.network)
        WHERE EXISTS (SELECT 1 FROM bans_set_back AS b WHERE b.network = bans.network
            AND b.since + b.moved = bans.since AND b.since > ?1 AND b.since <= ?2)""",
    "DELETE FROM bans_set_back WHERE since <= ?2 AND ?1 < ?2",
)


class Clock:
    """A part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _last(self, seen: Look) -> Mark | None:
        """Return what is remembered of the last look.

        It is written seldom: of an earlier boot the last event of the history may be later.
        """
        rows = self._database.rows(
            "SELECT boot, uptime, time, told, steady, doubted, frame FROM treason_clock"
        )
        mark = Mark(*rows[0]) if rows else None
        if mark is None or not mark.is_possible:
            return None
        if mark.boot == seen.boot:
            return mark
        return evolve(mark, time=max(mark.time, self._last_event(mark.time + _DAY)))

    def _last_event(self, before: float) -> float:
        """Return the time of the latest event of the history before then; 0 if none is to be read.

        What other programs store has the time of the wall clock, and so may be out of order.
        """
        try:
            [(time,)] = self._database.rows(
                "SELECT max(time) FROM history WHERE time < ?", (before,)
            )
        except StoreError as error:
            if not is_damage(error):
                raise
            return 0.0
        return float(time or 0)

    def believe(self, seen: Look) -> Time:
        """Return the time to go by.

        Where what is remembered is damaged, which `Integrity` tells, it is the wall clock's.
        """
        try:
            last = self._last(seen)
        except StoreError as error:
            if not is_damage(error):
                raise
            last = None
        return believed(last, seen)

    def remember(self, seen: Look) -> None:
        """Remember a look; where a clock that was set is believed now, let stored times follow.

        Raise `StoreError` if that cannot be written; the next pass does it.
        """
        new, move = judge(old := self._last(seen), seen)
        if not (move or new.aged(old)):
            return
        with self._database.transaction():
            new, move = judge(self._last(seen), seen)  # another may have been faster
            if move:
                _log.info("the clock was set by %d s; what was stored follows", move.by)
                self._follow(round(move.by), move, seen.wall)
            self._database.execute("DELETE FROM treason_clock")
            self._database.execute(
                "INSERT INTO treason_clock VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(new)
            )

    def _follow(self, by: int, move: Move, wall: float) -> None:
        """Let what was stored since the start keep its length, and its distance from now.

        Bans of a time that is still to come, by a clock that went back, follow as well; they return
        to where they were when the clock does.
        """
        run, start = self._database.execute, move.start
        for statement in _FOLLOW:
            run(statement, (by, start))
        run(
            "UPDATE clients SET until = until + ?1 WHERE until - ?2 >= ?3",
            (by, _CLIENT_KEPT, start),
        )
        if by < -STEP:
            for statement in _SET_BACK:
                run(statement, (by, wall, start))
            latest = int(wall) + _CLIENT_KEPT
            run("UPDATE clients SET until = ?1 WHERE until > ?1", (latest,))
        elif by > STEP:
            for statement in _RESTORE:
                run(statement, (wall - by, wall))
