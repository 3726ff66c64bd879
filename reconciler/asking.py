"""A backend that can be asked about one network: how it is asked, and what it answers."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from attrs import field, frozen

from reconciler.errors import BackendError
from reconciler.interfaces import Backend
from reconciler.model import Damage
from reconciler.network import Network
from reconciler.networks import Networks


def _held(networks: Iterable[Network]) -> Networks:
    return Networks.of(networks)


def _decisions(decisions: "Iterable[Decision]") -> "tuple[Decision, ...]":
    return tuple(decisions)


def _damage(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    return tuple(damage)


def _problems(problems: Iterable[BackendError]) -> tuple[BackendError, ...]:
    return tuple(problems)


@frozen
class Decision:
    """One rule of a backend that concerns the network asked for.

    ``networks`` are those of it that share an address with that network, ``drops`` says what
    becomes of their packets: they are dropped, or passed; None where that cannot be told, as of a
    rule that somebody else put there. ``rule`` names it in the platform's own words, ``packets``
    is how many it has counted, of all its networks; None where it counts none.
    """

    networks: Networks = field(converter=_held)
    drops: bool | None
    rule: str
    packets: int | None = None


@frozen
class Held:
    """What a backend holds of a network now.

    ``decisions`` stand in the order in which packets come to them: the first one that holds an
    address decides. ``reached`` says whether packets come to them at all; None where only some do,
    or it cannot be told: ``unreached`` is why, in words. ``damage`` and ``problems`` are those of
    `Observed`, as far as they are known without reading everything.
    """

    decisions: tuple[Decision, ...] = field(default=(), converter=_decisions)
    reached: bool | None = True
    unreached: str = ""
    damage: tuple[Damage, ...] = field(default=(), converter=_damage)
    problems: tuple[BackendError, ...] = field(
        default=(), converter=_problems, eq=lambda problems: [*map(str, problems)]
    )


@runtime_checkable
class AskableBackend(Backend, Protocol):
    """A backend that can tell what it holds of one network without reading everything."""

    def holds(self, network: Network) -> Held:
        """Return what is held of the network; raise `BackendUnreadable` rather than guess."""
