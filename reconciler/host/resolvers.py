"""The DNS resolvers of this machine, those behind a stub on loopback as well.

Their files are read: resolv.conf(5), which systemd-resolved, NetworkManager, resolvconf and Docker
write in places of their own, and the configurations of dnsmasq(8) and unbound.conf(5).
"""

import errno
import re
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import InvalidNetwork
from reconciler.network import Network

_MOST: Final = 1 << 20
"""Bytes of resolv.conf; a resolver is asked for three of its lines."""

_MANY: Final = 1 << 26
"""Bytes of a program's configuration: there are lists of a million names to be blocked."""

_FILES: Final = 1000


@frozen
class _Format:
    """How a file's lines tell addresses, and name further files: of this format, or resolv.conf's.

    They are patterns, compiled only where there is something to read.
    """

    addresses: str
    files: str = ""
    others: str = ""
    most: int = _MANY


_RESOLV: Final = _Format(r"(?:nameserver[ \t]+|# ExtServers:)(.*)", most=_MOST)
_LINK: Final = _Format(r"(?:SERVERS|DNS)=(.*)", most=_MOST)
_DNSMASQ: Final = _Format(
    r"(?:(?:server|local)[ \t]*=[ \t]*(?:/.*/)?|rev-server[ \t]*=[^,\n]*,)(.*)",
    files=r"(?:conf-file|conf-dir|servers-file)[ \t]*=[ \t]*([^,\s]+)",
    others=r"resolv-file[ \t]*=[ \t]*(\S+)",
)
_UNBOUND: Final = _Format(
    r"(?:forward|stub)-addr:[ \t]*[\"']?([^\"'\s]+)",
    files=r"include(?:-toplevel)?:[ \t]*[\"']?([^\"'\s]+)",
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


def resolvers(root: Path) -> dict[Path, list[Network]]:
    """Return the files that may tell of them, and what each does, as hosts.

    A file that is not there tells nothing: its program is not installed, or has not written it yet.
    Raise OSError, with a ``strerror`` for people, if they cannot be told.
    """
    waiting = [(path, form) for place, form in _PLACES for path in _matching(root, place)]
    found: dict[Path, list[Network]] = {}
    while waiting:
        path, form = waiting.pop(0)
        if path in found:
            continue
        if len(found) == _FILES:
            raise OSError(errno.EMFILE, f"more than {_FILES} files tell of resolvers", str(path))
        text = _text(path, form.most)
        found[path] = [*_addresses(form, text)]
        for pattern, of in ((form.files, form), (form.others, _RESOLV)):
            names = _told(pattern, text)
            waiting += [(each, of) for name in names for each in _named(root, path, name)]
    return found


def _named(root: Path, path: Path, name: str) -> Iterator[Path]:
    """Yield the files that a name in a file stands for: all in a directory, or a pattern's."""
    place = name.lstrip("/") if name.startswith("/") else str(path.parent.relative_to(root) / name)
    for each in _matching(root, place):
        yield from _matching(each.parent, f"{each.name}/*") if each.is_dir() else [each]


def _matching(root: Path, place: str, *, directories: bool = False) -> list[Path]:
    """Return the files of a place. Raise OSError if a directory cannot be read."""
    if not any(sign in place for sign in "*?["):
        return [root / place]
    directory, _, pattern = place.rpartition("/")
    found: list[Path] = []
    for each in _matching(root, directory, directories=True):
        with suppress(FileNotFoundError, NotADirectoryError):
            found += sorted(one for one in each.iterdir() if fnmatchcase(one.name, pattern))
    return [each for each in found if directories or not each.is_dir()]


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
    """Return what the lines of a file tell by a pattern, each once."""
    found = re.findall(rf"^[ \t]*{pattern}", text, re.MULTILINE) if pattern and text else ()
    return [*dict.fromkeys(found)]


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
