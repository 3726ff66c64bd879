"""The values that travel from a source to the firewall. All are frozen; none does anything."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, instance_of, le, optional

from reconciler.errors import BackendError
from reconciler.network import Network
from reconciler.networks import NOTHING, Networks

_PORT: Final = optional(and_(instance_of(int), ge(0), le(0xFFFF)))


@frozen
class Judgement:
    """What a source has judged by itself: who offends, against which rule."""

    rule: str = field(validator=instance_of(str))
    address: Network = field(validator=instance_of(Network))
    peer_port: int | None = field(default=None, validator=_PORT)
    local_port: int | None = field(default=None, validator=_PORT)


@frozen
class Record:
    """One message as a source read it, or what a source has judged by itself.

    ``facility`` and ``level`` are those of syslog (RFC 5424 §6.2.1), None where the carrier does
    not tell. ``sequence`` and ``monotonic`` (seconds since boot) are the kernel's, ``time`` is
    seconds since the epoch. ``trusted`` says that the carrier vouches that the kernel wrote it.
    ``repeated`` counts how often the carrier says that the message came. ``latest`` is when it was
    made at the latest (seconds since the epoch), where ``time`` is not told.
    Of what a source has judged, ``judgement`` tells who it was: no pattern is held against the
    text, which is evidence for people.
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
    latest: float | None = None
    judgement: Judgement | None = None


@frozen
class Suspect:
    """What may be an offence if it lasts: a source looks at it again in the next pass.

    ``thing`` names it, in the source's own words, ``rule`` is the one that it may offend against.
    ``since`` is when it was first seen so, in seconds of a clock of the source's choice, ``looks``
    how often. ``judged`` says that a record was made of it. ``note`` is for the source alone.
    """

    thing: str = field(validator=instance_of(str))
    rule: str = field(validator=instance_of(str))
    address: Network = field(validator=instance_of(Network))
    since: float = field(converter=float)
    looks: int = field(validator=instance_of(int))
    peer_port: int | None = field(default=None, validator=_PORT)
    local_port: int | None = field(default=None, validator=_PORT)
    judged: bool = field(default=False, converter=bool)
    note: str = field(default="", validator=instance_of(str))


@frozen
class Connection:
    """A connection of this machine as a message names it: the peer, its port, and our own."""

    peer: Network
    peer_port: int
    local_port: int


class Seen(Enum):
    """What a witness says of a connection.

    SHOWN: it shows what the message tells. SPARED: it does, but most of the peer's others are
    healthy. OPEN: there is one, and it is not judged yet. NOTHING: there is none, or what it shows
    is no offence.
    """

    SHOWN = "shown"
    SPARED = "spared"
    OPEN = "open"
    NOTHING = "nothing"


@frozen
class Answer:
    """What a witness says of a connection, and why, in words for people."""

    seen: Seen
    why: str = ""


@frozen
class NearMiss:
    """What comes near an offence against a rule and is none, or not yet: evidence, and why.

    ``suspect`` is what becomes one of the source's suspects if it goes on.
    """

    rule: str
    text: str
    why: str
    suspect: Suspect | None = None


@frozen
class Offence:
    """A record that a rule recognised.

    ``time`` is in seconds since the epoch, ``micros`` are microseconds since boot as the kernel
    stamped the record; each is None if untold. ``evidence`` is the record's text. ``boot`` is the
    boot's id in 32 hexadecimal digits (random(4)), where the record tells it. ``guess`` stands for
    a time that is untold. ``shown`` says that the peer's sockets show what the record tells, and
    ``judged`` that a source has judged it by itself.
    """

    address: Network
    rule: str
    evidence: str
    trusted: bool
    peer_port: int | None = None
    local_port: int | None = None
    time: float | None = None
    count: int = 1
    micros: int | None = None
    boot: str | None = None
    guess: float | None = None
    shown: bool = False
    judged: bool = False

    @property
    def connection(self) -> Connection | None:
        """The connection that it tells of, if it tells both ports."""
        if self.peer_port is None or self.local_port is None:
            return None
        return Connection(self.address, self.peer_port, self.local_port)

    @property
    def stamp(self) -> tuple[int, str] | None:
        """By what the same record of a boot is known again, whoever brings it, if it is."""
        return None if self.micros is None else (self.micros, self.evidence)

    def when(self, now: int) -> float:
        """Return its time; one that is neither told nor guessed, and one ahead, is now."""
        time = self.guess if self.time is None else self.time
        return now if time is None or not time < now else time


@frozen
class Ban:
    """A network that is to be dropped from ``since`` to ``until`` (epoch seconds; None: permanent).

    ``origin`` is the rule that caused it, or ``manual``.
    """

    network: Network
    since: int
    until: int | None
    origin: str
    reason: str = ""


