"""What a feed is: somebody else's word about whom to drop, with a life of its own.

A feed runs as a process and a user of its own, and writes what it says to a file of its own. What
of that is enforced is decided by whoever reads the file: a feed can neither lift what it has not
brought, nor ban what its limits forbid.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from attrs import evolve, field, frozen
from attrs.validators import ge, matches_re, optional

from reconciler.interfaces import Needs, NoSettings
from reconciler.network import Network
from reconciler.networks import Networks

HELD, OBSERVED, QUARANTINED = "held", "observed", "quarantined"
"""What is done with what was taken: it is to be dropped; or only listed, as the configuration has
it, or as its member has brought too much."""


def _set(networks: Iterable[Network]) -> Networks:
    return Networks.of(networks)


@frozen
class FeedBan:
    """These networks are to be dropped: for so many ``seconds``, or (None) until they are removed.

    ``networks`` are any `Network`, in any order; all of a list may be one ban. ``member`` is who of
    several says it, ``reason`` is for people. A ban of the same network by the same member
    replaces the one before.
    """

    networks: Networks = field(converter=_set)
    seconds: int | None = field(default=None, validator=optional(ge(1)))
    member: str = ""
    reason: str = ""


@frozen
class FeedLift:
    """The member's bans of exactly these networks are to end now."""

    networks: Networks = field(converter=_set)
    member: str = ""


class FeedSnapshot(Enum):
    """Marks: the bans from the beginning to the end are all there are. What else was ends.

    Nothing but bans stands between them.
    """

    BEGIN = "begin"
    END = "end"


FeedChange = FeedBan | FeedLift | FeedSnapshot
"""What a feed yields."""


class Feed(Protocol):
    """Brings what somebody else says. It is made once in a process, and read again and again."""

    def changes(self, cursor: str | None) -> Iterator[FeedChange]:
        """Yield what came after ``cursor``, in order, without waiting; nothing, if nothing came.

        None is for all there is, as a snapshot. So is a cursor that means nothing, or it is
        refused. What is yielded is kept only if the iteration comes to its end, and a snapshot
        that was begun to its own; if not, the same cursor comes again. Raise `FeedUnreadable` when
        it cannot be told what is said: then all stays as it is.
        """

    def cursor(self) -> str | None:
        """Return the position behind all that `changes` has yielded.

        None when there is none: all is read each time.
        """


@runtime_checkable
class EpochFeed(Feed, Protocol):
    """A feed of something that may be replaced by another one, or by an older copy of itself."""

    def epoch(self) -> str:
        """Return what tells it from every other one, once `changes` has ended; it stays the same.

        What another epoch says is not believed until a person accepts it.
        """


@runtime_checkable
class NotingFeed(Feed, Protocol):
    """A feed that has something to say about what it read."""

    def notes(self) -> Iterable[str]:
        """Return lines for people once `changes` has ended: entries that mean nothing, say.

        They are of the last `changes`, and keep nothing of it from being taken.
        """


@runtime_checkable
class PublishingFeed(Feed, Protocol):
    """A feed that also tells others what this machine bans."""

    def publish(self, changes: Sequence[FeedBan | FeedLift]) -> None:
        """Publish them, in order; the same ones may come again.

        They have no member: that is this machine. Raise `FeedUnreadable` where nobody was told.
        """


@runtime_checkable
class WakingFeed(Feed, Protocol):
    """A feed that can be waited for."""

    def fileno(self) -> int:
        """Return a descriptor that poll(2) finds ready once more may have come.

        It is the same until `close`, and what comes while it is read wakes, too. `changes` takes
        what woke, also where it fails. Raise `FeedUnreadable` where it cannot be waited for now.
        """

    def close(self) -> None:
        """Close it, and whatever belongs to it, also repeatedly; `changes` works without it."""


@frozen
class FeedGroup:
    """Networks that one member bans for one reason, until one time (epoch seconds; None: lifted).

    What treason keeps of them has a ``state``, and the time ``since`` when it was taken.
    """

    networks: Networks
    member: str = ""
    reason: str = ""
    until: int | None = None
    since: int = 0
    state: str = HELD

    def of(self, networks: Networks) -> "FeedGroup":
        """Return the same of other networks."""
        return evolve(self, networks=networks)

    def told_of(self, feed: str) -> str:
        """Return whose word it is, and why, for people: ``feed:NAME (MEMBER): REASON``."""
        who = f"feed:{feed} ({self.member})" if self.member else f"feed:{feed}"
        return f"{who}: {self.reason}" if self.reason else who


@frozen
class FleetMember:
    """A member as the fleet's engine knows it.

    It has banned ``fresh`` of ``max_new`` networks that it may ban in an hour, ``bans`` are active.
    It was ``seen`` last at that time (epoch seconds; None: never), and had read all but ``behind``
    changes.
    """

    name: str
    max_new: int
    fresh: int
    bans: int
    seen: float | None = None
    behind: int | None = None


@frozen
class FleetStatus:
    """How a fleet is, by the clock of its engine: ``now``, and ``updated``, its last change.

    ``place`` is the engine for people; ``seq`` counts changes. ``notes`` are lines for people.
    """

    place: str
    version: int
    epoch: str
    seq: int
    updated: float | None
    now: float
    members: tuple[FleetMember, ...] = ()
    notes: tuple[str, ...] = ()


class Fleet(Protocol):
    """Makes a fleet in an engine and keeps it: ``dsn`` is how its administrator connects.

    Each method raises `TreasonError` where the engine does not do it; then nothing is changed.
    """

    def init(self, dsn: str, *, new_epoch: bool) -> Sequence[str]:
        """Write all that the engine needs, or what a newer treason needs; return what was done."""

    def add_member(
        self,
        dsn: str,
        name: str,
        *,
        max_new: int | None,
        new_password: bool,
        keep: Callable[[str], object],
    ) -> Sequence[str]:
        """Add a member, or change one; return what was done.

        A password that is made goes to ``keep`` before anything is final. The engine never sees it.
        """

    def remove_member(self, dsn: str, name: str) -> Sequence[str]:
        """End its sessions, remove its bans and itself; return what was done."""

    def status(self, dsn: str) -> FleetStatus:
        """Return all that is known."""

    def own_status(self, settings: Any) -> FleetStatus:  # noqa: ANN401 - the plugin's schema
        """Return what the member of a configured feed may know: the clock, and its own line."""

    def init_script(self, *, new_epoch: bool) -> str:
        """Return what `init` does, for the engine's own client."""

    def add_script(self, name: str, *, max_new: int | None, keep: Callable[[str], object]) -> str:
        """Return what `add_member` does with a new password."""

    def remove_script(self, name: str) -> str:
        """Return what `remove_member` does."""


def _nothing(_settings: object) -> Needs:
    return Needs()


@frozen
class FeedPlugin:
    """A kind of feed.

    ``factory`` gets an instance of ``schema``, an attrs class, filled from what the table
    ``[feed.NAME]`` has besides the keys of every feed; ``type`` there names the kind. ``needs``
    gets the same, and tells what the feed's own service reads and runs. ``max_new`` is how many
    networks a member may ban in an hour where the table does not say it; 0 is no limit. ``fleet``
    makes what administers the engine, where there is one.
    """

    name: str = field(validator=matches_re(r"[a-z][a-z0-9_-]*"))
    factory: Callable[[Any], Feed]
    schema: type[Any] = NoSettings
    needs: Callable[[Any], Needs] = _nothing
    max_new: int = field(default=0, validator=ge(0))
    fleet: Callable[[], Fleet] | None = None
