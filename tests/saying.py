"""A feed as it behaves, rightly or not, with what may have been taken of it told beside it."""

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from feedfiles import nets, write

from reconciler.feeding import FeedGroup

_SQL: Final = {
    "other schema": "CREATE VIEW more AS SELECT 1",
    "other epoch": "UPDATE feed SET epoch = 'another'",
    "no networks": "UPDATE bans SET four = x'00'",
}

SPOILT: Final = [
    *("missing", "directory missing", "empty", "truncated", "garbage", "grown", "journal"),
    *("FIFO", "directory", "link", *_SQL),
]
"""What may be in place of a feed's own file, or be wrong with it."""

HOSTILE: Final = ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.0.0.0/8", "127.0.0.1", "224.0.0.0/4"]
"""What a feed may name, and nobody ever takes: too wide, or private."""

_FEW: Final = 10
_SHARE: Final = 0.5
"""A snapshot may leave out a half, and of less than ten networks all (`max_removals`)."""


class Saying:
    """A feed's own file.

    ``taken`` are the sets of networks of which any may be what was taken last: nobody tells when a
    pass looks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken = {frozenset[str]()}
        self._said: frozenset[str] | None = frozenset()
        self._hidden: frozenset[str] | None = None
        self._last = frozenset[str]()
        self._ended: frozenset[str] = frozenset()
        self.say(())

    @property
    def settings(self) -> str:
        """The feed's table in the configuration."""
        return f'[feed.a]\ntype = "list"\npath = "/nowhere"\nstore = "{self.path}"\n'

    @property
    def is_doubtful(self) -> bool:
        """Whether a pass may not take what the file says, and so fail."""
        return not all(self._is_allowed(known) for known in self.taken)

    @property
    def is_spoilt(self) -> bool:
        """Whether there is something else in its place."""
        return self._said is None

    @property
    def must(self) -> set[str]:
        """Who is surely held."""
        return {*frozenset.intersection(*self.taken)}

    @property
    def may(self) -> set[str]:
        """Who may be held."""
        return {*frozenset().union(*self.taken)}

    def say(self, names: Iterable[str], ended: Iterable[str] = ()) -> set[str]:
        """Name these, and no others any more, of whom some were ``ended`` by a word of their own.

        Return who may be held no more because of that.
        """
        self._said = self._last = frozenset(names)
        self._hidden = None
        self._ended = frozenset(ended)
        fresh = self._made(self._directory() / "aside", self._said)
        self._clear(keep=True)
        fresh.rename(self.path)
        lifted = [known - self._said for known in self.taken if self._is_allowed(known)]
        self.taken |= self.looked()
        return {*frozenset().union(*lifted)}

    def again(self) -> None:
        """Name all who may be held, so that nobody can doubt it."""
        self.say(self.may)

    def looked(self) -> set[frozenset[str]]:
        """Return what may be taken once a pass has looked."""
        said = self._said or frozenset()
        return {said if self._is_allowed(known) else known for known in self.taken}

    def is_taken(self, *, surely: bool = True) -> None:
        """Take notice that a pass has taken what it says, or may have, whatever it was."""
        said = self._said if self._hidden is None else self._hidden
        assert said is not None, "what is spoilt was taken"
        self.taken = {said} if surely else {*self.taken, said}

    def is_restored(self, taken: set[frozenset[str]]) -> None:
        """Take notice that what was taken is that of before, until a pass looks."""
        self.taken = taken
        self.taken |= self.looked()

    def is_forgotten(self) -> None:
        """Take notice that nobody knows what was taken; so no epoch is another one."""
        self.taken = {frozenset()}
        self.say(self._said or ())

    def spoil(self, how: str) -> None:
        """Let there be something else in its place, or beside it, at one moment."""
        self._hidden = self._said if how == "journal" else None  # which may have been taken before
        self._said = None
        aside = self.path.with_name("aside")
        if how == "journal":
            self._directory().joinpath("feed.db-journal").write_bytes(b"rows" * 1000)
        elif how == "directory missing":
            shutil.rmtree(self.path.parent, ignore_errors=True)
        elif how in {"missing", "directory"}:
            self._clear()
            if how == "directory":
                self.path.mkdir()
        else:
            self._clear(keep=True)
            self._put(how, aside)
            aside.rename(self.path)

    def _put(self, how: str, aside: Path) -> None:
        if how == "FIFO":
            os.mkfifo(aside)
        elif how == "link":
            other = self.path.with_name("other")
            self._made(other, self._last)
            aside.symlink_to(other)
        elif how in _SQL:
            self._made(aside, self._last, then=_SQL[how])
        else:
            content = self._made(aside, self._last).read_bytes()
            half = content[: len(content) // 2]
            spoilt = {
                "truncated": half,
                "garbage": b"<html>" * 999,
                "grown": b"\0" * 4096 + content,
            }
            aside.write_bytes(spoilt.get(how, b""))

    def _is_allowed(self, known: Collection[str]) -> bool:
        if self._said is None:
            return False
        missing = {*known} - self._said - self._ended
        return len(known) < _FEW or len(missing) <= _SHARE * len(known)

    def _made(self, path: Path, names: Iterable[str], then: str = "") -> Path:
        group = FeedGroup(nets(*names, *HOSTILE), reason="'; DROP TABLE bans; --")
        return write(path, [group], lifted=[FeedGroup(nets(*self._ended))], then=then)

    def _directory(self) -> Path:
        self.path.parent.mkdir(exist_ok=True)
        return self.path.parent

    def _clear(self, *, keep: bool = False) -> None:
        """Make room for a file, with nothing beside it; it may be kept until then."""
        self._directory().joinpath("feed.db-journal").unlink(missing_ok=True)
        if self.path.is_dir() and not self.path.is_symlink():
            self.path.rmdir()
        elif not keep:
            self.path.unlink(missing_ok=True)
