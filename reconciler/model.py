"""The values that travel from a source to the firewall. All are frozen; none does anything."""

from collections.abc import Iterable, Sequence

from attrs import field, frozen
from attrs.validators import deep_iterable, instance_of

from reconciler.network import Network


@frozen
class Record:
    """One message as a source read it.

    ``facility`` and ``level`` are those of syslog (RFC 5424 §6.2.1), None where the carrier does
    not tell. ``sequence`` and ``monotonic`` (seconds since boot) are the kernel's, ``time`` is
    seconds since the epoch. ``trusted`` says that the carrier vouches that the kernel wrote it.
    ``repeated`` counts how often the carrier says that the message came.
    """

    text: str
    carrier: str
    trusted: bool
    facility: int | None = None
    level: int | None = None
    sequence: int | None = None
    monotonic: float | None = None
    time: float | None = None
    boot_id: str | None = None
    repeated: int = 1


@frozen
class Offence:
    """A record that a rule recognised. ``time`` is seconds since the epoch, None if untold."""

    address: Network
    rule: str
    evidence: str
    trusted: bool
    peer_port: int | None = None
    local_port: int | None = None
    time: float | None = None
    count: int = 1


@frozen
class Ban:
    """A network that is to be dropped from ``since`` to ``until`` (epoch seconds; None: for good).

    ``origin`` is the rule that caused it, or ``manual``.
    """

    network: Network
    since: int
    until: int | None
    origin: str
    reason: str = ""


@frozen
class Desired:
    """What a backend is to hold: disjoint networks to drop, and networks to pass ahead of them."""

    banned: frozenset[Network] = frozenset()
    passed: frozenset[Network] = frozenset()


@frozen
class Damage:
    """A flaw in a backend's own structure: which object, and what is wrong with it."""

    subject: str = field(validator=instance_of(str))
    problem: str = field(validator=instance_of(str))

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


def _banned(networks: Iterable[Network]) -> frozenset[Network]:
    held = frozenset(networks)
    strange = next((network for network in held if type(network) is not Network), None)
    if strange is not None:
        raise TypeError(f"Observed holds {strange!r}, which is no Network")
    return held


def _passed(networks: Iterable[Network] | None) -> frozenset[Network] | None:
    return None if networks is None else _banned(networks)


def _damage(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    return tuple(damage)


def _notes(notes: Iterable[str]) -> tuple[str, ...]:
    return (notes,) if isinstance(notes, str) else tuple(notes)


@frozen
class Observed:
    """What a backend really holds; any collections of networks and damage will do.

    ``passed`` is None where the platform has nothing to pass ahead (a plain blocklist). Elements
    of an object that must be made anew need not be listed: they are to be added again. ``notes``
    are lines for people about what is no damage.
    """

    banned: frozenset[Network] = field(default=(), converter=_banned)
    passed: frozenset[Network] | None = field(default=frozenset(), converter=_passed)
    damage: tuple[Damage, ...] = field(
        default=(), converter=_damage, validator=deep_iterable(instance_of(Damage))
    )
    notes: tuple[str, ...] = field(
        default=(), converter=_notes, validator=deep_iterable(instance_of(str))
    )


@frozen
class Change:
    """Networks to add to, and to remove from, one collection; both in address order."""

    add: Sequence[Network] = ()
    remove: Sequence[Network] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


@frozen
class Plan:
    """The smallest change that turns what a backend holds into what is desired.

    ``repairs`` is what `Observed.damage` told; a backend that repairs by rebuilding finds the
    whole content in ``desired``.
    """

    banned: Change
    passed: Change
    repairs: tuple[Damage, ...]
    desired: Desired = field(repr=False)
