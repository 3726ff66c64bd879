"""Whether something makes passes: the units of systemd, installed, current, enabled, not failed.

Those that read the feeds as well.
"""

import grp
import pwd
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from reconciler.config.services import services
from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import TreasonError
from reconciler.execute import CommandFailed, run
from reconciler.host import feed_units, installing, unit_files
from reconciler.host.feed_units import FeedUnit
from reconciler.host.units import DAEMON, EARLY, ONCE, RESTORE
from reconciler.lines import first_few

_TABLES: Final = ("etc/crontab", "var/spool/cron/crontabs/root", "var/spool/cron/root")
_NO_PASSES: Final = "nobody reads the sources, and nobody puts back what others remove"
_UNREAD: Final = "nobody asks what the feed says by now; what was taken of it stays"
_SHOWN: Final = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what keeps passes from being made; without systemd, nothing is known of that."""
    if not (machine.root / "run/systemd/system").is_dir():
        return
    there = unit_files.in_use()
    install = machine.command("init", "--systemd")
    if not there:
        if not (machine.resident.status() or _by_cron(machine)):
            yield Finding(
                "no unit of treason's is enabled, no daemon runs, and cron runs no pass",
                _NO_PASSES,
                install,
            )
        return
    feeds = [FeedUnit(name) for name in machine.setup.feeds]
    if unit_files.file(feed_units.SERVICE).exists():
        there += [unit for feed in feeds for unit in (feed.timer, feed.service)]
        yield from _unknown(feeds, install)
    if machine.is_root:
        yield from _due(machine)
    with suppress(CommandFailed):  # where systemd does not answer, nothing is known
        yield from judge(run(["systemctl", "show", f"--property={_SHOWN}", *there]).output, install)


def judge(shown: str, install: str) -> Iterator[Finding]:
    """Yield what is wrong with units by what `systemctl show` says of them (systemctl(1))."""
    for block in shown.strip().split("\n\n"):
        told = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" in told:
            yield from _unit(told["Id"], told, install)


def _unit(name: str, told: Mapping[str, str], install: str) -> Iterator[Finding]:
    """Yield what is wrong with one: of it the first thing that explains the others."""
    why = "after a boot nothing is enforced" if name in {RESTORE, EARLY} else _NO_PASSES
    why = _UNREAD if "@" in name else why
    started = name == DAEMON or name.endswith(".timer")
    if told.get("LoadState") == "masked":
        yield Finding(f"{name} is masked", why, f"systemctl unmask {name}")
    elif told.get("NeedDaemonReload") == "yes":
        yield Finding(
            f"{name} has changed on disk, and systemd goes by the old one",
            "it runs in another way than it says",
            "systemctl daemon-reload",
        )
    elif name != ONCE and told.get("UnitFileState") == "disabled":
        now = " --now" if started else ""
        yield Finding(f"{name} is not enabled", why, f"systemctl enable{now} {name}")
    elif told.get("ActiveState") == "failed":
        yield Finding(
            f"{name} has failed",
            why,
            f"see the reason: journalctl -u {name}; then: systemctl restart {name}",
        )
    elif started and told.get("ActiveState") == "inactive":
        yield Finding(f"{name} does not run", why, f"systemctl start {name}")
    elif told.get("LoadState") not in {"loaded", None}:
        yield Finding(f"{name} is not loaded: {told['LoadState']}", why, install)


def _unknown(feeds: list[FeedUnit], install: str) -> Iterator[Finding]:
    """Yield who of those that the feeds' units name does not exist."""
    missing = [f"the user {feed.user}" for feed in feeds if not _exists(pwd.getpwnam, feed.user)]
    if feeds and not _exists(grp.getgrnam, feed_units.GROUP):
        missing.append(f"the group {feed_units.GROUP}")
    if missing:
        do = "does" if len(missing) == 1 else "do"
        why = "systemd starts no unit of a user or group that does not exist"
        yield Finding(f"{first_few(missing)} {do} not exist", why, install)


def _exists(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def _due(machine: Machine) -> Iterator[Finding]:
    """Yield whether the installed units are those that this program would write."""
    setup = machine.setup
    try:
        due = installing.due(setup.path, services(setup))
    except TreasonError as error:
        yield Finding(error.what, "the units cannot do what is configured", error.hint)
        return
    if due:
        resident = not unit_files.timer_only()
        kind = ["--systemd"] if resident else ["--systemd", "--timer-only"]
        are = "is not as it" if len(due) == 1 else "are not as they"
        yield Finding(
            f"{first_few(due)} {are} should be for this version and configuration",
            "the services may lack rights that they need, or have some that they do not",
            machine.command("init", *kind),
        )


def _by_cron(machine: Machine) -> bool:
    """Whether a table of cron names us."""
    tables = [*_TABLES]
    with suppress(OSError):
        tables += [f"etc/cron.d/{each.name}" for each in (machine.root / "etc/cron.d").iterdir()]
    return any("treason" in machine.text(table) for table in tables)
