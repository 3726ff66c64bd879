"""The systemd units that run treason, and their installation.

`conf/systemd/` holds the same texts as they are rendered for /usr/bin/treason.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reconciler import config, files
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run

DIRECTORY: Final = Path("/etc/systemd/system")
COMMAND: Final = "/usr/bin/treason"

# What both services may do: speak netlink with CAP_NET_ADMIN, read /dev/kmsg with CAP_SYSLOG,
# write their own state, and nothing else (systemd.exec(5)).
_SANDBOX: Final = """\
User=treason
DynamicUser=yes
StateDirectory=treason
StateDirectoryMode=0700
RuntimeDirectory=treason
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
UMask=0077
AmbientCapabilities=CAP_NET_ADMIN{capabilities}
CapabilityBoundingSet=CAP_NET_ADMIN{capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
DevicePolicy=closed
{devices}ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
IPAddressDeny=any
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""

_SERVICE: Final = (
    """\
[Unit]
Description=Reconcile the firewall with treason's bans
Documentation=https://pypi.org/project/treason/
After=nftables.service treason-restore.service
ConditionPathExists={config}

[Service]
Type=oneshot
ExecStart={command} --config {config} reconcile
TimeoutStartSec=5min
"""
    + _SANDBOX
)

_TIMER: Final = """\
[Unit]
Description=Reconcile the firewall with treason's bans each minute

[Timer]
OnCalendar=minutely
RandomizedDelaySec=10
FixedRandomDelay=yes
AccuracySec=1
Persistent=yes

[Install]
WantedBy=timers.target
"""

# DefaultDependencies=no: this must be done before the network is up. PartOf and the second
# WantedBy run it again whenever nftables.service is started or reloaded, which flushes everything.
_RESTORE: Final = (
    """\
[Unit]
Description=Enforce treason's stored bans before the network is up
Documentation=https://pypi.org/project/treason/
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
ConditionPathExists={config}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} --config {config} reconcile --no-scan
ExecReload={command} --config {config} reconcile --no-scan
TimeoutStartSec=5min
"""
    + _SANDBOX
    + """
[Install]
WantedBy=network-pre.target sysinit.target nftables.service
"""
)

_KMSG: Final = "DeviceAllow=/dev/kmsg r\n"


def units(command: str, configuration: Path) -> dict[str, str]:
    """Give the units' texts by their names."""
    return {
        "treason.service": _SERVICE.format(
            command=command, config=configuration, capabilities=" CAP_SYSLOG", devices=_KMSG
        ),
        "treason.timer": _TIMER,
        "treason-restore.service": _RESTORE.format(
            command=command, config=configuration, capabilities="", devices="PrivateDevices=yes\n"
        ),
    }


def check() -> None:
    """Refuse where there is no systemd, before anything is made. Raise `TreasonError`."""
    if not DIRECTORY.is_dir():
        raise TreasonError(
            f"{DIRECTORY}: there is no systemd here",
            "run a pass each minute by cron: * * * * * root treason reconcile",
        )
    if os.geteuid() != 0:
        raise TreasonError("only root can install units", "run it with sudo")


def install(configuration: Path = config.DEFAULT) -> Iterator[str]:
    """Write and enable the units; tell each step."""
    command = Path(sys.argv[0]).resolve()
    for name, text in units(str(command), configuration.resolve()).items():
        _write(DIRECTORY / name, text)
        yield f"{DIRECTORY / name}: written"
    _systemctl("daemon-reload")
    _systemctl("enable", "treason-restore.service")
    _systemctl("enable", "--now", "treason.timer")
    yield "treason.timer: enabled and started; treason-restore.service: enabled"


def uninstall() -> Iterator[str]:
    """Disable and remove the units; the bans stay enforced."""
    check()
    present = [name for name in units(COMMAND, config.DEFAULT) if (DIRECTORY / name).is_file()]
    for name in present:
        stop = ["--now"] if name.endswith(".timer") else []
        if name != "treason.service":
            _systemctl("disable", *stop, name)
    for name in present:
        (DIRECTORY / name).unlink()
        yield f"{DIRECTORY / name}: removed"
    _systemctl("daemon-reload")
    yield "what is enforced stays enforced; `treason teardown` lifts it"


def _write(path: Path, text: str) -> None:
    try:
        files.replace(path, text, mode=0o644)
    except OSError as error:
        raise TreasonError(f"{path}: cannot write the unit: {error.strerror}") from None


def _systemctl(*arguments: str) -> None:
    try:
        run(["systemctl", *arguments])
    except CommandFailed as error:
        raise TreasonError(
            error.what, "the units are written; run it by hand when systemd is up"
        ) from None
