"""What the table holds of one network: its rules are followed, its sets asked by key."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from attrs import frozen

from backends.nftables import elements, layout, reading, structure
from backends.nftables.damage import damage
from backends.nftables.expressions import Expression
from backends.nftables.ruleset import INET, Ruleset
from backends.nftables.statements import GET_ELEMENT, Hosts, Set, message
from backends.nftables.structure import FoundChain, FoundRule, Structure
from reconciler import Decision, Held, Network, Networks
from reconciler.netlink import (
    NESTED,
    NFTABLES,
    Connection,
    Message,
    Missing,
    NetlinkError,
    attribute,
    attributes,
    text,
)

Expressions = tuple[Expression, ...]

_FEW: Final = 10
"""Bits of the addresses of a network that are asked for one by one; of more the hashes are read."""

_ELEMENTS: Final = 3  # NFTA_SET_ELEM_LIST_ELEMENTS
_DECIDING: Final = {"immediate", "lookup", "vmap", "reject", "queue", "fwd", "dup", "synproxy"}
"""Expressions that may end a packet's way through the chain, or send it another one."""


def held(network: Network) -> Held:
    """Return what is held of a network, as it is at one moment. Raise `NetlinkError`."""
    ruleset = Ruleset()
    return ruleset.read(lambda: _look(ruleset.connection, network))


def _look(connection: Connection, network: Network) -> Held:
    found = structure.read(connection, layout.CHAIN)
    flaws = [*damage(found)]
    if found is None:
        return Held(reached=False, unreached="the table is missing", damage=flaws)
    base = found.chains.get(layout.CHAIN, FoundChain())
    sets = _Asked(connection, found, network, structure.packets(connection))
    decisions = [*sets.decisions(layout.CHAIN), *_policy(base, network)]
    reached, why = _reached(found, base)
    if reached and not sets.is_asked(base):
        reached, why = False, f"the chain {layout.CHAIN} has lost its rules for it"
    return Held(decisions, reached=reached, unreached=why, damage=flaws)


def _reached(found: Structure, base: FoundChain) -> tuple[bool | None, str]:
    """Return whether packets come to the base chain, and if not, why."""
    hooks = [line for line in base.lines if line.startswith("type ")]
    if layout.CHAIN not in found.chains:
        return False, f"the chain {layout.CHAIN} is missing"
    if any("dormant" in line for line in found.lines):
        return False, "the table is dormant"
    if not hooks:
        return False, f"the chain {layout.CHAIN} is not hooked"
    here = " hook prerouting " in hooks[0]
    return (True, "") if here else (None, f"the chain has another hook: {hooks[0]}")


def _policy(base: FoundChain, network: Network) -> Iterator[Decision]:
    """Yield what becomes of packets about which no rule decides, where that is not `accept`."""
    if any(line.endswith("policy drop;") for line in base.lines):
        yield Decision([network], drops=True, rule=f"chain {layout.CHAIN}: policy drop")


