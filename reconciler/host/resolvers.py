"""The DNS resolvers of this machine, those behind a stub on loopback as well.

Their files are read: resolv.conf(5), which systemd-resolved, NetworkManager, resolvconf and Docker
write in places of their own, and the configurations of dnsmasq(8) and unbound.conf(5).
"""

import errno
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from reconciler import files
from reconciler.errors import InvalidNetwork
from reconciler.network import Network

_MOST: Final = 1 << 20
"""Bytes of resolv.conf; a resolver is asked for three of its lines."""

_MANY: Final = 1 << 26
"""Bytes of a program's configuration: there are lists of a million names to be blocked."""

_FILES: Final = 10_000
_WILD: Final = re.compile(r"[*?\[]")


@frozen
class _Format:
    """How a file tells addresses, and names further files: of this format, or resolv.conf's.

    They are patterns, compiled only where there is something to read.
    """

    addresses: str
    files: str = ""
    others: str = ""
    most: int = _MANY


_LINE: Final = r"(?m:^)[ \t]*"
_RESOLV: Final = _Format(rf"{_LINE}(?:nameserver[ \t]+|# ExtServers:)(.*)", most=_MOST)
_LINK: Final = _Format(rf"{_LINE}(?:SERVERS|DNS)=(.*)", most=_MOST)
_DNSMASQ: Final = _Format(
    rf"{_LINE}(?:(?:server|local)[ \t]*=[ \t]*(?:/.*/)?|rev-server[ \t]*=[^,\n]*,)(.*)",
    files=rf"{_LINE}(?:conf-file|conf-dir|servers-file)[ \t]*=[ \t]*([^,\s]+)",
    others=rf"{_LINE}resolv-file[ \t]*=[ \t]*(\S+)",
)
_UNBOUND: Final = _Format(  # whose clauses may share a line; what is behind a # names nothing
    r"(?:forward|stub)-addr:\s*[\"']?([^\"'\s]+)|#.*",
    files=r"include(?:-toplevel)?:\s*[\"']?([^\"'\s]+)|#.*",
)
_PLACES: Final = (
    ("etc/resolv.conf", _RESOLV),
    ("run/systemd/resolve/resolv.conf", _RESOLV),
    ("run/systemd/resolve/netif/*", _LINK),
    ("run/systemd/netif/state", _LINK),
    ("run/systemd/netif/links/*", _LINK),
    ("run/NetworkManager/resolv.conf", _RESOLV),
    ("run/NetworkManager/no-stub-resolv.conf", _RESOLV),
    ("run/resolvconf/resolv.conf", _RESOLV),
    ("run/resolvconf/interface/*", _RESOLV),
    ("run/dnsmasq/*", _RESOLV),
    ("etc/dnsmasq.conf", _DNSMASQ),
    ("etc/dnsmasq.d/*", _DNSMASQ),
    ("etc/NetworkManager/dnsmasq.d/*", _DNSMASQ),
    ("etc/unbound/unbound.conf", _UNBOUND),
)
"""From the root of the file system: where, and in which format."""


def resolvers(root: Path) -> list[Network]:
    """Return them, as hosts. Raise OSError, with a ``strerror`` for people, if they cannot be told.

    A file that is not there tells nothing: its program is not installed, or has not written it yet.
    """
    told = (_addresses(form, text) for _, form, text in _Look(root).texts())
    return [*dict.fromkeys(network for found in told for network in found)]


def places(root: Path) -> list[Path]:
    """Return the files that are looked for, and the directories in which. Raise OSError likewise.

    Not all are there. Whoever may not see that one is missing could not tell what it says.
    """
    look = _Look(root)
    found = dict.fromkeys(path for path, *_ in look.texts())
    return [*found, *look.listed]


@define(eq=False)
class _Look:
    """A look at the files below a root; ``listed`` are the directories that it took."""

    root: Path
    listed: dict[Path, None] = field(factory=dict, init=False)

    def texts(self) -> Iterator[tuple[Path, _Format, str]]:
        """Yield each file with its format and its text, also those that another one names."""
        waiting = [(path, form) for place, form in _PLACES for path in self._matching(place)]
        known: set[tuple[Path, _Format]] = set()
        while waiting:
            path, form = waiting.pop(0)
            if (path, form) in known:
                continue
            known.add((path, form))
            if len(known) > _FILES:
                raise OSError(
                    errno.EMFILE, f"more than {_FILES} files tell of resolvers", str(path)
                )
            text = _text(path, form.most)
            yield path, form, text
            for pattern, of in ((form.files, form), (form.others, _RESOLV)):
                names = _told(pattern, text)
                waiting += [(each, of) for name in names for each in self._named(path, name)]

    def _named(self, path: Path, name: str) -> Iterator[Path]:
        """Yield the files that a name in a file stands for: all in a directory, or a pattern's."""
        beside = path.parent.relative_to(self.root)
        place = name.lstrip("/") if name.startswith("/") else str(beside / name)
        for each in self._matching(place):
            yield from self._files(self._matches(each, "*")) if each.is_dir() else [each]

    def _matching(self, place: str) -> Iterable[Path]:
        """Return the files of a place, as glob(7). Raise OSError if a directory cannot be read."""
        found = [self.root]
        for part in place.split("/"):
            if _WILD.search(part):
                found = [each for parent in found for each in self._matches(parent, part)]
            else:
                found = [each / part for each in found]
        return self._files(found) if _WILD.search(place) else found

    def _matches(self, directory: Path, pattern: str) -> list[Path]:
        """Return what matches, but nothing hidden, as what an editor keeps beside a file."""
        self.listed[directory] = None
        hidden = pattern.startswith(".")
        try:
            return sorted(
                each
                for each in directory.iterdir()
                if fnmatchcase(each.name, pattern) and (hidden or not each.name.startswith("."))
            )
        except (FileNotFoundError, NotADirectoryError):
            return []

    @staticmethod
    def _files(found: Iterable[Path]) -> list[Path]:
        """Leave out what cannot be read at all."""
        return [each for each in found if not (each.is_dir() or each.is_socket())]


def _text(path: Path, most: int) -> str:
    """Return what a file says, and nothing for a missing one. Raise OSError."""
    try:
        held = files.content(path, most)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if b"\0" in held:
        raise OSError(errno.EINVAL, "it is not a text, so it cannot tell of resolvers", str(path))
    return held.decode(errors="replace")


def _told(pattern: str, text: str) -> list[str]:
    """Return what a text tells by a pattern, each once."""
    found = re.findall(pattern, text) if pattern and text else ()
    return [*filter(None, dict.fromkeys(found))]


def _addresses(form: _Format, text: str) -> Iterator[Network]:
    """Yield what is an address; programs leave other words alone, too."""
    for value in _told(form.addresses, text):
        for word in re.split(r"[\s,]+", re.split(r"\s[#;]", value)[0]):
            if (network := _network(word)) is not None:
                yield network


def _network(word: str) -> Network | None:
    """Return the address of ``192.0.2.1#53``, ``[2001:db8::1]:53``, ``host(192.0.2.1)`` or so."""
    text = word.rpartition("(")[2].strip("[]()")
    text = re.split(r"[]%#@]", text)[0]
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        network = Network.parse(text)
    except InvalidNetwork:
        return None
    return network if network.is_host else None
