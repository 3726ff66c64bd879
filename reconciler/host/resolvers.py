"""The DNS resolvers of this machine, those behind a stub on loopback as well.

Their files are read: resolv.conf(5), which systemd-resolved, NetworkManager, resolvconf and Docker
write in places of their own, and the configurations of dnsmasq(8) and unbound.conf(5).
"""

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import files
from reconciler.errors import InvalidNetwork
from reconciler.network import Network

_MOST: Final = 1 << 20
"""Bytes of resolv.conf; a resolver is asked for three of its lines."""

_MANY: Final = 1 << 24
"""Bytes of a program's configuration, in which there may be lists."""

_FILES: Final = 1000


@frozen
class _Format:
    """How a file tells addresses, and names further files, each with the format that they have."""

    addresses: "re.Pattern[str]"
    files: "re.Pattern[str] | None" = None
    other: "re.Pattern[str] | None" = None
    most: int = _MANY


def _lines(pattern: str) -> "re.Pattern[str]":
    return re.compile(rf"^[ \t]*{pattern}", re.MULTILINE)


_RESOLV: Final = _Format(_lines(r"(?:nameserver[ \t]+|# ExtServers:)(.*)"), most=_MOST)
_LINK: Final = _Format(_lines(r"(?:SERVERS|DNS)=(.*)"), most=_MOST)
_DNSMASQ: Final = _Format(
    _lines(r"(?:(?:server|local)[ \t]*=[ \t]*(?:/.*/)?|rev-server[ \t]*=[^,\n]*,)(.*)"),
    files=_lines(r"(?:conf-file|conf-dir|servers-file)[ \t]*=[ \t]*([^,\s]+)"),
    other=_lines(r"resolv-file[ \t]*=[ \t]*(\S+)"),
)
_UNBOUND: Final = _Format(
    _lines(r"(?:forward|stub)-addr:[ \t]*[\"']?([^\"'\s]+)"),
    files=_lines(r"include(?:-toplevel)?:[ \t]*[\"']?([^\"'\s]+)"),
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
    waiting = [(path, form) for place, form in _PLACES for path in _matching(root, place)]
    found: dict[Network, None] = {}
    known: set[Path] = set()
    while waiting:
        path, form = waiting.pop(0)
        if path in known:
            continue
        known.add(path)
        if len(known) > _FILES:
            raise OSError(errno.EMFILE, f"more than {_FILES} files tell of resolvers", str(path))
        text = _text(path, form.most)
        found |= dict.fromkeys(_addresses(form, text))
        for pattern, of in ((form.files, form), (form.other, _RESOLV)):
            names = pattern.findall(text) if pattern else ()
            waiting += [(each, of) for name in names for each in _named(root, path, name)]
    return [*found]


def _named(root: Path, path: Path, name: str) -> Iterator[Path]:
    """Yield the files that a name in a file stands for: all in a directory, or a pattern's."""
    place = name.lstrip("/") if name.startswith("/") else str(path.parent.relative_to(root) / name)
    for each in _matching(root, place):
        yield from _matching(each.parent, f"{each.name}/*") if each.is_dir() else [each]


def _matching(root: Path, place: str) -> list[Path]:
    """Return the files of a place. Raise OSError if its directory cannot be read."""
    if not re.search(r"[*?\[]", place):
        return [root / place]
    directory, _, pattern = place.rpartition("/")
    try:
        found = sorted(each for each in (root / directory).iterdir() if each.match(pattern))
        return [each for each in found if not each.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _text(path: Path, most: int) -> str:
    """Return what a file says, and nothing for a missing one. Raise OSError."""
    try:
        held = files.content(path, most)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if b"\0" in held:
        raise OSError(errno.EINVAL, "it is not a text, so it cannot tell of resolvers", str(path))
    return held.decode(errors="replace")


def _addresses(form: _Format, text: str) -> Iterator[Network]:
    """Yield what is an address; programs leave other words alone, too."""
    for value in form.addresses.findall(text):
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
