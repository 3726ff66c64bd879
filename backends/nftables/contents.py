"""The contents of the table: read, changed and confirmed."""

import errno
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from backends.nftables import layout, reading, structure
from backends.nftables.change import Table, anew, statements
from backends.nftables.damage import damage
from backends.nftables.ruleset import Ruleset
from backends.nftables.statements import (
    Delete,
    DeleteTable,
    Hosts,
    Intervals,
    NewSet,
    NewTable,
    Statement,
)
from reconciler import Network, Networks, Observed, Plan
from reconciler.netlink import (
    AnswerLost,
    Connection,
    Missing,
    NetlinkError,
    Stale,
)

_ANEW: Final = {errno.ENFILE, errno.EBUSY, errno.EOPNOTSUPP}
"""A set is full, or what is strange there is used by something: then the table is made anew."""

_READS: Final = 20
"""How often the structure is read that others interrupt."""

_FEW: Final = 4096
"""Elements asked for one by one after a change; of more hosts the kernel's counts are taken."""


class Contents:
    """The table as part of a ruleset. All raise `NetlinkError` or `BackendError`."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._sent: list[Statement] = []
        self._expected: dict[str, int] = {}  # elements of the hash sets after what was sent

    def observe(self) -> Observed:
        """Read structure and elements back, as they are at one moment."""
        return self._ruleset.read(self._look)

    def render(self, plan: Plan) -> str:
        """Return the nft script that does what `apply` does."""
        chosen = statements(plan, self._table())
        return "".join(f"{each.text()}\n" for each in chosen)

    def apply(self, plan: Plan) -> None:
        """Carry out the plan in one transaction, on nothing but what was read."""
        table = self._table()
        self._sent = statements(plan, table)
        try:
            self._commit(self._sent)
        except NetlinkError as refused:
            if refused.code not in _ANEW:
                raise
            self._sent = anew(plan)
            self._commit(self._sent)
        self._expected = _expected(self._sent, table)

    def confirm(self) -> bool:
        """Return whether the change just made is held: structure, and elements or their counts.

        It cannot be told when anything else happened to the ruleset since.
        """
        with suppress(Missing, AnswerLost, Stale):
            if self._ruleset.grown:
                return False
            if any(damage(self._structure())):
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
                and self._ruleset.is_ours()
            )
        return False

    def _look(self) -> Observed:
        found = self._structure()
        flaws = [*damage(found)]
        hosts = {4: b"", 6: b""}
        networks: dict[bool, list[Network]] = {True: [], False: []}
        for each in layout.shape_of(found).sets:
            if found is None or each.type not in found.declared(each.name):
                continue
            if each.interval:
                held, strange = reading.intervals(self._connection, each)
                networks[each.banned] += held
            else:
                addresses, strange = reading.hosts(self._connection, each)
                hosts[each.version] += addresses
            flaws += strange
        single = [Networks.of_hosts(version, addresses) for version, addresses in hosts.items()]
        banned = Networks.joined(single) | Networks.of(networks[True])
        owner = found.owner if found else ""
        return Observed(banned, networks[False], flaws, owner=owner)

    def _commit(self, chosen: list[Statement]) -> None:
        messages = [message for each in chosen for message in each.messages()]
        self._ruleset.commit(messages, self._look)

    @property
    def _connection(self) -> Connection:
        return self._ruleset.connection

    def _structure(self) -> structure.Structure | None:
        """Read the structure; a list that somebody's commit interrupts is asked for again."""
        for _ in range(_READS):
            with suppress(Stale):
                return structure.read(self._connection, layout.CHAIN)
        return structure.read(self._connection, layout.CHAIN)

    def _table(self) -> Table:
        found = self._structure()
        shape = layout.shape_of(found)
        owner = found.owner if found and found.note else None
        return Table(shape, reading.counts(self._connection, shape.sizes), owner)


def remove(connection: Connection) -> None:
    """Remove the table. Raise `NetlinkError`."""
    both = (NewTable(), DeleteTable())  # so that there is one to delete
    connection.commit([message for each in both for message in each.messages()])


def _expected(sent: Sequence[Statement], table: Table) -> dict[str, int]:
    """Return how much each hash set holds when all is done, as far as that is known."""
    known = {} if any(isinstance(each, DeleteTable) for each in sent) else dict(table.counts)
    for each in sent:
        match each:
            case Delete("set", name):
                known.pop(name, None)
            case NewSet(made) if not made.interval:
                known[made.name] = 0
            case Hosts(changed) if changed.name in known:
                known[changed.name] += -each.number if each.delete else each.number
    return known
