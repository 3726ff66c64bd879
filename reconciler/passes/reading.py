"""What a source brought in a pass: counted while it is read, and told when it has been."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

from reconciler.lines import counted, first_few
from reconciler.model import Ban
from reconciler.network import Network
from reconciler.store.unconfirmed import Doubted

SHOWN: Final = 10
"""Examples that are told."""


@frozen
class Reading:
    """What one source brought.

    ``offences`` counts messages, among them ``reported`` those of rules that only report, and
    ``sightings`` are a few of these. ``refused`` counts those that nobody vouches for, and
    ``examples`` are a few. ``known`` counts those that are stored already, by another source most
    often, and ``outbound`` those about connections that this machine made: neither is an offence.
    ``undated`` of the offences tell no time, nor does anything else: they count as of now.
    ``unconfirmed`` counts messages of live sources that nothing confirms, ``waiting`` those that
    may be confirmed yet; neither is an offence, and ``doubted`` are a few, with the reasons.
    ``new`` of the bans are of networks that had none; the others only last longer now. ``withheld``
    are bans that are not made, because the policy only observes. ``notes`` are what the source has
    to say besides. ``error`` is empty unless it could not be read.
    """

    source: str
    offences: int = 0
    reported: int = 0
    refused: int = 0
    known: int = 0
    outbound: int = 0
    undated: int = 0
    unconfirmed: int = 0
    waiting: int = 0
    doubted: tuple[Doubted, ...] = ()
    sightings: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    bans: tuple[Ban, ...] = ()
    new: int = 0
    withheld: tuple[Ban, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    trace: str = field(default="", repr=False)


@define(eq=False)
class Tally:
    """What a source has brought so far; see `Reading`."""

    offences: int = 0
    reported: int = 0
    refused: int = 0
    known: int = 0
    outbound: int = 0
    undated: int = 0
    unconfirmed: int = 0
    waiting: int = 0
    doubted: list[Doubted] = field(factory=list)
    impossible: Counter[Network] = field(factory=Counter)
    unjudged: Counter[str] = field(factory=Counter)
    sightings: list[str] = field(factory=list)
    examples: list[str] = field(factory=list)
    bans: dict[Network, Ban] = field(factory=dict)
    withheld: dict[Network, Ban] = field(factory=dict)
    new: int = 0

    def doubt(self, message: Doubted) -> None:
        """Count a message that is not believed, or not yet."""
        if message.waits_in is None:
            self.unconfirmed += message.offence.count
        else:
            self.waiting += message.offence.count
        if len(self.doubted) < SHOWN:
            self.doubted.append(message)

    def notes(self) -> Iterator[str]:
        """Yield what is to be said of records that nobody can be banned for."""
        for rule, count in self.unjudged.items():
            yield f"{counted(count, 'offence')} against the rule {rule!r}, which is not on"
        if self.impossible:
            total = counted(self.impossible.total(), "message")
            some = first_few(sorted(self.impossible))
            yield f"{total} of addresses that are this machine's own: {some}"

    def reading(self, source: str, notes: tuple[str, ...]) -> Reading:
        """Return what the source has brought."""
        return Reading(
            source=source,
            offences=self.offences,
            reported=self.reported,
            refused=self.refused,
            known=self.known,
            outbound=self.outbound,
            undated=self.undated,
            unconfirmed=self.unconfirmed,
            waiting=self.waiting,
            doubted=tuple(self.doubted),
            sightings=tuple(self.sightings),
            examples=tuple(self.examples),
            bans=tuple(self.bans.values()),
            new=self.new,
            withheld=tuple(self.withheld.values()),
            notes=notes,
        )
