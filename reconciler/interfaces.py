"""What a plugin gives: descriptors that name a source or a backend, and the objects they make."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from attrs import field, frozen
from attrs.validators import matches_re

from reconciler.model import (
    Answer,
    Connection,
    NearMiss,
    Observed,
    Plan,
    Record,
    Suspect,
)

_NAME = matches_re(r"[a-z][a-z0-9_-]*")


class Source(Protocol):
    """Reads kernel messages. It is made for one pass and read once."""

    def read(self, cursor: str | None, needles: Sequence[str]) -> Iterator[Record]:
        """Yield what came after ``cursor`` (None: all there is), in order, without waiting.

        A record whose text holds none of the ``needles`` may be left out.
        Raise `SourceUnreadable` when it cannot be told what came.
        """

    def cursor(self) -> str | None:
        """Return the position behind all that `read` has yielded; None when there is none."""


@runtime_checkable
class NotingSource(Source, Protocol):
    """A source that has something to say about what it read."""

    def notes(self) -> Iterable[str]:
        """Return lines for people once `read` has ended: lost records, a cursor without meaning.

        They change no result. What cannot be read at all is `SourceUnreadable`.
        """


@runtime_checkable
class SilenceAwareSource(Source, Protocol):
    """A source that can tell whether any message of the kernel is to be seen at all."""

    def silence(self) -> str | None:
        """Return why none is to be seen, and what to do; None where some are.

        It is asked of an object that is not read. Raise `SourceUnreadable` as `read` does.
        """


@runtime_checkable
class SuspectingSource(Source, Protocol):
    """A source that judges by itself what it sees again and again, over several passes.

    Its records have a `Judgement`. What it suspects is stored with its cursor, and is given to the
    source of the next pass.
    """

    def recall(self, suspects: Sequence[Suspect]) -> None:
        """Take what the last pass suspected. It is called before `read`, if at all."""

    def suspects(self) -> Iterable[Suspect]:
        """Return all that is suspected now that `read` has ended; what is left out is forgotten."""


@runtime_checkable
class WitnessSource(SuspectingSource, Protocol):
    """A source that can tell whether a connection shows what a message tells of it.

    It is asked of an object that is not read. What it suspects meanwhile is stored, and is given to
    the witness of the next pass.
    """

    def confirm(self, connections: Collection[Connection]) -> Mapping[Connection, Answer]:
        """Look at these connections of the machine, and say of each what it shows.

        Raise `SourceUnreadable` when that cannot be told.
        """

    def blindness(self) -> str | None:
        """Return why this machine never shows anything; None where it does."""


@runtime_checkable
class ExplainingSource(Source, Protocol):
    """A source that can tell what came near an offence, for `treason test-rule`."""

    def near_misses(self) -> Iterable[NearMiss]:
        """Return what came near, now that `read` has ended, and why it is no offence."""


@runtime_checkable
class WakingSource(Source, Protocol):
    """A source that a resident process can wait for.

    It may be read again and again: once at first, then whenever it wakes. Given the cursor that it
    returned last, `read` takes no longer than what came since; any other one is as right, and may
    take as long as in a pass. What `read` took wakes no more, also where it raises
    `SourceUnreadable`: then it is read again after a while, if nothing wakes before. ``notes``, if
    it has them, are those of the last `read`.
    """

    def fileno(self) -> int:
        """Return a descriptor that poll(2) finds ready, in any way, once more may have come.

        It is the same until `close`, and what comes between two calls of `read` wakes, too. Raise
        `SourceUnreadable` where it cannot be waited for.
        """

    def close(self) -> None:
        """Close the descriptor, and whatever belongs to it; `read` goes on as in a pass."""


@runtime_checkable
class PacedSource(Source, Protocol):
    """A source that nothing wakes, and that knows how soon it is worth reading again."""

    def due(self) -> float:
        """Return after how many seconds a resident process is to read it again."""


@runtime_checkable
class HeedingSource(WakingSource, SuspectingSource, PacedSource, Protocol):
    """A source that is woken by what may become an offence, and judges it by itself later.

    Where its descriptor can be had, a resident process keeps one object: it heeds at each
    wake-up, and has it read, after `recall`, when `heed` says so. That may be by another thread, at
    the same time. Where `fileno` raises `SourceUnreadable`, the text says why to the administrator,
    and another object is read each `due` seconds. All that `fileno` needs of the capabilities that
    are declared (`Needs.attaching`) is gone once it has returned.
    """

    def heed(self) -> float:
        """Take what woke, so that it wakes no more, and look no longer than a few milliseconds.

        Return after how many seconds to heed again if nothing wakes before: 0 says to read now,
        infinity that there is nothing to wait for. Raise `SourceUnreadable` as `read` does.
        """

    def way(self) -> str:
        """Return in a few words how it sees, for the administrator: what was lost, say."""

    def insists(self) -> bool:
        """Whether the settings say that it must be woken: then it is wrong where it cannot be."""


class Backend(Protocol):
    """Holds what is to be dropped. It owns its objects by name and touches nothing else."""

    def observe(self) -> Observed:
        """Read everything back; raise `BackendUnreadable` rather than guess."""

    def render(self, plan: Plan) -> str:
        """Return the exact script or rules that `apply` would send, for people and for tests."""

    def apply(self, plan: Plan) -> None:
        """Carry out the plan, in one transaction where the platform has them.

        Where there is a fingerprint, it may come without `observe` before it. Raise
        `BackendFailed` when it was refused.
        """

    def teardown(self) -> Iterable[str] | None:
        """Remove all that the backend owns, or empty what must stay; what is missing is fine.

        It may return lines for people about what is left for them to do.
        """


@runtime_checkable
class FingerprintedBackend(Backend, Protocol):
    """A backend that can tell, without reading it, whether its platform may have changed."""

    def fingerprint(self) -> str | None:
        """Return a token that changes whenever the state may have; None where there is none.

        It must tell one machine, boot and network namespace from every other. What was verified
        under a token is not read again under the same one.
        """


@runtime_checkable
class ConfirmingBackend(Backend, Protocol):
    """A backend that can tell, without reading all of it, whether a change has arrived."""

    def confirm(self, plan: Plan) -> bool:
        """Return whether all that ``plan`` desires is held, now that `apply` has returned.

        False means that it must be read to know.
        """


@runtime_checkable
class DigestedBackend(Backend, Protocol):
    """A backend of a thing that cannot tell who wrote it, such as a file.

    The database keeps the digest of what is written, before it is. What has another one is
    somebody else's: it is neither changed nor removed.
    """

    def subject(self) -> str:
        """Return the thing's name, which is the same however people name it: a resolved path."""

    def digest(self) -> str | None:
        """Return a digest of all that is there now; None where there is nothing to lose.

        Raise `BackendUnreadable` as `observe` does.
        """

    def digest_of(self, plan: Plan) -> str:
        """Return the digest of what will be there when `apply` has carried out the plan."""


