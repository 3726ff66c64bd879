"""Whether what feeds say comes in, and nobody but they says it."""

import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler import secrets
from reconciler.config.feeds import ConfiguredFeed
from reconciler.diagnosis import Finding
from reconciler.doctor.machine import Machine
from reconciler.errors import FeedUnreadable, TreasonError
from reconciler.feeds import outbox
from reconciler.feeds.remarks import Failure
from reconciler.feeds.token import token
from reconciler.host.feed_units import SERVICE, FeedUnit
from reconciler.lines import counted, first_few
from reconciler.passes.feeds import FeedStanding, standing, standings
from reconciler.report.plain import plain
from reconciler.report.times import past
from reconciler.store.feeds import FeedState
from reconciler.toml import duration

_MISSED: Final = 3
"""Refreshes without success, from which on that is said."""

_SLACK: Final = 60
"""Seconds that a feed may take to publish, besides its refresh."""

_NOTHING: Final = "nothing that it says is dropped"
_UNHEARD: Final = "others do not hear whom this machine bans"
_STAYS: Final = "what was taken of it stays as it is, however much has changed since"


def check(machine: Machine) -> Iterator[Finding]:
    """Yield what keeps a feed from being taken, or lets somebody else speak for it."""
    setup, now, nothing = machine.setup, machine.clock.now, list[FeedStanding]()
    told = {
        each.name: each
        for each in machine.stored(lambda store: standings(setup, store, now), nothing)
    }
    for name in sorted({*told, *setup.feeds}):
        if feed := setup.feeds.get(name):
            yield from _writers(feed)
        known = told.get(name) or standing(FeedState(name), feed)
        found = [*_unread(machine, feed, known)] if feed else []
        yield from found or _process(machine, known)
        if name in told:
            yield from [] if found else _trouble(machine, known)
            yield from _quarantine(machine, known)


def _writers(feed: ConfiguredFeed) -> Iterator[Finding]:
    """Yield what of a feed's own file others than its user may change."""
    for path in (feed.store.parent, feed.store):
        with suppress(OSError):
            if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                yield Finding(
                    f"{path}: others than its owner may write to it",
                    f"who can write it decides, within limits, whom feed {feed.name} has dropped",
                    f"chmod go-w {shlex.quote(str(path))}",
                )


def _unread(machine: Machine, feed: ConfiguredFeed, known: FeedStanding) -> Iterator[Finding]:
    """Yield why its own file cannot be read, or has not been written for long."""
    if secret := next(_secrets(machine, feed), None):
        yield secret
        return
    try:
        there = token(feed.store)
    except FeedUnreadable as error:
        store = shlex.quote(str(feed.store))
        again = f"mv {store} {store}.bad; {_run(machine, feed.name)}"
        remedy = again if machine.is_root else f"sudo {machine.command('doctor')}"
        yield Finding(f"feed {feed.name}: {error.what}", _STAYS, remedy)
        return
    if known.failure:
        return
    if there is None:
        ran = known.state.taken is not None
        yield Finding(
            f"feed {feed.name} {'is gone' if ran else 'never ran'}: there is no {feed.store}",
            _STAYS if ran else _NOTHING,
            _run(machine, feed.name),
        )
    else:
        yield from _late(machine, feed)


def _secrets(machine: Machine, feed: ConfiguredFeed) -> Iterator[Finding]:
    """Yield which secrets its process cannot get; only root can tell."""
    paths: tuple[str, ...] = ()
    with suppress(TreasonError):  # told by the check of the configuration
        paths = feed.needs().secrets if machine.is_root else ()
    for path in paths:
        try:
            secrets.read(Path(path))
        except FeedUnreadable as error:
            why = "its process does not get it, and reads nothing new without"
            yield Finding(f"feed {feed.name}: {error.what}", why, error.hint)