class Ground(Enum):
    """Why connections are closed, and which.

    SEEN: the peer is banned for what its sockets showed over time, so all that hold data for it go.
    TOLD: it is banned for a message that its sockets did not confirm, so the same, once a
    connection of it shows it now. EVERY: a person asked for all connections of a banned network.
    SPARED: the peer is not banned; those that show it now go.
    """

    SEEN = "seen"
    TOLD = "told"
    EVERY = "every"
    SPARED = "spared"


@frozen
class Closing:
    """Connections that are to be closed: of which network, why, and since when (epoch seconds)."""

    network: Network
    ground: Ground
    since: int


def _networks(given: Iterable[Network]) -> Networks:
    if isinstance(given, Networks):
        return given
    held = frozenset(given)
    strange = next((network for network in held if type(network) is not Network), None)
    if strange is not None:
        raise TypeError(f"{strange!r} is not a Network")
    return Networks.of(held)


def _optional(given: Iterable[Network] | None) -> Networks | None:
    return None if given is None else _networks(given)


BOTH: Final = frozenset({4, 6})
"""The families."""


@frozen
class Desired:
    """What a backend is to hold: disjoint networks to drop, and networks to pass ahead of them.

    Any collections of networks will do.
    """

    banned: Networks = field(default=NOTHING, converter=_networks)
    passed: Networks = field(default=NOTHING, converter=_networks)

    def of(self, *versions: int) -> "Desired":
        """Return what is of these families (4, 6)."""
        if {*versions} == BOTH:
            return self
        banned, passed = (
            Networks.joined([each.family(version) for version in versions])
            for each in (self.banned, self.passed)
        )
        return Desired(banned, passed)


@frozen
class Damage:
    """A flaw in a backend's own structure: which object, and what is wrong with it."""

    subject: str = field(validator=instance_of(str))
    problem: str = field(validator=instance_of(str))

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


def _damage(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    return tuple(damage)


def _notes(notes: Iterable[str]) -> tuple[str, ...]:
    return (notes,) if isinstance(notes, str) else tuple(notes)


def _versions(versions: Iterable[int]) -> frozenset[int]:
    known = frozenset(versions)
    if not known or not known <= BOTH:
        raise ValueError(f"{sorted(known)} are not families: 4, 6 or both")
    return known


def _problems(problems: Iterable[BackendError]) -> tuple[BackendError, ...]:
    return tuple(problems)


@frozen
class Observed:
    """What a backend really holds; any collections of networks and damage will do.

    ``passed`` is None where the platform has nothing to pass ahead (a plain blocklist). Elements
    of an object that must be made anew need not be listed: they are to be added again. ``versions``
    are the families (4, 6) that are told of: of another one nothing is planned. ``problems`` keep
    packets from being dropped, and are not the backend's to mend: each fails the pass once all else
    is done. ``notes`` are lines for people about what is no damage. ``owner`` is what was noted of
    `Plan.owner` at the last change; empty where nothing is.
    """

    banned: Networks = field(default=NOTHING, converter=_networks)
    passed: Networks | None = field(default=NOTHING, converter=_optional)
    damage: tuple[Damage, ...] = field(
        default=(), converter=_damage, validator=deep_iterable(instance_of(Damage))
    )
    notes: tuple[str, ...] = field(
        default=(), converter=_notes, validator=deep_iterable(instance_of(str))
    )
    versions: frozenset[int] = field(default=BOTH, converter=_versions)
    problems: tuple[BackendError, ...] = field(
        default=(),
        converter=_problems,
        validator=deep_iterable(instance_of(BackendError)),
        eq=lambda problems: [*map(str, problems)],
    )
    owner: str = ""


@frozen
class Change:
    """Networks to add to, and to remove from, one collection; both in address order."""

    add: Networks = field(default=NOTHING, converter=_networks)
    remove: Networks = field(default=NOTHING, converter=_networks)

    def __bool__(self) -> bool:
        return bool(self.add or self.remove)


@frozen
class Plan:
    """The smallest change that turns what a backend holds into what is desired.

    ``repairs`` is what `Observed.damage` told; a backend that repairs by rebuilding finds the
    whole content in ``desired``. That may be given as a function, which is called when a backend
    asks: a small change among a million networks does not read the million. ``owner`` names the
    database that this is for, in up to 120 printable characters: a backend that can note a text
    beside its objects notes it with the change, so that two databases do not undo each other's.
    ``versions`` are the families (4, 6) that it is for, as `Observed.versions` told: another one is
    left as it is.
    """

    banned: Change
    passed: Change
    repairs: tuple[Damage, ...]
    _whole: Desired | Callable[[], Desired] = field(alias="desired", repr=False)
    owner: str = ""
    versions: frozenset[int] = BOTH

    @property
    def desired(self) -> Desired:
        """All that the backend is to hold."""
        return self._whole() if callable(self._whole) else self._whole
