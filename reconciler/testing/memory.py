"""A firewall in memory that behaves as the kernel's do: atomic, and as strict."""

import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from attrs import define, evolve, field, frozen

from reconciler.errors import BackendError, BackendFailed, BackendUnreadable
from reconciler.model import Change, Damage, Desired, Observed, Plan
from reconciler.network import Network
from reconciler.networks import Networks
from reconciler.planning.desired import collapse, subtract
from reconciler.planning.plan import plan

RULES: Final = ("pass loopback", "pass neighbours", "pass whitelisted", "drop banned")
KIND: Final = "addresses"
STEPS: Final = ("begin", "remove", "add", "commit", "answer")
"""The steps of a change, at which it can be made to fail; at ``answer`` it has taken effect."""


@frozen
class Table:
    """What stands in the firewall under one name; as it is made, it is right and empty."""

    banned: AbstractSet[Network] = frozenset()
    passed: AbstractSet[Network] = frozenset()
    rules: tuple[str, ...] = RULES
    kind: str = KIND
    flags: frozenset[str] = frozenset()
    owner: str = ""


@define
class Memory:
    """A backend that owns the table ``treason`` and leaves every other in ``tables`` alone.

    A change is carried out as a whole or not at all. Refused are: to remove what is not there, to
    add what is there or overlaps with it, and more than ``capacity`` networks. Every step in
    ``faults`` fails: those of `STEPS`, ``observe`` and ``teardown``.
    """

    capacity: int | None = None
    tables: dict[str, Table] = field(factory=dict)
    faults: set[str] = field(factory=set)
    name: str = "treason"
    listeners: list[Callable[[int], None]] = field(factory=list, eq=False, repr=False)

    def observe(self) -> Observed:
        """Return what the table holds, and what is wrong with it."""
        if "observe" in self.faults:
            raise BackendUnreadable("memory: cannot be read", "take 'observe' out of its faults")
        table = self.tables.get(self.name)
        if table is None:
            return Observed(damage=[Damage(f"table {self.name}", "is missing")])
        if table.kind != KIND:
            return Observed(damage=[Damage(f"table {self.name}", f"holds {table.kind}")])
        damage = [Damage(f"table {self.name}", f"has the flag {flag!r}") for flag in table.flags]
        if table.rules != RULES:
            damage.append(Damage("rules", f"are {', '.join(table.rules) or 'missing'}"))
        return Observed(table.banned, table.passed, damage, owner=table.owner)

    def fingerprint(self) -> str:
        """Return a token of all that stands in the firewall."""
        if "observe" in self.faults:
            raise BackendUnreadable("memory: cannot be read", "take 'observe' out of its faults")
        return str(hash(frozenset(self.tables.items())))

    def confirm(self, plan: Plan) -> bool:
        """Return whether what is desired is held."""
        held = Memory.observe(self)
        return not held.damage and Desired(held.banned, held.passed or ()) == plan.desired

    def render(self, plan: Plan) -> str:
        """Return the change, a line for each step."""
        return "".join(
            [f"repair {repair}\n" for repair in plan.repairs]
            + [f"remove {network}\n" for network in plan.banned.remove]
            + [f"drop {network}\n" for network in plan.banned.add]
            + [f"pass {network} no more\n" for network in plan.passed.remove]
            + [f"pass {network}\n" for network in plan.passed.add]
        )

    def apply(self, plan: Plan) -> None:
        """Carry out the plan, or refuse it and stay as it was."""
        self._step("begin", True)
        table = self.tables.get(self.name, Table())
        if table.kind != KIND:
            table = Table()
        owner = plan.owner or table.owner
        table = evolve(table, rules=RULES, flags=frozenset(), owner=owner)
        self._step("remove", bool(plan.banned.remove or plan.passed.remove))
        self._step("add", bool(plan.banned.add or plan.passed.add))
        table = evolve(
            table,
            banned=_changed(table.banned, plan.banned),
            passed=_changed(table.passed, plan.passed),
        )
        if self.capacity is not None and len(table.banned) > self.capacity:
            raise BackendFailed(f"memory: it holds {self.capacity} networks at most")
        self._step("commit", True)
        self.tables[self.name] = table
        if "answer" in self.faults:
            raise BackendError("memory: the answer was lost")

    def reflexes(self) -> "MemoryReflexes":
        """Return what keeps the table in force; `tell` wakes it."""
        return MemoryReflexes(self)

    def tell(self, port: int) -> None:
        """Wake its reflexes: whoever has this port id has changed the table."""
        for listener in self.listeners:
            listener(port)

    def teardown(self) -> None:
        """Remove the table."""
        self._step("teardown", True)
        self.tables.pop(self.name, None)

    def _step(self, name: str, taken: bool) -> None:
        if taken and name in self.faults:
            raise BackendFailed(f"memory: {name} failed")


class MemoryReflexes:
    """The reflexes of the firewall in memory, which `Memory.tell` wakes."""

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._desired = Desired()
        self._owner = ""
        self._others: list[int] = []
        self._polled = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        memory.listeners.append(self._told)

    def fileno(self) -> int:
        """Return the descriptor that `Memory.tell` makes readable."""
        return self._bell

    def stop_listening(self) -> None:
        """Go on naming who changed the table until `repair` or `hold`."""
        self._polled = True

    def hold(self, desired: Desired, owner: str) -> None:
        """Take all that is to be held."""
        self._desired, self._owner = desired, owner
        self._look()

    def add(self, networks: Networks) -> None:
        """Drop what no held network drops."""
        more = subtract(collapse(networks), self._desired.banned)
        if more:
            self._desired = Desired(self._desired.banned | more, self._desired.passed)
            self._apply(Change(more), Change(), ())

    def let_pass(self, networks: Networks) -> None:
        """Pass what no held network passes."""
        more = subtract(collapse(networks), self._desired.passed)
        if more:
            self._desired = Desired(self._desired.banned, self._desired.passed | more)
            self._apply(Change(), Change(more), ())

    def changed(self) -> Sequence[int]:
        """Return who changed the table."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        others = self._others
        if not self._polled:
            self._others = []
        return others

    def repair(self) -> Sequence[Damage]:
        """Add what is missing; what is too much is for a pass."""
        self._look()
        needed = plan(self._desired, self._memory.observe())
        if needed is None:
            return ()
        self._apply(Change(needed.banned.add), Change(needed.passed.add), needed.repairs)
        if needed.banned.remove or needed.passed.remove:
            raise BackendFailed("memory: something is held that is not to be")
        return needed.repairs or (Damage("table", "lacks something"),)

    def close(self) -> None:
        """Close the descriptor."""
        self._memory.listeners.remove(self._told)
        os.close(self._bell)

    def _look(self) -> None:
        if self._polled:
            self._others = []

    def _told(self, port: int) -> None:
        self._others.append(port)
        os.eventfd_write(self._bell, 1)

    def _apply(self, banned: Change, passed: Change, repairs: tuple[Damage, ...]) -> None:
        self._memory.apply(Plan(banned, passed, repairs, self._desired, self._owner))


def _changed(held: AbstractSet[Network], change: Change) -> AbstractSet[Network]:
    if missing := frozenset(change.remove) - held:
        raise BackendFailed(f"memory: {_some(missing)} is not there")
    left = held - frozenset(change.remove)
    wanted = [*left, *change.add]
    if len(collapse(wanted)) != len(wanted):
        raise BackendFailed(f"memory: of {_some(change.add)} one is there, or overlaps")
    return frozenset(wanted)


def _some(networks: Iterable[Network]) -> str:
    return ", ".join(map(str, sorted(networks)[:3]))
