"""What is stored of the connections that messages tell of: what was seen before counts, once."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from attrs import frozen

from reconciler.detection.detect import SOCKET, ZERO_WINDOW, Rule
from reconciler.detection.policy import Policy
from reconciler.model import Connection, Offence
from reconciler.store.store import Store

_CLOCK: Final = 300
"""Seconds that a stored time may lie ahead."""

Evidence = Mapping[Connection, Collection[tuple[str, float]]]
"""Of connections: rule and time (epoch seconds) of each offence that proves something."""


@frozen(eq=False)
class Earlier:
    """Looks up offences at ``now``; ``live`` names the sources whose messages are confirmed."""

    store: Store
    policy: Policy
    rules: Mapping[str, Rule]
    now: int
    live: Collection[str]

    def window(self, offence: Offence) -> int:
        """Return the seconds within which offences belong together."""
        rule = self.rules.get(offence.rule)
        return ((rule and rule.policy) or self.policy).window

    def evidence(self, offences: Collection[Offence]) -> Evidence:
        """Return what is stored of the connections of these, and was not settled by a lift."""
        connections = {each.connection for each in offences if each.connection is not None}
        if not connections:
            return {}
        since = min(each.when(self.now) - self.window(each) for each in offences)
        found = self.store.offences.of_connections(connections, since, self.now + _CLOCK)
        subjects = {each: self.policy.subject(each.peer) for each in found}
        lifts = self.store.history.lifts({*subjects.values()}, self.now) if found else {}
        return {
            each: [
                (rule, time)
                for rule, source, time in rows
                if self._proves(rule, source) and time > lifts.get(subjects[each], 0)
            ]
            for each, rows in found.items()
        }

    def _proves(self, rule: str, source: str | None) -> bool:
        """Whether a stored offence tells what sockets showed."""
        named = self.rules.get(rule)
        confirmed = named is not None and named.confirm == SOCKET and source in self.live
        return rule == ZERO_WINDOW or confirmed

    def told_first(self, offences: Iterable[Offence]) -> list[Offence]:
        """Return what a source judges, but a message told first, and what was banned for it."""
        judged = [each for each in offences if each.judged and each.rule == ZERO_WINDOW]
        if not (judged and self.live):
            return []
        subjects = {self.policy.subject(each.address) for each in judged}
        banned = {**self.store.withheld.ends(subjects, self.now)}
        banned |= self.store.bans.ends(subjects, self.now)
        connections = {
            each.connection
            for each in judged
            if each.connection is not None and self.policy.subject(each.address) in banned
        }
        since = self.now - self.window(judged[0])
        stored = self.store.offences.of_connections(connections, since, self.now + _CLOCK)
        first = {
            each
            for each, rows in stored.items()
            if any(rule == ZERO_WINDOW and source in self.live for rule, source, _ in rows)
        }
        return [each for each in judged if each.connection in first]
