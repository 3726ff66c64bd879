"""What the chain decides about one network, and whether packets come to it, in one family."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from backends.xtables import reach
from backends.xtables.chain import CHAIN, Listing, leads_to, network_of, skips
from backends.xtables.hooks import JUMP, Hook, jumps
from reconciler import Decision, Network, Networks

Asked = Callable[[str, Network], Networks]
"""Returns the members of a set, by its name, that share an address with a network."""

_SET: Final = re.compile(r"-m set --match-set (treason\S+) src -j (DROP|RETURN)")
_COUNTED: Final = re.compile(rf"\[([0-9]+):[0-9]+\] -A {CHAIN} (.*)")
_HARMLESS: Final = {"", "LOG", "NFLOG", "MARK", "CONNMARK", "TRACE"}
"""Targets behind which a packet goes on to the next rule."""


def counts(saved: str, table: str) -> Mapping[str, int]:
    """Return how many packets each rule of the chain in a table has counted."""
    _, _, behind = f"\n{saved}".partition(f"\n*{table}\n")
    lines = behind.partition("\nCOMMIT\n")[0].split("\n")
    found = (_COUNTED.fullmatch(line) for line in lines if line.startswith("["))
    return {match[2]: int(match[1]) for match in found if match}


def decisions(
    rules: Sequence[str], network: Network, counted: Mapping[str, int], asked: Asked
) -> Iterator[Decision]:
    """Yield what the rules of the chain decide about a network, in their order."""
    for rule in rules:
        packets = counted.get(rule)
        if (ruled := network_of(rule, network.version)) is not None:
            held, verdict = ruled
            networks = Networks.of([held] if held.meets(network) else [])
        elif match := _SET.fullmatch(rule):
            networks, verdict = asked(match[1], network), match[2]
        else:
            if not skips(rule, network.version) and leads_to(rule)[0] not in _HARMLESS:
                told = f"rule {rule!r}, which is not treason's"
                yield Decision([network], drops=None, rule=told, packets=packets)
            continue
        if networks:
            yield Decision(networks, drops=verdict == "DROP", rule=f"rule {rule}", packets=packets)


def reached(
    variant: str, version: int, listing: Listing, hooks: Iterable[Hook]
) -> tuple[list[str], bool | None, str]:
    """Return the tables in which packets come to the chain, whether all come, and why not.

    Raise `NetlinkError` where the kernel cannot be asked.
    """
    existing = [hook for hook in hooks if hook.exists(listing)]
    ways = {hook: _obstacle(variant, version, listing, hook) for hook in existing}
    tables = sorted({hook.table for hook, (open_, _) in ways.items() if open_ is not False})
    why = next((told for open_, told in ways.values() if not open_), "")
    if not tables:
        return [], False, why or "none of the chains in hooks is there"
    if len({tuple(listing[table][CHAIN]) for table in tables}) > 1:
        why = why or f"the chain differs in {' and '.join(tables)}"
    return tables, None if why else True, why


def _obstacle(variant: str, version: int, listing: Listing, hook: Hook) -> tuple[bool | None, str]:
    """Return whether packets of a hooked chain come to ours, None if only some do, and why not."""
    leading = jumps(listing, hook.table).get(hook.chain)
    unreached = [*reach.unreached(variant, version, listing, [hook])]
    if CHAIN not in listing.get(hook.table, {}):
        return False, f"the chain {CHAIN} is missing in the table {hook.table}"
    if not listing[hook.table][CHAIN]:
        return False, f"the chain {CHAIN} is empty"
    if not leading:
        return False, f"the chain {hook} has no jump to {CHAIN}"
    if unreached:
        told = unreached[0].what.removeprefix("iptables: ")
        return (None if "has a condition" in told else False), told
    if listing[hook.table][hook.chain][0] != JUMP:
        return None, f"the chain {hook} has other rules ahead of the jump to {CHAIN}"
    return True, ""