@frozen(eq=False, slots=False)
class _Asked:
    """The table that was found, asked about one network."""

    connection: Connection
    found: Structure
    network: Network
    packets: Mapping[int, int]

    @cached_property
    def shape(self) -> layout.Shape:
        """How the hosts are laid out."""
        return layout.shape_of(self.found)

    @cached_property
    def asking(self) -> list[tuple[Expressions, Set]]:
        """The rules that ask the sets of the network's family, by what they are made of."""
        ours = [each for each in self.shape.sets if each.version == self.network.version]
        return [(layout.rule_of(each).decoded(), each) for each in ours]

    @cached_property
    def jump(self) -> Expressions | None:
        """The rule that leads to the hashes' own chains, if there are several."""
        hosts = self.shape.hosts(self.network.version)
        return layout.jump_of(hosts).decoded() if len(hosts) > 1 else None

    @cached_property
    def addresses(self) -> list[bytes]:
        """Every address of a network of few."""
        first, width = self.network.address, self.network.bits // 8
        number = 1 << self.network.bits - self.network.length
        return [(first + at).to_bytes(width) for at in range(number)]

    def decisions(self, chain: str) -> Iterator[Decision]:
        """Yield what the rules of a chain decide, in their order."""
        for rule in self.found.chains.get(chain, FoundChain()).rules:
            yield from self._decided(chain, rule)

    def is_asked(self, base: FoundChain) -> bool:
        """Whether any rule of the chain asks for who is to be dropped, in the network's family."""
        asking = ((rule, self._set_of(rule)) for rule in base.rules)
        return any((each and each.banned) or self._is_jump(rule) for rule, each in asking)

    def _decided(self, chain: str, rule: FoundRule) -> Iterator[Decision]:
        if (each := self._set_of(rule)) is not None:
            yield from self._held(each, rule)
        elif self._is_jump(rule):
            for shard in self.shape.hosts(self.network.version):
                if not self.network.is_host or _belongs(shard, self.network.packed):
                    yield from self.decisions(layout.branch_of(shard))
        elif self._is_strange(rule):
            told = f"chain {chain}: rule {rule.handle}, which is not treason's"
            count = self.packets.get(rule.handle)
            yield Decision([self.network], drops=None, rule=told, packets=count)

    def _set_of(self, rule: FoundRule) -> Set | None:
        """Return the set of ours, of the network's family, about which a rule decides."""
        return next((each for made, each in self.asking if made == rule.expressions), None)

    def _is_jump(self, rule: FoundRule) -> bool:
        return self.jump == rule.expressions

    def _is_strange(self, rule: FoundRule) -> bool:
        """Whether a rule that is not ours may decide about packets."""
        known = [each for chain in self.shape.chains for each in chain.rules]
        if any(each.decoded() == rule.expressions for each in known):
            return False  # of the other family, or for nobody's address
        return bool(rule.more) or any(each.name in _DECIDING for each in rule.expressions)

    def _held(self, each: Set, rule: FoundRule) -> Iterator[Decision]:
        if each.type not in self.found.declared(each.name):
            return
        networks, conditional = self._interval(each) if each.interval else self._hosts(each)
        told = f"set {each.name}{', which holds it under a condition' if conditional else ''}"
        count = self.packets.get(rule.handle)
        if networks:
            drops = None if conditional else each.banned
            yield Decision(networks, drops=drops, rule=told, packets=count)
        if self._catches_all(each):
            everything = Network.of(each.version, 0, 0)
            yield Decision([everything], drops=each.banned, rule=f"{told}: *", packets=count)

    def _hosts(self, each: Set) -> tuple[Networks, bool]:
        """Return the network's addresses that stand in a hash, and whether under a condition."""
        if self.network.is_host:
            told = self._ask(each, next(elements.pack_hosts(self.network.packed, each.width)))
            held = [self.network] if told else []
            return Networks.of(held), any(one.conditional for one in told)
        if self.network.bits - self.network.length > _FEW:
            addresses, _ = reading.hosts(self.connection, each)
            listed = Networks.of_hosts(each.version, addresses)
            return listed.meeting(self.network), False
        own = (one for one in self.addresses if _belongs(each, one))
        some = [one for one in own if reading.holds(self.connection, Hosts(each, one))]
        return Networks.of_hosts(each.version, b"".join(some)), False

    def _interval(self, each: Set) -> tuple[Networks, bool]:
        """Return the networks of an interval set that share an address with the network."""
        width = each.width
        last = self.network.address | (1 << width * 8 - self.network.length) - 1
        began = self._ask(each, next(elements.pack_hosts(last.to_bytes(width), width)))
        if began and int.from_bytes(began[0].key) <= self.network.address:
            start, end = int.from_bytes(began[0].key), self._end(each, last)
            size = end - start
            whole = not size & (size - 1) and not start & (size - 1)
            length = width * 8 - (size.bit_length() - 1)
            found = Network.of(each.version, start, length) if whole else self.network
            return Networks.of([found]), began[0].conditional
        if self.network.is_host:
            return Networks(), False
        networks, _ = reading.intervals(self.connection, each)
        return Networks.of(networks).meeting(self.network), False

    def _end(self, each: Set, last: int) -> int:
        """Return the first address behind the interval that holds this one."""
        behind = last + 1
        if not behind >> each.width * 8:
            told = self._ask(each, elements.pack_end(behind.to_bytes(each.width)))
            if told:
                return int.from_bytes(told[0].key)
        return 1 << each.width * 8

    def _catches_all(self, each: Set) -> bool:
        """Whether a set has the element `*`, which stands for all that it does not name."""
        try:
            return bool(self._ask(each, elements.CATCHING_ALL))
        except NetlinkError as refused:
            if refused.code in {errno.EINVAL, errno.EOPNOTSUPP}:  # before Linux 5.13
                return False
            raise

    def _ask(self, each: Set, packed: bytes) -> Sequence[elements.Element]:
        """Return the element that a set has of what is asked for; nothing if it has none."""
        asked = message(GET_ELEMENT, text(2, each.name), attribute(_ELEMENTS | NESTED, packed))
        request = Message(NFTABLES << 8 | GET_ELEMENT, INET, asked.body)
        found: list[elements.Element] = []
        try:
            for answer in self.connection.ask(request):
                listed = dict(attributes(answer.body)).get(_ELEMENTS, b"")
                found += elements.unpack(listed)
        except Missing:
            return []
        return found


def _belongs(each: Set, address: bytes) -> bool:
    """Whether an address belongs into a hash: of several, by four of its bits."""
    return each.shard is None or address[each.byte] % layout.SHARDS == each.shard
