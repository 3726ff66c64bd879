"""Decide which offences make a ban. Pure: every input, the time included, is an argument."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from attrs import field, frozen
from attrs.validators import ge

from reconciler import duration
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.schema import setting


@frozen
class Policy:
    """``threshold`` distinct connections within ``window`` seconds are banned for ``ban_for``.

    ``ban_for`` is in seconds, None for good. The default is that one offence is enough, for good.
    """

    threshold: int = field(default=1, validator=ge(1))
    window: int = setting(600, duration.finite, duration.render)
    ban_for: int | None = setting(None, duration.parse, duration.render)


def decide(
    offences: Iterable[Offence], earlier: Iterable[Offence], policy: Policy, now: int
) -> list[Ban]:
    """Give the bans that ``offences`` cause, in the order of the addresses' first offence.

    ``earlier`` are stored offences of the same addresses; they help to reach the threshold.
    Repeated messages about one connection count once. An offence without a time happened now.
    """
    fresh: dict[Network, Offence] = {}
    by_address: defaultdict[Network, list[Offence]] = defaultdict(list)
    for offence in offences:
        fresh.setdefault(offence.address, offence)
        by_address[offence.address].append(offence)
    for offence in earlier:
        by_address[offence.address].append(offence)
    until = None if policy.ban_for is None else now + policy.ban_for
    return [
        Ban(address, now, until, offence.rule, offence.evidence)
        for address, offence in fresh.items()
        if _reaches(by_address[address], policy, now)
    ]


def _reaches(offences: list[Offence], policy: Policy, now: int) -> bool:
    """Whether some window holds enough distinct connections."""
    if policy.threshold == 1:
        return True
    timeline = sorted((now if o.time is None else o.time, i) for i, o in enumerate(offences))
    window: deque[tuple[float, object]] = deque()
    held: Counter[object] = Counter()
    for time, index in timeline:
        offence = offences[index]
        told = offence.peer_port is not None
        connection = (offence.peer_port, offence.local_port) if told else index
        window.append((time, connection))
        held[connection] += 1
        while time - window[0][0] > policy.window:
            _, old = window.popleft()
            held[old] -= 1
            if not held[old]:
                del held[old]
        if len(held) >= policy.threshold:
            return True
    return False
