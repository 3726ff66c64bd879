"""On what ground the connections of a peer are closed: by the rule that it offended against. Pure.

The kernel's log can be made to name anybody: a message that the peer's sockets did not confirm is
believed no further than to ban.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.detection.detect import IN_COMPANY
from reconciler.detection.policy import Policy
from reconciler.model import Ban, Closing, Ground, Offence

_GROUNDS: Final = {
    "zero-window": Ground.SEEN,
    "sockstress": Ground.SEEN,
    IN_COMPANY: Ground.SEEN,
    "treason-uncloaked": Ground.TOLD,
    "unexpectedly-shrunk": Ground.TOLD,
    "probing-zero-window": Ground.TOLD,
    "shrinks-window": Ground.TOLD,
}
"""By the rule that banned a peer, unless its sockets showed what it is banned for.

Those of all others are left to themselves.
"""


def expected(
    offences: Sequence[Offence], bans: Iterable[Ban], now: int, policy: Policy
) -> list[Closing]:
    """Return whose connections are to be closed: of who was banned, and of who was spared."""
    shown = {(policy.subject(each.address), each.rule) for each in offences if each.shown}
    grounds = (
        (ban, Ground.SEEN if (ban.network, ban.origin) in shown else _GROUNDS.get(ban.origin))
        for ban in bans
    )
    found = [Closing(ban.network, ground, now) for ban, ground in grounds if ground is not None]
    spared = {offence.address for offence in offences if offence.rule == IN_COMPANY}
    return [*found, *(Closing(address, Ground.SPARED, now) for address in sorted(spared))]