Noting, Listening = NotingSource, SilenceAwareSource
Marked, Confirming = FingerprintedBackend, ConfirmingBackend
"""Their earlier names, which plugins go on using."""


class Spec(NamedTuple):
    """How people name a source or a backend: ``NAME`` or ``NAME:ARGUMENT``.

    ``argument`` is None without the colon.
    """

    name: str
    argument: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Return the parts of a text; any text has a name, which may be nobody's."""
        name, colon, argument = text.partition(":")
        return cls(name, argument if colon else None)


@frozen
class NoSettings:
    """The schema of a plugin that has nothing to set."""


@frozen
class Needs:
    """What a source or a backend with its settings needs of the machine, for the installed units.

    ``reads`` and ``writes`` are absolute paths of files or directories; a file that is written is
    replaced, so its directory is made writable. ``runs`` are programs, by name or by path.
    ``root`` says that only root can do the work; to write outside of the services' own directories
    implies it. ``loopback`` says that it makes loopback connections of its own, of IPv4.
    ``secrets``, of feeds alone, are absolute paths of files that root alone reads: `secrets.read`
    returns what they hold. ``attaching`` are capabilities (capabilities(7)) that a resident process
    alone needs, until `fileno` of its source has returned: it gives them up then, permanently, and
    passes never have them.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    root: bool = False
    loopback: bool = False
    secrets: tuple[str, ...] = ()
    attaching: tuple[str, ...] = ()


def _nothing(_settings: object) -> Needs:
    return Needs()


@frozen
class SourcePlugin:
    """A kind of source.

    ``factory`` gets an instance of ``schema``, an attrs class, filled from the table
    ``[source.NAME]``. ``argument`` names the field that ``--source NAME:ARGUMENT`` sets. A schema
    with a field ``trusted: bool`` gets True when a person named the argument on the command line.
    ``capabilities`` (capabilities(7)) and ``groups`` are what reading needs when the installed
    units run it; ``needs`` gets the settings, too, and tells what it reads and runs. It raises
    `TreasonError` for what a unit cannot do. ``live`` says that its records are what the running
    kernel logs, which any local user can make it print: they are to be confirmed. ``witness`` says
    that the factory makes a `WitnessSource`.
    """

    name: str = field(validator=_NAME)
    factory: Callable[[Any], Source]
    schema: type[Any] = NoSettings
    argument: str | None = None
    capabilities: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    needs: Callable[[Any], Needs] = _nothing
    live: bool = False
    witness: bool = False


@frozen
class BackendPlugin:
    """A kind of backend.

    ``factory`` gets an instance of ``schema``, an attrs class, filled from the table
    ``[backend.NAME]``. ``argument`` names the field that ``--backend NAME:ARGUMENT`` sets.
    ``claims`` gets the same, and names the objects that the backend owns (``table inet treason``,
    a file by its resolved path): two backends that would own one object are not used at once.
    ``capabilities`` are those that it needs beyond CAP_NET_ADMIN (capabilities(7)) when the
    installed units run it. ``early`` says that rules which other programs save cannot be loaded
    without its objects: then a unit makes these before the rules are loaded at boot. ``needs``
    gets the settings, too, and tells what else it writes, reads and runs; it raises `TreasonError`
    for what a unit cannot do.
    ``drops_packets`` says that this machine takes no packet any more from what the backend holds:
    only then are connections of who is banned closed.
    """

    name: str = field(validator=_NAME)
    factory: Callable[[Any], Backend]
    schema: type[Any] = NoSettings
    argument: str | None = None
    claims: Callable[[Any], Collection[str]] = field(default=lambda _settings: ())
    capabilities: tuple[str, ...] = ()
    early: bool = False
    needs: Callable[[Any], Needs] = _nothing
    drops_packets: bool = False
