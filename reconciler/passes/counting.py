"""Which offences of a pass count, and the bans that follow, given what is stored."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from reconciler import embedding
from reconciler.detection.detect import Rule
from reconciler.detection.policy import Past, Policy, decide, later
from reconciler.model import Ban, Offence
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks, covered
from reconciler.store.offences import Sighting
from reconciler.store.store import Store

if TYPE_CHECKING:
    from reconciler.passes.again import Again

_DISORDER: Final = 10_000_000
"""Microseconds by which the records of several processors may be out of order."""

_CLOCK: Final = 300
"""Seconds that a stored time may lie ahead; one that lies further is of a clock that was wrong."""

_AHEAD: Final = 100 * 86400
"""Seconds that a lift may lie ahead, and settles what came before it: the clock was set back."""


@define(eq=False)
class Counting:
    """Decides on offences as the sources of one pass bring them.

    What is not stored, because nothing is, counts as if it were. Peers that are ``exempt``
    (collapsed) get nobody else banned, nor does an address of IPv6 that stands for one of IPv4 that
    is, by the prefixes ``nat64`` or otherwise. ``again`` is for a log that is read anew, on
    purpose. ``bans`` are those of the pass so far, with their ends.
    """

    store: Store
    policy: Policy
    rules: Sequence[Rule]
    now: int
    exempt: Networks = NOTHING
    nat64: Sequence[Network] = embedding.NAT64
    again: "Again | None" = None
    bans: dict[Network, int | None] = field(factory=dict, init=False)
    _unstored: dict[Network, list[tuple[str, Offence]]] = field(factory=dict, init=False)
    _seen: dict[tuple[int, str], list[Sighting]] = field(factory=dict, init=False)

    def unknown(self, source: str, offences: Sequence[Offence]) -> list[Offence]:
        """Leave out the records that were counted already, whoever brought them.

        The kernel stamps each record once, and every carrier that keeps the stamp passes it on.
        """
        if self.again is not None:
            offences = self.again.unknown(source, offences)
        seen = self.store.offences.stored(offences)
        doubted = self.store.attempt_to_read(partial(self.store.unconfirmed.stored, offences))
        for stamp, sightings in (doubted or {}).items():
            seen.setdefault(stamp, []).extend(sightings)
        fresh = []
        for each in offences:
            if each.stamp is not None:
                earlier = seen.setdefault(each.stamp, [*self._seen.get(each.stamp, ())])
                if any(sighting.is_of(each, source) for sighting in earlier):
                    continue
                earlier.append(Sighting(source, each.time, each.count, each.boot))
            fresh.append(each)
        return fresh

    def follow(self, offences: Iterable[Offence]) -> tuple[list[Ban], list[Ban]]:
        """Return the bans that follow, and those that only make another one longer.

        A longer ban is never shortened. What came before a ban of its network was lifted, or had
        ended, or was only observed, is settled, however late it is read. Otherwise what is new
        counts, whatever its time.
        """
        own = {rule.name: rule.policy for rule in self.rules if rule.policy is not None}
        known = self.again.known if self.again else []
        counting = self._counting([*known, *offences])
        subjects = {self.policy.subject(each.address) for each in counting}
        lifts = self._settled(subjects)
        counting = self._unsettled(counting, lifts)
        made = {subject: self.bans[subject] for subject in subjects if subject in self.bans}
        ends = self._known(subjects) | made
        if for_good := {network for network, until in ends.items() if until is None}:
            counting = [o for o in counting if self.policy.subject(o.address) not in for_good]
        past = self._past(counting, lifts)
        decided = decide(counting, past, self.policy, self.now, own)
        new = [ban for ban in decided if ban.network not in ends]
        longer = [b for b in decided if b.network in ends and later(b.until, ends[b.network])]
        if self.again:
            self.again.note(new, self.now)
        self.bans |= {ban.network: ban.until for ban in (*new, *longer)}
        return new, longer

    def numbers(self, offences: Iterable[Offence]) -> Counter[Network]:
        """Return how many offences each network has that can get it banned."""
        found: Counter[Network] = Counter()
        for offence in self._counting(offences):
            found[self.policy.subject(offence.address)] += offence.count
        return found

    def keep(self, source: str, offences: Sequence[Offence]) -> None:
        """Remember what is not stored."""
        if self._looks_back(offences):
            for each in offences:
                subject = self.policy.subject(each.address)
                self._unstored.setdefault(subject, []).append((source, each))
        self.notice(source, offences)

    def notice(self, source: str, offences: Iterable[Offence]) -> None:
        """Remember that records came, which do not count."""
        for o in offences:
            if o.stamp is not None:
                sighting = Sighting(source, o.time, o.count, o.boot)
                self._seen.setdefault(o.stamp, []).append(sighting)

    def forget(self, source: str, bans: Mapping[Network, int | None]) -> None:
        """Undo what a source brought that failed; ``bans`` are those that there were before."""
        self.bans = dict(bans)
        self._unstored = {
            subject: left
            for subject, kept in self._unstored.items()
            if (left := [each for each in kept if each[0] != source])
        }
        self._seen = {
            stamp: kept
            for stamp, sightings in self._seen.items()
            if (kept := [each for each in sightings if each.source != source])
        }

    def _counting(self, offences: Iterable[Offence]) -> list[Offence]:
        """Leave out those of rules that only report, or that there are no more, and of the exempt.

        Their own ban would be cut out all the same; that of their neighbours would not. Nor would,
        in this pass, that of an address which stands for theirs.
        """
        banning = {rule.name for rule in self.rules if not rule.report_only}
        counting = [offence for offence in offences if offence.rule in banning]
        return [
            offence
            for offence in counting
            if offence.address.version == 4 or not self._is_exempt(offence.address)
        ]

    def _is_exempt(self, address: Network) -> bool:
        return spares(address, self.policy, self.exempt, self.nat64)

    def _known(self, subjects: Collection[Network]) -> dict[Network, int | None]:
        """Return the end of the ban that each network has, or would have while it is observed."""
        known = self.store.bans.ends(subjects, self.now)
        if self.policy.observes:
            known = self.store.withheld.ends(subjects, self.now) | known
        return known

    def _settled(self, subjects: Collection[Network]) -> dict[Network, float]:
        """Return up to when the offences of each network are settled."""
        if self.again is not None:
            return {**self.again.settled(subjects, self.now)}
        found = self.store.history.lifts(subjects, self.now)
        withheld = self.store.withheld.settled(subjects, self.now, observing=self.policy.observes)
        for network, time in withheld.items():
            found[network] = max(time, found.get(network, time))
        return {network: time for network, time in found.items() if time <= self.now + _AHEAD}

    def _past(self, offences: Sequence[Offence], lifts: Mapping[Network, float]) -> Past:
        """Return what is stored of the same networks, as far as a policy asks for it."""
        policies = self._policies(offences)
        escalating = any(policy.escalate > 1 for policy in policies)
        looks_back = self._looks_back(offences)
        if not (escalating or looks_back):
            return Past()
        earlier: list[Offence] = []
        subjects = {self.policy.subject(offence.address) for offence in offences}
        if looks_back:
            since = min(offence.when(self.now) for offence in offences)
            since -= max(policy.window for policy in policies)
            stored = self.store.offences.of(subjects, since, self.now + _CLOCK)
            if self.again is not None:
                stored = self.again.without_known(stored)
            unstored = [o for each in subjects for _, o in self._unstored.get(each, ())]
            earlier = self._unsettled(self._counting([*stored, *unstored]), lifts)
        return Past(earlier, self.store.history.endings(subjects, self.now) if escalating else {})

    def _unsettled(
        self, offences: Iterable[Offence], lifts: Mapping[Network, float]
    ) -> list[Offence]:
        if not lifts:
            return [*offences]
        return [
            offence
            for offence in offences
            if offence.when(self.now) > lifts.get(self.policy.subject(offence.address), -math.inf)
        ]

    def _policies(self, offences: Iterable[Offence]) -> Collection[Policy]:
        """Return the policies that these offences go by."""
        own = {rule.name: rule.policy or self.policy for rule in self.rules}
        names = {offence.rule for offence in offences}
        return [own.get(name, self.policy) for name in names]

    def _looks_back(self, offences: Iterable[Offence]) -> bool:
        """Whether what was stored before can matter."""
        return any(policy.threshold > 1 for policy in self._policies(offences))


def spares(address: Network, policy: Policy, exempt: Networks, nat64: Sequence[Network]) -> bool:
    """Whether an address of IPv6 would get others banned, or stands for somebody exempt."""
    if policy.subject(address) != address and covered(address, exempt):
        return True
    return any(covered(each, exempt) for each in embedding.embedded(address, nat64))


def guessed(offences: Sequence[Offence], now: int) -> list[Offence]:
    """Return the offences; those without any time get a guess, made from their stamps.

    The last one is taken for now. Those before it came as much earlier as their stamps say. Where
    a stamp is far higher than the next one, the machine was started in between; the stamps of
    several processors may be a little out of order.
    """
    found: list[Offence] = []
    time, stamp = float(now), None
    for offence in reversed(offences):
        if offence.time is not None or offence.guess is not None or offence.micros is None:
            found.append(offence)
            continue
        if stamp is None or offence.micros > stamp + _DISORDER:
            time -= (stamp or 0) / 1e6
            stamp = offence.micros
        elif offence.micros < stamp:
            time -= (stamp - offence.micros) / 1e6
            stamp = offence.micros
        found.append(evolve(offence, guess=time))
    found.reverse()
    return found
