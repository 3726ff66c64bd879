"""On what ground the connections of a peer are closed: by the rule that it offended against. Pure.

The kernel's log can be made to name anybody, and its messages are believed no further than to ban.
"""

from collections.abc import Iterable
from typing import Final

from reconciler.model import Ban, Closing, Ground, Offence

_SPARING: Final = "zero-window-in-company"
"""The rule for a peer most of whose connections are healthy."""

_GROUNDS: Final = {
    "zero-window": Ground.SEEN,
    "sockstress": Ground.SEEN,
    _SPARING: Ground.SEEN,
    "treason-uncloaked": Ground.TOLD,
    "unexpectedly-shrunk": Ground.TOLD,
    "probing-zero-window": Ground.TOLD,
    "shrinks-window": Ground.TOLD,
}
"""By the rule that banned a peer; those of all others are left to themselves."""


def expected(offences: Iterable[Offence], bans: Iterable[Ban], now: int) -> list[Closing]:
    """Return whose connections are to be closed: of who was banned, and of who was spared."""
    found = [
        Closing(ban.network, ground, now)
        for ban in bans
        if (ground := _GROUNDS.get(ban.origin)) is not None
    ]
    spared = {offence.address for offence in offences if offence.rule == _SPARING}
    return [*found, *(Closing(address, Ground.SPARED, now) for address in sorted(spared))]
