"""Who is dropped at once: an offence that makes a ban whatever is stored."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import field, frozen

from reconciler.config.setup import Setup
from reconciler.detection.detect import NEVER, Rule
from reconciler.detection.policy import Policy
from reconciler.model import Offence
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks
from reconciler.passes.access import apart
from reconciler.passes.counting import spares
from reconciler.planning.desired import collapse, subtract
from reconciler.planning.whitelist import Exemption

_FRESH: Final = 60.0
"""Seconds: an offence that is older may have been settled by a lift meanwhile."""


@frozen(eq=False)
class Reflex:
    """Decides without the store, under the policy and the rules of a set-up.

    ``exempt`` (collapsed) are never dropped. ``live`` are the sources whose messages are to be
    confirmed.
    """

    policy: Policy
    rules: Mapping[str, Rule] = field(factory=dict)
    exempt: Networks = NOTHING
    nat64: Sequence[Network] = ()
    live: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, setup: Setup, protected: Sequence[Exemption], sources: Iterable[str], now: int
    ) -> "Reflex":
        """Return what a pass would go by at ``now`` (epoch seconds)."""
        return cls(
            apart(setup, protected),
            {rule.name: rule for rule in setup.rules},
            collapse([*setup.whitelisted(now), *(each.network for each in protected)]),
            setup.config.protect.prefixes,
            setup.live(sources) if setup.config.trust.confirm != NEVER else frozenset(),
        )

    def dropped(self, source: str, offences: Iterable[Offence]) -> Networks:
        """Return what is to be dropped at once for these offences of a source."""
        now, live = time.time(), source in self.live
        subjects = [
            self.policy.subject(offence.address)
            for offence in offences
            if self.acts_on(offence, now) and not (live and self._is_asked(offence))
        ]
        return self.enforceable(subjects)

    def enforceable(self, networks: Iterable[Network]) -> Networks:
        """Return what is left of bans when who is exempt is cut out."""
        return subtract(collapse(networks), self.exempt)

    def _is_asked(self, offence: Offence) -> bool:
        """Whether something besides it has to confirm a live message."""
        return offence.trusted and self.rules[offence.rule].confirm != NEVER

    def acts_on(self, offence: Offence, now: float) -> bool:
        """Whether an offence may be acted on now, before it is stored (``now``: epoch seconds).

        The store decides where more than one offence makes a ban, where new bans are limited, and
        what became of an older one. This is the one place that says so.
        """
        policy, rule = self.policy, self.rules.get(offence.rule)
        if rule is None or rule.report_only or policy.observes or policy.max_new_bans:
            return False
        if (rule.policy or policy).threshold > 1:
            return False
        if offence.time is not None and abs(now - offence.time) > _FRESH:
            return False
        return offence.address.version == 4 or not spares(
            offence.address, policy, self.exempt, self.nat64
        )
