"""Bans by hand: which are refused, and what of them is not enforced."""

from collections.abc import Iterable, Sequence

from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.network import Network
from reconciler.networks import Networks, overlaps
from reconciler.planning.desired import collapse, subtract
from reconciler.planning.whitelist import Exemption


def refuse(setup: Setup, network: Network, exempt: Sequence[Exemption]) -> None:
    """Raise `ConfigError` if the network is too wide, or if nothing of it would be enforced."""
    limits = setup.config.treason.min_prefix
    if not limits.allows(network):
        limit = limits.ipv6 if network.version == 6 else limits.ipv4
        raise ConfigError(
            f"{network} is wider than /{limit}, the limit set by min_prefix in [treason]",
            "ban a narrower network, or use --force to ban it anyway",
        )
    if _left(network, exempt):
        return
    entry = next(entry for entry in exempt if overlaps(network, [entry.network]))
    comment = " ".join(entry.comment.split())
    if entry in setup.whitelist:
        why = f" ({comment})" if comment else ""
        raise ConfigError(
            f"{network} is whitelisted by {entry.network}{why}, so the ban would not be enforced",
            "remove it from the whitelist first, or store the ban anyway with --force",
        )
    raise ConfigError(
        f"{network} is protected by {entry.network} ({comment}), so the ban would not be enforced",
        "switch that protection off in [protect] first, or store the ban anyway with --force",
    )


def remark(network: Network, exempt: Sequence[Exemption]) -> str:
    """Return what of a stored ban is not enforced; empty if all of it is."""
    left = _left(network, exempt)
    if not left:
        return ", but not enforced: it is exempt"
    return "" if network in left else "; the exempt addresses in it are not dropped"


def _left(network: Network, exempt: Iterable[Exemption]) -> Networks:
    """Return what of the network is not exempt."""
    return subtract(Networks.of([network]), collapse(entry.network for entry in exempt))
