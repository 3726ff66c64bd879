"""Bans by hand: which are refused, and what of them is not enforced."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import chain, filterfalse

from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.interfaces import Spec
from reconciler.network import Network
from reconciler.networks import Networks, overlaps
from reconciler.planning.desired import collapse, subtract
from reconciler.planning.whitelist import Exemption


class Exempt:
    """Who is never dropped, and by which entry: sorted once, then asked about many networks."""

    def __init__(self, setup: Setup, protected: Iterable[Exemption], now: int) -> None:
        """Take the whitelist at ``now`` (epoch seconds), and what is protected besides."""
        self._limits = setup.config.treason.min_prefix
        holding = [entry for entry in reversed(setup.whitelist) if entry.holds(now)]
        self._listed = {entry.network: entry for entry in holding}
        self._protected = {entry.network: entry for entry in protected}
        self._networks = collapse([*self._listed, *self._protected])
        self._order = [*self._networks]  # which is searched without making anything

    def refusal(self, network: Network) -> ConfigError | None:
        """Return why the network is not banned: too wide, or nothing of it would be enforced."""
        limits = self._limits
        if not limits.allows(network):
            limit = limits.ipv6 if network.version == 6 else limits.ipv4
            return ConfigError(
                f"{network} is wider than /{limit}, the limit set by min_prefix in [treason]",
                "ban a narrower network, or use --force to ban it anyway",
            )
        return None if self._left(network) else self._named(network)

    def suspects(self, networks: Networks) -> Networks:
        """Return those that may be refused, or enforced in part: of many mostly a few."""
        allows, meeting = self._limits.allows, map(networks.meeting, self._order)
        wider = (each for version in (4, 6) for each in networks.wider(version))
        return Networks.of(chain(filterfalse(allows, wider), *meeting))

    def remark(self, network: Network) -> str:
        """Return what of a stored ban is not enforced; empty if all of it is."""
        if not overlaps(network, self._order):
            return ""
        if not self._left(network):
            return ", but not enforced: it is exempt"
        return "; the exempt addresses in it are not dropped"

    def _left(self, network: Network) -> Networks:
        """Return what of the network is not exempt."""
        alone = Networks.of([network])
        return subtract(alone, self._networks) if overlaps(network, self._order) else alone

    def _named(self, network: Network) -> ConfigError:
        """Return the refusal that names the entry by which the network is exempt."""
        at = bisect_right(self._order, network)
        wider = at > 0 and network <= self._order[at - 1].end
        first = self._order[at - 1 if wider else at]
        if (entry := self._listed.get(first)) is not None:
            comment = " ".join(entry.comment.split())
            why = f" ({comment})" if comment else ""
            return ConfigError(
                f"{network} is whitelisted by {first}{why}, so the ban would not be enforced",
                "remove it from the whitelist first, or store the ban anyway with --force",
            )
        comment = " ".join(self._protected[first].comment.split())
        return ConfigError(
            f"{network} is protected by {first} ({comment}), so the ban would not be enforced",
            "switch that protection off in [protect] first, or store the ban anyway with --force",
        )


def refuse_closing(setup: Setup) -> None:
    """Raise `ConfigError` where no connection is closed, so that none can be asked for."""
    if setup.config.policy.observes:
        raise ConfigError(
            "--close closes nothing while [policy] mode is observe",
            'ban without --close, or set mode = "enforce"',
        )
    configured = (Spec.parse(each).name for each in setup.config.treason.backends)
    known = setup.plugins.backends
    if not any(name in known and known[name].drops_packets for name in configured):
        raise ConfigError(
            "--close closes nothing: no backend of [treason] backends drops packets itself",
            "ban without --close, or add one that does, such as nftables",
        )
