"""Decide which offences make a ban. Pure: every input, the time included, is an argument."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, le

from reconciler.embedding import SHARED, SITE, SIX_TO_FOUR
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.networks import Networks, overlaps
from reconciler.toml import duration
from reconciler.toml.schema import internal, setting

ENFORCE: Final = "enforce"
OBSERVE: Final = "observe"

_NONE: Final[Mapping[str, "Policy"]] = {}
_SHARED: Final = tuple(Networks.of(SHARED).outermost())


def _mode(text: object) -> str:
    if text in (ENFORCE, OBSERVE):
        return str(text)
    raise ValueError(f"{text!r} is not a mode: write {ENFORCE!r} or {OBSERVE!r}")


@frozen
class Policy:
    """``threshold`` distinct connections within ``window`` seconds are banned for ``ban_for``.

    ``ban_for`` and ``max_ban`` are in seconds, None means permanent. A network that was banned
    before, until the ban ended, is banned ``escalate`` times as long as the last time, up to
    ``max_ban``. IPv6 peers are counted and banned by the network of ``ipv6_prefix`` bits that
    they are in, but each by itself where that network shares an address with one of those ``apart``
    (collapsed). The default is that one offence is enough, for a permanent ban.

    The rest holds for a whole pass: with the ``mode`` observe the bans that would be made are told
    and not made, now or later; ``max_new_bans`` (0 is no limit), ``listeners_only`` (count only
    connections to a port where something listens), and for how many seconds offences, and the
    history of what is no longer banned, are kept.
    """

    mode: str = setting(ENFORCE, _mode)
    threshold: int = field(default=1, validator=and_(ge(1), le(10_000)))
    window: int = setting(600, duration.finite, duration.render)
    ban_for: int | None = setting(None, duration.parse, duration.render)
    escalate: float = field(default=1.0, validator=and_(ge(1), le(1000)))
    max_ban: int | None = setting(None, duration.parse, duration.render)
    ipv6_prefix: int = field(default=128, validator=and_(ge(1), le(128)))
    max_new_bans: int = field(default=0, validator=ge(0))
    listeners_only: bool = False
    keep_offences: int = setting(90 * 86400, duration.finite, duration.render)
    keep_history: int = setting(365 * 86400, duration.finite, duration.render)
    apart: tuple[Network, ...] = internal(_SHARED)

    @property
    def observes(self) -> bool:
        """Whether the bans that it would make are only told."""
        return self.mode == OBSERVE

    def subject(self, address: Network) -> Network:
        """Return the network that is counted and banned for this address."""
        if self.ipv6_prefix == address.length or address.version == 4:
            return address
        site = SIX_TO_FOUR <= address <= SIX_TO_FOUR.end
        length = max(self.ipv6_prefix, SITE) if site else self.ipv6_prefix
        spare = 128 - length
        network = Network.of(6, address.address >> spare << spare, length)
        return address if overlaps(network, self.apart) else network

    def until(self, now: int, ended: int) -> int | None:
        """Return the end of a ban that begins now, of a network with so many bans behind it."""
        if self.ban_for is None:
            return None if self.max_ban is None else now + self.max_ban
        longest = duration.LONGEST if self.max_ban is None else self.max_ban
        seconds: float = self.ban_for
        for _ in range(ended if self.escalate > 1 else 0):
            if seconds >= longest:
                break
            seconds *= self.escalate
        if self.max_ban is None and seconds > longest:
            return None
        return now + int(min(seconds, longest))


@frozen(eq=False)
class Past:
    """What is stored of the networks.

    The offences help to reach the threshold; ``ended`` tells how many bans of each have run out.
    """

    offences: Iterable[Offence] = ()
    ended: Mapping[Network, int] = field(factory=dict)


def decide(
    offences: Iterable[Offence],
    past: Past,
    policy: Policy,
    now: int,
    own: Mapping[str, Policy] = _NONE,
) -> list[Ban]:
    """Return the bans that ``offences`` cause, in the order of the networks' first offence.

    Repeated messages about one connection count once. ``own`` holds the rules with a policy of
    their own: each counts by itself, all others count together.
    """
    fresh: dict[tuple[Network, str], Offence] = {}
    by_subject: defaultdict[tuple[Network, str], list[Offence]] = defaultdict(list)
    for offence in offences:
        subject = policy.subject(offence.address), offence.rule if offence.rule in own else ""
        fresh.setdefault(subject, offence)
        by_subject[subject].append(offence)
    for offence in past.offences:
        subject = policy.subject(offence.address), offence.rule if offence.rule in own else ""
        by_subject[subject].append(offence)
    bans: dict[Network, Ban] = {}
    for (network, rule), offence in fresh.items():
        chosen = own.get(rule, policy)
        if _reaches(by_subject[network, rule], chosen, now):
            until = chosen.until(now, past.ended.get(network, 0))
            if network not in bans or later(until, bans[network].until):
                bans[network] = Ban(network, now, until, offence.rule, offence.evidence)
    return [*bans.values()]


def later(until: int | None, known: int | None) -> bool:
    """Whether a ban ends after another one; None is never."""
    return known is not None and (until is None or until > known)


def _reaches(offences: list[Offence], policy: Policy, now: int) -> bool:
    """Whether some window holds enough distinct connections."""
    if policy.threshold == 1:
        return True
    timeline = sorted((offence.when(now), i) for i, offence in enumerate(offences))
    window: deque[tuple[float, object]] = deque()
    held: Counter[object] = Counter()
    for time, index in timeline:
        offence = offences[index]
        told = offence.peer_port is not None
        connection = (offence.address, offence.peer_port, offence.local_port) if told else index
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
