"""The feed: all that a list says, whenever it says something else."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from typing import Any, Final

from attrs import evolve

from feeds.list import ListSettings, content, file
from feeds.list.address import Address
from feeds.list.known import Answer, Known
from reconciler import FeedBan, FeedChange, FeedSnapshot, FeedUnreadable, InvalidList, blocklist
from reconciler.blocklist import Blocklist

_ENTRIES: Final = 4_000_000
"""Networks for which the memory of the feed's service is enough; max_entries is asked later."""

_TRIES: Final = 5
_PAUSE: Final = 1.0
"""How often a file is read that somebody is writing, and the seconds between."""

_PAGE: Final = "it may be a web page: open the address in a browser"


class List:
    """Reads a list as its settings say; ``resolve`` is who resolves names, ``sleep`` who waits."""

    def __init__(
        self,
        settings: ListSettings,
        *,
        resolve: Callable[..., list[tuple[Any, ...]]] = socket.getaddrinfo,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._resolve = resolve
        self._sleep = sleep
        self._cursor: str | None = None
        self._notes: tuple[str, ...] = ()

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield a snapshot, or nothing where the list says what it said. Raise `FeedUnreadable`."""
        self._notes = ()
        try:
            known, held = self._read_still(Known.read(cursor))
        except (FeedUnreadable, InvalidList) as error:
            name = self._settings.path or Address.parse(self._settings.url or "")
            raise FeedUnreadable(f"{name}: {error.what}", error.hint) from None
        if held is not None:
            yield FeedSnapshot.BEGIN
            yield FeedBan(held.networks)
            for reason, networks in held.reasons.items():
                yield FeedBan(networks, reason=reason)
            yield FeedSnapshot.END
        self._cursor = known.write()

    def cursor(self) -> str | None:
        """Return what is known of the list since it was read."""
        return self._cursor

    def notes(self) -> Iterable[str]:
        """Return the lines that mean nothing, each with the reason."""
        return self._notes

    def _read_still(self, known: Known) -> tuple[Known, Blocklist | None]:
        """Read the list, again where somebody was writing it meanwhile."""
        for _ in range(_TRIES):
            with suppress(file.Written):
                return self._read(known)
            self._sleep(_PAUSE)
        raise FeedUnreadable(
            "changes whenever it is read", "let its writer write another file, and rename that"
        )

    def _read(self, known: Known) -> tuple[Known, Blocklist | None]:
        """Return what is known now, and what the list says; None where that has not changed."""
        with self._opened(known) as answer:
            if answer is None:
                return known, None
            digest = sha256()
            pieces = content.unpacked(answer.pieces, self._settings.max_mib << 20)
            held = blocklist.read(_passed(pieces, digest.update), _ENTRIES)
        self._notes = _notes(held)
        now = evolve(answer.known, digest=digest.hexdigest())
        if now.digest == known.digest:
            return now, None
        if held.doubt:
            raise FeedUnreadable(held.doubt, _PAGE if "'<" in held.doubt else "")
        return now, held

    def _opened(self, known: Known) -> AbstractContextManager[Answer | None]:
        if self._settings.path:
            return file.opened(self._settings.path)
        try:
            from feeds.list import fetch  # noqa: PLC0415 - a file needs no library
        except ImportError as error:
            raise FeedUnreadable(
                f"https needs a library: {error}",
                "pip install 'treason[feeds]', or python3-httpcore",
            ) from None
        return fetch.opened(self._settings, known, self._resolve)


def _passed(pieces: Iterable[bytes], see: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        see(piece)
        yield piece


def _notes(held: Blocklist) -> tuple[str, ...]:
    left = held.refused - len(held.first)
    return (*map(str, held.first), *([f"{left:,} more lines mean nothing"] if left else []))
