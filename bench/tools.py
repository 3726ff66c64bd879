"""The standard tools, which load, show and extend the same set from scripts in their language."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.inputs import addresses
from bench.logs import lines

Script = Callable[[Sequence[str]], str]


@frozen
class Tool:
    """A program, the script that fills an empty firewall, and one that adds.

    ``read`` lists all, and ``reader`` is its name; without it, it cannot go on from what is there.
    """

    name: str
    argv: Sequence[str]
    full: Script
    more: Script
    read: Sequence[str] = ()
    reader: str = ""

    def load(self, directory: Path, size: int) -> list[str]:
        """Return the command that loads so many bans; its script is made on first use."""
        path = directory / f"{self.name.replace(' ', '_')}-{size}"
        if not path.exists():
            path.write_text(self.full(addresses(size)))
        return [*self.argv, str(path)]


def _nft(banned: Sequence[str], *, sized: bool) -> str:
    size = f"size {_room(len(banned))};" if sized else ""
    make = f"add table inet bench\nadd set inet bench banned {{ type ipv4_addr; {size} }}\n"
    return make + _nft_more(banned)


def _nft_more(banned: Sequence[str]) -> str:
    return f"add element inet bench banned {{ {', '.join(banned)} }}\n"


def _ipset(banned: Sequence[str], *, sized: bool) -> str:
    room = _room(len(banned))
    size = f"hashsize {room // 2} " if sized else ""
    return f"create banned hash:ip {size}maxelem {room}\n" + _ipset_more(banned)


def _ipset_more(banned: Sequence[str]) -> str:
    return lines(f"add banned {address}" for address in banned)


def _iptables(banned: Sequence[str]) -> str:
    return f"*filter\n:BENCH - [0:0]\n{_rules(banned)}COMMIT\n"


def _iptables_more(banned: Sequence[str]) -> str:
    return f"*filter\n{_rules(banned)}COMMIT\n"


def _rules(banned: Sequence[str]) -> str:
    return lines(f"-A BENCH -s {address}/32 -j DROP" for address in banned)


def _room(count: int) -> int:
    """Return a power of two, at least twice as many."""
    return max(65_536, 1 << (2 * count - 1).bit_length())


def _iptables_tool(variant: str) -> Tool:
    restore = (f"iptables-{variant}-restore", "--noflush")
    save = f"iptables-{variant}-save"
    return Tool(restore[0], restore, _iptables, _iptables_more, read=(save,), reader=save)


TOOLS: Final = {
    "nftables": [
        Tool(
            "nft -f",
            ("nft", "-f"),
            partial(_nft, sized=True),
            _nft_more,
            read=("nft", "-j", "list", "set", "inet", "bench", "banned"),
            reader="nft -j list set",
        ),
        Tool("nft -f, no size", ("nft", "-f"), partial(_nft, sized=False), _nft_more),
    ],
    "ipset": [
        Tool(
            "ipset restore",
            ("ipset", "restore", "-f"),
            partial(_ipset, sized=True),
            _ipset_more,
            read=("ipset", "save", "banned"),
            reader="ipset save",
        ),
        Tool(
            "ipset restore, no size",
            ("ipset", "restore", "-f"),
            partial(_ipset, sized=False),
            _ipset_more,
        ),
    ],
    "iptables-nft": [_iptables_tool("nft")],
    "iptables-legacy": [_iptables_tool("legacy")],
    "file": [Tool("sort", ("sort",), lines, lines)],
}
"""The tools by the backend that they are compared with, the stricter first. A size declared
spares a set its growing."""
