"""Many members that listen, in one process: ``python -m bench.fleet.crowd``.

Each is a connection and a role of its own. Once notified, it does what the feed does: it waits for
a time by chance, and asks where the clock stands and what is new. Standard input names them in a
line of JSON; a line on standard output tells when half of them, and the last, knew of a tick.
"""

import heapq
import json
import random
import resource
import select
import sys
import time
from statistics import median
from typing import Final

import psycopg
from attrs import define
from psycopg import pq
from psycopg.pq import abc

_EACH: Final = 0.0005
"""Seconds that each waits at most, for each member there is (feeds/postgresql)."""

_POSITION: Final = b"SELECT seq, mark, floor, members, known FROM fleet.position($1, $2)"
_NEWS: Final = (
    b"SELECT member, network, seq, removed, seconds, reason FROM fleet.news WHERE seq > $1"
)
_ENOUGH: Final = 20_000
"""Open files that a process may have."""


@define(eq=False)
class Listener:
    """One member: up to which tick it has read, and since when."""

    connection: abc.PGconn
    read: int = 0
    since: float = 0.0
    asked: bool = False
    due: bool = False

    def ask(self) -> None:
        """Send both questions, of which the second one is about what came since."""
        self.due, self.asked = False, True
        seq = b"%d" % self.read
        self.connection.send_query_prepared(b"position", [seq, b""])
        self.connection.send_query_prepared(b"news", [seq])
        self.connection.pipeline_sync()
        self.connection.flush()

    def answered(self) -> bool:
        """Take what has come of the answers; return whether all of them have."""
        while not self.connection.is_busy():
            result = self.connection.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                self.asked = False
                return True
            if result.status == pq.ExecStatus.TUPLES_OK and result.fname(0) == b"member":
                seqs = (int(result.get_value(row, 2) or b"0") for row in range(result.ntuples))
                self.read, self.since = max(self.read, *seqs, 0), time.perf_counter()
        return False


class Crowd:
    """All of them, and whom of them a tick has not reached yet."""

    def __init__(self, dsn: str, names: list[str]) -> None:
        self._epoll = select.epoll()
        self._by: dict[int, Listener] = {}
        self._due: list[tuple[float, int]] = []
        self._chance = random.Random()  # noqa: S311 - no secrets
        self._tick = 0
        for name in names:
            listener = Listener(_connected(f"{dsn} user={name}"))
            self._by[listener.connection.socket] = listener
            self._epoll.register(listener.connection.socket, select.EPOLLIN)
        self._wait = _EACH * len(names)

    def go_on(self, members: int) -> None:
        """Listen for ever; ``members`` is how many there are besides those in this process."""
        self._wait = min(_EACH * members, 0.5)
        while True:
            left = self._due[0][0] - time.perf_counter() if self._due else 60.0
            for number, _ in self._epoll.poll(max(left, 0.0)):
                self._heard(number, self._by[number])
            now = time.perf_counter()
            while self._due and self._due[0][0] <= now:
                self._by[heapq.heappop(self._due)[1]].ask()

    def _heard(self, number: int, listener: Listener) -> None:
        connection = listener.connection
        connection.consume_input()
        if listener.asked and listener.answered() and listener.read >= self._tick:
            self._tell()
        told = 0
        while note := connection.notifies():
            told = max(told, int(note.extra))
        self._tick = max(self._tick, told)
        if told > listener.read and not (listener.asked or listener.due):
            listener.due = True
            due = time.perf_counter() + self._chance.uniform(0, self._wait)
            heapq.heappush(self._due, (due, number))

    def _tell(self) -> None:
        """Print when half of them and the last of them knew, once all know."""
        all_of_them = self._by.values()
        if all(each.read >= self._tick for each in all_of_them):
            times = [each.since for each in all_of_them]
            told = {"seq": self._tick, "half": median(times), "last": max(times)}
            print(json.dumps(told), flush=True)


def _connected(dsn: str) -> abc.PGconn:
    """Return a member's connection, prepared, listening, and in pipeline mode."""
    connection = pq.PGconn.connect(dsn.encode())
    if connection.status != pq.ConnStatus.OK:
        raise psycopg.OperationalError(connection.error_message.decode(errors="replace"))
    for query in (b"LISTEN fleet", b"SELECT fleet.seen(0)"):
        connection.exec_(query)
    connection.prepare(b"position", _POSITION)
    connection.prepare(b"news", _NEWS)
    connection.nonblocking = 1
    connection.enter_pipeline_mode()
    return connection


def main() -> None:
    """Connect all, tell that they are ready, and go on until the end comes."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_ENOUGH, _ENOUGH))
    given = json.loads(sys.stdin.readline())
    crowd = Crowd(given["dsn"], given["names"])
    print("ready", flush=True)
    crowd.go_on(given["members"])


if __name__ == "__main__":
    main()
