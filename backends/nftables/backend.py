"""The table of the backend: read, changed and confirmed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from backends.nftables import layout, library, reading
from backends.nftables.change import Table, anew, statements
from backends.nftables.ruleset import Ruleset
from backends.nftables.statements import TABLE, Hosts, Intervals, NewSet, Statement
from reconciler import (
    BackendError,
    BackendFailed,
    BackendUnreadable,
    Network,
    Networks,
    Observed,
    Plan,
)
from reconciler.netlink import AnswerLost, Connection, Full, Missing, NetlinkError, NotPermitted

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_FEW: Final = 4096
"""Elements asked for one by one after a change; of more hosts the kernel's counts are taken."""


class Nftables:
    """The table ``inet treason``, in the network namespace of the caller."""

    def __init__(self, _settings: object = None) -> None:
        self._ruleset: Ruleset | None = None
        self._sent: list[Statement] = []
        self._expected: dict[str, int] = {}  # elements of the hash sets after what was sent

    def fingerprint(self) -> str | None:
        """Name the namespace and the generation of its ruleset, which every commit raises."""
        with _raising(BackendUnreadable):
            namespace = self._connection.namespace
            generation = self._connection.generation()
        return None if namespace is None else f"{_BOOT.read_text()[:36]}:{namespace}:{generation}"

    def observe(self) -> Observed:
        """Read structure and elements back."""
        with _raising(BackendUnreadable):
            self._ruleset = Ruleset()
            return self._ruleset.read(self._look)

    def render(self, plan: Plan) -> str:
        """Give the nft script that does what `apply` does."""
        with _raising(BackendUnreadable):
            chosen = statements(plan, self._table())
        return "".join(f"{each.text()}\n" for each in chosen)

    def apply(self, plan: Plan) -> None:
        """Carry out the plan in one transaction, on nothing but what was read."""
        with _raising(BackendFailed):
            table = self._table()
            self._sent = statements(plan, table)
            try:
                self._commit(self._sent)
            except Full:  # where the kernel does not count elements
                self._sent = anew(plan)
                self._commit(self._sent)
            self._expected = _expected(self._sent, table)

    def confirm(self, plan: Plan) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tell whether the change just made is held: structure, and elements or their counts.

        It cannot be told when anything else happened to the ruleset since.
        """
        with _raising(BackendUnreadable), suppress(Missing, AnswerLost):
            if any(layout.damage(layout.parse(library.structure()))):
                return False
            changes = [each for each in self._sent if isinstance(each, Hosts | Intervals)]
            added = [each for each in changes if not each.delete]
            few = sum(each.number for each in added) <= _FEW
            asked = [each for each in added if few or isinstance(each, Intervals)]
            counted = [each for each in changes if isinstance(each, Hosts) and not few]
            return (
                all(reading.holds(self._connection, each) for each in asked)
                and all(each.set.name in self._expected for each in counted)
                and reading.counts(self._connection, self._expected) == self._expected
                and self._known.is_ours()
            )
        return False

    def teardown(self) -> None:
        """Remove the table."""
        with _raising(BackendFailed):
            library.run(f"add table {TABLE}\ndelete table {TABLE}\n")

    def _look(self) -> Observed:
        listing = layout.parse(library.structure())
        damage = [*layout.damage(listing)]
        shape = layout.shape_of(listing)
        hosts = {4: b"", 6: b""}
        networks: dict[bool, list[Network]] = {True: [], False: []}
        for each in shape.sets:
            if each.type not in (listing or {}).get(f"set {each.name}", ()):
                continue
            if each.interval:
                held, strange = reading.intervals(self._connection, each)
                networks[each.banned] += held
            else:
                addresses, strange = reading.hosts(self._connection, each)
                hosts[each.version] += addresses
            damage += strange
        single = [Networks.of_hosts(version, addresses) for version, addresses in hosts.items()]
        banned = Networks.joined(single) | Networks.of(networks[True])
        return Observed(banned, networks[False], damage)

    def _commit(self, chosen: list[Statement]) -> None:
        messages = [message for each in chosen for message in each.messages()]
        self._known.commit(messages, self._look)

    @property
    def _connection(self) -> Connection:
        return self._known.connection

    @property
    def _known(self) -> Ruleset:
        """The ruleset that was read; whoever read none gets it as it is now."""
        if self._ruleset is None:
            self._ruleset = Ruleset()
            self._ruleset.generation()
        return self._ruleset

    def _table(self) -> Table:
        shape = layout.shape_of(layout.parse(library.structure()))
        return Table(shape, reading.counts(self._connection, shape.sizes))


def _expected(sent: Sequence[Statement], table: Table) -> dict[str, int]:
    """Give how much each hash set holds when all is done, as far as that is known."""
    made = [each.set for each in sent if isinstance(each, NewSet)]  # then all others are gone
    known = {each.name: 0 for each in made if not each.interval} or dict(table.counts)
    for each in sent:
        if isinstance(each, Hosts) and each.set.name in known:
            known[each.set.name] += -each.number if each.delete else each.number
    return known


@contextmanager
def _raising(kind: type[BackendError]) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        hint = library.owned(error.hint, denied=isinstance(error, NotPermitted))
        raise kind(f"nftables: {error.what}", hint) from None
    except BackendError as error:
        raise kind(error.what, error.hint) from None
