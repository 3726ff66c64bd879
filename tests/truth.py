"""What should be dropped, told in plain terms and apart from the program.

Each ban has two ends, in true seconds: before the first it must be enforced, after the second it
must not be. They differ where a wrong clock, or a pass that was killed, lets nobody tell exactly.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Final

import attrs

HOUR: Final = 3600
NEVER: Final = float("inf")
ROUNDED: Final = 30
"""Seconds that may be lost, or won, by rounding whenever a clock is set."""


@attrs.define
class Ban:
    """A ban; it surely lasts until ``first``, and is surely over at ``last``."""

    first: float
    last: float


@attrs.define
class Offence:
    """An offence in the log that is not surely stored.

    ``tried`` is the time of the first pass that may have stored it; ``sure`` says that it bans.
    """

    tried: float | None = None
    sure: bool = True


@attrs.define
class Stored:
    """What the database should know."""

    bans: dict[str, Ban] = attrs.Factory(dict)
    offences: dict[str, Offence] = attrs.Factory(dict)

    def copy(self) -> "Stored":
        """Return a copy, as of a backup."""
        return deepcopy(self)

    def ban(self, network: str, seconds: float | None, time: float) -> None:
        """Somebody bans for so long; what was before does not count any more."""
        end = NEVER if seconds is None else time + seconds
        self.bans[network] = Ban(end - ROUNDED, end + ROUNDED)

    def unban(self, network: str) -> None:
        """Somebody unbans; an offence may have been the cause."""
        self.bans.pop(network, None)
        if (offence := self.offences.get(network)) and offence.tried is not None:
            offence.sure = False

    def offend(self, peer: str) -> None:
        """A peer offends again."""
        self.offences.setdefault(peer, Offence())
        if self.offences[peer].tried is not None:
            self.offences[peer] = Offence()

    def scan(self, time: float, length: float, exempt: set[str], *, stored: bool) -> None:
        """A pass read the log; ``stored`` says that it surely kept what it read."""
        for peer, offence in [*self.offences.items()]:
            if peer in exempt:
                offence.sure = False
            offence.tried = time if offence.tried is None else offence.tried
            old = self.bans.get(peer, Ban(0, 0))
            first = offence.tried + length - ROUNDED if offence.sure and stored else 0
            self.bans[peer] = Ban(max(old.first, first), max(old.last, time + length + ROUNDED))
            if stored:
                del self.offences[peer]

    def delay(self, seconds: float) -> None:
        """The machine was off, and may not know for how long."""
        for ban in self.bans.values():
            ban.last += seconds

    def doubt(self, time: float) -> None:
        """A wrong clock was believed: what ends at all may have ended."""
        for ban in self.bans.values():
            if ban.last < NEVER:
                ban.first = min(ban.first, time)

    def must(self, time: float, among: frozenset[str]) -> set[str]:
        """Return which addresses are surely banned."""
        return self._held(among, lambda ban: ban.first > time)

    def may(self, time: float, among: frozenset[str]) -> set[str]:
        """Return which addresses may be banned."""
        return self._held(among, lambda ban: ban.last > time)

    def _held(self, among: frozenset[str], counts: Callable[[Ban], bool]) -> set[str]:
        return set[str]().union(
            *(covered(net, among) for net, ban in self.bans.items() if counts(ban))
        )


@cache
def covered(network: str, among: frozenset[str]) -> set[str]:
    """Return which of the addresses are in a network."""
    return {each for each in among if ip_address(each) in ip_network(network)}
