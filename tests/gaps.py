"""What lets packets past the chain of the backends iptables and ipset, as shell commands."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reconciler.execute import run

GAPS = {
    "the jumps deleted": "iptables -D INPUT -j TREASON; ip6tables -D INPUT -j TREASON",
    "an accept ahead of the jump": "ip6tables -I INPUT -j ACCEPT",
}
NFT_GAPS = {
    "the table dormant": "nft add table ip filter '{ flags dormant; }'",
    "IPv6's table dormant": "nft add table ip6 filter '{ flags dormant; }'",
    "a chain without its hook": "nft 'delete chain ip filter INPUT; add chain ip filter INPUT'",
    "IPv6's chain without its hook": (
        "nft 'delete chain ip6 filter INPUT; add chain ip6 filter INPUT;"
        " add rule ip6 filter INPUT counter jump TREASON'"
    ),
    "a chain with another hook": (
        "nft 'delete chain ip filter INPUT; add chain ip filter INPUT"
        " { type filter hook output priority 0; }; add rule ip filter INPUT counter jump TREASON'"
    ),
    "a jump with a condition that iptables does not show": (
        "iptables -D INPUT -j TREASON; nft add set ip filter s '{ type ipv4_addr; }';"
        " nft insert rule ip filter INPUT ip saddr @s counter jump TREASON"
    ),
}
"""What lets packets past the chain; the last ones only where nf_tables holds it."""


def gaps(texts: Mapping[str, str]) -> Mapping[str, Callable[[Any], object]]:
    """Return what runs each of the commands, in the variant of the contract that it is given."""
    return {name: partial(_strike, text=text) for name, text in texts.items()}


def _strike(contract: Any, text: str) -> None:
    run(["sh", "-ec", re.sub(r"\b(ip6?tables)(?= )", rf"\1-{contract.variant}", text)])
