"""What the sets hold, read from the kernel: whole sets, and single elements by their keys."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from backends.nftables.elements import CATCH_ALL, INTERVAL_END, Element, unpack, unpack_hosts
from backends.nftables.layout import SHARDS
from backends.nftables.ruleset import INET
from backends.nftables.statements import (
    GET_ELEMENT,
    GET_SET,
    Hosts,
    Intervals,
    Set,
    message,
)
from backends.nftables.structure import COUNT
from reconciler import Damage, Network, lines
from reconciler.netlink import DUMP, NFTABLES, Connection, Message, Missing, attributes, text

_ELEMENTS: Final = 3  # NFTA_SET_ELEM_LIST_ELEMENTS
_TRIES: Final = 3
"""How often a hash is listed until as many elements come as it counts."""


_STRANGER: Final = "which belongs elsewhere"
_CONDITIONAL: Final = "which matches under a condition"


def hosts(connection: Connection, each: Set) -> tuple[bytes, list[Damage]]:
    """Read a hash set: its addresses, packed, and what does not belong into it.

    A hash that just grows is listed with gaps, and with elements told twice. None of ours grows,
    for its size is declared; besides, where the kernel counts the elements, the list is believed
    when it agrees.
    """
    for _ in range(_TRIES):
        addresses, strange = _addresses(connection, each)
        listed = len(addresses) // each.width + len(strange)
        if _count(connection, each.name) in {None, listed}:
            break
    if each.shard is not None:
        wrong = len(_elsewhere(addresses, each))
        strange += [f"{wrong} addresses of other shards, {_STRANGER}"] if wrong else []
    return addresses, _damage(each, strange)


def intervals(connection: Connection, each: Set) -> tuple[list[Network], list[Damage]]:
    """Read an interval set; what is no network, or does not belong into it, is damage."""
    held = [element for listed in _lists(connection, each) for element in unpack(listed)]
    networks: list[Network] = []
    strange: list[str] = []
    for first, last in _ranges(held, each.width):
        network = _network(each, first, last)
        if network is None:
            ends = [Network.of(each.version, end, each.width * 8) for end in (first, last)]
            strange.append(f"{ends[0]}-{ends[1]}, which is not a network")
        elif each.banned and network.is_host:
            strange.append(f"{network}, {_STRANGER}")
        else:
            networks.append(network)
    strange += ["*, which is not a network" for element in held if element.flags & CATCH_ALL]
    strange += [
        f"{_told(each, element)}, {_CONDITIONAL}" for element in held if element.conditional
    ]
    return networks, _damage(each, strange)


def counts(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Return how many elements each of these sets holds, as far as the kernel counts them."""
    return {name: held for name in names if (held := _count(connection, name)) is not None}


def number(connection: Connection, each: Set) -> int:
    """Return how many elements a set holds as the kernel counts them, where it does not count."""
    if each.interval:
        listed = [*unpack(b"".join(_lists(connection, each)))]
        return len(listed) // 2
    addresses, strange = _addresses(connection, each)
    return len(addresses) // each.width + len(strange)


def holds(connection: Connection, change: Hosts | Intervals) -> bool:
    """Return whether the set holds every element of the change, asked by their keys."""
    for sent in change.messages():
        asked = Message(NFTABLES << 8 | GET_ELEMENT, INET, sent.body)
        try:
            for _ in connection.ask(asked):
                pass
        except Missing:
            return False
    return True


def _count(connection: Connection, name: str) -> int | None:
    answers = [*connection.ask(message(GET_SET, text(2, name)))]
    counted = dict(attributes(answers[0].body)).get(COUNT)
    return None if counted is None else int.from_bytes(counted)


def _addresses(connection: Connection, each: Set) -> tuple[bytes, list[str]]:
    plain: list[bytes] = []
    strange: list[str] = []
    for listed in _lists(connection, each):
        addresses = unpack_hosts(listed, each.width)
        if addresses is None:
            for element in unpack(listed):
                if element.flags & CATCH_ALL:
                    strange.append("*, which is not a network")
                elif element.conditional:
                    strange.append(f"{_told(each, element)}, {_CONDITIONAL}")
                else:
                    plain.append(element.key)
        else:
            plain.append(addresses)
    return b"".join(plain), strange


def _lists(connection: Connection, each: Set) -> Iterator[bytes]:
    request = message(GET_ELEMENT, text(2, each.name), flags=DUMP)
    for answer in connection.ask(request):
        yield dict(attributes(answer.body)).get(_ELEMENTS, b"")


def _elsewhere(addresses: bytes, each: Set) -> bytes:
    """Return the deciding bytes of the addresses that belong into another shard."""
    right = bytes(byte for byte in range(256) if byte % SHARDS == each.shard)
    return addresses[each.byte :: each.width].translate(None, right)


def _ranges(held: Iterable[Element], width: int) -> Iterator[tuple[int, int]]:
    """Yield first and last address of each interval."""
    edges = sorted(
        (int.from_bytes(element.key), not element.flags & INTERVAL_END)
        for element in held
        if not element.flags & CATCH_ALL
    )
    first: int | None = None
    for address, opens in edges:
        if first is not None:
            yield first, address - 1
        first = address if opens else None
    if first is not None:
        yield first, (1 << width * 8) - 1


def _told(each: Set, element: Element) -> Network:
    return Network.of(each.version, int.from_bytes(element.key), each.width * 8)


def _network(each: Set, first: int, last: int) -> Network | None:
    size = last - first + 1
    if size & (size - 1) or first & (size - 1):
        return None
    return Network.of(each.version, first, each.width * 8 - (size.bit_length() - 1))


def _damage(each: Set, strange: Sequence[str]) -> list[Damage]:
    told = lines.shortened(strange, rest="{} more strange elements")
    return [Damage(f"set {each.name}", f"holds {what}") for what in told]
