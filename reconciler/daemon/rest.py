"""The rest of the daemon: as long as it is held, or stands still, it changes nothing in force."""

import time
from collections.abc import Callable
from typing import Any

from attrs import frozen

from reconciler.report.times import iso

Then = Callable[[], object]


@frozen
class _Asked:
    """Which process asked for it, since when (epoch seconds), ``by`` which command."""

    pid: int
    since: float
    by: str = ""


class Rest:
    """Whether anything may be dropped, repaired, or changed by a pass: everybody asks it before.

    Who holds the daemon lets it rest until they let go; one that stands still does so until it is
    told to go on. When neither is so any more, ``wake`` is called, and it rests until all is
    `begun_anew`: files, database and firewall may be others by then. ``tell`` is called when the
    `text` is another one.
    """

    def __init__(self, wake: Then, tell: Then) -> None:
        self._wake, self._tell = wake, tell
        self._holders: dict[object, _Asked] = {}
        self._still: _Asked | None = None
        self._waiting: dict[object, Then] = {}
        self._children = 0
        self._waking = False
        self._later: list[Then] = []

    @property
    def closed(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._holders or self._still or self._waking)

    @property
    def text(self) -> str:
        """Return why the daemon rests; an empty text: it does not, or begins anew by itself."""
        texts = []
        if still := self._still:
            by = f"{still.by}, process {still.pid}" if still.by else f"process {still.pid}"
            texts.append(f"stands still since {iso(still.since)} ({by}); go on: treason resume")
        if self._holders:
            pids = ", ".join(str(each.pid) for each in self._holders.values())
            first = min(each.since for each in self._holders.values())
            texts.append(f"is held by process {pids} since {iso(first)}")
        return "; ".join(texts)

    def told(self) -> dict[str, Any]:
        """Return what a status says of it, as `reconciler.host.control.DaemonStatus` names it."""
        return {
            "rests": self.text,
            "held": tuple(each.pid for each in self._holders.values()),
            "still": self._still.since if self._still else None,
        }

    def hold(self, holder: object, pid: int, then: Then) -> None:
        """Rest from now on; call ``then`` once no pass of the daemon's own runs any more."""
        self._holders[holder] = _Asked(pid, time.time())
        self._waiting[holder] = then
        self._waking = False  # its end wakes once more
        self._tell()
        self._answer()

    def let_go(self, holder: object) -> None:
        """Rest for this one no more, if it holds the daemon."""
        self._waiting.pop(holder, None)
        if self._holders.pop(holder, None):
            self._go_on()

    def stand_still(self, pid: int, by: str) -> None:
        """Rest also when nobody holds the daemon any more, until it is told to go on."""
        self._still = _Asked(pid, time.time(), by)
        self._tell()

    def go_on(self) -> None:
        """Stand still no more."""
        if self._still:
            self._still = None
            self._go_on()

    def begun_anew(self, *, others: bool = False) -> None:
        """Wait for this no more; where the backends are ``others``, stand still no more."""
        if others:
            self._still = None
        self._waking = False
        later, self._later = self._later, []
        for then in later:
            then()

    @property
    def waking(self) -> bool:
        """Whether nothing but the beginning anew is waited for."""
        return self._waking

    def later(self, then: Then) -> None:
        """Call this once all has begun anew."""
        self._later.append(then)

    def child_began(self) -> None:
        """Count a pass of the daemon's own."""
        self._children += 1

    def child_ended(self) -> None:
        """Count it no more; who waits for that is told."""
        self._children -= 1
        self._answer()

    def _answer(self) -> None:
        if self._children == 0:
            waiting, self._waiting = self._waiting, {}
            for then in waiting.values():
                then()

    def _go_on(self) -> None:
        if not (self._holders or self._still):
            self._waking = True
            self._wake()
