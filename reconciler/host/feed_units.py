"""The units of feeds: each feed runs as a user of its own, and writes to its own directory alone.

All of them share two templates; what one feed needs besides is in files beside these.
"""

from collections.abc import Iterable, Mapping, Sequence
from os.path import normpath
from pathlib import Path
from typing import Final

from attrs import frozen

from reconciler import secrets
from reconciler.errors import TreasonError
from reconciler.host import sandbox
from reconciler.interfaces import Needs

GROUP: Final = "treason-feed"
"""Who may read what feeds say: the services that enforce it."""

STORES: Final = Path("/var/lib/treason-feed")
"""Where each feed has a directory of its own."""

_HOUR: Final = 3600
_NAMED: Final = 255
"""Characters of a credential's name at most: it is a file's (systemd.exec(5))."""

SERVICE: Final = "treason-feed@.service"
TIMER: Final = "treason-feed@.timer"

# One that is killed is started again; one that says that it could not read ends until the timer
# asks again, or whom it reads would be asked too often. /proc/sys is not there (ProcSubset).
# A feed sees neither what treason remembers nor other feeds, and no capability could be had.
_SERVICE_TEXT: Final = """\
[Unit]
Description=Read what treason's feed %i says
Documentation=https://pypi.org/project/treason/
Wants=network-online.target
After=network-online.target nss-lookup.target
RequiresMountsFor={mounts}
ConditionPathExists={condition}

[Service]
Type=exec
ExecStart={command} --config {config} feed run %i
Restart=on-abnormal
RestartSec=5min
User=treason-feed-%i
Group=treason-feed
StateDirectory=treason-feed/%i
StateDirectoryMode=0750
UMask=0027
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
InaccessiblePaths=-/var/lib/treason -/run/treason -/dev/shm -/dev/mqueue
TemporaryFileSystem=/var/lib/treason-feed:ro
BindPaths=/var/lib/treason-feed/%i
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
DevicePolicy=closed
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
MemoryMax=512M
TasksMax=32
CPUWeight=20
IOWeight=20
LimitFSIZE=1G
"""

_TIMER_TEXT: Final = """\
[Unit]
Description=Read what treason's feed %i says, again and again

[Timer]
OnActiveSec=5
OnUnitInactiveSec=3600
AccuracySec=1

[Install]
WantedBy=timers.target
"""

# An empty line first: it takes back both lines of the template (systemd.timer(5)).
_REFRESH: Final = """\
[Timer]
OnActiveSec=
OnActiveSec=5
OnUnitInactiveSec={refresh}
"""

# Of what treason keeps, the feed sees only what it publishes. With DynamicUser the directory is
# a link to one below /var/lib/private, where others may not go.
_OUTBOX: Final = """\
InaccessiblePaths=
InaccessiblePaths=-/run/treason -/dev/shm -/dev/mqueue
TemporaryFileSystem=/var/lib/private:ro /var/lib/treason:ro
BindReadOnlyPaths=-/var/lib/treason/outbox
"""


@frozen
class FeedUnit:
    """What the units of one feed get besides what those of every feed have.

    ``refresh`` is in seconds; members of ``groups`` may read what the feed reads. One that
    ``publishes`` sees what treason has for it. ``secrets`` are the paths of files that systemd
    passes it.
    """

    name: str
    refresh: int = _HOUR
    groups: frozenset[str] = frozenset()
    publishes: bool = False
    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, needs: Needs, *, refresh: int, publishes: bool) -> "FeedUnit":
        """Return what this feed needs. Raise `TreasonError` for what its service cannot have."""
        who = f"feed {name!r}"
        if needs.root or needs.writes:
            raise TreasonError(
                f"{who}: its plugin needs root, or writes files, which a feed's service may not",
                f"run it in another way, by cron for instance: treason feed run {name}",
            )
        groups = set[str]()
        for path in map(Path, needs.reads):
            sandbox.see(who, path, hidden=(sandbox.STATE, sandbox.RUNTIME))
            groups |= _readers(who, path)
        for program in needs.runs:
            sandbox.find(who, program)
        for secret in needs.secrets:
            _check_secret(who, secret)
        return cls(name, refresh, frozenset(groups), publishes, needs.secrets)

    @property
    def user(self) -> str:
        """The user that it runs as."""
        return f"treason-feed-{self.name}"

    @property
    def directory(self) -> Path:
        """Where it writes."""
        return STORES / self.name

    @property
    def service(self) -> str:
        """The unit that reads it."""
        return SERVICE.replace("@", f"@{self.name}")

    @property
    def timer(self) -> str:
        """The unit that starts that one."""
        return TIMER.replace("@", f"@{self.name}")

    @property
    def beside(self) -> tuple[str, str]:
        """The paths of what stands beside the templates for it: the service's, the timer's."""
        return f"{self.service}.d/treason.conf", f"{self.timer}.d/treason.conf"

    def texts(self) -> dict[str, str]:
        """Return what stands beside the templates for it, by its path."""
        service = sandbox.line("SupplementaryGroups", sorted(self.groups))
        service += "".join(map(_credential, self.secrets))
        service += _OUTBOX if self.publishes else ""
        timer = "" if self.refresh == _HOUR else _REFRESH.format(refresh=self.refresh)
        needed = (service and f"[Service]\n{service}", timer)
        return {path: text for path, text in zip(self.beside, needed, strict=True) if text}


def texts(words: Mapping[str, str], feeds: Iterable[FeedUnit]) -> dict[str, str]:
    """Return the texts of these feeds' units by their paths; ``words`` is what the others name."""
    found: dict[str, str] = {}
    for feed in feeds:
        found |= {SERVICE: _SERVICE_TEXT.format_map(words), TIMER: _TIMER_TEXT}
        found |= feed.texts()
    return found


def users(feeds: Sequence[FeedUnit]) -> str:
    """Return what systemd-sysusers makes their users and their group of (sysusers.d(5))."""
    lines = [
        f'u {each.user} -:{GROUP} "treason\'s feed {each.name}" {each.directory} -\n'
        for each in feeds
    ]
    return f"g {GROUP} -\n{''.join(lines)}"


def _credential(path: str) -> str:
    """Return what passes a secret; all behind the colon is the path (systemd.exec(5))."""
    return f"LoadCredential={secrets.credential(path)}:{sandbox.word(normpath(path))}\n"


def _check_secret(who: str, path: str) -> None:
    """Refuse a secret that systemd could not pass. Raise `TreasonError`."""
    if sandbox.word(path).startswith('"') or len(secrets.credential(path)) > _NAMED:
        raise TreasonError(f"{who}: {path!r}: a unit cannot name this secret", "rename it")


def _readers(who: str, path: Path) -> set[str]:
    """Return the groups that are needed to read a file. Raise `TreasonError`."""
    for step, group in sandbox.barriers(path):
        if not group:
            raise TreasonError(
                f"{who}: {step}: the user of the feed's service may not read it",
                f"chmod -R o+rX {sandbox.word(str(step))}",
            )
    return sandbox.readers(path) or set()
