"""A list of networks as bans: what of it is refused, and what is left."""

from typing import Final

from attrs import frozen

from reconciler.blocklist import Blocklist
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.passes.banning import Exempt

_TOLD: Final = 100
"""Refused networks, or those of which not all is enforced, that are told."""


@frozen
class Sifted:
    """The networks to ban, by reason; what is refused.

    Of the ``refused`` the first are told, as are, in ``remarks``, networks of which not all is
    enforced.
    """

    groups: tuple[tuple[str, Networks], ...]
    refused: int
    first: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def number(self) -> int:
        """How many networks are left; one that has two reasons counts twice."""
        return sum(len(networks) for _, networks in self.groups)


def sifted(found: Blocklist, exempt: Exempt, reason: str, *, force: bool) -> Sifted:
    """Return what is banned of a list, for its own reasons or else ``reason``.

    What is too wide or exempt is refused, unless by ``force`` it is stored as well.
    """
    refused: list[Network] = []
    told: list[str] = []
    remarks: list[str] = []
    for network in exempt.suspects(found.all):
        error = None if force else exempt.refusal(network)
        if error:
            refused.append(network)
            told += [error.what][: _TOLD - len(told)]
        elif remark := exempt.remark(network):
            remarks += [f"{network}: banned{remark}"][: _TOLD - len(remarks)]
    without = Networks.of(refused)
    groups = (*found.reasons.items(), (reason, found.networks))
    return Sifted(
        tuple((why, networks - without) for why, networks in groups),
        found.refused + len(refused),
        (*map(str, found.first), *told),
        tuple(remarks),
    )
