"""The sandbox of the installed services: what they may see, write and run.

`Asked` is what a configured pass needs. What a sandbox cannot give is refused before any unit is
written, since it would fail at each pass, or at the next boot.
"""

import grp
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler.errors import TreasonError
from reconciler.interfaces import BackendPlugin, Needs, SourcePlugin

STATE: Final = Path("/var/lib/treason")
RUNTIME: Final = Path("/run/treason")
HIDDEN: Final = tuple(
    map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 - see _TEXT
)
"""What ProtectHome and PrivateTmp replace."""

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a service of systemd looks for programs (systemd.exec(5)); others' PATH is of no use."""

# What both services may do: speak netlink with CAP_NET_ADMIN, write their own state, what the
# backends and the sources need besides, and nothing else (systemd.exec(5)).
_TEXT: Final = """\
{user}{groups}StateDirectory=treason
StateDirectoryMode=0700
RuntimeDirectory=treason
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
UMask=0077
AmbientCapabilities=CAP_NET_ADMIN{capabilities}
CapabilityBoundingSet=CAP_NET_ADMIN{capabilities}
{limits}NoNewPrivileges=yes
ProtectSystem=strict
{writable}ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
DevicePolicy=closed
PrivateDevices=yes
{devices}ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_NETLINK{families}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
IPAddressDeny=any
{reachable}SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
{calls}SystemCallErrorNumber=EPERM
"""

_USER: Final = "User=treason\nDynamicUser=yes\n"
_ROOT: Final = "User=root\n"
_OWNERS: Final = frozenset({"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"})
"""To replace a file of anybody's, and let it stay his: what root needs of its powers."""

_READER: Final = "CAP_DAC_READ_SEARCH"
_NO_DEVICES: Final = "ProtectKernelLogs=yes\n"
_DEVICES: Final = {"CAP_SYSLOG": "DeviceAllow=/dev/kmsg r\nBindReadOnlyPaths=-/dev/kmsg\n"}
"""What a capability is good for only with a device, which PrivateDevices takes away with all."""

_CALLS: Final = {"CAP_BPF": "bpf"}
_LIMITS: Final = {"CAP_BPF": "LimitMEMLOCK=8M\n"}  # Linux before 5.11 locks the memory of maps
"""What a capability is good for only with a system call, and with a limit."""
_GIVING_UP: Final = "capset"  # it gives nobody what he has not

_UNNAMED: Final = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
"""What no line of a unit can hold: the ends of lines, and bytes that are not UTF-8."""

_ELSEWHERE: Final = "keep it elsewhere, in /srv or /etc for instance"
_WHOLE: Final = "install treason for the whole system, in /opt/treason for instance"


@frozen
class Asked:
    """What a configured source or backend needs; ``who`` is how people know it.

    What has no plugin is needed by every pass.
    """

    who: str
    plugin: SourcePlugin | BackendPlugin | None
    needs: Needs


@frozen
class Sandbox:
    """What a service has besides CAP_NET_ADMIN and its own two directories.

    ``writable`` are directories. ``root`` takes the place of a user that exists only meanwhile.
    ``loopback`` lets it connect to this machine by IPv4, and to nothing else. ``attaching`` are
    capabilities that the daemon alone has, until it gives them up.
    """

    capabilities: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    writable: frozenset[Path] = frozenset()
    root: bool = False
    loopback: bool = False
    attaching: frozenset[str] = frozenset()

    @classmethod
    def of(cls, asked: Iterable[Asked], groups: Iterable[str] = (), *, root: bool) -> "Sandbox":
        """Return what these need, and ``groups``. Raise `TreasonError` for what cannot be given."""
        capabilities, groups = set(_OWNERS if root else ()), {*groups}
        writable: set[Path] = set()
        asked = [*asked]
        for each in asked:
            capabilities.update(each.plugin.capabilities if each.plugin else ())
            if isinstance(each.plugin, SourcePlugin):
                groups.update(filter(_is_group, each.plugin.groups))
            writable.update(_writable(each))
            if each.needs.secrets:
                raise TreasonError(
                    f"{each.who}: its plugin needs a secret, which no service but a feed's gets",
                    "name it as a file that it reads",
                )
            for path in map(Path, each.needs.reads):
                see(each.who, path)
                allowed = readers(path)
                groups.update(allowed or ())
                if allowed is None and not root:
                    capabilities.add(_READER)
            for program in each.needs.runs:
                find(each.who, program)
        return cls(
            frozenset(capabilities),
            frozenset(groups),
            frozenset(writable),
            root=root,
            loopback=any(each.needs.loopback for each in asked),
            attaching=frozenset(name for each in asked for name in each.needs.attaching),
        )

    def text(self, *, daemon: bool = False) -> str:
        """Return the lines of a unit."""
        attaching = self.attaching if daemon else ()
        capabilities = sorted(self.capabilities.union(attaching))
        calls = ["@chown"] if self.root else []
        calls += [_CALLS[name] for name in capabilities if name in _CALLS]
        calls += [_GIVING_UP] if attaching else []
        writable = [word(f"-{path}") for path in sorted(self.writable)]  # one may be gone one day
        return _TEXT.format(
            user=_ROOT if self.root else _USER,
            groups=line("SupplementaryGroups", sorted(self.groups)),
            capabilities="".join(f" {name}" for name in capabilities),
            writable=line("ReadWritePaths", writable),
            devices="".join(_DEVICES[name] for name in capabilities if name in _DEVICES)
            or _NO_DEVICES,
            families=self._families,
            reachable="IPAddressAllow=localhost\n" if self.loopback else "",
            limits="".join(_LIMITS[name] for name in capabilities if name in _LIMITS),
            calls=line("SystemCallFilter", calls),
        )

    @property
    def _families(self) -> str:
        if "CAP_NET_RAW" in self.capabilities:
            return " AF_INET AF_INET6"
        return " AF_INET" if self.loopback else ""

    def told(self) -> Iterator[str]:
        """Yield what people should know of it."""
        if self.root:
            where = ", ".join(map(str, sorted(self.writable))) or "its own directories"
            yield f"the services run as root, who may write only to {where}"
        if _READER in self.capabilities:
            yield f"the services that read may read all files ({_READER}): one is root's alone"


