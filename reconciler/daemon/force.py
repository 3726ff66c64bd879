"""What is in force: kept so by the backends' reflexes, and by passes where there are none."""

import select
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import starmap
from typing import Protocol

from reconciler.daemon.brake import QUIET, Brake
from reconciler.daemon.loop import Loop
from reconciler.daemon.preparing import makes_the_same
from reconciler.daemon.rest import Rest
from reconciler.daemon.telling import failure, say
from reconciler.errors import guarded
from reconciler.interfaces import Backend, Reflexes, WakingBackend
from reconciler.log import WARNING
from reconciler.model import Desired
from reconciler.networks import Networks


class Daemon(Protocol):
    """What is needed of the daemon."""

    loop: Loop
    rest: Rest

    def trouble(self, subject: str, text: str) -> None:
        """Note what is wrong; an empty text: nothing is."""

    def up_to_date(self, then: Callable[[], object]) -> None:
        """Call once what the files and the database say is held."""

    def make_pass(self) -> None:
        """Ask for a pass over the backends."""


class _Kept:
    """The reflexes of one backend, and the brake on its repairs."""

    def __init__(self, reflexes: Reflexes) -> None:
        self.reflexes = reflexes
        self.descriptor = reflexes.fileno()
        self.brake = Brake()
        self.holds = False


class Force:
    """Keeps what is desired in force in all backends.

    ``repaired`` is when something was put back last (epoch seconds), ``repair`` what it was, and
    ``ports`` whose change it undid.
    """

    def __init__(self, backends: Mapping[str, Callable[[], Backend]], daemon: Daemon) -> None:
        self._backends, self._daemon, self._loop = backends, daemon, daemon.loop
        self._kept: dict[str, _Kept] = {}
        self.repaired: float | None = None
        self.repair = ""
        self.ports: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The backends."""
        return tuple(self._backends)

    @property
    def all_by_reflex(self) -> bool:
        """Whether no backend needs a pass to be brought in line."""
        return len(self._kept) == len(self._backends)

    def begin(self) -> None:
        """Listen to the backends that tell of changes, if that is not done yet."""
        for name in self._backends.keys() - self._kept.keys():
            guarded(partial(self._listen, name), partial(self._deaf, name), name)

    def instead_of(self, other: "Force") -> "Force":
        """Return the other one, if it has the same backends, of the same settings; else this one.

        Then the other listens no more.
        """
        theirs = other._backends  # noqa: SLF001 - one of its kind
        pairs = zip(self._backends.values(), theirs.values(), strict=False)
        if self.names == other.names and all(starmap(makes_the_same, pairs)):
            return other
        other.close()
        for name in other.names:
            self._daemon.trouble(name, "")
            if name not in self.names:
                say(f"{name}: what it holds stays; treason teardown --backend {name} removes it")
        return self

    def close(self) -> None:
        """Listen no more; what is in force stays."""
        for name in [*self._kept]:
            self._leave(name)

    def hold(self, desired: Desired, owner: str) -> None:
        """Keep this in force from now on; what is in force and is not desired, a pass removes."""
        self.begin()
        for name, kept in [*self._kept.items()]:
            hold = partial(kept.reflexes.hold, desired, owner)
            kept.holds = self._tried(name, hold)

    def drop(self, networks: Networks) -> bool:
        """Drop these, too, at once; return whether that was done in every backend."""
        if self._daemon.rest.closed:
            return False
        done = self.all_by_reflex
        for name, kept in [*self._kept.items()]:
            done &= kept.holds and self._tried(name, partial(kept.reflexes.add, networks))
        return done

    def let_pass(self, networks: Networks) -> None:
        """Pass these at once, though they may be dropped; a pass does the rest."""
        if self._daemon.rest.closed:
            return
        for name, kept in [*self._kept.items()]:
            if kept.holds:
                self._tried(name, partial(kept.reflexes.let_pass, networks))

    def check(self) -> None:
        """Look whether all that is held is in force, and put back what is not."""
        for name in [*self._kept]:
            self._repair(name)

    def _listen(self, name: str) -> None:
        backend = self._backends[name]()
        if isinstance(backend, WakingBackend):
            kept = _Kept(backend.reflexes())
            self._loop.watch(kept.descriptor, select.POLLIN, partial(self._woken, name))
            self._kept[name] = kept
            self._daemon.trouble(name, "")

    def _deaf(self, name: str, error: BaseException) -> None:
        self._daemon.trouble(name, failure(error, name))

    def _leave(self, name: str) -> None:
        kept = self._kept.pop(name)
        self._loop.never(f"repair {name}")
        self._loop.forget(kept.descriptor)
        guarded(kept.reflexes.close, lambda _error: None, name)

    def _tried(self, name: str, work: Callable[[], object]) -> bool:
        """Return whether it was done; where not, a pass is to do it."""

        def done() -> bool:
            work()
            return True

        def failed(error: BaseException) -> bool:
            self._daemon.trouble(name, failure(error, name))
            self._daemon.make_pass()
            return False

        return guarded(done, failed, name)

    def _woken(self, name: str) -> None:
        """Somebody may have changed what is ours: if it was not us, look."""
        kept = self._kept[name]
        found: list[int] = []
        if not self._tried(name, lambda: found.extend(kept.reflexes.changed())):
            self._leave(name)  # and listen anew, once a pass has been made
        elif found:
            self.ports = tuple(found)
            self._daemon.up_to_date(partial(self._repair, name))

    def _repair(self, name: str) -> None:
        """Put back what is missing, unless that was done too often."""
        kept = self._kept.get(name)
        if kept is None or not kept.holds or self._daemon.rest.closed:
            return
        now = time.monotonic()
        if wait := kept.brake.wait(now):
            self._loop.soon(wait, f"repair {name}", partial(self._repair, name))
            return
        damage: list[str] = []
        if self._tried(name, lambda: damage.extend(map(str, kept.reflexes.repair()))):
            self._daemon.trouble(name, "")
            if damage:
                kept.brake.note(now)
                self._tell(name, kept.brake, damage)

    def _tell(self, name: str, brake: Brake, damage: list[str]) -> None:
        ports = ", ".join(str(each) for each in self.ports if each)  # 0: somebody unknown
        who = f" (changed by netlink port {ports})" if ports else ""
        self.repaired, self.repair = time.time(), f"{name}: {'; '.join(damage)}{who}"
        subject = f"{name}, again and again"
        if not brake.fights:
            say(f"put back: {self.repair}", WARNING)
            return
        self._daemon.trouble(subject, f"{name}: somebody undoes again and again what is repaired")
        self._loop.after(QUIET, subject, partial(self._daemon.trouble, subject, ""))
