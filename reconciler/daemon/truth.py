"""What the daemon goes by: the files and the database as they were looked at last."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from attrs import evolve

from reconciler import netlink
from reconciler.config.setup import Setup
from reconciler.daemon.marks import Mark, Marks, State, states
from reconciler.daemon.reflex import Reflex
from reconciler.daemon.storing import Ways
from reconciler.daemon.view import View, look
from reconciler.daemon.writer import Writer
from reconciler.errors import TreasonError
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.recognise import Recognition
from reconciler.planning import protection
from reconciler.planning.desired import collapse
from reconciler.planning.whitelist import Exemption
from reconciler.store.schema import VERSION

Then = Callable[[], object]


class Daemon(Protocol):
    """What is needed of the daemon."""

    writer: Writer
    marks: Marks

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def taken(self, old: View | None, new: View, *, carried_out: bool) -> None:
        """Hold what is desired now; ``carried_out``: a pass has brought the backends in line."""

    def files_changed(self, whitelisted: Networks, *, edited: bool) -> None:
        """Let these pass at once; `Truth.settle` is due once nobody writes the files any more.

        ``edited``: the configuration or the whitelist may be half written.
        """

    def outdated(self) -> None:
        """Take notice that the database is of a newer version of the program."""


class Truth:
    """Knows whether files or database have changed, and looks at them anew.

    ``ways`` is what everything goes by; whom changed files whitelist is spared at once. As an
    editor may write them in steps, all else waits until they are settled.
    """

    def __init__(self, setup: Setup, sources: Iterable[str], daemon: Daemon) -> None:
        self._daemon, self._sources = daemon, tuple(sources)
        self._setup, self._fresh = setup, setup
        self._own: frozenset[Network] = frozenset()
        self._view: View | None = None
        self._mark: Mark | None = None
        self._states: tuple[State, ...] = ()  # the set-up may be older than a first look
        self._files: list[Path] = []
        self._looking = False
        self._thens: list[Then] = []
        self._carried_out = False
        self._again: list[tuple[Then, bool]] = []
        self._left = False
        self.ways = self._made(setup, [], 0)

    @property
    def view(self) -> View | None:
        """What was seen last; None: nothing yet."""
        return self._view

    @property
    def setup(self) -> Setup:
        """What the files say."""
        return self._setup

    def now(self) -> Ways:
        """Return what to go by, with whom the files exempt by now."""
        self.look_at_files()
        return self.ways

    def is_known(self) -> bool:
        """Whether no ban has ended, and nobody else has changed the files or the database."""
        self.look_at_files()
        seen, view = self.check_version(), self._view
        if view is None or self._fresh is not self._setup or seen != self._mark:
            return False
        return view.next_end is None or time.time() < view.next_end

    def check_version(self) -> Mark | None:
        """Return the database's mark now; end the daemon if the database is of a newer one."""
        seen = self._daemon.marks.look(self._setup.config.treason.database)
        if seen is not None and seen.schema > VERSION:
            self._daemon.outdated()
        return seen

    def wrote(self, before: Mark | None, after: Mark | None) -> None:
        """Take the mark that our own writing has left, or look who else has written."""
        if after is not None and before == self._mark:
            self._mark = after
            self.check_version()
        else:
            self.refresh()

    def refresh(self, then: Then = lambda: None, *, carried_out: bool = False) -> None:
        """Look at all of it from now on, and call ``then`` once what is desired now is held.

        ``carried_out`` says that a pass has just brought the backends in line with it.
        """
        self.look_at_files()
        self._again.append((then, carried_out))
        if not self._looking:
            self._look()

    def look_at_files(self) -> list[Path]:
        """Spare at once whom changed files whitelist; return the files that matter."""
        setup = self._fresh
        paths = [setup.path, setup.whitelist_file.path]
        with suppress(TreasonError):  # the next look tells
            paths += protection.files(setup.config.protect)
        seen = states(paths)
        if seen != self._states:
            edited = bool(self._states) and seen[:2] != self._states[:2]
            self._states, self._files = seen, paths
            self._fresh = setup.sparing()
            listed = collapse(self._fresh.whitelisted(time.time()))
            self.spare(listed)
            self._daemon.files_changed(listed, edited=edited)
            self._look_again()
        return self._files

    def settle(self) -> None:
        """Spare nobody any more whom the file that commands write does not name.

        Raise `ConfigError` if it is wrong, and go on as before.
        """
        self._fresh = self._fresh.rewhitelisted()
        self._look_again()

    def spare(self, networks: Iterable[Network]) -> None:
        """Spare these, too, until it was looked at who is exempt."""
        reflex = self.ways.reflex
        exempt = collapse([*reflex.exempt, *networks])
        self.ways = evolve(self.ways, reflex=evolve(reflex, exempt=exempt))

    def leave(self) -> None:
        """Look on, but let nothing follow from it: all has begun anew with another one."""
        self._left = True

    def _look_again(self) -> None:
        if self._view is not None:  # else the first look is still to come, behind a pass
            self.refresh()

    def _look(self) -> None:
        self._looking = True
        self._thens = [then for then, _ in self._again]
        self._carried_out = all(done for _, done in self._again)
        self._again.clear()
        setup = self._fresh
        known = self._view if setup is self._setup else None
        work = partial(look, setup, self._sources, known)
        self._daemon.writer.ask(work, partial(self._take, setup))

    def _take(self, setup: Setup, found: View | TreasonError) -> None:
        """Take what was found, and tell those who wait for it."""
        thens, self._thens = self._thens, []
        if not self._left:
            self._go_by(setup, found)
        self._looking = False
        for then in thens:
            then()
        if self._again and not self._looking:
            self._look()

    def _go_by(self, setup: Setup, found: View | TreasonError) -> None:
        if isinstance(found, TreasonError):
            self.check_version()
            self._daemon.trouble("state", str(found))
            return
        self._daemon.trouble("state", "\n".join(found.damage))
        old, self._view = self._view, found
        self._setup, self._mark = setup, found.mark
        self.ways = self._made(setup, found.protected, found.now)
        self._daemon.taken(old, found, carried_out=self._carried_out)

    def _made(self, setup: Setup, protected: Sequence[Exemption], now: int) -> Ways:
        config = setup.config
        try:
            self._own = frozenset([*netlink.addresses(), *netlink.broadcasts()])
        except netlink.NetlinkError as error:
            self._daemon.trouble("own addresses", str(error))
        recognition = Recognition(
            userspace=config.trust.userspace,
            listeners_only=config.policy.listeners_only,
            own=lambda: self._own,
            nat64=config.protect.prefixes,
        )
        return Ways(setup, Reflex.of(setup, protected, self._sources, now), recognition)