def needs_root(asked: Iterable[Asked]) -> bool:
    """Whether one of these needs root: to write what others own, or for what a program does."""
    return any(each.needs.root or [*_outside(each.needs)] for each in asked)


def check(
    configuration: Iterable[Path], own: Iterable[tuple[Path, Path, str]], *, root: bool
) -> None:
    """Refuse files of treason's own that its services cannot use. Raise `TreasonError`.

    ``own`` are those that they write, where each must be, and the table that names it.
    """
    for path, place, table in own:
        see("", path)
        if path.parent != place:
            raise TreasonError(
                f"{path}: the sandboxed service may only write to {place}",
                f"move it to {place / path.name}, and set that path in [{table}]",
            )
        if not any(map(_real(path).is_relative_to, kept(place))):
            raise TreasonError(
                f"{path} leads to {_real(path)}, where the sandboxed service may not write",
                f"move what it leads to to {path} itself",
            )
    for paths, remedy in ((installation(), _WHOLE), (configuration, "move it to /etc/treason")):
        for path in paths:
            see("", path, remedy)
            barrier = None if root else next((step for step, _ in barriers(path)), None)
            if barrier:
                raise TreasonError(
                    f"{barrier}: the service's user may not read it, so treason could not start",
                    f"chmod -R o+rX {word(str(barrier))}",
                )


def installation() -> set[Path]:
    """Return the files of this very program: Python, and all that it has loaded."""
    modules = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    return {
        program() or Path(sys.executable),
        Path(sys.executable),
        *map(Path, filter(None, modules)),
    }


def program() -> Path | None:
    """Return the program that runs, if it can be started by its path."""
    path = Path(sys.argv[0]).absolute()
    return path if path.is_file() and os.access(path, os.X_OK) else None


def word(text: str) -> str:
    """Quote a word as systemd.service(5) and systemd.exec(5) read it."""
    text = text.replace("%", "%%")
    if re.fullmatch(r"[\w/.+:@%-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def line(key: str, words: Sequence[str]) -> str:
    """Return a line of a unit; none where there is nothing to say."""
    return f"{key}={' '.join(words)}\n" if words else ""


def _outside(needs: Needs) -> Iterator[Path]:
    """Yield what is written outside of the services' own directories, with links followed."""
    for path in map(_real, needs.writes):
        if not _is_own(path):
            yield path


def _real(path: str | Path) -> Path:
    """Follow links; one that leads to itself stays, and whoever opens it is told so."""
    return Path(os.path.realpath(path))


def kept(own: Path) -> tuple[Path, Path]:
    """Return a directory of a service's own, and where DynamicUser really keeps it."""
    return own, own.parent / "private" / own.name


def _own() -> tuple[Path, ...]:
    return (*kept(STATE), *kept(RUNTIME))


def _is_own(path: Path) -> bool:
    return any(map(path.is_relative_to, _own()))


def _writable(asked: Asked) -> Iterator[Path]:
    """Yield the directories in which files are replaced."""
    for path in map(_real, asked.needs.writes):
        see(asked.who, path)
        directory = path if path.is_dir() else path.parent
        if not directory.is_dir() and directory not in _own():  # those are made for the services
            raise TreasonError(
                f"{asked.who}: {directory} does not exist, so {path.name} could not be written",
                "create the directory first",
            )
        if not _is_own(path):
            yield directory


def see(who: str, path: Path, remedy: str = _ELSEWHERE, *, hidden: Sequence[Path] = ()) -> None:
    """Refuse what a service cannot see, ``hidden`` included. Raise `TreasonError`."""
    for seen in (path.absolute(), _real(path)):
        if _UNNAMED.search(str(seen)):
            raise TreasonError(
                f"{who and f'{who}: '}{str(seen)!r}: a unit cannot name it", "rename it"
            )
        for each in (*HIDDEN, *hidden):
            if seen.is_relative_to(each):
                raise TreasonError(
                    f"{who and f'{who}: '}{seen}: the sandboxed service cannot see {each}", remedy
                )


def find(who: str, program: str) -> None:
    """Refuse a program that a service would not find. Raise `TreasonError`."""
    found = shutil.which(program, path=_PATH)
    if found is None or not Path(found).is_absolute():
        raise TreasonError(
            f"{who}: the service would not find the program {program}",
            f"install it, or write its whole path; a service looks in {_PATH}",
        )
    see(who, Path(found))


def barriers(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield what on the way to a file keeps others out, and the group that may pass; 0 for none."""
    for way in dict.fromkeys((path.absolute(), _real(path))):
        for step in (*reversed(way.parents), way):
            try:
                status = step.stat()
            except (FileNotFoundError, NotADirectoryError):
                return  # who reads it is told so
            needed = 1 if step != way else 5 if stat.S_ISDIR(status.st_mode) else 4
            if status.st_mode & needed != needed:
                passes = status.st_mode >> 3 & needed == needed
                yield step, status.st_gid if passes else 0


def readers(path: Path) -> set[str] | None:
    """Return the groups that are needed to read a file; None if root alone may."""
    groups = {group for _, group in barriers(path)}
    return None if 0 in groups else {_name(group) for group in groups}


def _name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def _is_group(name: str) -> bool:
    """Whether it exists here: systemd would not start a service of another one."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
