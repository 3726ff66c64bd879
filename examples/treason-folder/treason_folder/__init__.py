"""What the members of a group ban: a folder that they share, with a file for each.

A member's file is ``NAME.bans``; a line is ``NETWORK END REASON``. The end is in seconds since the
epoch, or ``-`` where there is none; the reason may be missing. A file ``EPOCH`` holds a text that
tells the folder from every other one, and from the empty directory where nothing is mounted.
"""

import re
import socket
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.validators import matches_re, min_len

from reconciler import (
    FeedBan,
    FeedChange,
    FeedLift,
    FeedPlugin,
    FeedSnapshot,
    FeedUnreadable,
    InvalidNetwork,
    Needs,
    Network,
    TreasonError,
    files,
    hookimpl,
    inotify,
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_END: Final = re.compile(r"-|[0-9]{1,11}")
_MOST: Final = 1 << 24
"""Bytes of a file, of which no more are read."""

Said = dict[tuple[int | None, str], set[Network]]
"""What one member says: networks by their end and reason."""


@frozen
class Settings:
    """The keys of ``[feed.NAME]`` with ``type = "folder"``: the folder, and who we are in it."""

    path: str = field(validator=min_len(1))
    name: str = field(factory=socket.gethostname, validator=matches_re(_NAME))


class Folder:
    """Brings what every other member says, all of it whenever any of it has changed.

    The cursor is a digest of all that was read.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = Path(settings.path)
        self._own = self._path / f"{settings.name}.bans"
        self._epoch = ""
        self._cursor: str | None = None
        self._notes: list[str] = []
        self._watch: inotify.Watch | None = None

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield a snapshot, unless all is as it was."""
        if self._watch is not None:
            self._taken(self._watch)  # first, so that what comes while we read wakes again
        self._epoch, self._notes = self._read_epoch(), []
        content = {path.stem: self._read(path) for path in self._members()}
        digest = sha256(repr((self._epoch, content)).encode()).hexdigest()
        if digest != cursor:
            yield FeedSnapshot.BEGIN
            for member, data in content.items():
                yield from self._bans(member, data)
            yield FeedSnapshot.END
        self._cursor = digest

    def cursor(self) -> str | None:
        """Return the digest of what was read."""
        return self._cursor

    def epoch(self) -> str:
        """Return what tells this folder from others."""
        return self._epoch

    def notes(self) -> list[str]:
        """Return whose lines mean nothing."""
        return self._notes

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Replace our own file; never in a directory that is not the folder."""
        self._read_epoch()
        if self._own.is_symlink():  # another member may have made it
            raise FeedUnreadable(f"{self._own} is a link", "remove it")
        said, _ = _parsed(self._read(self._own) if self._own.exists() else b"")
        ours = {network: how for how, networks in said.items() for network in networks}
        for change in changes:
            if isinstance(change, FeedBan):
                end = None if change.seconds is None else int(time.time()) + change.seconds
                ours |= dict.fromkeys(change.networks, (end, _line(change.reason)))
            else:
                ours = {each: how for each, how in ours.items() if each not in change.networks}
        lines = [
            f"{network} {'-' if end is None else end} {reason}".rstrip() + "\n"
            for network, (end, reason) in sorted(ours.items())
        ]
        try:
            files.replace(self._own, "".join(lines), mode=0o644)
        except OSError as error:
            raise FeedUnreadable(
                f"cannot write {self._own}: {error.strerror}",
                files.remedy(error, "let the feed's user write to the folder"),
            ) from None

    def fileno(self) -> int:
        """Return what is readable once anything in the folder has changed."""
        if self._watch is None:
            try:
                self._watch = inotify.Watch(str(self._path))
            except TreasonError as error:
                raise FeedUnreadable(error.what, error.hint) from None
        return self._watch.fileno()

    def close(self) -> None:
        """Wait no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _taken(self, watch: inotify.Watch) -> None:
        try:
            watch.take()
        except TreasonError as error:
            raise FeedUnreadable(error.what, error.hint) from None

    def _members(self) -> list[Path]:
        """Find the files of the others; what else is there, such as unfinished copies, is not."""
        try:
            found = sorted(self._path.iterdir())
        except OSError as error:
            raise _unreadable(self._path, error) from None
        others = [path for path in found if path.suffix == ".bans" and path != self._own]
        return [path for path in others if _NAME.fullmatch(path.stem)]

    def _read_epoch(self) -> str:
        epoch = _line(self._read(self._path / "EPOCH").decode(errors="replace"))[:200]
        if not epoch:
            raise FeedUnreadable(f"{self._path}/EPOCH is empty", "write any text of your own to it")
        return epoch

    def _read(self, path: Path) -> bytes:
        try:
            return files.content(path, _MOST)
        except OSError as error:
            raise _unreadable(path, error) from None

    def _bans(self, member: str, data: bytes) -> Iterator[FeedBan]:
        """Yield what a member bans, without what is over."""
        now = int(time.time())
        said, odd = _parsed(data)
        for (end, reason), networks in said.items():
            if end is None or end > now:
                yield FeedBan(networks, None if end is None else end - now, member, reason)
        if odd:
            self._notes.append(f"{member}: lines that mean nothing: {len(odd)}, first {odd[0]}")


def _parsed(data: bytes) -> tuple[Said, list[int]]:
    """Return what a file says, and the numbers of the lines that mean nothing."""
    said: Said = {}
    odd: list[int] = []
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        text, _, rest = line.strip().partition(" ")
        end, _, reason = rest.strip().partition(" ")
        try:
            network = Network.parse(text)
        except InvalidNetwork:
            odd.append(number)
            continue
        if not _END.fullmatch(end or "-"):
            odd.append(number)
            continue
        until = int(end) if end not in {"", "-"} else None
        said.setdefault((until, _line(reason)), set()).add(network)
    return said, odd


def _line(text: str) -> str:
    """Return a text for people in one line."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def _unreadable(path: Path, error: OSError) -> FeedUnreadable:
    return FeedUnreadable(
        f"cannot read {path}: {error.strerror}",
        "is the folder there, or mounted? It must have a file EPOCH",
    )


@hookimpl
def treason_feeds() -> list[FeedPlugin]:
    """Return the feed ``folder``."""
    return [
        FeedPlugin(
            "folder", Folder, Settings,
            needs=lambda settings: Needs(reads=(settings.path,)), max_new=1_000,
        )
    ]  # fmt: skip
