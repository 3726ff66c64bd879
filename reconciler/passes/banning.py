"""Bans by hand: which are refused, and what of them is not enforced."""

from collections.abc import Iterable, Sequence

from reconciler.config.setup import Setup
from reconciler.errors import ConfigError
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.planning.desired import collapse, overlaps, subtract
from reconciler.planning.whitelist import Exemption


def refuse(setup: Setup, network: Network, exempt: Sequence[Exemption]) -> None:
    """Raise `ConfigError` if the network is too wide, or if nothing of it would be enforced."""
    if not setup.config.treason.min_prefix.allows(network):
        raise ConfigError(
            f"{network} is wider than [treason] min_prefix allows",
            "ban a narrower network, or say --force",
        )
    if _left(network, exempt):
        return
    entry = next(entry for entry in exempt if overlaps(network, [entry.network]))
    raise ConfigError(
        f"{network} is exempt ({entry.network}: {entry.comment}), so a ban would not be enforced",
        "remove the exemption first, or store the ban anyway with --force",
    )


def remark(network: Network, exempt: Sequence[Exemption]) -> str:
    """Return what of a stored ban is not enforced; empty if all of it is."""
    left = _left(network, exempt)
    if not left:
        return "; exempt, so it is not enforced"
    return "" if network in left else "; exempt addresses inside stay open"


def _left(network: Network, exempt: Iterable[Exemption]) -> Networks:
    """Return what of the network is not exempt."""
    return subtract(Networks.of([network]), collapse(entry.network for entry in exempt))
