"""systemd's journal, as journalctl(1) reads it: what journald keeps of the kernel's messages.

Why journalctl and no library, and what becomes of a damaged journal or of a place that is lost:
docs/explanation/reading-the-journal.md.
"""

import re
import select
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from reconciler import Record, SourceUnreadable
from sources import shapes
from sources.export import Entry
from sources.journal import Settings
from sources.journal.follow import Follower
from sources.journal.journalctl import Journalctl, Run, told

# journald stamps this on what a process wrote to /dev/kmsg as well: such a record is read, and
# found untrusted by its facility and identifier, so that it is counted as refused.
_KERNEL: Final = "_TRANSPORT=kernel"
_VERIFY: Final = "journalctl --verify tells what is damaged"
_CURSOR: Final = re.compile(r"s=(?P<s>[0-9a-f]{32});i=(?P<i>[0-9a-f]+);.*\bt=(?P<t>[0-9a-f]+)\b.*")
_TIME: Final = re.compile(r"\bt=([0-9a-f]{1,13})\b")


class Journal:
    """Reads behind the cursor, which is systemd's own, of the last record that was looked at."""

    def __init__(
        self, settings: Settings | None = None, journalctl: Journalctl | None = None
    ) -> None:
        directory = settings.directory if settings else ""
        self._journalctl = journalctl or Journalctl(directory)
        self._cursor: str | None = None
        self._notes: list[str] = []
        self._epoll: select.epoll | None = None
        self._follower: Follower | None = None

    def fileno(self) -> int:
        """Return what is readable once something comes, whichever program tells it."""
        if self._epoll is None:
            self._epoll = select.epoll()
        return self._epoll.fileno()

    def close(self) -> None:
        """End the program that tells what comes, if one runs."""
        self._end()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield the records behind the cursor that hold a needle."""
        self._notes = []
        # The text before a colon stands in a field of its own, so that a needle may be cut there.
        parts = [needle.rpartition(": ")[2] for needle in needles]
        if self._follower and cursor == self._cursor:
            coming = self._came(self._follower)
        else:
            coming = self._anew(cursor, parts if all(parts) else ())
        for record in coming:
            if not needles or any(needle in record.text for needle in needles):
                yield record

    def _anew(self, cursor: str | None, sought: Sequence[str]) -> Iterator[Record]:
        """Yield the records behind the cursor, then wait for those that come, if that is asked for.

        What is told from the place on that was read last begins with what stands there.
        """
        self._end()
        yield from self._all(cursor, sought)
        if self._epoll is not None:
            known = self._cursor and _CURSOR.fullmatch(self._cursor)
            start = f"--cursor={self._cursor}" if known else "--no-tail"
            self._follower = Follower(self._journalctl, start, _KERNEL)
            self._epoll.register(self._follower, select.EPOLLIN)

    def _came(self, follower: Follower) -> Iterator[Record]:
        """Yield what came since the last call; once the program has ended, start none."""
        try:
            for entry in follower.entries():
                yield from self._record(entry, self._cursor)
        except SourceUnreadable:
            self._end()
            raise

    def _end(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _all(self, cursor: str | None, sought: Sequence[str]) -> Iterator[Record]:
        """Yield the records behind the cursor whose message holds a part of a needle."""
        self._cursor = cursor
        start, fallback = self._start(cursor)
        run = yield from self._records(sought, start, cursor)
        if run.place is None and (tail := self._unread(run, cursor)):
            stopped = f"journalctl gave up {_when(self._cursor)}, and went on {_when(tail)}"
            rest = yield from self._records(sought, f"--cursor={tail}", None)
            if rest.place is None and self._cursor == cursor:
                raise self._journalctl.unreadable((stopped, *run.damage), _VERIFY)
            run = Run(rest.place or tail, (stopped, *run.damage, *rest.damage))
        elif self._cursor == cursor:
            self._cursor = fallback or cursor
        self._cursor = run.place or self._cursor
        self._notes += told(run.damage)

    def cursor(self) -> str | None:
        """Return the place of the last record that was looked at."""
        return self._cursor

    def notes(self) -> Sequence[str]:
        """Return lines about a lost cursor and about damage."""
        return self._notes

    def silence(self) -> str | None:
        """Return why the journal has no record of the kernel; None if it has one."""
        if self._journalctl.look(_KERNEL, "SYSLOG_FACILITY=0").place:
            return None
        return (
            "the journal holds no record of the kernel: journald does not read /dev/kmsg here (in"
            " a container, or by ReadKMsg=no in journald.conf); use the source kmsg"
        )

    def _start(self, cursor: str | None) -> tuple[str, str | None]:
        """Return the argument that says where to begin, having seen that the journal can be read.

        Where the cursor's entry is gone, also give the last entry of any kind. It is the cursor
        when no record of the kernel follows, or what is gone would be missed at each pass.
        """
        if cursor is None:
            self._journalctl.look(_KERNEL)
            return "--no-tail", None  # all there is
        start = f"--cursor={cursor}"
        known = cursor.isascii() and cursor.isprintable()
        if known:
            found = self._journalctl.look(start)
            if found.place and _entry(found.place) == _entry(cursor):
                return start, None
            known = not any("cursor" in line for line in found.damage)
        if known:
            self._notes.append(
                "the last record that was read is not in the journal any more: reading went on by"
                " its time; records that were deleted before they were read are lost"
            )
        else:
            start = _since(cursor)
            again = "from the beginning" if start == "--no-tail" else "from its time on"
            self._notes.append(f"{cursor!r} is not a journal cursor: read again {again}")
        return start, self._journalctl.look().place

    def _records(
        self, sought: Sequence[str], start: str, known: str | None
    ) -> Generator[Record, None, Run]:
        """Yield the records from a place on, but not the one that is known.

        Not by --after-cursor: systemd 252 then passes over the first record, whichever it is.
        """
        coming = self._journalctl.entries(sought, start, _KERNEL)
        while True:
            try:
                entry = next(coming)
            except StopIteration as stop:
                run: Run = stop.value
                return run
            yield from self._record(entry, known)

    def _record(self, entry: Entry, known: str | None) -> Iterator[Record]:
        """Yield the record that an entry holds, if it has one and is not the one that is known."""
        cursor = str(entry.get("__CURSOR"))
        if _entry(cursor) == _entry(known or "") or "MESSAGE" not in entry:
            return
        self._cursor = cursor
        if record := shapes.journal(entry, trusted=True):
            yield record

    def _unread(self, run: Run, cursor: str | None) -> str | None:
        """Return the last record of the kernel, if journalctl gave up before it."""
        tail = self._journalctl.look(_KERNEL).place
        if tail is None and run.damage and self._cursor == cursor:
            raise self._journalctl.unreadable(run.damage, _VERIFY)
        return tail if tail and _later(tail, self._cursor) else None


def _entry(cursor: str) -> str:
    """Return what is the same wherever journald copies the entry: boot, times and hash."""
    return cursor.partition(";b=")[2]


def _later(one: str, other: str | None) -> bool:
    """Whether an entry comes after another: by number in one sequence, else by time."""
    a, b = _CURSOR.fullmatch(one), _CURSOR.fullmatch(other or "")
    if not (a and b):
        return True
    key = "i" if a["s"] == b["s"] else "t"
    return int(a[key], 16) > int(b[key], 16)


def _when(cursor: str | None) -> str:
    found = _TIME.search(cursor or "")
    if not found:
        return "at the beginning"
    return f"at {datetime.fromtimestamp(int(found[1], 16) / 1e6, UTC):%Y-%m-%dT%H:%M:%S}Z"


def _since(cursor: str) -> str:
    """Return the argument that begins at the time that stands in a cursor, or with all there is."""
    found = _TIME.search(cursor)
    if not found:
        return "--no-tail"
    seconds, micros = divmod(int(found[1], 16), 1_000_000)
    return f"--since=@{seconds}.{micros:06}"