def _process(machine: Machine, each: FeedStanding) -> Iterator[Finding]:
    """Yield that its process fails, or does not tell others what it should."""
    if each.remarks.unread:
        stays = _NOTHING if each.state.taken is None else _STAYS
        yield _failing(machine, each, "has failed", each.remarks.unread, stays)
    elif each.untold and each.remarks.untold:
        yield _failing(machine, each, "has published nothing", each.remarks.untold, _UNHEARD)
    elif each.untold and each.untold.error:
        path = shlex.quote(str(outbox.of(machine.setup.config.treason.database, each.name)))
        anew = machine.command("reconcile", "--no-scan")
        yield Finding(
            f"feed {each.name}: {each.untold.error}", _UNHEARD, f"mv {path} {path}.bad; {anew}"
        )
    elif each.feed and each.untold and each.untold.since is not None:
        late, now = each.feed.settings.refresh + _SLACK, machine.clock.now
        if not machine.clock.doubt and each.untold.since < now - late:
            number, since = counted(each.untold.number, "change"), past(each.untold.since, now)
            what = f"feed {each.name} has not published {number}, the first of {since}"
            notes = "".join(f"; it notes: {plain(note)}" for note in each.remarks.notes[:1])
            yield Finding(what, f"{_UNHEARD}{notes}", _restart(machine, each.name))


def _failing(
    machine: Machine, each: FeedStanding, does: str, failure: Failure, follows: str
) -> Finding:
    """Return what its process says that fails; its word on what helps is no remedy of ours."""
    what, _, hint = failure.told_of(each.name).partition("\n  ")
    return Finding(
        f"feed {each.name} {does} since {past(failure.since, machine.clock.now)}: {plain(what)}",
        f"{follows}; it says what may help: {plain(hint)}" if hint else follows,
        _restart(machine, each.name),
    )


def _late(machine: Machine, feed: ConfiguredFeed) -> Iterator[Finding]:
    """Yield that its process was not successful for long."""
    refresh, now = feed.settings.refresh, machine.clock.now
    refreshed = feed.store.parent.stat().st_mtime
    if not machine.clock.doubt and refreshed < now - _MISSED * refresh:
        yield Finding(
            f"feed {feed.name} was refreshed last at {past(refreshed, now)};"
            f" refresh is {duration.render(refresh)}",
            _STAYS,
            _run(machine, feed.name),
        )


def _trouble(machine: Machine, each: FeedStanding) -> Iterator[Finding]:
    """Yield what else keeps passes from taking more of it."""
    if not each.trouble or each.fails:
        return
    what, _, hint = each.trouble.partition("\n")
    if each.forgotten:
        remedy = f"restore {machine.setup.path} from a backup"
    elif each.feed is None or not each.state.trouble:
        remedy = machine.command("reconcile", "--no-scan")
    elif "feed accept" in hint:
        remedy = _accept(machine, each.name)
    elif "max_entries" in what:
        remedy = f"if that is right, raise it in [feed.{each.name}] of {machine.setup.path}"
    else:
        remedy = _run(machine, each.name)
    named = what.startswith("feed ")
    yield Finding(plain(what) if named else f"feed {each.name}: {plain(what)}", _STAYS, remedy)


def _quarantine(machine: Machine, each: FeedStanding) -> Iterator[Finding]:
    """Yield who named more than may be enforced."""
    if not each.state.quarantined:
        return
    names = sorted(map(plain, filter(None, each.state.quarantined)))
    yield Finding(
        f"feed {each.name}: {first_few(names) or 'it'} named more than max_new allows",
        f"{counted(each.quarantined, 'network')} that it names are not enforced, nor is what comes",
        _accept(machine, each.name),
    )


def _accept(machine: Machine, name: str) -> str:
    return f"if what it says is right: {machine.command('feed', 'accept', name)}"


def _run(machine: Machine, name: str) -> str:
    """Return what refreshes a feed: by its service, if that was installed."""
    units, feed = machine.root / "etc/systemd/system", FeedUnit(name)
    enabled = (units / "timers.target.wants" / feed.timer).is_symlink()
    if enabled or (units / SERVICE).exists():
        return f"systemctl start {feed.service}"
    return machine.command("feed", "run", name, "--once")


def _restart(machine: Machine, name: str) -> str:
    """Return what lets a feed try again, also one that stays."""
    return _run(machine, name).replace("systemctl start ", "systemctl restart ")
